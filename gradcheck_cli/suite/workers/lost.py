"""Outcomes of checks that came to no end of their own: too slow, or lost with their worker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.suite.blank import blank
from gradcheck_cli.suite.workers.pool import NoWorkersError, TimeLimitError, WorkerEndedError
from gradcheck_cli.suite.workers.processes import ending

if TYPE_CHECKING:
    from concurrent.futures import Future

    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.verdict.outcome import CheckOutcome

_KILLED, _CRASHED = -9, (-11, -7, -6, -4, -8)


def settled(check: Check, future: Future[CheckOutcome]) -> CheckOutcome:
    """What the future holds, or the outcome that says why it holds none.

    Raises GradcheckError (GC310) where there are no workers at all, and WorkerError for a bug of ours.
    """
    try:
        return future.result()
    except TimeLimitError as error:
        limit = f"{error.limit:g} s"
        hint = f"give it more time, as in `--timeout {2 * error.limit:g}`, or use smaller shapes"
        return ended(
            check, "GC309", f"the check took longer than {limit} and was ended", hint, error.limit
        )
    except WorkerEndedError as error:
        message = f"the process that ran the check {ending(error.code)}"
        return ended(check, "GC310", message, _advice(error.code), error.seconds)
    except MemoryError:
        return ended(check, "GC303", "the check ran out of memory", _LESS)
    except NoWorkersError as error:
        message = f"no worker process could be started: {error}"
        problem = Problem("GC310", message, None, _IN_PROCESS, ExitCode.CANNOT_RUN)
        raise GradcheckError(problem) from None


_LESS = "use smaller shapes, or fewer checks at a time (`-j`)"
_IN_PROCESS = "`-j 1` without `--timeout` runs the checks in the command's own process"


def ended(check: Check, code: str, message: str, hint: str, seconds: float = 0.0) -> CheckOutcome:
    """The outcome `error` of a check that somebody or something has ended."""
    where = check.expression.where(0, len(check.expression.text))
    problem = Problem(code, message, where, hint, ExitCode.CANNOT_RUN)
    return replace(blank(check), error=problem, seconds=seconds)


def _advice(code: int | None) -> str:
    if code == _KILLED:
        return f"perhaps the system had no memory left: {_LESS}"
    if code in _CRASHED:
        return (
            "compiled code crashed: run the check by each method alone (`--methods`) to see whose"
        )
    return "look for what ends the process in the code that the check runs"
