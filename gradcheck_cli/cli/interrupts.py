"""Ctrl-C where Python would drop it, and where it would leave something half done.

What a weak reference's callback raises is printed and forgotten by Python; so it is asked for again.
"""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        if not (first and self._held):
            signal.default_int_handler(number, frame)


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Within it, what it gives knows of every Ctrl-C."""
    again = Interrupts()
    if current_thread() is not main_thread():  # which alone receives signals
        yield again
        return
    before, hook = signal.signal(signal.SIGINT, again.asked), sys.unraisablehook

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if not isinstance(what.exc_value, KeyboardInterrupt):
            hook(what)

    sys.unraisablehook = dropped
    try:
        yield again
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook
