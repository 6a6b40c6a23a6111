"""The JSON report, format 1.0, and the writing of report files: whole or not at all."""

from __future__ import annotations

import json
import math
import os
import platform
import stat
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradcheck_cli
from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, Where, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.verdict.outcome import (
        CheckOutcome,
        Diagnosis,
        GradientOutcome,
        Grid,
        MethodOutcome,
    )

FORMAT_VERSION = "1.0"


def report(outcomes: Sequence[CheckOutcome], seconds: float, exit_code: int) -> dict[str, Any]:
    """The report as plain data that `json` can write: no NaN, no infinity, no tuple."""
    numbers = Counter(outcome.status for outcome in outcomes)
    return {
        "format_version": FORMAT_VERSION,
        "tool": {
            "version": gradcheck_cli.__version__,
            "python": platform.python_version(),
            "numpy": _version("numpy"),
            "torch": _version("torch"),
        },
        "summary": {
            "total": len(outcomes),
            "passed": numbers["passed"],
            "failed": numbers["failed"],
            "inconclusive": numbers["inconclusive"],
            "errors": numbers["error"],
            "skipped": numbers["skipped"],
            "seconds": _number(seconds),
            "exit_code": int(exit_code),
        },
        "checks": [_check(outcome) for outcome in outcomes],
    }


def _check(outcome: CheckOutcome) -> dict[str, Any]:
    return {
        "id": outcome.id,
        "file": outcome.file,
        "line": outcome.line,
        "name": outcome.name,
        "description": outcome.description,
        "tags": list(outcome.tags),
        "status": outcome.status,
        "expected_failure": outcome.expected_failure,
        "device": outcome.device,
        "dtype": outcome.dtype,
        "seed": outcome.seed,
        "seconds": _number(outcome.seconds),
        "order": outcome.order,
        "inputs": [
            {
                "name": given.name,
                "shape": list(given.shape),
                "dtype": given.dtype,
                "checked": given.checked,
            }
            for given in outcome.inputs
        ],
        "let": dict(outcome.let),
        "expression": outcome.expression,
        "manual": {
            name: {
                "formula": outcome.formulas.get(name),
                "line": where.line,
                "column": where.column,
            }
            for name, where in outcome.manual.items()
        },
        "value": {method: _number(value) for method, value in outcome.value.items()},
        "gradients": [_gradient(gradient) for gradient in outcome.gradients],
        "diagnoses": [_diagnosis(diagnosis) for diagnosis in outcome.diagnoses],
        "error": None if outcome.error is None else problem_data(outcome.error),
        "more_errors": [problem_data(problem) for problem in outcome.also],
        "reproduce": outcome.reproduce or None,
    }


def _gradient(gradient: GradientOutcome) -> dict[str, Any]:
    return {
        "input": gradient.input,
        "order": gradient.order,
        "shape": list(gradient.shape),
        "derived": gradient.derived,
        "assuming": list(gradient.assuming),
        "reference": gradient.reference,
        "groups": [list(group) for group in gradient.groups],
        "outliers": list(gradient.outliers),
        "bitwise_equal": [list(pair) for pair in gradient.equal],
        "smallest_visible_error": _number(gradient.smallest_visible_error),
        "smallest_visible_relative_error": _number(gradient.smallest_visible_relative_error),
        "rounding_aside": gradient.rounding_aside,
        "methods": [_method(method) for method in gradient.methods],
        "grid": None if gradient.grid is None else _grid(gradient.grid),
    }


def _grid(grid: Grid) -> dict[str, Any]:
    """Six digits: it is looked at."""

    def numbers(values: Sequence[float]) -> list[float | str | None]:
        return [_number(float(f"{value:.6g}")) for value in values]

    return {
        "rows": grid.rows,
        "columns": grid.columns,
        "row_step": grid.row_step,
        "column_step": grid.column_step,
        "reference": numbers(grid.reference),
        "errors": {method: numbers(values) for method, values in grid.errors.items()},
        "ratios": {method: numbers(values) for method, values in grid.ratios.items()},
    }


def _method(method: MethodOutcome) -> dict[str, Any]:
    return {
        "method": method.method,
        "status": method.status,
        "error_over_allowance": _number(method.error_over_allowance),
        "allowance": _number(method.allowance),
        "max_abs_error": _number(method.max_abs_error),
        "max_rel_error": _number(method.max_rel_error),
        "worst_index": None if method.worst_index is None else [int(i) for i in method.worst_index],
        "value": _number(method.value),
        "expected": _number(method.expected),
        "mismatched": int(method.mismatched),
        "elements": int(method.elements),
        "seconds": _number(method.seconds),
        "reason": method.reason,
    }


def _diagnosis(diagnosis: Diagnosis) -> dict[str, Any]:
    where = diagnosis.where
    return {
        "code": diagnosis.code,
        "input": diagnosis.input,
        "method": diagnosis.method,
        "message": diagnosis.message,
        "fix": diagnosis.fix,
        "difference": diagnosis.difference,
        "operator": diagnosis.operator,
        "also": [
            {"code": other.code, "message": other.message, "fix": other.fix}
            for other in diagnosis.also
        ],
        "line": None if where is None else where.line,
        "column": None if where is None else where.column,
    }


def problem_data(problem: Problem) -> dict[str, Any]:
    """A problem as plain data."""
    where = problem.where
    return {
        "code": problem.code,
        "message": problem.message,
        "line": None if where is None else where.line,
        "column": None if where is None else where.column,
        "hint": problem.hint,
    }


def _number(number: float | None) -> float | str | None:
    """JSON has no NaN and no infinities: they are these strings."""
    if number is None or math.isfinite(number):
        return None if number is None else float(number)
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _version(package: str) -> str | None:
    """The installed version, without importing the package."""
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


class ReportFile:
    """Where a report goes: a path, or `-` for stdout.

    It is made before the checks run, so that a path that can't be written is known before the work.

    Raises GradcheckError (GC305).
    """

    def __init__(self, target: str) -> None:
        self.is_stdout = target == "-"
        self._target = target
        # Through a link, the file that it leads to is replaced, not the link.
        self._path = Path(os.path.realpath(target))
        # The target's name may be as long as a name can be, so it is not repeated here.
        self._temporary = self._path.with_name(f".gradcheck-{os.urandom(8).hex()}.tmp")
        self._in_place = False
        if self.is_stdout:
            return
        try:
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            mode = None
        except (OSError, ValueError) as error:
            raise self._refused(error) from error
        # A device or a pipe is written to; only a file of its own can be replaced by another.
        self._in_place = mode is not None and not stat.S_ISREG(mode)
        if mode is not None and (stat.S_ISDIR(mode) or not os.access(self._path, os.W_OK)):
            raise self._refused("it is a folder" if stat.S_ISDIR(mode) else "permission denied")
        if not self._in_place:
            try:
                os.close(self._open_temporary())
                self._temporary.unlink()
            except (OSError, ValueError) as error:
                raise self._refused(error) from error

    def _open_temporary(self) -> int:
        return os.open(self._temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)

    def write(self, text: str) -> None:
        """Put `text` there. Raises GradcheckError (GC305); then an earlier report is still whole."""
        if self.is_stdout:
            sys.stdout.write(text)
            sys.stdout.flush()
            return
        try:
            if self._in_place:
                self._path.write_text(text, encoding="utf-8")
                return
            try:
                with os.fdopen(self._open_temporary(), "w", encoding="utf-8") as stream:
                    stream.write(text)
                self._temporary.replace(self._path)
            except BaseException:
                self._temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception | str) -> GradcheckError:
        reason = error if isinstance(error, str) else getattr(error, "strerror", None) or str(error)
        message = f"the report can't be written to {printable(self._target)}: {reason}"
        hint = "give a path in a folder that exists and may be written to, or - for stdout"
        where = Where(self._target)
        return GradcheckError(Problem("GC305", message, where, hint, ExitCode.CANNOT_RUN))


def to_text(document: dict[str, Any]) -> str:
    """The report as text; characters outside ASCII are escaped, so that any reader can decode it."""
    return json.dumps(document, indent=2, allow_nan=False) + "\n"
