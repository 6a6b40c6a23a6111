"""Ctrl-C where Python would drop it, and where it would leave something half done.

What a weak reference's callback raises is printed and forgotten by Python; so it is asked for again. SIGTERM,
by which pipelines and containers cancel, means the same.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


_ASKING = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Called, it raises KeyboardInterrupt if one was asked for before."""

    def __init__(self) -> None:
        self._seen = False
        self._held = False

    def __call__(self) -> None:
        """Raise it, if so."""
        if self._seen:
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Within it, a first Ctrl-C waits until the end; a second one doesn't."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        self()

    def asked(self, number: int, frame: Any) -> None:
        """The signal's handler."""
        first, self._seen = not self._seen, True
        # Some pipelines send SIGINT and then SIGTERM: that doesn't ask for more than what is under way.
        waits = self._held if first else number == signal.SIGTERM
        if not waits:
            signal.default_int_handler(number, frame)


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Within it, what it gives knows of every Ctrl-C and of SIGTERM."""
    again = Interrupts()
    if current_thread() is not main_thread():  # which alone receives signals
        yield again
        return
    before = {number: signal.signal(number, again.asked) for number in _ASKING}
    hook = sys.unraisablehook

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if not isinstance(what.exc_value, KeyboardInterrupt):
            hook(what)

    sys.unraisablehook = dropped
    try:
        yield again
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook
