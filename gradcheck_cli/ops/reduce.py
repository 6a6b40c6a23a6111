"""Reductions to sums, means and spreads, over all dimensions or some; whether any or all.

The largest and smallest are in `extrema.py`, norms in `norm.py`, products in `cumulative.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import (
    count_of,
    dims_of,
    reduced,
    reducing,
    register,
    require_floating,
    restore,
)
from gradcheck_cli.ops.cast import cast, cast_back
from gradcheck_cli.schema import Invalid

Dims = Sequence[int] | None


def over(x: Expr, dim: Dims, *, keepdim: bool) -> tuple[int, ...]:
    """The shape that is left after a reduction."""
    return reduced(x.shape, dims_of(dim, x.ndim), keepdim=keepdim)


# Sums.


def summed_dtype(x: Expr, dtype: DType | None) -> DType:
    """The type of a sum or product: integers and masks are summed up in int64."""
    return dtype or (dtypes.int64 if x.dtype.kind in "bi" else x.dtype)


def widened(x: Any, dtype: DType | None) -> Any:
    """What a sum or product computes with: `x` in `dtype`, or integers and masks in int64."""
    if dtype is None:
        dtype = dtypes.int64 if np.asarray(x).dtype.kind in "bui" else None
    return cast(x, dtype)


register(
    "sum(Tensor input, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)",
    doc="Sum of the elements.",
    infer=lambda x, dim, keepdim, dtype: Type(
        over(x, dim, keepdim=keepdim), summed_dtype(x, dtype)
    ),
    kernel=lambda x, dim, keepdim, dtype: np.sum(
        widened(x, dtype), axis=dims_of(dim, np.ndim(x)), keepdims=keepdim
    ),
    vjp=lambda g, out, x, dim, keepdim, dtype: cast_back(restore(g, x, dim, keepdim=keepdim), x),
    reduction=np.add,
    prepare=reducing(np.add),
    method=True,
    analytic=True,
    samples=(
        Sample("x.sum()", x=(3, 4)),
        Sample("x.sum()", x=()),
        Sample("torch.sum(x, dim=-1, keepdim=True)", x=(2, 3)),
        Sample("x.sum((0, 2))", x=(2, 3, 4)),
        Sample("x.sum(())", x=(2, 3)),
        Sample("x.sum(1)", x=(2, 0)),
        Sample("x.sum(axis=0, keepdims=True)", x=(2, 3)),
        Sample("x.sum(dtype=torch.float32)", x=In((2, 3), dtype="float64"), grad=False),
        Sample("i.sum(0)", i=In((2, 3), dtype="int32", low=0, high=5)),
        Sample("i.sum(dtype=torch.float64)", i=In((2, 3), dtype="bool")),
    ),
)


def _nanmean(x: Expr, dim: Dims, keepdim: bool, dtype: DType | None) -> Any:
    require_floating(x, "nanmean")
    return x.nansum(dim, keepdim, dtype=dtype) / (~x.isnan()).sum(dim, keepdim)


_NAN = In(value=[[1.0, float("nan"), -2.0], [0.5, 3.0, float("nan")]])

register(
    "nansum(Tensor input, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)",
    doc="Sum of the elements that are not NaN.",
    infer=lambda x, dim, keepdim, dtype: Type(
        over(x, dim, keepdim=keepdim), summed_dtype(x, dtype)
    ),
    kernel=lambda x, dim, keepdim, dtype: np.nansum(
        widened(x, dtype), axis=dims_of(dim, np.ndim(x)), keepdims=keepdim
    ),
    vjp=lambda g, out, x, dim, keepdim, dtype: (
        cast_back(restore(g, x, dim, keepdim=keepdim), x) * ~x.isnan()
    ),
    method=True,
    analytic=True,
    complex=False,
    samples=(
        Sample("x.nansum()", x=(2, 3)),
        Sample("torch.nansum(x, 1, keepdim=True)", x=_NAN),
        Sample("i.nansum()", i=In((2, 3), dtype="int64", low=0, high=5)),
    ),
)
register(
    "nanmean(Tensor input, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)",
    doc="Mean of the elements that are not NaN.",
    define=_nanmean,
    samples=(
        Sample("x.nanmean()", x=(2, 3)),
        Sample("torch.nanmean(x, 1, keepdim=True)", x=_NAN),
        Sample("x.nanmean((0, 1))", x=_NAN),
    ),
)

# Means and spreads.


def _mean(x: Expr, dim: Dims, *, keepdim: bool, dtype: DType | None) -> Type:
    result = dtype or x.dtype
    if result.kind not in "fz":
        msg = (
            f"the mean of {result.name} numbers isn't {result.name}: mean() needs a floating dtype"
        )
        raise Invalid("GC016", msg, "write x.double().mean(), or give a floating `dtype`", "dtype")
    return Type(over(x, dim, keepdim=keepdim), result)


def _mean_kernel(x: Any, dim: Dims, keepdim: bool, dtype: DType | None = None) -> Any:
    # np.mean warns where there is nothing to take a mean of; PyTorch's answer is NaN.
    dims = dims_of(dim, np.ndim(x))
    count = int(np.prod([np.shape(x)[d] for d in dims], dtype=np.int64))
    return np.true_divide(np.sum(cast(x, dtype), axis=dims, keepdims=keepdim), count)


register(
    "mean(Tensor input, int[]? dim=None, bool keepdim=False, *, dtype? dtype=None)",
    doc="Mean of the elements.",
    infer=_mean,
    kernel=_mean_kernel,
    vjp=lambda g, out, x, dim, keepdim, dtype: cast_back(
        restore(g / count_of(x, dim), x, dim, keepdim=keepdim), x
    ),
    fused=lambda x, dim, keepdim, dtype: x.sum(dim, keepdim, dtype=dtype) / count_of(x, dim),
    method=True,
    analytic=True,
    samples=(
        Sample("x.mean()", x=(3, 4)),
        Sample("x.mean()", x=()),
        Sample("torch.mean(x, dim=-1, keepdim=True)", x=(2, 3)),
        Sample("x.mean((0, 2))", x=(2, 3, 4)),
        Sample("x.mean(0)", x=(2, 0)),
        Sample("i.mean(dtype=torch.float64)", i=In((2, 3), dtype="int64", low=0, high=5)),
    ),
)


def _spread(x: Expr, dim: Dims, *, correction: Any, keepdim: bool) -> Type:
    require_floating(x, "var() and std")
    return Type(over(x, dim, keepdim=keepdim), x.dtype)


def _var_kernel(x: Any, dim: Dims, correction: Any, keepdim: bool) -> Any:
    """Two passes; no numbers of the data are compared, so that a complex step passes through."""
    dims = dims_of(dim, np.ndim(x))
    count = int(np.prod([np.shape(x)[d] for d in dims], dtype=np.int64))
    deviation = x - _mean_kernel(x, dim, keepdim=True)
    freedom = max(0, count - (1 if correction is None else correction))
    return np.true_divide(np.sum(deviation * deviation, axis=dims, keepdims=keepdim), freedom)


def _mean_for(x: Expr, dim: Dims) -> Expr:
    dims = dims_of(dim, x.ndim)
    mean: Expr = x.mean() if len(dims) == x.ndim else x.mean(dims, keepdim=True)
    return mean


def _var_vjp(g: Expr, out: Expr, x: Expr, dim: Dims, correction: Any, keepdim: bool) -> Any:
    return 2 * restore(g, x, dim, keepdim=keepdim) * _slope(x, dim, correction)


def _std_vjp(g: Expr, out: Expr, x: Expr, dim: Dims, correction: Any, keepdim: bool) -> Any:
    scaled = t.where(t.eq(out, 0.0), 0.0, g / out)
    return restore(scaled, x, dim, keepdim=keepdim) * _slope(x, dim, correction)


def _slope(x: Expr, dim: Dims, correction: Any) -> Expr:
    """Half the derivative of var(): the deviation from the mean by the degrees of freedom.

    Without such degrees, PyTorch gives infinity over all elements (NaN where there is no deviation),
    but what the formula says along dimensions.
    """
    mean, count = _mean_for(x, dim), count_of(x, dim)
    correction = 1 if correction is None else correction
    freedom = count if correction == 0 else count - correction
    assert freedom.value is not None
    if freedom.value <= 0 and (dim is None or x.ndim == 0):
        return t.where(t.eq(x, mean), math.nan, math.inf)  # type: ignore[no-any-return]
    return (x - mean) / freedom


def _fused_spread(*, root: bool) -> Any:
    """The two passes in operators that run in blocks."""

    def fused(x: Expr, dim: Dims, correction: Any, keepdim: bool) -> Expr | None:
        freedom = count_of(x, dim) - (1 if correction is None else correction)
        assert freedom.value is not None
        if freedom.value <= 0 or x.ndim == 0:
            return None
        deviation = x - _mean_for(x, dim)
        var: Expr = (deviation * deviation).sum(dim, keepdim) / freedom
        return var.sqrt() if root else var

    return fused


def _spread_samples(name: str) -> tuple[Sample, ...]:
    return (
        Sample(f"x.{name}()", x=(3, 4)),
        Sample(f"x.{name}(False)", x=(3, 4)),
        Sample(f"torch.{name}(x, 1)", x=(2, 3)),
        Sample(f"x.{name}((0, -1), keepdim=True)", x=(2, 3, 4)),
        Sample(f"x.{name}(0, False, True)", x=(3, 2)),
        Sample(f"x.{name}(dim=0, correction=0)", x=(3, 2)),
        Sample(f"x.{name}(1, correction=1.5)", x=(3, 4)),
        Sample(f"x.{name}(unbiased=False)", x=(5,)),
    )


for _name, _kernel, _vjp, _what in (
    ("var", _var_kernel, _var_vjp, "Variance"),
    ("std", lambda *x, **kw: np.sqrt(_var_kernel(*x, **kw)), _std_vjp, "Standard deviation"),
):
    register(
        f"{_name}(Tensor input, int[]? dim=None, *, Scalar? correction=1, bool keepdim=False)",
        doc=f"{_what}: squares are divided by the count less the correction.",
        infer=_spread,
        kernel=_kernel,
        vjp=_vjp,
        fused=_fused_spread(root=_name == "std"),
        method=True,
        analytic=True,
        complex=False,  # of complex numbers it is that of their absolute values, and real
        kink=None if _name == "var" else lambda x, dim, correction, keepdim: (x.var(dim),),
        convention="" if _name == "var" else "0 where all elements are equal",
        samples=_spread_samples(_name),
    )
    register(
        f"{_name}.dim(Tensor input, int[]? dim, bool unbiased=True, bool keepdim=False)",
        doc=f"{_what}, divided by the count, less 1 if unbiased.",
        define=lambda x, dim, unbiased, keepdim, name=_name: getattr(x, name)(
            dim, correction=int(unbiased), keepdim=keepdim
        ),
        samples=(Sample(f"x.{_name}(0, True)", x=(3, 2)),),
    )
    register(
        f"{_name}.unbiased(Tensor input, bool unbiased)",
        doc=f"{_what}, divided by the count, less 1 if unbiased.",
        define=lambda x, unbiased, name=_name: getattr(x, name)(correction=int(unbiased)),
        samples=(Sample(f"x.{_name}(True)", x=(3, 2)),),
    )
    register(
        f"{_name}_mean(Tensor input, int[]? dim=None, *, Scalar? correction=1, bool keepdim=False)",
        doc=f"{_what} and mean.",
        define=lambda x, dim, correction, keepdim, name=_name: (
            getattr(x, name)(dim, correction=correction, keepdim=keepdim),
            x.mean(dim, keepdim),
        ),
        on=("torch",),
        samples=(
            Sample(f"torch.{_name}_mean(x, 0, correction=0)[0]", x=(3, 2)),
            Sample(f"torch.{_name}_mean(x)[1]", x=(3, 2)),
        ),
    )
    register(
        f"{_name}_mean.dim(Tensor input, int[]? dim, bool unbiased=True, bool keepdim=False)",
        doc=f"{_what} and mean.",
        define=lambda x, dim, unbiased, keepdim, name=_name: (
            getattr(x, name)(dim, correction=int(unbiased), keepdim=keepdim),
            x.mean(dim, keepdim),
        ),
        on=("torch",),
        samples=(Sample(f"torch.{_name}_mean(x, 1, False, True)[0]", x=(3, 2)),),
    )
    register(
        f"{_name}_mean.unbiased(Tensor input, bool unbiased)",
        doc=f"{_what} and mean.",
        define=lambda x, unbiased, name=_name: (
            getattr(x, name)(correction=int(unbiased)),
            x.mean(),
        ),
        on=("torch",),
        samples=(Sample(f"torch.{_name}_mean(x, False)[0]", x=(3, 2)),),
    )

# Logarithm of a sum.


def _logsumexp(x: Expr, dim: Sequence[int], *, keepdim: bool) -> Type:
    if not dim and x.ndim:
        raise Invalid("GC014", "logsumexp() needs the dimensions to sum over", argument="dim")
    return Type(over(x, dim, keepdim=keepdim), dtypes.to_default_floating(x.dtype))


def _logsumexp_kernel(x: Any, dim: Sequence[int], keepdim: bool) -> Any:
    """The largest is taken out first, so that no exponential overflows."""
    x = np.asarray(x)
    if x.dtype.kind in "bui":
        x = x.astype(dtypes.default_dtype.get().numpy)
    dims = dims_of(dim, x.ndim)
    largest = np.max(x.real, axis=dims, keepdims=True, initial=-np.inf)
    largest = np.where(np.isfinite(largest), largest, np.zeros_like(largest))
    out = np.log(np.sum(np.exp(x - largest), axis=dims, keepdims=True)) + largest
    return out if keepdim else np.squeeze(out, axis=dims)


def _fused_logsumexp(x: Expr, dim: Sequence[int], keepdim: bool) -> Expr | None:
    if not x.dtype.is_floating or 0 in x.shape or not x.ndim:
        return None
    largest: Expr = x.amax(dim, keepdim=True)
    finite = t.where(largest.isfinite(), largest, 0.0)
    out: Expr = (x - finite).exp().sum(dim, keepdim=True).log() + finite
    return out if keepdim else out.reshape(over(x, dim, keepdim=False))


register(
    "logsumexp(Tensor input, int[] dim, bool keepdim=False)",
    doc="Logarithm of the sum of exponentials.",
    infer=_logsumexp,
    kernel=_logsumexp_kernel,
    vjp=lambda g, out, x, dim, keepdim: (
        restore(g, x, dim, keepdim=keepdim) * (x - restore(out, x, dim, keepdim=keepdim)).exp()
    ),
    fused=_fused_logsumexp,
    also=("torch.special.logsumexp",),
    method=True,
    analytic=True,
    samples=(
        Sample("x.logsumexp(1)", x=(2, 3)),
        Sample("torch.logsumexp(x, (0, -1), keepdim=True)", x=(2, 3, 2)),
        Sample("x.logsumexp(0)", x=()),
        Sample("torch.special.logsumexp(x, 0)", x=(3,)),
        Sample("x.logsumexp(0)", x=(0, 2)),
        Sample("x.logsumexp(0)", x=In((3, 2), low=700.0, high=800.0)),
        Sample("i.logsumexp(0)", i=In((2, 3), dtype="int64", low=0, high=5)),
    ),
)

# Whether, and how many.


def _logical(x: Expr, dim: Dims, *, keepdim: bool) -> Type:
    result = x.dtype if x.dtype is dtypes.uint8 else dtypes.bool_
    return Type(x.shape if dim == () else over(x, dim, keepdim=keepdim), result)


def _logical_kernel(reduce: Any) -> Any:
    def run(x: Any, dim: Dims, *, keepdim: bool) -> Any:
        # A complex step carries the derivative in the imaginary part, which is not part of the value.
        true = np.real(x) != 0
        dims = () if dim == () else dims_of(dim, np.ndim(x))
        out = reduce(true, axis=dims, keepdims=keepdim)
        return out.astype(np.uint8) if np.asarray(x).dtype == np.uint8 else out

    return run


for _name, _reduce in (("any", np.any), ("all", np.all)):
    register(
        f"{_name}(Tensor input, int[]? dim=None, bool keepdim=False)",
        doc=f"Whether {_name} of the elements are true, which is not zero.",
        infer=_logical,
        kernel=_logical_kernel(_reduce),
        method=True,
        samples=(
            Sample(f"m.{_name}()", m=In((2, 3), dtype="bool")),
            Sample(f"torch.{_name}(x, 1)", x=(2, 3)),
            Sample(f"m.{_name}((0, -1), keepdim=True)", m=In((2, 3, 2), dtype="bool")),
            Sample(f"m.{_name}(0)", m=In((0, 3), dtype="bool")),
            Sample(f"i.{_name}(0)", i=In((2, 3), dtype="uint8", low=0, high=2)),
            Sample(f"m.{_name}(())", m=In((2, 3), dtype="bool")),
            Sample(f"m.{_name}(0)", m=In((), dtype="bool")),
        ),
    )
register(
    "count_nonzero(Tensor input, int[]... dim=None)",
    doc="How many elements are not zero.",
    infer=lambda x, dim: Type(over(x, dim, keepdim=False), dtypes.int64),
    kernel=lambda x, dim: np.sum(np.real(x) != 0, axis=dims_of(dim, np.ndim(x)), dtype=np.int64),
    method=True,
    samples=(
        Sample("m.count_nonzero()", m=In((2, 3), dtype="bool")),
        Sample("torch.count_nonzero(x, (0, -1))", x=(2, 3, 2)),
        Sample("x.count_nonzero(dim=1)", x=(2, 0)),
        Sample("x.count_nonzero()", x=()),
    ),
)

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType
