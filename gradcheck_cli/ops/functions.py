"""Mathematical functions of one number, applied to every element (and of two: atan2, hypot)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.dtypes import REAL_OF
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import (
    elementwise,
    elementwise_floating,
    numeric,
    register,
    special,
    typed,
    unary,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_LN2, _LN10 = math.log(2), math.log(10)
# What the square of a smaller imaginary part would add to a logarithm is below 1e-40.
_BESIDE = 1e-20


def within(kernel: Callable[..., Any], low: float, high: float = math.inf) -> Callable[..., Any]:
    """`kernel` for complex arrays too, NaN beside the interval in which the real function lives."""

    def run(x: Any) -> Any:
        out = kernel(x)
        if out.dtype.kind != "c":
            return out
        inside = (x.real > low) & (x.real < high) | (x.imag == 0)
        return np.where(inside, out, complex(math.nan, math.nan))

    return run


def log1p(x: Any) -> Any:
    """NumPy's complex one cancels near 0.

    Beside the real axis by a complex step alone, log |1 + z| is that of the real part, and SciPy, whose
    import takes longer than most checks, isn't needed.
    """
    if not np.iscomplexobj(x):
        return np.log1p(x)
    if np.abs(x.imag).max(initial=0) > _BESIDE or not (x.real > -0.5).all():
        return special.log1p(x)
    out = np.empty(x.shape, x.dtype)
    out.real, out.imag = np.log1p(x.real), np.arctan2(x.imag, 1 + x.real)
    return out


def _expm1(x: Any) -> Any:
    return special.expm1(x) if np.iscomplexobj(x) else np.expm1(x)


def sigmoid(x: Any) -> Any:
    """Of the two equal forms the one whose exponential can't overflow."""
    right = x.real >= 0
    small = np.exp(np.where(right, -x, x))
    return np.where(right, 1, small) / (1 + small)


def _absolute(x: Expr) -> Type:
    """infer: complex numbers have real absolute values."""
    found = numeric("abs")(x)
    return Type(found.shape, REAL_OF.get(found.dtype, found.dtype))


unary(
    "abs",
    np.abs,
    lambda g, out, x: g * (x.sgn() if x.dtype.kind == "z" else x.sign()),
    doc="Absolute value.",
    floating=False,
    analytic=False,
    complex=True,
    infer=_absolute,
    aliases=("absolute",),
    kink=lambda x: (x,) if x.dtype.kind != "z" else (t.real(x), t.imag(x)),
    convention="0 at 0",
    samples=(
        Sample("torch.complex(x, y).abs()", x=(2, 3), y=(2, 3)),
        Sample("x.abs()", x=In(value=[-1.5, 0.5, 2.0])),
        Sample("n.absolute()", n=In((4,), dtype="int64", low=-3, high=4)),
    ),
)
unary(
    "sign",
    lambda x: x if np.asarray(x).dtype.kind == "b" else np.where(np.isnan(x), 0, np.sign(x)),
    lambda g, out, x: None,
    doc="-1, 0 or 1.",
    floating=False,
    analytic=False,
    kink=lambda x: (x,),
    convention="the derivative is 0 everywhere",
    samples=(Sample("n.sign()", n=In((4,), dtype="int64", low=-3, high=4)),),
)
unary(
    "exp",
    np.exp,
    lambda g, out, x: g * out,
    doc="Exponential function.",
    samples=(Sample("n.exp()", n=In((3,), dtype="bool")),),
)
unary(
    "expm1",
    _expm1,
    lambda g, out, x: g * x.exp(),
    ufunc=np.expm1,
    doc="`exp(x) - 1`, exact for small x.",
    also=("torch.special.expm1",),
)
unary(
    "exp2",
    np.exp2,
    lambda g, out, x: g * out * _LN2,
    doc="`2 ** x`.",
    also=("torch.special.exp2",),
)
unary(
    "log",
    within(np.log, 0),
    lambda g, out, x: g / x,
    ufunc=np.log,
    complex_kernel=np.log,
    doc="Natural logarithm.",
    domain="positive",
    samples=(Sample("n.log()", n=In((3,), dtype="int64", low=1, high=9)),),
)
unary(
    "log1p",
    within(log1p, -1),
    lambda g, out, x: g / (x + 1),
    ufunc=np.log1p,
    complex_kernel=log1p,
    doc="`log(1 + x)`, exact for small x.",
    domain="positive",
    also=("torch.special.log1p",),
    samples=(Sample("torch.log1p(x)", x=In((4,), low=-0.8, high=0.5)),),
)
unary(
    "log2",
    within(np.log2, 0),
    lambda g, out, x: g / (x * _LN2),
    ufunc=np.log2,
    complex_kernel=np.log2,
    doc="Logarithm to the base 2.",
    domain="positive",
)
unary(
    "log10",
    within(np.log10, 0),
    lambda g, out, x: g / (x * _LN10),
    ufunc=np.log10,
    complex_kernel=np.log10,
    doc="Logarithm to the base 10.",
    domain="positive",
)
unary(
    "sqrt",
    within(np.sqrt, 0),
    lambda g, out, x: g / (2 * out),
    ufunc=np.sqrt,
    complex_kernel=np.sqrt,
    doc="Square root.",
    domain="positive",
    kink=lambda x: (x,),
    convention="infinite at 0",
)
unary(
    "rsqrt",
    within(lambda x: 1 / np.sqrt(x), 0),
    lambda g, out, x: -0.5 * g * out**3,
    complex_kernel=lambda x: 1 / np.sqrt(x),
    doc="`1 / sqrt(x)`.",
    domain="positive",
)
register(
    "square(Tensor input)",
    doc="`x * x`.",
    define=lambda input: input**2,
    elementwise=True,
    samples=(Sample("n.square()", n=In((4,), dtype="int64", low=-3, high=4)),),
)
unary(
    "reciprocal",
    np.reciprocal,
    lambda g, out, x: -g * (out * out),
    doc="`1 / x`.",
    domain="positive",
    samples=(Sample("n.reciprocal()", n=In((3,), dtype="int64", low=1, high=9)),),
)
unary("sin", np.sin, lambda g, out, x: g * x.cos(), doc="Sine.")
unary("cos", np.cos, lambda g, out, x: -g * x.sin(), doc="Cosine.")
unary("tan", np.tan, lambda g, out, x: g * (1 + out * out), doc="Tangent.", domain="unit")
unary(
    "asin",
    within(np.arcsin, -1, 1),
    lambda g, out, x: g / (1 - x * x).sqrt(),
    ufunc=np.arcsin,
    complex_kernel=np.arcsin,
    doc="Inverse of the sine.",
    domain="unit",
    aliases=("arcsin",),
)
unary(
    "acos",
    within(np.arccos, -1, 1),
    lambda g, out, x: -g / (1 - x * x).sqrt(),
    ufunc=np.arccos,
    complex_kernel=np.arccos,
    doc="Inverse of the cosine.",
    domain="unit",
    aliases=("arccos",),
)
unary(
    "atan",
    np.arctan,
    lambda g, out, x: g / (1 + x * x),
    doc="Inverse of the tangent.",
    aliases=("arctan",),
)
unary("sinh", np.sinh, lambda g, out, x: g * x.cosh(), doc="Hyperbolic sine.")
unary("cosh", np.cosh, lambda g, out, x: g * x.sinh(), doc="Hyperbolic cosine.")
unary(
    "tanh",
    np.tanh,
    lambda g, out, x: g * (1 - out * out),
    doc="Hyperbolic tangent.",
    on=("torch", "Tensor", "F"),
)
unary(
    "asinh",
    np.arcsinh,
    lambda g, out, x: g / (x * x + 1).sqrt(),
    doc="Inverse of the hyperbolic sine.",
    aliases=("arcsinh",),
)
unary(
    "acosh",
    within(np.arccosh, 1),
    # On the plane, the root of the product may be on another branch than the product of the roots.
    lambda g, out, x: (
        g / ((x - 1).sqrt() * (x + 1).sqrt() if x.dtype.kind == "z" else (x * x - 1).sqrt())
    ),
    ufunc=np.arccosh,
    complex_kernel=np.arccosh,
    doc="Inverse of the hyperbolic cosine.",
    domain="above_one",
    aliases=("arccosh",),
)
unary(
    "atanh",
    within(np.arctanh, -1, 1),
    lambda g, out, x: g / (1 - x * x),
    ufunc=np.arctanh,
    complex_kernel=np.arctanh,
    doc="Inverse of the hyperbolic tangent.",
    domain="unit",
    aliases=("arctanh",),
)
unary(
    "sigmoid",
    sigmoid,
    lambda g, out, x: g * out * (1 - out),
    doc="Logistic function `1 / (1 + exp(-x))`.",
    on=("torch", "Tensor", "F"),
    also=("torch.special.expit",),
    samples=(
        Sample("torch.special.expit(x)", x=In(value=[-800.0, -30.0, 0.0, 30.0, 800.0])),
        Sample("n.sigmoid()", n=In((3,), dtype="int64", low=-2, high=3)),
    ),
)


def _over(x: Expr, square: Expr) -> Expr:
    return t.where(square.eq(0), 0.0, x / square)  # type: ignore[no-any-return]


register(
    "atan2(Tensor input, Tensor other)",
    doc="The angle of the point (other, input).",
    infer=elementwise_floating,
    kernel=typed(np.arctan2, floating=True),
    vjp=lambda g, out, y, x: (_over(g * x, x * x + y * y), _over(-g * y, x * x + y * y)),
    aliases=("arctan2",),
    kink=lambda y, x: (x * x + y * y,),
    convention="0 at the origin",
    elementwise=True,
)
register(
    "hypot(Tensor input, Tensor other)",
    doc="`sqrt(x ** 2 + y ** 2)` without overflow.",
    infer=numeric("hypot", elementwise, floating=True),
    kernel=typed(np.hypot),
    vjp=lambda g, out, x, y: (g * (x / out), g * (y / out)),
    kink=lambda x, y: (x.abs() + y.abs(),),
    convention="NaN where both are 0",
    elementwise=True,
)
