"""One of several parts of a run, `--shard 2/3`: machines that know nothing of one another share the checks.

Every machine splits the whole selection by itself and takes its own part, so all must come to the same
split, or a check would run twice or, worse, nowhere. So the split depends only on what is the same for all:
the ids of the checks, and durations from a file that all are given (`--shard-durations`). The cache folder
is never looked at: each machine has its own. Without that file all checks weigh the same.

The split is Graham's longest-processing-time rule (Bounds on multiprocessing timing anomalies, SIAM J. Appl.
Math. 17, 1969): the longest check first, each to the part that has least so far. The longest part then takes
at most 4/3 of the shortest possible time, and no two parts differ by more than the longest check.
"""

from __future__ import annotations

import heapq
import json
import math
from pathlib import Path
from statistics import median_low
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, Where

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MOST_BYTES = 1 << 30


def share(
    ids: Sequence[str], part: int, parts: int, seconds: Mapping[str, float] | None = None
) -> list[int]:
    """The positions in `ids` that belong to part `part` (from 1) of `parts`, in their order.

    A check whose duration isn't known is taken for one as long as the median of those that are.
    """
    # Whole microseconds add up to the same everywhere, in any order.
    known = {key: max(1, round(1e6 * value)) for key, value in (seconds or {}).items()}
    weights = [known.get(name) for name in ids]
    usual = median_low([weight for weight in weights if weight is not None] or [1])
    weighed = [usual if weight is None else weight for weight in weights]
    loads = [(0, number) for number in range(1, parts + 1)]
    mine = []
    for position in sorted(range(len(ids)), key=lambda k: (-weighed[k], ids[k], k)):
        load, number = heapq.heappop(loads)
        heapq.heappush(loads, (load + weighed[position], number))
        if number == part:
            mine.append(position)
    return sorted(mine)


def durations(path: str) -> dict[str, float]:
    """Seconds by id, from a JSON report or from the record in a cache folder.

    Raises GradcheckError: GC027 where there is no such file, GC028 where it is something else.
    """
    where = Where(path)
    try:
        file = Path(path)
        if file.stat().st_size > _MOST_BYTES:
            raise GradcheckError(Problem("GC028", f"{path} is too large for a report", where))
        document: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"{path} can't be read: {error.strerror or error}"
        hint = "give a JSON report of an earlier run"
        raise GradcheckError(Problem("GC027", message, where, hint, ExitCode.CANNOT_RUN)) from error
    except (ValueError, RecursionError):
        document = None
    found: Any = None
    if isinstance(document, dict):
        checks = document.get("checks")
        found = document.get("durations")
        if isinstance(checks, list):
            found = {
                check["id"]: check.get("seconds")
                for check in checks
                if isinstance(check, dict) and isinstance(check.get("id"), str)
            }
    if not isinstance(found, dict):
        hint = "give a JSON report of an earlier run (--json FILE), or .gradcheck_cache/record.json"
        raise GradcheckError(Problem("GC028", f"{path} holds no durations", where, hint))
    return seconds_of(found)


def seconds_of(found: Mapping[str, Any]) -> dict[str, float]:
    """What of `found` is a duration."""
    return {
        name: float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
        if math.isfinite(value) and value >= 0
    }
