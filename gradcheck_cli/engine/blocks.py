"""Running a region block by block: on scratch that stays in the cache, spread over all cores.

Which block belongs to which thread depends on sizes and the number of threads alone: results repeat bit
by bit.
"""

from __future__ import annotations

from contextlib import nullcontext
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.cores import cores, one_thread_each, side_by_side
from gradcheck_cli.engine.loop import Loop
from gradcheck_cli.engine.memory import bytes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from gradcheck_cli.engine.buffers import Buffers
    from gradcheck_cli.engine.regions import Region

    Array = npt.NDArray[Any]

# Bytes of one array's block: the scratch of a few arrays stays in the second level of the cache.
BLOCK = 1 << 19
# Below this estimated time, all of it is over before another thread has begun.
WORTH_A_THREAD = 800e-6
# How long a call should take, at least, where threads run side by side. Between calls each needs Python's
# lock; a thread that finds it taken goes to sleep, and wakes up only tens of microseconds later.
LONG = 60e-6
# By how much blocks may grow to make calls long.
GROWTH = 4


class Blocks:
    """A region ready to run: call it with the arrays of `args`, get those of the region's outputs."""

    def __init__(self, region: Region, buffers: Buffers) -> None:
        loop = Loop(region)
        self.args = loop.args
        self._buffers = buffers
        self._run = loop.function
        self._shapes = loop.shapes
        self._scratch = loop.scratch
        changed = zip(loop.args, loop.shapes, strict=True)
        # An array that isn't contiguous is copied where its dims are joined.
        self._copied = sum(bytes_of(arg) for arg, shape in changed if shape is not None)
        self._totals = loop.totals
        # A wide region's loop goes along one row; everything else is done in one loop.
        self._rows = prod(region.lead[:-1]) if region.wide else None
        self._by_row = [*loop.by_row, *[True] * len(loop.outputs)]
        outside = () if self._rows is None else (self._rows,)
        self._outputs = [
            (node.shape, (*outside, loop.length, *node.shape[region.depth :]), node.dtype.numpy)
            for node in loop.outputs
        ]
        places = {node: (0, place) for place, node in enumerate(loop.outputs)}
        places |= {node: (1, place) for place, node in enumerate(loop.totals)}
        self._results = [places[node] for node in region.outputs]
        self._products = any(node.op.cubic for node in region.nodes)
        self._step, self._parts = _cut(loop)
        self._spare: list[list[Array]] = []

    @property
    def scratch_bytes(self) -> int:
        """What all threads' scratch takes together, and at most the copies of arguments."""
        each = sum(prod(shape) * dtype.itemsize for shape, dtype in self._scratch)
        return int(each) * self._step * len(self._parts) + self._copied

    def __call__(self, *arrays: Array) -> list[Any]:
        """Run it, on as many threads as its work is worth."""
        given = [
            array if shape is None else np.asarray(array).reshape(shape)
            for array, shape in zip(arrays, self._shapes, strict=True)
        ]
        outputs = [self._buffers.take(shape, dtype) for shape, _, dtype in self._outputs]
        given += [
            output.reshape(shape)
            for output, (_, shape, _) in zip(outputs, self._outputs, strict=True)
        ]
        alone = self._products and len(self._parts) > 1
        with one_thread_each() if alone else nullcontext():
            totals = side_by_side(lambda part: self._part(part, given), self._parts)
        kinds = (outputs, [self._whole(i, totals) for i in range(len(self._totals))])
        return [kinds[kind][place] for kind, place in self._results]

    def _part(self, part: tuple[int, int], given: Sequence[Array]) -> list[Any]:
        """One thread's blocks, and what they add up to."""
        try:
            scratch = self._spare.pop()
        except IndexError:
            scratch = [np.empty((self._step, *shape), dtype) for shape, dtype in self._scratch]
        if self._rows is None:
            totals = list(self._run(*part, self._step, *given, *scratch))
        else:
            each = [
                self._run(*part, self._step, *self._row(given, row), *scratch)
                for row in range(self._rows)
            ]
            totals = [np.array(column) for column in zip(*each, strict=True)]
        self._spare.append(scratch)
        return totals

    def _row(self, given: Sequence[Array], row: int) -> list[Any]:
        pairs = zip(given, self._by_row, strict=True)
        return [array[row] if by_row else array for array, by_row in pairs]

    def _whole(self, place: int, totals: Sequence[Sequence[Any]]) -> Array:
        """What the parts of all threads add up to, in their order."""
        node = self._totals[place]
        combine = node.op.reduction
        whole = totals[0][place]
        for other in totals[1:]:
            whole = combine(whole, other[place])
        if self._rows is not None and node.elements == 1:
            whole = combine.reduce(whole)
        return np.asarray(whole, node.dtype.numpy).reshape(node.shape)


def _cut(loop: Loop) -> tuple[int, list[tuple[int, int]]]:
    """How long a block is, and from where to where each thread goes."""
    step = max(1, min(BLOCK // loop.widest, loop.length))
    threads = min(cores(), int(loop.seconds / WORTH_A_THREAD), loop.length)
    if threads > 1:
        share = -(-loop.length // threads)
        longer = min(max(step, int(LONG / loop.call)), GROWTH * step, share)
        if longer * loop.call >= LONG / 2:
            # All blocks of about one size: a short one at the end would be calls for nothing.
            step = -(-share // max(1, round(share / longer)))
            ends = range(0, loop.length, share)
            return step, [(start, min(start + share, loop.length)) for start in ends]
    return step, [(0, loop.length)]
