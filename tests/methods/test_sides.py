"""One-sided slopes of random piecewise smooth functions whose derivatives are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.methods.differences import noise_of, slopes_of
from gradcheck_cli.methods.gradients import EDGE, JUMP, KINK, SMOOTH
from gradcheck_cli.methods.sweep import Problem, one_by_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.methods.sides import Slopes

numbers = st.floats(-100, 100).map(lambda v: round(v, 3))


def sloped(function: Callable[[Array], Array], at: float) -> Slopes:
    """The slopes of a function of one number."""
    problem = Problem(function, np.array([at]), np.ones_like(function(np.array([at]))))
    with np.errstate(all="ignore"):
        return slopes_of(problem, one_by_one(1)[0], noise_of(problem, []))


@st.composite
def points(draw: st.DrawFn) -> tuple[float, float, float, float, float]:
    """A point, the slopes before and after it, a jump there, and the curvature around."""
    at = draw(st.sampled_from([0.0, 1.0, -2.5, 1e-6, 3e5]))
    unit = abs(at) or 1.0
    left, right, curved = (draw(numbers) for _ in range(3))
    if draw(st.booleans()):
        right = left
    jump = draw(st.sampled_from([0.0, 0.0, 0.5, -3.0]))
    return at, left / unit, right / unit, jump, curved / unit**2


@given(points())
@settings(max_examples=120, deadline=None)
def test_kinks_and_jumps_are_told_from_smooth_points(case: tuple[float, ...]) -> None:
    at, left, right, jump, curved = case

    def function(x: Array) -> Array:
        away = x - at
        slope = np.where(away < 0, left, right)
        return np.asarray(slope * away + curved * away**2 + jump * (away > 0) + np.sin(away))

    found = sloped(function, at)
    a, b = left + 1, right + 1
    if jump:
        assert found.place[0] == JUMP
        assert np.isinf(found.error[0])
    elif a == b:
        assert found.place[0] == SMOOTH
        # Cancellation between the terms, which disturbed outputs would show, is left out here.
        assert abs(found.slope[0] - a) <= found.error[0] + 1e-14 * (abs(left) + 1)
    elif abs(a - b) > 1e-3 * (abs(a) + abs(b)):
        low, high = sorted([a, b])
        assert found.place[0] == KINK
        assert abs(found.low[0] - low) <= found.error[0]
        assert abs(found.high[0] - high) <= found.error[0]
        assert found.error[0] <= 1e-3 * (high - low) + 1e-4 * max(abs(a), abs(b))


@given(
    st.sampled_from([0.0, 1.0, -4.0, 1e5]),
    st.floats(0.05, 2.9).filter(lambda p: min(abs(p - 1), abs(p - 2)) > 0.1),
    st.sampled_from([1.0, -1.0]),
    st.floats(0.01, 100.0),
)
@settings(max_examples=80, deadline=None)
def test_where_a_power_ends(at: float, power: float, side: float, factor: float) -> None:
    """c (x - a)^p from one side alone: infinite, or zero with an honest error; never smooth."""

    def function(x: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(factor * (side * (x - at)) ** power)

    found = sloped(function, at)
    if power < 0.9:
        assert found.place[0] == EDGE
        assert found.slope[0] == side * np.inf
        assert np.isinf(found.error[0])
    else:
        # Slopes that vanish like h^0.2 don't converge at any step.
        assert found.place[0] == EDGE or power < 1.5
        assert np.isinf(found.error[0]) or abs(found.slope[0]) <= found.error[0]


def test_a_kink_closer_than_any_step_is_one_and_no_jump() -> None:
    """On which side of it a computed value falls is a matter of rounding."""

    def function(x: Array) -> Array:
        return 2 * np.maximum(x - 1 - 1e-12, 0.0)

    found = sloped(function, 1.0)
    assert found.place[0] == KINK
    assert abs(found.low[0]) <= found.error[0]
    assert abs(found.high[0] - 2) <= found.error[0]


def test_each_output_may_have_a_convention_of_its_own() -> None:
    """relu and |x| both have slope 0 by convention, though 0 lies outside of the total's slopes."""

    def function(x: Array) -> Array:
        return np.concatenate([np.maximum(x, 0), -0.8 * np.abs(x)])

    found = sloped(function, 0.0)
    assert [found.low[0], found.high[0]] == pytest.approx([-0.8, 1.8], abs=1e-4)
