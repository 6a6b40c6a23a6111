"""What a run ends in: the one place where many outcomes become one exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gradcheck_cli.errors import Problem
    from gradcheck_cli.verdict.outcome import CheckOutcome

# The gravest first. A bug makes everything else doubtful; a file that can't be read hides checks that
# could be wrong, so it comes before those known to be wrong; what could not run says nothing about the
# gradient, so a wrong one weighs more.
PRECEDENCE = (
    ExitCode.INTERNAL,
    ExitCode.USAGE,
    ExitCode.FAILED,
    ExitCode.CANNOT_RUN,
    ExitCode.NOTHING_SELECTED,
    ExitCode.PASSED,
)


def exit_code(
    outcomes: Iterable[CheckOutcome], problems: Iterable[Problem] = (), *, strict: bool = False
) -> ExitCode:
    """The gravest ending of a run, in the order of `PRECEDENCE`.

    `problems` are of files that gave no checks. Skipped checks say nothing, and a run in which nothing
    was checked ends in NOTHING_SELECTED; with `strict`, an inconclusive check counts as a failed one.
    """
    endings = {problem.exit_code for problem in problems}
    endings.update(ending(o, strict=strict) for o in outcomes if o.status != "skipped")
    return gravest(endings)


def gravest(endings: Collection[ExitCode]) -> ExitCode:
    """The first of them in `PRECEDENCE`; NOTHING_SELECTED of none."""
    return next((code for code in PRECEDENCE if code in endings), ExitCode.NOTHING_SELECTED)


def is_right(outcome: CheckOutcome, *, strict: bool = False) -> bool:
    """Whether nothing is wrong with a check, as `--maxfail` and `--last-failed` see it."""
    return ending(outcome, strict=strict) in (ExitCode.PASSED, ExitCode.NOTHING_SELECTED)


def ending(outcome: CheckOutcome, *, strict: bool = False) -> ExitCode:
    """What one outcome alone would end the run in."""
    match outcome.status:
        case "passed":
            return ExitCode.PASSED
        case "failed":
            return ExitCode.FAILED
        case "inconclusive":
            return ExitCode.FAILED if strict else ExitCode.PASSED
        case "skipped":
            return ExitCode.NOTHING_SELECTED
        case "error":
            codes = {problem.exit_code for problem in (outcome.error, *outcome.also) if problem}
            return next((code for code in PRECEDENCE if code in codes), ExitCode.INTERNAL)
