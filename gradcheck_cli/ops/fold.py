"""Sliding blocks of images as columns (unfold), and their sum back into images (fold)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, Sample, Shape, Type, make, t
from gradcheck_cli.ops._common import as_tensor, register, require_floating, sizes
from gradcheck_cli.ops.windows import extent, inside, offsets, out_sizes, per_dim, product, spread
from gradcheck_cli.schema import Invalid

Window = tuple[Shape, Shape, Shape, Shape]


def _window(kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Window:
    """Kernel, stride, padding and dilation, a number for rows and one for columns. Raises Invalid."""
    return (
        per_dim(kernel_size, 2, "kernel_size", 1),
        per_dim(stride, 2, "stride", 1),
        per_dim(padding, 2, "padding", 0),
        per_dim(dilation, 2, "dilation", 1),
    )


def _batched(name: str, x: Expr, ndim: int, what: str) -> None:
    """Refuse what has not `ndim` dims with one for a batch before. Raises Invalid (GC015)."""
    require_floating(x, name)
    if x.ndim not in (ndim, ndim + 1):
        msg = f"{name}() needs an input (batch, {what}) or ({what}), not one of shape {x.shape}"
        raise Invalid("GC015", msg, "unsqueeze() adds a dimension of size 1", "input")
    if 0 in x.shape[-ndim:]:
        msg = f"only the batch of {name}() may be empty, not as in shape {x.shape}"
        raise Invalid("GC015", msg, None, "input")


def _unfold(x: Expr, **attributes: Any) -> Type:
    _batched("unfold", x, 3, "channels, height, width")
    window = _window(**attributes)
    blocks = out_sizes("unfold", x.shape[-2:], window, ceil_mode=False)
    channels = x.shape[-3] * product(window[0])
    return Type((*x.shape[:-3], channels, product(blocks)), x.dtype)


def _blocks(size: Shape, window: Window) -> Shape:
    """How many blocks there are below and beside one another."""
    spans = extent(window[0], window[3])
    return tuple(
        (n + 2 * p - span) // s + 1
        for n, span, s, p in zip(size, spans, window[1], window[2], strict=True)
    )


def _spread(kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> Window:
    kernel, step = spread(kernel_size, 2), spread(stride, 2)
    return kernel, step, spread(padding, 2), spread(dilation, 2)


def _columns(x: Any, **attributes: Any) -> Any:
    window = _spread(**attributes)
    kernel, stride, padding, dilation = window
    blocks = _blocks(x.shape[-2:], window)
    if any(padding):
        margins = [(0, 0)] * (x.ndim - 2) + [(p, p) for p in padding]
        x = np.pad(x, margins)
    parts = [x[..., rows, columns] for rows, columns in offsets(kernel, blocks, stride, dilation)]
    channels = x.shape[-3] * product(kernel)
    return np.stack(parts, -3).reshape(*x.shape[:-3], channels, product(blocks))


def _fold(x: Expr, output_size: Any, **attributes: Any) -> Type:
    _batched("fold", x, 2, "channels * kernel, blocks")
    window = _window(**attributes)
    size = per_dim(sizes(output_size), 2, "output_size", 0)
    count = product(window[0])
    if x.shape[-2] % count:
        msg = (
            f"fold() needs a second-last size that {count}, the kernel's, divides: shape {x.shape}"
        )
        raise Invalid("GC015", msg, None, "input")
    blocks = _blocks(size, window)
    if min(blocks) < 1 or product(blocks) != x.shape[-1]:
        found = f"{max(blocks[0], 0)} x {max(blocks[1], 0)}"
        msg = f"an image of size {size} has {found} blocks, but the last size is {x.shape[-1]}"
        raise Invalid("GC015", msg, "give unfold's kernel, dilation, padding and stride", "input")
    return Type((*x.shape[:-2], x.shape[-2] // count, *size), x.dtype)


def _image(x: Any, output_size: Shape, **attributes: Any) -> Any:
    window = _spread(**attributes)
    kernel, stride, padding, dilation = window
    size = spread(output_size, 2)
    blocks = _blocks(size, window)
    channels = x.shape[-2] // product(kernel)
    parts = x.reshape(*x.shape[:-2], channels, product(kernel), *blocks)
    whole = tuple(n + 2 * p for n, p in zip(size, padding, strict=True))
    out = np.zeros((*x.shape[:-2], channels, *whole), x.dtype)
    for place, (rows, columns) in enumerate(offsets(kernel, blocks, stride, dilation)):
        out[..., rows, columns] += parts[..., place, :, :]
    rows_and_columns: tuple[Any, ...] = inside(padding, size)
    return out[(..., *rows_and_columns)]


register(
    "unfold(Tensor input, int[] kernel_size, int[] dilation=1, int[] padding=0, int[] stride=1)",
    doc="The blocks that a window sees as it slides over images, as columns.",
    infer=_unfold,
    kernel=_columns,
    vjp=lambda g, out, x, **window: t.fold(as_tensor(g, out), (x.size(-2), x.size(-1)), **window),
    on=("F",),
    analytic=True,
    samples=(
        Sample("F.unfold(x, 2)", x=(2, 2, 3, 3)),
        Sample("F.unfold(x, (2, 1))", x=(2, 2, 3)),
        Sample("F.unfold(x, (1, 2), dilation=(1, 2), padding=(0, 1), stride=2)", x=(1, 2, 4, 5)),
        Sample("F.unfold(x, 3, 1, 1, 2)", x=(2, 1, 4, 4)),
        Sample("F.unfold(x, 2)", x=(0, 2, 3, 3)),
    ),
)
FOLD = register(
    "fold(Tensor input, size output_size, int[] kernel_size, int[] dilation=1, int[] padding=0, "
    "int[] stride=1)",
    doc="Images as the sum of overlapping blocks, given as columns.",
    infer=_fold,
    kernel=_image,
    vjp=lambda g, out, x, output_size, **window: t.unfold(as_tensor(g, out), **window),
    on=("F",),
    analytic=True,
    samples=(
        Sample("F.fold(x, (3, 4), kernel_size=(2, 1))", x=(4, 8)),
        Sample("F.fold(x, (4, 5), (1, 2), (1, 2), (0, 1), 2)", x=(1, 4, 6)),
        Sample("F.fold(x, output_size=(2, 2), kernel_size=2, padding=1)", x=(0, 4, 9)),
    ),
)
# A shape takes all numbers that follow: what is one number here has an overload of its own.
register(
    "fold.square(Tensor input, int output_size, int[] kernel_size, int[] dilation=1, "
    "int[] padding=0, int[] stride=1)",
    doc="Square images as the sum of overlapping blocks, given as columns.",
    define=lambda x, output_size, **window: make(
        FOLD, (x,), {"output_size": (output_size, output_size), **window}
    ),
    on=("F",),
    samples=(
        Sample("F.fold(x, 3, 2)", x=(2, 8, 4)),
        Sample("F.fold(x, 4, (2, 1), stride=2)", x=(4, 4)),
    ),
)
