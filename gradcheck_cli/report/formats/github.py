"""Annotations of GitHub Actions: workflow commands that show a finding at its line of the diff.

The grammar, and what is escaped in it, is that of the runner (ActionCommand in actions/runner): `%`, CR and
LF in the message, `:` and `,` too in properties. The runner shows ten errors and ten warnings of a step, so
the gravest come first, and the last one says how many there are besides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import printable
from gradcheck_cli.report import words

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 10
_MOST_IN_TITLE = 150
# A message may have 64 KiB; nobody reads as much.
_MOST_IN_MESSAGE = 4000


@dataclass(frozen=True, slots=True)
class _Command:
    finding: words.Finding
    message: str


def render(document: dict[str, Any]) -> str:
    """The document's findings as workflow commands, one a line."""
    lines = []
    for level in ("error", "warning"):
        found = [
            finding
            for check in document["checks"]
            for finding in words.findings(check)
            if _level(finding, document) == level
        ]
        found.sort(key=_weight)
        lines += [_command(level, one, document) for one in _shown(found, level, document)]
    return "".join(f"{line}\n" for line in lines)


def _level(finding: words.Finding, document: dict[str, Any]) -> str:
    """An undecided check fails a strict run, and is an error of it then."""
    strict = words.counts_as_failed(finding.check, document)
    return "error" if strict and finding.check["status"] == "inconclusive" else finding.level


def _weight(finding: words.Finding) -> int:
    """Wrong gradients before what could not be checked, and doubts before blind spots."""
    return ["failed", "inconclusive", "error", "passed"].index(finding.check["status"])


def _shown(found: Sequence[words.Finding], level: str, document: dict[str, Any]) -> list[_Command]:
    commands = [
        _Command(one, "\n".join([words.sentence(one), *words.remarks(one)]))
        for one in found[:_MOST]
    ]
    more = len(found) - _MOST
    if more > 0:
        checks = document["summary"]["total"]
        last = commands[-1]
        note = f"({more} more {level}s are not shown; {checks} checks in all, see the log)"
        commands[-1] = _Command(last.finding, f"{last.message}\n{note}")
    return commands


def _command(level: str, command: _Command, document: dict[str, Any]) -> str:
    finding = command.finding
    path = words.path_in_repository(finding.file, document)
    properties: dict[str, str | int | None] = {}
    if path is not None:
        properties = {"file": path, "line": finding.line}
        if finding.line is not None and finding.column is not None:
            properties["endLine"] = finding.line
            properties["col"] = finding.column
            properties["endColumn"] = finding.end_column
    properties["title"] = words.cut(f"gradcheck: {words.name_of(finding.check)}", _MOST_IN_TITLE)
    given = ",".join(
        f"{name}={_in_property(str(value))}"
        for name, value in properties.items()
        if value is not None
    )
    return f"::{level} {given}::{_in_message(words.cut(command.message, _MOST_IN_MESSAGE))}"


def _in_message(text: str) -> str:
    shown = "\n".join(map(printable, text.split("\n")))
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _in_property(text: str) -> str:
    return _in_message(printable(text)).replace(":", "%3A").replace(",", "%2C")
