"""Two gradients of one input held against each other: the allowance, and error / allowance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

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
    elementwise rounding of a method; it is called only where the default does not suffice.
    """

    rtol: float | None
    atol: float | None
    rounding: Callable[[str], Array | None]

    @property
    def by_person(self) -> bool:
        """Whether a tolerance was given."""
        return self.rtol is not None or self.atol is not None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome for all elements of a pair."""

    ratio: float
    max_abs: float
    max_rel: float
    worst: tuple[int, ...] | None
    mismatched: int
    elements: int
    bitwise: bool

    @property
    def agree(self) -> bool:
        """Whether every element is within its allowance."""
        return self.ratio <= 1.0


def compare(
    names: tuple[str, str], pair: tuple[Estimate, Estimate], allowances: Allowances
) -> Comparison:
    """Compare elementwise; rounding is measured only where the cheap allowance is exceeded."""
    first = _compare(pair, allowances, None)
    if first.agree or allowances.by_person:
        return first
    known = [r for r in (allowances.rounding(name) for name in names) if r is not None]
    return _compare(pair, allowances, sum(known)) if known else first


def _compare(
    pair: tuple[Estimate, Estimate], allowances: Allowances, rounding: Any
) -> Comparison:
    a, b = pair
    left, right = a.gradient, b.gradient
    mask = _both(a.sampled, b.sampled)
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(left), np.abs(right))
        error = _outside(left, right, a, b)
        finite = size[np.isfinite(size)]
        largest = float(finite.max()) if finite.size else 0.0
        rtol = RTOL if allowances.rtol is None else allowances.rtol
        atol = ATOL_OF_LARGEST * largest if allowances.atol is None else allowances.atol
        allowance = atol + rtol * size
        for estimate in pair:
            if estimate.error is not None:
                allowance = allowance + estimate.error
        if rounding is not None:
            allowance = allowance + rounding
        ratio = np.where(error == 0, 0.0, error / allowance)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    ratio = np.where(same, 0.0, np.where(np.isnan(ratio), np.inf, ratio))
    error = np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))
    if mask is not None:
        ratio, error = np.where(mask, ratio, 0.0), np.where(mask, error, 0.0)
    if ratio.size == 0:
        return Comparison(0.0, 0.0, 0.0, None, 0, 0, bitwise=True)
    flat = int(np.argmax(ratio))
    if not ratio.reshape(-1)[flat]:
        flat = int(np.argmax(error))
    with np.errstate(all="ignore"):
        relative = np.where(error == 0, 0.0, error / size)
    return Comparison(
        ratio=float(ratio.max()),
        max_abs=float(error.max()),
        max_rel=float(np.where(np.isnan(relative), np.inf, relative).max()),
        worst=tuple(int(i) for i in np.unravel_index(flat, ratio.shape)),
        mismatched=int(np.count_nonzero(ratio > 1)),
        elements=int(ratio.size if mask is None else np.count_nonzero(mask)),
        bitwise=bool(np.array_equal(left, right, equal_nan=True)),
    )


def _outside(left: Array, right: Array, a: Estimate, b: Estimate) -> Array:
    """The distance; at a kink the distance from the interval of one-sided derivatives."""
    error = np.abs(left - right)
    for estimate, other in ((a, right), (b, left)):
        if estimate.low is not None and estimate.high is not None and estimate.kinks:
            beyond = np.maximum(np.maximum(estimate.low - other, other - estimate.high), 0.0)
            error = np.where(estimate.low < estimate.high, np.minimum(error, beyond), error)
    return error


def _both(a: Array | None, b: Array | None) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    return a & b


