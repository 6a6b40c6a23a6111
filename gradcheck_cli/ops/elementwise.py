"""Arithmetic, element by element: what Python writes with an operator.

Functions of one number are in `functions.py`, maximum, clamp and where in `choice.py`.
"""

from __future__ import annotations

import math
import operator
from functools import reduce
from typing import Any

import numpy as np

from gradcheck_cli.graph import CONST, Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import (
    common,
    elementwise,
    elementwise_floating,
    numeric,
    register,
    typed,
)
from gradcheck_cli.schema import Invalid


def _positive(*shape: int) -> In:
    return In(shape, low=0.3, high=3.0)


def _refuse_alpha(result: Type, alpha: Any) -> None:
    if result.dtype.kind != "b" and isinstance(alpha, bool):
        msg = "alpha can be True or False only where the result is a mask"
        raise Invalid("GC014", msg, "give it as a number", "alpha")
    if result.dtype.kind in "bi" and isinstance(alpha, float):
        msg = f"alpha can't be {alpha} where the result is {result.dtype.name}"
        raise Invalid("GC014", msg, "use a whole number, or floating-point tensors", "alpha")


def _add_type(x: Expr, y: Expr, alpha: Any) -> Type:
    result = elementwise(x, y)
    _refuse_alpha(result, alpha)
    return result


def _sub_type(x: Expr, y: Expr, alpha: Any) -> Type:
    result = elementwise(x, y)
    if "b" in (x.dtype.kind, y.dtype.kind):
        msg = "`-` isn't defined for masks (dtype bool)"
        raise Invalid("GC016", msg, "invert a mask with ~mask; count with mask.sum()")
    _refuse_alpha(result, alpha)
    return result


def _times(y: Any, alpha: Any) -> Any:
    """`alpha * y`, modulo 256 where both sides are uint8, as everything is there."""
    if alpha == 1:
        return y
    kind = np.asarray(y).dtype
    return y * (np.asarray(alpha).astype(kind) if kind.kind == "u" else alpha)


register(
    "add(Tensor|Scalar input, Tensor|Scalar other, *, Scalar alpha=1)",
    doc="Sum of two tensors, the second scaled by alpha.",
    infer=_add_type,
    kernel=typed(lambda x, y, alpha: np.add(x, _times(y, alpha))),
    vjp=lambda g, out, x, y, alpha: (g, g if alpha == 1 else g * alpha),
    scalar=lambda x, y, alpha: x + y if alpha == 1 else x + alpha * y,
    infix="+",
    analytic=True,
    ufunc=lambda node: np.add if node.attributes["alpha"] == 1 else None,
    elementwise=True,
    samples=(
        Sample("torch.add(x, y, alpha=2.5)", x=(2, 3), y=(3,)),
        Sample("x.add(1)", x=(3,)),
        Sample("2 + x", x=(2, 2)),
        Sample("x + n", x=(3,), n=In((3,), dtype="int64", low=-4, high=5)),
    ),
)
register(
    "sub(Tensor|Scalar input, Tensor|Scalar other, *, Scalar alpha=1)",
    doc="Difference of two tensors, the second scaled by alpha.",
    infer=_sub_type,
    kernel=typed(lambda x, y, alpha: np.subtract(x, _times(y, alpha))),
    vjp=lambda g, out, x, y, alpha: (g, -g if alpha == 1 else -g * alpha),
    scalar=lambda x, y, alpha: x - y if alpha == 1 else x - alpha * y,
    aliases=("subtract",),
    infix="-",
    analytic=True,
    ufunc=lambda node: np.subtract if node.attributes["alpha"] == 1 else None,
    elementwise=True,
    samples=(
        Sample("torch.sub(x, y, alpha=3)", x=(2, 3), y=(2, 1)),
        Sample("x.subtract(0.5)", x=(3,)),
        Sample("1 - x", x=()),
    ),
)
register(
    "rsub(Tensor input, Tensor|Scalar other, *, Scalar alpha=1)",
    doc="The first tensor, scaled by alpha, subtracted from the second.",
    define=lambda input, other, alpha: other - (input if alpha == 1 else input * alpha),
    on=("torch",),
    elementwise=True,
    samples=(
        Sample("torch.rsub(x, 2)", x=(3,)),
        Sample("torch.rsub(x, y, alpha=1.5)", x=(2, 3), y=(3,)),
    ),
)
register(
    "mul(Tensor|Scalar input, Tensor|Scalar other)",
    doc="Product, element by element.",
    infer=elementwise,
    kernel=typed(np.multiply),
    vjp=lambda g, out, x, y: (g * y, g * x),
    scalar=operator.mul,
    aliases=("multiply",),
    infix="*",
    analytic=True,
    ufunc=np.multiply,
    elementwise=True,
    samples=(
        Sample("x * 3", x=(2, 2)),
        Sample("2.5 * x", x=()),
        Sample("x.multiply(y)", x=(2, 1), y=(2,)),
        Sample("x * m", x=(2, 3), m=In((3,), dtype="bool")),
    ),
)

# The quotient comes first, so that neither a tiny nor a huge denominator is squared.
_DIVISION = "div(Tensor|Scalar input, Tensor|Scalar other)"


def _div_vjp(g: Expr, out: Expr, x: Expr, y: Expr) -> tuple[Expr, Expr]:
    return g / y, -g * (out / y)


register(
    _DIVISION,
    doc="Quotient, element by element; integers are divided as real numbers.",
    infer=elementwise_floating,
    kernel=typed(np.true_divide, floating=True),
    vjp=_div_vjp,
    scalar=operator.truediv,
    aliases=("divide", "true_divide"),
    infix="/",
    analytic=True,
    ufunc=np.true_divide,
    elementwise=True,
    domain="positive",
    samples=(
        Sample("x / 4", x=(2, 3)),
        Sample("1 / x", x=_positive(2, 3)),
        Sample("torch.true_divide(x, n)", x=(3,), n=In((3,), dtype="int64", low=1, high=5)),
    ),
)


def _div_type(x: Expr, y: Expr, rounding_mode: str | None) -> Type:
    if rounding_mode is None:
        return elementwise_floating(x, y)
    if rounding_mode not in ("trunc", "floor"):
        msg = f"rounding_mode is None, 'trunc' or 'floor', not {rounding_mode!r}"
        raise Invalid("GC014", msg, argument="rounding_mode")
    return numeric("div")(x, y)


def _rounded_quotient(x: Any, y: Any, rounding_mode: str | None) -> Any:
    if rounding_mode is None:
        return np.true_divide(*common(x, y, floating=True))
    x, y = common(x, y)
    if rounding_mode == "floor":
        return _floor_divide(x, y)
    if np.result_type(x, y).kind == "f":
        return np.trunc(np.divide(x, y))
    # Through floating point, large integers would lose digits.
    return np.floor_divide(x, y) + ((np.remainder(x, y) != 0) & ((x < 0) != (y < 0)))


def _floor_divide(x: Any, y: Any) -> Any:
    quotient = np.floor_divide(x, y)
    if np.result_type(quotient).kind != "f":
        return quotient
    # As in C, where PyTorch has it from: x / 0 is infinite.
    return np.where(np.equal(y, 0), np.divide(x, y), quotient)


register(
    "div.Tensor_mode(Tensor|Scalar input, Tensor|Scalar other, *, str? rounding_mode)",
    doc="Quotient, rounded towards zero ('trunc') or down ('floor').",
    infer=_div_type,
    kernel=_rounded_quotient,
    vjp=lambda g, out, x, y, rounding_mode: (
        _div_vjp(g, out, x, y) if rounding_mode is None else (None, None)
    ),
    aliases=("divide",),
    kink=lambda x, y, rounding_mode: () if rounding_mode is None else _whole(x / y),
    convention="the derivative of a rounded quotient is 0 everywhere",
    samples=(
        Sample("torch.div(x, y, rounding_mode=None)", x=(2,), y=_positive(2)),
        Sample("torch.div(x, y, rounding_mode='trunc')", x=(2, 3), y=_positive(3)),
        Sample("x.divide(0.7, rounding_mode='floor')", x=(5,)),
        Sample(
            "n.div(k, rounding_mode='trunc')",
            n=In((6,), dtype="int64", low=-9, high=9),
            k=In((6,), dtype="int64", low=2, high=5),
        ),
        Sample("n.div(-3, rounding_mode='floor')", n=In((6,), dtype="int64", low=-9, high=9)),
    ),
)


def _whole(x: Expr) -> tuple[Expr]:
    """Zero where x is a whole number."""
    return (x - x.round(),)


register(
    "floor_divide(Tensor|Scalar input, Tensor|Scalar other)",
    doc="Quotient rounded down, `x // y`. PyTorch has no derivative for it.",
    infer=numeric("floor_divide"),
    kernel=typed(_floor_divide),
    scalar=operator.floordiv,
    infix="//",
    elementwise=True,
    domain="positive",
    samples=(
        Sample("x // 0.7", x=(5,), grad=False),  # PyTorch has no derivative
        Sample("n // -3", n=In((6,), dtype="int64", low=-9, high=9)),
    ),
)
register(
    "remainder(Tensor|Scalar input, Tensor|Scalar other)",
    doc="Remainder of the division, with the divisor's sign, as Python's `%`.",
    infer=numeric("remainder"),
    kernel=typed(np.remainder),
    vjp=lambda g, out, x, y: (g, -g * t.div(x, y, rounding_mode="floor")),
    scalar=operator.mod,
    infix="%",
    kink=lambda x, y: _whole(x / y),
    convention="at a jump, the derivative of either side: 1 for the dividend",
    elementwise=True,
    domain="positive",
    samples=(
        Sample("x % 0.7", x=(5,)),
        # PyTorch has no derivative where the dividend is a number.
        Sample("5 % x", x=In((4,), low=1.1, high=1.6), grad=False),
        Sample("n % -3", n=In((6,), dtype="int64", low=-9, high=9)),
    ),
)
register(
    "fmod(Tensor input, Tensor|Scalar other)",
    doc="Remainder of the division, with the dividend's sign, as in C.",
    infer=numeric("fmod"),
    kernel=typed(np.fmod),
    vjp=lambda g, out, x, y: (g, -g * t.div(x, y, rounding_mode="trunc")),
    kink=lambda x, y: _whole(x / y),
    convention="at a jump, the derivative of either side: 1 for the dividend",
    elementwise=True,
    domain="positive",
    samples=(Sample("x.fmod(0.7)", x=(5,)), Sample("torch.fmod(x, y)", x=(4,), y=(4,))),
)


def _pow_type(x: Expr, y: Expr) -> Type:
    result = numeric("pow")(x, y)
    if result.dtype.kind == "i" and y.value is not None and y.value < 0:
        msg = "whole numbers can't be raised to a negative whole power"
        raise Invalid("GC014", msg, "make the base or the exponent floating-point", "exponent")
    return result


def _pow(x: Any, y: Any) -> Any:
    x, y = common(x, y)
    kind = np.result_type(x, y).kind
    if kind == "c":
        return _complex_pow(x, y)
    if kind != "i":
        return x**y
    # NumPy refuses negative exponents; PyTorch truncates 1 / x ** -y to a whole number.
    power = x ** np.maximum(y, 0)
    unit = np.where(np.abs(x) == 1, np.where(np.mod(y, 2) == 0, 1, x), 0)
    return np.where(y < 0, unit, power).astype(power.dtype, copy=False)


_FEW_FACTORS = (1, 2, 3, 4)


def _complex_pow(x: Any, y: Any) -> Any:
    """`x ** y` beside the real axis, where imaginary parts are tiny and must keep their digits.

    NaN where the real function is: a negative base with an exponent that is no whole number.
    """
    x, y = np.asarray(x), np.asarray(y)
    if y.dtype.kind == "c":
        at_zero = np.where(y.real > 0, 0.0, np.nan)
        moved = np.where(x.real > 0, np.power(x, y), np.where(x == 0, at_zero, np.nan))
        return np.where(y.imag != 0, moved, _complex_pow(x, y.real))
    if y.ndim == 0 and y in _FEW_FACTORS:
        return reduce(np.multiply, [x] * int(y))  # exact signs, and a tenth of the time
    # A negative base is flipped, so that its angle is tiny rather than a rounded pi.
    negative = x.real < 0
    base = np.where(negative, -x, x)
    angle = y * np.angle(base)
    size = np.abs(base) ** y
    sign = np.where(negative & (np.mod(y, 2) == 1), -1.0, 1.0)
    sign = np.where(negative & (np.floor(y) != y), np.nan, sign)
    return sign * size * (np.cos(angle) + 1j * np.sin(angle))


def _pow_base(g: Expr, x: Expr, y: Expr) -> Expr | None:
    """PyTorch takes 0 for the exponent 0, whatever the base."""
    if y.op is CONST and y.value == 0:
        return None
    if y.op is CONST and y.value == 1:
        return g
    slope = y * x if y.op is CONST and y.value == 2 else y * x ** (y - 1)
    return g * slope if y.value is not None else t.where(y.eq(0), 0.0, g * slope)


def _pow_exponent(g: Expr, out: Expr, x: Expr, y: Expr) -> Expr | None:
    """PyTorch takes 0 for the base 0 with an exponent that isn't negative."""
    if y.value is not None:
        return None
    if y.dtype.kind == "z":
        y = t.real(y)
    if x.op is CONST and x.value and out.dtype.kind != "z":
        return g * (out * (math.log(x.value) if x.value > 0 else math.nan))
    if x.value is not None:
        x = t.full_like(y, x)
    return t.where(x.eq(0) & (y >= 0), 0.0, g * (out * x.log()))  # type: ignore[no-any-return]


register(
    "pow(Tensor|Scalar input, Tensor|Scalar exponent)",
    doc="Power, `x ** y`.",
    infer=_pow_type,
    kernel=_pow,
    complex_kernel=np.power,
    vjp=lambda g, out, x, y: (_pow_base(g, x, y), _pow_exponent(g, out, x, y)),
    scalar=operator.pow,
    infix="**",
    analytic=True,
    kink=lambda x, y: (
        () if (isinstance(y.value, int) and y.value >= 0) or x.value is not None else (x,)
    ),
    convention="0 for the exponent 0 and, in the exponent, for the base 0",
    elementwise=True,
    domain="positive",
    samples=(
        Sample("x.pow(2)", x=(2, 3)),
        Sample("x ** 3", x=In(value=[-1.5, 0.0, 2.0])),
        Sample("x ** 0", x=In(value=[-1.5, 0.0, 2.0])),
        Sample("x ** 1.0", x=(3,)),
        Sample("x ** -2", x=_positive(3)),
        Sample("x ** 0.5", x=_positive(3)),
        Sample("2 ** x", x=(3,)),
        Sample("torch.pow(2.5, x)", x=()),
        Sample("x ** n", x=(2, 4), n=In(value=[0, 1, 2, 3], dtype="int64")),
        Sample("x ** x.numel()", x=(3,)),
        Sample("x.numel() ** x", x=(3,)),
        Sample("n ** 3", n=In((4,), dtype="int64", low=-3, high=4)),
        Sample(
            "n ** k",
            n=In(value=[-2, -1, 1, 3], dtype="int64"),
            k=In(value=[-1, -3, -2, 2], dtype="int64"),
        ),
    ),
)
register(
    "neg(Tensor|Scalar input)",
    doc="The negative, `-x`.",
    infer=numeric("neg"),
    kernel=np.negative,
    vjp=lambda g, out, x: -g,
    scalar=operator.neg,
    aliases=("negative",),
    infix="-",
    analytic=True,
    ufunc=np.negative,
    elementwise=True,
    samples=(Sample("-x", x=(2, 3)), Sample("-n", n=In((4,), dtype="int64", low=-3, high=4))),
)
register(
    "positive(Tensor input)",
    doc="The tensor itself.",
    infer=numeric("positive"),
    kernel=lambda x: x,
    vjp=lambda g, out, x: g,
    scalar=operator.pos,
    analytic=True,
    elementwise=True,
)
