"""A derived gradient that is to become code: the expression, the closed forms, and the names for both."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from gradcheck_cli.errors import printable
from gradcheck_cli.graph import INPUT, Expr, rebuild, topological

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gradcheck_cli.lang.parse import Formula
    from gradcheck_cli.methods.assumptions import Assumption
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.spec.check import InputSpec

# Names that the code itself uses, which no input can have in it.
RESERVED = frozenset(
    [
        *("torch", "F", "math", "np", "special", "linalg", "ctx", "grad", "Any", "main", "print"),
        *("RuntimeError", "tuple", "staticmethod"),
    ]
)
_MOST_WORDS = 8


@dataclass(frozen=True)
class Function:
    """An expression with the closed forms of its gradient, to be made code.

    `gradients` are nodes over the inputs and `upstream`, the gradient of the output, one per name; those
    of a scalar output may leave `upstream` out. `assumptions` are the sentences without which they would be
    others; `equations` says whether one of these is an equation, which moving an input breaks. `examples`
    are the inputs as a spec file has them, for the test that comes with the code.
    """

    title: str
    expression: Formula
    output: Expr
    inputs: Mapping[str, Expr]
    let: Mapping[str, Formula]
    scope: Mapping[str, Expr]
    upstream: Expr
    gradients: Mapping[str, Expr]
    assumptions: tuple[str, ...] = ()
    equations: bool = False
    examples: tuple[InputSpec, ...] = ()
    seed: int = 0
    names: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        taken: set[str] = {*self.scope, *RESERVED}
        names: dict[str, str] = {}
        for name in self.scope:
            chosen = name
            if name in RESERVED:
                chosen = fresh(name, taken)
                taken.add(chosen)
            names[name] = chosen
        object.__setattr__(self, "names", names)

    @cached_property
    def class_name(self) -> str:
        """The name of the class: `SumOfSquaredErrors`."""
        words = [word if word[:1].isupper() else word.capitalize() for word in _words(self.title)]
        name = "".join(words)
        taken = {*self.names.values(), *RESERVED, self.function_name}
        if not name.isidentifier() or keyword.iskeyword(name) or name in taken:
            name = f"{name}Function" if name.isidentifier() else f"Function{name}"
        return name if name not in taken else fresh(name, taken)

    @cached_property
    def function_name(self) -> str:
        """The name of the function: `sum_of_squared_errors`."""
        name = "_".join(_words(self.title)).lower()
        if not name.isidentifier() or keyword.iskeyword(name) or name in RESERVED:
            name = f"{name}_function" if name.isidentifier() else f"function_{name}".rstrip("_")
        return name if name not in self.names.values() else fresh(name, self.names.values())

    @cached_property
    def upstream_gradients(self) -> dict[str, Expr]:
        """The gradients times the upstream one, in which they are linear."""
        return {name: self._scaled(node) for name, node in self.gradients.items()}

    def _scaled(self, node: Expr) -> Expr:
        order = topological([node])
        if self.output.ndim or self.upstream in order or node.op.name == "zeros_like":
            return node
        return self.upstream * node

    @property
    def like(self) -> str:
        """The name of the input whose dtype and device hold for what is made from numbers alone."""
        of_wrt = [name for name in self.gradients if name in self.inputs]
        return self.names[of_wrt[0] if of_wrt else next(iter(self.inputs))]


def function_of(
    case: Case,
    wrt: Sequence[str],
    gradients: Sequence[Expr],
    assumptions: Sequence[Assumption] = (),
) -> Function:
    """A check's expression with closed forms of its gradient with respect to each of `wrt`.

    `gradients` are what `derive_nodes` gives, in which a `let` name is an input of that name.
    """
    used = {
        node.attributes["name"] for node in topological([case.output], sizes=True) if _named(node)
    }
    used |= names_read([case.expression], case.let)
    inputs = {name: node for name, node in case.variables.items() if name in used}
    written_out = dict(zip(wrt, _written_out(gradients, case.scope), strict=True))
    title = case.check.name
    if title == case.expression.source.text:
        title = "derived expression"
    return Function(
        title=title,
        expression=case.expression,
        output=case.output,
        inputs=inputs,
        let=case.let,
        scope=case.scope,
        upstream=case.upstream,
        gradients=written_out,
        assumptions=tuple(str(assumption) for assumption in assumptions),
        equations=any(node.op.name == "eq" for node in topological([a.node for a in assumptions])),
        examples=tuple(spec for spec in case.check.inputs if spec.name in inputs),
        seed=case.check.seed,
    )


def _named(node: Expr) -> bool:
    return node.op is INPUT


def names_read(formulas: Iterable[Formula], let: Mapping[str, Formula]) -> set[str]:
    """All names that formulas read, through `let` too."""
    found: set[str] = set()
    pending = list(formulas)
    while pending:
        for name in pending.pop().names - found:
            found.add(name)
            if name in let:
                pending.append(let[name])
    return found


def _written_out(nodes: Sequence[Expr], scope: Mapping[str, Expr]) -> tuple[Expr, ...]:
    """The nodes with what stands for a `let` name put back in its place."""
    made: dict[Expr, Expr] = {}
    for node in topological(nodes, sizes=True):
        if node.op is INPUT:
            made[node] = scope.get(node.attributes["name"], node)
        else:
            made[node] = rebuild(node, made.__getitem__)
    return tuple(made[node] for node in nodes)


def docstring_lines(function: Function) -> Iterator[str]:
    """A docstring, open at its end: what is computed, and what the gradient rests on."""
    yield f'"""{quoted(function.title)}.'
    yield ""
    read = names_read([function.expression], function.let)
    for name, formula in function.let.items():
        if name in read:
            yield f"    {quoted(f'{name} = {formula.source.text}')}"
    yield f"    {quoted(function.expression.source.text)}"
    yield ""
    yield "Its gradient is a closed form that gradcheck derived."
    constant = [name for name in function.inputs if name not in function.gradients]
    if constant:
        yield f"No gradient is computed for {', '.join(constant)}."
    if function.assumptions:
        yield "It assumes:"
        yield from (f"    {quoted(text)}" for text in function.assumptions)


def fresh(name: str, taken: Iterable[str], number: int | None = None) -> str:
    """`name`, or `name` with a number, that isn't among those taken."""
    others = set(taken)
    chosen = name if number is None else f"{name}{number}"
    count = number or 1
    while chosen in others or keyword.iskeyword(chosen) or chosen in RESERVED:
        count += 1
        chosen = f"{name}{count}" if number is not None else f"{name}_{count}"
    return chosen


def _words(title: str) -> list[str]:
    """The words of a title, without what tells a check from its siblings: `[C=2]`."""
    plain = re.sub(r"\[[^\]]*\]$", "", title).replace("_", " ")
    return "".join(c if f"a{c}".isidentifier() else " " for c in plain).split()[:_MOST_WORDS]


def quoted(text: str) -> str:
    """Text as a docstring can hold it, on one line."""
    line = printable(" ".join(text.split()))
    return line.replace("\\", "\\\\").replace('"', "'")
