"""Running sums and products, and the product of all elements, whose gradient is made of running ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import dim_of, moved, reduced, register, restore, shape_of
from gradcheck_cli.ops.cast import cast_back
from gradcheck_cli.ops.reduce import summed_dtype, widened


def _running(x: Expr, dim: int, *, dtype: DType | None) -> Type:
    dim_of(dim, x.ndim)
    return Type(x.shape, summed_dtype(x, dtype))


def _along(x: Any, dim: int, dtype: DType | None, accumulate: Any) -> Any:
    values = widened(x, dtype)
    return accumulate(values, axis=dim) if np.ndim(values) else values


def _accumulating(node: Expr, ufunc: np.ufunc) -> Any:
    (x,) = node.inputs
    if not x.ndim or x.dtype is not node.dtype:
        return None
    axis = dim_of(node.attributes["dim"], x.ndim) - x.ndim
    return lambda x, out: ufunc.accumulate(x, axis, None, out)


def _cumsum_vjp(g: Expr, out: Expr, x: Expr, dim: int, dtype: DType | None) -> Expr:
    """Every element is in the sums from its place on: a running sum from the end."""
    return cast_back(moved(g, lambda: g.flip((dim,)).cumsum(dim).flip((dim,))), x)


def _cumprod_vjp(g: Expr, out: Expr, x: Expr, dim: int, dtype: DType | None) -> Expr:
    """Each element left out in turn: quadratic in the size, but right at zeros, for every order.

    Dividing by the element, which is linear, is 0 / 0 there. In row i of the matrix, element i is 1 and
    the running product goes on from it.
    """
    if x.ndim == 0:
        return cast_back(g, x)
    last = x.ndim - 1
    d = dim_of(dim, x.ndim)

    def to_end(y: Expr) -> Expr:
        return y if d == last else y.movedim((d,), (last,))

    itself = t.eye(x.size(d), dtype=dtypes.bool_)
    rows = t.where(itself, 1.0, to_end(x).unsqueeze(-2)).cumprod(-1, dtype=dtype).triu()
    gradient = (to_end(g).unsqueeze(-2) * rows).sum(-1)
    return cast_back(gradient if d == last else gradient.movedim((last,), (d,)), x)


_ZEROS = In(value=[[2.0, 0.0, -1.5, 3.0], [0.0, 1.5, 0.0, 2.0], [1.0, -2.0, 0.5, 4.0]])
_WHOLE = In((2, 3), dtype="int32", low=0, high=5)

register(
    "cumsum(Tensor input, int dim, *, dtype? dtype=None)",
    doc="Running sum along a dimension.",
    infer=_running,
    kernel=lambda x, dim, dtype: _along(x, dim, dtype, np.cumsum),
    into=lambda node: _accumulating(node, np.add),
    leading=lambda node: dim_of(node.attributes["dim"], node.ndim),
    vjp=_cumsum_vjp,
    method=True,
    analytic=True,
    samples=(
        Sample("x.cumsum(0)", x=(3,)),
        Sample("torch.cumsum(x, dim=-2)", x=(2, 3, 2)),
        Sample("x.cumsum(0)", x=()),
        Sample("x.cumsum(1)", x=(2, 0)),
        Sample("i.cumsum(0)", i=_WHOLE),
        Sample("i.cumsum(0, dtype=torch.float64)", i=_WHOLE),
    ),
)
register(
    "cumprod(Tensor input, int dim, *, dtype? dtype=None)",
    doc="Running product along a dimension.",
    infer=_running,
    kernel=lambda x, dim, dtype: _along(x, dim, dtype, np.cumprod),
    into=lambda node: _accumulating(node, np.multiply),
    leading=lambda node: dim_of(node.attributes["dim"], node.ndim),
    vjp=_cumprod_vjp,
    method=True,
    analytic=True,
    samples=(
        Sample("x.cumprod(0)", x=(3,)),
        Sample("torch.cumprod(x, dim=-2)", x=(2, 3, 2)),
        Sample("x.cumprod(-1)", x=_ZEROS),
        Sample("x.cumprod(0)", x=()),
        Sample("x.cumprod(1)", x=(2, 0)),
        Sample("i.cumprod(0)", i=_WHOLE),
    ),
)


def _before(x: Expr, d: int) -> Expr:
    """The product of all elements before each one: a running product, moved on by one place."""
    whole = (slice(None),) * d
    first, others = x[(*whole, slice(None, 1))], x[(*whole, slice(None, -1))]
    product: Expr = t.cat([t.ones_like(first), others], d).cumprod(d)
    return product


def product_of_others(x: Expr, d: int) -> Expr:
    """The product of all other elements along a dimension, without dividing: right at zeros."""
    after: Expr = _before(x.flip((d,)), d).flip((d,))
    return _before(x, d) * after


def _prod_vjp(g: Expr, out: Expr, x: Expr, dtype: DType | None) -> Expr:
    if x.ndim == 0:
        return cast_back(g, x)
    if x.ndim == 1:
        return cast_back(g * product_of_others(x, 0), x)
    return cast_back(g * product_of_others(x.reshape((-1,)), 0).reshape(shape_of(x)), x)


def _prod_dim_vjp(
    g: Expr,
    out: Expr,
    x: Expr,
    dim: int,
    keepdim: bool,
    dtype: DType | None,
) -> Expr:
    if x.ndim == 0:
        return cast_back(g, x)
    g = restore(g, x, dim, keepdim=keepdim)
    return cast_back(g * product_of_others(x, dim_of(dim, x.ndim)), x)


register(
    "prod(Tensor input, *, dtype? dtype=None)",
    doc="Product of the elements.",
    infer=lambda x, dtype: Type((), summed_dtype(x, dtype)),
    kernel=lambda x, dtype: np.prod(widened(x, dtype)),
    vjp=_prod_vjp,
    method=True,
    analytic=True,
    samples=(
        Sample("x.prod()", x=(4,)),
        Sample("x.prod()", x=(2, 3)),
        Sample("torch.prod(x)", x=()),
        Sample("x.prod()", x=(0, 2)),
        Sample("x.prod()", x=In(value=[[2.0, 0.0, 3.0], [0.5, 4.0, -1.0]])),
        Sample("x.prod()", x=In(value=[2.0, 0.0, 0.0, 3.0])),
        Sample("i.prod()", i=_WHOLE),
        Sample("i.prod(dtype=torch.float64)", i=_WHOLE),
    ),
)
register(
    "prod.dim(Tensor input, int dim, bool keepdim=False, *, dtype? dtype=None)",
    doc="Product of the elements along a dimension.",
    infer=lambda x, dim, keepdim, dtype: Type(
        reduced(x.shape, (dim_of(dim, x.ndim),), keepdim=keepdim), summed_dtype(x, dtype)
    ),
    kernel=lambda x, dim, keepdim, dtype: np.prod(
        widened(x, dtype), axis=dim if np.ndim(x) else (), keepdims=keepdim
    ),
    vjp=_prod_dim_vjp,
    method=True,
    analytic=True,
    samples=(
        Sample("x.prod(0)", x=(4,)),
        Sample("torch.prod(x, dim=-2, keepdim=True)", x=(2, 3, 2)),
        Sample("x.prod(1)", x=_ZEROS),
        Sample("x.prod(0)", x=()),
        Sample("x.prod(1)", x=(2, 0)),
        Sample("i.prod(1)", i=_WHOLE),
    ),
)

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType
