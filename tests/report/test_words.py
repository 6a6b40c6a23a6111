"""What is said of a check, for every format alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_cli.report import words
from gradcheck_cli.report.json_report import check_data
from gradcheck_cli.report.reading import outcome_of

if TYPE_CHECKING:
    from tests.report.conftest import Outcomes


def data(outcomes: Outcomes, name: str) -> dict[str, Any]:
    return check_data(outcomes[name])


def test_headlines(outcomes: Outcomes) -> None:
    assert {name: words.headline(check_data(one)) for name, one in outcomes.items()} == {
        "sum of squared errors": "passed",
        "forgotten factor": "GC101 off by a constant factor: multiply by 2 (manual of predicted)",
        "only own rules": "GC205 too few independent witnesses",
        "unknown name": "GC012 unknown name `predictd` (and 1 more)",
        "later": "skipped: no CUDA device",
        "a known mistake": "fails as expected",
    }


def test_what_limits_the_evidence_is_not_the_mistake(outcomes: Outcomes) -> None:
    check = data(outcomes, "forgotten factor")
    aside = {**check["diagnoses"][0], "code": "GC201", "message": "kink", "method": None}
    check["diagnoses"].insert(0, aside)
    assert [one.level for one in words.findings(check)] == ["warning", "error"]
    assert words.headline(check).startswith("GC101")


def test_a_mistake_without_a_diagnosis_stands_at_its_formula(outcomes: Outcomes) -> None:
    check = data(outcomes, "forgotten factor")
    check["diagnoses"] = []
    (found,) = words.findings(check)
    assert (found.level, found.line, found.column) == ("error", 8, 14)
    assert words.sentence(found) == "the manual formula for predicted disagrees"


@pytest.mark.parametrize("status", ["failed", "inconclusive", "error"])
def test_a_check_that_is_not_right_always_has_a_finding(status: str, outcomes: Outcomes) -> None:
    check = data(outcomes, "sum of squared errors")
    check["status"] = status
    (found,) = words.findings(check)
    assert found.level == ("warning" if status == "inconclusive" else "error")
    assert (found.file, found.line) == ("specs/sse.yaml", 2)
    assert words.sentence(found) == f"the check is {status}"


def test_the_story_is_plain_whatever_the_terminal(
    outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = {name: words.story_of(one) for name, one in outcomes.items()}
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "40"), ("TTY_COMPATIBLE", "1")):
        monkeypatch.setenv(name, value)
    for name, one in outcomes.items():
        text = words.story_of(one)
        assert text == plain[name]
        assert text.replace("\n", "").isprintable()
        assert text.startswith(one.status.upper())


def test_the_story_of_a_report_is_that_of_its_outcome(outcomes: Outcomes) -> None:
    for one in outcomes.values():
        check = check_data(one)
        assert words.story(check) == words.story_of(one)
        assert check_data(outcome_of(check)) == check


def test_the_words_are_the_terminals(outcomes: Outcomes) -> None:
    """Nothing is said of a finding that isn't told there: they would drift apart."""
    check = data(outcomes, "forgotten factor")
    story = words.story(check)
    for found in words.findings(check):
        assert found.message in story
        assert found.fix is None or f"fix: {found.fix}" in story
        assert all(other.partition(";")[0] in story for other in found.also)
