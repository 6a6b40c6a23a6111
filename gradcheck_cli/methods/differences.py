"""Central differences at several step sizes, extrapolated (Richardson), with an honest error estimate.

The estimate comes from the tableau and from the function's noise, which is measured (after Moré and Wild,
Estimating Computational Noise, SIAM J. Sci. Comput. 33, 2011). Kinks show as one-sided slopes that stay
apart as the step shrinks. What can't be told has an infinite error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_cli.methods.sweep import EPS, power_of_two

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.methods.sweep import Problem, Sweep

# First steps of the tableaus, relative to the input's magnitude; each goes on to a half and a quarter.
_FIRST_STEPS = (2.0**-6, 2.0**-13, 2.0**-20, 2.0**-28)
# An estimate this good, relative to the slope, needs no smaller step; one this bad asks for both sides.
_GOOD, _BAD = 1e-8, 1e-5
# What the terms of a slope that cancels count for its size.
_SHARE = 1e-3
_SIDE_STEPS = (2.0**-22, 2.0**-26)
# A slope's deviation in standard deviations of the outputs' noise: four are never exceeded in practice.
_SIGMAS = 4.0
# Relative changes of the input that only change how results round.
_JITTER = 2.0**-44


class Slopes(NamedTuple):
    """Per moved element: slope, error, one-sided slopes (equal: no kink), sum of the absolute terms."""

    slope: Array
    error: Array
    low: Array
    high: Array
    scale: Array


class _Tableau(NamedTuple):
    """`noisy` marks errors that are mostly rounding, which a smaller step would only make worse."""

    slope: Array
    error: Array
    scale: Array
    noisy: Array

    @property
    def size(self) -> Array:
        """What the error is held against: the slope, and a little of the terms of one that cancels."""
        return np.abs(self.slope) + _SHARE * self.scale

    def improve(self, where: Any, other: _Tableau) -> None:
        """Take over, at the positions `where`, what `other` knows better."""
        better = other.error < self.error[where]
        for ours, theirs in zip(self, other, strict=True):
            ours[where] = np.where(better, theirs, ours[where])


def noise_of(problem: Problem, disturbed: Sequence[Array]) -> Array:
    """The standard deviation of each output's rounding error.

    Seen in second differences of tiny moves, which show how kernels round within, and in `disturbed`
    outputs, which show what cancels between kernels.
    """
    spread = 0.75 + 0.25 * np.cos(np.arange(problem.point.size)).reshape(problem.point.shape)
    values = [problem.base]
    values += [problem.evaluate(problem.point * (1 + _JITTER * k * spread)) for k in range(1, 5)]
    seconds = [np.abs(values[k] - 2 * values[k + 1] + values[k + 2]) for k in range(3)]
    # Var(a - 2b + c) = 6 sigma^2, and the median of |N(0, 1)| is 0.67. A jump spoils one of three.
    jitter = np.median(seconds, axis=0) / (0.67 * 6**0.5)
    apart = [np.abs(value - problem.base) for value in disturbed]
    # A result that happens to be exact still counts as rounded once.
    return np.asarray(np.fmax.reduce([jitter, *apart, EPS / 2 * np.abs(problem.base)]))


def slopes_of(problem: Problem, sweep: Sweep, noise: Array) -> Slopes:
    """Differentiate along every moved element of `sweep`, with steps that fit each."""
    size = problem.sizes[sweep.moved]
    noise = np.abs(problem.weight) * noise
    best = _tableau(problem, sweep, _FIRST_STEPS[0] * size, noise)
    seen = [(slice(None), best.slope.copy(), best.error.copy())]
    for first in (*_FIRST_STEPS[1:], None):
        todo = ~(best.error <= _GOOD * best.size) & ~best.noisy
        if not todo.any():
            break
        where, part = sweep.part(todo)
        step = first * size[where] if first else _own_steps(problem, part)
        found = _tableau(problem, part, step, noise)
        seen.append((where, found.slope, found.error))
        best.improve(where, found)
    slope, error = best.slope, best.error.copy()
    # A tableau whose estimate is small by luck is contradicted by another one.
    for where, other, doubt in seen:
        gap = np.abs(slope[where] - other) - doubt
        error[where] = np.fmax(error[where], np.where(np.isfinite(gap), gap, 0.0))
    plain = Slopes(slope, error, slope.copy(), slope.copy(), best.scale)
    unsure = ~(error <= _BAD * best.size)
    if unsure.any():
        where, part = sweep.part(unsure)
        sides = _sides(problem, part, noise)
        # Sides that meet confirm a slope that is known better without them.
        meet = (sides.low == sides.high) & np.isfinite(sides.error)
        taken = unsure[where] & ~(meet & (error[where] < sides.error))
        for ours, theirs in zip(plain, sides, strict=True):
            ours[where] = np.where(taken, theirs, ours[where])
    return plain


def _own_steps(problem: Problem, sweep: Sweep) -> Array:
    """Steps from the element's own magnitude however small, for points close to a kink or an edge at 0."""
    own = np.abs(problem.point.reshape(-1)[sweep.moved])
    return np.where(own > 0, power_of_two(own) / 8, np.nan)


def _tableau(problem: Problem, sweep: Sweep, step: Array, noise: Array) -> _Tableau:
    """Richardson's extrapolation of three central differences; its error is infinite at a suspected kink.

    Twice extrapolated, the slope is off by O(h^6); the estimate, from the difference of the two slopes
    extrapolated once, is O(h^4), and O(h) like the error itself where the second derivative jumps.
    """
    slopes, gaps = [], []
    for halving in range(3):
        wide = step / 2**halving
        above, below = problem.at(sweep, wide), problem.at(sweep, -wide)
        change = problem.weight * (above - below)
        slopes.append(sweep.gather(change) / (2 * wide))
        gaps.append(
            sweep.gather(problem.weight * (above - problem.base + (below - problem.base))) / wide
        )
    moved = (above != problem.base) | (below != problem.base)
    rounding = _SIGMAS * _gathered(sweep, noise, moved) / wide
    scale = sweep.gather(np.abs(change)) / (2 * wide)
    rounding += 4 * EPS * scale
    once = [(4 * slopes[k + 1] - slopes[k]) / 3 for k in range(2)]
    twice = (16 * once[1] - once[0]) / 15
    # The gap between the one-sided slopes, extrapolated to step 0: it vanishes but for a kink, and nearly
    # so but for a kink of the derivative.
    kink = [2 * gaps[k + 1] - gaps[k] for k in range(2)]
    apart = np.abs((8 * kink[1] - kink[0]) / 7)
    suspect = apart > 2 * np.abs(kink[1] - kink[0]) + 16 * rounding
    truncation = np.abs(once[1] - once[0]) + apart
    unknown = suspect | np.isnan(truncation) | np.isnan(rounding)
    error = np.where(unknown, np.inf, truncation + rounding)
    return _Tableau(twice, error, scale, ~unknown & (truncation <= rounding))


def _gathered(sweep: Sweep, noise: Array, moved: Array) -> Array:
    """The noise of all outputs that depend on an element.

    An output that one element alone doesn't move need not depend on it.
    """
    return sweep.gather(np.where(moved, noise, 0.0) if sweep.apart else noise)


def _sides(problem: Problem, sweep: Sweep, noise: Array) -> Slopes:
    """The two one-sided slopes: a kink if both converge and differ, undecided if one doesn't.

    They diverge at a jump and at an infinite slope, and one of them is NaN at the edge of a domain.
    """
    size = problem.sizes[sweep.moved]
    found = []
    scale = np.zeros(sweep.count)
    for sign in (1.0, -1.0):
        slopes = []
        for step in _SIDE_STEPS:
            outputs = problem.at(sweep, sign * step * size)
            change = problem.weight * (outputs - problem.base)
            slopes.append(sweep.gather(change) / (sign * step * size))
            scale = np.fmax(scale, sweep.gather(np.abs(change)) / (step * size))
        found.append(slopes)
    every = np.ones(np.shape(change), bool)
    rounding = _SIGMAS * _gathered(sweep, noise, every) / (_SIDE_STEPS[1] * size)
    limits, errors, converged = [], [], np.ones(sweep.count, bool)
    for first, second in found:
        drift = np.abs(second - first)
        steady = drift <= 1e-2 * np.abs(second) + rounding
        # To zero, like a power of the step: the rest is at most where it began.
        vanishing = np.abs(second) <= 0.3 * np.abs(first)
        converged &= (steady | vanishing) & np.isfinite(second)
        limits.append((16 * second - first) / 15)
        errors.append(np.where(vanishing & ~steady, np.abs(first), drift / 4) + rounding)
    low, high = np.minimum(*limits), np.maximum(*limits)
    doubt = errors[0] + errors[1]
    kink = converged & (high - low > doubt)
    middle = (low + high) / 2
    error = np.where(kink, doubt, doubt + (high - low))
    return Slopes(
        np.where(converged, middle, np.nan),
        np.where(converged, error, np.inf),
        np.where(kink, low, middle),
        np.where(kink, high, middle),
        scale,
    )
