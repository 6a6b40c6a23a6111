"""Bags of embeddings: sums, means or maxima of the rows of a table that indices name."""

from __future__ import annotations

import math
from typing import Any

from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.embedding import embedded
from gradcheck_cli.schema import Invalid


def _check(
    input: Expr, offsets: Expr | None, per_sample_weights: Expr | None, mode: str, options: bool
) -> None:
    """Refuse what PyTorch refuses. Raises Invalid (GC014, GC015, GC016)."""
    if mode not in ("sum", "mean", "max"):
        raise Invalid("GC014", f"there is no mode {mode!r}", "use 'sum', 'mean' or 'max'", "mode")
    if mode == "max" and options:
        msg = "embedding_bag() with mode='max' has no scale_grad_by_freq and no sparse gradient"
        raise Invalid("GC014", msg, argument="mode")
    if per_sample_weights is not None and mode != "sum":
        msg = f"per_sample_weights are for mode='sum', not for {mode!r}"
        raise Invalid("GC014", msg, argument="per_sample_weights")
    if per_sample_weights is not None and per_sample_weights.shape != input.shape:
        msg = (
            f"per_sample_weights have the shape {per_sample_weights.shape}, the input {input.shape}"
        )
        raise Invalid("GC015", msg, "one weight for each index", "per_sample_weights")
    if input.ndim not in (1, 2):
        msg = f"embedding_bag() needs indices of one or two dimensions, not of shape {input.shape}"
        raise Invalid("GC015", msg, "a bag a row, or all in one vector with offsets", "input")
    if input.ndim == 2 and not input.shape[1]:
        msg = f"bags of no indices can't be rows: the input has the shape {input.shape}"
        raise Invalid("GC015", msg, "give the indices in one vector, with offsets", "input")
    if input.ndim == 2 and offsets is not None:
        msg = "of an input with two dimensions each row is a bag, and there are no offsets"
        raise Invalid("GC014", msg, "input.flatten() with offsets", "offsets")
    if input.ndim == 1 and (offsets is None or offsets.ndim != 1):
        msg = "an input of one dimension needs a vector of offsets, where each bag begins"
        raise Invalid("GC014", msg, "torch.tensor([0, 3])", "offsets")
    if offsets is not None and offsets.dtype.name not in ("int64", "int32"):
        msg = f"embedding_bag() needs whole numbers as offsets, not {offsets.dtype.name}"
        raise Invalid("GC016", msg, argument="offsets")


def _embedding_bag(
    input: Expr,
    weight: Expr,
    offsets: Expr | None,
    per_sample_weights: Expr | None,
    *,
    max_norm: float | None,
    scale_grad_by_freq: bool,
    mode: str,
    sparse: bool,
    include_last_offset: bool,
    padding_idx: int | None,
    **_: float,
) -> Any:
    _check(input, offsets, per_sample_weights, mode, scale_grad_by_freq or sparse)
    rows, padding = embedded(
        input, weight, max_norm, padding_idx, scale_grad_by_freq=scale_grad_by_freq
    )
    kept = None if padding is None else t.ne(input, padding)
    if per_sample_weights is not None:
        if per_sample_weights.dtype is not weight.dtype:
            found = f"{per_sample_weights.dtype.name} and {weight.dtype.name}"
            msg = f"embedding_bag() needs one dtype, not {found}"
            raise Invalid("GC016", msg, None, "per_sample_weights")
        rows = rows * per_sample_weights.unsqueeze(-1)
    if kept is not None:
        kept = kept.unsqueeze(-1)
        rows = t.where(kept, rows, -math.inf if mode == "max" else 0.0)
    if offsets is None:
        return _of_rows(rows, kept, mode)
    count = offsets.size(0) - 1 if include_last_offset else offsets.size(0)
    starts = offsets.narrow(0, 0, count)
    # The bag of each index is the last that has begun.
    bag = t.searchsorted(starts, t.arange(input.size(0), dtype=starts.dtype), right=True) - 1
    return _of_bags(rows, kept, bag, count, mode)


def _of_rows(rows: Expr, kept: Expr | None, mode: str) -> Any:
    """Bags of one length: (bag, index, feature)."""
    if mode == "max":
        largest = rows.max(1).values
        return largest if kept is None else t.where(kept.any(1), largest, 0.0)
    total = rows.sum(1)
    if mode == "sum":
        return total
    return total / (rows.size(1) if kept is None else kept.sum(1).clamp(min=1))


def _of_bags(rows: Expr, kept: Expr | None, bag: Expr, count: Any, mode: str) -> Any:
    """Bags one after the other: (index, feature), and the bag of each index."""
    sums = t.zeros((count, rows.size(1)), dtype=rows.dtype)
    if mode == "sum" or not rows.shape[0]:
        return sums.index_add(0, bag, rows)
    ones = t.ones_like(bag) if kept is None else kept.squeeze(1).long()
    used = t.zeros_like(t.arange(count)).index_add(0, bag, ones).unsqueeze(1)
    if mode == "mean":
        return sums.index_add(0, bag, rows) / used.clamp(min=1)
    # The first of the largest in each bag: PyTorch gives it the whole gradient.
    largest = sums.index_reduce(0, bag, rows.detach(), "amax", include_self=False)
    last = rows.size(0) - 1
    places = t.arange(rows.size(0)).unsqueeze(1)
    found = t.where(rows.detach() < largest[bag], last, places)
    first = t.full((count, rows.size(1)), last).index_reduce(0, bag, found, "amin")
    return t.where(used > 0, rows.gather(0, first), 0.0)


_BAGS = In(value=[0, 3], dtype="int64")
_WITH_EMPTY = In(value=[0, 2, 2, 6], dtype="int64")
_INDICES = In(value=[1, 4, 4, 0, 2, 4], dtype="int64")

register(
    "embedding_bag(Tensor input, Tensor weight, Tensor? offsets=None, float? max_norm=None, "
    "float norm_type=2, bool scale_grad_by_freq=False, str mode='mean', bool sparse=False, "
    "Tensor? per_sample_weights=None, bool include_last_offset=False, int? padding_idx=None)",
    doc="The sum, mean or largest of the rows of a table that each bag of indices names.",
    define=_embedding_bag,
    on=("F",),
    convention="of equal largest elements in a bag the first gets the gradient",
    samples=(
        Sample("F.embedding_bag(i, w)", i=In((2, 3), 0, 5, "int64"), w=(5, 3)),
        Sample("F.embedding_bag(i, w, o, mode='sum')", i=_INDICES, w=(5, 3), o=_BAGS),
        Sample("F.embedding_bag(i, w, o)", i=_INDICES, w=(5, 3), o=_WITH_EMPTY),
        Sample("F.embedding_bag(i, w, o, mode='max')", i=_INDICES, w=(5, 3), o=_WITH_EMPTY),
        Sample("F.embedding_bag(i, w, mode='max')", i=In((2, 3), 0, 5, "int64"), w=(5, 3)),
        Sample(
            "F.embedding_bag(i, w, o, mode='sum', per_sample_weights=p)",
            i=_INDICES,
            w=(5, 3),
            o=_BAGS,
            p=(6,),
            second=False,  # PyTorch has none
        ),
        Sample(
            "F.embedding_bag(i, w, o, include_last_offset=True, padding_idx=4)",
            i=_INDICES,
            w=(5, 3),
            o=_WITH_EMPTY,
        ),
        Sample(
            "F.embedding_bag(i, w, o, mode='max', padding_idx=-1)", i=_INDICES, w=(5, 3), o=_BAGS
        ),
        Sample("F.embedding_bag(i, w, padding_idx=0)", i=In((3, 2), 0, 3, "int64"), w=(5, 2)),
        Sample(
            "F.embedding_bag(i, w, mode='sum', scale_grad_by_freq=True)",
            i=In(value=[[1, 1], [0, 1]], dtype="int64"),
            w=(5, 2),
        ),
    ),
)
