"""Two gradients of one input held against each other: the allowance, and error / allowance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.methods.gradients import Estimate, Probes

Array = npt.NDArray[Any]

# What two correct float64 computations may differ by without a look at the expression: relative to
# the element, and to the largest element (sums that cancel). Anything above is measured before judging.
RTOL = 1e-9
ATOL_OF_LARGEST = 1e-13
# Errors e that don't know the random signs v add up to |<e, v>| > t ||e|| with a probability below
# 2 exp(-t^2 / 2) (Hoeffding, 1963): for t = 7, never.
_PROBE_DEVIATIONS = 7.0


@dataclass(frozen=True)
class Allowances:
    """What the difference of two gradients of one input may be.

    `rtol` and `atol` are the person's, or None for the default. `rounding(method)` gives the measured
    elementwise rounding of a method; it is called only where the default does not suffice. `kinks` is the
    estimate that knows one-sided derivatives: where they differ, all between them agree.
    """

    rtol: float | None
    atol: float | None
    rounding: Callable[[str], Array | None]
    kinks: Estimate | None = None

    @property
    def by_person(self) -> bool:
        """Whether a tolerance was given."""
        return self.rtol is not None or self.atol is not None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome for all elements of a pair; `values` are the two gradients' elements at `worst`."""

    ratio: float
    max_abs: float
    max_rel: float
    worst: tuple[int, ...] | None
    mismatched: int
    elements: int
    bitwise: bool
    values: tuple[float, float] | None = None

    @property
    def agree(self) -> bool:
        """Whether every element is within its allowance."""
        return self.ratio <= 1.0


def compare(
    names: tuple[str, str], pair: tuple[Estimate, Estimate], allowances: Allowances
) -> Comparison:
    """Compare elementwise; rounding is measured only where the cheap allowance is exceeded."""
    a, b = pair
    if a.gradient is b.gradient or np.array_equal(a.gradient, b.gradient):
        return _equal(a.gradient)
    found = _compare(pair, allowances, None)
    if found.agree or allowances.by_person:
        return found
    known = [r for r in (allowances.rounding(name) for name in names) if r is not None]
    return _compare(pair, allowances, sum(known)) if known else found


def locate(pair: tuple[Estimate, Estimate], comparison: Comparison) -> Comparison:
    """`comparison` with a wrong element found by bisection, where probes only saw that there is one."""
    a, b = pair
    if comparison.agree or comparison.worst is not None or not (a.probes or b.probes):
        return comparison
    gradient, probes = (b.gradient, a.probes) if a.probes else (a.gradient, b.probes)
    assert probes is not None
    index, value = _bisect(gradient, probes)
    ours = float(gradient[index])
    values = (value, ours) if a.probes else (ours, value)
    with np.errstate(all="ignore"):
        apart = np.float64(abs(ours - value))
        relative = apart / max(abs(ours), abs(value))
    return replace(
        comparison,
        worst=index,
        values=values,
        max_abs=float(np.nan_to_num(apart, nan=np.inf)),
        max_rel=float(np.nan_to_num(relative, nan=np.inf)),
        mismatched=1,
    )


def _equal(gradient: Array) -> Comparison:
    if not gradient.size:
        return Comparison(0.0, 0.0, 0.0, None, 0, 0, bitwise=True)
    worst = (0,) * gradient.ndim
    value = float(gradient[worst])
    return Comparison(0.0, 0.0, 0.0, worst, 0, gradient.size, bitwise=True, values=(value, value))


def _compare(pair: tuple[Estimate, Estimate], allowances: Allowances, rounding: Any) -> Comparison:
    a, b = pair
    if a.probes is not None:
        return _along_probes(b.gradient, a.probes, allowances, rounding)
    if b.probes is not None:
        return _along_probes(a.gradient, b.probes, allowances, rounding)
    left, right = a.gradient.reshape(-1), b.gradient.reshape(-1)
    with np.errstate(all="ignore"):
        error = np.abs(left - right)
        size = np.maximum(np.abs(left), np.abs(right))
        allowance = _allowed(size, allowances)
        # No error: the same on both sides, or one side says that it can't tell.
        same = (left == right) | (np.isnan(left) & np.isnan(right))
        nothing = same
        for estimate in pair:
            if estimate.error is not None:
                doubt = estimate.error.reshape(-1)
                allowance = allowance + doubt
                nothing = nothing | np.isinf(doubt)
        if rounding is not None:
            allowance = allowance + np.reshape(rounding, -1)
        kinks = allowances.kinks
        if kinks is not None and kinks.kinks:
            error, allowance = _at_kinks(left, right, error, allowance, kinks)
            # At a kink, differences have nothing to say against NaN.
            if kinks is a or kinks is b:
                nothing = nothing | _is_kink(kinks) & np.isnan(size)
        ratio, relative = error / allowance, error / size
    for numbers in (error, ratio, relative):
        numbers[np.isnan(numbers)] = np.inf
        numbers[nothing] = 0.0
    flat = int(ratio.argmax())
    if not ratio[flat]:
        flat = int(error.argmax())
    return Comparison(
        ratio=float(ratio.max()),
        max_abs=float(error.max()),
        max_rel=float(relative.max()),
        worst=tuple(int(i) for i in np.unravel_index(flat, a.gradient.shape)),
        mismatched=int(np.count_nonzero(ratio > 1)),
        elements=ratio.size,
        bitwise=bool(same.all()),
        values=(float(left[flat]), float(right[flat])),
    )


def _allowed(size: Array, allowances: Allowances) -> Array:
    """What two gradients may differ by where elements have these sizes, estimates left aside."""
    rtol = RTOL if allowances.rtol is None else allowances.rtol
    if allowances.atol is not None:
        return np.asarray(allowances.atol + rtol * size)
    largest = float(size.max(initial=0.0))
    if not np.isfinite(largest):
        largest = float(size[np.isfinite(size)].max(initial=0.0))
    return np.asarray(ATOL_OF_LARGEST * largest + rtol * size)


def _is_kink(estimate: Estimate) -> Array:
    assert estimate.low is not None
    assert estimate.high is not None
    return np.asarray(estimate.low < estimate.high).reshape(-1)


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
    at_kink = low < high
    return (
        np.where(at_kink, np.minimum(error, beyond), error),
        np.where(at_kink, allowance + kinks.error.reshape(-1), allowance),
    )


def _along_probes(
    gradient: Array, probes: Probes, allowances: Allowances, rounding: Any
) -> Comparison:
    """A gradient held against directional derivatives.

    A right gradient's errors don't know the directions' random signs, so they add up like independent ones.
    """
    with np.errstate(all="ignore"):
        allowed = _allowed(np.abs(gradient), allowances)
        if rounding is not None:
            allowed = allowed + rounding
        worst = Comparison(-1.0, 0.0, 0.0, None, 0, gradient.size, bitwise=False)
        for k, (slope, doubt) in enumerate(zip(probes.slopes, probes.errors, strict=True)):
            direction = probes.direction(k)
            error = np.abs((gradient * direction).sum() - slope)
            if np.isinf(doubt) or error == 0:
                error = np.float64(0.0)
            allowance = doubt + _PROBE_DEVIATIONS * np.linalg.norm(allowed * direction)
            typical = np.linalg.norm(gradient * direction)
            numbers = np.array([error / allowance, error, error / typical])
            # NaN here is 0/0 where there is no error, else something that isn't finite.
            ratio, apart, relative = np.nan_to_num(numbers, nan=np.inf if error else 0.0).tolist()
            if ratio > worst.ratio:
                worst = replace(worst, ratio=ratio, max_abs=apart, max_rel=relative)
    return worst


def _bisect(gradient: Array, probes: Probes) -> tuple[tuple[int, ...], float]:
    """The index of an element that is wrong, and its value by the probes' method.

    Of a direction on which the two differ, the half on which they differ more is kept.
    """
    flat = gradient.reshape(-1)
    shape = gradient.shape

    def apart(direction: Array) -> float:
        slope, _ = probes.along(direction.reshape(shape))
        difference = abs(float(flat @ direction) - slope)
        return float(np.nan_to_num(difference, nan=np.inf))

    differences = [
        abs(float((gradient * probes.direction(k)).sum()) - slope)
        for k, slope in enumerate(probes.slopes)
    ]
    direction = probes.direction(int(np.argmax(differences))).reshape(-1)
    kept = np.flatnonzero(~np.isfinite(flat))
    if not kept.size:
        kept = np.arange(flat.size)
    while kept.size > 1:
        halves = kept[: kept.size // 2], kept[kept.size // 2 :]
        found = []
        for half in halves:
            part = np.zeros(flat.size)
            part[half] = direction[half]
            found.append(apart(part))
        kept = halves[int(found[1] > found[0])]
    element = np.zeros(flat.size)
    element[kept] = 1.0
    slope, _ = probes.along(element.reshape(shape))
    return tuple(int(i) for i in np.unravel_index(int(kept[0]), shape)), slope
