"""Kernels of convolution: windows copied into columns, tile by tile, and a matrix product for each.

A tile is as many rows of an image, or images if they are small, as BLAS multiplies best on one core
while they are in its cache. Tiles come in blocks, one NumPy call for all tiles of a block; memory beyond
the result is that of a block, whatever the size of the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_cli.ops.windows import extent, inside, offsets, spread, strides_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.graph import Shape

# The columns of a block stay in a core's own cache.
_BLOCK_BYTES = 1 << 19
# From here on (in multiplications) OpenBLAS shares a product among threads, which costs more than it gains
# for columns that are in one core's cache, and 10 ms a product where another process has the other core.
_ONE_THREAD = 520_000
# Narrower products don't keep the core busy.
_NARROW = 64


class _Block(NamedTuple):
    """Images and rows of results worked on together, in tiles of `count` images and `height` rows."""

    images: slice
    rows: slice
    count: int
    height: int


class _Layout(NamedTuple):
    """Sizes of a convolution. `size` and `out` are those of an image and its result; padded: `wide`."""

    images: int
    groups: int
    channels: int
    results: int
    kernel: Shape
    size: Shape
    wide: Shape
    out: Shape
    stride: Shape
    padding: Shape
    dilation: Shape

    @property
    def inner(self) -> int:
        """How many terms an element of the result sums up."""
        return self.channels * product(self.kernel)

    def blocks(self, itemsize: int) -> Iterator[_Block]:
        """All of the work, cut into blocks."""
        if not self.images:
            return
        width = product(self.out[1:])
        total = self.out[0] * width
        best = _ONE_THREAD // (self.inner * self.results)
        if best < _NARROW:  # a product this large is worth several threads
            best = max(_NARROW, _BLOCK_BYTES * 8 // (self.inner * self.groups * itemsize))
        count, height = 1, self.out[0]
        if total < _NARROW:
            count = min(self.images, max(1, best // total))
        else:
            height = max(1, min(height, best // width))
            height = -(-self.out[0] // -(-self.out[0] // height))  # as even as can be
        tile = self.inner * self.groups * count * height * width * itemsize
        together = max(1, _BLOCK_BYTES // tile)
        whole = self.out[0] - self.out[0] % height
        for top, end, high in ((0, whole, height), (whole, self.out[0], self.out[0] - whole)):
            if top == end:
                continue
            down = min(together, (end - top) // high) * high
            across = count * max(1, together * high // (end - top)) if down == end - top else count
            for first in range(0, self.images, across):
                last = min(first + across, self.images)
                for row in range(top, end, down):
                    rows = slice(row, min(row + down, end))
                    even = last - (last - first) % count
                    if even > first:
                        yield _Block(slice(first, even), rows, count, high)
                    if last > even:
                        yield _Block(slice(even, last), rows, last - even, high)


def product(sizes: Sequence[int]) -> int:
    """Of all numbers given."""
    total = 1
    for size in sizes:
        total *= size
    return total


def _layout(
    size: Shape,
    weight: Shape,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> _Layout:
    ndim = len(size) - 2
    stride, padding, dilation = (spread(v, ndim) for v in (stride, padding, dilation))
    wide = tuple(s + 2 * p for s, p in zip(size[2:], padding, strict=True))
    out = tuple(
        (w - span) // s + 1
        for w, span, s in zip(wide, extent(weight[2:], dilation), stride, strict=True)
    )
    return _Layout(
        size[0],
        groups,
        weight[1],
        weight[0] // groups,
        tuple(weight[2:]),
        tuple(size[2:]),
        wide,
        out,
        stride,
        padding,
        dilation,
    )


def _tiled(x: Any, at: _Layout, block: _Block) -> Any:
    """A view of (images, groups * n, *between, rows, ...) as tiles.

    (images / count, rows / height, groups, n, *between, count, height, ...); `between` are the places in
    the kernel where `x` holds windows.
    """
    ndim = len(at.kernel)
    between = x.shape[2:-ndim]
    shape = (-1, block.count, at.groups, x.shape[1] // at.groups, *between)
    shape += (x.shape[-ndim] // block.height, block.height, *x.shape[x.ndim - ndim + 1 :])
    split = 4 + len(between)
    order = (0, split, *range(2, split), 1, *range(split + 1, len(shape)))
    return x.reshape(shape).transpose(order)


class _Columns:
    """The columns of one block after another, in one piece of memory."""

    def __init__(self, x: Any, at: _Layout) -> None:
        self.x, self.at = np.ascontiguousarray(x), at
        self.buffer: Any = np.empty(0, x.dtype)
        self.margins: Any = None
        self.held: slice | None = None

    def of(self, block: _Block) -> Any:
        """(tiles, tiles, groups, inner, windows) of a block."""
        at = self.at
        windows = strides_of(self.images(block), at.kernel, at.out, at.stride, at.dilation)
        ndim = len(at.kernel)
        windows = windows[(..., block.rows, *[slice(None)] * (ndim - 1))]
        windows = _tiled(windows, at, block)
        if self.buffer.size < windows.size:
            self.buffer = np.empty(windows.size, self.x.dtype)
        columns = self.buffer[: windows.size].reshape(windows.shape)
        np.copyto(columns, windows)
        return columns.reshape(*columns.shape[:2], at.groups, at.inner, -1)

    def images(self, block: _Block) -> Any:
        """The block's images with their margins."""
        at, x = self.at, self.x[block.images]
        if at.wide == at.size:
            return x
        if self.margins is None or len(self.margins) < len(x):
            self.margins = np.zeros((len(x), at.groups * at.channels, *at.wide), x.dtype)
        margins = self.margins[: len(x)]
        if self.held != block.images:
            margins[(..., *inside(at.padding, at.size))] = x
            self.held = block.images
        return margins


def _results(grad: Any, at: _Layout, block: _Block) -> Any:
    """A block of results as (tiles, tiles, groups, results, windows)."""
    tiles = _tiled(grad[(block.images, slice(None), block.rows)], at, block)
    return tiles.reshape(*tiles.shape[:4], -1)


def convolve(
    ndim: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Any:
    """The convolution of a batch of images, or of one."""
    batch = x if x.ndim == ndim + 2 else x[None]
    at = _layout(batch.shape, weight.shape, stride, padding, dilation, groups)
    dtype = np.result_type(x, weight) if bias is None else np.result_type(x, weight, bias)
    out = np.empty((at.images, groups * at.results, *at.out), dtype)
    filters = weight.reshape(groups, at.results, at.inner)
    if bias is not None:
        bias = bias.reshape(-1, *[1] * ndim)
    columns = _Columns(batch, at)
    for block in at.blocks(dtype.itemsize):
        part = out[(block.images, slice(None), block.rows)]
        tiles = _tiled(part, at, block)
        if block.count == 1:
            target = tiles.reshape(*tiles.shape[:4], -1)  # still a view: rows of one image adjoin
            np.matmul(filters, columns.of(block), out=target)
        else:
            np.copyto(tiles, np.matmul(filters, columns.of(block)).reshape(tiles.shape))
        if bias is not None:
            part += bias
    return out if x.ndim == ndim + 2 else out[0]


def weight_gradient(
    x: Any,
    grad: Any,
    weight_size: Shape,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Any:
    """What the weight of a convolution receives from `grad`: windows times results, summed up."""
    at = _layout(x.shape, weight_size, stride, padding, dilation, groups)
    dtype = np.result_type(x, grad)
    total = np.zeros((groups, at.inner, at.results), dtype)
    columns = _Columns(x, at)
    for block in at.blocks(dtype.itemsize):
        # Many columns on the left: BLAS is faster with the narrow factor on the right.
        found = np.matmul(columns.of(block), _results(grad, at, block).swapaxes(-1, -2))
        total += found.sum((0, 1)) if len(found) * found.shape[1] > 1 else found[0, 0]
    return np.ascontiguousarray(total.swapaxes(1, 2)).reshape(weight_size)


def input_gradient(
    weight: Any,
    grad: Any,
    input_size: Shape,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Any:
    """What the input of a convolution receives from `grad`: every result spreads over its window."""
    at = _layout(input_size, weight.shape, stride, padding, dilation, groups)
    dtype = np.result_type(weight, grad)
    out = np.zeros((at.images, groups * at.channels, *at.wide), dtype)
    filters = np.ascontiguousarray(weight.reshape(groups, at.results, at.inner).swapaxes(1, 2))
    buffer = np.empty(0, dtype)
    ndim = len(at.kernel)
    for block in at.blocks(dtype.itemsize):
        results = _results(grad, at, block)
        count = results.size // at.results * at.inner
        if buffer.size < count:
            buffer = np.empty(count, dtype)
        shape = (*results.shape[:3], at.inner, results.shape[-1])
        columns = np.matmul(filters, results, out=buffer[:count].reshape(shape))
        here = (block.rows.stop - block.rows.start, *at.out[1:])
        shape = (*results.shape[:3], at.channels, *at.kernel, block.count, block.height, *here[1:])
        columns = columns.reshape(shape)
        part = out[block.images]
        first = (block.rows.start, *[0] * (ndim - 1))
        for place, where in offsets(at.kernel, here, at.stride, at.dilation, first):
            target = _tiled(part[(..., *where)], at, block)
            target += columns[(*[slice(None)] * 4, *place)]
    if at.wide == at.size:
        return out
    return np.ascontiguousarray(out[(..., *inside(at.padding, at.size))])
