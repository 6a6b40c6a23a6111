from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.errors import cells
from gradcheck_cli.report.console import ConsoleReport
from gradcheck_cli.report.durations import show_slowest
from gradcheck_cli.report.terminal import Terminal

if TYPE_CHECKING:
    from gradcheck_cli.verdict.outcome import CheckOutcome
    from tests.report.conftest import Outcomes


def timed(outcome: CheckOutcome, name: str, seconds: float) -> CheckOutcome:
    return replace(outcome, id=f"a.yaml::{name}", name=name, seconds=seconds)


@pytest.fixture
def some(outcomes: Outcomes) -> list[CheckOutcome]:
    passed = outcomes["sum of squared errors"]
    times = {"quick": 0.004, "slow": 75.0, "first": 0.25, "second": 0.25}
    return [timed(passed, name, seconds) for name, seconds in times.items()]


def shown(outcomes: list[CheckOutcome], number: int) -> list[str]:
    stream = io.StringIO()
    show_slowest(Terminal(stream, columns=80), outcomes, number)
    return stream.getvalue().splitlines()


def test_the_slowest_come_first_and_equal_ones_in_their_order(some: list[CheckOutcome]) -> None:
    assert shown(some, 3) == [
        "the slowest 3 of 4 checks",
        "  1 min 15 s   a.yaml::slow",
        "      250 ms   a.yaml::first",
        "      250 ms   a.yaml::second",
        "",
    ]


def test_more_than_there_are_is_all(some: list[CheckOutcome], outcomes: Outcomes) -> None:
    lines = shown([*some, outcomes["later"]], 10)
    assert lines[0] == "4 checks, slowest first"
    assert lines[-2] == "      4.0 ms   a.yaml::quick"
    assert shown([outcomes["later"]], 10) == []


def test_long_names_are_cut(some: list[CheckOutcome]) -> None:
    hostile = timed(some[0], "\x1b[31m" + "long " * 40 + "end", 90.0)
    row = shown([hostile], 1)[1]
    assert cells(row) <= 80
    assert row.startswith("  1 min 30 s   a.yaml::\\x1b[31m")
    assert row.endswith(" end")


@pytest.mark.parametrize("slowest", [0, 2])
def test_they_stand_before_the_summary(slowest: int, some: list[CheckOutcome]) -> None:
    stream = io.StringIO()
    report = ConsoleReport(Terminal(stream), total=4, verbosity=-1)
    report.finish(some, 1.0, notes=[], slowest=slowest)
    *_, summary = lines = stream.getvalue().splitlines()
    assert summary == "4 passed in 1.0 s"
    assert ("the slowest 2 of 4 checks" in lines) == bool(slowest)
