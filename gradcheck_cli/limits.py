"""What a check may use of the machine, and how amounts of memory are written."""

from __future__ import annotations

import os
from functools import cache

_SHARE = 0.5
_UNKNOWN_MEMORY = 4 * 2**30


@cache
def memory_limit() -> int:
    """Bytes that one check's arrays may take: half of the physical memory."""
    try:
        physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        physical = _UNKNOWN_MEMORY  # a platform that doesn't tell
    return int(physical * _SHARE)


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
