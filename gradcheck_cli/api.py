"""Python for scripts, notebooks and test suites: the same checks and verdicts as the command's.

Nothing here prints, ends the process or changes a setting of PyTorch's, NumPy's or the interpreter's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.suite.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.verdict.outcome import CheckOutcome

# PyTorch's default dtype, which a check sets for its own time, is the whole process's.
_one_at_a_time = RLock()


@dataclass(frozen=True)
class Report:
    """What checks ended in: `checks` are their outcomes in order, `seconds` how long all took.

    `print(report)` shows what the command does, a notebook a table. With `strict` an inconclusive check
    counts as failed.
    """

    checks: tuple[CheckOutcome, ...]
    seconds: float = 0.0
    strict: bool = False

    @property
    def passed(self) -> bool:
        """Whether the command would have ended in 0: nothing is wrong, and something was checked."""
        return self.exit_code == ExitCode.PASSED

    @property
    def exit_code(self) -> ExitCode:
        """What the command would have ended in."""
        from gradcheck_cli.suite.ending import exit_code

        return exit_code(self.checks, strict=self.strict)

    @property
    def failed(self) -> tuple[CheckOutcome, ...]:
        """The checks because of which it didn't pass: wrong ones and those that could not run."""
        from gradcheck_cli.suite.ending import ending

        fine = (ExitCode.PASSED, ExitCode.NOTHING_SELECTED)
        return tuple(c for c in self.checks if ending(c, strict=self.strict) not in fine)

    @property
    def document(self) -> dict[str, Any]:
        """The JSON report, as plain data."""
        from gradcheck_cli.report.json_report import report

        return report(self.checks, self.seconds, self.exit_code, strict=self.strict)

    def write(self, target: str | os.PathLike[str]) -> None:
        """Write a report file: the format is the ending's (`out.html`) or named (`junit=out.xml`).

        Raises GradcheckError: GC028 for an unknown format, GC305 where it can't be written.
        """
        from gradcheck_cli.report.formats import Reports

        # Under GitHub Actions the command adds annotations, which nobody asks for here.
        reports = Reports.of([os.fspath(target), "github=off"])
        for outcome in self.checks:
            reports.add(outcome)
        reports.finish(self.checks, self.seconds, self.exit_code, strict=self.strict)

    def __str__(self) -> str:
        return self.text(getattr(sys.stdout, "encoding", None) or "ascii")

    def __repr__(self) -> str:
        kinds = [outcome.status for outcome in self.checks]
        counted = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        return f"<gradcheck_cli.Report: {counted or 'no checks'}>"

    def _repr_html_(self) -> str:
        from gradcheck_cli.report.html.fragment import fragment

        return fragment(self.checks, self.seconds)

    def text(self, encoding: str = "utf-8") -> str:
        """What the command prints, without colours, in characters that the encoding has."""
        from gradcheck_cli.report.plain import report_text

        undecided = self.strict and any(c.status == "inconclusive" for c in self.checks)
        notes = ["inconclusive counts as failed (strict)"] * undecided
        return report_text(self.checks, self.seconds, notes=notes, encoding=encoding)


def compare(
    spec: str | os.PathLike[str] | Mapping[str, Any],
    *,
    methods: str | Sequence[str] | None = None,
    device: Any = None,
    dtype: Any = None,
    seed: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    keyword: str | None = None,
    tags: Sequence[str] = (),
    strict: bool | None = None,
    jobs: int | str = 1,
    allow_imports: Sequence[str] | None = None,
) -> Report:
    """Run the checks of a spec, as `gradcheck compare` does.

    `spec` is a path (a file, a folder, a glob, or `FILE::NAME`), a dict that says what a spec file says, or a
    spec's text: a str with a line break in it is text, another one a path. The other arguments are the
    command's options; what they leave open is taken from the variables `GRADCHECK_*`, the spec, and the
    nearest pyproject.toml, in this order. `jobs` is how many processes share the work, or "auto".

    Of several files those that are broken are checks of status "error". Raises GradcheckError where nothing
    can be checked, with everything that is wrong.

    >>> report = compare('''
    ... version: 1
    ... inputs: {x: {shape: [3]}}
    ... expression: x.square().sum()
    ... manual: {x: 3 * x}
    ... ''')
    >>> report.passed, report.failed[0].diagnoses[0].code
    (False, 'GC101')
    """
    from gradcheck_cli.spec.numbers import dtype_name
    from gradcheck_cli.suite.selection.config import find_project, from_environment, read
    from gradcheck_cli.suite.selection.overrides import Overrides, plan

    start = perf_counter()
    given = {
        "methods": None if methods is None else _texts("methods", methods),
        "device": None if device is None else str(device),
        "dtype": None if dtype is None else dtype_name(dtype),
        "seed": seed,
        "rtol": rtol,
        "atol": atol,
        "strict": strict,
        "allow-imports": None if allow_imports is None else _texts("allow_imports", allow_imports),
    }
    mine = read(given, _argument).over(from_environment(os.environ))
    project = find_project(Path.cwd()).config
    found = _found(spec, keyword, _texts("tags", tags))
    planned = plan(found.checks, Overrides.of(mine), Overrides.of(project))
    settled = mine.over(project)
    settings = Settings(allow_imports=settled.allow_imports or ())
    outcomes = _run([one.check for one in planned], settings, jobs)
    told = [
        outcome if one.command is None else replace(outcome, reproduce=one.command)
        for outcome, one in zip(outcomes, planned, strict=True)
    ]
    return _report([*found.broken, *told], start, strict=bool(settled.strict))


def check(
    expression: str | None,
    inputs: Mapping[str, Any],
    manual: Mapping[str, Any] | Callable[..., Any] | None = None,
    *,
    let: Mapping[str, str] | None = None,
    cotangent: str | None = None,
    wrt: str | Sequence[str] | None = None,
    order: int = 1,
    dtype: Any = None,
    device: Any = None,
    methods: str | Sequence[str] | None = None,
    tolerance: Mapping[str, Any] | None = None,
    seed: int = 0,
    strict: bool = False,
    name: str | None = None,
    implementation: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    allow_imports: Sequence[str] = (),
) -> Report:
    """Check the gradient of one expression.

    `inputs` maps names to numbers: NumPy arrays, PyTorch's tensors, nested lists, or dicts as in a spec
    (`{"shape": [3, 4], "sample": "uniform"}`). Arrays keep their dtype unless `dtype` is given. Checked are
    the inputs `wrt`; else the tensors with `requires_grad`; else all that are floating-point. `dtype`
    defaults to the widest of the floating-point arrays', or to float64, `device` to the tensors', or the CPU.

    `manual` maps inputs to their gradients: a formula, an array of numbers, or a function that computes one.
    A function gets the inputs that its parameters name, as tensors where tensors were given and else as
    NumPy arrays, and under `grad` the upstream gradient. One function for all inputs gives a dict, a tuple in
    the order of the checked inputs, or a single array. What it raises is raised here.

    `implementation` is code whose forward and backward are compared with the expression's, called with the
    inputs by name: a function, an `nn.Module`, or the text `package.module:object`, which is imported if
    `allow_imports` has its package. The others are a spec's keys of these names; `dtype` may be a list.

    Raises GradcheckError where an argument is wrong. What is wrong with the expression, or its device, is an
    outcome of status "error".

    >>> check("(x * y).sum()", {"x": [1.0, 2.0], "y": [3.0, 4.0]}, {"x": "y", "y": "x"}).passed
    True
    >>> report = check("x.exp().sum()", {"x": [0.5, 1.0]}, {"x": lambda x: x})
    >>> [outcome.status for outcome in report.checks]
    ['failed']
    """
    from gradcheck_cli.suite.arguments import Arguments

    start = perf_counter()
    keys = {
        "name": name,
        "expression": expression,
        "let": let,
        "cotangent": cotangent,
        "order": order,
        "dtype": dtype,
        "device": device,
        "methods": None if methods is None else _texts("methods", methods),
        "tolerance": tolerance,
        "seed": seed,
    }
    arguments = Arguments(inputs, manual, wrt, implementation, kwargs, keys)
    checks = arguments.checks()
    settings = Settings(grids=True, allow_imports=tuple(_texts("allow_imports", allow_imports)))
    outcomes = _run(checks, settings)
    return _report(outcomes, start, strict=strict)


def assert_gradients(
    expression: str | os.PathLike[str] | Mapping[str, Any] | None,
    inputs: Mapping[str, Any] | None = None,
    manual: Any = None,
    **options: Any,
) -> None:
    """Raise AssertionError with the command's words where a gradient is not right: for test suites.

    With `inputs`, the arguments are those of `check`; without, the first is a spec and the others are
    options of `compare`. With `strict=True` an inconclusive check fails too.

    >>> assert_gradients("x.sin().sum()", {"x": [0.1, 0.2]}, {"x": "x.cos()"})
    >>> assert_gradients("x.sin().sum()", {"x": [0.1, 0.2]}, {"x": "-x.cos()"})
    Traceback (most recent call last):
    ...
    AssertionError: ...
    """
    __tracebackhide__ = True
    report: Report
    if inputs is not None:
        report = check(expression, inputs, manual, **options)  # type: ignore[arg-type]
    elif manual is not None or expression is None:
        raise GradcheckError(
            Problem("GC028", "`inputs` is missing", None, "give a dict: inputs={'x': ...}")
        )
    else:
        report = compare(expression, **options)
    if not report.passed:
        raise AssertionError(report.text("utf-8"))


class _Found(NamedTuple):
    """The checks of a spec, and the files that gave none, as outcomes."""

    checks: Sequence[Check]
    broken: Sequence[CheckOutcome] = ()


def _found(spec: Any, keyword: str | None, tags: Sequence[str]) -> _Found:
    """Raises GradcheckError where nothing can be checked."""
    from gradcheck_cli.spec.load import load_text
    from gradcheck_cli.suite.selection.collect import collect
    from gradcheck_cli.suite.selection.select import Selection

    if not isinstance(keyword, str | None):
        raise _misused(f"`keyword` is {keyword!r}", "give a text, as for the command's -k")
    if isinstance(spec, Mapping):
        from gradcheck_cli.spec.data import load_data

        checks = load_data(spec)
    elif isinstance(spec, str) and "\n" in spec:
        checks = load_text(spec, None, Path.cwd())
    elif isinstance(spec, str | os.PathLike):
        path = os.fspath(spec)
        if path in ("", "-") or "\0" in path:
            raise _misused(f"the spec is {path!r}", "give a path, a dict or a spec's text")
        found = collect([path], keyword=keyword, tags=tags)
        if not found.checks:
            raise GradcheckError(*found.problems)
        return _Found(found.checks, [broken.outcome for broken in found.broken])
    else:
        message = f"the spec is an object of type {type(spec).__name__}"
        raise _misused(message, "give a path, a dict or a spec's text")
    kept = Selection(keyword, tuple(tags)).of(checks)
    if not kept:
        message = f"of {len(checks):,} checks none is selected"
        raise GradcheckError(Problem("GC025", message, None, None, ExitCode.NOTHING_SELECTED))
    return _Found(kept)


def _run(checks: Sequence[Check], settings: Settings, jobs: int | str = 1) -> list[CheckOutcome]:
    """The checks' outcomes, in order."""
    from gradcheck_cli.suite.workers.execute import Execution, execute, parse_jobs

    jobs = parse_jobs(str(jobs))
    if jobs == 1 or len(checks) < 2:
        with _alone():
            return [run_check(check, settings) for check in checks]
    found: dict[int, CheckOutcome] = {}
    with closing(execute(checks, Execution(jobs=jobs), settings)) as running:
        found.update(running)
    return [found[position] for position in range(len(checks))]


@contextmanager
def _alone() -> Iterator[None]:
    """No other thread's check at the same time, and NumPy's floating-point errors as they usually are."""
    with _one_at_a_time, np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        yield


def _report(outcomes: Sequence[CheckOutcome], start: float, *, strict: bool) -> Report:
    placed = (replace(outcome, index=place) for place, outcome in enumerate(outcomes))
    return Report(tuple(placed), perf_counter() - start, strict)


def _texts(name: str, given: str | Sequence[str]) -> list[str]:
    """One text, comma-separated ones, or several. Raises GradcheckError for what is neither."""
    if isinstance(given, str):
        return [part.strip() for part in given.split(",") if part.strip()]
    if not isinstance(given, Iterable):
        raise _misused(f"`{name}` is {given!r}", "give a text, or a list of them")
    return [*given]


def _argument(key: str) -> str:
    """What a key of the configuration is called here."""
    return f"`{key.replace('-', '_')}`"


def _misused(message: str, hint: str) -> GradcheckError:
    return GradcheckError(Problem("GC028", message, None, hint))
