"""Windows that slide over the last dims of an array: what convolution and pooling share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def offsets(
    kernel: Shape, out: Shape, stride: Shape, dilation: Shape
) -> Iterator[tuple[Shape, tuple[slice, ...]]]:
    """Each place in a window, with the subscript that takes this place of all windows."""
    for place in np.ndindex(*kernel):
        yield (
            place,
            tuple(
                slice(p * d, p * d + (o - 1) * s + 1, s)
                for p, d, o, s in zip(place, dilation, out, stride, strict=True)
            ),
        )


def padded(x: Any, before: Shape, after: Shape, value: float) -> Any:
    """`x` with margins of `value` around its last dims; `x` itself where there are none."""
    if not any(before) and not any(after):
        return x
    ndim = len(before)
    sizes = [b + s + a for b, s, a in zip(before, x.shape[-ndim:], after, strict=True)]
    out = np.full((*x.shape[:-ndim], *sizes), value, x.dtype)
    out[(..., *inside(before, x.shape[-ndim:]))] = x
    return out


def inside(before: Shape, sizes: Sequence[int]) -> tuple[slice, ...]:
    """The subscript of what margins surround."""
    return tuple(slice(b, b + size) for b, size in zip(before, sizes, strict=True))


def require_input(name: str, x: Expr, ndim: int) -> None:
    """Refuse an input that isn't (channels, ...) or (batch, channels, ...). Raises Invalid (GC015)."""
    if x.ndim not in (ndim + 1, ndim + 2):
        sizes = "length" if ndim == 1 else "height, width"
        msg = (
            f"{name}() needs an input (batch, channels, {sizes}) or (channels, {sizes}), "
            f"not one of shape {x.shape}"
        )
        raise Invalid("GC015", msg, "unsqueeze() adds a dimension of size 1", "input")
    lacking = [size for size in x.shape[-ndim - 1 :] if not size]
    if lacking:
        msg = f"only the batch of {name}() may be empty, not as in shape {x.shape}"
        raise Invalid("GC015", msg, argument="input")
