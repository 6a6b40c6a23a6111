"""Activation functions made of straight pieces; the smooth ones are in `activation.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import (
    numeric,
    random_use,
    refuse_in_place,
    register,
    require_floating,
)
from gradcheck_cli.ops.activation import activation
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

activation(
    "relu(Tensor input)",
    lambda x: np.maximum(x, 0),
    lambda g, out, x: t.where(x <= 0, 0.0, g),
    infer=numeric("relu"),
    doc="The positive part, `max(x, 0)`.",
    on=("torch", "Tensor", "F"),
    kink=lambda x: (x,),
    convention="0 at 0",
    samples=(
        Sample("x.relu()", x=(2, 3)),
        Sample("n.relu()", n=In((4,), dtype="int64", low=-3, high=4)),
    ),
)


def _hardtanh_type(x: Expr, min_val: Any, max_val: Any) -> Type:
    if min_val > max_val:
        msg = f"hardtanh(): min_val {min_val} is above max_val {max_val}"
        raise Invalid("GC014", msg, "swap them", "min_val")
    if x.dtype.name == "uint8" and int(min_val) < 0:
        raise Invalid("GC016", "hardtanh() of uint8 can't have a negative min_val")
    return numeric("hardtanh")(x)


def _hardtanh(x: Any, min_val: float, max_val: float) -> Any:
    """For integers PyTorch cuts the bounds' decimals."""
    if np.asarray(x).dtype.kind in "iu":
        min_val, max_val = int(min_val), int(max_val)
    return np.clip(x, min_val, max_val)


activation(
    "hardtanh(Tensor input, float min_val=-1.0, float max_val=1.0)",
    _hardtanh,
    lambda g, out, x, min_val, max_val: t.where((x <= min_val) | (x >= max_val), 0.0, g),
    infer=_hardtanh_type,
    doc="Clamped between min_val and max_val.",
    kink=lambda x, min_val, max_val: (x - min_val, x - max_val),
    convention="0 at both bounds",
    samples=(
        Sample("F.hardtanh(x, -0.5, 0.3)", x=(6,)),
        Sample("F.hardtanh(n, -1.5, 1.5)", n=In((6,), dtype="int64", low=-4, high=5)),
    ),
)

activation(
    "relu6(Tensor input)",
    lambda x: np.clip(x, 0, 6),
    lambda g, out, x: t.where((x <= 0) | (x >= 6), 0.0, g),
    infer=numeric("relu6"),
    doc="Clamped between 0 and 6.",
    kink=lambda x: (x, x - 6),
    convention="0 at both bounds",
    samples=(Sample("F.relu6(x)", x=In((8,), low=-3, high=9)),),
)

activation(
    "leaky_relu(Tensor input, Scalar negative_slope=0.01)",
    lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
    lambda g, out, x, negative_slope: t.where(x > 0, g, g * negative_slope),
    doc="x where positive, negative_slope * x elsewhere.",
    kink=lambda x, negative_slope: (x,),
    convention="negative_slope at 0",
    samples=(Sample("F.leaky_relu(x, 0.2)", x=(6,)),),
)


def _rrelu(input: Expr, lower: float, upper: float, *, training: bool) -> Expr:
    if lower > upper:
        msg = f"rrelu(): lower {lower} is above upper {upper}"
        raise Invalid("GC014", msg, "swap them", "lower")
    if training and lower < upper:
        raise random_use("rrelu", "without training=True it has the mean of the slopes")
    return t.leaky_relu(input, (lower + upper) / 2)  # type: ignore[no-any-return]


def _rrelu_function(
    input: Expr, lower: float, upper: float, *, training: bool, inplace: bool
) -> Expr:
    refuse_in_place("rrelu", inplace=inplace)
    return _rrelu(input, lower, upper, training=training)


_LIMITS = "float lower=0.125, float upper=0.3333333333333333, bool training=False"
_RRELU = "leaky_relu whose slope is drawn between two in training, else their mean"

register(
    f"rrelu(Tensor input, {_LIMITS}, bool inplace=False)",
    doc=f"{_RRELU}; only the latter can be checked.",
    define=_rrelu_function,
    on=("F",),
    samples=(
        Sample("F.rrelu(x)", x=(6,)),
        Sample("F.rrelu(x, 0.1, 0.5, False)", x=(2, 3)),
        Sample("F.rrelu(x, lower=0.25, upper=0.25, training=True)", x=(4,)),
    ),
)
register(
    f"rrelu.torch(Tensor input, {_LIMITS})",
    doc=f"{_RRELU}; only the latter can be checked.",
    define=_rrelu,
    on=("torch",),
    samples=(Sample("torch.rrelu(x)", x=(6,)), Sample("torch.rrelu(x, 0.1, 0.5)", x=())),
)


def _prelu(x: Expr, weight: Expr) -> Expr:
    """One slope for all, or one per channel (dimension 1)."""
    if x.dtype is not weight.dtype:
        msg = f"prelu() wants one dtype, but input is {x.dtype.name} and weight {weight.dtype.name}"
        raise Invalid("GC016", msg, "give both the same dtype", "weight")
    require_floating(x, "prelu")
    channels = x.shape[1] if x.ndim > 1 else 1
    if weight.ndim > 1 or weight.elements not in (1, channels):
        msg = (
            f"prelu() of a tensor of shape {x.shape} wants 1 or {channels} slopes, "
            f"not a weight of shape {weight.shape}"
        )
        raise Invalid("GC015", msg, "dimension 1 of the input holds the channels", "weight")
    if weight.ndim == 1:
        if x.ndim == 0:
            weight = weight.squeeze(0)
        for _ in range(x.ndim - 2):
            weight = weight.unsqueeze(-1)
    return t.where(x > 0, x, weight * x)  # type: ignore[no-any-return]


register(
    "prelu(Tensor input, Tensor weight)",
    doc="leaky_relu with a learned slope, one for all or one per channel (dimension 1).",
    define=_prelu,
    on=("torch", "Tensor", "F"),
    samples=(
        Sample("F.prelu(x, w)", x=(2, 3, 4), w=(3,)),
        Sample("x.prelu(w)", x=(5,), w=(1,)),
        Sample("torch.prelu(x, w)", x=(2, 3), w=()),
        Sample("torch.prelu(x, w)", x=(), w=(1,)),
    ),
)

activation(
    "hardsigmoid(Tensor input)",
    lambda x: np.clip(x + 3, 0, 6) / 6,
    lambda g, out, x: t.where((x > -3) & (x < 3), g / 6, 0.0),
    doc="x / 6 + 1/2, clamped between 0 and 1.",
    kink=lambda x: (x + 3, x - 3),
    convention="0 at both bounds; PyTorch takes 1/6 in single precision, 3e-8 off",
    elementwise=False,
    samples=(
        # For that reason there is no gradient of PyTorch's to compare with.
        Sample("F.hardsigmoid(x)", x=In((2, 4), low=-5, high=5), grad=False),
        Sample("F.hardsigmoid(x)", x=(), grad=False),
        Sample("F.hardsigmoid(x)", x=(0, 3), grad=False),
    ),
)

activation(
    "hardswish(Tensor input)",
    lambda x: x * (np.clip(x + 3, 0, 6) / 6),
    lambda g, out, x: t.where(x <= -3, 0.0, t.where(x < 3, g * (x / 3 + 0.5), g)),
    doc="x * hardsigmoid(x).",
    kink=lambda x: (x + 3, x - 3),
    convention="0 at -3, 1 at 3",
    samples=(Sample("F.hardswish(x)", x=In((8,), low=-5, high=5)),),
)


def _shrink_type(name: str) -> Callable[..., Type]:
    def check(x: Expr, lambd: Any) -> Type:
        if lambd < 0:
            msg = f"{name}(): lambd {lambd} is negative"
            raise Invalid("GC014", msg, "give its absolute value", "lambd")
        return numeric(name, floating=True)(x)

    return check


activation(
    "hardshrink(Tensor input, float lambd=0.5)",
    lambda x, lambd: np.where(np.abs(x) <= lambd, 0, x),
    lambda g, out, x, lambd: t.where(x.abs() <= lambd, 0.0, g),
    inplace=False,
    doc="x where |x| is above lambd, 0 elsewhere.",
    on=("torch", "Tensor", "F"),
    kink=lambda x, lambd: (x.abs() - lambd,),
    convention="0 at both bounds",
    samples=(Sample("x.hardshrink(0.8)", x=(8,)),),
)

activation(
    "softshrink(Tensor input, float lambd=0.5)",
    lambda x, lambd: np.where(np.abs(x) <= lambd, 0, x - np.copysign(lambd, x)),
    lambda g, out, x, lambd: t.where(x.abs() <= lambd, 0.0, g),
    infer=_shrink_type("softshrink"),
    inplace=False,
    doc="x moved towards 0 by lambd, 0 where |x| is at most lambd.",
    kink=lambda x, lambd: (x.abs() - lambd,),
    convention="0 at both bounds",
    samples=(Sample("F.softshrink(x, 0.8)", x=(8,)),),
)


def _threshold(x: Any, threshold: float, value: float) -> Any:
    if np.asarray(x).dtype.kind in "iu":
        threshold, value = int(threshold), int(value)
    return np.where(x <= threshold, value, x)


activation(
    "threshold(Tensor input, Scalar threshold, Scalar value)",
    _threshold,
    lambda g, out, x, threshold, value: t.where(x <= threshold, 0.0, g),
    infer=numeric("threshold"),
    doc="x where above the threshold, the value elsewhere.",
    on=("torch", "F"),
    kink=lambda x, threshold, value: (x - threshold,),
    convention="0 at the threshold",
    elementwise=False,
    samples=(
        Sample("F.threshold(x, 0.1, 20)", x=(6,)),
        Sample("torch.threshold(x, threshold=0, value=-1)", x=()),
        Sample("F.threshold(x, 0.1, 20)", x=(0, 3)),
        Sample("torch.threshold(n, 1, 2)", n=In((6,), dtype="int64", low=-4, high=5)),
    ),
)
