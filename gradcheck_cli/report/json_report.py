"""The JSON report, format 1.0: the document from which every other format is made."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradcheck_cli
from gradcheck_cli.cores import cores

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck_cli.errors import Problem, Where
    from gradcheck_cli.verdict.outcome import (
        CheckOutcome,
        Diagnosis,
        GradientOutcome,
        Grid,
        MethodOutcome,
    )

FORMAT_VERSION = "1.0"


def report(
    outcomes: Sequence[CheckOutcome],
    seconds: float,
    exit_code: int,
    *,
    interrupted: bool = False,
    not_run: int = 0,
    strict: bool = False,
) -> dict[str, Any]:
    """The report as plain data that `json` can write: no NaN, no infinity, no tuple."""
    return {
        "format_version": FORMAT_VERSION,
        "tool": tool(),
        "environment": environment(),
        "summary": summary(
            Counter(outcome.status for outcome in outcomes),
            seconds,
            exit_code,
            interrupted=interrupted,
            not_run=not_run,
            strict=strict,
        ),
        "checks": [check_data(outcome) for outcome in outcomes],
    }


def tool() -> dict[str, Any]:
    """The versions that the results depend on."""
    return {
        "version": gradcheck_cli.__version__,
        "python": platform.python_version(),
        "numpy": _version("numpy"),
        "torch": _version("torch"),
    }


def environment() -> dict[str, Any]:
    """Where the run took place. No name of a person or a machine is in it: reports are published."""
    program = os.path.basename(sys.argv[0] or "")  # noqa: PTH119 -- argv[0] may be no path at all
    command = ["gradcheck" if program in ("", "__main__.py") else program, *sys.argv[1:]]
    return {
        "command": shlex.join(command),
        "folder": folder(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": cores(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def root() -> Path | None:
    """The folder that paths in a CI system's reports are relative to: the repository's."""
    for name in ("GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        if os.environ.get(name):
            return Path(os.environ[name]).resolve()
    here = Path.cwd()
    return next((path for path in (here, *here.parents) if (path / ".git").exists()), None)


def folder() -> str | None:
    """The working folder within the repository, None outside of one."""
    top = root()
    here = Path.cwd().resolve()
    return here.relative_to(top).as_posix() if top and here.is_relative_to(top) else None


def summary(
    numbers: Mapping[str, int],
    seconds: float,
    exit_code: int,
    *,
    interrupted: bool,
    not_run: int,
    strict: bool,
) -> dict[str, Any]:
    """How many checks have each status. `not_run` were selected and not begun, or not finished.

    `strict` says that an inconclusive check counts as failed.
    """
    kinds = ("passed", "failed", "inconclusive", "error", "skipped")
    return {
        "total": sum(numbers.get(kind, 0) for kind in kinds),
        "passed": numbers.get("passed", 0),
        "failed": numbers.get("failed", 0),
        "inconclusive": numbers.get("inconclusive", 0),
        "errors": numbers.get("error", 0),
        "skipped": numbers.get("skipped", 0),
        "seconds": _number(seconds),
        "exit_code": int(exit_code),
        "interrupted": interrupted,
        "not_run": int(not_run),
        "strict": strict,
    }


def check_data(outcome: CheckOutcome) -> dict[str, Any]:
    """One check as it stands in the report."""
    return {
        "index": int(outcome.index),
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
        "implementation": outcome.implementation or None,
        "manual": {
            name: {
                "formula": outcome.formulas.get(name),
                **_place(where),
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
        **_place(where),
    }


def problem_data(problem: Problem) -> dict[str, Any]:
    """A problem as plain data."""
    where = problem.where
    return {
        "code": problem.code,
        "message": problem.message,
        "file": None if where is None else where.file,
        **_place(where),
        "hint": problem.hint,
        "exit_code": int(problem.exit_code),
    }


def _place(where: Where | None) -> dict[str, Any]:
    """A place and the line of text that it is in; lines and columns count from 1, and the end is excluded."""
    if where is None:
        return {"line": None, "column": None, "end_column": None, "source": None}
    return {
        "line": where.line,
        "column": where.column,
        "end_column": None if where.column is None else where.column + where.width,
        "source": where.source,
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


def to_text(document: dict[str, Any]) -> str:
    """The report as text; characters outside ASCII are escaped, so that any reader can decode it.

    Mappings are indented, and a list of numbers or names is one line: a picture has thousands of numbers.
    """
    return "".join(_written(document, "\n")) + "\n"


_encoded = json.JSONEncoder(allow_nan=False).encode


def _written(value: Any, line: str) -> Iterator[str]:
    """The pieces of a value's text; `line` begins a new one at this depth."""
    inner = f"{line}  "
    if isinstance(value, dict) and value:
        for number, (key, item) in enumerate(value.items()):
            yield f"{',' if number else '{'}{inner}{_encoded(key)}: "
            yield from _written(item, inner)
        yield f"{line}}}"
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for number, item in enumerate(value):
            yield f"{',' if number else '['}{inner}"
            yield from _written(item, inner)
        yield f"{line}]"
    else:
        yield _encoded(value)
