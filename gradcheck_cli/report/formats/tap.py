"""The Test Anything Protocol, version 14: a line per check, with the terminal's words as YAML diagnostics.

Grammar: https://testanything.org/tap-version-14-specification.html. An undecided check is a TODO: not right,
and no failure either.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import printable
from gradcheck_cli.report import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def render(document: dict[str, Any]) -> str:
    """The document as TAP."""
    return "".join(f"{line}\n" for line in _lines(document))


def _lines(document: dict[str, Any]) -> Iterator[str]:
    checks = document["checks"]
    yield "TAP version 14"
    yield f"1..{len(checks)}"
    for number, check in enumerate(checks, 1):
        failed = words.counts_as_failed(check, document)
        right = check["status"] in ("passed", "skipped")
        name = _escaped(words.name_of(check))
        point = f"{'ok' if right else 'not ok'} {number} - {name}"
        if check["status"] == "skipped":
            point += f" # SKIP {_escaped(words.headline(check).removeprefix('skipped: '))}"
        elif check["status"] == "inconclusive" and not failed:
            point += " # TODO inconclusive"
        yield point.rstrip()
        if not right:
            yield from _diagnostics(check, document)
    summary = document["summary"]
    if summary.get("interrupted"):
        yield f"Bail out! interrupted, {summary.get('not_run', 0)} checks not run"


def _diagnostics(check: Mapping[str, Any], document: dict[str, Any]) -> Iterator[str]:
    found = words.findings(check)
    first = next((one for one in found if one.level == "error"), found[0])
    failed = words.counts_as_failed(check, document)
    severity = "fail" if failed else "error" if check["status"] == "error" else "todo"
    facts: dict[str, str | int | None] = {
        "message": words.headline(check),
        "severity": severity,
        "code": first.code or None,
        "file": words.path_in_repository(first.file, document),
        "line": first.line,
        "column": first.column,
        "fix": first.fix,
        "reproduce": check["reproduce"] or None,
    }
    yield "  ---"
    for key, value in facts.items():
        if value is not None:
            yield f"  {key}: {value if isinstance(value, int) else _quoted(value)}"
    yield "  story: |"
    for line in words.story(check).split("\n"):
        yield f"    {line}"
    yield "  ..."


def _quoted(text: str) -> str:
    """A double-quoted YAML scalar: JSON's, once nothing is left that the two write differently."""
    return json.dumps(printable(text), ensure_ascii=False)


def _escaped(text: str) -> str:
    """A description, in which `#` would begin a directive."""
    return printable(text).replace("\\", "\\\\").replace("#", "\\#")
