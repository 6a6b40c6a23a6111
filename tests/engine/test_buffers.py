"""Arrays are used again only when nobody holds them, through whatever they may be held."""

from __future__ import annotations

import numpy as np

from gradcheck_cli.cores import blas_libraries, cores, one_thread_each
from gradcheck_cli.engine.buffers import Buffers

SHAPE, DTYPE = (300, 300), np.dtype(np.float64)


def test_a_dropped_array_comes_back() -> None:
    buffers = Buffers()
    first = buffers.take(SHAPE, DTYPE)
    address = first.ctypes.data
    assert buffers.take(SHAPE, DTYPE).ctypes.data != address
    del first
    assert buffers.take(SHAPE, DTYPE).ctypes.data == address


def test_a_held_view_holds_its_array() -> None:
    buffers = Buffers()
    holders = [
        buffers.take(SHAPE, DTYPE)[1:],
        buffers.take(SHAPE, DTYPE).T,
        memoryview(buffers.take(SHAPE, DTYPE).data),
        {"array": buffers.take(SHAPE, DTYPE)},
    ]
    taken = {np.asarray(h["array"] if isinstance(h, dict) else h).ctypes.data for h in holders}
    fresh = [buffers.take(SHAPE, DTYPE) for _ in range(8)]
    bases = {array.ctypes.data for array in fresh}
    assert len(bases) == 8
    assert not bases & taken


def test_shapes_and_dtypes_are_kept_apart() -> None:
    buffers = Buffers()
    buffers.take(SHAPE, DTYPE)
    other = buffers.take((90_000,), DTYPE)
    assert other.shape == (90_000,)
    assert buffers.take(SHAPE, np.dtype(np.float32)).dtype == np.float32


def test_blas_gets_its_threads_back_after_nested_use_and_errors() -> None:
    def threads() -> list[int]:
        return [library.num_threads for library in blas_libraries().lib_controllers]

    before = threads()
    try:
        with one_thread_each(), one_thread_each():
            assert set(threads()) <= {1}
            raise ValueError
    except ValueError:
        pass
    assert threads() == before


def test_there_is_a_core() -> None:
    assert cores() >= 1
