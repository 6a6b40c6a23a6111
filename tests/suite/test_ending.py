from __future__ import annotations

from itertools import pairwise

import pytest

from gradcheck_cli.errors import ExitCode, Problem
from gradcheck_cli.suite.ending import PRECEDENCE, ending, exit_code
from gradcheck_cli.verdict.outcome import CheckOutcome, Status


def outcome(status: Status, code: ExitCode | None = None) -> CheckOutcome:
    error = None if code is None else Problem("GC001", "wrong", exit_code=code)
    return CheckOutcome("id", "name", status, error=error)


def of(code: ExitCode) -> CheckOutcome:
    """An outcome that alone ends a run in `code`."""
    plain: dict[ExitCode, Status] = {
        ExitCode.PASSED: "passed",
        ExitCode.FAILED: "failed",
        ExitCode.NOTHING_SELECTED: "skipped",
    }
    return outcome(plain[code]) if code in plain else outcome("error", code)


@pytest.mark.parametrize("code", PRECEDENCE)
def test_one_outcome_alone(code: ExitCode) -> None:
    assert exit_code([of(code)]) == ending(of(code)) == code


@pytest.mark.parametrize(
    ("graver", "lighter"),
    [pair for pair in pairwise(PRECEDENCE) if ExitCode.NOTHING_SELECTED not in pair],
)
def test_the_graver_of_two_decides(graver: ExitCode, lighter: ExitCode) -> None:
    assert exit_code([of(lighter), of(graver), of(lighter)]) == graver


def test_skipped_beside_passed_is_passed() -> None:
    assert exit_code([outcome("skipped"), outcome("passed")]) == ExitCode.PASSED


def test_strict_counts_inconclusive_as_failed() -> None:
    assert exit_code([outcome("inconclusive")]) == ExitCode.PASSED
    assert exit_code([outcome("inconclusive")], strict=True) == ExitCode.FAILED


def test_a_check_asked_for_by_a_wrong_name_is_not_passed() -> None:
    unknown = Problem("GC025", "no such check", exit_code=ExitCode.NOTHING_SELECTED)
    assert exit_code([outcome("passed")], [unknown]) == ExitCode.NOTHING_SELECTED


def test_nothing_at_all() -> None:
    assert exit_code([]) == ExitCode.NOTHING_SELECTED


def test_problems_of_files_count() -> None:
    missing = Problem("GC027", "missing", exit_code=ExitCode.CANNOT_RUN)
    assert exit_code([outcome("passed")], [missing]) == ExitCode.CANNOT_RUN
    assert exit_code([outcome("failed")], [missing]) == ExitCode.FAILED
    assert exit_code([outcome("failed")], [missing, Problem("GC001", "bad")]) == ExitCode.USAGE


def test_the_gravest_of_several_problems_of_one_check() -> None:
    first = Problem("GC302", "no device", exit_code=ExitCode.CANNOT_RUN)
    wrong = CheckOutcome("id", "name", "error", error=first, also=(Problem("GC012", "unknown"),))
    assert ending(wrong) == ExitCode.USAGE


def test_an_error_without_a_problem_is_a_bug() -> None:
    assert ending(outcome("error")) == ExitCode.INTERNAL
