"""JSON lines: a header, a line for each check, and a summary. It is there before the run ends.

A line has `type`: `header` (format_version, tool, environment), `check` (what the JSON report has of a check)
or `summary`. Checks stand in the order in which they finished; a file without a summary is of a run that was
killed.
"""

from __future__ import annotations

from json import dumps
from typing import Any

from gradcheck_cli.report.json_report import FORMAT_VERSION


def header(tool: dict[str, Any], environment: dict[str, Any]) -> str:
    """The first line."""
    first = {"type": "header", "format_version": FORMAT_VERSION}
    return dumps({**first, "tool": tool, "environment": environment}, allow_nan=False)


def check(data: dict[str, Any]) -> str:
    """A check's line."""
    return dumps({"type": "check", **data}, allow_nan=False)


def summary(data: dict[str, Any]) -> str:
    """The last line."""
    return dumps({"type": "summary", **data}, allow_nan=False)


def render(document: dict[str, Any]) -> str:
    """A finished document as lines."""
    lines = [
        header(document["tool"], document["environment"]),
        *map(check, document["checks"]),
        summary(document["summary"]),
    ]
    return "".join(f"{line}\n" for line in lines)
