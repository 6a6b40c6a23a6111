"""Two gradients of one input held against each other: the allowance, and error / allowance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gradcheck_cli.verdict.kinks import against_ties, capped
from gradcheck_cli.verdict.probing import find, held_against

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck_cli.methods.gradients import Estimate

Array = npt.NDArray[Any]

# What two correct float64 computations may differ by without a look at the expression: relative to
# the element, and to the largest element (sums that cancel). Anything above is measured before judging.
RTOL = 1e-9
ATOL_OF_LARGEST = 1e-13
# So many elements are compared at once: the few arrays that it takes stay in the cache.
BLOCK = 1 << 14


@dataclass(frozen=True)
class Allowances:
    """What the difference of two gradients of one input may be.

    `rtol` and `atol` are the person's, or None for the default. `rounding(method)` gives the measured
    elementwise rounding of a method; it is called only where the default does not suffice. `kinks` is the
    estimate that knows one-sided derivatives: where they differ, all between them agree. `glimpse(method)` is
    about the largest element of the rounding, for a fraction of its cost.
    """

    rtol: float | None
    atol: float | None
    rounding: Callable[[str], Array | None]
    kinks: Estimate | None = None
    glimpse: Callable[[str], float] | None = None

    @property
    def by_person(self) -> bool:
        """Whether a tolerance was given."""
        return self.rtol is not None or self.atol is not None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome for all elements of a pair; `values` are the two gradients' elements at `worst`.

    `visible` is the largest allowance of an element: had one been off by more, the two would differ.
    `measured` says that rounding is in it.
    `note` says what is special about `worst`.
    """

    ratio: float
    max_abs: float
    max_rel: float
    worst: tuple[int, ...] | None
    mismatched: int
    elements: int
    bitwise: bool
    values: tuple[float, float] | None = None
    visible: float = np.inf
    measured: bool = False
    note: str | None = None

    @property
    def agree(self) -> bool:
        """Whether every element is within its allowance."""
        return self.ratio <= 1.0


@dataclass(frozen=True)
class Side:
    """One of two gradients, with what every comparison asks of it."""

    estimate: Estimate

    @cached_property
    def flat(self) -> Array:
        """The elements in a row."""
        return self.estimate.gradient.reshape(-1)

    @cached_property
    def doubt(self) -> Array | None:
        """The error estimates in a row."""
        error = self.estimate.error
        return None if error is None else error.reshape(-1)

    @cached_property
    def peak(self) -> float:
        """The largest absolute value; NaN where there is one."""
        flat = self.flat
        # No array of absolute values; NaN goes through both.
        return max(float(flat.max()), -float(flat.min())) if flat.size else 0.0

    @cached_property
    def largest(self) -> float:
        """The largest absolute value of the finite elements."""
        if np.isfinite(self.peak):
            return self.peak
        return float(np.abs(self.flat[np.isfinite(self.flat)]).max(initial=0.0))


def compare(
    names: tuple[str, str], pair: tuple[Estimate, Estimate], allowances: Allowances
) -> Comparison:
    """Compare elementwise; rounding is measured only where the cheap allowance is exceeded."""
    return compare_sides(names, (Side(pair[0]), Side(pair[1])), allowances)


def compare_sides(
    names: tuple[str, str],
    sides: tuple[Side, Side],
    allowances: Allowances,
    cheap: Comparison | None = None,
) -> Comparison:
    """The same of sides; `cheap` is what `compare_cheaply` found, where that is known."""
    found = cheap or compare_cheaply(sides, allowances)
    if found.agree or allowances.by_person:
        return found
    known = [r for r in (allowances.rounding(name) for name in names) if r is not None]
    if not known:
        return found
    return replace(_compare(sides, allowances, sum(known)), measured=True)


def compare_cheaply(sides: tuple[Side, Side], allowances: Allowances) -> Comparison:
    """Compare with the allowance that nothing has to be measured for."""
    return _compare(sides, allowances, None)


def same(a: Array, b: Array) -> bool:
    """Whether two arrays of one shape hold the same numbers, NaN at the same places included."""
    if a is b:
        return True
    left, right = a.reshape(-1), b.reshape(-1)
    return all(_same(left[part], right[part]) for part in blocks(left.size))


def blocks(count: int) -> list[slice]:
    """Slices that together are `count` elements, each short enough to stay in the cache."""
    return [slice(start, start + BLOCK) for start in range(0, count, BLOCK)]


def _same(left: Array, right: Array) -> bool:
    equal = left == right
    return bool(equal.all()) or bool((equal | (np.isnan(left) & np.isnan(right))).all())


def locate(
    pair: tuple[Estimate, Estimate], comparison: Comparison, allowances: Allowances
) -> Comparison:
    """`comparison` with a wrong element found by bisection, where probes only saw that there is one."""
    a, b = pair
    probes = a.probes or b.probes
    if comparison.agree or comparison.worst is not None or probes is None:
        return comparison
    ours = Side(b if a.probes else a)
    gradient = ours.estimate.gradient
    found = find(gradient, probes, _tolerance(ours.largest, allowances))
    index = tuple(int(i) for i in np.unravel_index(found.element, gradient.shape))
    own = float(gradient[index])
    with np.errstate(all="ignore"):
        apart = np.float64(abs(own - found.value))
        relative = apart / max(abs(own), abs(found.value))
    return replace(
        comparison,
        worst=index,
        values=(found.value, own) if a.probes else (own, found.value),
        max_abs=float(np.nan_to_num(apart, nan=np.inf)),
        max_rel=float(np.nan_to_num(relative, nan=np.inf)),
        mismatched=2 if found.more else 1,
        note=found.note,
    )


def _compare(sides: tuple[Side, Side], allowances: Allowances, rounding: Any) -> Comparison:
    a, b = (side.estimate for side in sides)
    probes = a.probes or b.probes
    if probes is not None:
        ours = sides[1] if a.probes else sides[0]
        tolerance = _tolerance(ours.largest, allowances)
        ratio, max_abs, max_rel, visible = held_against(ours.flat, probes, tolerance, rounding)
        return Comparison(
            ratio, max_abs, max_rel, None, 0, ours.flat.size, bitwise=False, visible=visible
        )
    left, right = (side.flat for side in sides)
    if not left.size:
        return Comparison(0.0, 0.0, 0.0, None, 0, 0, bitwise=True)
    doubts = [side.doubt for side in sides if side.doubt is not None]
    if rounding is not None:
        rounding = capped(np.reshape(rounding, -1), allowances.kinks)
        doubts.append(rounding)
    tolerance = _tolerance(max(side.largest for side in sides), allowances)
    if same(left, right):
        return _equal(sides, tolerance, doubts)
    kinks = allowances.kinks
    if kinks is not None and kinks.kinks:
        parts = [_compare_part(left, right, doubts, tolerance, kinks, kinks is a or kinks is b)]
    else:
        parts = [
            _compare_part(left[part], right[part], [d[part] for d in doubts], tolerance)
            for part in blocks(left.size)
        ]
    worst = max(range(len(parts)), key=lambda k: parts[k].ratio)
    flat = worst * BLOCK + parts[worst].worst
    found = Comparison(
        ratio=parts[worst].ratio,
        max_abs=max(part.max_abs for part in parts),
        max_rel=max(part.max_rel for part in parts),
        worst=tuple(int(i) for i in np.unravel_index(flat, a.gradient.shape)),
        mismatched=sum(part.mismatched for part in parts),
        elements=left.size,
        bitwise=False,
        values=(float(left[flat]), float(right[flat])),
        visible=max(part.visible for part in parts),
    )
    return found if kinks is None else _along_ties(sides, found, tolerance, rounding, kinks)


def _along_ties(
    sides: tuple[Side, Side],
    found: Comparison,
    tolerance: tuple[float, float],
    rounding: Array | None,
    kinks: Estimate,
) -> Comparison:
    """`found`, or what directions in which tied elements move together say, if that is worse."""
    ties = kinks.ties
    judged = [side for side in sides if side.estimate is not kinks]
    if ties is None or not judged:
        return found
    gradients = [side.flat[ties.elements] for side in judged]
    if not all(np.isfinite(gradient).all() for gradient in gradients):
        return found
    base, rtol = tolerance
    allowed = base + rtol * np.max(np.abs(gradients), axis=0)
    for side in judged:
        if side.doubt is not None:
            allowed = allowed + side.doubt[ties.elements]
    rounded = np.zeros(ties.elements.size) if rounding is None else rounding[ties.elements]
    center = kinks.gradient.reshape(-1)[ties.elements]
    tied = against_ties(gradients, center, allowed, rounded, ties)
    if tied.ratio <= max(found.ratio, 1.0):
        return found
    left, right = (float(side.flat[tied.element]) for side in sides)
    return replace(
        found,
        ratio=tied.ratio,
        max_abs=max(found.max_abs, tied.error),
        worst=tuple(
            int(i) for i in np.unravel_index(tied.element, sides[0].estimate.gradient.shape)
        ),
        mismatched=max(found.mismatched, 1),
        values=(left, right),
        note="right by itself, but not together with the elements that it is tied with",
    )


def _equal(
    sides: tuple[Side, Side], tolerance: tuple[float, float], doubts: Sequence[Array]
) -> Comparison:
    flat = sides[0].flat
    base, rtol = tolerance
    return Comparison(
        ratio=0.0,
        max_abs=0.0,
        max_rel=0.0,
        worst=(0,) * sides[0].estimate.gradient.ndim,
        mismatched=0,
        elements=flat.size,
        bitwise=True,
        values=(float(flat[0]),) * 2,
        visible=base + rtol * sides[0].largest + sum(float(doubt.max()) for doubt in doubts),
    )


class _Part(NamedTuple):
    """What a block of elements comes to; `worst` is counted from its start."""

    ratio: float
    max_abs: float
    max_rel: float
    worst: int
    mismatched: int
    visible: float


def _compare_part(
    left: Array,
    right: Array,
    doubts: Sequence[Array],
    tolerance: tuple[float, float],
    kinks: Estimate | None = None,
    by_differences: bool = False,
) -> _Part:
    """Compare elements in a row; `by_differences` where one side is what knows of the kinks."""
    base, rtol = tolerance
    with np.errstate(all="ignore"):
        error = left - right
        np.abs(error, out=error)
        size, other = np.abs(left), np.abs(right)
        np.maximum(size, other, out=size)
        allowance = np.multiply(size, rtol, out=other)
        allowance += base
        for doubt in doubts:
            allowance += doubt
        if kinks is not None:
            error, allowance = _at_kinks(left, right, error, allowance, kinks)
        visible = float(allowance.max())
        ratio, relative = error / allowance, error / size
        if not (visible < np.inf and ratio.max() < np.inf):
            # No error: the same on both sides, or one side says that it can't tell.
            nothing = (left == right) | (np.isnan(left) & np.isnan(right))
            for doubt in doubts:
                nothing |= np.isinf(doubt)
            if kinks is not None and by_differences:
                # At a kink, differences have nothing to say against NaN.
                nothing |= kinks.at_kink.reshape(-1) & np.isnan(size)
            for numbers in (error, ratio, relative):
                numbers[np.isnan(numbers)] = np.inf
                numbers[nothing] = 0.0
            visible = float(allowance[np.isfinite(size)].max(initial=0.0))
        worst = int(ratio.argmax())
        largest = float(ratio[worst])
        return _Part(
            ratio=largest,
            max_abs=float(error.max()),
            # 0/0 is no error.
            max_rel=float(np.fmax.reduce(relative, initial=0.0)),
            worst=worst,
            mismatched=int(np.count_nonzero(ratio > 1)) if largest > 1 else 0,
            visible=visible,
        )


def _tolerance(largest: float, allowances: Allowances) -> tuple[float, float]:
    """The allowance of an element of size 0, and what is added relative to an element's size."""
    rtol = RTOL if allowances.rtol is None else allowances.rtol
    atol = ATOL_OF_LARGEST * largest if allowances.atol is None else allowances.atol
    return atol, rtol


def _at_kinks(
    left: Array, right: Array, error: Array, allowance: Array, kinks: Estimate
) -> tuple[Array, Array]:
    """At a kink, the error is what lies outside of the interval of one-sided derivatives."""
    assert kinks.low is not None
    assert kinks.high is not None
    assert kinks.error is not None
    low, high = kinks.low.reshape(-1), kinks.high.reshape(-1)
    outside = np.maximum.reduce([low - left, left - high, low - right, right - high])
    beyond = np.maximum(outside, 0.0)
    at_kink = kinks.at_kink.reshape(-1)
    return (
        np.where(at_kink, np.minimum(error, beyond), error),
        np.where(at_kink, allowance + kinks.error.reshape(-1), allowance),
    )
