"""One-sided slopes at several scales: they tell a kink, a jump, and the edge of a domain apart.

What a slope does as its step h shrinks says what is there: it converges; it grows like 1/h at a jump, where
the change itself stays; it grows without the change staying where the derivative is infinite; and it isn't
a number where the domain ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_cli.methods.gradients import EDGE, JUMP, KINK, SMOOTH, UNKNOWN
from gradcheck_cli.methods.sweep import EPS

if TYPE_CHECKING:
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.methods.sweep import Problem, Sweep

# Steps relative to the input's magnitude, each a sixteenth of the one before.
_STEPS = (2.0**-18, 2.0**-22, 2.0**-26)
_SHRINKS = 16.0
# The step at which a jump is to be seen still, and so many times the slopes' ratio further.
_TINY_STEP, _FURTHER = 2.0**-40, 3.5
# How far a slope may still move at the smallest step, relative to itself, and be called steady.
_STEADY = 1e-2
# One that moves by less needs no third step to be seen to.
_SETTLED = 1e-6
# A slope that goes to zero like a power of the step is below this part of the one before, and so are the
# increments of one that goes to a limit: like h^0.43 or faster.
_VANISHING = 0.3
# At a jump the change stays: all but this part of it, so that |x|^0.02 still counts as continuous.
_STAYS = 0.95
# The increments of a slope that goes to infinity don't shrink: they are equal for x log x, and grow for a
# power. Those of one that converges like h^0.25 are halved.
_KEEPS_GROWING = 0.6
# One-sided slopes that are apart by less than this many times their errors are noise, not a kink.
_RESOLVED = 8.0
# What curvature makes of an output's two slopes at the smallest step, relative to the terms.
_CURVED = 2.0**-16
# A slope's deviation in standard deviations of the outputs' noise: four are never exceeded in practice.
SIGMAS = 4.0


class Slopes(NamedTuple):
    """Per moved element: slope, error, one-sided slopes, sum of the absolute terms, and the place."""

    slope: Array
    error: Array
    low: Array
    high: Array
    scale: Array
    place: Array


class _Side(NamedTuple):
    """What the slopes from one side do: the limit and its error where they converge.

    `changes` are each output's at the two smallest steps; `last` is the slope at the smallest and `growth`
    its ratio to the one before; `jump` is what all steps have in common, over the smallest, and `beyond` the
    slope without it, where `straight` says that it is one: past a jump, or past a kink so close that it
    looks like one.
    """

    limit: Array
    error: Array
    scale: Array
    changes: tuple[Array, Array]
    converges: Array
    jumps: Array
    infinite: Array
    ends: Array
    last: Array
    growth: Array
    jump: Array
    beyond: Array
    straight: Array


def sides_of(problem: Problem, sweep: Sweep, noise: Array) -> Slopes:
    """The one-sided slopes along every moved element, and what they say of the point.

    An element at which one side alone is defined has that side's derivative. Where neither a derivative
    nor two one-sided ones are known the error is infinite; an infinite derivative has its sign.
    """
    above, below = (_side(problem, sweep, noise, sign) for sign in (1.0, -1.0))
    above, below = _close_kink(above, below), _close_kink(below, above)
    above = _persistent(problem, sweep, above, 1.0)
    below = _persistent(problem, sweep, below, -1.0)
    both = above.converges & below.converges
    doubt = above.error + below.error
    low, high = np.minimum(above.limit, below.limit), np.maximum(above.limit, below.limit)
    kink = both & (high - low > _RESOLVED * doubt)
    # Of several outputs each may follow a convention of its own: an element's interval is the sum of theirs.
    lowest, highest = _by_outputs(problem, sweep, noise, above, below)
    slack = 2 * _RESOLVED * doubt + _CURVED * np.fmax(above.scale, below.scale)
    wider = both & (highest - lowest > high - low + slack)
    low, high = np.where(wider, lowest, low), np.where(wider, highest, high)
    kink, doubt = kink | wider, np.where(wider, doubt + slack, doubt)
    one = (above.converges & below.ends) | (below.converges & above.ends)
    only = np.where(above.converges, above.limit, below.limit)
    middle = np.where(both, (low + high) / 2, np.where(one, only, np.nan))
    error = np.where(kink, doubt, doubt + (high - low))
    error = np.where(one, np.where(above.converges, above.error, below.error), error)
    infinite = (above.infinite | below.infinite) & ~(above.jumps | below.jumps)
    place = np.full(sweep.count, UNKNOWN, np.int8)
    place[both] = SMOOTH
    place[kink] = KINK
    place[one | infinite] = EDGE
    place[above.jumps | below.jumps] = JUMP
    # The point itself has no number, but its neighbours do.
    place[_pole(problem, sweep, above.ends & below.ends)] = EDGE
    slope = np.where(infinite, _infinite(above, below), middle)
    return Slopes(
        slope,
        np.where(both | one, error, np.inf),
        np.where(kink, low, slope),
        np.where(kink, high, slope),
        np.fmax(above.scale, below.scale),
        place,
    )


def _side(problem: Problem, sweep: Sweep, noise: Array, sign: float) -> _Side:
    size = problem.sizes[sweep.moved]
    second, changed, scale = _slope(problem, sweep, sign * _STEPS[1] * size)
    third, change, other = _slope(problem, sweep, sign * _STEPS[2] * size)
    scale = np.fmax(scale, other)
    every = np.ones(np.shape(change), bool)
    rounding = SIGMAS * gathered(sweep, noise, every) / (_STEPS[2] * size)
    if (np.abs(third - second) <= _SETTLED * np.abs(third) + rounding).all():
        # The widest step would tell nothing new: as if the slopes were straight.
        first = second - _SHRINKS * (third - second)
    else:
        first, _, other = _slope(problem, sweep, sign * _STEPS[0] * size)
        scale = np.fmax(scale, other)
    finite = np.isfinite(third)
    before, drift = second - first, third - second
    same = (np.sign(third) == np.sign(second)) & (np.abs(third) > 2 * rounding)
    growing = (np.abs(third) > np.abs(second)) & (np.abs(second) > np.abs(first))
    growing &= np.abs(drift) > 4 * rounding
    infinite = finite & same & growing & (np.abs(drift) >= _KEEPS_GROWING * np.abs(before))
    steady = np.abs(drift) <= _STEADY * np.abs(third) + rounding
    # What the change is at step 0, by the two larger steps and by the two smaller ones.
    jumps = finite & ~steady & (drift * before >= 0)
    jumps &= np.abs(drift) >= _STAYS * _SHRINKS * np.abs(before)
    vanishing = np.abs(third) <= _VANISHING * np.abs(second)
    settling = np.abs(drift) <= _VANISHING * np.abs(before)
    beyond = (_SHRINKS * second - third) / (_SHRINKS - 1)
    wider = (_SHRINKS * first - second) / (_SHRINKS - 1)
    straight = np.abs(beyond - wider) <= _STEADY * (np.abs(beyond) + np.abs(wider)) + rounding
    # A drift that grows comes from what all steps have in common, and is not over at the smallest.
    rest = np.where(np.abs(drift) > np.abs(before), 2 * np.abs(drift), np.abs(drift) / 4)
    rest = np.where(settling & ~steady, np.abs(drift), rest)
    error = np.where(vanishing & ~steady, np.abs(second), rest) + rounding + 4 * EPS * scale
    return _Side(
        limit=(_SHRINKS * third - second) / (_SHRINKS - 1),
        error=error,
        scale=scale,
        changes=(sign * changed, sign * change),
        converges=(steady | vanishing | settling) & finite & ~jumps & ~infinite,
        jumps=jumps,
        infinite=infinite & ~jumps,
        ends=~np.isfinite(third),
        last=third,
        growth=np.abs(third / second),
        jump=drift * _SHRINKS / (_SHRINKS - 1),
        beyond=beyond,
        straight=straight,
    )


def _slope(problem: Problem, sweep: Sweep, step: Array) -> tuple[Array, Array, Array]:
    """The slopes to a step's end, each output's change, and what the terms add up to."""
    change = problem.weight * (problem.at(sweep, step) - problem.base)
    return sweep.gather(change) / step, change, sweep.gather(np.abs(change)) / np.abs(step)


def _close_kink(side: _Side, other: _Side) -> _Side:
    """`side` with what looks like a jump taken for a kink within the smallest step, where it may be one.

    Then the change that stays is no more than the two slopes differ by times that step. On which side of
    such a kink a computed value falls is a matter of rounding.
    """
    small = np.abs(side.jump) <= np.abs(other.limit - side.beyond)
    close = side.jumps & other.converges & side.straight & small
    return side._replace(
        limit=np.where(close, side.beyond, side.limit),
        error=np.where(close, _STEADY * np.abs(side.beyond) + other.error, side.error),
        converges=side.converges | close,
        jumps=side.jumps & ~close,
    )


def _persistent(problem: Problem, sweep: Sweep, side: _Side, sign: float) -> _Side:
    """`side` without jumps and infinite slopes that a far smaller step doesn't see.

    Next to a pole a smooth function looks like either at larger steps. A slope that grows like a power of
    the step, or its logarithm, goes on to do so.
    """
    if not (side.jumps | side.infinite).any():
        return side
    step = sign * _TINY_STEP * problem.sizes[sweep.moved]
    change = sweep.gather(problem.weight * (problem.at(sweep, step) - problem.base))
    stays = np.abs(change / step) * _TINY_STEP >= _STAYS * np.abs(side.jump) * _STEPS[-1]
    grows = np.abs(change / step) >= 0.5 * np.abs(side.last) * side.growth**_FURTHER
    return side._replace(jumps=side.jumps & stays, infinite=side.infinite & grows)


def _by_outputs(
    problem: Problem, sweep: Sweep, noise: Array, above: _Side, below: _Side
) -> tuple[Array, Array]:
    """What the one-sided slopes of each output add up to, the lower ones and the higher ones.

    An output whose two slopes are apart by curvature, which shrinks with the step, or by noise has one.
    """
    gap = above.changes[1] - below.changes[1]
    shrinks = np.abs(gap - (above.changes[0] - below.changes[0]) / _SHRINKS) > np.abs(gap) / 4
    smooth = shrinks | (np.abs(gap) <= 2 * _RESOLVED * noise)
    middle = (above.changes[1] + below.changes[1]) / 2
    half = np.where(smooth, 0.0, np.abs(gap) / 2)
    step = _STEPS[-1] * problem.sizes[sweep.moved]
    return sweep.gather(middle - half) / step, sweep.gather(middle + half) / step


def _infinite(above: _Side, below: _Side) -> Array:
    """The infinite derivative where there is one: of one sign from all sides that have a slope."""
    up, down = np.copysign(np.inf, above.limit), np.copysign(np.inf, below.limit)
    agree = above.infinite & below.infinite & (up == down)
    value = np.where(agree | (above.infinite & below.ends), up, np.nan)
    return np.asarray(np.where(below.infinite & above.ends, down, value))


def _pole(problem: Problem, sweep: Sweep, nowhere: Array) -> Array:
    """The elements whose own output has no number, though some neighbour's has: the domain ends here."""
    if not nowhere.any():
        return nowhere
    size = problem.sizes[sweep.moved]
    near = np.zeros(sweep.count, bool)
    for sign in (1.0, -1.0):
        outputs = problem.at(sweep, sign * _STEPS[0] * size)
        defined = np.isfinite(outputs) & ~np.isfinite(problem.base)
        near |= sweep.gather(np.where(defined, 1.0, 0.0)) > 0
    return np.asarray(nowhere & near)


def gathered(sweep: Sweep, noise: Array, moved: Array) -> Array:
    """The noise of all outputs that depend on an element.

    An output that one element alone doesn't move need not depend on it.
    """
    return sweep.gather(np.where(moved, noise, 0.0) if sweep.apart else noise)
