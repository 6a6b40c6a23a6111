"""Special functions: the error function, sinc, and logarithms made safe.

Others are in `gamma.py`, `normal.py`, `bessel.py` and `polynomials.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import (
    elementwise_floating,
    numeric,
    one_tensor,
    register,
    special,
    typed,
    unary,
)
from gradcheck_cli.ops.functions import log1p, within

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
_LN2 = math.log(2)
_HALF_ROOT_PI = math.sqrt(math.pi) / 2


def _erf(x: Any) -> Any:
    return special.erf(x)


def _erfc(x: Any) -> Any:
    return special.erfc(x)


def _erfinv(x: Any) -> Any:
    return special.erfinv(x)


unary(
    "erf",
    _erf,
    lambda g, out, x: g * _TWO_OVER_ROOT_PI * (-(x * x)).exp(),
    doc="Error function.",
    complex=False,
    also=("torch.special.erf",),
)
unary(
    "erfc",
    _erfc,
    lambda g, out, x: -g * _TWO_OVER_ROOT_PI * (-(x * x)).exp(),
    doc="`1 - erf(x)`, exact for large x.",
    complex=False,
    also=("torch.special.erfc",),
)
unary(
    "erfinv",
    _erfinv,
    lambda g, out, x: g * _HALF_ROOT_PI * (out * out).exp(),
    doc="Inverse of the error function.",
    domain="unit",
    analytic=False,
    also=("torch.special.erfinv",),
)


def _logit(x: Any, eps: float | None) -> Any:
    if eps is not None:
        x = np.where(x.real < eps, eps, np.where(x.real > 1 - eps, 1 - eps, x))
    return np.log(x) - log1p(-x)


def _logit_vjp(g: Expr, out: Expr, x: Expr, eps: float | None) -> Expr:
    inside = g / (x * (1 - x))
    if eps is None:
        return t.where((x < 0) | (x > 1), math.nan, inside)  # type: ignore[no-any-return]
    return t.where((x < eps) | (x > 1 - eps), 0.0, inside)  # type: ignore[no-any-return]


register(
    "logit(Tensor input, float? eps=None)",
    doc="`log(x / (1 - x))`, with eps after clamping to [eps, 1 - eps].",
    infer=lambda x, eps: elementwise_floating(x),
    kernel=typed(_logit, floating=True),
    vjp=_logit_vjp,
    also=("torch.special.logit",),
    kink=lambda x, eps: () if eps is None else (x - eps, x - (1 - eps)),
    convention="at a bound, the gradient passes",
    samples=(
        Sample("torch.logit(x)", x=In((2, 3), low=0.05, high=0.95)),
        Sample("x.logit(eps=0.2)", x=In((7,), low=0.01, high=0.99)),
        Sample("x.logit()", x=In((), low=0.05, high=0.95)),
    ),
)


def _xlogy(x: Any, y: Any) -> Any:
    y = np.asarray(y, np.result_type(x, y))
    return np.where((x == 0) & ~np.isnan(y), 0, x * _log(y))


_log = within(np.log, 0)

register(
    "xlogy(Tensor|Scalar input, Tensor|Scalar other)",
    doc="`x * log(y)`, 0 where x is 0.",
    infer=one_tensor("xlogy", elementwise_floating),
    kernel=typed(_xlogy, floating=True),
    vjp=lambda g, out, x, y: (
        t.where(x.eq(0) & (y <= 0), 0.0, t.xlogy(g, y)),
        g * x / y,
    ),
    also=("torch.special.xlogy",),
    analytic=True,
    complex=False,
    elementwise=True,
    domain="positive",
    convention="where x is 0 and y isn't positive, 0 in x",
    samples=(
        Sample("torch.xlogy(x, 2.5)", x=(3,)),
        Sample("torch.xlogy(2, x)", x=In((3,), low=0.3, high=3)),
        Sample(
            "torch.xlogy(n, x)", n=In(value=[0, 1, 3], dtype="int64"), x=In((3,), low=0.3, high=3)
        ),
    ),
)


def _logaddexp(x: Any, y: Any) -> Any:
    if not np.iscomplexobj(x) and not np.iscomplexobj(y):
        return np.logaddexp(x, y)
    first = np.real(x) >= np.real(y)
    high, low = np.where(first, x, y), np.where(first, y, x)
    return high + log1p(np.exp(low - high))


register(
    "logaddexp(Tensor input, Tensor other)",
    doc="`log(exp(x) + exp(y))` without overflow.",
    infer=numeric("logaddexp", floating=True),
    kernel=typed(_logaddexp),
    vjp=lambda g, out, x, y: (g * (x - y).sigmoid(), g * (y - x).sigmoid()),
    analytic=True,
    elementwise=True,
)


def _xlog1py(x: Any, y: Any) -> Any:
    y = np.asarray(y, np.result_type(x, y))
    return np.where((x == 0) & ~np.isnan(y), 0, x * _log1p(y))


_log1p = within(log1p, -1)


register(
    "xlog1py(Tensor|Scalar input, Tensor|Scalar other)",
    doc="`x * log1p(y)`, 0 where x is 0.",
    infer=one_tensor("xlog1py", elementwise_floating),
    kernel=typed(_xlog1py, floating=True),
    vjp=lambda g, out, x, y: (
        t.where(x.eq(0) & (y <= -1), 0.0, t.xlog1py(g, y)),
        g * x / (y + 1),
    ),
    on=(),
    also=("torch.special.xlog1py",),
    analytic=True,
    complex=False,
    elementwise=True,
    domain="positive",
    convention="where x is 0 and y isn't above -1, 0 in x",
    samples=(
        Sample("torch.special.xlog1py(x, 2.5)", x=(3,)),
        Sample("torch.special.xlog1py(2, x)", x=In((3,), low=-0.7, high=3)),
        Sample(
            "torch.special.xlog1py(n, x)",
            n=In(value=[0, 1, 3], dtype="int64"),
            x=In((3,), low=-0.7, high=3),
        ),
        Sample(
            "torch.special.xlog1py(x, y)", x=In(value=[0.0, 0.0, 2.0]), y=In(value=[-1.0, 0.0, 3.0])
        ),
    ),
)


def _logaddexp2(x: Any, y: Any) -> Any:
    if not np.iscomplexobj(x) and not np.iscomplexobj(y):
        return np.logaddexp2(x, y)
    first = np.real(x) >= np.real(y)
    high, low = np.where(first, x, y), np.where(first, y, x)
    return high + log1p(np.exp((low - high) * _LN2)) / _LN2


register(
    "logaddexp2(Tensor input, Tensor other)",
    doc="`log2(2 ** x + 2 ** y)` without overflow.",
    infer=numeric("logaddexp2", floating=True),
    kernel=typed(_logaddexp2),
    vjp=lambda g, out, x, y: (g / (1 + (y - x).exp2()), g / (1 + (x - y).exp2())),
    analytic=True,
    complex=False,
    elementwise=True,
)


def _sinc(x: Any) -> Any:
    scaled = np.pi * x
    value = np.where(scaled == 0, 1, np.sin(scaled) / np.where(scaled == 0, 1, scaled))
    if value.dtype.kind != "c":
        return value
    # Off the real axis the imaginary part is a difference of two terms that cancel near 0.
    square = scaled * scaled
    series = np.ones_like(square)
    for k in range(7, 0, -1):
        series = 1 - square / (2 * k * (2 * k + 1)) * series
    return np.where(np.abs(scaled) < 0.5, series, value)


def _sinc_vjp(g: Expr, out: Expr, x: Expr) -> Expr:
    """The textbook's rule; at 0 the beginning of its series, which has the right derivative there."""
    at_0 = x.eq(0)
    # What isn't taken must be finite as well, or its derivative is NaN times 0.
    slope = ((math.pi * x).cos() - out) / t.where(at_0, 1.0, x)
    return g * t.where(at_0, x * (-(math.pi**2) / 3), slope)  # type: ignore[no-any-return]


unary(
    "sinc",
    _sinc,
    _sinc_vjp,
    doc="`sin(pi * x) / (pi * x)`, 1 at 0.",
    also=("torch.special.sinc",),
    samples=(
        Sample("torch.sinc(n)", n=In((4,), dtype="int64", low=-3, high=4)),
        # The second derivative at 0 is NaN in PyTorch.
        Sample("torch.special.sinc(x)", x=In(value=[-2.0, 0.0, 0.3]), second=False),
    ),
)
