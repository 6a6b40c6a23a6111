"""Directions at ties, on random maxima of affine functions, whose right gradients are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.methods.differences import slopes_of
from gradcheck_cli.methods.gradients import KINK
from gradcheck_cli.methods.sweep import Problem, one_by_one
from gradcheck_cli.methods.ties import look
from gradcheck_cli.verdict.kinks import against_ties

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.methods.gradients import Array, Ties
    from gradcheck_cli.methods.sides import Slopes


def seen(function: Callable[[Array], Array], point: Array) -> tuple[Slopes, Ties | None]:
    """What the elements' slopes and directions say of a function at a point."""
    problem = Problem(lambda x: np.asarray(function(x)), point, np.ones(np.shape(function(point))))
    noise = 2.0**-50 * np.abs(problem.base) + 2.0**-50
    sweeps = one_by_one(point.size)
    with np.errstate(all="ignore"):
        slopes = slopes_of(problem, sweeps[0], noise)
        return look(problem, sweeps, slopes, noise, seed=0)


def ratio(gradient: Array, slopes: Slopes, ties: Ties | None) -> float:
    """How far outside of what directions and the elements' intervals allow a gradient is."""
    outside = np.maximum(slopes.low - gradient, gradient - slopes.high)
    with np.errstate(all="ignore"):
        worst = float(np.nanmax(outside / (slopes.error + 1e-9)))
    if ties is None:
        return worst
    tied = gradient[ties.elements]
    nothing = np.zeros(tied.size)
    found = against_ties(
        [tied], slopes.slope[ties.elements], slopes.error[ties.elements], nothing, ties
    )
    return max(worst, found.ratio)


def rows_tied_at(rng: np.random.Generator, point: Array, count: int) -> Callable[[Array], Array]:
    """A maximum of affine functions of which `count` are equal at the point, and its tied rows."""
    rows = rng.integers(-4, 5, (count + 2, point.size)) / 2.0
    offsets = -rows @ point
    offsets[count:] -= rng.uniform(1.0, 2.0, 2)

    def function(x: Array) -> Array:
        return np.asarray(np.max(rows @ x + offsets))

    function.rows = rows[:count]  # type: ignore[attr-defined]
    return function


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(2, 5))
@settings(max_examples=50, deadline=None)
def test_a_right_gradient_of_a_maximum_is_allowed_and_a_wrong_one_not(
    seed: int, elements: int, count: int
) -> None:
    rng = np.random.default_rng(seed)
    point = rng.integers(-3, 4, elements) * 1.0
    function = rows_tied_at(rng, point, count)
    rows = function.rows  # type: ignore[attr-defined]
    slopes, ties = seen(function, point)
    shares = rng.dirichlet(np.ones(count))
    for right in (shares @ rows, *rows, rows.mean(axis=0)):
        assert ratio(right, slopes, ties) <= 1.0
    # Outside of the hull, by far: in a direction in which no row goes as far.
    direction = rng.standard_normal(elements)
    best = rows[np.argmax(rows @ direction)]
    wrong = best + 4.0 * direction / np.linalg.norm(direction)
    assert ratio(wrong, slopes, ties) > 1.0


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_what_the_chain_rule_gives_for_a_difference_of_maxima_is_allowed(
    seed: int, elements: int, first: int, second: int
) -> None:
    """No convention of either is called wrong, also where no one-sided derivative reaches them."""
    rng = np.random.default_rng(seed)
    point = rng.integers(-3, 4, elements) * 1.0
    plus, minus = (rows_tied_at(rng, point, count) for count in (first, second))
    slopes, ties = seen(lambda x: np.stack([plus(x), -0.618 * minus(x)]), point)
    for a in plus.rows:  # type: ignore[attr-defined]
        for b in minus.rows:  # type: ignore[attr-defined]
            assert ratio(a - 0.618 * b, slopes, ties) <= 1.0


@given(st.integers(0, 2**32 - 1), st.integers(2, 4), st.integers(2, 4), st.integers(2, 4))
@settings(max_examples=60, deadline=None)
def test_limits_of_gradients_of_one_difference_of_maxima_are_allowed(
    seed: int, elements: int, first: int, second: int
) -> None:
    """Neither convex nor concave: right is the gradient at points nearby, unless hardly any has it."""
    rng = np.random.default_rng(seed)
    point = rng.integers(-3, 4, elements) * 1.0
    plus, minus = (rows_tied_at(rng, point, count) for count in (first, second))
    slopes, ties = seen(lambda x: plus(x) - 0.5 * minus(x), point)
    away = rng.standard_normal((elements, 400))
    won = [f.rows[np.argmax(f.rows @ away, axis=0)] for f in (plus, minus)]  # type: ignore[attr-defined]
    gradients, counts = np.unique(won[0] - 0.5 * won[1], axis=0, return_counts=True)
    for gradient in gradients[counts >= 120]:
        assert ratio(gradient, slopes, ties) <= 1.0


@given(st.integers(0, 2**32 - 1), st.integers(2, 7))
@settings(max_examples=60, deadline=None)
def test_any_order_of_a_sort_s_ties_is_allowed(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(count)
    slopes, ties = seen(lambda x: np.sort(x) @ weights, np.full(count, 2.0))
    for _ in range(5):
        assert ratio(rng.permutation(weights), slopes, ties) <= 1.0
    assert ratio(np.full(count, weights.mean()), slopes, ties) <= 1.0
    assert ratio(weights + 1.0, slopes, ties) > 1.0


def test_the_median_of_three_equal_numbers_moves_with_none_of_them_alone() -> None:
    slopes, ties = seen(np.median, np.full(3, 1.5))
    assert slopes.place.tolist() == [KINK] * 3
    assert slopes.low == pytest.approx([0, 0, 0], abs=1e-3)
    assert slopes.high == pytest.approx([1, 1, 1], abs=1e-3)
    assert ties is not None
    assert ties.low[0] == pytest.approx(ties.high[0])


def test_elements_that_do_not_meet_are_not_held_to_directions_of_random_signs() -> None:
    weights = np.array([1.0, -0.5, 2.0, -3.0])
    slopes, ties = seen(lambda x: np.maximum(x, 0) @ weights, np.zeros(4))
    assert slopes.low.tolist() == [0.0, -0.5, 0.0, -3.0]
    for mask in np.ndindex(2, 2, 2, 2):
        assert ratio(weights * np.array(mask), slopes, ties) <= 1.0


def test_directions_are_given_in_the_inputs_own_magnitudes() -> None:
    _, ties = seen(lambda x: np.maximum(x[0], 1e9 * x[1]), np.array([1e6, 1e-3]))
    assert ties is not None
    for direction, low, high in zip(ties.directions, ties.low, ties.high, strict=True):
        assert [low, high] == pytest.approx(sorted([direction[0], 1e9 * direction[1]]), rel=1e-2)
