"""What rounding costs, measured: at least what it really costs in single precision, and not much more."""

from __future__ import annotations

import numpy as np
import pytest

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.engine.rounding import UNIT_ROUNDOFF, disturbance, spread, written_out
from gradcheck_cli.graph import t, topological, variable
from gradcheck_cli.ops.fft import fourier

U = UNIT_ROUNDOFF["float32"]


def test_a_single_operation_costs_about_a_roundoff() -> None:
    x = variable("x", (200,))
    values = np.random.default_rng(0).standard_normal(200)
    (measured,) = spread(Plan([x.exp()]), {"x": values}, "float32")
    relative = measured / np.exp(values)
    assert relative.min() >= U
    assert np.median(relative) <= 10 * U


def test_inputs_are_exact() -> None:
    """The difference of two close numbers is exact (Sterbenz), however few digits are left."""
    x, y = variable("x", (50,)), variable("y", (50,))
    values = np.random.default_rng(0).uniform(1, 2, 50)
    (measured,) = spread(Plan([x - y]), {"x": values, "y": values * (1 + 1e-4)}, "float32")
    assert measured.max() <= 10 * U * 1e-4 * 2


@pytest.mark.parametrize("count", [10, 1000, 100_000])
def test_sums_that_cancel_cost_more(count: int) -> None:
    x = variable("x", (count,))
    rng = np.random.default_rng(count)
    for seed in range(20):
        values = rng.standard_normal(count).astype(np.float32).astype(np.float64)
        (measured,) = spread(Plan([x.sum()]), {"x": values}, "float32", seed)
        one_by_one = np.cumsum(values.astype(np.float32), dtype=np.float32)[-1]
        assert abs(float(one_by_one) - values.sum()) <= measured


def test_products_of_ill_conditioned_matrices() -> None:
    A = variable("A", (6, 6))
    hilbert = 1.0 / (np.arange(6)[:, None] + np.arange(6) + 1.0)
    exact = hilbert.astype(np.float32).astype(np.float64)
    (measured,) = spread(Plan([A.inverse()]), {"A": exact}, "float32")
    single = np.linalg.inv(exact.astype(np.float32)).astype(np.float64)
    assert (np.abs(single - np.linalg.inv(exact)) <= measured).mean() > 0.9


def test_cancellation_inside_a_fused_kernel_is_seen_in_its_definition() -> None:
    x = variable("x", (3,))
    (long,) = written_out([t.gelu(x)])
    assert "gelu" not in {node.op.name for node in topological([long])}
    values = np.array([-4.0, -3.5, -3.0])
    fused, written = Plan([t.gelu(x), long])({"x": values})
    np.testing.assert_allclose(fused, written, rtol=1e-10)
    (measured,) = spread(Plan([long]), {"x": values}, "float32")
    assert (measured > 100 * U * np.abs(fused)).all()


def test_integers_and_masks_are_left_alone() -> None:
    disturb = disturbance("float32", 0, 0)
    mask, index = np.array([True, False]), np.array([1, 2])
    assert disturb(mask, 0) is mask
    assert disturb(index, 5) is index
    assert disturb(None, 1) is None or np.asarray(disturb(None, 1)).dtype.kind == "O"


def test_opposite_draws_go_opposite_ways() -> None:
    values = np.full(100, 1.0)
    up = disturbance("float64", 3, 1)(values, 0) - 1.0
    down = disturbance("float64", 3, 1, opposite=True)(values, 0) - 1.0
    assert (np.abs(up) > 0).all()
    assert np.array_equal(np.sign(up), -np.sign(down))


def test_exact_results_cost_nothing() -> None:
    x = variable("x", (4,))
    (measured,) = spread(Plan([x * 0.0]), {"x": np.ones(4)}, "float32")
    assert not measured.any()


@pytest.mark.parametrize("name", ["matrix_norm", "norm"])
def test_ties_that_a_rule_looks_for_survive(name: str) -> None:
    """A mask such as `x == max` must not come out empty only because the maximum was rounded again."""
    x = variable("x", (4, 3))
    value = t.matrix_norm(x, 2) if name == "matrix_norm" else x.norm(float("inf"))
    (gradient,) = differentiate(value, [x])
    values = np.random.default_rng(1).standard_normal((4, 3))
    plan = Plan([gradient])
    (measured,) = spread(plan, {"x": values}, "float32")
    (exact,) = plan({"x": values})
    assert (measured >= U * np.abs(exact)).all()


def test_orthogonal_transformations_leave_small_elements_no_better_than_large_ones() -> None:
    x = variable("x", (64,))
    values = np.sin(np.arange(64.0)) + 1e-3 * np.cos(7 * np.arange(64.0))
    node = t.abs(fourier("fft", x))
    (measured,) = spread(Plan([node]), {"x": values}, "float32")
    single = np.abs(np.fft.fft(values.astype(np.float32)))
    exact = np.abs(np.fft.fft(values.astype(np.float32).astype(np.float64)))
    assert (np.abs(single - exact) <= measured).all()


def test_what_underflows_in_half_precision_is_off_by_half_a_step() -> None:
    """1e-3 squared is 1e-6 in float16, where numbers are 6e-8 apart: off by some percent, not by 2^-11."""
    x = variable("x", (200,))
    values = np.random.default_rng(0).uniform(0.5e-3, 2e-3, 200).astype(np.float16)
    exact = values.astype(np.float64)
    (measured,) = spread(Plan([(x * x) * 1000.0]), {"x": exact}, "float16")
    half = (values * values) * np.float16(1000)
    assert (np.abs(half.astype(np.float64) - exact**2 * 1000) <= measured).all()
    assert (measured <= 8 * 1000 * 2.0**-24).all()
