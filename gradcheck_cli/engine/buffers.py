"""Arrays handed out again once nobody holds them: fresh pages from the system cost more than arithmetic."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

# Below this many bytes the allocator's own caches are faster.
_SMALL = 1 << 16
# More arrays of one kind than this are not remembered.
_MOST = 4


class Buffers:
    """Uninitialised arrays, reused when the only reference left is the one here.

    Safe between threads without a lock: whoever looks at an array holds a reference itself, so that of
    two who look at once neither takes it for free.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[tuple[int, ...], Any], list[npt.NDArray[Any]]] = {}

    def take(self, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
        """An array with anything in it."""
        kept = self._kept.get((shape, dtype))
        if kept is not None:
            for array in kept:
                if sys.getrefcount(array) == _FREE:
                    return array
            if len(kept) >= _MOST:
                return np.empty(shape, dtype)
        array = np.empty(shape, dtype)
        if array.nbytes >= _SMALL:
            self._kept.setdefault((shape, dtype), []).append(array)
        return array


def _references_of_a_free_one() -> int:
    """What `getrefcount` says in `take`'s loop of an array that only the list holds; versions differ."""
    kept = [np.empty(1)]
    for array in kept:
        return sys.getrefcount(array)
    raise AssertionError


_FREE = _references_of_a_free_one()
