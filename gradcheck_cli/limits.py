"""What a check may use of the machine, and how amounts of memory are written."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

# Where Linux tells a container how much it may take, in version 2 and 1 of control groups.
_CONTAINER = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_SHARE = 0.5
_UNKNOWN_MEMORY = 4 * 2**30


class _Sharing:
    """How many processes run checks at once, this one among them."""

    processes = 1


def share_memory(processes: int) -> None:
    """Let `memory_limit` leave as much to the other ones of `processes` that run checks."""
    _Sharing.processes = processes
    memory_limit.cache_clear()


@cache
def physical_memory() -> int:
    """Bytes of memory that the machine or container has; a guess on a platform that doesn't tell."""
    try:
        whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        whole = _UNKNOWN_MEMORY
    return min([whole, *_allowed()])


def _allowed() -> list[int]:
    """What the container allows, where there is one with a limit."""
    for path in _CONTAINER:
        try:
            text = Path(path).read_text(encoding="ascii").strip()
        except OSError:
            continue
        return [int(text)] if text.isdecimal() else []  # `max`: no limit
    return []


@cache
def memory_limit() -> int:
    """Bytes that one check's arrays may take: half of the memory, divided among those who run checks."""
    return int(physical_memory() * _SHARE) // _Sharing.processes


def readable_bytes(count: int) -> str:
    """Bytes as a person writes them.

    >>> readable_bytes(8 * 10**12)
    '7.3 TiB'
    """
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PiB"
