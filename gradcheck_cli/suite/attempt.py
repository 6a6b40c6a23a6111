"""What goes wrong with a check becomes its problems: nothing is raised for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.spec.check import Check

T = TypeVar("T")


def attempt(check: Check, work: Callable[[], T]) -> tuple[T | None, tuple[Problem, ...]]:
    """What `work` gives, or None and the check's problems."""
    try:
        return work(), ()
    except GradcheckError as error:
        return None, error.problems
    except Invalid as error:
        # A kernel refused a value: an index out of range, a matrix that isn't positive definite.
        where = check.expression.where(0, len(check.expression.text))
        return None, (Problem(error.code, error.message, where, error.hint, ExitCode.CANNOT_RUN),)
    except MemoryError:
        message = "the check ran out of memory"
        cannot = ExitCode.CANNOT_RUN
        return None, (Problem("GC303", message, hint="use smaller shapes", exit_code=cannot),)
