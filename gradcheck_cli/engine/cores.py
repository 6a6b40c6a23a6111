"""The machine's cores: how many there are, threads to work on them, and BLAS kept to one meanwhile."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def pool(workers: int) -> ThreadPoolExecutor:
    """Threads that stay, since starting one takes longer than many a block."""
    return ThreadPoolExecutor(workers, thread_name_prefix="gradcheck")


if hasattr(os, "register_at_fork"):
    # A forked process has none of its parent's threads, only an executor that believes in them.
    os.register_at_fork(after_in_child=pool.cache_clear)


class _Blas:
    """How many are inside `one_thread_each`; the first limits BLAS, the last lets it go again."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.inside = 0
        self.limit: Any = None


_blas = _Blas()


@cache
def _libraries() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Matrix products on the calling thread alone, where several threads of ours make them at once."""
    with _blas.lock:
        if not _blas.inside:
            _blas.limit = _libraries().limit(limits=1)
        _blas.inside += 1
    try:
        yield
    finally:
        with _blas.lock:
            _blas.inside -= 1
            if not _blas.inside:
                _blas.limit.restore_original_limits()
