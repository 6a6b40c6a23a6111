"""Sorting: the ordered elements of a dimension, the largest of them, and where they stood."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import as_tensor, dim_of, register
from gradcheck_cli.ops.index import resized
from gradcheck_cli.schema import Invalid


def _order(x: Any, dim: int, descending: bool) -> Any:
    """The permutation that sorts; equal elements keep their order, NaN is the largest."""
    if not np.ndim(x):
        return np.zeros((), np.int64)
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    backwards = np.argsort(np.flip(x, dim), axis=dim, kind="stable")
    return np.flip(x.shape[dim] - 1 - backwards, dim)


def _pick(x: Any, order: Any, dim: int) -> tuple[Any, Any]:
    return (np.take_along_axis(x, order, dim) if np.ndim(x) else x), order


def _sort(x: Expr, *, dim: int, descending: bool) -> tuple[Type, Type]:
    dim_of(dim, x.ndim)
    return Type(x.shape, x.dtype), Type(x.shape, dtypes.int64)


def _sort_vjp(g: Expr, out: Expr, x: Expr, *, dim: int, descending: bool, output: int) -> Any:
    if output:
        return None
    places = x.sort(dim, descending).indices
    return t.zeros_like(x).scatter(dim, places, as_tensor(g, out))


_TIED = In((6, 2), 0, 3, "int64")
_TIES = "equal elements keep their order; the gradient goes where each element came from"

register(
    "sort(Tensor input, int dim=-1, bool descending=False)",
    doc="The elements of a dimension in order, and where they stood.",
    infer=_sort,
    kernel=lambda x, dim, descending: _pick(x, _order(x, dim, descending), dim),
    vjp=_sort_vjp,
    outputs=("values", "indices"),
    method=True,
    convention=_TIES,
    samples=(
        Sample("torch.sort(x).values", x=(3, 4)),
        Sample("x.sort(0, descending=True)[0]", x=(3, 4)),
        Sample("x.sort(1, True).indices", x=(2, 3)),
        Sample("x.sort()[0]", x=()),
        Sample("x.sort(-1).values", x=(2, 0)),
    ),
)
register(
    "sort.stable(Tensor input, *, bool stable, int dim=-1, bool descending=False)",
    doc="The elements of a dimension in order; here every sort is stable.",
    define=lambda x, stable, dim, descending: x.sort(dim, descending),
    samples=(
        Sample("x.sort(stable=True)[0]", x=(2, 3)),
        Sample("torch.sort(i, stable=True, dim=0, descending=True)[1]", i=_TIED),
    ),
)
register(
    "argsort(Tensor input, int dim=-1, bool descending=False)",
    doc="Where the elements of a dimension stood before sorting.",
    define=lambda x, dim, descending: x.sort(dim, descending).indices,
    samples=(Sample("x.argsort()", x=(3, 4)), Sample("torch.argsort(x, 0, True)", x=(3, 2))),
)
register(
    "argsort.stable(Tensor input, *, bool stable, int dim=-1, bool descending=False)",
    doc="Where the elements of a dimension stood before sorting; here every sort is stable.",
    define=lambda x, stable, dim, descending: x.sort(dim, descending).indices,
    samples=(Sample("i.argsort(stable=True, dim=0)", i=_TIED),),
)
register(
    "msort(Tensor input)",
    doc="The elements of the first dimension in order.",
    define=lambda x: x.sort(0).values,
    samples=(Sample("torch.msort(x)", x=(4, 2)),),
)


def _topk(x: Expr, *, k: int, dim: int, **_: bool) -> tuple[Type, Type]:
    d = dim_of(dim, x.ndim)
    size = x.shape[d] if x.ndim else 1
    if not 0 <= k <= size:
        msg = f"topk() can't take {k} elements of dimension {d} of size {size}"
        raise Invalid("GC014", msg, f"use 0 to {size}", "k")
    shape = resized(x.shape, d, k) if x.ndim else ()
    return Type(shape, x.dtype), Type(shape, dtypes.int64)


def _topk_kernel(x: Any, k: int, dim: int, largest: bool, **_: bool) -> tuple[Any, Any]:
    order = _order(x, dim, largest)
    return _pick(x, np.take(order, np.arange(k), dim) if np.ndim(x) else order, dim)


def _topk_vjp(g: Expr, out: Expr, x: Expr, *, output: int, **attributes: Any) -> Any:
    if output:
        return None
    places = x.topk(**attributes).indices
    return t.zeros_like(x).scatter(attributes["dim"], places, as_tensor(g, out))


register(
    "topk(Tensor input, int k, int dim=-1, bool largest=True, bool sorted=True)",
    doc="The k largest or smallest elements of a dimension in order, and where they stood.",
    infer=_topk,
    kernel=_topk_kernel,
    vjp=_topk_vjp,
    outputs=("values", "indices"),
    method=True,
    convention=_TIES,
    samples=(
        Sample("torch.topk(x, 2).values", x=(3, 4)),
        Sample("x.topk(1, 0, largest=False)[0]", x=(3, 4)),
        Sample("x.topk(2, dim=-1).indices", x=(2, 3)),
        Sample("x.topk(1)[0]", x=()),
        Sample("x.topk(0).values", x=(2, 3)),
    ),
)
