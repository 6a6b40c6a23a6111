"""Scattering with a reduction: the elements that meet at one place are multiplied, averaged or compared."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Op, Sample, Type, make, t
from gradcheck_cli.ops._common import as_tensor, register
from gradcheck_cli.ops.gather import grid, scatter_type
from gradcheck_cli.ops.index import writable
from gradcheck_cli.schema import Invalid

_UFUNCS = {"prod": np.multiply, "amax": np.maximum, "amin": np.minimum}


def _least(dtype: Any) -> Any:
    return -np.inf if dtype.kind in "fc" else False if dtype.kind == "b" else np.iinfo(dtype).min


def _greatest(dtype: Any) -> Any:
    return np.inf if dtype.kind in "fc" else True if dtype.kind == "b" else np.iinfo(dtype).max


_NEUTRAL = {"prod": lambda _: 1, "amax": _least, "amin": _greatest}


def _type(x: Expr, index: Expr, src: Expr, *, dim: int, **_: Any) -> Type:
    return scatter_type("scatter_reduce", x, index, src, dim)


def _reduced(x: Any, index: Any, src: Any, *, dim: int, reduce: str, include_self: bool) -> Any:
    out = writable(x, src)
    whole, index = np.atleast_1d(out), np.atleast_1d(index)
    if not index.size:
        return out
    key = grid(whole, dim, index)
    if not include_self:
        whole[key] = _NEUTRAL[reduce](out.dtype)
    _UFUNCS[reduce].at(whole, key, np.atleast_1d(src))
    return whole.reshape(out.shape)


def _kept(to_x: Expr, dim: int, index: Expr, include_self: bool) -> Any:
    """What the input receives: nothing at the places where it took no part."""
    return to_x if include_self else to_x.scatter(dim, index, 0.0)


def _prod_vjp(
    g: Expr,
    out: Expr,
    x: Expr,
    index: Expr,
    src: Expr,
    *,
    dim: int,
    reduce: str,
    include_self: bool,
) -> tuple[Any, None, Any]:
    """The product over the factor; where a factor is the only zero, the product of the others."""
    g = as_tensor(g, out)
    ours = x.masked_fill(t.eq(x, 0), 1.0)
    to_x = g * ours.scatter_reduce(dim, index, src, reduce, include_self=include_self) / ours
    zero = t.eq(src, 0)
    zeros = t.zeros_like(x).scatter_add(dim, index, zero.to(x.dtype)).gather(dim, index)
    alone = zero & t.eq(zeros, 1)
    others = x.scatter_reduce(
        dim, index, src.masked_fill(alone, 1.0), reduce, include_self=include_self
    )
    to_src = t.where(
        alone,
        (g * others).gather(dim, index),
        (g * out).gather(dim, index) / src.masked_fill(zero, 1.0),
    )
    return _kept(to_x, dim, index, include_self), None, to_src


def _extreme_vjp(
    g: Expr,
    out: Expr,
    x: Expr,
    index: Expr,
    src: Expr,
    *,
    dim: int,
    reduce: str,
    include_self: bool,
) -> tuple[Any, None, Any]:
    ours = t.eq(x, out).to(x.dtype)
    theirs = t.eq(src, out.gather(dim, index)).to(x.dtype)
    share = as_tensor(g, out) / ours.scatter_add(dim, index, theirs)
    return _kept(ours * share, dim, index, include_self), None, theirs * share.gather(dim, index)


def _scatter_reduce(
    x: Expr, index: Expr, src: Expr, *, dim: int, reduce: str, include_self: bool
) -> Any:
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        msg = f"scatter_reduce() has no reduce {reduce!r}"
        raise Invalid("GC014", msg, "use 'sum', 'prod', 'mean', 'amax' or 'amin'", "reduce")
    if reduce == "mean" and x.dtype.kind == "b":
        msg = "scatter_reduce() has no mean of masks (dtype bool)"
        raise Invalid("GC016", msg, "make numbers of it first: mask.double()", "input")
    _type(x, index, src, dim=dim)
    for d, size in enumerate(index.shape):
        if index.elements and src.ndim and size < src.shape[d]:  # only that part of it is used
            src = src.narrow(d, 0, index.size(d))
    if reduce in _UFUNCS:
        attributes = {"dim": dim, "reduce": reduce, "include_self": include_self}
        return make(_PROD if reduce == "prod" else _EXTREME, (x, index, src), attributes)
    start = x if include_self else x.scatter(dim, index, 0)
    total = start.scatter_add(dim, index, src)
    if reduce == "sum":
        return total
    own = t.ones_like(x) if include_self else t.zeros_like(x)
    count = own.scatter_add(dim, index, t.ones_like(src)).clamp(min=1)
    return total / count if x.dtype.is_floating else t.floor_divide(total, count)


_SCHEMA = "(Tensor input, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True)"
_PLACES = In(value=[[0, 3], [1, 1], [2, 1]], dtype="int64")
_MEETING = In(value=[0, 2, 0, 2, 2], dtype="int64")

register(
    f"scatter_reduce{_SCHEMA}",
    doc="The input reduced with the elements of src at the places that an index tensor names.",
    define=_scatter_reduce,
    samples=(
        Sample("x.scatter_reduce(1, i, y, 'sum')", x=(3, 4), y=(3, 2), i=_PLACES),
        Sample(
            "torch.scatter_reduce(x, -2, i, y, 'sum', include_self=False)",
            x=(4, 2),
            y=(3, 2),
            i=_PLACES,
        ),
        Sample("x.scatter_reduce(1, i, y, 'mean')", x=(3, 4), y=(3, 2), i=_PLACES),
        Sample("x.scatter_reduce(0, i, y, 'mean', include_self=False)", x=(4,), y=(5,), i=_MEETING),
        Sample("x.scatter_reduce(0, i, y, 'mean')", x=(), y=(), i=In(value=0, dtype="int64")),
        # PyTorch has no gradient where src is larger than index.
        Sample("x.scatter_reduce(1, i, y, 'mean')", grad=False, x=(3, 4), y=(4, 3), i=_PLACES),
        Sample(
            "j.scatter_reduce(0, i, k, 'mean')",
            j=In((4,), -9, 9, "int64"),
            k=In((5,), -9, 9, "int64"),
            i=_MEETING,
        ),
    ),
)
_PROD: Op = register(
    f"scatter_reduce.prod{_SCHEMA}",
    doc="scatter_reduce with a product.",
    infer=_type,
    kernel=_reduced,
    vjp=_prod_vjp,
    method=True,
    analytic=True,
    samples=(
        Sample("x.scatter_reduce(1, i, y, 'prod')", x=(3, 4), y=(3, 2), i=_PLACES),
        Sample(
            "torch.scatter_reduce(x, 0, i, y, 'prod', include_self=False)",
            x=(4,),
            y=(5,),
            i=_MEETING,
        ),
        Sample("x.scatter_reduce(0, i, y, 'prod')", x=(), y=(), i=In(value=0, dtype="int64")),
        Sample("x.scatter_reduce(0, i, y, 'prod')", x=(2,), y=(0,), i=In((0,), 0, 2, "int64")),
        # Zeros: one alone gets the product of the others, of several none gets anything.
        Sample(
            "x.scatter_reduce(0, i, y, 'prod')",
            second=False,
            x=In(value=[2.0, 0.0, 3.0]),
            y=In(value=[0.0, 2.0, 5.0, 0.0, 0.0]),
            i=_MEETING,
        ),
    ),
)
_EXTREME: Op = register(
    f"scatter_reduce.extreme{_SCHEMA}",
    doc="scatter_reduce with the largest or smallest element.",
    infer=_type,
    kernel=_reduced,
    vjp=_extreme_vjp,
    method=True,
    convention="equal elements share the gradient evenly; the input's counts among them even where it "
    "takes no part",
    samples=(
        Sample("x.scatter_reduce(1, i, y, 'amax')", x=(3, 4), y=(3, 2), i=_PLACES),
        Sample(
            "torch.scatter_reduce(x, 0, i, y, 'amin', include_self=False)",
            x=(4,),
            y=(5,),
            i=_MEETING,
        ),
        Sample("x.scatter_reduce(0, i, y, 'amax')", x=(), y=(), i=In(value=0, dtype="int64")),
        Sample(
            "j.scatter_reduce(0, i, k, 'amin', include_self=False)",
            j=In((4,), -9, 9, "int64"),
            k=In((5,), -9, 9, "int64"),
            i=_MEETING,
        ),
    ),
)
