"""A kernel's independent parts, one on each core."""

from __future__ import annotations

import os
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _pool(workers: int) -> Any:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(workers, thread_name_prefix="gradcheck-kernel")


if hasattr(os, "register_at_fork"):
    # A forked process has none of its parent's threads, only an executor that believes in them.
    os.register_at_fork(after_in_child=_pool.cache_clear)


def in_parts(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], most: int
) -> list[Result]:
    """`work` on neighbouring items, in at most `most` parts at once; their results in order.

    What is in which part follows from the numbers of items and cores alone, so that results repeat.
    """
    parts = min(most, len(items), cores()) if most > 1 else 1
    if parts < 2:
        return [work(items)]
    ends = [len(items) * part // parts for part in range(parts + 1)]
    first, *others = (items[start:end] for start, end in pairwise(ends))
    running = [_pool(parts - 1).submit(_quietly, work, other) for other in others]
    try:
        result = work(first)
    finally:
        # Even after a failure here, nobody writes into arrays any more when this returns.
        rest = [other.result() for other in running]
    return [result, *rest]


def _quietly(work: Callable[[Sequence[Item]], Result], items: Sequence[Item]) -> Result:
    """NumPy's warnings are switched off for each thread by itself."""
    with np.errstate(all="ignore"):
        return work(items)
