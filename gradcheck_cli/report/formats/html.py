"""HTML: one page for people that loads nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def render(document: Mapping[str, Any]) -> str:
    """The JSON report as a page. Whatever the report holds, no text of it becomes markup."""
    from gradcheck_cli.report.html.page import write_page

    return write_page(document)
