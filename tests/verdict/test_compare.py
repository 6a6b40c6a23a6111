"""One number decides: error / allowance, elementwise, along probes, at kinks, without numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.methods.gradients import Estimate, Probes
from gradcheck_cli.verdict.compare import RTOL, Allowances, compare, locate

if TYPE_CHECKING:
    from gradcheck_cli.methods.gradients import Array

NAMES = ("engine", "torch")


def allowances(
    rtol: float | None = None,
    atol: float | None = None,
    rounding: Any = None,
    kinks: Estimate | None = None,
) -> Allowances:
    return Allowances(rtol, atol, lambda _: rounding, kinks)


def pair(a: Any, b: Any, **more: Any) -> tuple[Estimate, Estimate]:
    return Estimate(np.asarray(a, float), **more), Estimate(np.asarray(b, float))


def test_the_ratio_is_error_over_allowance() -> None:
    found = compare(NAMES, pair([1.0, 100.0], [1.0, 101.0]), allowances(rtol=0.01, atol=0.5))
    # |100 - 101| / (0.5 + 0.01 * 101)
    assert found.ratio == pytest.approx(1 / 1.51)
    assert found.agree
    assert (found.worst, found.values) == ((1,), (100.0, 101.0))
    assert found.max_abs == 1.0
    assert found.max_rel == pytest.approx(1 / 101)
    assert not found.bitwise


def test_error_estimates_and_rounding_widen_the_allowance() -> None:
    a, b = np.ones(3), np.ones(3) + 1e-4
    assert not compare(NAMES, pair(a, b), allowances()).agree
    assert compare(NAMES, pair(a, b, error=np.full(3, 2e-4)), allowances()).agree
    assert compare(NAMES, pair(a, b), allowances(rounding=np.full(3, 1e-4))).agree
    # Nothing is measured where the person has said what is allowed.
    assert not compare(NAMES, pair(a, b), allowances(rtol=1e-5, rounding=np.ones(3))).agree


def test_rounding_is_only_measured_where_it_matters() -> None:
    def measured(_: str) -> Array:
        raise AssertionError

    close = np.ones(3) * (1 + RTOL / 2)
    assert compare(NAMES, pair(np.ones(3), close), Allowances(None, None, measured)).agree


def test_a_small_element_is_held_to_its_own_size() -> None:
    assert not compare(NAMES, pair([1.0, 1e-5], [1.0, 1e-5 * (1 + 1e-6)]), allowances()).agree


def test_mismatched_counts_elements() -> None:
    found = compare(NAMES, pair(np.zeros((2, 3)), [[0, 1, 0], [0, 0, 5]]), allowances())
    assert (found.mismatched, found.elements, found.worst) == (2, 6, (1, 2))


@pytest.mark.parametrize(
    ("a", "b", "agree"),
    [
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (np.inf, 1.0, False),
        (np.nan, np.nan, True),
        (np.nan, 1.0, False),
        (0.0, -0.0, True),
        (0.0, 1e-300, False),
    ],
)
def test_special_numbers(a: float, b: float, *, agree: bool) -> None:
    found = compare(NAMES, pair([1.0, a], [1.0, b]), allowances(atol=0.0))
    assert found.agree is agree
    assert found.bitwise is agree
    mirrored = compare(NAMES, pair([b, 1.0], [a, 1.0]), allowances(atol=0.0))
    assert mirrored.agree is agree
    assert not np.isnan(found.ratio)
    assert not np.isnan(found.max_rel)


def test_who_can_not_tell_contradicts_nobody() -> None:
    numeric = Estimate(np.array([np.nan, 2.0]), np.array([np.inf, 1e-9]))
    assert compare(NAMES, (numeric, Estimate(np.array([7.0, 2.0]))), allowances()).agree
    assert compare(NAMES, (Estimate(np.array([np.inf, 2.0])), numeric), allowances()).agree
    assert not compare(NAMES, (numeric, Estimate(np.array([7.0, 2.1]))), allowances()).agree


def test_zero_dimensional_and_empty() -> None:
    assert compare(NAMES, pair(2.0, 2.0), allowances()).values == (2.0, 2.0)
    assert compare(NAMES, pair(2.0, 3.0), allowances()).worst == ()
    found = compare(NAMES, pair(np.ones((0, 3)), np.ones((0, 3))), allowances())
    assert found.agree
    assert found.worst is None


KINK = Estimate(
    np.array([0.5, 2.0]),
    np.array([1e-7, 1e-12]),
    low=np.array([0.0, 2.0]),
    high=np.array([1.0, 2.0]),
    kinks=1,
)


@pytest.mark.parametrize(
    ("ours", "theirs", "agree"),
    [
        ([0.0, 2.0], [1.0, 2.0], True),
        ([0.3, 2.0], [0.0, 2.0], True),
        ([0.0, 2.0], [1.1, 2.0], False),
        ([-0.001, 2.0], [0.5, 2.0], False),
        ([0.0, 2.0], [1.0, 2.1], False),
        ([0.0, 2.0], [np.nan, 2.0], False),
    ],
)
def test_between_one_sided_slopes_all_is_right(
    ours: list[float], theirs: list[float], *, agree: bool
) -> None:
    assert compare(NAMES, pair(ours, theirs), allowances(kinks=KINK)).agree is agree


def test_differences_at_a_kink_say_nothing_against_nan() -> None:
    nan = Estimate(np.array([np.nan, 2.0]))
    assert compare(NAMES, (KINK, nan), allowances(kinks=KINK)).agree


def probed(gradient: Array, error: float = 0.0, count: int = 8) -> Estimate:
    """An estimate that knows a gradient along random signs."""

    def direction(k: int) -> Array:
        return np.random.default_rng(k).choice((-1.0, 1.0), gradient.shape)

    def along(vector: Array) -> tuple[float, float]:
        return float((gradient * vector).sum()), error

    slopes = np.array([along(direction(k))[0] for k in range(count)])
    probes = Probes(slopes, np.full(count, error), direction, along)
    return Estimate(np.full(gradient.shape, np.nan), probes=probes)


GRADIENT = np.random.default_rng(1).standard_normal((50, 40))


def test_probes_agree_with_the_right_gradient() -> None:
    noisy = GRADIENT * (1 + 1e-12 * np.random.default_rng(2).standard_normal((50, 40)))
    assert compare(NAMES, (probed(GRADIENT), Estimate(noisy)), allowances()).agree
    assert compare(NAMES, (Estimate(noisy), probed(GRADIENT)), allowances()).agree


@pytest.mark.parametrize("index", [(0, 0), (17, 3), (49, 39)])
def test_bisection_finds_the_wrong_element(index: tuple[int, int]) -> None:
    wrong = GRADIENT.copy()
    wrong[index] += 1e-3
    estimates = probed(GRADIENT), Estimate(wrong)
    found = compare(NAMES, estimates, allowances())
    assert not found.agree
    assert found.worst is None
    located = locate(estimates, found, allowances())
    assert located.worst == index
    assert located.values == pytest.approx((GRADIENT[index], wrong[index]))
    assert located.max_abs == pytest.approx(1e-3)
    mirrored = locate(estimates[::-1], compare(NAMES, estimates[::-1], allowances()), allowances())
    assert mirrored.values == pytest.approx((wrong[index], GRADIENT[index]))


def test_bisection_finds_one_of_many_and_a_nan() -> None:
    estimates = probed(GRADIENT), Estimate(1.001 * GRADIENT)
    located = locate(estimates, compare(NAMES, estimates, allowances()), allowances())
    assert located.values is not None
    assert located.values[1] == pytest.approx(1.001 * located.values[0])
    broken = GRADIENT.copy()
    broken[4, 5] = np.nan
    estimates = probed(GRADIENT), Estimate(broken)
    found = compare(NAMES, estimates, allowances())
    assert found.ratio == np.inf
    assert locate(estimates, found, allowances()).worst == (4, 5)


def test_probes_that_can_not_tell_contradict_nobody() -> None:
    assert compare(NAMES, (probed(GRADIENT, np.inf), Estimate(-GRADIENT)), allowances()).agree
