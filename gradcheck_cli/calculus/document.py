"""What a record says, written out for people: its definition, its derivative rule, where it has kinks.

The rule is run on symbols, as `differentiate` runs it, and printed unsimplified: what is read here is what
computes. Arguments have PyTorch's names, sizes and attributes are those of one of the record's samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.derive import derive
from gradcheck_cli.calculus.differentiate import tracked
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import (
    Expr,
    In,
    Sample,
    Type,
    call,
    const,
    make,
    topological,
    unshared,
    variable,
)
from gradcheck_cli.lang.build import Call, build, calls
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import print_formulas, to_text
from gradcheck_cli.ops.known import given, known
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradcheck_cli.graph import Op, Shape

UPSTREAM = "grad"
_MOST_SAMPLES = 6
# Where no sample can be taken apart, because it has none or is a property.
_SHAPE = (3, 4)


@dataclass(frozen=True)
class Example:
    """An expression, the shapes of its inputs, and its gradient as `gradcheck derive` prints it."""

    expression: str
    inputs: dict[str, Shape]
    gradients: dict[str, str]


@dataclass(frozen=True)
class Document:
    """A record written out. `call` is the operator applied to its arguments by their names.

    definition      what it is put together from: one text, or one for each part of its result
    rule            argument -> vector-Jacobian product; None where no gradient flows. With several
                    outputs there is one such rule for each that has a gradient.
    kinks           equations: where they hold, it is not differentiable
    complex_step    whether derivatives can be taken by a complex step through it
    """

    call: str
    inputs: dict[str, Shape]
    definition: tuple[str, ...]
    rule: dict[str, dict[str, str | None]]
    kinks: tuple[str, ...]
    complex_step: bool


def document(op: Op) -> Document | None:
    """What there is to say of `op`; None where none of its samples can be taken apart."""
    found = list(islice(_cases(op), _MOST_SAMPLES))
    if not found:
        return None
    # The first one that has most to show, on matrices rather than on vectors.
    best = max(found, key=lambda case: (bool(case.rule), case.shown, case.matrices))
    kinks = next((case.kinks for case in (best, *found) if case.kinks), ())
    return Document(best.call, best.inputs, best.definition, best.rule, kinks, best.complex_step)


def has_kinks(op: Op) -> bool:
    """Whether there are points where it is not differentiable: its own, or those of what it is made of."""
    if op.kink is not None or not op.is_macro:
        return op.kink is not None
    return any(case.kinks for case in islice(_cases(op), 2))


def has_gradient(op: Op) -> bool:
    """Whether a gradient flows through it."""
    if op.vjp is not None or not op.is_macro:
        return op.vjp is not None
    return any(case.flows for case in islice(_cases(op), _MOST_SAMPLES))


class _Case:
    """A record applied to arguments named as its signature names them."""

    def __init__(self, op: Op, args: tuple[Any, ...], attributes: dict[str, Any]) -> None:
        self.op, self.args, self.attributes = op, args, attributes
        variables = [arg for arg in args if arg is not None and arg.value is None]
        self.inputs = {arg.attributes["name"]: arg.shape for arg in variables}
        names = set(self.inputs)
        self.shown = len(names)
        self.matrices = sum(len(shape) == 2 for shape in self.inputs.values())
        made = make(op, args, attributes)
        # A composite leaves no node of its own: the call is written by one that is never computed.
        self.outputs: tuple[Expr, ...]
        if op.is_macro:
            bare = unshared(Expr, op, args, tuple(attributes.items()), Type((), dtypes.float64))
            self.call = to_text(bare)
            self.outputs = ()
        else:
            self.outputs = made if op.outputs else (made,)
            self.call = _without_field(op, to_text(self.outputs[0]))
        self.definition = () if op.define is None else self._definition(made)
        moves = any(arg.dtype.kind in "fz" for arg in variables)
        self.rule = dict(self._rules(names)) if op.vjp is not None and moves else {}
        self.kinks: tuple[str, ...] = ()
        if moves:
            parts = _nodes(made) if op.is_macro else self.outputs[:1]
            self.kinks = tuple(dict.fromkeys(_equation(zero) for zero in _zeros(parts)))
        self.complex_step = _is_analytic(made) if op.is_macro else op.analytic
        self.flows = any(part in tracked(_nodes(made), variables) for part in _parts(made))

    def _definition(self, made: Any) -> tuple[str, ...]:
        if not self.op.is_macro:
            assert self.op.define is not None
            made = self.op.define(*self.args, **self.attributes)
        listed = made if isinstance(made, (tuple, list)) else (made,)
        names = set(self.inputs)
        return tuple(
            str(print_formulas([part], None, names))
            if isinstance(part, Expr)
            else ("a function" if callable(part) else repr(part))
            for part in listed
        )

    def _rules(self, names: set[str]) -> Iterator[tuple[str, dict[str, str | None]]]:
        """For each output with a gradient its name, "" where there is but one, and the rule."""
        op = self.op
        assert op.vjp is not None
        named = dict(zip(self.outputs, op.outputs or ("out",), strict=True))
        for number, out in enumerate(self.outputs):
            if not (out.dtype.is_floating or out.dtype.kind == "z"):
                continue
            upstream = variable(UPSTREAM, out.shape, out.dtype)
            attributes = {**self.attributes, "output": number} if op.outputs else self.attributes
            try:
                result = op.vjp(upstream, out, *self.args, **attributes)
            except Invalid:  # an output that these attributes leave empty
                continue
            products = result if isinstance(result, (tuple, list)) else [result]
            yield (
                op.outputs[number] if op.outputs else "",
                {
                    arg.attributes["name"]: None
                    if not isinstance(product, Expr)
                    else _text(product, named, names)
                    for arg, product in zip(self.args, products, strict=False)
                    if arg is not None and arg.value is None
                },
            )


def _parts(made: Any) -> list[Expr]:
    parts = made if isinstance(made, (tuple, list)) else (made,)
    return [part for part in parts if isinstance(part, Expr)]


def _nodes(made: Any) -> list[Expr]:
    """What a composite is put together from, but for its inputs."""
    return [node for node in topological(_parts(made)) if node.inputs]


def _is_analytic(made: Any) -> bool:
    """Whether complex numbers pass through a composite; what is detached is held where it is."""
    return all(
        node.op.analytic or node.dtype.kind == "b" or node.op.name == "detach"
        for node in _nodes(made)
    )


def _zeros(nodes: Iterable[Expr]) -> Iterator[Expr]:
    """What is zero where one of the nodes is not differentiable."""
    for node in nodes:
        if node.op.kink is not None and any(arg.dtype.kind in "fz" for arg in node.inputs):
            yield from node.op.kink(*node.args, **node.attributes)


def _text(product: Any, named: dict[Expr, str], names: set[str]) -> str:
    if not isinstance(product, Expr):
        return repr(product)
    return str(print_formulas([product], named, names | {UPSTREAM}))


def _without_field(op: Op, text: str) -> str:
    """The call alone, where it is written with the field of the result that is taken."""
    for field in (f".{op.outputs[0]}", "[0]") if op.outputs else ():
        text = text.removesuffix(field)
    return text


def _equation(zero: Expr) -> str:
    if zero.op.name == "sub":
        left, right = (to_text(arg) for arg in zero.inputs)
        return f"{left} = {right}"
    return f"{to_text(zero)} = 0"


def _cases(op: Op) -> Iterator[_Case]:
    """The record on the arguments of each sample from which they can be had; on matrices where none can."""
    parameters = op.signature.parameters
    can_be_bare = all(p.is_tensor for p in parameters if not p.has_default)
    if op.elementwise and can_be_bare:
        yield _bare(op)
    found = op.elementwise
    for sample in sorted(op.samples, key=lambda sample: not sample.grad):
        with given(partial(_values, sample)):
            try:
                bound = _bound(op, sample)
            except GradcheckError:
                continue  # it depends on values that ones don't make sense for
            if bound is not None:
                found = True
                yield _named(op, bound)
    if not found and can_be_bare:
        yield _bare(op)


def _bare(op: Op) -> _Case:
    """The record on matrices, with its defaults."""
    parameters = op.signature.parameters
    attributes = {p.name: p.default for p in parameters if not p.is_tensor}
    tensors = (p for p in parameters if p.is_tensor)
    args = tuple(None if p.has_default else variable(p.name, _SHAPE) for p in tensors)
    return _Case(op, args, attributes)


def _values(sample: Sample) -> dict[str, Any]:
    """Values for what depends on them: given ones, or ones."""
    return {
        name: np.ones(spec.shape, dtypes.BY_NAME[spec.dtype].numpy)
        if spec.value is None
        else np.array(spec.value)
        for name, spec in sample.inputs.items()
    }


def _bound(op: Op, sample: Sample) -> Call | None:
    """How the record's arguments are bound in a sample, by the person's call or by a composite's."""
    formula, scope = parse(Source(sample.expression)), _scope(sample)
    output = build(formula, scope)
    for bound in calls(formula, scope):
        if bound.op is op:
            return bound
    for node in topological([output], sizes=True):
        if node.op is op:
            return Call(op, node.args, node.attributes)
    return None


def _named(op: Op, bound: Call) -> _Case:
    """The call on variables named after its parameters; numbers stay what they are."""
    tensors = [p for p in op.signature.parameters if p.is_tensor]
    spare = len(bound.args) - sum(p.type != "Tensor[]" for p in tensors)
    names: list[str] = []
    for parameter in tensors:
        several = parameter.type == "Tensor[]"
        names += [f"{parameter.name}{n + 1}" for n in range(spare)] if several else [parameter.name]
    args: list[Expr | None] = []
    for arg, name in zip(bound.args, names, strict=True):
        node = const(arg) if isinstance(arg, (int, float)) else arg
        is_tensor = node is not None and node.value is None
        args.append(variable(name, node.shape, node.dtype) if is_tensor else node)
    try:
        return _Case(op, tuple(args), bound.attributes)
    except Invalid:  # its shape depends on its arguments' values
        values = {name: known(arg) for name, arg in zip(names, bound.args, strict=True)}
        with given(lambda: values):
            return _Case(op, tuple(args), bound.attributes)


def _scope(sample: Sample) -> dict[str, Expr]:
    return {
        name: variable(name, _shape(spec), dtypes.BY_NAME[spec.dtype])
        for name, spec in sample.inputs.items()
    }


def _shape(spec: In) -> Shape:
    return spec.shape if spec.value is None else np.shape(spec.value)


def example(op: Op) -> Example | None:
    """The first sample that has a gradient, with its closed form; None where there is none."""
    for sample in op.samples:
        scope = _scope(sample)
        if not (sample.grad and any(node.dtype.is_floating for node in scope.values())):
            continue
        with given(partial(_values, sample)):
            output = build(parse(Source(sample.expression)), scope)
            if output.dtype.is_floating:
                return _derived(sample.expression, output, scope)
    if not op.elementwise or op.vjp is None:
        return None
    parameters = [p for p in op.signature.parameters if not p.has_default]
    if not all(p.is_tensor for p in parameters):
        return None
    scope = {name: variable(name, _SHAPE) for name, _ in zip("xyz", parameters, strict=False)}
    output = call([op], *scope.values())
    return _derived(to_text(output), output, scope)


def _derived(expression: str, output: Expr, scope: dict[str, Expr]) -> Example:
    wrt = [name for name, node in scope.items() if node.dtype.is_floating]
    upstream = variable(UPSTREAM, output.shape, output.dtype)
    formulas = derive(output, [scope[name] for name in wrt], upstream, taken=scope)
    shapes = {name: node.shape for name, node in scope.items()}
    gradients = {name: str(formula) for name, formula in zip(wrt, formulas, strict=True)}
    return Example(expression, shapes, gradients)
