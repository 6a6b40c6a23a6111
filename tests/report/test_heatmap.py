"""Where a gradient is wrong, as it is seen: patterns in golden files, and when there is no picture."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.errors import cells
from gradcheck_cli.methods.gradients import Estimate, Gradients
from gradcheck_cli.report.console import ConsoleReport
from gradcheck_cli.report.heatmap import show_errors
from gradcheck_cli.report.terminal import Terminal
from gradcheck_cli.verdict.compare import Allowances
from gradcheck_cli.verdict.grid import pictured
from gradcheck_cli.verdict.judge import judge
from gradcheck_cli.verdict.tiling import row_step

if TYPE_CHECKING:
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.verdict.outcome import GradientOutcome
    from tests.report.conftest import Golden, Outcomes


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")


def gradient(*errors: Array) -> GradientOutcome:
    """Ones with these errors: by the formula, or by engine and derived and then by the formula."""
    right = Estimate(np.ones(errors[0].shape))
    estimates = {"torch": right, "engine": right, "numeric": right}
    estimates |= dict.fromkeys(("engine", "derived")[: 2 * len(errors) - 2], wrong(errors[0]))
    estimates["manual"] = wrong(errors[-1])
    results = [Gradients(method, {"x": estimate}) for method, estimate in estimates.items()]
    allowances = Allowances(None, None, lambda _: None)
    outcome = judge("x", errors[0].shape, results, allowances).outcome
    return pictured(outcome, results, allowances)


def wrong(error: Array) -> Estimate:
    return Estimate(1 + error)


def shown(outcome: GradientOutcome, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    show_errors(Terminal(stream), outcome, 4)
    return raw.getvalue().decode(encoding)


def at(shape: tuple[int, ...], *places: Any) -> Array:
    error = np.zeros(shape)
    for place in places:
        error[place] = 0.5
    return error


def levels() -> Array:
    error = np.zeros((2, 3, 5))
    error[0, 0, :2] = np.nan, np.inf
    error[0, 1, 2], error[1, 1], error[1, 2] = 1e-6, 1e-3, 1e-8
    return error


EDGE = at((64, 64), np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1])
PATTERNS = {
    "a row": at((6, 8), 2),
    "a column": at((6, 8), np.s_[:, 5]),
    "a triangle": np.triu(np.ones((12, 12)), 1),
    "the edge of a large matrix": EDGE,
    "the diagonal of a large matrix": np.diag(np.full(40, 1e-8)),
    "one channel of kernels": at((8, 3, 3, 3), np.s_[:, 1]),
    "one matrix of a batch": at((4, 4, 10, 5), (2, 1)),
    "the end of a long vector": at((300,), np.s_[250:]),
    "the last column": at((3, 40), np.s_[:, -1]),
    "every level": levels(),
}


def test_patterns(golden: Golden) -> None:
    text = "\n".join(f"{name}\n{shown(gradient(error))}" for name, error in PATTERNS.items())
    golden("heatmaps.txt", text)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize("name", PATTERNS)
def test_pictures_keep_to_the_width(
    name: str, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = shown(gradient(PATTERNS[name])).splitlines()
    assert max(map(cells, lines)) <= columns


@pytest.mark.parametrize("name", PATTERNS)
def test_ascii_has_the_same_picture(name: str) -> None:
    outcome = gradient(PATTERNS[name])
    turned = str.maketrans("·░▒▓█◄▲", ".:+*#<^")
    assert shown(outcome, "ascii") == shown(outcome).translate(turned)


def test_the_mark_is_at_the_worst_element() -> None:
    error = at((6, 8), np.s_[1:4])
    error[3, 6] = 2.0
    *_, ticks, _, _, _, fourth, _, _, below = shown(gradient(error)).splitlines()
    assert fourth.endswith("◄")
    assert below.index("▲") == ticks.index("6")


def test_one_element_needs_no_picture() -> None:
    assert shown(gradient(np.array(0.5))) == ""
    assert shown(gradient(np.array([[0.5]]))) == ""
    assert shown(gradient(at((4, 5), (1, 2)))) == ""


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (np.full((3, 4), 0.5), "manual is wrong in every element, by 3.3e8 times the allowance"),
        (np.full(5, np.nan), "manual is NaN in every element"),
        (np.full(5, -np.inf), "manual is infinite in every element"),
        (np.full(100, 0.5), "manual is wrong in every block of 3 elements, by 3.3e8 times"),
        (np.full((50, 100), 0.5), "manual is wrong in every block of 3x3 elements, by 3.3e8 times"),
    ],
)
def test_what_is_wrong_alike_is_a_sentence(error: Array, sentence: str) -> None:
    text = shown(gradient(error))
    assert " ".join(text.split()).startswith(sentence)
    assert "█" not in text


def test_what_is_wrong_at_the_same_places_is_drawn_once() -> None:
    row = at((4, 4), 1)
    text = shown(gradient(row, row))
    assert text.count("error/allowance of") == 1
    assert "error/allowance of engine, derived and manual:" in text


def test_others_have_pictures_of_their_own() -> None:
    row, column = at((4, 4), 1), at((4, 4), np.s_[:, 2])
    text = shown(gradient(row, column))
    assert text.count("error/allowance of") == 2


def test_without_a_grid_nothing_is_drawn(outcomes: Outcomes) -> None:
    assert shown(outcomes["forgotten factor"].gradients[0]) == ""


@pytest.mark.parametrize("verbosity", [-1, 0, 1])
def test_quiet_has_no_pictures(verbosity: int, outcomes: Outcomes) -> None:
    outcome = replace(outcomes["forgotten factor"], gradients=(gradient(at((4, 4), 1)),))
    stream = io.StringIO()
    report = ConsoleReport(Terminal(stream), total=2, verbosity=verbosity)
    report.add(outcome)
    assert ("error/allowance of manual:" in stream.getvalue()) == (verbosity >= 0)


@pytest.mark.parametrize(
    ("shape", "most", "unit", "expected"),
    [
        ((7,), 24, 1, 1),
        ((24, 5), 24, 1, 1),
        ((25, 5), 24, 1, 2),
        ((8, 3, 3, 3), 24, 1, 3),
        ((8, 3, 3, 3), 16, 3, 9),
        ((2, 97, 3), 24, 1, 9),  # 97 is more than twice what it takes
        ((3, 10, 5), 24, 1, 2),
        ((10, 3, 5), 24, 1, 3),
        ((5, 4, 6, 2), 24, 1, 6),
    ],
)
def test_blocks_end_with_a_matrix_where_they_can(
    shape: tuple[int, ...], most: int, unit: int, expected: int
) -> None:
    assert row_step(shape, most, unit) == expected
