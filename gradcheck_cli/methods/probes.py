"""Derivatives along random directions, for inputs too large to go through element by element.

A direction moves every element i by its magnitude s_i times v_i = +-(1 + u_i): a random sign (Rademacher's)
and u_i uniform on the multiples of 2^-15 from 0 to 1, all independent. With an error e of the gradient and
c_i = e_i s_i a probe sees the number S = sum c_i v_i, and misses the error where |S| <= t, the allowance.

- One wrong element: |S| >= |c|, at full size whatever the sign. It is never missed where |c| > t.
- Several, the largest of them c: given all the others, S = r + c v, and of the 2^16 equally likely values of
  v at most 2^16 t/c + 1 lie in the interval of length 2t/c that misses. So a probe misses them with a
  probability of at most t/c + 2^-16, and k independent ones with (t/c + 2^-16)^k, however the elements
  were made to cancel. (Signs alone would miss two equal errors every second time.)

Two probes therefore miss an error with c >= 1024 t with a probability below 1e-6.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.methods.differences import slopes_of
from gradcheck_cli.methods.gradients import SMOOTH, Estimate, Probes
from gradcheck_cli.methods.sides import SIGMAS
from gradcheck_cli.methods.sweep import EPS, Problem, one_by_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.methods.gradients import Array

PROBES = 2
_CHANCE = "2 random probes: an error 1024 times their own is missed with a probability below 1e-6"
# The imaginary step relative to the input: so small that its square vanishes beside 1.
COMPLEX_STEP = 2.0**-100
# Rounding of a result that several kernels had a part in, in units of its last place.
KERNEL_ROUNDING = 4.0
# The step of the difference that a complex step is held to, and how far they may lie apart: that step's
# truncation is far below, a kink or a wrong kernel far above.
CHECK_STEP, CHECK_SHARE = 2.0**-20, 2.0**-12
# The step of the one difference that tells which half is wrong, and its truncation relative to the terms.
_QUICK_STEP, _QUICK_TRUNCATION = 2.0**-24, 2.0**-20


def probe(
    problem: Problem,
    seed: int,
    *,
    continued: Callable[..., Array] | None,
    noise: Callable[[], Array],
) -> Estimate:
    """The derivatives along a few random directions, by complex steps where a difference confirms them.

    `continued` is the function at complex points, if there is one; `noise` gives that of differences.
    """
    count, shape = problem.point.size, problem.point.shape

    @lru_cache(maxsize=PROBES)
    def direction(k: int) -> Array:
        drawn = np.random.default_rng((seed, k)).integers(0, 2**16, count, np.uint16)
        away = _lengths()[drawn]
        away *= problem.sizes
        return np.asarray(away.reshape(shape))

    by_step = None if continued is None else _ComplexSteps(problem, continued)
    first = None if by_step is None else by_step.confirmed(direction(0))
    if first is not None and by_step is not None:
        along: Callable[[Array], tuple[float, float]] = by_step
        quick = None
    else:
        along = _Differences(problem, noise())
        quick, first = along.quick, along(direction(0))
    measured = [first, *(along(direction(k)) for k in range(1, PROBES))]
    slopes, errors = (np.array(column) for column in zip(*measured, strict=True))
    return Estimate(
        np.broadcast_to(np.nan, shape),
        probes=Probes(slopes, errors, direction, along, quick),
        note=f"{count} elements by {_CHANCE}",
    )


@lru_cache(maxsize=1)
def _lengths() -> Array:
    """All values of v_i."""
    numbers = np.arange(-(2**15), 2**15) * 2.0**-15
    return np.asarray(numbers + np.copysign(1.0, numbers))


@dataclass(frozen=True)
class _ComplexSteps:
    """The derivative along any direction and its error, in one evaluation."""

    problem: Problem
    continued: Callable[..., Array]

    def __call__(self, direction: Array) -> tuple[float, float]:
        with np.errstate(all="ignore"):
            return self._summed(self._change(direction))

    def _summed(self, change: Array) -> tuple[float, float]:
        return float(change.sum()), float(EPS * KERNEL_ROUNDING * np.abs(change).sum())

    def _change(self, direction: Array) -> Array:
        """Each output's part in the derivative."""
        point = np.empty(direction.shape, np.complex128)
        point.real = self.problem.point
        np.multiply(direction, COMPLEX_STEP, out=point.imag)
        change = self.problem.weight * self.continued(point).imag
        change *= 1 / COMPLEX_STEP
        return np.asarray(change)

    def confirmed(self, direction: Array) -> tuple[float, float] | None:
        """The same, if a difference says it of every output; else None."""
        problem = self.problem
        with np.errstate(all="ignore"):
            moved = direction * CHECK_STEP
            above = problem.evaluate(problem.point + moved)
            change = above - problem.evaluate(np.subtract(problem.point, moved, out=moved))
            change *= problem.weight
            change /= 2 * CHECK_STEP
            # An output that hardly changes has a curvature like the others'.
            allowed = CHECK_SHARE * np.abs(change)
            allowed += CHECK_STEP / CHECK_SHARE * allowed.mean()
            above *= problem.weight
            allowed += EPS * KERNEL_ROUNDING / CHECK_STEP * np.abs(above)
            found = self._change(direction)
            change -= found
            return self._summed(found) if (np.abs(change) <= allowed).all() else None


@dataclass(frozen=True)
class _Differences:
    """The derivative along any direction and its error, by differences of a function with `noise`."""

    problem: Problem
    noise: Array

    def __call__(self, direction: Array) -> tuple[float, float]:
        point, function = self.problem.point, self.problem.evaluate
        line = Problem(lambda t: function(point + t * direction), np.zeros(1), self.problem.weight)
        line.__dict__["base"] = self.problem.base
        with np.errstate(all="ignore"):
            found = slopes_of(line, one_by_one(1)[0], self.noise)
        # At a kink along a direction its elements can't be told apart.
        smooth = found.place[0] == SMOOTH
        return float(found.slope[0]), float(found.error[0]) if smooth else np.inf

    def quick(self, direction: Array) -> tuple[float, float]:
        """The same from one difference, good enough to tell where an error is.

        Outputs round independently of each other, as good as: what is found here is measured again.
        """
        problem = self.problem
        with np.errstate(all="ignore"):
            moved = problem.evaluate(problem.point + _QUICK_STEP * direction)
            change = problem.weight * (moved - problem.base)
            noise = np.where(change, problem.weight * self.noise, 0.0)
            rounding = 2 * SIGMAS * np.linalg.norm(noise)
            error = rounding + _QUICK_TRUNCATION * np.abs(change).sum()
        return float(change.sum() / _QUICK_STEP), float(error / _QUICK_STEP)
