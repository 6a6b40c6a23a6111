"""Embedding: the rows of a table that indices name."""

from __future__ import annotations

from typing import Any

from gradcheck_cli.graph import Expr, In, Sample, Type, make, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.gather import need_int64
from gradcheck_cli.ops.index import within
from gradcheck_cli.schema import Invalid


def _rows(
    weight: Expr, indices: Expr, padding_idx: int, scale_grad_by_freq: bool, sparse: bool
) -> Type:
    need_int64(indices, "embedding")
    if weight.ndim != 2:
        msg = f"embedding() needs a weight (rows, features), not a tensor of shape {weight.shape}"
        raise Invalid("GC015", msg, argument="weight")
    if padding_idx >= 0:
        raise Invalid("GC014", "here padding_idx is for F.embedding alone", None, "padding_idx")
    if scale_grad_by_freq:
        msg = "here scale_grad_by_freq is for F.embedding alone"
        raise Invalid("GC014", msg, None, "scale_grad_by_freq")
    return Type((*indices.shape, weight.shape[1]), weight.dtype)


def _rows_vjp(g: Expr, out: Expr, weight: Expr, indices: Expr, **_: Any) -> tuple[Any, None]:
    rows = g if indices.ndim == 1 else g.reshape((indices.numel(), weight.size(1)))
    return t.zeros_like(weight).index_add(0, indices.flatten(), rows), None


def _taking(count: int) -> Any:
    return lambda weight, indices: weight.take(within(indices, count, 0, negative=False), 0)


ROWS = register(
    "embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, "
    "bool sparse=False)",
    doc="The rows of a table that a tensor of indices names; the table comes first.",
    infer=_rows,
    kernel=lambda weight, indices, **_: weight.take(
        within(indices, len(weight), 0, negative=False), axis=0
    ),
    prepare=lambda node: _taking(node.inputs[0].shape[0]),
    vjp=_rows_vjp,
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.embedding(w, i)", i=In((2, 3), 0, 4, "int64"), w=(4, 3)),
        Sample("torch.embedding(w, i)", i=In((5,), 0, 3, "int32"), w=(3, 2)),
        Sample("torch.embedding(w, i)", i=In((), 0, 3, "int64"), w=(3, 2)),
        Sample("torch.embedding(w, i)", i=In((0,), 0, 3, "int64"), w=(3, 2)),
    ),
)


def embedded(
    input: Expr,
    weight: Expr,
    max_norm: float | None = None,
    padding_idx: int | None = None,
    *,
    scale_grad_by_freq: bool = False,
) -> tuple[Any, int | None]:
    """The rows that indices name, and padding_idx counted from the front. Raises Invalid (GC014, GC018)."""
    if max_norm is not None:
        msg = "max_norm changes the weight in place, and an expression has no side effects"
        raise Invalid("GC018", msg, "scale the weight before: F.normalize(weight)", "max_norm")
    attributes = {"padding_idx": -1, "scale_grad_by_freq": False, "sparse": False}
    rows = make(ROWS, (weight, input), attributes)
    if scale_grad_by_freq:
        # A row that is used n times learns from each use 1/n of what it would.
        fixed = make(ROWS, (weight.detach(), input), attributes)
        indices = input.flatten()
        ones = t.ones_like(indices, dtype=weight.dtype)
        uses = t.zeros((weight.size(0),), dtype=weight.dtype).index_add(0, indices, ones)
        rows = fixed + (rows - fixed) / uses[input].unsqueeze(-1)
    if padding_idx is None:
        return rows, None
    count = weight.shape[0]
    if not -count <= padding_idx < count:
        msg = f"padding_idx {padding_idx} is out of range for a weight of {count} rows"
        raise Invalid("GC014", msg, f"use {-count} to {count - 1}", "padding_idx")
    return rows, padding_idx % count


def _embedding(
    input: Expr,
    weight: Expr,
    padding_idx: int | None,
    max_norm: float | None,
    norm_type: float,
    scale_grad_by_freq: bool,
    sparse: bool,
) -> Any:
    rows, padding = embedded(
        input, weight, max_norm, padding_idx, scale_grad_by_freq=scale_grad_by_freq
    )
    if padding is None:
        return rows
    # The row for padding is used, but learns nothing.
    attributes = {"padding_idx": -1, "scale_grad_by_freq": False, "sparse": False}
    fixed = make(ROWS, (weight.detach(), input), attributes)
    return t.where(t.eq(input, padding).unsqueeze(-1), fixed, rows)


register(
    "embedding.F(Tensor input, Tensor weight, int? padding_idx=None, float? max_norm=None, "
    "float norm_type=2.0, bool scale_grad_by_freq=False, bool sparse=False)",
    doc="The rows of a table that a tensor of indices names; the row padding_idx gets no gradient.",
    define=_embedding,
    on=("F",),
    samples=(
        Sample("F.embedding(i, w)", i=In((2, 3), 0, 4, "int64"), w=(4, 3)),
        Sample("F.embedding(i, w, 1)", i=In(value=[[0, 1], [1, 3]], dtype="int64"), w=(4, 2)),
        Sample("F.embedding(i, w, padding_idx=-1)", i=In((4,), 0, 3, "int32"), w=(3, 2)),
        Sample(
            "F.embedding(i, w, scale_grad_by_freq=True)",
            i=In(value=[[0, 1], [1, 1]], dtype="int64"),
            w=(4, 2),
        ),
    ),
)
