"""Elements of two gradients held against each other one by one, as many at once as stay in the cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.methods.gradients import Estimate

Array = npt.NDArray[Any]

# So many elements are compared at once: the few arrays that it takes stay in the cache.
BLOCK = 1 << 14


def blocks(count: int) -> list[slice]:
    """Slices that together are `count` elements, each short enough to stay in the cache."""
    return [slice(start, start + BLOCK) for start in range(0, count, BLOCK)]


class Elements(NamedTuple):
    """Elements in a row held against each other; `visible` is the largest allowance of one."""

    error: Array
    relative: Array
    ratio: Array
    visible: float


def held(
    left: Array,
    right: Array,
    doubts: Sequence[Array],
    tolerance: tuple[float, float],
    kinks: Estimate | None = None,
    by_differences: bool = False,
) -> Elements:
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
    return Elements(error, relative, ratio, visible)


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
