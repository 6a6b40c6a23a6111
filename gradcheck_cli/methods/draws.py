"""Points at which a formula is tried: the check with its own draw, with other draws, and with other sizes.

What is assumed must hold at each of them, so that inputs are drawn otherwise where it doesn't.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.graph import CONST, INPUT, topological
from gradcheck_cli.methods.assumptions import assumed, nodes
from gradcheck_cli.methods.case import prepare, values_of
from gradcheck_cli.methods.sizes import independent, size_at, tied, with_sizes
from gradcheck_cli.schema import Invalid
from gradcheck_cli.spec.sample import sample
from gradcheck_cli.spec.samplers import SAMPLERS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.sizes import Slot
    from gradcheck_cli.spec.check import Check, InputSpec

# An input, or an intermediate result, with more elements is made smaller first.
_LARGE = 1 << 12
# Of larger expressions it isn't found out which equal sizes need not be equal.
_MOST_NODES = 64
# Sizes of the smaller check begin here.
_SMALL = 3
# Ways of drawing the inputs that are tried until what is assumed holds.
_MOST_TRIALS = 96
_MOST_BOUNDS = 4
# Draws for which it has to hold.
_DRAWS = 3
# What an expression raises on numbers that it isn't made for.
REFUSALS = (GradcheckError, Invalid, ArithmeticError, ValueError, IndexError)


@dataclass(frozen=True, slots=True)
class Point:
    """A check to try formulas at.

    `other_sizes` where its sizes are not those that were given; `parted` are the sizes, as text, that are
    equal in the check, need not be for the expression, and aren't here.
    """

    check: Check
    other_sizes: bool = False
    parted: str = ""


def is_large(case: Case) -> bool:
    """Whether evaluating a check's expression some dozens of times would take long."""
    order = topological([case.output, *case.variables.values()])
    return any(node.elements > _LARGE for node in order)


def small(check: Check) -> Check:
    """The check, or a small one of it where it is large and the expression takes other sizes."""
    bare = replace(check, manual={}, manual_sources={})
    return (_shrunk(bare, tied(bare)) or check) if is_large(prepare(bare)) else check


def points(case: Case, seeds: int) -> Iterator[Point]:
    """The check of `case` with several seeds, small ones of it where it is large, then with other sizes.

    A spec whose inputs are all literals has its own numbers and no others.
    """
    check = replace(case.check, manual={}, manual_sources={})
    groups = tied(check)
    shrink = is_large(case)
    if shrink:
        smaller = _shrunk(check, groups)
        if smaller is None:
            return
        check = smaller
    drawn = any(spec.drawn for spec in check.inputs)
    for seed in range(seeds if drawn else 1):
        yield Point(replace(check, seed=(check.seed + seed) % 2**63), other_sizes=shrink)
    larger = _larger(check, groups)
    if larger is None:
        return
    yield Point(larger, other_sizes=True)
    if len(topological([case.output])) > _MOST_NODES:
        return
    finer = independent(check)
    parted = _parted(check, groups, finer)
    apart = _resized(check, finer) if parted else None
    if apart is not None and _builds(apart):
        yield Point(apart, other_sizes=True, parted=parted)


def _larger(check: Check, groups: Sequence[set[Slot]]) -> Check | None:
    """The check with other sizes, all equal ones together; None where the expression takes none.

    Twice the sizes keep what divides them.
    """
    for times, more in ((1, 1), (2, 0)):
        changed = _resized(check, groups, times=times, more=more)
        if changed is not None and _builds(changed):
            return changed
    changed = _resized(check, independent(check))
    return changed if changed is not None and _builds(changed) else None


def _parted(check: Check, groups: Sequence[set[Slot]], finer: Sequence[set[Slot]]) -> str:
    """Equal sizes that the expression takes unequal: `A.shape[0] == B.shape[1]`."""
    pairs = []
    for group in groups:
        within = sorted(min(part) for part in finer if part <= group)
        names = [f"{check.inputs[i].name}.shape[{dim}]" for i, dim in within]
        if len(names) > 1:
            pairs.append(" == ".join(names))
    return ", ".join(pairs)


def _shrunk(check: Check, groups: Sequence[set[Slot]]) -> Check | None:
    """Every group with a small size of its own; None where the expression doesn't take them."""
    sizes: dict[Slot, int] = {}
    for position, group in enumerate(groups):
        old = size_at(check, next(iter(group)))
        sizes |= dict.fromkeys(group, min(old, _SMALL + position))
    changed = with_sizes(check, sizes)
    return changed if sizes and _builds(changed) else None


def _resized(
    check: Check, groups: Sequence[set[Slot]], times: int = 1, more: int = 1
) -> Check | None:
    """Every group with a larger size of its own, that no other had; None where there is none."""
    sizes: dict[Slot, int] = {}
    taken = {size for spec in check.inputs for size in spec.shape}
    for group in groups:
        size = size_at(check, next(iter(group))) * times + more
        while size in taken:
            size += max(more, times)
        taken.add(size)
        sizes |= dict.fromkeys(group, size)
    return with_sizes(check, sizes) if sizes else None


def _builds(check: Check) -> bool:
    try:
        prepare(check)
    except (GradcheckError, Invalid):
        return False
    return True


def holding(check: Check, texts: Sequence[str]) -> bool:
    """Whether every mask is true everywhere for the numbers that the check draws."""
    return _judged(check, texts)[0]


def _judged(check: Check, texts: Sequence[str]) -> tuple[bool, bool]:
    """Whether all that is assumed holds, and whether the expression is finite."""
    try:
        with values_of(check):
            case = prepare(check)
            masks = nodes(assumed(texts, case.scope))
            *found, value = Plan([*masks, case.output])(case.arrays)
    except REFUSALS:
        return False, False
    return all(mask.all() for mask in found), bool(np.isfinite(value).all())


def _judged_often(check: Check, texts: Sequence[str]) -> tuple[bool, bool]:
    """The same for several draws: one alone may be all positive by luck."""
    holds = finite = True
    for more in range(_DRAWS):
        both = _judged(replace(check, seed=(check.seed + more) % 2**63), texts)
        holds, finite = holds and both[0], finite and both[1]
        if not holds:
            break
    return holds, finite


def suited(check: Check, texts: Sequence[str], *, free: bool) -> Check | None:
    """The check with its inputs drawn so that all masks are true; None where no way of drawing does it.

    With `free` inputs, whose samplers nobody chose, the expression is to be finite too where it can be.
    """
    if not texts and not free:
        return check
    holds, finite = _judged_often(check, texts)
    if holds and (finite or not free):
        return check
    best = check if holds else None
    for trial in itertools.islice(_trials(check, texts, free=free), _MOST_TRIALS):
        holds, finite = _judged_often(trial, texts)
        if holds and (finite or not free):
            return trial
        if holds and best is None:
            best = trial
    return best


def _trials(check: Check, texts: Sequence[str], *, free: bool) -> Iterator[Check]:
    """Ways to draw what the masks are about, or all inputs where they are free."""
    case = prepare(replace(check, manual={}, manual_sources={}))
    masks = nodes(assumed(texts, case.scope))
    bounds = _bounds(topological(masks))
    about = [(mask, _inputs_of(mask)) for mask in masks]
    ways = []
    for position, spec in enumerate(check.inputs):
        if not free and all(spec.name not in names for _, names in about):
            ways.append([spec])
            continue
        alone = [mask for mask, names in about if names == {spec.name}]
        tried = (_with(check, position, way) for way in _ways(spec, bounds))
        ways.append([one.inputs[position] for one in tried if _all_true(alone, one, spec.name)])
    # All inputs the same way first: that is what most expressions need.
    for way in range(max(map(len, ways), default=0)):
        if all(ways):
            chosen = tuple(listed[min(way, len(listed) - 1)] for listed in ways)
            yield replace(check, inputs=chosen)
    for chosen in itertools.product(*ways):
        yield replace(check, inputs=chosen)


def _with(check: Check, position: int, spec: InputSpec) -> Check:
    inputs = list(check.inputs)
    inputs[position] = spec
    return replace(check, inputs=tuple(inputs))


def _inputs_of(mask: Expr) -> set[str]:
    return {node.attributes["name"] for node in topological([mask]) if node.op is INPUT}


def _all_true(masks: Sequence[Expr], check: Check, name: str) -> bool:
    """Whether masks about one input hold for what the check draws of it."""
    if not masks:
        return True
    alone = replace(check, inputs=tuple(spec for spec in check.inputs if spec.name == name))
    try:
        return all(bool(np.all(mask)) for mask in Plan(masks)(sample(alone)))
    except REFUSALS:
        return False


def _bounds(order: Sequence[Expr]) -> list[float]:
    """The numbers that stand in masks."""
    found = {float(node.value) for node in order if node.op is CONST and node.value is not None}
    return sorted(value for value in found if math.isfinite(value))[:_MOST_BOUNDS]


def _ways(spec: InputSpec, bounds: Sequence[float]) -> Iterator[InputSpec]:
    """Ways to draw one input, its own first."""
    yield spec
    if not spec.drawn:
        return
    if not spec.is_floating:
        for low, high in ((0.0, 1.0), (1.0, 3.0), (0.0, 4.0)):
            yield _drawn(spec, "integers", low=low, high=high)
        return
    yield _drawn(spec, "positive")
    yield _drawn(spec, "uniform")
    if len(spec.shape) >= 2 and spec.shape[-1] == spec.shape[-2]:
        yield _drawn(spec, "spd")
        yield replace(_drawn(spec, "normal"), structure="symmetric")
        yield replace(_drawn(spec, "uniform"), structure="symmetric")
        yield _drawn(spec, "orthogonal")
        yield _drawn(spec, "lower_triangular")
    if spec.shape and spec.shape[-1]:
        yield _drawn(spec, "simplex")
        yield _drawn(spec, "one_hot")
    for low, high in itertools.pairwise((-1.0 + min(bounds, default=0), *bounds, 0)):
        if low < high:
            yield _drawn(spec, "uniform", low=low, high=high)
    for bound in bounds:
        yield _drawn(spec, "uniform", low=bound, high=bound + 1)
    yield _drawn(spec, "zeros")
    yield _drawn(spec, "ones")


def _drawn(spec: InputSpec, sampler: str, **parameters: float) -> InputSpec:
    defaults = dict(SAMPLERS[sampler].parameters)
    return replace(
        spec,
        sampler=sampler,
        parameters={**defaults, **parameters},
        structure=None,
        avoid=None,
    )
