"""The slowest checks of a run, the slowest first."""

from __future__ import annotations

from heapq import nsmallest
from typing import TYPE_CHECKING

from gradcheck_cli.errors import cells, printable
from gradcheck_cli.report.numbers import count, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.verdict.outcome import CheckOutcome

_INDENT, _GAP = 2, 3


def show_slowest(terminal: Terminal, outcomes: Sequence[CheckOutcome], number: int) -> None:
    """Write the `number` slowest checks with their times; equally slow ones in the order of the run."""
    ran = [outcome for outcome in outcomes if outcome.status != "skipped"]
    shown = nsmallest(number, ran, key=lambda outcome: -outcome.seconds)
    if not shown:
        return
    all_of_them = len(shown) == len(ran)
    title = (
        f"{count(len(ran), 'check')}, slowest first"
        if all_of_them
        else (f"the slowest {len(shown):,} of {count(len(ran), 'check')}")
    )
    terminal.line((title, "bold"))
    times = [seconds(outcome.seconds) for outcome in shown]
    widest = max(map(cells, times))
    room = terminal.width - _INDENT - widest - _GAP
    for outcome, time in zip(shown, times, strict=True):
        name = terminal.cut(printable(outcome.id or outcome.name), room)
        terminal.line(f"{time:>{widest}}", " " * _GAP, (name, "dim"), indent=_INDENT)
    terminal.blank()
