"""Arithmetic put together from other operators: addcmul, ldexp, float_power, degrees and radians."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_cli.dtypes import complex128, float64
from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import common, elementwise_floating, promote, register
from gradcheck_cli.schema import Invalid

_LN2 = math.log(2)


def _scaled(product: Expr, value: Any) -> Expr:
    return product if value == 1 and not isinstance(value, bool) else value * product


def _addcmul(input: Expr, tensor1: Expr, tensor2: Expr, value: Any) -> Expr:
    kind = promote(input, tensor1, tensor2).kind
    if kind == "b":
        msg = "addcmul() isn't defined for masks (dtype bool)"
        raise Invalid("GC016", msg, "combine masks with & and |")
    if kind == "i" and isinstance(value, float):
        msg = f"addcmul() of whole numbers can't take the value {value}"
        raise Invalid("GC014", msg, "use a whole number, or floating-point tensors", "value")
    return input + _scaled(tensor1 * tensor2, value)


register(
    "addcmul(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1)",
    doc="The input plus the product of two tensors, scaled by value.",
    define=_addcmul,
    elementwise=True,
    samples=(
        Sample("torch.addcmul(x, y, z, value=0.5)", x=(2, 3), y=(2, 1), z=(3,)),
        Sample("x.addcmul(y, z, value=-2)", x=(), y=(2,), z=()),
        Sample(
            "n.addcmul(n, n, value=3)",
            n=In((4,), dtype="int64", low=-3, high=4),
        ),
    ),
)


def _addcdiv(input: Expr, tensor1: Expr, tensor2: Expr, value: Any) -> Expr:
    if tensor1.dtype.kind in "bi" and tensor2.dtype.kind in "bi":
        msg = f"addcdiv() can't divide {tensor1.dtype.name} by {tensor2.dtype.name}"
        raise Invalid("GC016", msg, "write x + value * (a / b)", "tensor1")
    return input + _scaled(tensor1 / tensor2, value)


_POSITIVE = In((3,), low=0.3, high=3.0)

register(
    "addcdiv(Tensor input, Tensor tensor1, Tensor tensor2, *, Scalar value=1)",
    doc="The input plus the quotient of two tensors, scaled by value.",
    define=_addcdiv,
    elementwise=True,
    domain="positive",
    samples=(
        Sample("torch.addcdiv(x, y, z, value=0.5)", x=(2, 3), y=(2, 1), z=_POSITIVE),
        Sample("x.addcdiv(y, z, value=-2)", x=(), y=(2,), z=In((), low=0.3, high=3.0)),
        # PyTorch's backward refuses whole numbers here.
        Sample("x.addcdiv(y, n)", x=(3,), y=(3,), n=In((3,), dtype="int64", low=1), grad=False),
    ),
)


def _angle_unit(name: str, factor: float, doc: str) -> None:
    def define(input: Expr) -> Expr:
        if input.dtype.kind == "z":
            raise Invalid("GC016", f"{name}() isn't defined for complex tensors", "use x.angle()")
        return input * factor

    register(
        f"{name}(Tensor input)",
        doc=doc,
        define=define,
        elementwise=True,
        samples=(
            Sample(f"x.{name}()", x=(2, 3)),
            Sample(f"torch.{name}(n)", n=In((4,), dtype="int64", low=-3, high=4)),
        ),
    )


_angle_unit("deg2rad", math.pi / 180, "Degrees as radians.")
_angle_unit("rad2deg", 180 / math.pi, "Radians as degrees.")


def _doubled(x: Expr, kind: str) -> Expr:
    """In float64, or complex128 where the result is complex; a number becomes a float."""
    if x.value is not None:
        return x * 1.0
    dtype = complex128 if kind == "z" else float64
    return x if x.dtype is dtype else x.to(dtype)


def _float_power(input: Expr, exponent: Expr) -> Expr:
    if input.value is not None and exponent.value is not None:
        msg = "float_power() wants a tensor for `input` or `exponent`, not two numbers"
        raise Invalid("GC014", msg, "write a power of numbers as 2.0 ** 3")
    kind = promote(input, exponent).kind
    return _doubled(input, kind) ** _doubled(exponent, kind)


register(
    "float_power(Tensor|Scalar input, Tensor|Scalar exponent)",
    doc="Power, `input ** exponent`, computed in double precision.",
    define=_float_power,
    elementwise=True,
    domain="positive",
    samples=(
        Sample("torch.float_power(x, 3)", x=In(value=[-1.5, 0.0, 2.0])),
        Sample("torch.float_power(2, x)", x=(3,)),
        Sample(
            "torch.float_power(n, k)",
            n=In(value=[-2, -1, 1, 3], dtype="int64"),
            k=In(value=[-1, -3, -2, 2], dtype="int64"),
        ),
        Sample("x.float_power(y)", x=In((2, 1), low=0.3, high=3.0), y=(3,)),
    ),
)


def _ldexp(x: Any, other: Any) -> Any:
    """With whole exponents by NumPy's, which neither overflows on the way nor rounds."""
    if np.asarray(other).dtype.kind in "iu":
        (x,) = common(x, floating=True)
        return np.ldexp(x, np.clip(other, -_FARTHEST, _FARTHEST).astype(np.int32))
    x, other = common(x, other, floating=True)
    return x * np.exp2(other)


# No two finite numbers are further apart.
_FARTHEST = 2200

register(
    "ldexp(Tensor input, Tensor other)",
    doc="`input * 2 ** other`.",
    infer=elementwise_floating,
    kernel=_ldexp,
    vjp=lambda g, out, x, y: (g * y.exp2(), g * out * _LN2),
    elementwise=True,
    samples=(
        # PyTorch computes the derivative's power in whole numbers: 0 for a negative exponent.
        Sample("torch.ldexp(x, n)", x=(4,), n=In((4,), dtype="int64", low=0, high=4)),
        Sample("torch.ldexp(x, n)", x=(4,), n=In((4,), dtype="int64", low=-9, high=4), grad=False),
        Sample("x.ldexp(y)", x=(2, 1), y=(3,)),
        Sample("torch.ldexp(n, n)", n=In((4,), dtype="int64", low=-3, high=4)),
        Sample(
            "torch.ldexp(x, n)",
            x=In(value=[1e-300, 3.0]),
            n=In(value=[1100, -1074], dtype="int64"),
            grad=False,
        ),
    ),
)


def _fill(input: Expr, value: Expr) -> Expr:
    if value.value is not None:
        return t.full_like(input, value)  # type: ignore[no-any-return]
    if value.ndim:
        msg = f"fill() takes one number, not a value of shape {value.shape}"
        raise Invalid(
            "GC015", msg, "torch.full_like, expand and where make other patterns", "value"
        )
    if value.dtype is not input.dtype:
        value = value.to(input.dtype)
    return value.expand(tuple(input.size(d) for d in range(input.ndim)))  # type: ignore[no-any-return]


register(
    "fill(Tensor input, Tensor|Scalar value)",
    doc="One number in the shape of the input; no gradient flows to the input.",
    define=_fill,
    on=("torch",),
    samples=(
        Sample("torch.fill(x, 2.5) * x", x=(2, 3)),
        Sample("torch.fill(x, value=True) + x", x=(0, 3)),
        Sample("torch.fill(x, y)", x=(2, 3), y=()),
        Sample("torch.fill(x, y)", x=(), y=()),
    ),
)
