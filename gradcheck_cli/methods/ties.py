"""Elements that are at a kink together: what directional derivatives say of them.

Of two elements tied for a maximum each has one-sided derivatives 0 and 1 by itself, yet (1, 1) and (0, 0) are
wrong: with both moved alike, the function is smooth and its slope is 1. And the median of three equal
numbers does not move with any one of them. What is right at such a point is Clarke's generalised gradient,
the convex hull of the limits of gradients at points nearby (Clarke, Optimization and Nonsmooth Analysis,
1983, theorem 2.5.1), and both kinds of points are seen here by going to points nearby.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.methods.gradients import KINK, SMOOTH, Ties
from gradcheck_cli.methods.sides import SIGMAS, Slopes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.methods.sweep import Problem, Sweep

# Neighbouring points: elements moved in both orders, which is how conventions such as "the first of them"
# break a tie, and at random: as many as move all elements so often together, within bounds. They are moved
# apart by this, relative to their magnitude.
_MOVES, _FEWEST_POINTS, _MOST_POINTS = 256, 8, 32
_APART = 2.0**-22
# All elements together are spread over this many times that.
_SPREAD = 64
# The step of differences, small beside `_APART`, so that no tie lies within it.
_STEP = 2.0**-25
# What slopes at neighbouring points may differ by, relative to the terms, and count as the same: curvature
# over the spread stays far below, and an element that takes part in a tie moves by its whole weight.
_SAME = 1e-3
# What curvature over the spread makes of a slope, relative to the terms.
_CURVED = 2.0**-13
# Elements whose magnitudes differ by more than this are not moved alike, but each by its own.
_ALIKE = 2.0**6
# Random directions beside the one that moves all alike and the one that moves neighbours apart.
_RANDOM_DIRECTIONS = 2


def look(
    problem: Problem, sweeps: Sequence[Sweep], slopes: Slopes, noise: Array, seed: int
) -> tuple[Slopes, Ties | None]:
    """Slopes with intervals that hold all limits of gradients nearby, and what directions say of them.

    `slopes` are those of all elements, flat. An element whose slope nearby lies outside of what it is when
    moved by itself takes part in a tie of more than two. There any element may have the slope that any
    other has: the third of five that are sorted can be each of them, in more orders than can be tried.
    """
    near = _Near(problem, noise, seed)
    limits, bends = near.along_elements(sweeps)
    size, rounding = np.fmax(slopes.scale, np.abs(limits).max(axis=0)), near.rounding(sweeps)
    tolerance = _SAME * size + rounding
    low, high = limits.min(axis=0), limits.max(axis=0)
    known = (slopes.place == KINK) | (slopes.place == SMOOTH)
    hidden = known & np.isfinite(low) & np.isfinite(high)
    hidden &= (low < slopes.low - tolerance) | (high > slopes.high + tolerance)
    if hidden.any():
        tied = hidden | (slopes.place == KINK)
        slopes = _widened(slopes, tied, low, high, _CURVED * size + rounding)
        # One-sided derivatives do not reach all limits: they bound no direction either.
        bends = replace(bends, strays=np.ones(problem.weight.shape, bool))
    elements = np.flatnonzero(slopes.place == KINK)
    return slopes, near.ties(elements, bends) if elements.size > 1 else None


def _widened(slopes: Slopes, tied: Array, low: Array, high: Array, error: Array) -> Slopes:
    """The tied elements at a kink whose interval holds every slope that one of them has nearby."""
    lowest = min(low[tied].min(), slopes.low[tied].min())
    highest = max(high[tied].max(), slopes.high[tied].max())
    return slopes._replace(
        slope=np.where(tied, (lowest + highest) / 2, slopes.slope),
        error=np.where(tied, error, slopes.error),
        low=np.where(tied, lowest, slopes.low),
        high=np.where(tied, highest, slopes.high),
        place=np.where(tied, KINK, slopes.place),
    )


@dataclass(frozen=True)
class _Bends:
    """For each output whether its slope was seen to grow, to fall, or to be outside of its two sides'.

    One that only ever grows is convex around the point, as far as was seen, and one that only ever falls
    concave: then its one-sided directional derivatives bound the products of all right gradients. One that
    does both is a difference of such, where they do not.
    """

    up: Array
    down: Array
    strays: Array

    @property
    def mixed(self) -> Array:
        """The outputs for which one-sided derivatives along a direction bound nothing."""
        return np.asarray(self.strays | (self.up & self.down))

    def join(self, other: _Bends) -> _Bends:
        """What both have seen."""
        return _Bends(self.up | other.up, self.down | other.down, self.strays | other.strays)

    def anywhere(self) -> _Bends:
        """What any row of a stack has seen."""
        return _Bends(*(np.any(seen, axis=0) for seen in (self.up, self.down, self.strays)))


class _Near:
    """The function at neighbouring points."""

    def __init__(self, problem: Problem, noise: Array, seed: int) -> None:
        self._problem = problem
        self._noise = np.abs(problem.weight) * noise
        rng = np.random.default_rng(seed)
        count = problem.point.size
        ramp = (np.arange(count) + 0.5) / count - 0.5
        self._rng = rng
        points = min(max(_MOVES // count, _FEWEST_POINTS), _MOST_POINTS)
        orders = [ramp, -ramp, *rng.uniform(-0.5, 0.5, (points, count))]
        width = _APART * min(count, _SPREAD)
        moved = [
            problem.point + (width * order * problem.sizes).reshape(problem.point.shape)
            for order in orders
        ]
        self._points = [replace(problem, point=point) for point in moved]
        for point in self._points:
            # Steps stay those at the point itself, and a kernel that refuses this one gives NaN.
            point.__dict__.update(sizes=problem.sizes, base=problem.evaluate(point.point))

    def rounding(self, sweeps: Sequence[Sweep]) -> Array:
        """What the slopes along elements may be off by."""
        found = np.empty(self._problem.point.size)
        for sweep in sweeps:
            noise = np.broadcast_to(self._noise, (sweep.count, *self._noise.shape))
            step = _STEP * self._problem.sizes[sweep.moved]
            found[sweep.moved] = SIGMAS * sweep.gather(noise if sweep.apart else self._noise) / step
        return found

    def along_elements(self, sweeps: Sequence[Sweep]) -> tuple[Array, _Bends]:
        """The slope along every element at each neighbouring point, and how outputs bend at the point."""
        problem = self._problem
        limits = np.empty((len(self._points), problem.point.size))
        shape = problem.weight.shape
        bends = _Bends(*(np.zeros(shape, bool) for _ in range(3)))
        for sweep in sweeps:
            step = _STEP * problem.sizes[sweep.moved]
            for row, near in zip(limits, self._points, strict=True):
                change = problem.weight * (near.at(sweep, step) - near.base)
                row[sweep.moved] = sweep.gather(change) / step
            above = problem.weight * (problem.at(sweep, step) - problem.base)
            below = problem.weight * (problem.base - problem.at(sweep, -step))
            seen = self._bend(above, below, [])
            bends = bends.join(seen.anywhere() if sweep.apart else seen)
        return limits, bends

    def _bend(self, above: Array, below: Array, others: Sequence[Array]) -> _Bends:
        """From an output's change forwards, backwards (as if forwards), and at neighbouring points."""
        tolerance = SIGMAS * self._noise + _SAME * (np.abs(above) + np.abs(below))
        low, high = np.minimum(above, below), np.maximum(above, below)
        strays = np.zeros(above.shape, bool)
        for other in others:
            strays |= ~((other >= low - tolerance) & (other <= high + tolerance))
        return _Bends(above > below + tolerance, above < below - tolerance, strays)

    def ties(self, elements: Array, bends: _Bends) -> Ties | None:
        """What directions in `elements`, flat indices, allow."""
        sizes = self._problem.sizes[elements]
        alike = sizes.max() <= _ALIKE * sizes.min()
        rows = np.ones((2 + _RANDOM_DIRECTIONS, elements.size))
        rows[1, 1::2] = -1.0
        rows[2:] = self._rng.choice((-1.0, 1.0), rows[2:].shape)
        rows *= sizes.min() if alike else sizes
        changes = [self._along(elements, row) for row in rows]
        for above, below, others in changes:
            bends = bends.join(self._bend(above, below, others))
        mixed = bends.mixed
        kept = []
        for row, (above, below, others) in zip(rows, changes, strict=True):
            # However an output bends elsewhere, along a direction on which its slope is everywhere the
            # same it is known.
            bend = self._bend(above, below, others)
            if not (mixed & (bend.up | bend.down | bend.strays)).any():
                kept.append((row, *self._bounds(above, below)))
        if not kept:
            return None
        directions, low, high, errors = (np.array(column) for column in zip(*kept, strict=True))
        along = None if mixed.any() else partial(self._any_direction, elements)
        return Ties(elements, directions, low, high, errors, along)

    def _any_direction(self, elements: Array, row: Array) -> tuple[float, float, float]:
        length = float(np.max(np.abs(row) / self._problem.sizes[elements]))
        if not (0 < length < np.inf):
            return 0.0, 0.0, np.inf
        low, high, error = self._bounds(*self._sides(elements, row / length))
        return low * length, high * length, error * length

    def _bounds(self, above: Array, below: Array) -> tuple[float, float, float]:
        """The lowest and highest product of a right gradient with a direction, and their error.

        That an output is convex or concave is known as far as `_SAME`, and so are the bounds.
        """
        low, high = np.minimum(above, below).sum(), np.maximum(above, below).sum()
        size = np.abs(above).sum() + np.abs(below).sum()
        error = 2 * SIGMAS * self._noise.sum() + _SAME * size
        known = np.isfinite(low) and np.isfinite(high)
        return low / _STEP, high / _STEP, error / _STEP if known else np.inf

    def _moved(self, elements: Array, row: Array) -> Array:
        away = np.zeros(self._problem.point.size)
        away[elements] = _STEP * row
        return away.reshape(self._problem.point.shape)

    def _sides(self, elements: Array, row: Array) -> tuple[Array, Array]:
        problem, away = self._problem, self._moved(elements, row)
        with np.errstate(all="ignore"):
            above = problem.weight * (problem.evaluate(problem.point + away) - problem.base)
            below = problem.weight * (problem.base - problem.evaluate(problem.point - away))
        return np.asarray(above), np.asarray(below)

    def _along(self, elements: Array, row: Array) -> tuple[Array, Array, list[Array]]:
        away = self._moved(elements, row)
        others = [
            near.weight * (near.evaluate(near.point + away) - near.base) for near in self._points
        ]
        return *self._sides(elements, row), others
