"""Python's garbage collector kept out of the way while modules are imported.

Importing PyTorch makes a quarter of a million objects that live to the end and next to nothing to
collect, and the collector would walk them again and again.
"""

from __future__ import annotations

import gc

_WHILE_IMPORTING = (100_000, 50, 100)
# Graphs have no cycles and go by their reference counts: looking for some rarely is enough.
_WHILE_RUNNING = (20_000, 20, 100)


def relax() -> None:
    """Collect seldom, so that memory is still bounded; for the start of a process."""
    gc.set_threshold(*_WHILE_IMPORTING)


def settle() -> None:
    """Collect more often again, but never look at what was imported. Without `relax` nothing happens."""
    if gc.get_threshold() == _WHILE_IMPORTING:
        gc.freeze()
        gc.set_threshold(*_WHILE_RUNNING)
