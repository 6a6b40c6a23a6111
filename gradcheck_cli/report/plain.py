"""What the console shows, as text: for Python's `print`, for failed tests and for notebooks."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from gradcheck_cli.report.console import ConsoleReport
from gradcheck_cli.report.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.verdict.outcome import CheckOutcome


class Page(Terminal):
    """Paper that is written on like a terminal: with `colour` it looks like one, on no account it is one."""

    def __init__(
        self, *, encoding: str = "utf-8", colour: bool = False, width: int | None = None
    ) -> None:
        self._bytes = io.BytesIO()
        stream = io.TextIOWrapper(self._bytes, encoding, "backslashreplace", newline="\n")
        super().__init__(stream, columns=width, colour=colour)

    @property
    def text(self) -> str:
        """Everything that was written."""
        self._stream.flush()
        return self._bytes.getvalue().decode(self._stream.encoding)


def report_text(
    outcomes: Sequence[CheckOutcome],
    seconds: float,
    *,
    notes: Sequence[str] = (),
    encoding: str = "utf-8",
    width: int | None = None,
) -> str:
    """The whole report. A single check is told in full. `width` None is the terminal's, or 80."""
    page = Page(encoding=encoding, width=width)
    console = ConsoleReport(page, total=len(outcomes), whole=True)
    for outcome in outcomes:
        console.add(outcome)
    console.finish([*outcomes], seconds, notes=[*notes])
    return page.text


def story_text(outcome: CheckOutcome, *, colour: bool = False, width: int | None = None) -> str:
    """One check in full, without a summary."""
    page = Page(colour=colour, width=width)
    ConsoleReport(page, total=1, whole=True).add(outcome)
    return page.text.rstrip("\n") + "\n"
