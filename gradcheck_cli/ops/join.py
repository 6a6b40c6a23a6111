"""Joining tensors, along a dimension or along the diagonal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Shape, Type, t
from gradcheck_cli.ops._common import (
    common,
    dim_of,
    promote,
    register,
)
from gradcheck_cli.ops.shape import atleast
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.dtypes import DType


def along(x: Expr, dim: int, item: Any) -> Expr:
    """`x[:, :, item]`, the item at `dim`."""
    return x[(*(slice(None),) * dim, item)]


# Joining.


def _joined(tensors: Sequence[Expr]) -> list[Expr]:
    """What cat() joins: PyTorch passes over empty vectors whatever the other shapes are."""
    return [x for x in tensors if x.shape != (0,)] or list(tensors)


def _cat(*tensors: Expr, dim: int) -> Type:
    if not tensors:
        raise Invalid("GC014", "cat() needs at least one tensor", argument="tensors")
    joined = _joined(tensors)
    first = joined[0]
    if any(x.ndim == 0 for x in joined):
        msg = "cat() can't join zero-dimensional tensors"
        raise Invalid("GC015", msg, "use torch.stack, which adds a dimension", "tensors")
    d = dim_of(dim, first.ndim)
    for x in joined:
        if x.ndim != first.ndim or _without(x.shape, d) != _without(first.shape, d):
            msg = f"shapes {first.shape} and {x.shape} can't be joined along dimension {d}"
            raise Invalid("GC015", msg, "all other sizes must be equal", "tensors")
    total = sum(x.shape[d] for x in joined)
    return Type((*first.shape[:d], total, *first.shape[d + 1 :]), promote(*tensors))


def _without(shape: Shape, dim: int) -> Shape:
    return (*shape[:dim], *shape[dim + 1 :])


def _cat_kernel(*arrays: Any, dim: int) -> Any:
    values = common(*arrays)
    return np.concatenate([v for v in values if v.shape != (0,)] or values, axis=dim)


def _cat_vjp(g: Expr, out: Expr, *tensors: Expr, dim: int) -> tuple[Expr | None, ...]:
    d = dim_of(dim, out.ndim)
    joined = _joined(tensors)
    parts: list[Expr | None] = []
    end: Expr | None = None
    for x in tensors:
        if x not in joined:
            parts.append(None)
            continue
        start, end = end, x.size(d) if end is None else end + x.size(d)
        parts.append(along(g, d, slice(start, end)))
    return tuple(parts)


register(
    "cat(Tensor[] tensors, int dim=0)",
    doc="Tensors joined along a dimension that they have.",
    infer=_cat,
    kernel=_cat_kernel,
    vjp=_cat_vjp,
    on=("torch",),
    aliases=("concat", "concatenate"),
    analytic=True,
    samples=(
        Sample("torch.cat([x, y])", x=(2, 3), y=(1, 3)),
        Sample("torch.cat((x, y, x), dim=-1)", x=(2, 3), y=(2, 1)),
        Sample("torch.cat([x, y], 1)", x=(2, 3), y=(2, 0)),
        Sample("torch.cat([x, torch.tensor([]), x])", x=(2, 3)),
        Sample("torch.cat([x, i])", x=(2,), i=In((2,), dtype="int64", low=0, high=5)),
        Sample("torch.concatenate([x], axis=0)", x=(2,)),
        Sample("torch.concat([x * y, y])", x=(2, 2), y=(2, 2)),
    ),
)


def _stack(*tensors: Expr, dim: int) -> Type:
    if not tensors:
        raise Invalid("GC014", "stack() needs at least one tensor", argument="tensors")
    first = tensors[0]
    for x in tensors:
        if x.shape != first.shape:
            msg = f"shapes {first.shape} and {x.shape} can't be stacked"
            raise Invalid("GC015", msg, "all shapes must be equal", "tensors")
    d = dim_of(dim, first.ndim + 1)
    return Type((*first.shape[:d], len(tensors), *first.shape[d:]), promote(*tensors))


def _stack_vjp(g: Expr, out: Expr, *tensors: Expr, dim: int) -> tuple[Expr, ...]:
    d = dim_of(dim, out.ndim)
    return tuple(along(g, d, i) for i in range(len(tensors)))


register(
    "stack(Tensor[] tensors, int dim=0)",
    doc="Tensors of one shape joined along a new dimension.",
    infer=_stack,
    kernel=lambda *arrays, dim: np.stack(common(*arrays), axis=dim),
    vjp=_stack_vjp,
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.stack([x, y])", x=(2, 3), y=(2, 3)),
        Sample("torch.stack([x, y, x], -1)", x=(2, 3), y=(2, 3)),
        Sample("torch.stack((x, x), dim=1)", x=(2,)),
        Sample("torch.stack([x, y])", x=(), y=()),
        Sample("torch.stack([x], 1)", x=(0, 2)),
    ),
)
register(
    "hstack(Tensor[] tensors)",
    doc="Tensors joined side by side: vectors along their only dimension, others along the second.",
    define=lambda *tensors: t.cat(
        (joined := [atleast(x, 1) for x in tensors]), 0 if joined and joined[0].ndim == 1 else 1
    ),
    on=("torch",),
    samples=(
        Sample("torch.hstack([x, y])", x=(2, 3), y=(2, 1)),
        Sample("torch.hstack([x, y])", x=(2,), y=()),
    ),
)
register(
    "vstack(Tensor[] tensors)",
    doc="Tensors joined one below the other; vectors become rows.",
    define=lambda *tensors: t.cat([atleast(x, 2) for x in tensors], 0),
    on=("torch",),
    aliases=("row_stack",),
    samples=(
        Sample("torch.vstack([x, y])", x=(2, 3), y=(3,)),
        Sample("torch.row_stack([x, x])", x=()),
    ),
)
register(
    "dstack(Tensor[] tensors)",
    doc="Tensors joined along the third dimension.",
    define=lambda *tensors: t.cat([atleast(x, 3) for x in tensors], 2),
    on=("torch",),
    samples=(Sample("torch.dstack([x, y])", x=(2, 3), y=(2, 3)),),
)
register(
    "column_stack(Tensor[] tensors)",
    doc="Tensors joined side by side; vectors become columns.",
    define=lambda *tensors: t.cat(
        [x.reshape((x.numel(), 1)) if x.ndim < 2 else x for x in tensors], 1
    ),
    on=("torch",),
    samples=(
        Sample("torch.column_stack([x, y])", x=(2,), y=(2, 3)),
        Sample("torch.column_stack([x, x])", x=()),
    ),
)


def _block_diag(*tensors: Expr) -> Any:
    for x in tensors:
        if x.ndim > 2:
            msg = (
                f"block_diag() takes matrices, vectors and scalars, not a tensor of shape {x.shape}"
            )
            raise Invalid("GC015", msg, None, "tensors")
    if not tensors:
        raise Invalid("GC014", "block_diag() needs at least one tensor", argument="tensors")
    blocks = [atleast(x, 2) for x in tensors]
    dtype = dtypes.promote([(x.dtype, False) for x in blocks])
    rows: list[Expr] = []
    for place, x in enumerate(blocks):
        block = x if x.dtype is dtype else x.to(dtype)
        before, after = blocks[:place], blocks[place + 1 :]
        row = [*_zeros(x, before, dtype), block, *_zeros(x, after, dtype)]
        rows.append(block if len(row) == 1 else t.cat(row, 1))
    return rows[0] if len(rows) == 1 else t.cat(rows, 0)


def _zeros(x: Expr, others: Sequence[Expr], dtype: DType) -> list[Expr]:
    """As many rows as `x` has, as wide as the others together; none where there are no others."""
    if not others:
        return []
    size = (x.size(0), sum((other.size(1) for other in others[1:]), start=others[0].size(1)))
    return [t.zeros(size) if dtype is dtypes.default_dtype.get() else t.zeros(size, dtype=dtype)]


register(
    "block_diag(Tensor[]... tensors)",
    doc="Matrices one below and beside the other, zeros elsewhere; vectors are rows.",
    define=_block_diag,
    on=("torch",),
    samples=(
        Sample("torch.block_diag(x, y)", x=(2, 3), y=(1, 2)),
        Sample("torch.block_diag(x, y, x)", x=(2,), y=()),
        Sample("torch.block_diag(x, i)", x=(2, 1), i=In((2, 2), 0, 5, "int64")),
        # PyTorch's gradient of y is that of the rows above: it passes over the empty row of x.
        Sample("torch.block_diag(x, y)", x=(0,), y=(2, 2), grad=False),
        Sample("torch.block_diag(x, y)", x=(1, 0), y=(2, 2)),
        Sample("torch.block_diag(x)", x=(2, 2)),
    ),
)
