"""A report read back: the document's text to outcomes, everything in it looked at before it is used.

Reports come from elsewhere, artifacts of other machines most of all, so nothing is taken for granted: types,
ranges and the lengths that belong together are checked, and the first that is wrong is named by its path.
Fields that a newer version added are left out; those that an older one lacked have their defaults.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, cast, get_args

from gradcheck_cli.errors import ExitCode, Problem, Where, printable
from gradcheck_cli.report.fields import MOST_QUOTED, Field, refuse
from gradcheck_cli.verdict.outcome import (
    CheckOutcome,
    Diagnosis,
    GradientOutcome,
    Grid,
    InputOutcome,
    MethodOutcome,
    MethodStatus,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 512 * 2**20
_MAJOR = "1"
_MOST_CELLS = 65_536


@dataclass(frozen=True, slots=True)
class Run:
    """A report as it was read: its outcomes in the file's order, and what it says of the run.

    `tool` and `environment` are names and values, texts but for the number of cores.
    """

    source: str
    outcomes: tuple[CheckOutcome, ...]
    seconds: float
    exit_code: ExitCode
    interrupted: bool
    not_run: int
    strict: bool
    tool: Mapping[str, Any]
    environment: Mapping[str, Any]


def read(text: str, source: str) -> Run:
    """The report in `text`, JSON or JSON lines; `source` is the file's name, for errors.

    Raises GradcheckError (GC033) for what is no report, or one of a newer major version.
    """
    data = _parsed(text, source)
    if isinstance(data, _Lines):
        return _of_lines(data.rows, source)
    root = Field(data, "", source)
    _check_version(root)
    summary = root.get("summary")
    outcomes = root.get("checks").each(_check, required=True)
    return _run(root, summary, outcomes)


@dataclass(frozen=True, slots=True)
class _Lines:
    rows: list[Any]


def _parsed(text: str, source: str) -> Any:
    """The text as data, as `_Lines` where it is JSON lines."""
    try:
        return _decoded(text)
    except RecursionError:
        refuse(source, "it is nested too deeply for a report")
    except ValueError as error:
        lines = text.split("\n")
        if len(lines) < 2:
            refuse(source, f"it is no JSON: {printable(str(error))}")
        # The last line has no line break where the machine stopped in the middle of it.
        whole = lines[:-1]
        try:
            rows = [_decoded(line) for line in whole if line.strip()]
        except (ValueError, RecursionError):
            refuse(source, f"it is no JSON: {printable(str(error))}")
        if not rows or not isinstance(rows[0], dict) or rows[0].get("type") != "header":
            refuse(source, "it is no report, neither JSON nor JSON lines")
        return _Lines(rows)


def _decoded(text: str) -> Any:
    def constant(name: str) -> NoReturn:
        message = f"{name} is no number of JSON"
        raise ValueError(message)

    return json.loads(text, parse_constant=constant)


def _of_lines(rows: list[Any], source: str) -> Run:
    """The lines of a run; without a summary it was killed, and what is there is what it finished."""
    head = Field(rows[0], "line 1", source)
    _check_version(head)
    outcomes = []
    summary: Field | None = None
    for number, row in enumerate(rows[1:], 2):
        line = Field(row, f"line {number}", source)
        if line.get("type").choice("check", "summary") == "check" and summary is None:
            outcomes.append(_check(line))
        elif summary is None:
            summary = line
        else:
            line.wrong("a line before the summary, which is the last")
    if summary is None:
        code = ExitCode.INTERRUPTED
        summary = Field({"exit_code": int(code), "interrupted": True}, "summary", source)
    return _run(head, summary, tuple(outcomes))


def _check_version(root: Field) -> None:
    version = root.get("format_version").text()
    major, _, minor = version.partition(".")
    if not (major.isdecimal() and minor.isdecimal()):
        root.get("format_version").wrong("a version such as 1.0")
    if major != _MAJOR:
        newer = len(major) > 1 or major > _MAJOR
        hint = "a newer gradcheck wrote it: upgrade this one" if newer else None
        shown = printable(version[:MOST_QUOTED])
        refuse(root.source, f"its format is {shown}, and 1 is what is read here", hint)


def _run(root: Field, summary: Field, outcomes: tuple[CheckOutcome, ...]) -> Run:
    def fact(field: Field) -> Any:
        return field.value if type(field.value) is int else field.maybe(Field.text)

    return Run(
        source=root.source,
        outcomes=outcomes,
        seconds=summary.get("seconds").seconds(),
        exit_code=summary.get("exit_code").exit_code(),
        interrupted=summary.get("interrupted").boolean(),
        not_run=summary.get("not_run").whole(),
        strict=summary.get("strict").boolean(),
        tool=root.get("tool").mapping(fact),
        environment=root.get("environment").mapping(fact),
    )


def outcome_of(check: dict[str, Any], source: str = "the report") -> CheckOutcome:
    """A check of the document as an outcome. Raises GradcheckError (GC033)."""
    return _check(Field(check, "", source))


def _check(field: Field) -> CheckOutcome:
    file = field.get("file").maybe(Field.text)
    manual = field.get("manual")
    error = field.get("error").maybe(lambda one: _problem(one, file))
    status = cast("Status", field.get("status").choice(*get_args(Status)))
    return CheckOutcome(
        id=field.get("id").text(),
        name=field.get("name").text(),
        status=status,
        file=file,
        line=field.get("line").maybe(Field.place),
        device=field.get("device").word(),
        dtype=field.get("dtype").word(),
        seed=field.get("seed").whole(),
        seconds=field.get("seconds").seconds(),
        expression=field.get("expression").maybe(Field.text) or "",
        implementation=field.get("implementation").maybe(Field.text) or "",
        value=field.get("value").by_method(Field.number),
        gradients=field.get("gradients").each(_gradient),
        diagnoses=field.get("diagnoses").each(lambda one: _diagnosis(one, file)),
        manual=manual.mapping(lambda one: _where(one, file) or Where(file)),
        error=error,
        also=field.get("more_errors").each(lambda one: _problem(one, file)),
        expected_failure=field.get("expected_failure").boolean(),
        reproduce=field.get("reproduce").maybe(Field.text) or "",
        description=field.get("description").maybe(Field.text) or "",
        tags=field.get("tags").each(Field.text),
        order=field.get("order").whole(1),
        inputs=field.get("inputs").each(_input),
        let=field.get("let").mapping(Field.text),
        formulas={
            name: text
            for name, text in manual.mapping(
                lambda one: one.get("formula").maybe(Field.text)
            ).items()
            if text is not None
        },
        index=field.get("index").whole(),
    )


def _input(field: Field) -> InputOutcome:
    return InputOutcome(
        name=field.get("name").text(),
        shape=field.get("shape").each(Field.whole),
        dtype=field.get("dtype").word(),
        checked=field.get("checked").boolean(),
    )


def _gradient(field: Field) -> GradientOutcome:
    def names(one: Field) -> tuple[str, ...]:
        return one.each(Field.word)

    return GradientOutcome(
        input=field.get("input").text(),
        shape=field.get("shape").each(Field.whole),
        derived=field.get("derived").maybe(Field.text),
        methods=field.get("methods").each(_method),
        reference=field.get("reference").maybe(Field.word),
        groups=field.get("groups").each(names),
        outliers=names(field.get("outliers")),
        equal=field.get("bitwise_equal").each(_pair),
        order=field.get("order").whole(1),
        smallest_visible_error=field.get("smallest_visible_error").maybe(Field.number),
        smallest_visible_relative_error=field.get("smallest_visible_relative_error").maybe(
            Field.number
        ),
        rounding_aside=field.get("rounding_aside").boolean(),
        assuming=field.get("assuming").each(Field.text),
        grid=field.get("grid").maybe(_grid),
    )


def _pair(field: Field) -> tuple[str, str]:
    both = field.each(Field.word)
    if len(both) != 2:
        field.wrong("a pair")
    return both[0], both[1]


def _method(field: Field) -> MethodOutcome:
    return MethodOutcome(
        method=field.get("method").word(),
        status=cast("MethodStatus", field.get("status").choice(*get_args(MethodStatus))),
        error_over_allowance=field.get("error_over_allowance").maybe(Field.number),
        max_abs_error=field.get("max_abs_error").maybe(Field.number),
        max_rel_error=field.get("max_rel_error").maybe(Field.number),
        worst_index=field.get("worst_index").maybe(lambda one: one.each(Field.whole)),
        value=field.get("value").maybe(Field.number),
        expected=field.get("expected").maybe(Field.number),
        mismatched=field.get("mismatched").whole(),
        elements=field.get("elements").whole(),
        seconds=field.get("seconds").seconds(),
        reason=field.get("reason").maybe(Field.text),
        allowance=field.get("allowance").maybe(Field.number),
    )


def _grid(field: Field) -> Grid:
    rows, columns = (field.get(key).whole() for key in ("rows", "columns"))
    if rows * columns > _MOST_CELLS:
        field.wrong(f"a picture of at most {_MOST_CELLS} cells")

    def cells(one: Field) -> tuple[float, ...]:
        return one.numbers(rows * columns)

    return Grid(
        rows=rows,
        columns=columns,
        row_step=field.get("row_step").whole(1),
        column_step=field.get("column_step").whole(1),
        reference=cells(field.get("reference")),
        errors=field.get("errors").by_method(cells),
        ratios=field.get("ratios").by_method(cells),
    )


def _diagnosis(field: Field, file: str | None) -> Diagnosis:
    return Diagnosis(
        code=field.get("code").code(),
        message=field.get("message").text(),
        input=field.get("input").maybe(Field.text),
        method=field.get("method").maybe(Field.word),
        fix=field.get("fix").maybe(Field.text),
        where=_where(field, file),
        also=field.get("also").each(
            lambda one: Diagnosis(
                one.get("code").code(),
                one.get("message").text(),
                fix=one.get("fix").maybe(Field.text),
            )
        ),
        difference=field.get("difference").maybe(Field.text),
        operator=field.get("operator").maybe(Field.text),
    )


def _problem(field: Field, file: str | None) -> Problem:
    own = field.get("file")
    where = _where(field, own.maybe(Field.text) if "file" in field.value else file)
    if where is None and own.value is not None:
        where = Where(own.text())
    code = field.get("exit_code")
    return Problem(
        code=field.get("code").code(),
        message=field.get("message").text(),
        where=where,
        hint=field.get("hint").maybe(Field.text),
        exit_code=ExitCode.USAGE if code.value is None else code.exit_code(),
    )


def _where(field: Field, file: str | None) -> Where | None:
    """The place that a problem or a diagnosis has, None where it has none."""
    line, column, end = (
        field.get(key).maybe(Field.place) for key in ("line", "column", "end_column")
    )
    source = field.get("source").maybe(Field.text)
    if line is None:
        return None
    width = 1 if column is None or end is None else max(1, end - column)
    return Where(file, line, column, source, width)
