"""Two gradients of one input held against each other: the allowance, and error / allowance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gradcheck_cli.verdict.elementwise import Elements, blocks, held
from gradcheck_cli.verdict.kinks import against_ties, capped
from gradcheck_cli.verdict.probing import find, held_against

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from gradcheck_cli.methods.gradients import Estimate

Array = npt.NDArray[Any]

# What two correct float64 computations may differ by without a look at the expression: relative to
# the element, and to the largest element (sums that cancel). Anything above is measured before judging.
RTOL = 1e-9
ATOL_OF_LARGEST = 1e-13


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

    def at_kinks_of(self, estimates: Iterable[Estimate]) -> Allowances:
        """The same with the one-sided derivatives of the first that knows of some."""
        kinks = next((estimate for estimate in estimates if estimate.kinks), None)
        return self if kinks is None else replace(self, kinks=kinks)


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
    if found.agree:
        return found
    rounding = _rounding(names, allowances)
    if rounding is None:
        return found
    return replace(_compare(sides, allowances, rounding), measured=True)


def ratios(
    names: tuple[str, str], pair: tuple[Estimate, Estimate], allowances: Allowances
) -> Array:
    """The error over the allowance of every element, in the gradients' shape, of two that differ.

    The allowance is the one that `compare` ends with where the cheap one is exceeded. What elements say
    together (`Ties`) isn't in it. Neither gradient may be known along probes only.
    """
    sides = Side(pair[0]), Side(pair[1])
    doubts, tolerance, _ = _allowed(sides, allowances, _rounding(names, allowances))
    found = np.empty(sides[0].flat.size)
    for part, elements in _elements(sides, doubts, tolerance, allowances.kinks):
        found[part] = elements.ratio
    return found.reshape(pair[0].gradient.shape)


def _rounding(names: tuple[str, str], allowances: Allowances) -> Array | None:
    """What rounding adds to the allowance; None where it isn't known, or a person has said what counts."""
    if allowances.by_person:
        return None
    known = [r for r in (allowances.rounding(name) for name in names) if r is not None]
    return np.asarray(sum(known)) if known else None


def compare_cheaply(sides: tuple[Side, Side], allowances: Allowances) -> Comparison:
    """Compare with the allowance that nothing has to be measured for."""
    return _compare(sides, allowances, None)


def same(a: Array, b: Array) -> bool:
    """Whether two arrays of one shape hold the same numbers, NaN at the same places included."""
    if a is b:
        return True
    left, right = a.reshape(-1), b.reshape(-1)
    return all(_same(left[part], right[part]) for part in blocks(left.size))


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


def _compare(
    sides: tuple[Side, Side], allowances: Allowances, rounding: Array | None
) -> Comparison:
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
    doubts, tolerance, rounding = _allowed(sides, allowances, rounding)
    if same(left, right):
        return _equal(sides, tolerance, doubts)
    kinks = allowances.kinks
    parts = [
        _summed_up(elements, part.start)
        for part, elements in _elements(sides, doubts, tolerance, kinks)
    ]
    worst = max(parts, key=lambda part: part.ratio)
    found = Comparison(
        ratio=worst.ratio,
        max_abs=max(part.max_abs for part in parts),
        max_rel=max(part.max_rel for part in parts),
        worst=tuple(int(i) for i in np.unravel_index(worst.worst, a.gradient.shape)),
        mismatched=sum(part.mismatched for part in parts),
        elements=left.size,
        bitwise=False,
        values=(float(left[worst.worst]), float(right[worst.worst])),
        visible=max(part.visible for part in parts),
    )
    return found if kinks is None else _along_ties(sides, found, tolerance, rounding, kinks)


def _allowed(
    sides: tuple[Side, Side], allowances: Allowances, rounding: Array | None
) -> tuple[list[Array], tuple[float, float], Array | None]:
    """What is allowed per element and of all, and the rounding that is in the former."""
    doubts = [side.doubt for side in sides if side.doubt is not None]
    if rounding is not None:
        rounding = capped(np.reshape(rounding, -1), allowances.kinks)
        doubts.append(rounding)
    return doubts, _tolerance(max(side.largest for side in sides), allowances), rounding


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
    """What a block of elements comes to; `worst` is counted from the first of all."""

    ratio: float
    max_abs: float
    max_rel: float
    worst: int
    mismatched: int
    visible: float


def _summed_up(elements: Elements, start: int) -> _Part:
    worst = int(elements.ratio.argmax())
    largest = float(elements.ratio[worst])
    return _Part(
        ratio=largest,
        max_abs=float(elements.error.max()),
        # 0/0 is no error.
        max_rel=float(np.fmax.reduce(elements.relative, initial=0.0)),
        worst=start + worst,
        mismatched=int(np.count_nonzero(elements.ratio > 1)) if largest > 1 else 0,
        visible=elements.visible,
    )


def _elements(
    sides: tuple[Side, Side],
    doubts: Sequence[Array],
    tolerance: tuple[float, float],
    kinks: Estimate | None,
) -> Iterator[tuple[slice, Elements]]:
    """All elements, block by block; in one block where some are at kinks."""
    left, right = (side.flat for side in sides)
    if kinks is not None and kinks.kinks:
        by_differences = any(side.estimate is kinks for side in sides)
        everything = slice(0, left.size)
        yield everything, held(left, right, doubts, tolerance, kinks, by_differences)
        return
    for part in blocks(left.size):
        yield part, held(left[part], right[part], [d[part] for d in doubts], tolerance)


def _tolerance(largest: float, allowances: Allowances) -> tuple[float, float]:
    """The allowance of an element of size 0, and what is added relative to an element's size."""
    rtol = RTOL if allowances.rtol is None else allowances.rtol
    atol = ATOL_OF_LARGEST * largest if allowances.atol is None else allowances.atol
    return atol, rtol
