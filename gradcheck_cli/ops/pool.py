"""Kernels of pooling: maxima, sums and places of maxima in sliding windows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.ops.windows import inside, offsets, product

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck_cli.graph import Shape

# What a kernel works on at a time stays in a core's own cache.
_BLOCK_BYTES = 1 << 19


def _planes(x: Any, ndim: int) -> tuple[Any, Iterator[slice]]:
    """`x` as (planes, *last dims), and how many planes to take at a time."""
    planes = np.ascontiguousarray(x).reshape(-1, *x.shape[-ndim:])
    count = max(1, _BLOCK_BYTES // max(1, product(planes.shape[1:]) * planes.itemsize))
    return planes, (slice(first, first + count) for first in range(0, len(planes), count))


def _widened(part: Any, out: Shape, window: tuple[Shape, ...], value: Any) -> Any:
    """Planes with margins of `value`, so that every window lies inside."""
    kernel, stride, padding, dilation = window
    ndim = len(kernel)
    sizes = tuple(
        max((o - 1) * s + d * (k - 1) + 1, p + size)
        for o, s, d, k, p, size in zip(
            out, stride, dilation, kernel, padding, part.shape[1:], strict=True
        )
    )
    if not any(padding) and sizes == part.shape[1:]:
        return part
    wide = np.full((len(part), *sizes), value, part.dtype)
    wide[(slice(None), *inside(padding, part.shape[-ndim:]))] = part
    return wide


def _least(dtype: Any) -> Any:
    """What no maximum is smaller than."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _reduced(
    x: Any, out: Shape, window: tuple[Shape, ...], combine: Callable[..., Any], empty: Any
) -> Any:
    """The windows of all planes reduced by a ufunc: one dim after another, rows before columns."""
    kernel, stride, _, dilation = window
    ndim = len(kernel)
    planes, blocks = _planes(x, ndim)
    result = np.empty((len(planes), *out), planes.dtype)
    for block in blocks:
        part = _widened(planes[block], out, window, empty)
        for d in range(ndim):
            target = result[block] if d == ndim - 1 else None
            before = (slice(None),) * (d + 1)
            size = (out[d] - 1) * stride[d] + 1
            views = [
                part[(*before, slice(k * dilation[d], k * dilation[d] + size, stride[d]))]
                for k in range(kernel[d])
            ]
            if len(views) == 1:
                part = views[0]
                if target is not None:
                    target[...] = part
                continue
            part = combine(views[0], views[1], out=target)
            for view in views[2:]:
                combine(part, view, out=part)
    return result.reshape(*x.shape[:-ndim], *out)


def maxima(x: Any, out: Shape, window: tuple[Shape, ...]) -> Any:
    """The largest element of each window; NaN where there is one."""
    return _reduced(x, out, window, np.maximum, _least(x.dtype))


def sums(x: Any, out: Shape, window: tuple[Shape, ...]) -> Any:
    """The sum of each window, of which the margins are zero."""
    return _reduced(x, out, window, np.add, 0)


def places(x: Any, out: Shape, window: tuple[Shape, ...]) -> tuple[Any, Any]:
    """The largest element of each window and its place in the flattened plane.

    As PyTorch chooses: the first of equal ones, but the last NaN.
    """
    kernel, stride, padding, dilation = window
    ndim = len(kernel)
    planes, blocks = _planes(x, ndim)
    best = np.empty((len(planes), *out), planes.dtype)
    index = np.empty((len(planes), *out), np.int64)
    size = x.shape[-ndim:]
    few = product(kernel) <= 256
    number = np.array(list(np.ndindex(*kernel)))
    for block in blocks:
        part = _widened(planes[block], out, window, _least(planes.dtype))
        values = best[block]
        chosen = np.zeros(values.shape, np.uint8 if few else np.int64)
        for code, key in enumerate(offsets(kernel, out, stride, dilation)):
            view = part[(slice(None), *key)]
            if code == 0:
                np.copyto(values, view)
                continue
            larger = view > values
            if planes.dtype.kind == "f":
                larger |= view != view
            chosen[larger] = code
            np.maximum(values, view, out=values)
        flat: Any = 0
        for d in range(ndim):
            begins = np.arange(out[d]) * stride[d] - padding[d]
            begins = begins.reshape(-1, *[1] * (ndim - 1 - d))
            at = begins + (number[:, d] * dilation[d])[chosen]
            if padding[d]:  # a window of -inf alone: its first element that isn't in the margin
                at = np.where(at < 0, at % dilation[d], at)
            flat = flat * size[d] + at
        index[block] = flat
    shape = (*x.shape[:-ndim], *out)
    return best.reshape(shape), index.reshape(shape)


def part_maxima(x: Any, counts: Shape) -> tuple[Any, Any]:
    """The largest element of each part of the last dims and its place in the flattened plane.

    One dim after another: of a part's rows the first with the largest element, and that element's place
    in it, which is the first in the order of the plane. Of several NaN it is the last.
    """
    best: Any = x
    index: Any = np.zeros((), np.int64)
    inner = 1
    for d in range(1, len(counts) + 1):
        size, count = x.shape[-d], counts[-d]
        best, rows = (
            np.moveaxis(best, -d, -1),
            np.moveaxis(np.broadcast_to(index, best.shape), -d, -1),
        )
        values = np.empty((*best.shape[:-1], count), x.dtype)
        places = np.empty(values.shape, np.int64)
        for part in range(count):
            first, stop = part * size // count, -(-(part + 1) * size // count)
            at = first + _largest(best[..., first:stop])[..., None]
            values[..., part] = np.take_along_axis(best, at, -1)[..., 0]
            places[..., part] = (at * inner + np.take_along_axis(rows, at, -1))[..., 0]
        best, index = np.moveaxis(values, -1, -d), np.moveaxis(places, -1, -d)
        inner *= size
    return np.ascontiguousarray(best), np.ascontiguousarray(index)


def _largest(x: Any) -> Any:
    """Where the last dim has its largest element: the first of equal ones, but the last NaN."""
    at = x.argmax(-1)
    missing = np.isnan(x)
    if not missing.any():
        return at
    return np.where(missing.any(-1), x.shape[-1] - 1 - missing[..., ::-1].argmax(-1), at)


def tiles_of(size: Shape, kernel: Shape, stride: Shape, padding: Shape) -> Shape | None:
    """The last dims cut into windows that cover them side by side, (count, size) for each; or None."""
    if kernel != stride or any(padding) or any(n % k for n, k in zip(size, kernel, strict=True)):
        return None
    return tuple(part for n, k in zip(size, kernel, strict=True) for part in (n // k, k))


def few_maxima(tiles: Shape, x: Any) -> Any:
    """`maxima` of tiles that cover `x`, in one call."""
    ndim = len(tiles) // 2
    axes = tuple(range(1 - 2 * ndim, 0, 2))
    reduce: Any = np.maximum.reduce
    return reduce(x.reshape(x.shape[:-ndim] + tiles), axes)


def few_spread(tiles: Shape, otherwise: Callable[..., Any]) -> Callable[..., Any]:
    """`spread_to_maxima` for tiles that cover the input, in few calls; NaN goes `otherwise`."""
    ndim = len(tiles) // 2
    # The places in a window last: (planes, *counts, *kernel).
    order = (0, *range(1, 2 * ndim, 2), *range(2, 2 * ndim + 1, 2))
    back = tuple(order.index(axis) for axis in range(2 * ndim + 1))
    sorted_tiles = tuple(tiles[axis - 1] for axis in order[1:])
    kernel = product(tiles[1::2])

    def run(grad: Any, x: Any, best: Any) -> Any:
        if np.isnan(np.add.reduce(best, None)):
            return otherwise(grad, x, best)
        windows = x.reshape(-1, *tiles).transpose(order).reshape(-1, kernel)
        out = np.zeros(windows.shape, grad.dtype)
        out[np.arange(best.size), windows.argmax(1)] = grad.reshape(-1)
        return out.reshape(-1, *sorted_tiles).transpose(back).reshape(x.shape)

    return run


def put(x: Any, index: Any, size: Shape) -> Any:
    """Planes of zeros with the elements of `x` at the places that `index` names."""
    ndim = len(size)
    whole = np.zeros((*x.shape[:-ndim], *size), x.dtype)
    flat = whole.reshape(-1)
    planes = index.reshape(-1, product(index.shape[-ndim:]))
    starts = np.arange(len(planes))[:, None] * product(size)
    flat[(planes + starts).reshape(-1)] = x.reshape(-1)
    return whole


def spread_to_maxima(
    grad: Any, x: Any, best: Any, kernel: Shape, stride: Shape, padding: Shape
) -> Any:
    """`put(grad, places(x))` where no two windows overlap, without the places: `best` are the maxima."""
    ndim = len(kernel)
    out = best.shape[-ndim:]
    window = (kernel, stride, padding, (1,) * ndim)
    planes, blocks = _planes(x, ndim)
    best, _ = _planes(best, ndim)
    grad, _ = _planes(grad, ndim)
    tiled = (
        kernel == stride
        and tuple(o * s for o, s in zip(out, stride, strict=True)) == planes.shape[1:]
    )
    result = (np.empty if tiled else np.zeros)(planes.shape, grad.dtype)
    steps = offsets(kernel, out, stride, window[3])
    for block in blocks:
        values, upstream = best[block], grad[block]
        if values.dtype.kind == "f" and np.isnan(values.sum()) and np.isnan(values).any():
            _, index = places(planes[block], out, window)
            result[block] = put(upstream, index, planes.shape[1:])
            continue
        source = _widened(planes[block], out, window, np.nan)  # which equals no maximum
        whole = source.shape == planes[block].shape
        target = result[block] if whole else np.zeros(source.shape, grad.dtype)
        free: Any = None
        for number, key in enumerate(steps):
            at = (slice(None), *key)
            here = np.equal(source[at], values)
            if free is None:
                free = ~here
            elif number < len(steps) - 1:
                here &= free
                free ^= here
            else:
                here &= free
            np.multiply(upstream, here, out=target[at])
        if not whole:
            result[block] = target[(slice(None), *inside(padding, planes.shape[1:]))]
    return result.reshape(x.shape)
