"""Norms of vectors: of all elements, or along dimensions. Norms of matrices are in `matrix_norm.py`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import (
    dim_of,
    dims_of,
    reduced,
    register,
    require_floating,
    restore,
)
from gradcheck_cli.ops.cast import cast, cast_back
from gradcheck_cli.schema import Invalid

Dims = Sequence[int] | None


def _order(p: Any) -> Any:
    """The order of a norm as a number; PyTorch takes 2 where none is given."""
    return 2 if p is None else p.value if isinstance(p, Expr) else p


def require_wide(x: Expr, dtype: DType | None) -> None:
    """Refuse a norm in a narrower type than that of `x`. Raises Invalid (GC016)."""
    require_floating(x, "norm")
    if dtype is not None and (not dtype.is_floating or dtype.rank < x.dtype.rank):
        msg = f"norm() can't be computed in {dtype.name}, which is narrower than {x.dtype.name}"
        raise Invalid("GC016", msg, "convert the input first: x.to(...)", "dtype")


def _norm(x: Expr, p: Any, dim: Dims, *, keepdim: bool, dtype: DType | None) -> Type:
    require_wide(x, dtype)
    dims = dims_of(dim, x.ndim)
    if (_order(p) < 0 or _order(p) == math.inf) and any(x.shape[d] == 0 for d in dims):
        msg = f"a norm of order {_order(p)} has no value where a tensor of shape {x.shape} is empty"
        raise Invalid("GC015", msg, "reduce over dimensions that are not empty", "dim")
    return Type(reduced(x.shape, dims, keepdim=keepdim), dtype or x.dtype)


def norm_kernel(x: Any, p: Any, dim: Dims, keepdim: bool, dtype: DType | None) -> Any:
    """The p-norm of arrays; also that of the differences that distances are made of."""
    x = cast(x, dtype)
    over: dict[str, Any] = {"axis": dims_of(dim, np.ndim(x)), "keepdims": keepdim}
    size, p = np.abs(x), _order(p)
    if p == math.inf:
        return np.max(size, **over)
    if p == -math.inf:
        return np.min(size, **over)
    if p == 0:
        return np.sum(size != 0, **over, dtype=size.dtype)
    if p == 1 or all(np.shape(x)[d] == 1 for d in over["axis"]):
        return np.sum(size, **over)
    if p == 2:
        return np.sqrt(np.sum(size * size, **over))
    return np.sum(size**p, **over) ** (1 / p)


def norm_vjp(g: Expr, out: Expr, x: Expr, p: Any, dim: Dims, keepdim: bool, dtype: Any) -> Any:
    """As PyTorch: zero at a norm of zero, and for orders below 1 also at each element that is zero."""
    p = _order(p)
    if p == 0:
        return None
    g = restore(g, x, dim, keepdim=keepdim)
    norm = restore(out, x, dim, keepdim=keepdim)
    zero = t.eq(norm, 0.0)
    if abs(p) == math.inf:
        mask = t.eq(x.abs(), norm) | x.isnan()
        dims = dims_of(dim, x.ndim)
        count = mask.sum() if len(dims) == x.ndim else mask.sum(dims, keepdim=True)
        gradient = x.sign() * (g / count * mask)
    elif p == 1:
        gradient = g * x.sign()
    elif p == 2:
        gradient = g * t.where(zero, 0.0, x / norm)
    elif p < 1:
        steep = t.where(t.eq(x, 0.0), 0.0, x.sign() * x.abs() ** (p - 1))
        gradient = steep * (g * norm ** (1 - p))
    elif p < 2:
        gradient = x.sign() * x.abs() ** (p - 1) * t.where(zero, 0.0, g / norm ** (p - 1))
    else:
        gradient = x * x.abs() ** (p - 2) * t.where(zero, 0.0, g / norm ** (p - 1))
    return cast_back(gradient, x)


def norm_kink(x: Expr, p: Any, dim: Dims, keepdim: bool, dtype: Any) -> tuple[Expr, ...]:
    """Zero at a norm of zero; for orders up to 1 also at each element, for infinite ones at ties."""
    p = _order(p)
    if abs(p) == math.inf:
        choose = t.amax if p > 0 else t.amin
        kinks: Sequence[Expr] = choose(x.abs(), dims_of(dim, x.ndim)).op.kink(
            x.abs(), dims_of(dim, x.ndim), True
        )
        return (*kinks, *((x,) if p < 0 else ()))
    return (x,) if p <= 1 else (x.norm(p, dim),)


register(
    "norm(Tensor input, Scalar? p=2, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)",
    doc="The p-norm: the p-th root of the sum of p-th powers; 2, 'fro' or None: the Euclidean one.",
    infer=_norm,
    kernel=norm_kernel,
    vjp=norm_vjp,
    method=True,
    kink=norm_kink,
    convention="zero is the gradient at a norm of zero",
    samples=(
        Sample("x.norm()", x=(2, 3)),
        Sample("x.norm()", x=()),
        Sample("x.norm()", x=(0, 3)),
        Sample("torch.norm(x, 2, 1)", x=(2, 3)),
        Sample("x.norm(p=2, dim=(0, -1), keepdim=True)", x=(2, 3, 2)),
        Sample("x.norm(None, 0)", x=(2, 3)),
        Sample("x.norm(1)", x=(2, 3)),
        Sample("x.norm(0, dim=1)", x=(2, 3), grad=False),  # PyTorch has no gradient at order 0
        Sample("x.norm(0.5)", x=(2, 3)),
        Sample("x.norm(1.5, 1)", x=(2, 3)),
        Sample("x.norm(3)", x=(2, 3)),
        Sample("x.norm(-2)", x=In((2, 3), low=0.5, high=2.0)),
        Sample("x.norm(math.inf)", x=(2, 3)),
        Sample("x.norm(-math.inf, 1, True)", x=(2, 3)),
        Sample("x.norm(math.inf, 1)", x=(0, 3)),
        Sample("x.norm(dtype=torch.float64)", x=In((2, 3), dtype="float32"), grad=False),
    ),
)


def _frobenius(x: Expr, p: str, dim: Dims, keepdim: bool, dtype: DType | None) -> Any:
    if p == "fro" and dim is not None and len(dim) > 2:
        msg = f"a Frobenius norm goes over one dimension or two, not over {tuple(dim)}"
        raise Invalid("GC014", msg, "leave p out: the Euclidean norm is the same number", "dim")
    if p == "fro":
        return x.norm(2, dim, keepdim, dtype=dtype)
    return t.matrix_norm(x, p, dims_of(dim, x.ndim), keepdim, dtype=dtype)


register(
    "norm.fro(Tensor input, str p, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)",
    doc="The Frobenius norm, the Euclidean norm of all elements.",
    define=_frobenius,
    samples=(
        Sample("x.norm('fro')", x=(2, 3)),
        Sample("torch.norm(x, p='fro', dim=(0, 1))", x=(2, 3)),
    ),
)
register(
    "vector_norm(Tensor input, Scalar ord=2, int[]? dim=None, bool keepdim=False, *, "
    "dtype? dtype=None)",
    doc="The p-norm of all elements, or along dimensions.",
    define=lambda x, ord, dim, keepdim, dtype: x.norm(ord, dim, keepdim, dtype=dtype),
    on=("torch.linalg",),
    samples=(
        Sample("torch.linalg.vector_norm(x)", x=(2, 3)),
        Sample("torch.linalg.vector_norm(x, ord=3, dim=(0, 2))", x=(2, 3, 2)),
        Sample("torch.linalg.vector_norm(x, math.inf, -1, keepdim=True)", x=(2, 3)),
    ),
)
register(
    "dist(Tensor input, Tensor other, Scalar p=2)",
    doc="The p-norm of a difference.",
    define=lambda x, other, p: (x - other).norm(p),
    samples=(
        Sample("torch.dist(x, y)", x=(2, 3), y=(3,)),
        Sample("x.dist(y, 1)", x=(2, 3), y=(2, 3)),
    ),
)


def _renorm(x: Expr, p: Any, dim: int, maxnorm: Any) -> Expr:
    if x.ndim < 2:
        msg = f"renorm() needs two dimensions or more, and the shape is {x.shape}"
        raise Invalid("GC015", msg, "make a row of a vector: x.unsqueeze(0)", "input")
    require_floating(x, "renorm")
    if not _order(p) > 0:
        msg = f"renorm() has no norm of order {_order(p)}"
        raise Invalid("GC014", msg, "use an order above 0", "p")
    if not _order(maxnorm) >= 0:
        raise Invalid("GC014", f"the largest norm can't be {_order(maxnorm)}", argument="maxnorm")
    d = dim_of(dim, x.ndim)
    others = tuple(other for other in range(x.ndim) if other != d)
    norm = x.norm(p, others, keepdim=True)
    if not _order(maxnorm):
        # All zeros, at a norm of 0 too, where PyTorch lets the gradient of a slice pass that may not move.
        return x * t.where(norm.isnan(), 1.0, 0.0)  # type: ignore[no-any-return]
    # PyTorch's: what keeps it from dividing by zero makes the result smaller by as much.
    scale: Expr = t.where(norm > maxnorm, maxnorm / (norm + 1e-7), 1.0)
    return x * scale


register(
    "renorm(Tensor input, Scalar p, int dim, Scalar maxnorm)",
    doc="The slices along a dimension, those of a larger norm scaled down to `maxnorm`.",
    define=_renorm,
    convention="at a norm of `maxnorm` the gradient passes unscaled",
    samples=(
        Sample("torch.renorm(x, 2, 0, 1.0)", x=(3, 4)),
        Sample("x.renorm(1, -1, 2)", x=(2, 3, 2)),
        Sample("x.renorm(p=math.inf, dim=1, maxnorm=0.5)", x=(3, 4)),
        Sample("x.renorm(2, 0, 100)", x=(3, 4)),
    ),
)

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType
