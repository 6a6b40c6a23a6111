"""A bar on the terminal for runs that last; nothing at all for those that don't, or without a terminal."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from threading import Lock, Timer
from time import monotonic
from typing import TYPE_CHECKING, Self

from gradcheck_cli.report.capabilities import is_interactive
from gradcheck_cli.report.numbers import seconds

if TYPE_CHECKING:
    from types import TracebackType

    from rich.live import Live
    from rich.text import Text

    from gradcheck_cli.report.terminal import Terminal

# Seconds before the bar appears. A short run never imports what draws it.
_PATIENCE = 1.0
_MOST_COLUMNS, _LEAST_COLUMNS = 40, 8
# Of what was this many seconds ago, a third still counts for the rate.
_MEMORY = 15.0
# The rate is brought up to date no more often, in seconds: results of several workers come in bursts.
_BEAT = 0.2
# What is left is said in steps of so many seconds, from so many on: a last digit that jumps says nothing.
_STEPS = ((600.0, 60), (60.0, 10), (10.0, 5), (0.0, 1))


@dataclass
class Pace:
    """How fast checks are done: an average that forgets, over all time at first."""

    total: int
    at: float
    done: int = 0
    _counted: int = 0
    _count: float = 0.0
    _time: float = 0.0

    def advance(self, now: float) -> None:
        """Bring the average up to date."""
        passed = now - self.at
        if passed < _BEAT:
            return
        kept = math.exp(-passed / _MEMORY)
        self._count = self._count * kept + self.done - self._counted
        self._time = self._time * kept + passed
        self.at, self._counted = now, self.done

    @property
    def rate(self) -> float:
        """Checks a second; 0 as long as none is done."""
        return self._count / self._time if self._time else 0.0

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take, in steps that don't jump; None where nothing is known."""
        if not self.rate or self.done >= self.total:
            return None
        left = (self.total - self.done) / self.rate
        step = next(step for start, step in _STEPS if left >= start)
        return float(math.ceil(left / step) * step)


class Bar:
    """Counts checks as a context manager: `with Bar(total, terminal) as bar: ... bar.advance()`.

    Drawn on stderr, and only if that is a terminal on which lines may be drawn again. Where stdout is
    one too, its own console draws, so that results appear above the bar instead of through it.
    """

    def __init__(self, total: int, terminal: Terminal) -> None:
        self._terminal = terminal
        self._pace = Pace(total, monotonic())
        self._wrong = 0
        self._lock = Lock()
        self._live: Live | None = None
        self._closed = False
        self._timer = None
        if total and is_interactive(sys.stderr):
            self._timer = Timer(_PATIENCE, self._show)
            self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._closed = True
            if self._live is not None:
                self._live.stop()

    def advance(self, *, wrong: bool = False) -> None:
        """One more check is done, and perhaps not right."""
        self._pace.done += 1
        self._wrong += wrong

    def _show(self) -> None:
        from rich.live import Live

        from gradcheck_cli.report.terminal import Terminal

        with self._lock:
            if self._closed:
                return
            # Where stdout is a terminal too, its own console draws.
            if not self._terminal.console.is_interactive:
                self._terminal = Terminal(sys.stderr)
            self._live = Live(
                console=self._terminal.console,
                get_renderable=self._drawn,
                refresh_per_second=5,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _drawn(self) -> Text:
        """The bar as plain text: it is drawn anew under every result, so it must cost next to nothing."""
        from rich.text import Text

        pace, char = self._pace, self._terminal.glyphs.bar
        pace.advance(monotonic())
        text = Text(f" {pace.done:,} of {pace.total:,}")
        if self._wrong:
            text.append(f"  {self._wrong:,} not right", "bold red")
        if pace.rate:
            text.append(f"  {pace.rate:,.{0 if pace.rate >= 10 else 1}f}/s", "dim")
        if pace.left is not None:
            left = f"{pace.left:.0f} s" if pace.left < 60 else seconds(pace.left)
            text.append(f"  {left} left", "dim")
        columns = min(_MOST_COLUMNS, self._terminal.width - len(text) - 1)
        if columns < _LEAST_COLUMNS:
            return text
        full = columns * pace.done // pace.total
        return Text.assemble((char * full, "green"), (char * (columns - full), "dim"), text)
