"""Special functions: the error function, the gamma function, and logarithms made safe."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import (
    elementwise_floating,
    numeric,
    register,
    special,
    typed,
    unary,
)
from gradcheck_cli.ops.functions import log1p, within
from gradcheck_cli.schema import Invalid

_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)
_HALF_ROOT_PI = math.sqrt(math.pi) / 2


def _erf(x: Any) -> Any:
    return special.erf(x)


def _erfc(x: Any) -> Any:
    return special.erfc(x)


def _erfinv(x: Any) -> Any:
    return special.erfinv(x)


def _lgamma(x: Any) -> Any:
    """C and PyTorch take infinity at minus infinity."""
    return special.gammaln(np.where(np.isneginf(x), -x, x))


def _polygamma(x: Any, n: int) -> Any:
    """NIST Handbook of Mathematical Functions, 25.11.12: by the Hurwitz zeta function."""
    if n == 0:
        return special.psi(x)
    # math.factorial(171) is no float; the gamma function overflows to infinity.
    return (-1) ** (n + 1) * float(special.gamma(n + 1.0)) * special.zeta(n + 1, x)


unary(
    "erf",
    _erf,
    lambda g, out, x: g * _TWO_OVER_ROOT_PI * (-(x * x)).exp(),
    doc="Error function.",
    also=("torch.special.erf",),
)
unary(
    "erfc",
    _erfc,
    lambda g, out, x: -g * _TWO_OVER_ROOT_PI * (-(x * x)).exp(),
    doc="`1 - erf(x)`, exact for large x.",
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
unary(
    "lgamma",
    _lgamma,
    lambda g, out, x: g * x.digamma(),
    doc="Logarithm of the gamma function's absolute value.",
    domain="positive",
    analytic=False,
    also=("torch.special.gammaln",),
)
unary(
    "digamma",
    lambda x: _polygamma(x, 0),
    lambda g, out, x: g * t.polygamma(1, x),
    doc="Derivative of lgamma.",
    domain="positive",
    analytic=False,
    also=("torch.special.digamma", "torch.special.psi"),
)


def _polygamma_type(x: Expr, n: int) -> Type:
    if n < 0:
        msg = f"polygamma() wants an order n of 0 or more, not {n}"
        raise Invalid("GC014", msg, argument="n")
    return elementwise_floating(x)


register(
    "polygamma(int n, Tensor input)",
    doc="The n-th derivative of digamma.",
    infer=_polygamma_type,
    kernel=typed(_polygamma, floating=True),
    vjp=lambda g, out, x, n: g * t.polygamma(n + 1, x),
    on=("torch",),
    also=("torch.special.polygamma",),
    samples=(
        Sample("torch.polygamma(0, x)", x=In((2, 3), low=0.3, high=3)),
        # Not the order 1: PyTorch's own has no more than 9 digits.
        Sample("torch.polygamma(3, x)", x=In((4,), low=0.3, high=3)),
        Sample("torch.polygamma(2, x)", x=In((), low=0.3, high=3)),
    ),
)
register(
    "polygamma.self(Tensor input, int n)",
    doc="The n-th derivative of digamma.",
    define=lambda x, n: t.polygamma(n, x),
    on=("Tensor",),
    samples=(Sample("x.polygamma(2)", x=In((4,), low=0.3, high=3)),),
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
    infer=elementwise_floating,
    kernel=typed(_xlogy, floating=True),
    vjp=lambda g, out, x, y: (
        t.where(x.eq(0) & (y <= 0), 0.0, t.xlogy(g, y)),
        g * x / y,
    ),
    also=("torch.special.xlogy",),
    analytic=True,
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
