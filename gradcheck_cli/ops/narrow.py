"""Stretches of a dimension, by name instead of by subscript."""

from __future__ import annotations

from typing import Any

from gradcheck_cli.graph import Expr, In, Sample, make, t
from gradcheck_cli.ops._common import dim_of, register
from gradcheck_cli.ops.index import SLICE, need_dim, number
from gradcheck_cli.schema import Invalid


def _narrow(x: Expr, dim: int, start: Any, length: Any) -> Any:
    need_dim(x, "narrow()")
    d = dim_of(dim, x.ndim)
    first, count, size = number(start), number(length), x.shape[d]
    first += size if first < 0 else 0
    if not 0 <= first <= size or count < 0 or first + count > size:
        msg = f"start {number(start)} and length {count} exceed dimension {d} of size {size}"
        raise Invalid("GC015", msg)
    whole = first == 0 and not isinstance(length, Expr) and count == size
    if whole:
        return x
    end = length if first == 0 else length + first  # kept symbolic where the length is
    return make(SLICE, (x,), {"dim": d, "start": first, "end": end, "step": 1})


def _narrow_from(x: Expr, start: Expr, *, dim: int, length: Any) -> Any:
    """A stretch that begins where a tensor says: the shape is known, the places only later."""
    need_dim(x, "narrow()")
    d = dim_of(dim, x.ndim)
    if start.ndim or start.dtype.kind != "i":
        what = f"one of {start.dtype.name} and shape {start.shape}"
        msg = f"narrow() begins at a number or at a whole number in a scalar tensor, not in {what}"
        raise Invalid("GC016", msg, "take one element: start[0]", "start")
    count, size = number(length), x.shape[d]
    if not 0 <= count <= size:
        raise Invalid(
            "GC015", f"length {count} exceeds dimension {d} of size {size}", None, "length"
        )
    first = t.where(start < 0, start + x.size(d), start).long()
    return x.index_select(d, first + t.arange(length))


register(
    "narrow(Tensor input, int dim, Scalar start, Scalar length)",
    doc="A stretch of a dimension, by its first place and its length.",
    define=_narrow,
    aliases=("narrow_copy",),
    samples=(
        Sample("x.narrow(1, 1, 2)", x=(2, 4)),
        Sample("torch.narrow(x, -1, -2, 2)", x=(3,)),
        Sample("torch.narrow_copy(x, 0, 1, 0)", x=(3, 2)),
    ),
)
register(
    "narrow.tensor(Tensor input, int dim, Tensor start, Scalar length)",
    doc="A stretch of a dimension that begins where a tensor says.",
    define=_narrow_from,
    on=("torch", "Tensor"),
    samples=(
        Sample("x.narrow(1, i, 2)", x=(2, 4), i=In(value=1, dtype="int64")),
        Sample("torch.narrow(x, 0, i, 3)", x=(5, 2), i=In(value=-3, dtype="int32")),
    ),
)


def _slice(x: Expr, dim: int, start: Any, end: Any, step: Any) -> Any:
    need_dim(x, "slice_copy()")
    subscript = slice(start, end, None if number(step) == 1 else step)
    return x[(*(slice(None),) * dim_of(dim, x.ndim), subscript)]


register(
    "slice_copy(Tensor input, int dim=0, Scalar? start=None, Scalar? end=None, Scalar step=1)",
    doc="A stretch of a dimension: what a subscript such as `x[:, 1:3]` gives.",
    define=_slice,
    on=("torch",),
    samples=(
        Sample("torch.slice_copy(x)", x=(3,)),
        Sample("torch.slice_copy(x, 1, 1, -1)", x=(2, 4)),
        Sample("torch.slice_copy(x, dim=-1, start=-4, end=9, step=3)", x=(2, 5)),
    ),
)
