"""Slices of a dimension that a vector of indices names: selected, added to, copied, filled, reduced."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Op, Sample, Type, make, t
from gradcheck_cli.ops._common import FEW, as_tensor, dim_of, register
from gradcheck_cli.ops.accumulate import add_at, few_rows, sum_rows
from gradcheck_cli.ops.gather import Key, need_int64
from gradcheck_cli.ops.index import resized, within, writable
from gradcheck_cli.schema import Invalid


def _index_vector(name: str, index: Expr) -> int:
    need_int64(index, name)
    if index.ndim > 1:
        msg = f"{name}() needs a vector of indices, not a tensor of shape {index.shape}"
        raise Invalid("GC015", msg, "index.flatten(), or a subscript: x[:, index]", "index")
    return index.elements


def _index_select(x: Expr, index: Expr, *, dim: int) -> Type:
    count = _index_vector("index_select", index)
    d = dim_of(dim, x.ndim)
    if not x.ndim and count != 1:
        raise Invalid("GC015", f"a scalar has one element to select, not {count}", None, "index")
    return Type(resized(x.shape, d, count) if x.ndim else (), x.dtype)


def _vector(x: Any, index: Any, dim: int) -> Key:
    d = dim % np.ndim(x)
    index = within(np.atleast_1d(index), np.shape(x)[d], d, negative=False)
    return (*(slice(None),) * d, index)


def _slices(x: Any, index: Any, dim: int) -> Any:
    whole = np.atleast_1d(x)
    found = whole[_vector(whole, index, dim)]
    return found if np.ndim(x) else found.reshape(())


register(
    "index_select(Tensor input, int dim, Tensor index)",
    doc="The slices of a dimension that a vector of indices names.",
    infer=_index_select,
    kernel=_slices,
    vjp=lambda g, out, x, index, dim: (
        t.zeros_like(x).index_add(dim, index, as_tensor(g, out)),
        None,
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.index_select(0, i)", x=(3, 4), i=In((5,), 0, 3, "int64")),
        Sample("torch.index_select(x, -1, i)", x=(2, 3), i=In((2,), 0, 3, "int32")),
        Sample("x.index_select(0, i)", x=(3, 2), i=In((), 0, 3, "int64")),
        Sample("x.index_select(0, i)", x=(), i=In((1,), 0, 1, "int64")),
        Sample("x.index_select(1, i)", x=(2, 3), i=In((0,), 0, 3, "int64")),
    ),
)


def _index_add(x: Expr, index: Expr, source: Expr, *, dim: int, alpha: Any) -> Type:
    count = _index_vector("index_add", index)
    d = dim_of(dim, x.ndim)
    if source.dtype is not x.dtype:
        msg = f"index_add() needs one dtype, not {x.dtype.name} and {source.dtype.name}"
        raise Invalid("GC016", msg, argument="source")
    wanted = resized(x.shape, d, count) if x.ndim else ()
    if source.shape != wanted:
        msg = f"the source of index_add() has the shape {source.shape}, {wanted} is needed"
        raise Invalid("GC015", msg, argument="source")
    return Type(x.shape, x.dtype)


def _add_slices(x: Any, index: Any, source: Any, dim: int, alpha: Any) -> Any:
    out = writable(x, source)
    whole = np.atleast_1d(out)
    d = dim % whole.ndim
    *_, places = _vector(whole, index, d)
    lead = np.ogrid[tuple(slice(size) for size in whole.shape[:d])] if d else ()
    key = (*(k[..., None] for k in lead), places)
    add_at(whole, key, np.atleast_1d(_times(source, alpha)))
    return whole.reshape(out.shape)


def _times(x: Any, alpha: Any) -> Any:
    return x if alpha == 1 else alpha * x


def _summing_few(node: Expr) -> Any:
    index, source = node.inputs
    if index.ndim != 1 or source.ndim != 2 or not 0 < source.elements < FEW:
        return None
    if not source.dtype.is_floating:
        return None
    count = node.shape[0]
    return lambda index, source: few_rows(within(index, count, 0, negative=False), source, count)


# What the planner makes of index_add into zeros; it can't be written.
_SUM_ROWS = Op(
    schema="sum_rows(Tensor index, Tensor source, int count)",
    infer=lambda index, source, count: Type((count, *source.shape[1:]), source.dtype),
    kernel=lambda index, source, count: sum_rows(
        within(np.atleast_1d(index), count, 0, negative=False), source, count
    ),
    prepare=lambda node: _summing_few(node),
)


def _into_zeros(x: Expr, index: Expr, source: Expr, *, dim: int, alpha: Any) -> Expr | None:
    if x.op.name != "zeros_like" or not x.ndim or dim % x.ndim or alpha != 1:
        return None
    return make(_SUM_ROWS, (index, source), {"count": x.shape[0]})  # type: ignore[no-any-return]


register(
    "index_add(Tensor input, int dim, Tensor index, Tensor source, *, Scalar alpha=1)",
    doc="The input with slices of a source added at the places of a dimension that a vector names.",
    infer=_index_add,
    kernel=_add_slices,
    fused=_into_zeros,
    vjp=lambda g, out, x, index, source, dim, alpha: (
        g,
        None,
        _times(as_tensor(g, out).index_select(dim, index), alpha),
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.index_add(0, i, y)", x=(3, 2), y=(4, 2), i=In((4,), 0, 3, "int64")),
        Sample(
            "torch.index_add(x, -1, i, y, alpha=-2)", x=(2, 3), y=(2, 2), i=In((2,), 0, 3, "int64")
        ),
        Sample("x.index_add(0, i, y)", x=(), y=(), i=In((), 0, 1, "int64")),
    ),
)


def _copy_type(x: Expr, index: Expr, source: Expr, *, dim: int) -> Type:
    need_int64(index, "index_copy", int32=False)
    count = _index_vector("index_copy", index)
    d = dim_of(dim, x.ndim)
    if source.dtype is not x.dtype:
        msg = f"index_copy() needs one dtype, not {x.dtype.name} and {source.dtype.name}"
        raise Invalid("GC016", msg, argument="source")
    wanted = resized(x.shape or (1,), d, count)
    if (source.shape or (1,)) != wanted or (x.ndim and source.ndim and x.ndim != source.ndim):
        msg = f"the source of index_copy() has the shape {source.shape}, {wanted} is needed"
        raise Invalid("GC015", msg, argument="source")
    return Type(x.shape, x.dtype)


def _put_slices(x: Any, index: Any, source: Any, dim: int) -> Any:
    out = writable(x, source)
    whole = np.atleast_1d(out)
    whole[_vector(whole, index, dim)] = source
    return whole.reshape(out.shape)


register(
    "index_copy(Tensor input, int dim, Tensor index, Tensor source)",
    doc="The input with slices of a source put at the places of a dimension that a vector names.",
    infer=_copy_type,
    kernel=_put_slices,
    vjp=lambda g, out, x, index, source, dim: (
        as_tensor(g, out).index_fill(dim, index, 0.0),
        None,
        as_tensor(g, out).index_select(dim, index),
    ),
    method=True,
    analytic=True,
    convention="where two slices go to one place the last stays, and the gradient reaches both",
    samples=(
        Sample("x.index_copy(0, i, y)", x=(3, 2), y=(2, 2), i=In(value=[2, 0], dtype="int64")),
        Sample("torch.index_copy(x, -1, i, y)", x=(2, 3), y=(2, 1), i=In(value=[1], dtype="int64")),
        Sample("x.index_copy(0, i, y)", x=(), y=(), i=In(value=[0], dtype="int64")),
        Sample("x.index_copy(0, i, y)", x=(3,), y=(), i=In(value=1, dtype="int64")),
        Sample("x.index_copy(0, i, y)", x=(3, 2), y=(0, 2), i=In((0,), 0, 3, "int64")),
    ),
)


def _fill_type(x: Expr, index: Expr, value: Any = 0, *, dim: int, **_: Any) -> Type:
    need_int64(index, "index_fill", int32=False)
    _index_vector("index_fill", index)
    dim_of(dim, x.ndim)
    if isinstance(value, Expr) and value.ndim:
        msg = f"index_fill() fills with one number, not with a tensor of shape {value.shape}"
        raise Invalid("GC015", msg, "index_copy() takes slices", "value")
    return Type(x.shape, x.dtype)


def _fill_slices(x: Any, index: Any, value: Any, dim: int) -> Any:
    out = writable(x, value)
    whole = np.atleast_1d(out)
    d = dim % whole.ndim
    places = within(np.atleast_1d(index), whole.shape[d], d, negative=True)
    whole[(*(slice(None),) * d, places)] = value
    return whole.reshape(out.shape)


def _fill_value(g: Expr, index: Expr, dim: int) -> Any:
    """What the value receives: the sum over all places filled, however often each is named."""
    return t.where(t.zeros_like(g).index_fill(dim, index, 1.0) > 0, g, 0.0).sum()


_ENDS = In(value=[0, -1], dtype="int64")

register(
    "index_fill(Tensor input, int dim, Tensor index, Scalar value)",
    doc="The input with a number put at the places of a dimension that a vector names.",
    infer=_fill_type,
    kernel=lambda x, index, dim, value: _fill_slices(x, index, value, dim),
    vjp=lambda g, out, x, index, dim, value: (as_tensor(g, out).index_fill(dim, index, 0.0), None),
    method=True,
    analytic=True,
    samples=(
        Sample("x.index_fill(1, i, 2.5)", x=(2, 3), i=_ENDS),
        Sample("torch.index_fill(x, -2, i, 1)", x=(3, 2), i=_ENDS),
        Sample("x.index_fill(0, i, -1.5)", x=(), i=In(value=[0], dtype="int64")),
        Sample("x.index_fill(0, i, 0.5)", x=(3,), i=In(value=2, dtype="int64")),
    ),
)
register(
    "index_fill.tensor(Tensor input, int dim, Tensor index, Tensor value)",
    doc="The input with a scalar tensor's value put at the places of a dimension that a vector names.",
    infer=_fill_type,
    kernel=_fill_slices,
    vjp=lambda g, out, x, index, value, dim: (
        as_tensor(g, out).index_fill(dim, index, 0.0),
        None,
        _fill_value(as_tensor(g, out), index, dim),
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.index_fill(0, i, y)", x=(3, 2), y=(), i=In(value=[2, 0], dtype="int64")),
        Sample("torch.index_fill(x, 0, i, y)", x=(), y=(), i=In(value=[0], dtype="int64")),
    ),
)


def _reduce(
    x: Expr, index: Expr, source: Expr, *, dim: int, reduce: str, include_self: bool
) -> Any:
    if reduce not in ("prod", "mean", "amax", "amin"):
        msg = f"index_reduce() has no reduce {reduce!r}"
        raise Invalid(
            "GC014", msg, "use 'prod', 'mean', 'amax' or 'amin'; index_add() adds", "reduce"
        )
    count = _index_vector("index_reduce", index)
    d = dim_of(dim, x.ndim)
    wanted = resized(x.shape, d, count) if x.ndim else source.shape
    if source.shape != wanted or source.elements != (count if not x.ndim else source.elements):
        msg = f"the source of index_reduce() has the shape {source.shape}, {wanted} is needed"
        raise Invalid("GC015", msg, argument="source")
    if x.ndim > 1:
        index = index.reshape(tuple(-1 if k == d else 1 for k in range(x.ndim)))
        index = index.expand_as(source)
    return x.scatter_reduce(dim, index, source, reduce, include_self=include_self)


_TWICE = In(value=[2, 0, 0], dtype="int64")

register(
    "index_reduce(Tensor input, int dim, Tensor index, Tensor source, str reduce, *, "
    "bool include_self=True)",
    doc="The input reduced with slices of a source at the places of a dimension that a vector names.",
    define=_reduce,
    samples=(
        Sample("x.index_reduce(0, i, y, 'prod')", x=(4, 2), y=(3, 2), i=_TWICE),
        Sample(
            "torch.index_reduce(x, -1, i, y, 'mean', include_self=False)",
            x=(2, 4),
            y=(2, 3),
            i=_TWICE,
        ),
        Sample("x.index_reduce(0, i, y, 'amax')", x=(4,), y=(3,), i=_TWICE),
        Sample(
            "x.index_reduce(1, i, y, 'amin', include_self=False)",
            x=(2, 4, 2),
            y=(2, 3, 2),
            i=_TWICE,
        ),
        Sample("x.index_reduce(0, i, y, 'prod')", x=(), y=(), i=In(value=[0], dtype="int64")),
    ),
)
