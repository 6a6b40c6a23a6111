"""What always holds of a check's inputs, because its samplers say so, and what a person assumes of them.

Only what holds for every draw counts: a normal sampler promises nothing. A formula may use it where it is
stated beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.errors import GradcheckError, Problem, Source
from gradcheck_cli.graph import t
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.spec.sample import rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.spec.check import Check, InputSpec

# Literals and files of more numbers are not looked through.
_MOST_NUMBERS = 4096
# A normal number is never a hundred deviations away from its mean, and float16 ends at 65504.
_MODERATE, _LARGE = 500, 1e30
_WHOLE_KINDS = "iub"


@dataclass(frozen=True, slots=True)
class Assumption:
    """A mask that is true everywhere: as text, as a node, and why (`x is sampled as positive`)."""

    text: str
    node: Expr
    why: str

    def __str__(self) -> str:
        return f"{self.text} ({self.why})" if self.why else self.text


def facts_of(check: Check, scope: Mapping[str, Expr]) -> tuple[Assumption, ...]:
    """What holds of the inputs of `check` whatever the seed, as masks over `scope`.

    >>> from gradcheck_cli.graph import variable
    >>> from gradcheck_cli.spec.load import load_text
    >>> text = "{version: 1, expression: x.log().sum(), inputs: {x: {shape: [3], sample: positive}}}"
    >>> [str(fact) for fact in facts_of(load_text(text)[0], {"x": variable("x", (3,))})]
    ['isfinite(x) (x is sampled as positive)', 'x > 0 (x is sampled as positive)']
    """
    found: dict[str, Assumption] = {}
    for spec in check.inputs:
        variable = scope.get(spec.name)
        if variable is None:
            continue
        why = f"{spec.name} is sampled as {spec.sampler}"
        if _is_finite(spec, check):
            text = f"isfinite({spec.name})"
            found[text] = Assumption(text, t.isfinite(variable), why)
        for text, reason in (
            *((text, why) for text in _of_sampler(spec, check, scope)),
            *_of_structure(spec),
            *_of_literal(spec, check),
        ):
            found.setdefault(text, Assumption(text, _built(Source(text), scope), reason))
    return tuple(found.values())


def assumed(texts: Iterable[str], scope: Mapping[str, Expr]) -> tuple[Assumption, ...]:
    """What a person assumes: expressions over `scope` that are masks.

    Raises GradcheckError where one can't be read, or is no mask.
    """
    problems: list[Problem] = []
    found = []
    for text in texts:
        source = Source(text)
        try:
            node = _built(source, scope)
        except GradcheckError as error:
            problems += error.problems
            continue
        if node.dtype.kind != "b" or node.value is not None:
            kind = f"of dtype {node.dtype.name}" if node.value is None else "a number"
            message = f"an assumption is a mask that holds everywhere, and this is {kind}"
            where = source.where(0, len(text))
            problems.append(Problem("GC016", message, where, "compare, as in x > 0 or A == A.T"))
            continue
        found.append(Assumption(text.strip(), node, ""))
    if problems:
        raise GradcheckError(*problems)
    return tuple(found)


def _built(source: Source, scope: Mapping[str, Expr]) -> Expr:
    return build(parse(source), scope)


def _of_sampler(spec: InputSpec, check: Check, scope: Mapping[str, Expr]) -> Iterator[str]:
    """The facts that the sampler promises, after rounding to the check's dtype."""
    if not spec.drawn:
        return
    name, sampler = spec.name, spec.sampler
    dtype = check.dtype if spec.dtype is None else spec.dtype
    if spec.avoid is not None:
        yield from (f"{name} != {_number(point)}" for point in spec.avoid.near)
    # A triangular or diagonal structure sets elements to zero.
    positive = spec.structure in (None, "symmetric")
    if sampler == "positive":
        yield f"{name} > 0" if positive else f"{name} >= 0"
    elif sampler in ("uniform", "linspace"):
        yield from _between(spec, dtype, inside=positive)
    elif sampler == "integers":
        yield from _whole(spec, scope, inside=positive)
    elif sampler == "ones" and positive:
        yield f"{name} > 0"
    elif sampler in ("bernoulli", "one_hot", "simplex", "arange", "permutation", "zeros", "ones"):
        yield f"{name} >= 0"
    if sampler == "spd":
        yield _symmetric(spec)
    # In a lower precision the sum of a simplex is one only up to that rounding, which a formula would show.
    if sampler == "one_hot" or (sampler == "simplex" and dtype == "float64"):
        yield f"{name}.sum(-1, keepdim=True) == 1"


def _is_finite(spec: InputSpec, check: Check) -> bool:
    """Whether what is drawn is finite, which only float16 and large parameters could prevent."""
    if not spec.drawn or not spec.is_floating:
        return False
    size = max((abs(parameter) for parameter in spec.parameters.values()), default=0.0)
    return size <= (_MODERATE if (spec.dtype or check.dtype) == "float16" else _LARGE)


def _between(spec: InputSpec, dtype: str, *, inside: bool) -> Iterator[str]:
    """What bounds say of the sign; `linspace` may run downwards, and rounding may reach a bound."""
    low, high = sorted((spec.parameters["low"], spec.parameters["high"]))
    floating = dtype not in ("int64", "int32", "int16", "int8", "uint8", "bool")
    ends = rounded(np.array([low, high]), dtype) if floating else np.array([low, high])
    if ends[0] >= 0:
        yield f"{spec.name} > 0" if ends[0] > 0 and inside else f"{spec.name} >= 0"
    elif ends[1] <= 0:
        yield f"{spec.name} < 0" if ends[1] < 0 and inside else f"{spec.name} <= 0"
    if 0 < ends[1] <= 1:
        yield f"{spec.name} <= 1"


def _whole(spec: InputSpec, scope: Mapping[str, Expr], *, inside: bool) -> Iterator[str]:
    """Bounds of whole numbers: a class index lies below the sizes that are as large as its bound."""
    low, high = int(spec.parameters["low"]), int(spec.parameters["high"])
    if not inside:
        low, high = min(low, 0), max(high, 1)
    yield f"{spec.name} >= {low}"
    if spec.is_floating or low < 0:
        return
    for other, variable in scope.items():
        if variable.op.name != "input" or other == spec.name or not variable.dtype.is_floating:
            continue
        for dim, size in enumerate(variable.shape):
            if size == high:
                yield f"{spec.name} < {other}.shape[{dim}]"


def _of_structure(spec: InputSpec) -> Iterator[tuple[str, str]]:
    if spec.structure in ("symmetric", "diagonal"):
        yield _symmetric(spec), f"{spec.name} is {spec.structure}"


def _of_literal(spec: InputSpec, check: Check) -> Iterator[tuple[str, str]]:
    """What numbers of the spec itself say: of constants and indices, not of what is differentiated."""
    if spec.value is None or spec.name in check.wrt:
        return
    array = np.array(spec.value)
    if not array.size or array.size > _MOST_NUMBERS or not np.isfinite(array).all():
        return
    if array.dtype.kind == "b":
        return
    why = f"{spec.name} is given"
    if array.dtype.kind in _WHOLE_KINDS and not spec.is_floating:
        low = int(array.min())
        if low >= 0:
            yield f"{spec.name} >= 0", why
    elif rounded(array, check.dtype).min() > 0:
        yield f"{spec.name} > 0", why


def _symmetric(spec: InputSpec) -> str:
    return f"{spec.name} == {spec.name}.{'T' if len(spec.shape) == 2 else 'mT'}"


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def nodes(assumptions: Sequence[Assumption]) -> tuple[Expr, ...]:
    """The masks alone."""
    return tuple(assumption.node for assumption in assumptions)
