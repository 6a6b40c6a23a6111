"""Gradients as pictures: what a cell stands for, and when there is a picture at all."""

from __future__ import annotations

import pickle
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.methods.gradients import Estimate, Gradients, Probes
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.suite.settings import Settings
from gradcheck_cli.verdict import grid as grid_module
from gradcheck_cli.verdict.compare import Allowances
from gradcheck_cli.verdict.grid import MOST_COLUMNS, MOST_ROWS, grid_of, pictured
from gradcheck_cli.verdict.judge import judge

if TYPE_CHECKING:
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.verdict.outcome import GradientOutcome, Grid


def grid(reference: Any, **gradients: Any) -> Grid:
    arrays = {method: np.asarray(array, float) for method, array in gradients.items()}
    found = grid_of(np.asarray(reference, float), arrays, {})
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("shape", "rows", "columns", "steps"),
    [
        ((), 1, 1, (1, 1)),
        ((5,), 1, 5, (1, 1)),
        ((3, 8), 3, 8, (1, 1)),
        ((2, 3, 4), 6, 4, (1, 1)),
        ((24, 48), 24, 48, (1, 1)),
        ((25, 49), 13, 25, (2, 2)),
        ((1000,), 1, 48, (1, 21)),
        ((7, 5, 1), 18, 1, (2, 1)),
    ],
)
def test_the_last_dimension_lies_along_the_columns(
    shape: tuple[int, ...], rows: int, columns: int, steps: tuple[int, int]
) -> None:
    found = grid(np.ones(shape), torch=np.ones(shape))
    assert (found.rows, found.columns) == (rows, columns)
    assert (found.row_step, found.column_step) == steps
    assert len(found.reference) == len(found.errors["torch"]) == rows * columns


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3)])
def test_without_elements_there_is_no_picture(shape: tuple[int, ...]) -> None:
    assert grid_of(np.ones(shape), {"torch": np.ones(shape)}, {}) is None


def test_errors_keep_their_sign_and_elements_their_place() -> None:
    found = grid([[1.0, 2.0], [3.0, 4.0]], manual=[[1.0, 1.5], [3.25, 4.0]])
    assert found.reference == (1.0, 2.0, 3.0, 4.0)
    assert found.errors["manual"] == (0.0, -0.5, 0.25, 0.0)


def test_nan_and_infinity_stay_and_equal_ones_are_no_error() -> None:
    nan, inf = np.nan, np.inf
    found = grid([1.0, inf, nan, inf, 2.0], manual=[nan, inf, nan, -inf, inf])
    assert np.array_equal(found.errors["manual"], [nan, 0.0, 0.0, -inf, inf], equal_nan=True)


def test_in_a_block_nan_is_larger_than_infinity_and_that_than_numbers() -> None:
    reference = np.zeros(3 * MOST_COLUMNS)
    reference[:9] = [1.0, -np.inf, np.nan, 7.0, np.inf, 3.0, 2.0, -5.0, 4.0]
    found = grid(reference)
    assert np.array_equal(found.reference[:3], [np.nan, np.inf, -5.0], equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 130), st.integers(1, 130), st.integers(0, 2**32))
def test_a_cell_is_the_largest_of_its_block(rows: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference, wrong = rng.standard_normal((2, rows, columns))
    found = grid_of(reference, {"manual": wrong}, {"manual": lambda: np.abs(wrong)})
    assert found is not None
    assert found.rows <= MOST_ROWS
    assert found.columns <= MOST_COLUMNS
    for r, c in product(range(found.rows), range(found.columns)):
        block = np.s_[
            r * found.row_step : (r + 1) * found.row_step,
            c * found.column_step : (c + 1) * found.column_step,
        ]
        cell = r * found.columns + c
        for array, cells in (
            (reference, found.reference),
            (wrong - reference, found.errors["manual"]),
            (np.abs(wrong), found.ratios["manual"]),
        ):
            assert abs(cells[cell]) == np.abs(array[block]).max()
            assert cells[cell] in array[block]


def judged(always: bool = False, **estimates: Estimate) -> GradientOutcome:
    results = [Gradients(method, {"x": estimate}) for method, estimate in estimates.items()]
    allowances = Allowances(1e-6, 0.0, lambda _: None)
    shape = next(iter(estimates.values())).gradient.shape
    outcome = judge("x", shape, results, allowances).outcome
    return pictured(outcome, results, allowances, always=always)


RIGHT = np.arange(1.0, 13.0).reshape(3, 4)


def test_the_ratios_are_those_that_decided() -> None:
    wrong = RIGHT.copy()
    wrong[1] += 0.5
    outcome = judged(torch=Estimate(RIGHT), engine=Estimate(RIGHT), manual=Estimate(wrong))
    manual = outcome.methods[2]
    assert outcome.grid is not None
    assert list(outcome.grid.ratios) == ["manual"]
    assert {*outcome.grid.errors} == {"torch", "manual"}
    ratios = np.reshape(outcome.grid.ratios["manual"], (3, 4))
    assert ratios.max() == manual.error_over_allowance
    assert ratios.flat[np.ravel_multi_index(manual.worst_index or (), (3, 4))] == ratios.max()
    assert (ratios > 1).sum() == manual.mismatched == 4
    assert ratios[1] == pytest.approx(0.5 / (1e-6 * wrong[1]))
    assert pickle.loads(pickle.dumps(outcome)) == outcome


def test_what_agrees_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_module, "grid_of", lambda *_: pytest.fail("drawn"))
    assert judged(torch=Estimate(RIGHT), engine=Estimate(RIGHT)).grid is None


def test_on_demand_there_is_one_of_what_agrees() -> None:
    outcome = judged(always=True, torch=Estimate(RIGHT + 1e-9), engine=Estimate(RIGHT))
    assert outcome.grid is not None
    assert outcome.grid.ratios == {}
    assert np.allclose(outcome.grid.errors["torch"], 1e-9)


def probed(gradient: Array) -> Estimate:
    rng = np.random.default_rng(0)
    directions = rng.choice((-1.0, 1.0), (8, *gradient.shape))

    def along(vector: Array) -> tuple[float, float]:
        return float((gradient * vector).sum()), 0.0

    slopes = np.array([along(direction)[0] for direction in directions])
    probes = Probes(slopes, np.zeros(8), directions.__getitem__, along)
    return Estimate(np.full(gradient.shape, np.nan), probes=probes)


def test_probes_know_no_elements() -> None:
    wrong = Estimate(2 * RIGHT)
    outcome = judged(torch=Estimate(RIGHT), engine=wrong, numeric=probed(RIGHT))
    assert outcome.reference == "torch"
    assert outcome.grid is not None
    assert {*outcome.grid.errors} == {*outcome.grid.ratios} == {"engine"}
    # As the reference, a formula that agrees with them takes their place; without one nothing is shown.
    outcome = judged(engine=wrong, manual=Estimate(RIGHT), numeric=probed(RIGHT))
    assert outcome.reference == "numeric"
    assert outcome.grid is not None
    assert outcome.grid.reference == tuple(RIGHT.flat)
    assert judged(engine=wrong, numeric=probed(RIGHT)).grid is None


def test_at_a_kink_what_is_accepted_is_no_error_over_allowance() -> None:
    differences = Estimate(
        np.array([0.5, 2.0]),
        np.full(2, 1e-9),
        low=np.array([0.0, 2.0]),
        high=np.array([1.0, 2.0]),
        kinks=1,
    )
    right = Estimate(np.array([1.0, 2.0]))
    outcome = judged(
        torch=right, engine=right, manual=Estimate(np.array([0.0, 3.0])), numeric=differences
    )
    assert outcome.grid is not None
    ratios = outcome.grid.ratios["manual"]
    assert ratios[0] == 0.0
    assert ratios[1] > 1
    assert outcome.grid.errors["manual"] == (-1.0, 1.0)


CHECK = """\
version: 1
inputs: {x: {shape: [2, 3]}, w: {shape: [3]}}
expression: (x * w).pow(2).sum()
manual: {x: 2 * x * w**2, w: (2 * x**2 * w).mean(0)}
"""


def test_a_check_has_pictures_of_what_disagrees_or_of_all() -> None:
    (check,) = load_text(CHECK)
    assert [g.grid is not None for g in run_check(check).gradients] == [False, True]
    outcome = run_check(check, Settings(grids=True))
    assert [g.grid is not None for g in outcome.gradients] == [True, True]
    grid = outcome.gradients[1].grid
    assert grid is not None
    assert min(grid.ratios["manual"]) > 1


def test_second_derivatives_have_pictures() -> None:
    (check,) = load_text(
        "version: 1\ninputs: {x: {shape: [3]}}\nexpression: x.pow(3).sum()\norder: 2\n"
    )
    outcome = run_check(check, Settings(grids=True))
    assert [(g.order, g.grid is not None) for g in outcome.gradients] == [(1, True), (2, True)]


def test_what_only_elements_together_say_stands_at_the_worst() -> None:
    (check,) = load_text(
        "version: 1\ninputs: {x: {value: [2.0, 2.0, 1.0]}}\nexpression: x.amax()\n"
        "manual: {x: 'torch.where(x == x.amax(), 1.0, 0.0)'}\n"
    )
    (gradient,) = run_check(check).gradients
    manual = next(row for row in gradient.methods if row.method == "manual")
    assert manual.status == "disagrees"
    assert gradient.grid is not None
    assert max(gradient.grid.ratios["manual"]) == manual.error_over_allowance
