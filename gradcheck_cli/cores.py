"""The machine's cores: how many there are, threads to work on them, and BLAS kept to one meanwhile."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Sharing:
    """How many processes run checks at once, this one among them."""

    processes = 1


def share_cores(processes: int) -> None:
    """Let `cores` leave as many to the other ones of `processes` that run checks."""
    _Sharing.processes = processes


def cores() -> int:
    """How many cores this process may use: its part, where others run checks beside it."""
    return max(1, _available() // _Sharing.processes)


def _available() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def pool(workers: int) -> Any:
    """Threads that stay, since starting one takes longer than many a block."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(workers, thread_name_prefix="gradcheck")


if hasattr(os, "register_at_fork"):
    # A forked process has none of its parent's threads, only an executor that believes in them.
    os.register_at_fork(after_in_child=pool.cache_clear)


def side_by_side(work: Callable[[Item], Result], parts: Sequence[Item]) -> list[Result]:
    """`work` on each part, the first on this thread and the others on one each; results in order."""
    first, *others = parts
    if not others:
        return [work(first)]
    workers = pool(len(others))
    running = [workers.submit(_quietly, work, other) for other in others]
    try:
        result = work(first)
    finally:
        # Even after a failure here, nobody writes into arrays any more when this returns.
        rest = [other.result() for other in running]
    return [result, *rest]


def in_parts(
    work: Callable[[Sequence[Item]], Result], items: Sequence[Item], most: int
) -> list[Result]:
    """`work` on neighbouring items, in at most `most` parts at once; their results in order.

    What is in which part follows from the numbers of items and cores alone, so that results repeat.
    """
    parts = max(1, min(most, len(items), cores()))
    ends = [len(items) * part // parts for part in range(parts + 1)]
    return side_by_side(work, [items[start:end] for start, end in pairwise(ends)])


def _quietly(work: Callable[[Item], Result], part: Item) -> Result:
    """NumPy's warnings are switched off for each thread by itself."""
    with np.errstate(all="ignore"):
        return work(part)


class _Blas:
    """How many are inside `one_thread_each`; the first limits BLAS, the last lets it go again."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.inside = 0
        self.limit: Any = None


_blas = _Blas()


@cache
def blas_libraries() -> Any:
    """What threadpoolctl found of BLAS in this process; looking takes some milliseconds."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Matrix products on the calling thread alone, where several threads of ours make them at once."""
    with _blas.lock:
        if not _blas.inside:
            _blas.limit = blas_libraries().limit(limits=1)
        _blas.inside += 1
    try:
        yield
    finally:
        with _blas.lock:
            _blas.inside -= 1
            if not _blas.inside:
                _blas.limit.restore_original_limits()
