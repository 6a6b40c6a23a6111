"""Where values belong in sorted sequences: whole numbers, without a gradient."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.schema import Invalid


def _side(right: bool, side: str | None) -> Literal["left", "right"]:
    """Which of equal elements the place is at. Raises Invalid (GC014)."""
    if side not in (None, "left", "right"):
        raise Invalid("GC014", f"there is no side {side!r}", "use 'left' or 'right'", "side")
    if side == "left" and right:
        raise Invalid("GC014", "side='left' and right=True contradict each other", None, "side")
    return "right" if right or side == "right" else "left"


def _searched(
    sorted_sequence: Expr,
    input: Any,
    sorter: Expr | None,
    *,
    out_int32: bool,
    right: bool,
    side: str | None,
) -> Type:
    _side(right, side)
    sequence, shape = sorted_sequence.shape, input.shape if isinstance(input, Expr) else ()
    if not sequence:
        msg = "searchsorted() needs a sorted sequence of at least one dimension, not a scalar"
        raise Invalid("GC015", msg, argument="sorted_sequence")
    if len(sequence) > 1 and sequence[:-1] != shape[:-1]:
        msg = f"searchsorted() can't find values of shape {shape} in sequences of shape {sequence}"
        raise Invalid("GC015", msg, "one sequence for each row of values, or one for all", "input")
    if sorter is not None:
        if sorter.shape != sequence:
            msg = f"the sorter has the shape {sorter.shape}, the sequence {sequence}"
            raise Invalid("GC015", msg, "sequence.argsort()", "sorter")
        if sorter.dtype is not dtypes.int64:
            msg = f"the sorter is a tensor of int64, not {sorter.dtype.name}"
            raise Invalid("GC016", msg, "sequence.argsort()", "sorter")
    return Type(shape, dtypes.int32 if out_int32 else dtypes.int64)


def _search(
    sequence: Any,
    values: Any,
    sorter: Any,
    *,
    out_int32: bool,
    right: bool,
    side: str | None,
) -> Any:
    end = _side(right, side)
    dtype = np.int32 if out_int32 else np.int64
    if sorter is not None:
        sequence = np.take_along_axis(sequence, sorter, -1)
    if sequence.ndim == 1:
        return np.asarray(np.searchsorted(sequence, values, end), dtype)
    # A stable sort of each row's sequence and values together says how many of the one precede the other.
    values = np.asarray(values)
    parts = (sequence, values) if end == "right" else (values, sequence)
    order = np.argsort(np.concatenate(parts, -1), -1, kind="stable")
    width = sequence.shape[-1]
    first = 0 if end == "right" else values.shape[-1]
    of_sequence = (order >= first) & (order < first + width)
    before = np.empty(order.shape, dtype)
    np.put_along_axis(before, order, np.cumsum(of_sequence, -1, dtype=dtype), -1)
    return before[..., width:] if end == "right" else before[..., : values.shape[-1]]


def _bucketize(input: Any, boundaries: Expr, *, out_int32: bool, right: bool) -> Any:
    if boundaries.ndim != 1:
        msg = f"bucketize() needs a vector of boundaries, not a tensor of shape {boundaries.shape}"
        raise Invalid("GC015", msg, "searchsorted() takes one sequence for each row", "boundaries")
    return t.searchsorted(boundaries, input, out_int32=out_int32, right=right)


_SORTED = In(value=[-0.7, 0.1, 0.1, 0.9])
_WHOLE = In(value=[[1, 3, 5, 7], [2, 4, 6, 8]], dtype="int64")
_OPTIONS = "bool out_int32=False, bool right=False"

register(
    f"searchsorted(Tensor sorted_sequence, Tensor|Scalar input, *, {_OPTIONS}, str? side=None, "
    "Tensor? sorter=None)",
    doc="Where values would be inserted in sorted sequences.",
    infer=_searched,
    kernel=_search,
    on=("torch",),
    samples=(
        Sample("torch.searchsorted(s, x)", s=_SORTED, x=(2, 3)),
        Sample("torch.searchsorted(s, x, side='right', out_int32=True)", s=_SORTED, x=_SORTED),
        Sample("torch.searchsorted(s, i)", s=_WHOLE, i=In((2, 3), 0, 9, "int64")),
        Sample("torch.searchsorted(s, i, right=True)", s=_WHOLE, i=In((2, 3), 0, 9, "int64")),
        Sample("torch.searchsorted(x, y, sorter=x.argsort())", x=(3, 4), y=(3, 2)),
        Sample("torch.searchsorted(s, 0.1)", s=_SORTED),
    ),
)
register(
    f"bucketize(Tensor|Scalar input, Tensor boundaries, *, {_OPTIONS})",
    doc="Between which boundaries values lie.",
    define=_bucketize,
    on=("torch",),
    samples=(
        Sample("torch.bucketize(x, s)", s=_SORTED, x=(2, 3)),
        Sample("torch.bucketize(x, s, right=True)", s=_SORTED, x=_SORTED),
        Sample("torch.bucketize(0.1, s)", s=_SORTED),
    ),
)
