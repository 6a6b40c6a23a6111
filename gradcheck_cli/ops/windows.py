"""Windows that slide over the last dims of an array: what convolution and pooling share."""

from __future__ import annotations

import itertools
from functools import lru_cache
from typing import TYPE_CHECKING

from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.graph import Expr, Shape


def per_dim(
    values: Sequence[int], ndim: int, name: str, least: int, default: Sequence[int] = ()
) -> Shape:
    """One number for each dim that a window slides over, from one or `ndim` of them.

    Raises Invalid (GC014) where there are others or one is below `least`.
    """
    values = tuple(values) or tuple(default)
    if len(values) not in (1, ndim):
        wanted = "one whole number" if ndim == 1 else f"one whole number or {ndim} of them"
        raise Invalid("GC014", f"{name} is {wanted}, not {values}", argument=name)
    if min(values) < least:
        msg = f"{name} must be {'positive' if least else 'at least 0'}, not {min(values)}"
        raise Invalid("GC014", msg, argument=name)
    return values * ndim if len(values) == 1 else values


def spread(values: Sequence[int], ndim: int) -> Shape:
    """`per_dim` for what has been checked before."""
    return tuple(values) * ndim if len(values) == 1 else tuple(values)


def extent(kernel: Sequence[int], dilation: Sequence[int]) -> Shape:
    """How much of the input a window spans."""
    return tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))


def product(sizes: Sequence[int]) -> int:
    """Of all numbers given."""
    total = 1
    for size in sizes:
        total *= size
    return total


def steps_of(sizes: Sequence[int], itemsize: int) -> Shape:
    """The strides of contiguous dims."""
    return tuple(product(sizes[d + 1 :]) * itemsize for d in range(len(sizes)))


@lru_cache(maxsize=256)
def offsets(
    kernel: Shape, out: Shape, stride: Shape, dilation: Shape
) -> tuple[tuple[slice, ...], ...]:
    """For each place in a window, the subscript that takes this place of all windows."""
    return tuple(
        tuple(
            slice(p * d, p * d + (o - 1) * s + 1, s)
            for p, d, o, s in zip(place, dilation, out, stride, strict=True)
        )
        for place in itertools.product(*map(range, kernel))
    )


def inside(before: Shape, sizes: Sequence[int]) -> tuple[slice, ...]:
    """The subscript of what margins surround."""
    return tuple(slice(b, b + size) for b, size in zip(before, sizes, strict=True))


def window_of(
    ndim: int,
    kernel_size: Sequence[int],
    stride: Sequence[int] | None,
    padding: Sequence[int],
    dilation: Sequence[int] = (1,),
) -> tuple[Shape, Shape, Shape, Shape]:
    """Kernel, stride, padding and dilation, a number for each dim. Raises Invalid (GC014)."""
    kernel = per_dim(kernel_size, ndim, "kernel_size", 1)
    window = (
        kernel,
        per_dim(stride or (), ndim, "stride", 1, default=kernel),
        per_dim(padding, ndim, "padding", 0),
        per_dim(dilation, ndim, "dilation", 1),
    )
    for k, p, d in zip(kernel, window[2], window[3], strict=True):
        if 2 * p > d * (k - 1) + 1:
            msg = f"padding {p} is more than half of the window's extent, {d * (k - 1) + 1}"
            raise Invalid("GC014", msg, "a window must not lie in the margin alone", "padding")
    return window


def out_sizes(name: str, size: Shape, window: tuple[Shape, ...], *, ceil_mode: bool) -> Shape:
    """How many windows there are in each dim. Raises Invalid (GC015)."""
    out = []
    for n, k, s, p, d in zip(size, *window, strict=True):
        rest = n + 2 * p - d * (k - 1) - 1
        count = (rest + (s - 1 if ceil_mode else 0)) // s + 1
        if ceil_mode and (count - 1) * s >= n + p:  # the last window must begin inside
            count -= 1
        out.append(count)
    if min(out) < 1:
        msg = f"{name}() finds no window of size {window[0]} in an input of size {size}"
        raise Invalid("GC015", msg, "use a smaller kernel, or padding", "kernel_size")
    return tuple(out)


SIZES = {1: "length", 2: "height, width", 3: "depth, height, width"}


def require_input(
    name: str, x: Expr, ndim: int, *, channels: bool = True, batch: bool = False
) -> None:
    """Refuse an input that isn't (channels, ...) or (batch, channels, ...). Raises Invalid (GC015).

    The batch may be empty; without `channels` these too. With `batch`, the first dimension is taken for
    it even where it isn't: only that may be empty.
    """
    if x.ndim not in (ndim + 1, ndim + 2):
        sizes = SIZES[ndim]
        msg = (
            f"{name}() needs an input (batch, channels, {sizes}) or (channels, {sizes}), "
            f"not one of shape {x.shape}"
        )
        raise Invalid("GC015", msg, "unsqueeze() adds a dimension of size 1", "input")
    positive = x.shape[1:] if batch else x.shape[-ndim - channels :]
    if 0 in positive:
        free = "the batch" if channels or batch else "the batch or the channels"
        msg = f"only {free} of {name}() may be empty, not as in shape {x.shape}"
        raise Invalid("GC015", msg, argument="input")
