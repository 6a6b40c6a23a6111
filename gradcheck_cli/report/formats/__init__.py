"""The formats of reports: one file each, with `render(document) -> text`, listed here without importing them.

`document` is the JSON report (`report.json_report.report`). A format is a pure function of it, so that
reports merged from shards come in every format too. To add one: a line in `_FORMATS`, its file, its test.
"""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, did_you_mean, printable
from gradcheck_cli.report.files import LineFile, ReportFile, to_stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.verdict.outcome import CheckOutcome


@dataclass(frozen=True, slots=True)
class Format:
    """A format's name, the endings of files that are taken for it, and its line of help.

    `pictures` says that it shows a picture of every gradient, not only of those that disagree; `streams` that
    it is written while the checks run.
    """

    name: str
    suffixes: tuple[str, ...]
    help: str
    pictures: bool = False
    streams: bool = False

    def render(self, document: dict[str, Any]) -> str:
        """The document in this format."""
        text: str = import_module(f"{__name__}.{self.name}").render(document)
        return text


_FORMATS = (
    Format("json", (".json",), "everything, format 1.0"),
    Format("jsonl", (".jsonl",), "JSON lines, each written as its check finishes", streams=True),
    Format("junit", (".xml",), "JUnit XML, for GitLab, Jenkins and others"),
    Format("xunit", (), "JUnit XML as the xUnit plugin of Jenkins wants it: no file and line"),
    Format("html", (".html", ".htm"), "a page for people", pictures=True),
    Format("markdown", (".md",), "a comment on a pull request"),
    Format("github", (), "annotations, under GitHub Actions always there; github=off is without"),
    Format("gitlab", ("gl-code-quality-report.json",), "GitLab code quality"),
    Format("sarif", (".sarif", ".sarif.json"), "SARIF 2.1.0, for code scanning"),
    Format("tap", (".tap",), "Test Anything Protocol, version 14"),
)

FORMATS = {entry.name: entry for entry in _FORMATS}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_OFF = "off"


def named_by(path: str) -> Format | None:
    """The format that the end of a path stands for; the longest ending decides.

    >>> named_by("out/scan.sarif.json").name
    'sarif'
    """
    lowered = path.lower()
    endings = {suffix: entry for entry in _FORMATS for suffix in entry.suffixes}
    fitting = [suffix for suffix in endings if lowered.endswith(suffix)]
    return endings[max(fitting, key=len)] if fitting else None


def listed() -> str:
    """The formats in one line, for help texts and errors."""
    return ", ".join(
        f"{entry.name} ({entry.suffixes[0]})" if entry.suffixes else entry.name
        for entry in _FORMATS
    )


class Reports:
    """The reports that a run writes, beside what people read on the terminal.

    Under GitHub Actions, annotations and the step's summary are among them without being asked for.
    """

    def __init__(
        self,
        files: Sequence[tuple[Format, ReportFile | LineFile]],
        *,
        annotations: bool = False,
        step_summary: str | None = None,
    ) -> None:
        self._files = files
        self._annotations = annotations
        self._step_summary = step_summary
        self._begun = False

    @classmethod
    def of(
        cls, requests: Sequence[str], *, json: str | None = None, annotate: bool = True
    ) -> Reports:
        """From what the command line asks for: `FORMAT=FILE`, or a file whose ending says the format.

        `json` is one more JSON report. `annotate` is off where a run before has made the annotations.

        Raises GradcheckError: GC028 for a format that isn't known or two reports in one file, GC305 for a
        file that can't be written.
        """
        wanted = [_parsed(request) for request in requests]
        if json is not None:
            wanted.append((FORMATS["json"], json))
        silent = (FORMATS["github"], _OFF)
        actions = os.environ.get("GITHUB_ACTIONS") == "true" and silent not in wanted
        asked = any(entry.name == "github" for entry, _ in wanted)
        wanted = [one for one in wanted if one != silent]
        _check_distinct(wanted)
        files: list[tuple[Format, ReportFile | LineFile]] = []
        # A file of lines is emptied when it is opened, which is not done before all others can be written.
        for entry, target in sorted(wanted, key=lambda one: one[0].streams):
            files.append((entry, LineFile(target) if entry.streams else ReportFile(target)))
        return cls(
            files,
            annotations=actions and annotate and not asked,
            step_summary=(os.environ.get("GITHUB_STEP_SUMMARY") or None) if actions else None,
        )

    @property
    def stdout(self) -> bool:
        """Whether one goes to stdout, where nothing else may stand then."""
        return any(file.is_stdout for _, file in self._files)

    @property
    def grids(self) -> bool:
        """Whether one shows a picture of every gradient."""
        return any(entry.pictures for entry, _ in self._files)

    def add(self, outcome: CheckOutcome) -> None:
        """Tell those that are written while the checks run of one more."""
        lines = [file for _, file in self._files if isinstance(file, LineFile)]
        if lines:
            from gradcheck_cli.report.formats import jsonl
            from gradcheck_cli.report.json_report import check_data, environment, tool

            if not self._begun:
                _write_line(lines, jsonl.header(tool(), environment()))
                self._begun = True
            _write_line(lines, jsonl.check(check_data(outcome)))

    def finish(
        self,
        outcomes: Sequence[CheckOutcome],
        seconds: float,
        exit_code: int,
        *,
        interrupted: bool = False,
        not_run: int = 0,
        strict: bool = False,
    ) -> None:
        """Write all, each whole or not at all; one that can't be written keeps none of the others back.

        Raises GradcheckError (GC305), with the run's own exit code where that is graver.
        """
        if not self._files and not self._annotations and self._step_summary is None:
            return
        from gradcheck_cli.report.json_report import report

        document = report(
            outcomes,
            seconds,
            exit_code,
            interrupted=interrupted,
            not_run=not_run,
            strict=strict,
        )
        self.write(document)

    def write(self, document: dict[str, Any]) -> None:
        """As `finish`, from a finished document."""
        problems: list[Problem] = []
        # The plainest first: should another format fail, the data are there. Stdout last: its reader may
        # be gone.
        for entry, file in sorted(self._files, key=_last_to_write):
            try:
                if isinstance(file, LineFile):
                    self._end_lines(file, entry, document)
                else:
                    file.write(entry.render(document))
            except GradcheckError as error:
                problems += error.problems
        if self._step_summary is not None:
            from gradcheck_cli.report.formats.markdown import append_summary

            try:
                append_summary(self._step_summary, document)
            except OSError as error:
                # Nobody asked for it, so it decides nothing.
                reason = printable(error.strerror or str(error))
                print(f"note: the step summary can't be written: {reason}", file=sys.stderr)  # noqa: T201
        if self._annotations:
            text = FORMATS["github"].render(document)
            if self.stdout:
                sys.stderr.write(text)  # the runner reads commands there too
            else:
                to_stdout(text)
        if problems:
            code = _graver(document["summary"]["exit_code"])
            raise GradcheckError(*(replace(problem, exit_code=code) for problem in problems))

    def _end_lines(self, file: LineFile, entry: Format, document: dict[str, Any]) -> None:
        if self._begun:
            from gradcheck_cli.report.formats import jsonl

            file.line(jsonl.summary(document["summary"]))
        else:
            for line in entry.render(document).splitlines():
                file.line(line)
        file.close()


def _write_line(files: Sequence[LineFile], line: str) -> None:
    for file in files:
        file.line(line)


def _last_to_write(one: tuple[Format, ReportFile | LineFile]) -> tuple[bool, bool]:
    entry, file = one
    return file.is_stdout, not entry.name.startswith("json")


def _graver(exit_code: int) -> ExitCode:
    """The run's own ending, or that of a report that can't be written where this weighs more."""
    from gradcheck_cli.suite.ending import PRECEDENCE

    endings = {ExitCode.CANNOT_RUN, ExitCode(exit_code)}
    if ExitCode.INTERRUPTED in endings:
        return ExitCode.INTERRUPTED
    return next(code for code in PRECEDENCE if code in endings)


def _parsed(request: str) -> tuple[Format, str]:
    """A format and a file. Raises GradcheckError (GC028)."""
    name, equals, target = request.partition("=")
    if not equals or not _NAME.fullmatch(name):
        entry = named_by(request)
        if entry is None:
            hint = f"FORMAT=FILE, or an ending that says the format; formats: {listed()}"
            raise _misused(f"--report {printable(request)}: what format is it?", hint)
        return entry, request
    if name not in FORMATS:
        hint = did_you_mean(name, FORMATS) or f"the formats are {listed()}"
        raise _misused(f"--report: there is no format `{printable(name)}`", hint)
    if not target:
        raise _misused(f"--report {name}= names no file", f"{name}=FILE, or {name}=- for stdout")
    return FORMATS[name], target


def _check_distinct(wanted: Sequence[tuple[Format, str]]) -> None:
    """Two reports in one file would be one report. Raises GradcheckError (GC028)."""
    taken: dict[str, str] = {}
    for entry, target in wanted:
        path = target if target == "-" else os.path.realpath(target)
        if path in taken and not _is_device(path):
            name = "stdout" if target == "-" else printable(target)
            message = f"the reports {taken[path]} and {entry.name} both go to {name}"
            raise _misused(message, "give each a file of its own")
        taken[path] = entry.name


def _is_device(path: str) -> bool:
    return path != "-" and os.path.exists(path) and not os.path.isfile(path)  # noqa: PTH110, PTH113


def _misused(message: str, hint: str) -> GradcheckError:
    return GradcheckError(Problem("GC028", message, None, hint))
