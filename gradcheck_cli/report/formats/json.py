"""The JSON report itself: everything that is known, format 1.0."""

from __future__ import annotations

from typing import Any

from gradcheck_cli.report.json_report import to_text


def render(document: dict[str, Any]) -> str:
    """The document as text."""
    return to_text(document)
