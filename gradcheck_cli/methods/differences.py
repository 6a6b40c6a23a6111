"""Central differences at several step sizes, extrapolated (Richardson), with an honest error estimate.

The estimate comes from the tableau and from the function's noise, which is measured (after Moré and Wild,
Estimating Computational Noise, SIAM J. Sci. Comput. 33, 2011). Where a step leaves the domain the differences
are taken from the other side. Kinks show as one-sided slopes that stay apart as the step shrinks. What can't
be told has an infinite error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_cli.methods.gradients import SMOOTH, UNKNOWN
from gradcheck_cli.methods.sides import SIGMAS, Slopes, gathered, sides_of
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
# Relative changes of the input that only change how results round.
_JITTER = 2.0**-44


class _Tableau(NamedTuple):
    """`noisy` marks errors that are mostly rounding, which a smaller step would only make worse.

    `leaves` marks elements that one of the steps moved out of the domain.
    """

    slope: Array
    error: Array
    scale: Array
    noisy: Array
    leaves: Array

    @property
    def size(self) -> Array:
        """What the error is held against: the slope, and a little of the terms of one that cancels."""
        return np.abs(self.slope) + _SHARE * self.scale

    def improve(self, where: Any, other: _Tableau) -> None:
        """Take over, at the positions `where`, what `other` knows better.

        Two sides know better than one: past an edge within the step, that one's estimate may be far off.
        """
        leaves, known = self.leaves[where], np.isfinite(self.error[where])
        better = (other.error < self.error[where]) & (leaves | ~other.leaves | ~known)
        better |= leaves & ~other.leaves & np.isfinite(other.error)
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
    seen = [(slice(None), best.slope.copy(), best.error.copy(), best.leaves.copy())]
    for first in (*_FIRST_STEPS[1:], None):
        todo = ~(best.error <= _GOOD * best.size) & ~best.noisy
        if not todo.any():
            break
        where, part = sweep.part(todo)
        step = first * size[where] if first else _own_steps(problem, part)
        found = _tableau(problem, part, step, noise)
        seen.append((where, found.slope, found.error, found.leaves))
        best.improve(where, found)
    slope, error = best.slope, best.error.copy()
    # A tableau whose estimate is small by luck is contradicted by another one; one of two sides, not by one
    # of one side, past an edge within the step.
    for where, other, doubt, leaves in seen:
        gap = np.abs(slope[where] - other) - doubt
        counts = np.isfinite(gap) & (best.leaves[where] | ~leaves)
        error[where] = np.fmax(error[where], np.where(counts, gap, 0.0))
    place = np.full(slope.shape, SMOOTH, np.int8)
    plain = Slopes(slope, error, slope.copy(), slope.copy(), best.scale, place)
    unsure = ~(error <= _BAD * best.size) | best.leaves
    if unsure.any():
        where, part = sweep.part(unsure)
        sides = sides_of(problem, part, noise)
        # Sides that meet confirm a slope that is known better without them.
        meet = (sides.low == sides.high) & np.isfinite(sides.error)
        taken = unsure[where] & ~(meet & (error[where] < sides.error))
        known = unsure[where] & (sides.place != UNKNOWN)
        for ours, theirs in zip(plain[:-1], sides[:-1], strict=True):
            ours[where] = np.where(taken, theirs, ours[where])
        place[where] = np.where(taken | known, sides.place, place[where])
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
    slopes, gaps, outputs = [], [], []
    for halving in range(3):
        wide = step / 2**halving
        above, below = problem.at(sweep, wide), problem.at(sweep, -wide)
        change = problem.weight * (above - below)
        slopes.append(sweep.gather(change) / (2 * wide))
        gaps.append(
            sweep.gather(problem.weight * (above - problem.base + (below - problem.base))) / wide
        )
        outputs.append((above, below))
    moved = (above != problem.base) | (below != problem.base)
    rounding = SIGMAS * gathered(sweep, noise, moved) / wide
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
    found = _Tableau(
        twice, error, scale, ~unknown & (truncation <= rounding), np.zeros(error.shape, bool)
    )
    leaves = ~np.isfinite(twice)
    if leaves.any():
        for sign, side in ((1.0, [above for above, _ in outputs]), (-1.0, [b for _, b in outputs])):
            inside = _one_sided(problem, sweep, sign * step, side, noise)
            inside.error[~leaves] = np.inf
            found.improve(slice(None), inside)
        found.leaves[...] = leaves
    return found


def _one_sided(
    problem: Problem, sweep: Sweep, step: Array, outputs: Sequence[Array], noise: Array
) -> _Tableau:
    """Richardson's extrapolation of three differences from one side, whose outputs are known.

    Off by O(h^3), and the estimate is O(h^2).
    """
    slopes = []
    for halving, moved in enumerate(outputs):
        change = problem.weight * (moved - problem.base)
        slopes.append(sweep.gather(change) / (step / 2**halving))
    last = np.abs(step) / 4
    # The smallest step's difference enters eight thirds times, with the noise of two values.
    rounding = 4 * SIGMAS * gathered(sweep, noise, outputs[-1] != problem.base) / last
    scale = sweep.gather(np.abs(change)) / last
    rounding += 4 * EPS * scale
    once = [2 * slopes[k + 1] - slopes[k] for k in range(2)]
    twice = (4 * once[1] - once[0]) / 3
    truncation = np.abs(twice - once[1])
    unknown = np.isnan(truncation) | np.isnan(rounding)
    error = np.where(unknown, np.inf, truncation + rounding)
    noisy = ~unknown & (truncation <= rounding)
    return _Tableau(twice, error, scale, noisy, np.ones(error.shape, bool))
