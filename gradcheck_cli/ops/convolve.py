"""Kernels of convolution: windows copied into columns, tile by tile, and a matrix product for each.

A tile is as many rows of an image, or images if they are small, as BLAS multiplies best on one core
while they are in its cache. Tiles come in blocks, one NumPy call for all tiles of a block; memory beyond
the result is that of a block, whatever the size of the input.
"""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_cli.cores import in_parts
from gradcheck_cli.ops.windows import extent, inside, product, spread, steps_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.graph import Shape

# The columns of a block stay in a core's own cache.
_BLOCK_BYTES = 1 << 19
# From here on (in multiplications) OpenBLAS shares a product among threads. That costs more than it gains
# for columns in one core's cache, and 10 ms a product where another process has the other core.
_ONE_THREAD = 520_000
_ONE_THREAD_VECTOR = 9_000
# So many multiplications take about 200 microseconds.
_WORTH_A_THREAD = 4_000_000
# Narrower products don't keep the core busy.
_NARROW = 64


class Layout(NamedTuple):
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
    itemsize: int

    @property
    def inner(self) -> int:
        """How many terms an element of the result sums up."""
        return self.channels * product(self.kernel)

    @property
    def threads(self) -> int:
        """How many threads all of the work is worth."""
        each = self.results * self.groups * self.inner
        if self.inner * self.results * _NARROW > _ONE_THREAD:
            return 1  # BLAS has threads of its own
        return self.images * product(self.out) * each // _WORTH_A_THREAD


class Block(NamedTuple):
    """Images and rows of results that are worked on together, cut into tiles.

    `windows` and `results` are shape, strides and offset of the views
    (tiles, tiles, groups, channels, *kernel, images of a tile, rows of a tile, *rest) and
    (tiles, tiles, groups, results, images of a tile, windows of an image in a tile).
    `columns` is the shape (tiles, tiles, groups, inner, windows).
    """

    images: slice
    rows: slice
    windows: tuple[Shape, Shape, int]
    results: tuple[Shape, Shape, int]
    columns: Shape


@lru_cache(maxsize=256)
def plan(
    size: Shape,
    weight: Shape,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: int,
    itemsize: int,
) -> tuple[Layout, tuple[Block, ...]]:
    """The sizes and the blocks of all the work."""
    ndim = len(size) - 2
    stride, padding, dilation = (spread(v, ndim) for v in (stride, padding, dilation))
    kernel = tuple(weight[2:])
    wide = tuple(s + 2 * p for s, p in zip(size[2:], padding, strict=True))
    spans = extent(kernel, dilation)
    out = tuple((w - span) // s + 1 for w, span, s in zip(wide, spans, stride, strict=True))
    at = Layout(
        size[0],
        groups,
        weight[1],
        weight[0] // groups,
        kernel,
        tuple(size[2:]),
        wide,
        out,
        stride,
        padding,
        dilation,
        itemsize,
    )
    blocks = _blocks(at) if at.images and at.inner else ()
    return at, tuple(sorted(blocks, key=lambda block: (block.images.start, block.rows.start)))


def _tile(at: Layout) -> tuple[int, int]:
    """How many images and how many rows of each make a tile."""
    width = product(at.out[1:])
    total = at.out[0] * width
    limit = _ONE_THREAD_VECTOR if at.results == 1 else _ONE_THREAD
    best = limit // (at.inner * at.results)
    if best < _NARROW:  # a product this large is worth several threads
        best = max(_NARROW, _BLOCK_BYTES * 8 // (at.inner * at.groups * at.itemsize))
    if total < _NARROW:
        return min(at.images, max(1, best // total)), at.out[0]
    most = max(1, min(at.out[0], best // width))
    return 1, -(-at.out[0] // -(-at.out[0] // most))  # as even as can be


def _blocks(at: Layout) -> Iterator[Block]:
    count, height = _tile(at)
    tile = at.inner * at.groups * count * height * product(at.out[1:]) * at.itemsize
    together = max(1, _BLOCK_BYTES // tile)
    whole = at.out[0] - at.out[0] % height
    for top, end, high in ((0, whole, height), (whole, at.out[0], at.out[0] - whole)):
        if top == end:
            continue
        tiles = (end - top) // high
        down = min(together, tiles) * high
        across = count * max(1, together // tiles)
        for first in range(0, at.images, across):
            last = min(first + across, at.images)
            even = last - (last - first) % count
            for row in range(top, end, down):
                rows = slice(row, min(row + down, end))
                if even > first:
                    yield _block(at, slice(first, even), rows, count, high)
                if last > even:
                    yield _block(at, slice(even, last), rows, last - even, high)


def _block(at: Layout, images: slice, rows: slice, count: int, height: int) -> Block:
    tiles = ((images.stop - images.start) // count, (rows.stop - rows.start) // height)
    steps = steps_of(at.wide, at.itemsize)
    channel = product(at.wide) * at.itemsize
    image = channel * at.channels * at.groups
    moves = [s * step for s, step in zip(at.stride, steps, strict=True)]
    places = [d * step for d, step in zip(at.dilation, steps, strict=True)]
    windows = (
        (*tiles, at.groups, at.channels, *at.kernel, count, height, *at.out[1:]),
        (count * image, height * moves[0], channel * at.channels, channel, *places, image, *moves),
        rows.start * moves[0] + (0 if at.wide != at.size else images.start * image),
    )
    width = product(at.out[1:])
    channel = at.out[0] * width * at.itemsize
    image = channel * at.results * at.groups
    row = width * at.itemsize
    results = (
        (*tiles, at.groups, at.results, count, height * width),
        (count * image, height * row, channel * at.results, channel, image, at.itemsize),
        rows.start * row + images.start * image,
    )
    columns = (*tiles, at.groups, at.inner, count * height * width)
    return Block(images, rows, windows, results, columns)


def one_block(
    size: Shape, weight: Shape, itemsize: int, **window: Any
) -> tuple[Layout, Block] | None:
    """The sizes and the only block of a convolution that is a single tile; None for others."""
    at, blocks = plan(size, weight, groups=window.pop("groups"), itemsize=itemsize, **window)
    if len(blocks) != 1 or blocks[0].columns[:2] != (1, 1):
        return None
    return at, blocks[0]


def view(array: Any, form: tuple[Shape, Shape, int]) -> Any:
    shape, strides, offset = form
    return np.ndarray(shape, array.dtype, array, offset, strides)


class _Columns:
    """The columns of one block after another, in one piece of memory."""

    def __init__(self, x: Any, at: Layout) -> None:
        self.x, self.at = np.ascontiguousarray(x), at
        self.buffer: Any = None
        self.margins: Any = None
        self.held: slice | None = None

    def of(self, block: Block) -> Any:
        windows = view(self.widened(block.images), block.windows)
        size = windows.size
        if self.buffer is None or self.buffer.size < size:
            self.buffer = np.empty(size, self.x.dtype)
        columns = self.buffer[:size]
        np.copyto(columns.reshape(windows.shape), windows)
        return columns.reshape(block.columns)

    def widened(self, images: slice) -> Any:
        """The images with their margins."""
        at = self.at
        if at.wide == at.size:
            return self.x
        if self.held != images:
            x = self.x[images]
            if self.margins is None or len(self.margins) < len(x):
                self.margins = np.zeros((len(x), x.shape[1], *at.wide), x.dtype)
            self.margins[(slice(len(x)), slice(None), *inside(at.padding, at.size))] = x
            self.held = images
        return self.margins


def convolve(
    ndim: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: int,
) -> Any:
    """The convolution of a batch of images, or of one."""
    batch = x if x.ndim == ndim + 2 else x[None]
    dtype = x.dtype
    if weight.dtype != dtype or (bias is not None and bias.dtype != dtype):
        dtype = np.result_type(x, weight) if bias is None else np.result_type(x, weight, bias)
        batch = batch.astype(dtype)
    at, blocks = plan(batch.shape, weight.shape, stride, padding, dilation, groups, dtype.itemsize)
    out = np.empty((at.images, groups * at.results, *at.out), dtype)
    filters = weight.reshape(groups, at.results, at.inner)
    if bias is not None:
        bias = bias.reshape(groups, at.results, 1)

    def work(blocks: Sequence[Block]) -> None:
        columns = _Columns(batch, at)
        for block in blocks:
            tiles = view(out, block.results)
            if tiles.shape[-2] == 1:
                target = tiles[..., 0, :]
                np.matmul(filters, columns.of(block), out=target)
                if bias is not None:
                    target += bias
            else:
                found = np.matmul(filters, columns.of(block))
                if bias is not None:
                    found += bias
                np.copyto(tiles, found.reshape(tiles.shape))

    in_parts(work, blocks, at.threads)
    return out if x.ndim == ndim + 2 else out[0]


def weight_gradient(
    x: Any,
    grad: Any,
    weight_size: Shape,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: int,
) -> Any:
    """What the weight of a convolution receives from `grad`: windows times results, summed up."""
    dtype = np.result_type(x, grad)
    x, grad = x.astype(dtype, copy=False), np.ascontiguousarray(grad, dtype)
    at, blocks = plan(x.shape, weight_size, stride, padding, dilation, groups, dtype.itemsize)

    def work(blocks: Sequence[Block]) -> Any:
        total: Any = np.zeros((groups, at.inner, at.results), dtype)
        columns = _Columns(x, at)
        for block in blocks:
            results = view(grad, block.results)
            results = results.reshape(*results.shape[:4], -1).swapaxes(-1, -2)
            # Many columns on the left: BLAS is faster with the narrow factor on the right.
            found = np.matmul(columns.of(block), results)
            total += found.sum((0, 1)) if found.size > total.size else found[0, 0]
        return total

    total, *others = in_parts(work, blocks, at.threads)
    for other in others:
        total += other
    return np.ascontiguousarray(total.swapaxes(1, 2)).reshape(weight_size)


def input_gradient(
    weight: Any,
    grad: Any,
    input_size: Shape,
    stride: Shape,
    padding: Shape,
    dilation: Shape,
    groups: int,
) -> Any:
    """What the input of a convolution receives from `grad`: every result spreads over its window."""
    dtype = np.result_type(weight, grad)
    at, blocks = plan(
        tuple(input_size), weight.shape, stride, padding, dilation, groups, dtype.itemsize
    )
    margins = tuple(
        span - 1 - p for span, p in zip(extent(at.kernel, at.dilation), at.padding, strict=True)
    )
    if max(at.stride) == 1 and min(margins) >= 0 and at.results <= 4 * at.channels:
        return _turned(weight, grad, margins, at)
    grad = np.ascontiguousarray(grad, dtype)
    out: Any = np.zeros((at.images, groups * at.channels, *at.wide), dtype)
    filters = np.ascontiguousarray(weight.reshape(groups, at.results, at.inner).swapaxes(1, 2))
    for block in blocks:
        results = view(grad, block.results)
        columns = np.matmul(filters, results.reshape(*results.shape[:4], -1))
        columns = columns.reshape(block.windows[0])
        windows = view(out[block.images] if at.wide != at.size else out, block.windows)
        for place in itertools.product(*map(range, at.kernel)):
            # At one place of the kernel, no two windows have the same element.
            key = (*[slice(None)] * 4, *place)
            target = windows[key]
            target += columns[key]
    if at.wide == at.size:
        return out
    return np.ascontiguousarray(out[(..., *inside(at.padding, at.size))])


def _turned(weight: Any, grad: Any, margins: Shape, at: Layout) -> Any:
    """The same where windows move by 1: the convolution of `grad` with the weight turned around."""
    ndim = len(at.kernel)
    weight = weight.reshape(at.groups, at.results, at.channels, *at.kernel).swapaxes(1, 2)
    weight = weight[(..., *[slice(None, None, -1)] * ndim)]
    weight = weight.reshape(at.groups * at.channels, at.results, *at.kernel)
    return convolve(ndim, grad, weight, None, at.stride, margins, at.dilation, at.groups)
