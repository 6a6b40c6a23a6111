"""The parts that a number is made of, sign, exponent and neighbours, and what stands in for a missing one.

The real and imaginary parts are in `complex.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import (
    elementwise,
    elementwise_bool,
    elementwise_floating,
    numeric,
    register,
    require_floating,
    typed,
    unary,
)
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_NAN, _INF = float("nan"), float("inf")

register(
    "copysign(Tensor input, Tensor|Scalar other)",
    doc="The first number's size with the second one's sign.",
    infer=elementwise_floating,
    kernel=typed(np.copysign, floating=True),
    vjp=lambda g, out, x, y: (t.where(x.eq(0), 0.0, g * (out / x)), None),
    kink=lambda x, y: (x,) if y.value is not None else (x, y),
    convention="0 where the first is 0, and always 0 in the second",
    elementwise=True,
    samples=(
        Sample("x.copysign(-2)", x=(4,)),
        Sample("torch.copysign(x, y)", x=(2, 3), y=(3,)),
        Sample("torch.copysign(n, x)", n=In((3,), dtype="int64", low=1, high=4), x=(3,)),
        # Zeros too have a sign, which central differences jump over.
        Sample("x.copysign(y)", x=In(value=[1.0, -2.0]), y=In(value=[-0.0, 0.0]), grad=False),
    ),
)
unary(
    "signbit",
    lambda x: np.signbit(x) if np.asarray(x).dtype.kind == "f" else np.less(x, 0),
    None,
    doc="Whether the sign is minus, that of -0.0 too.",
    floating=False,
    analytic=False,
    infer=elementwise_bool,
    samples=(
        Sample("x.signbit()", x=In(value=[-1.0, -0.0, 0.0, 2.0])),
        Sample("torch.signbit(n)", n=In((4,), dtype="int64", low=-3, high=4)),
    ),
)


def _frexp_type(x: Expr) -> tuple[Type, Type]:
    require_floating(x, "frexp")
    return Type(x.shape, x.dtype), Type(x.shape, dtypes.int32)


def _frexp(x: Any) -> tuple[Any, Any]:
    mantissa, exponent = np.frexp(x)
    return mantissa, np.asarray(exponent, np.int32)


register(
    "frexp(Tensor input)",
    doc="The mantissa, from 0.5 to 1 in size, and the exponent: `mantissa * 2 ** exponent`.",
    infer=_frexp_type,
    kernel=_frexp,
    vjp=lambda g, out, x, output: g / t.exp2(t.frexp(x).exponent),
    outputs=("mantissa", "exponent"),
    kink=lambda x: (t.frexp(x).mantissa.abs() - 0.5,),
    convention="at a power of two, the derivative towards larger sizes",
    samples=(
        Sample("torch.frexp(x).mantissa", x=(3, 4)),
        Sample("x.frexp()[0]", x=()),
        Sample("torch.frexp(x).exponent", x=In(value=[-3.0, 0.0, 0.1, 8.0])),
        Sample(
            "torch.frexp(x).mantissa * torch.exp2(torch.frexp(x).exponent)",
            x=In((5,), low=0.3, high=9),
        ),
        Sample("torch.frexp(x)[0]", x=(0, 3)),
    ),
)


def _needs_floating(name: str) -> Callable[..., Type]:
    return numeric(name, elementwise, floating=True)


register(
    "nextafter(Tensor input, Tensor other)",
    doc="The next number that floating point has, in the direction of the second.",
    infer=_needs_floating("nextafter"),
    kernel=typed(np.nextafter),
    vjp=lambda g, out, x, y: (t.where(x.eq(y), 0.0, g), None),
    kink=lambda x, y: (x - y,),
    convention="0 where the two are equal",
    elementwise=True,
    samples=(
        Sample("torch.nextafter(x, y)", x=(2, 3), y=(3,)),
        Sample("x.nextafter(y)", x=(), y=(2,)),
    ),
)


def _nan_to_num_type(x: Expr, **_: Any) -> Type:
    return Type(x.shape, x.dtype)


def _nan_to_num(x: Any, nan: float | None, posinf: float | None, neginf: float | None) -> Any:
    x = np.asarray(x)
    if x.dtype.kind != "f":
        return x
    return np.nan_to_num(x, nan=nan or 0.0, posinf=posinf, neginf=neginf)


register(
    "nan_to_num(Tensor input, float? nan=None, float? posinf=None, float? neginf=None)",
    doc="NaN made 0, infinities the largest numbers, or what is given for them.",
    infer=_nan_to_num_type,
    kernel=_nan_to_num,
    vjp=lambda g, out, x, nan, posinf, neginf: t.where(x.isfinite(), g, 0.0),
    convention="0 where something was replaced",
    elementwise=True,
    samples=(
        # Differences of the largest numbers overflow.
        Sample("x.nan_to_num()", x=In(value=[1.5, _NAN, _INF, -_INF]), grad=False),
        Sample("torch.nan_to_num(x, 1, 2, -3)", x=In(value=[1.5, _NAN, _INF, -_INF])),
        Sample("x.nan_to_num(nan=0.5) * x", x=(2, 3)),
        Sample("torch.nan_to_num(n)", n=In((4,), dtype="int64", low=-3, high=4)),
    ),
)


def _heaviside_type(x: Expr, values: Expr) -> Type:
    if x.dtype is not values.dtype:
        msg = (
            f"heaviside() wants one dtype, but input is {x.dtype.name} and values "
            f"{values.dtype.name}"
        )
        raise Invalid("GC016", msg, "give both the same dtype", "values")
    return elementwise(x, values)


register(
    "heaviside(Tensor input, Tensor values)",
    doc="0 for negative numbers, 1 for positive ones, and the given values at 0.",
    infer=_heaviside_type,
    kernel=lambda x, values: np.where(
        np.equal(x, 0), values, np.greater(x, 0).astype(np.result_type(values))
    ),
    vjp=lambda g, out, x, values: (None, t.where(x.eq(0), g, 0.0)),
    kink=lambda x, values: (x,),
    convention="0 in the input everywhere; PyTorch has no derivative of it",
    broadcasts=True,
    samples=(
        # PyTorch has no derivative of it.
        Sample("torch.heaviside(x, y)", x=(2, 3), y=(3,), grad=False),
        Sample("x.heaviside(y)", x=In(value=[-1.0, 0.0, 2.0]), y=(), grad=False),
        Sample("torch.heaviside(x, y)", x=(), y=(0, 2), grad=False),
        Sample("torch.heaviside(n, n)", n=In((5,), dtype="int64", low=-2, high=3)),
    ),
)
