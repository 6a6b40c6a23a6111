"""Elements by their place in the flattened tensor, or along a dimension with broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Shape, Type, t
from gradcheck_cli.ops._common import as_tensor, broadcast, dim_of, register
from gradcheck_cli.ops.accumulate import add_at
from gradcheck_cli.ops.gather import need_int64
from gradcheck_cli.ops.index import resized, within, writable
from gradcheck_cli.schema import Invalid


def _take_along_dim(x: Expr, indices: Expr, *, dim: int | None) -> Type:
    need_int64(indices, "take_along_dim", int32=False)
    if dim is None:
        return Type((indices.elements,), x.dtype)
    if not x.ndim:
        raise Invalid("GC015", "a scalar has no dimension to take along", "leave dim out", "dim")
    if x.ndim != indices.ndim:
        msg = (
            "take_along_dim() needs indices with as many dimensions as the input: "
            f"shapes {indices.shape} and {x.shape}"
        )
        raise Invalid("GC015", msg, argument="indices")
    return Type(_along(x.shape, indices.shape, dim_of(dim, x.ndim)), x.dtype)


def _along(x: Shape, indices: Shape, d: int) -> Shape:
    """The indices' shape, broadcast with the input's everywhere but at `d`."""
    return broadcast(indices, resized(x, d, 1))


def _taken(x: Any, indices: Any, dim: int) -> Any:
    d = dim % x.ndim
    indices = within(indices, x.shape[d], d, negative=True)
    shape = _along(x.shape, indices.shape, d)
    whole = np.broadcast_to(x, resized(shape, d, x.shape[d]))
    return np.take_along_axis(whole, np.broadcast_to(indices, shape), d)


def _take_along_vjp(g: Expr, x: Expr, indices: Expr, dim: int | None) -> Any:
    if dim is None:
        spread = t.zeros_like(x.flatten()).index_put((indices.flatten(),), g, accumulate=True)
        return spread.reshape(sizes(x))
    d = dim_of(dim, x.ndim)
    from_start = t.remainder(indices, x.size(d))  # scatter_add takes no negative indices
    shape = g.shape
    if indices.shape != shape:
        from_start = from_start.expand_as(g)
    if resized(x.shape, d, 0) != resized(shape, d, 0):  # x was broadcast: a sum over its copies
        x = x.expand(resized(sizes(g), d, x.size(d)))
    return t.zeros_like(x).scatter_add(d, from_start, g)


def sizes(x: Expr) -> tuple[Any, ...]:
    """The sizes of `x`, symbolic."""
    return tuple(x.size(d) for d in range(x.ndim))


register(
    "take_along_dim(Tensor input, Tensor indices, int? dim=None)",
    doc="Along a dimension, the elements that indices name, broadcast against the input.",
    infer=_take_along_dim,
    kernel=lambda x, indices, dim: (
        _taken(np.ravel(x), np.ravel(indices), 0) if dim is None else _taken(x, indices, dim)
    ),
    vjp=lambda g, out, x, indices, dim: (_take_along_vjp(g, x, indices, dim), None),
    analytic=True,
    samples=(
        Sample("torch.take_along_dim(x, i, 1)", x=(3, 4), i=In((3, 2), -4, 4, "int64")),
        Sample("x.take_along_dim(i, dim=0)", x=(3, 4), i=In((2, 1), 0, 3, "int64")),
        Sample("x.take_along_dim(i)", x=(2, 3), i=In((2, 2), 0, 6, "int64")),
        Sample("x.take_along_dim(x.argmax(-1, keepdim=True), -1)", x=(2, 3)),
    ),
)


def _take_flat(x: Expr, index: Expr) -> Any:
    need_int64(index, "take", int32=False)
    return x.flatten()[index]


register(
    "take(Tensor input, Tensor index)",
    doc="Elements by their place in the flattened input.",
    define=_take_flat,
    samples=(
        Sample("x.take(i)", x=(2, 3), i=In((2, 2), -6, 6, "int64")),
        Sample("torch.take(x, i)", x=(), i=In((2,), 0, 1, "int64")),
    ),
)


def _put_type(x: Expr, index: Expr, source: Expr, *, accumulate: bool) -> Type:
    need_int64(index, "put", int32=False)
    if source.dtype is not x.dtype:
        msg = f"put() needs one dtype, not {x.dtype.name} and {source.dtype.name}"
        raise Invalid("GC016", msg, argument="source")
    if source.elements != index.elements:
        msg = (
            f"put() needs as many elements as places: the source has the shape {source.shape}, "
            f"the index {index.shape}"
        )
        raise Invalid("GC015", msg, argument="source")
    if index.elements and not x.elements:
        msg = f"put() can't put anything into a tensor without elements, of shape {x.shape}"
        raise Invalid("GC015", msg, argument="input")
    return Type(x.shape, x.dtype)


def _put_flat(x: Any, index: Any, source: Any, *, accumulate: bool) -> Any:
    out = writable(x, source)
    flat, source = out.reshape(-1), np.reshape(source, -1)
    places = within(np.reshape(index, -1), flat.size, 0, negative=True)
    if accumulate:
        add_at(flat, (places,), source)
    else:
        flat[places] = source
    return out


def _put_vjp(
    g: Expr, out: Expr, x: Expr, index: Expr, source: Expr, *, accumulate: bool
) -> tuple[Any, None, Any]:
    g = as_tensor(g, out)
    taken = g.take(index)
    if source.shape != index.shape:
        taken = taken.reshape(sizes(source))
    return (g if accumulate else g.put(index, t.zeros_like(source))), None, taken


_SPREAD = In(value=[[5, 0], [2, -2]], dtype="int64")

register(
    "put(Tensor input, Tensor index, Tensor source, bool accumulate=False)",
    doc="The input with elements put at the places of the flattened tensor that an index names, or added.",
    infer=_put_type,
    kernel=_put_flat,
    vjp=_put_vjp,
    method=True,
    analytic=True,
    convention="where two elements go to one place the last stays, and the gradient reaches both",
    samples=(
        Sample("x.put(i, y)", x=(2, 3), y=(4,), i=_SPREAD),
        Sample("torch.put(x, i, y, accumulate=True)", x=(3,), y=(4,), i=In((4,), -3, 3, "int64")),
        Sample("x.put(i, y, True)", x=(), y=(1,), i=In((), 0, 1, "int64")),
        Sample("x.put(i, y)", x=(0,), y=(0,), i=In((0,), 0, 1, "int64")),
    ),
)
