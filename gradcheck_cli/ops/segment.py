"""Reductions of segments: a dimension cut into pieces, given by their lengths or their bounds."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import dim_of, register, shape_of
from gradcheck_cli.ops.cumulative import product_of_others
from gradcheck_cli.ops.windows import product
from gradcheck_cli.schema import Invalid

_REDUCTIONS = {
    "sum": (np.add, 0.0),
    "mean": (np.add, 0.0),
    "max": (np.maximum, -np.inf),
    "min": (np.minimum, np.inf),
    "prod": (np.multiply, 1.0),
}
_OLD_NAMES = {"amax": "max", "amin": "min"}


def _reduction(reduce: str) -> str:
    return _OLD_NAMES.get(reduce, reduce)


def _segment_reduce(
    x: Expr,
    lengths: Expr | None,
    indices: Expr | None,
    offsets: Expr | None,
    reduce: str,
    axis: int,
    unsafe: bool,
    initial: Any,
) -> Type:
    if _reduction(reduce) not in _REDUCTIONS:
        msg = f"segment_reduce() has no reduction {reduce!r}"
        raise Invalid("GC014", msg, f"use one of {', '.join(_REDUCTIONS)}", "reduce")
    if x.dtype.kind != "f":
        msg = f"segment_reduce() needs a floating-point tensor, not {x.dtype.name}"
        raise Invalid("GC016", msg, "give the input a floating dtype", "data")
    if indices is not None:
        msg = "segment_reduce() doesn't take `indices` yet, in PyTorch either"
        raise Invalid("GC014", msg, "give lengths= or offsets=", "indices")
    bounds, name = (lengths, "lengths") if lengths is not None else (offsets, "offsets")
    if bounds is None:
        msg = "segment_reduce() has no segments"
        raise Invalid("GC014", msg, "give lengths= or offsets=", "lengths")
    if bounds.dtype not in (dtypes.int32, dtypes.int64):
        msg = f"{name} are whole numbers (int64 or int32), not {bounds.dtype.name}"
        raise Invalid("GC016", msg, "draw them with `sample: integers`", name)
    d = dim_of(axis, x.ndim, "axis")
    if d != bounds.ndim - 1 or bounds.shape[:-1] != x.shape[:d] or not x.ndim:
        msg = f"{name} of shape {bounds.shape} don't cut dimension {d} of shape {x.shape}"
        hint = f"its shape must begin with {x.shape[:d]}, and have one dimension more"
        raise Invalid("GC015", msg, hint, name)
    count = bounds.shape[-1] - (name == "offsets")
    if count + (name == "offsets") < 1:
        raise Invalid("GC015", f"{name} must not be empty", argument=name)
    return Type((*x.shape[:d], count, *x.shape[d + 1 :]), x.dtype)


def _bounds(lengths: Any, offsets: Any, size: int, *, unsafe: bool) -> tuple[Any, Any]:
    """Where each segment begins and ends. Raises Invalid where that isn't in the dimension."""
    if lengths is None:
        starts, ends = offsets[..., :-1], offsets[..., 1:]
    else:
        ends = np.cumsum(lengths, axis=-1)
        starts = ends - lengths
        if not unsafe and (ends[..., -1] != size).any():
            msg = f"the lengths of segments add up to {int(ends[..., -1].flat[0])}, not to {size}"
            raise Invalid("GC014", msg, "unsafe=True leaves elements out", "lengths")
    name = "offsets" if lengths is None else "lengths"
    if starts.size and ((ends < starts).any() or starts.min() < 0 or ends.max() > size):
        msg = f"{name} must give segments one after the other within {size} elements"
        raise Invalid("GC014", msg, f"check the values of `{name}`", name)
    return starts, ends


def _kernel(
    x: Any,
    lengths: Any,
    indices: Any,
    offsets: Any,
    reduce: str,
    axis: int,
    unsafe: bool,
    initial: Any,
) -> Any:
    d, reduce = axis % x.ndim, _reduction(reduce)
    ufunc, identity = _REDUCTIONS[reduce]
    starts, ends = _bounds(lengths, offsets, x.shape[d], unsafe=unsafe)
    batch, rest = product(x.shape[:d]), product(x.shape[d + 1 :])
    rows = np.reshape(x, (batch * x.shape[d], rest))
    # One row more, so that a last segment may end behind the last element.
    rows = np.concatenate([rows, np.zeros((1, rest), x.dtype)])
    first = np.arange(batch).reshape((*x.shape[:d], 1)) * x.shape[d]
    pairs = np.stack([starts + first, ends + first], axis=-1).reshape(-1)
    shape = (*starts.shape, *x.shape[d + 1 :])
    if not pairs.size:
        return np.zeros(shape, x.dtype)
    out = ufunc.reduceat(rows, pairs, axis=0)[::2].reshape(shape)
    counts = (ends - starts).reshape((*starts.shape, *[1] * (x.ndim - 1 - d)))
    start = identity if initial is None else initial
    out = ufunc(np.where(counts > 0, out, identity), start)
    if reduce == "mean":
        empty = np.nan if initial is None else start
        return np.where(counts > 0, out / np.maximum(counts, 1).astype(x.dtype), empty)
    return out


def _vjp(
    g: Expr,
    out: Expr,
    x: Expr,
    lengths: Expr | None,
    indices: Expr | None,
    offsets: Expr | None,
    reduce: str,
    axis: int,
    unsafe: bool,
    initial: Any,
) -> Any:
    """Every element takes the value of its segment; in none, its gradient is zero.

    Of several largest, each takes an equal share. The product of the others in a segment is taken without
    dividing, over a table of segments and elements: right at zeros.
    """
    d, reduce = dim_of(axis, x.ndim), _reduction(reduce)
    if lengths is not None:
        ends = lengths.cumsum(-1)
        starts = ends - lengths
    else:
        assert offsets is not None
        starts, ends = offsets[..., :-1], offsets[..., 1:]
    place = t.arange(x.size(d))
    # Segments by elements: which are in which.
    member = (place >= starts.unsqueeze(-1)) & (place < ends.unsqueeze(-1))
    if reduce == "prod":
        start = 1.0 if initial is None else initial
        table = (*shape_of(member), *[1] * (x.ndim - 1 - d))
        held = member.reshape(table)
        rest = product_of_others(t.where(held, x.unsqueeze(d), 1.0), d + 1)
        return t.where(held, (g * start).unsqueeze(d + 1) * rest, 0.0).sum(d)
    shape = (*(x.size(e) for e in range(d + 1)), *[1] * (x.ndim - 1 - d))
    segment = member.long().argmax(-2).reshape(shape)
    inside = member.any((-2,)).reshape(shape)
    counts = (*(out.size(e) for e in range(d + 1)), *[1] * (x.ndim - 1 - d))

    def spread(value: Expr) -> Expr:
        return t.take_along_dim(value, segment, d)  # type: ignore[no-any-return]

    if reduce == "mean":
        g = g / (ends - starts).clamp(min=1).reshape(counts)
    elif reduce != "sum":
        inside = inside & (t.eq(x, spread(out)) | x.isnan())
        share = t.segment_reduce(
            inside.to(x.dtype), "sum", lengths=lengths, offsets=offsets, axis=axis, unsafe=unsafe
        )
        g = g / share.clamp(min=1)
    return t.where(inside, spread(g), 0.0), None, None, None


_X = In(value=[1.0, 2.0, 3.0, 0.0, 5.0, 4.0])
_ZEROS = In(value=[[1.0, 0.0, 2.0, 0.0, 0.0, 3.0], [0.0, 2.0, 4.0, -1.0, 0.5, 3.0]])
_CUT = In(value=[2, 0, 3, 1], dtype="int64")
_CUTS = In(value=[[1, 2, 3], [3, 0, 3]], dtype="int64")
_OFFSETS = In(value=[0, 2, 2, 5], dtype="int64")

register(
    "segment_reduce(Tensor data, str reduce, *, Tensor? lengths=None, Tensor? indices=None, "
    "Tensor? offsets=None, int axis=0, bool unsafe=False, Scalar? initial=None)",
    doc="The sum, mean, largest, smallest or product of each segment of a dimension.",
    infer=_segment_reduce,
    kernel=_kernel,
    vjp=_vjp,
    on=("torch",),
    convention="equal elements share the gradient evenly; it is 0 where `initial` is chosen",
    # PyTorch has no second derivative of it.
    samples=(
        *(
            Sample(f"torch.segment_reduce(x, '{name}', lengths=n)", x=_X, n=_CUT, second=False)
            for name in _REDUCTIONS
            if name != "mean"
        ),
        Sample("torch.segment_reduce(x, 'mean', lengths=n, initial=2)", x=_X, n=_CUT, second=False),
        Sample(
            "torch.segment_reduce(x, 'sum', offsets=n, axis=0)", x=(6, 2), n=_OFFSETS, second=False
        ),
        Sample(
            "torch.segment_reduce(x, 'prod', lengths=n, axis=1, initial=3)",
            x=_ZEROS,
            n=_CUTS,
            second=False,
        ),
        Sample(
            "torch.segment_reduce(x, 'max', lengths=n, axis=1, unsafe=True, initial=0.1)",
            x=(2, 7, 2),
            n=_CUTS,
            second=False,
        ),
        Sample("torch.segment_reduce(x, 'mean', offsets=n)", x=(5,), n=_OFFSETS, second=False),
    ),
)
