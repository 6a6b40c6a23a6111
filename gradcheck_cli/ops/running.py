"""Running extremes and running logarithms of sums along a dimension.

Running sums and products are in `cumulative.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Op, Sample, Type, t
from gradcheck_cli.ops._common import (
    as_tensor,
    dim_of,
    moved,
    register,
    require_floating,
)

# Extremes.


def _extremes(x: Expr, dim: int) -> tuple[Type, Type]:
    dim_of(dim, x.ndim)
    return Type(x.shape, x.dtype), Type(x.shape, dtypes.int64)


def _extremes_kernel(x: Any, dim: int, *, ufunc: np.ufunc) -> tuple[Any, Any]:
    """The place is that of the last of equal elements; after a NaN, everything is NaN."""
    if not np.ndim(x):
        return x, np.zeros((), np.int64)
    values = ufunc.accumulate(x, axis=dim)
    shape = [1] * np.ndim(x)
    shape[dim] = -1
    place = np.arange(x.shape[dim]).reshape(shape)
    reached = np.where((x == values) | (x != x), place, 0)
    return values, np.maximum.accumulate(reached, axis=dim)


def _extremes_vjp(g: Expr, out: Expr, x: Expr, *, dim: int, output: int) -> Any:
    if output:
        return None
    places = getattr(x, out.op.name)(dim).indices
    return t.zeros_like(x).scatter_add(dim, places, as_tensor(g, out))


def _ties(x: Expr, dim: int, *, name: str) -> tuple[Expr, ...]:
    """How far each element is from the extreme of those before it."""
    if not x.ndim or not x.dtype.is_floating:
        return ()
    d = dim_of(dim, x.ndim)
    whole = (slice(None),) * d
    before = getattr(x[(*whole, slice(None, -1))], name)(d).values
    return (x[(*whole, slice(1, None))] - before,)


_TIED = In(value=[[1.0, 3.0, 3.0, 2.0], [3.0, -2.0, 5.0, 5.0]])
_NAN = In(value=[[1.0, float("nan"), -2.0, 0.5], [0.5, 3.0, 7.0, float("nan")]])


def _register(name: str, ufunc: np.ufunc, what: str) -> Op:
    return register(
        f"{name}(Tensor input, int dim)",
        doc=f"The {what} element so far along a dimension, and where it stood.",
        infer=_extremes,
        kernel=lambda x, dim: _extremes_kernel(x, dim, ufunc=ufunc),
        vjp=_extremes_vjp,
        outputs=("values", "indices"),
        method=True,
        kink=lambda x, dim: _ties(x, dim, name=name),
        convention="of equal elements, the last so far gets the gradient",
        samples=(
            Sample(f"x.{name}(0).values", x=(3, 4)),
            Sample(f"torch.{name}(x, dim=-1)[0]", x=(2, 5)),
            Sample(f"x.{name}(1).indices", x=(2, 5)),
            Sample(f"x.{name}(1).indices", x=_TIED),
            Sample(f"x.{name}(1).values", x=_NAN),
            Sample(f"x.{name}(1).indices", x=_NAN),
            Sample(f"x.{name}(0).values", x=()),
            Sample(f"x.{name}(1).values", x=(2, 0)),
            Sample(f"i.{name}(0).values", i=In((3, 2), dtype="int32", low=0, high=5)),
            Sample(f"m.{name}(1).values", m=In((2, 3), dtype="bool")),
        ),
    )


_register("cummax", np.maximum, "largest")
_register("cummin", np.minimum, "smallest")

# Logarithms of sums.


def _logcumsumexp(x: Expr, dim: int) -> Type:
    require_floating(x, "logcumsumexp")
    dim_of(dim, x.ndim)
    return Type(x.shape, x.dtype)


def _logcumsumexp_kernel(x: Any, dim: int) -> Any:
    return np.logaddexp.accumulate(x, axis=dim) if np.ndim(x) else x


def _logcumsumexp_vjp(g: Expr, out: Expr, x: Expr, dim: int) -> Expr:
    """The share `exp(x[i] - out[j])` that element i has in each sum j from its place on.

    Quadratic in the size, as the rule of cumprod. A running sum of `g * exp(-out)` is linear, but
    overflows where the elements differ much; PyTorch's, of logarithms of g, is not linear in g.
    """
    if x.ndim == 0:
        return g
    d, last = dim_of(dim, x.ndim), x.ndim - 1

    def to_end(y: Expr) -> Expr:
        return y if d == last else y.movedim((d,), (last,))

    later = t.ones((x.size(d), x.size(d)), dtype=dtypes.bool_).triu()
    difference = to_end(x).unsqueeze(-1) - to_end(out).unsqueeze(-2)
    share = t.where(later, difference, -float("inf")).exp()
    gradient: Expr = (share * moved(g, lambda: to_end(g).unsqueeze(-2))).sum(-1)
    return gradient if d == last else gradient.movedim((last,), (d,))


register(
    "logcumsumexp(Tensor input, int dim)",
    doc="Logarithm of the running sum of exponentials along a dimension.",
    infer=_logcumsumexp,
    kernel=_logcumsumexp_kernel,
    leading=lambda node: dim_of(node.attributes["dim"], node.ndim),
    vjp=_logcumsumexp_vjp,
    method=True,
    samples=(
        Sample("x.logcumsumexp(0)", x=(4,)),
        Sample("torch.logcumsumexp(x, dim=-2)", x=(2, 3, 2)),
        Sample("x.logcumsumexp(-1)", x=In(value=[[-900.0, 0.0, 700.0], [800.0, 1.0, -50.0]])),
        Sample("x.logcumsumexp(0)", x=()),
        Sample("x.logcumsumexp(1)", x=(2, 0)),
    ),
)
