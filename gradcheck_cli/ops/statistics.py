"""Statistics of several variables, and histograms.

Means and spreads of one variable are in `reduce.py`, order statistics in `rank.py` and `quantile.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, infix
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.known import known
from gradcheck_cli.schema import Invalid

# Covariances. A row is a variable, a column an observation.


def _observations(name: str, x: Expr) -> Expr:
    if x.ndim > 2:
        msg = f"{name}() takes a matrix, a row for each variable, not shape {x.shape}"
        raise Invalid("GC015", msg, "flatten what belongs to one variable: x.flatten(1)", "input")
    if x.dtype.kind == "z":
        msg = f"{name}() isn't available for complex tensors ({x.dtype.name})"
        raise Invalid("GC016", msg, "make it real first: x.abs(), x.real or x.imag", "input")
    if x.dtype.kind == "b":
        msg = f"{name}() isn't defined for masks (dtype bool)"
        raise Invalid("GC016", msg, "make numbers of it first: mask.double()", "input")
    return x if x.ndim else x.reshape((1,))


def _check_weights(x: Expr, weights: Expr | None, name: str, kind: str) -> None:
    if weights is None:
        return
    if weights.ndim > 1 or weights.elements != x.shape[-1]:
        msg = f"`{name}` of shape {weights.shape} don't weigh {x.shape[-1]} observations"
        raise Invalid("GC015", msg, "give a vector with one for each column", name)
    if weights.dtype.kind != kind:
        wanted = "whole numbers" if kind == "i" else "floating-point numbers"
        msg = f"`{name}` are {wanted}, not {weights.dtype.name}"
        raise Invalid("GC016", msg, "frequencies go to fweights, other weights to aweights", name)
    values = known(weights)
    if values is not None and (values < 0).any():
        raise Invalid("GC014", f"`{name}` must not be negative", "use weights from 0 on", name)


def _cov(x: Expr, frequencies: Expr | None, weights: Expr | None, correction: int) -> Expr:
    """Where no degree of freedom is left, PyTorch divides by zero."""
    x = _observations("cov", x)
    _check_weights(x, frequencies, "fweights", "i")
    _check_weights(x, weights, "aweights", "f")
    last = x.ndim - 1
    divisor: Any
    if frequencies is None and weights is None:
        deviation = x - x.sum(last, keepdim=True) / x.size(last)
        weighted = deviation
        divisor = infix("sub", x.size(last), correction)
        divisor = divisor if divisor.value > 0 else 0
    else:
        w = weights if frequencies is None else frequencies
        assert w is not None
        if frequencies is not None and weights is not None:
            w = frequencies * weights
        total: Expr = w.sum()
        deviation = x - (x * w).sum(last, keepdim=True) / total
        weighted = deviation * w
        spent: Any = 1 if weights is None else (w * weights).sum() / total
        spent = spent if correction == 1 else correction * spent
        divisor = (total - spent if correction else total).clamp(min=0)
    covariance: Expr = deviation @ (weighted.T if last else weighted) / divisor
    return covariance.squeeze() if x.shape[0] == 1 and last else covariance


_COUNTS = In(value=[1, 2, 1, 3], dtype="int64")

register(
    "cov(Tensor input, *, int correction=1, Tensor? fweights=None, Tensor? aweights=None)",
    doc="The covariances of variables, each a row of observations.",
    define=_cov,
    samples=(
        Sample("torch.cov(x)", x=(3, 4)),
        Sample("x.cov(correction=0)", x=(5,)),
        Sample("x.cov(fweights=f)", x=(2, 4), f=_COUNTS),
        Sample("torch.cov(x, aweights=w)", x=(2, 4), w=In((4,), 0.2, 1.0)),
        Sample(
            "torch.cov(x, correction=2, fweights=f, aweights=w)",
            x=(2, 4),
            f=_COUNTS,
            w=In((4,), 0.2, 1.0),
        ),
        Sample("i.cov()", i=In((2, 4), dtype="int64", low=0, high=9)),
    ),
)


def _corrcoef(x: Expr) -> Expr:
    """PyTorch cuts what rounding leaves above 1 off; there the gradient is 0 anyway."""
    _observations("corrcoef", x)
    covariance: Expr = x.cov()
    if covariance.ndim == 0:
        return covariance / covariance
    spread = covariance.diagonal().sqrt()
    correlation: Expr = covariance / spread.unsqueeze(1) / spread
    return correlation


register(
    "corrcoef(Tensor input)",
    doc="The correlations of variables, each a row of observations.",
    define=_corrcoef,
    samples=(
        Sample("torch.corrcoef(x)", x=(3, 5)),
        Sample("x.corrcoef()", x=(4,)),
        Sample("i.corrcoef()", i=In((2, 4), dtype="int64", low=0, high=9)),
    ),
)

# Histograms.


def _histc(x: Expr, bins: int, **bounds: Any) -> Type:
    if x.dtype.kind != "f":
        msg = f"histc() needs a floating-point tensor, not {x.dtype.name}"
        raise Invalid("GC016", msg, "give the input a floating dtype", "input")
    if bins < 1:
        raise Invalid("GC014", f"histc() can't make {bins} bins", "use 1 or more", "bins")
    low, high = (bounds[name] for name in ("min", "max"))
    if low > high:
        msg = f"the bins of histc() can't go from {low} up to {high}"
        raise Invalid("GC014", msg, "min must be below max", "max")
    return Type((bins,), x.dtype)


def _histc_kernel(x: Any, bins: int, min: Any, max: Any) -> Any:
    """Bins of equal width, the last one closed; equal bounds mean those of the data."""
    x = np.ravel(np.real(x))
    low, high = min, max
    if low == high and x.size:
        low, high = x.min(), x.max()
    if not np.isfinite(high - low):
        msg = f"histc() can't make bins from {low} to {high}"
        raise Invalid("GC014", msg, "give finite `min` and `max`", "min")
    if low == high:
        low, high = low - 1, high + 1
    inside = x[(x >= low) & (x <= high)]
    place = ((inside - low) * (bins / (high - low))).astype(np.int64)
    return np.bincount(np.minimum(place, bins - 1), minlength=bins).astype(x.dtype)


register(
    "histc(Tensor input, int bins=100, Scalar min=0, Scalar max=0)",
    doc="How many elements are in each of a number of equal bins.",
    infer=_histc,
    kernel=_histc_kernel,
    samples=(
        Sample("torch.histc(x, 4)", x=(3, 5)),
        Sample("x.histc(5, min=-1, max=1)", x=(20,)),
        Sample("x.histc(3)", x=()),
        Sample("x.histc(2)", x=(0,)),
    ),
)
