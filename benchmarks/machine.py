"""The machine that figures were measured on, in words."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe() -> str:
    """Processor, cores and Python."""
    return (
        f"{os.cpu_count()} cores of {_processor()} ({platform.machine()}), {platform.system()}, "
        f"Python {platform.python_version()}"
    )


def _processor() -> str:
    told = Path("/proc/cpuinfo")
    if told.exists():
        for line in told.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "an unknown processor"
