from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.errors import Problem, cells
from gradcheck_cli.report.console import ConsoleReport
from gradcheck_cli.report.terminal import Terminal

if TYPE_CHECKING:
    from gradcheck_cli.verdict.outcome import CheckOutcome
    from tests.report.conftest import Golden, Outcomes


def rendered(
    outcomes: list[CheckOutcome],
    verbosity: int = 0,
    encoding: str = "utf-8",
    *,
    whole: bool = False,
) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    report = ConsoleReport(Terminal(stream), total=len(outcomes), verbosity=verbosity, whole=whole)
    for outcome in outcomes:
        report.add(outcome)
    report.finish(outcomes, 1.25, notes=["a note"])
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("columns", [80, 120])
def test_every_kind_of_outcome_at_a_width(
    columns: int, outcomes: Outcomes, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = rendered(list(outcomes.values()))
    golden(f"console_{columns}.txt", text)
    assert "\x1b" not in text
    # A command must be copied whole; everything else keeps to the width.
    assert all(
        cells(line) <= columns or line.lstrip().startswith("gradcheck compare")
        for line in text.splitlines()
    )


def test_colour(outcomes: Outcomes, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    text = rendered(list(outcomes.values()))
    golden("console_colour.txt", text)
    assert "\x1b[1;31m✗" in text


def test_no_color_wins_over_a_terminal(outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    text = rendered(list(outcomes.values()))
    assert "\x1b[3" not in text
    assert "\x1b[1;3" not in text


def test_a_single_check_that_passes_is_told_in_full(outcomes: Outcomes, golden: Golden) -> None:
    golden("console_single.txt", rendered([outcomes["sum of squared errors"]]))


def test_an_encoding_without_the_marks(outcomes: Outcomes) -> None:
    text = rendered(list(outcomes.values()), encoding="ascii")
    assert "x FAILED forgotten factor" in text
    assert "+ sum of squared errors" in text


def test_quiet_leaves_out_what_passes(outcomes: Outcomes) -> None:
    text = rendered(list(outcomes.values()), verbosity=-1)
    assert "sum of squared errors" not in text
    assert "FAILED forgotten factor" in text
    assert "2 passed, 1 failed, 1 inconclusive, 1 error, 1 skipped in 1.2 s" in text


def test_verbose_tells_what_passes_in_full(outcomes: Outcomes) -> None:
    text = rendered(list(outcomes.values()), verbosity=1)
    assert "✓ PASSED sum of squared errors" in text
    assert "✓ PASSED a known mistake   fails as expected" in text
    # In full, so also the input of the failed check on which all agree.
    assert "no disagreement on" not in text


def test_names_are_neither_markup_nor_terminal_commands(outcomes: Outcomes) -> None:
    hostile = "[red]x[/red] :smile: \x1b[31m\x07\u202e\r\n"
    outcome = outcomes["forgotten factor"]
    changed = replace(
        outcome,
        id=hostile,
        name=hostile,
        file=hostile,
        expression=hostile,
        reproduce=hostile,
        gradients=(replace(outcome.gradients[0], input=hostile, derived=hostile),),
        diagnoses=(replace(outcome.diagnoses[0], message=hostile, fix=hostile),),
    )
    text = rendered([changed, replace(changed, status="passed")])
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(text)
    assert text.count("[red]x[/red] :smile: \\x1b[31m") >= 8


def test_long_names_keep_both_ends_in_a_row(outcomes: Outcomes) -> None:
    name = "cross entropy " + "very " * 30 + "long[float32]"
    outcome = replace(outcomes["sum of squared errors"], id=name)
    row = rendered([outcome, outcome]).splitlines()[0]
    assert cells(row) <= 80
    assert row.startswith("✓ cross entropy")
    assert "long[float32]   5 agree" in row


def test_planted_wrong_rule_names_engine_and_derived(outcomes: Outcomes) -> None:
    outcome = outcomes["forgotten factor"]
    gradient = replace(
        outcome.gradients[0],
        groups=(("torch", "numeric"), ("engine", "derived")),
        outliers=("engine", "derived"),
    )
    text = rendered([replace(outcome, gradients=(gradient,))])
    assert "engine and derived are the outliers; torch and numeric agree." in text
    assert "engine and derived share rules: together they are one witness." in text


def test_a_wrong_formula_without_diagnosis_has_its_caret(outcomes: Outcomes) -> None:
    text = rendered([replace(outcomes["forgotten factor"], diagnoses=())])
    assert "the manual formula for predicted disagrees" in text
    assert "^" * 16 in text


LONG = "2 * (" + " + ".join(f"predicted[{k}]" for k in range(20)) + ") * real"


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("formula", [LONG, f"t1 = {LONG}\nt1 + {LONG}"])
@pytest.mark.parametrize("assuming", [(), ("real > 0", "A == A.T")])
def test_long_formulas_keep_to_the_width_unless_they_are_to_be_whole(
    columns: int,
    formula: str,
    assuming: tuple[str, ...],
    outcomes: Outcomes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    outcome = outcomes["sum of squared errors"]
    (gradient,) = outcome.gradients
    outcome = replace(outcome, gradients=(replace(gradient, derived=formula, assuming=assuming),))
    lines = rendered([outcome]).splitlines()
    assert all(cells(line) <= columns for line in lines)
    assert any("--full shows all" in line for line in lines)
    assert any(line.endswith("* real") and "…" in line for line in lines)
    whole = rendered([outcome], whole=True)
    assert all(line in whole for line in formula.splitlines())
    assert "--full" not in whole
    assert ("assuming real > 0, A == A.T" in " ".join(whole.split())) == bool(assuming)


def test_what_holds_for_the_check_is_said_once(outcomes: Outcomes) -> None:
    outcome = outcomes["forgotten factor"]
    again = replace(outcome.gradients[0], input="other")
    text = rendered([replace(outcome, gradients=(outcome.gradients[0], again))])
    assert text.count("engine and derived share rules") == 1
    assert text.count("manual is the outlier") == 2


def test_many_that_are_not_right_are_listed_at_the_end(outcomes: Outcomes) -> None:
    failed = outcomes["forgotten factor"]
    some = [replace(failed, id=f"number {k} " + "long " * k) for k in range(30)]
    *_, listed = rendered(some).split("not right\n")
    rows = listed.splitlines()
    assert (
        rows[0]
        == "  ✗ number 0                                            GC101   specs/sse.yaml:2"
    )
    assert rows[20] == "  and 10 more"
    assert max(map(cells, rows)) <= 80
    assert "not right" not in rendered([failed, outcomes["sum of squared errors"]])


@pytest.mark.parametrize("columns", [40, 50, 60, 80])
def test_rows_lose_facts_before_names(
    columns: int, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    passed = replace(outcomes["sum of squared errors"], id="a name of a usual length, in words")
    skipped = replace(outcomes["later"], error=Problem("GC302", "no CUDA device " * 5))
    row, other = rendered([passed, skipped]).splitlines()[:2]
    assert cells(row) <= columns
    assert cells(other) <= columns
    assert row.endswith("12 ms")
    assert ("5 agree" in row) == (columns > 40)
    assert ("worst" in row) == (columns > 60)


@pytest.mark.parametrize("columns", [40, 50, 60, 80, 120])
def test_a_narrow_table_has_fewer_columns_and_whole_words(
    columns: int, outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = rendered([outcomes["forgotten factor"]]).splitlines()
    header, *_ = (line for line in lines if line.startswith("    method"))
    (row,) = (line for line in lines if line.startswith("    manual  "))
    assert cells(row) == cells(header) <= columns
    assert " ✗ disagrees " in row
    assert "5e12" in row
    assert "…" not in header + row
    shown = [word in header for word in ("error/allowance", "mismatched", "max abs", "worst at")]
    assert shown == [True, columns > 50, columns > 60, columns > 80]
