"""Elements put at, or added to, the places that index tensors or a mask name: the inverse of a subscript."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import as_tensor, expands, register
from gradcheck_cli.ops.accumulate import add_at
from gradcheck_cli.ops.index import checked, index_shape, writable, x_type
from gradcheck_cli.schema import Invalid


def _index_put(x: Expr, *rest: Any, accumulate: bool) -> Type:
    *indices, values = rest
    if None in indices:
        raise Invalid("GC014", "index_put() takes no None among its indices", argument="indices")
    if values.value is None and values.dtype is not x.dtype:
        msg = f"index_put() needs one dtype, not {x.dtype.name} and {values.dtype.name}"
        raise Invalid("GC016", msg, argument="values")
    masks = [i for i in indices if i.dtype.kind == "b"]
    if masks:
        if len(indices) > 1:
            msg = "index_put() takes a mask only where it is the one index"
            hint = "combine masks: (rows.unsqueeze(1) & columns)"
            raise Invalid("GC011", msg, hint, "indices")
        _check_mask(x, masks[0], values)
        return x_type(x)
    wanted = index_shape(x.shape, tuple(indices))
    if not expands(values.shape, wanted):
        msg = f"values of shape {values.shape} can't be broadcast to the indexed shape {wanted}"
        raise Invalid("GC015", msg, argument="values")
    return x_type(x)


def _check_mask(x: Expr, mask: Expr, values: Expr) -> None:
    if not mask.ndim or mask.shape != x.shape[: mask.ndim]:
        msg = f"a mask of shape {mask.shape} doesn't fit the first dimensions of {x.shape}"
        raise Invalid("GC015", msg, argument="indices")
    rest = x.shape[mask.ndim :]
    most = len(rest) + 1
    if values.ndim > most or not expands(values.shape[values.ndim - len(rest) :], rest):
        msg = f"values of shape {values.shape} can't be broadcast to the indexed shape (count, {rest})"
        raise Invalid("GC015", msg, "count is how often the mask is true", "values")


def _put_at(x: Any, *rest: Any, accumulate: bool) -> Any:
    *indices, values = rest
    out = writable(x, values)
    first = np.asarray(indices[0])
    if first.dtype == bool:
        values, places = np.asarray(values), np.nonzero(first)
        one_a_place = values.ndim == out.ndim - first.ndim + 1 and len(values) != 1
        if one_a_place and len(values) != len(places[0]):
            count = len(places[0])
            msg = (
                f"the mask is true in {count} places, but the values have the shape {values.shape}"
            )
            raise Invalid("GC014", msg, "one value for each place, or one for all", "values")
        key = places
    else:
        key = checked(x, tuple(indices))
    if accumulate:
        add_at(out, key, values)
    else:
        out[key] = values
    return out


def _index_put_vjp(
    g: Expr, out: Expr, x: Expr, *rest: Any, accumulate: bool
) -> tuple[Expr | None, ...]:
    *indices, values = rest
    g = as_tensor(g, out)
    kept = g if accumulate else g.index_put(tuple(indices), t.zeros_like(values))
    masked = indices[0].dtype.kind == "b"
    taken = _taken(g, x, indices[0], values) if masked else g[tuple(indices)]
    return (kept, *(None for _ in indices), taken)


def _taken(g: Expr, x: Expr, mask: Expr, values: Expr) -> Any:
    """`g[mask]` as the values receive it, without a shape that depends on how often the mask is true."""
    dims = mask.ndim
    wide = mask
    for _ in range(x.ndim - dims):
        wide = wide.unsqueeze(-1)
    rows = t.where(wide, g, 0.0)
    if values.ndim <= x.ndim - dims or values.shape[0] == 1:
        return rows.sum(tuple(range(dims)))
    if not values.shape[0]:
        return t.zeros_like(values)
    # The number of true elements before each, which is where in the values its own came from.
    places = (mask.flatten().cumsum(0) - 1).clamp(min=0)
    shape = (values.size(0), *(x.size(d) for d in range(dims, x.ndim)))
    return t.zeros(shape, dtype=g.dtype).index_add(0, places, rows.flatten(0, dims - 1))


_MASK = In(value=[[1, 0, 1], [0, 1, 0]], dtype="bool")

register(
    "index_put(Tensor input, Tensor[] indices, Tensor values, bool accumulate=False)",
    doc="The input with the elements at the indexed places replaced by values, or increased by them.",
    infer=_index_put,
    kernel=_put_at,
    vjp=_index_put_vjp,
    method=True,
    analytic=True,
    convention="where two values go to one place the last stays, and the gradient reaches both",
    samples=(
        Sample("x.index_put((i,), y)", x=(4, 2), y=(2, 2), i=In(value=[3, 0], dtype="int64")),
        Sample("x.index_put((i, i), y)", x=(3, 3), y=(), i=In(value=[2, 0], dtype="int64")),
        Sample(
            "torch.index_put(x, (i,), y, accumulate=True)",
            x=(3, 2),
            y=(2,),
            i=In(value=[1, 1, -1], dtype="int64"),
        ),
        Sample("x.index_put((m,), y)", x=(2, 3), y=(3,), m=_MASK),
        Sample("x.index_put((m,), y, accumulate=True)", x=(2, 3), y=(), m=_MASK),
        Sample("x.index_put((m,), y)", x=(2, 3, 2), y=(3, 1), m=_MASK),
        Sample("x.index_put([m], y)", x=(3, 2), y=(2,), m=In(value=[0, 1, 1], dtype="bool")),
        Sample("x.index_put((m,), y)", x=(2, 2), y=(1, 2), m=In(value=[0, 0], dtype="bool")),
        Sample("x.index_put((m,), y)", x=(2, 2), y=(0, 2), m=In(value=[0, 0], dtype="bool")),
    ),
)
