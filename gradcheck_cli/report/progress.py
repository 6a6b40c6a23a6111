"""A bar on the terminal for runs that last; nothing at all for those that don't, or without a terminal."""

from __future__ import annotations

import sys
from threading import Lock, Timer
from time import monotonic
from typing import TYPE_CHECKING, Self

from gradcheck_cli.report.numbers import seconds

if TYPE_CHECKING:
    from types import TracebackType

    from rich.live import Live
    from rich.text import Text

    from gradcheck_cli.report.terminal import Terminal

# Seconds before the bar appears. A short run never imports what draws it.
_PATIENCE = 1.0
_COLUMNS = 40


class Bar:
    """Counts checks as a context manager: `with Bar(total, terminal) as bar: ... bar.advance()`.

    Drawn on stderr, and only if that is a terminal. Where stdout is one too, its own console draws, so
    that results appear above the bar instead of through it.
    """

    def __init__(self, total: int, terminal: Terminal) -> None:
        self._total = total
        self._terminal = terminal
        self._done = 0
        self._lock = Lock()
        self._live: Live | None = None
        self._start = monotonic()
        self._closed = False
        self._timer = None
        if sys.stderr.isatty():
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

    def advance(self) -> None:
        """One more check is done."""
        self._done += 1

    def _show(self) -> None:
        from rich.live import Live

        from gradcheck_cli.report.terminal import Terminal

        with self._lock:
            if self._closed:
                return
            # Where stdout is a terminal too, its own console draws.
            if not self._terminal.console.file.isatty():
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

        done, total = self._done, self._total
        full = _COLUMNS * done // total
        char = self._terminal.glyphs.bar
        left = round((monotonic() - self._start) / done * (total - done)) if done else 0
        return Text.assemble(
            (char * full, "green"),
            (char * (_COLUMNS - full), "dim"),
            f" {done:,} of {total:,}",
            (f", {seconds(left)} left" if left else "", "dim"),
        )
