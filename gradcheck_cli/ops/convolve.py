"""Kernels of convolution: windows copied into columns, block by block, and one product a block.

A block is as many images, or rows of one image, as have columns that stay in the cache. Its columns are
(groups, channels * places in the kernel, windows), so that one matrix product serves all its images.
Memory beyond the result is bounded by a block, whatever the size of the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_cli.ops.windows import BLOCK_BYTES, extent, inside, offsets, spread, strides_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.graph import Shape


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
        """The sum that an element of the result is has so many terms."""
        return self.channels * _product(self.kernel)

    def blocks(self, itemsize: int) -> Iterator[tuple[slice, slice]]:
        """Images and rows of results that are worked on together."""
        row = self.inner * self.groups * _product(self.out[1:]) * itemsize
        image = row * self.out[0]
        count = max(1, BLOCK_BYTES // max(image, 1))
        rows = self.out[0] if image <= BLOCK_BYTES else max(1, BLOCK_BYTES // row)
        for first in range(0, self.images, count):
            for top in range(0, self.out[0], rows):
                yield (
                    slice(first, min(first + count, self.images)),
                    slice(top, min(top + rows, self.out[0])),
                )


def _product(sizes: Sequence[int]) -> int:
    product = 1
    for size in sizes:
        product *= size
    return product


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
        size[0], groups, weight[1], weight[0] // groups, weight[2:], size[2:], wide, out,
        stride, padding, dilation,
    )  # fmt: skip


class _Columns:
    """The columns of one block after another, in one piece of memory."""

    def __init__(self, x: Any, layout: _Layout) -> None:
        self.x, self.layout = np.ascontiguousarray(x), layout
        self.buffer: Any = np.empty(0, x.dtype)
        self.margins: Any = None

    def of(self, images: slice, rows: slice) -> Any:
        """(groups, inner, windows) of a block."""
        at = self.layout
        ndim = len(at.kernel)
        x = self.x[images]
        if at.wide != at.size:
            if self.margins is None or len(self.margins) < len(x):
                self.margins = np.zeros((len(x), at.groups * at.channels, *at.wide), x.dtype)
            x, source = self.margins[: len(x)], x
            if rows.start == 0:
                x[(..., *inside(at.padding, at.size))] = source
        windows = strides_of(x, at.kernel, at.out, at.stride, at.dilation)
        windows = windows.reshape(len(x), at.groups, at.channels, *windows.shape[2:])
        windows = windows[(..., rows, *[slice(None)] * (ndim - 1))]
        # The images come after the places in the kernel.
        order = (*range(1, 3 + ndim), 0, *range(3 + ndim, 3 + 2 * ndim))
        windows = windows.transpose(order)
        if self.buffer.size < windows.size:
            self.buffer = np.empty(windows.size, x.dtype)
        columns = self.buffer[: windows.size].reshape(windows.shape)
        np.copyto(columns, windows)
        return columns.reshape(at.groups, at.inner, -1)


def _of_groups(g: Any, at: _Layout, images: slice, rows: slice) -> Any:
    """A block of results as (groups, results, windows)."""
    ndim = len(at.kernel)
    block = g[(images, slice(None), rows)]
    shape = (len(block), at.groups, at.results, *block.shape[2:])
    block = block.reshape(shape).transpose(1, 2, 0, *range(3, 3 + ndim))
    return block.reshape(at.groups, at.results, -1)


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
    out = np.empty((at.images, at.groups * at.results, *at.out), dtype)
    filters = weight.reshape(at.groups, at.results, at.inner)
    if bias is not None:
        bias = bias.reshape(-1, *[1] * ndim)
    columns = _Columns(batch, at)
    for images, rows in at.blocks(dtype.itemsize):
        part = out[images, :, rows]
        if len(part) == 1:
            target = part.reshape(at.groups, at.results, -1)
            np.matmul(filters, columns.of(images, rows), out=target)
            if bias is not None:
                part += bias
        else:
            found = np.matmul(filters, columns.of(images, rows))
            found = found.reshape(-1, *part.shape[:1], *part.shape[2:]).swapaxes(0, 1)
            if bias is None:
                np.copyto(part, found)
            else:
                np.add(found, bias, out=part)
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
    total: Any = None
    columns = _Columns(x, at)
    for images, rows in at.blocks(dtype.itemsize):
        # The many columns on the left: BLAS is faster with the narrow factor on the right.
        results = _of_groups(grad, at, images, rows).swapaxes(1, 2)
        part = np.matmul(columns.of(images, rows), results)
        total = part if total is None else np.add(total, part, out=total)
    if total is None:
        return np.zeros(weight_size, dtype)
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
    out = np.zeros((at.images, at.groups * at.channels, *at.wide), dtype)
    filters = np.ascontiguousarray(weight.reshape(at.groups, at.results, at.inner).swapaxes(1, 2))
    buffer = np.empty(0, dtype)
    ndim = len(at.kernel)
    whole = range(2, 2 + ndim)
    for images, rows in at.blocks(dtype.itemsize):
        results = _of_groups(grad, at, images, rows)
        count = at.groups * at.inner * results.shape[2]
        if buffer.size < count:
            buffer = np.empty(count, dtype)
        columns = buffer[:count].reshape(at.groups, at.inner, -1)
        np.matmul(filters, results, out=columns)
        number = images.stop - images.start
        here = (rows.stop - rows.start, *at.out[1:])
        columns = columns.reshape(at.groups * at.channels, *at.kernel, number, *here)
        part = out[images]
        first = (rows.start, *[0] * (ndim - 1))
        for place, where in offsets(at.kernel, here, at.stride, at.dilation, first):
            target = part[(..., *where)]
            target += columns[(slice(None), *place)].transpose(1, 0, *whole)
    if at.wide == at.size:
        return out
    return np.ascontiguousarray(out[(..., *inside(at.padding, at.size))])
