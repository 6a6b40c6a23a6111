"""Ctrl-C also where Python drops it: what a weak reference's callback raises is printed and forgotten."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextmanager
def interrupts() -> Iterator[Callable[[], None]]:
    """Within it, the function that it gives raises KeyboardInterrupt if one was asked for before."""
    seen = False

    def asked(number: int, frame: Any) -> None:
        nonlocal seen
        seen = True
        signal.default_int_handler(number, frame)

    def again() -> None:
        if seen:
            raise KeyboardInterrupt

    if current_thread() is not main_thread():  # which alone receives signals
        yield again
        return
    before, hook = signal.signal(signal.SIGINT, asked), sys.unraisablehook

    def dropped(what: sys.UnraisableHookArgs) -> None:
        if not isinstance(what.exc_value, KeyboardInterrupt):
            hook(what)

    sys.unraisablehook = dropped
    try:
        yield again
    finally:
        signal.signal(signal.SIGINT, before)
        sys.unraisablehook = hook
