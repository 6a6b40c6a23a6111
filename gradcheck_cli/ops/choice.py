"""Choices between values, element by element: maximum, clamp, where; and lerp between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.dtypes import pyfloat, pyint
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import (
    FEW,
    broadcast,
    common,
    elementwise,
    numeric,
    promote,
    register,
    typed,
)
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_TIE = "at a tie, half the gradient to each"


def _extreme(g: Expr, smaller: Expr, tie: Expr) -> Expr:
    return t.where(tie, g / 2, t.where(smaller, 0.0, g))  # type: ignore[no-any-return]


register(
    "maximum(Tensor input, Tensor other)",
    doc="The larger of two, element by element; NaN wins.",
    infer=elementwise,
    kernel=typed(np.maximum),
    ufunc=np.maximum,
    vjp=lambda g, out, x, y: (_extreme(g, x < y, x.eq(y)), _extreme(g, x > y, x.eq(y))),
    kink=lambda x, y: (x - y,),
    convention=_TIE,
    elementwise=True,
    samples=(
        # At a tie PyTorch's convention and central differences agree: one half.
        Sample("torch.maximum(x, y)", x=In(value=[1.0, 2.0]), y=In(value=[2.0, 1.0])),
        Sample("x.maximum(n)", x=(3,), n=In((3,), dtype="int64", low=-2, high=3)),
    ),
)
register(
    "minimum(Tensor input, Tensor other)",
    doc="The smaller of two, element by element; NaN wins.",
    infer=elementwise,
    kernel=typed(np.minimum),
    ufunc=np.minimum,
    vjp=lambda g, out, x, y: (_extreme(g, x > y, x.eq(y)), _extreme(g, x < y, x.eq(y))),
    kink=lambda x, y: (x - y,),
    convention=_TIE,
    elementwise=True,
    samples=(Sample("x.minimum(n)", x=(3,), n=In((3,), dtype="int64", low=-2, high=3)),),
)
register(
    "fmax(Tensor input, Tensor other)",
    doc="The larger of two, element by element; NaN loses.",
    infer=elementwise,
    kernel=typed(np.fmax),
    ufunc=np.fmax,
    vjp=lambda g, out, x, y: (
        t.where((x >= y) | y.isnan(), g, 0.0),
        t.where((x >= y) | y.isnan(), 0.0, g),
    ),
    kink=lambda x, y: (x - y,),
    convention="at a tie, the whole gradient to the first",
    elementwise=True,
)
register(
    "fmin(Tensor input, Tensor other)",
    doc="The smaller of two, element by element; NaN loses.",
    infer=elementwise,
    kernel=typed(np.fmin),
    ufunc=np.fmin,
    vjp=lambda g, out, x, y: (
        t.where((x <= y) | y.isnan(), g, 0.0),
        t.where((x <= y) | y.isnan(), 0.0, g),
    ),
    kink=lambda x, y: (x - y,),
    convention="at a tie, the whole gradient to the first",
    elementwise=True,
)


def _clamp_type(x: Expr, low: Expr | None, high: Expr | None) -> Type:
    if low is None and high is None:
        raise Invalid("GC014", "clamp() needs min or max", "give at least one of them")
    if low is not None and high is not None and (low.value is None) != (high.value is None):
        msg = "clamp() wants min and max both as numbers or both as tensors"
        raise Invalid("GC014", msg, "make a tensor of the number with torch.full_like", "min")
    return numeric("clamp")(x, low, high)


def _clamp(x: Any, low: Any, high: Any) -> Any:
    x, low, high = common(x, low, high)
    if low is not None:
        x = np.maximum(x, low)
    return x if high is None else np.minimum(x, high)


def _clamp_vjp(
    g: Expr, out: Expr, x: Expr, low: Expr | None, high: Expr | None
) -> tuple[Expr | None, ...]:
    """Where min exceeds max, the result is max."""
    if low is None:
        assert high is not None
        return t.where(x <= high, g, 0.0), None, t.where(x > high, g, 0.0)
    if high is None:
        return t.where(x >= low, g, 0.0), t.where(x < low, g, 0.0), None
    inside = t.where((x >= low) & (x <= high), g, 0.0)
    if low.value is not None:
        return inside, None, None
    return (
        inside,
        t.where((x < low) & (low < high), g, 0.0),
        t.where((x > high) | (low > high), g, 0.0),
    )


register(
    "clamp(Tensor input, Tensor|Scalar? min=None, Tensor|Scalar? max=None)",
    doc="Values below min become min, those above max become max.",
    infer=_clamp_type,
    kernel=_clamp,
    vjp=_clamp_vjp,
    aliases=("clip",),
    method=True,
    kink=lambda x, low, high: tuple(x - bound for bound in (low, high) if bound is not None),
    convention="at a bound, the gradient passes",
    samples=(
        Sample("x.clamp(-0.5, 0.7)", x=(3, 4)),
        Sample("torch.clamp(x, min=0.1)", x=(5,)),
        Sample("x.clip(max=0.1)", x=()),
        Sample("x.clamp(min=0)", x=(0, 3)),
        Sample("x.clamp(0.5, -0.5)", x=(4,)),
        Sample(
            "torch.clamp(x, y, z)",
            x=(4, 3),
            y=In((3,), low=-1, high=0),
            z=In((4, 1), low=0, high=1),
        ),
        Sample("torch.clamp(x, y, z)", x=(6,), y=(6,), z=(6,)),
        Sample("torch.clamp(x, max=y)", x=(5,), y=(5,)),
        Sample("torch.clamp(x, min=y)", x=(5,), y=(2, 5)),
        Sample("n.clamp(-1, 1.5)", n=In((6,), dtype="int64", low=-4, high=5)),
    ),
)


def _one_bound(extreme: Callable[..., Expr], x: Expr, **bound: Expr) -> Expr:
    """PyTorch bounds masks from one side, though not by clamp."""
    (other,) = bound.values()
    if promote(x, other).kind == "b" and other.value is None:
        return extreme(x, other)
    return t.clamp(x, **bound)  # type: ignore[no-any-return]


register(
    "clamp_min(Tensor input, Tensor|Scalar min)",
    doc="Values below min become min.",
    define=lambda input, min: _one_bound(t.maximum, input, min=min),
    samples=(
        Sample("x.clamp_min(0.1)", x=(5,)),
        Sample("torch.clamp_min(x, y)", x=(5,), y=(5,)),
        Sample("m.clamp_min(k)", m=In((5,), dtype="bool"), k=In((5,), dtype="bool")),
    ),
)
register(
    "clamp_max(Tensor input, Tensor|Scalar max)",
    doc="Values above max become max.",
    define=lambda input, max: _one_bound(t.minimum, input, max=max),
    samples=(Sample("x.clamp_max(0.1)", x=(5,)), Sample("torch.clamp_max(x, y)", x=(5,), y=(5,))),
)


def _where_type(condition: Expr, x: Expr, y: Expr) -> Type:
    if condition.dtype.kind != "b":
        msg = f"where() chooses by a mask (dtype bool), not by {condition.dtype.name}"
        raise Invalid("GC016", msg, "compare it: torch.where(x > 0, ...)", "condition")
    return Type(broadcast(condition.shape, x.shape, y.shape), promote(x, y))


def _plain(node: Expr) -> bool:
    """Whether NumPy's promotion of the two values is PyTorch's."""
    return all(x.dtype in (node.dtype, pyfloat, pyint) for x in node.inputs[1:])


def _choosing(condition: Any, x: Any, y: Any, out: Any) -> None:
    """`np.where` into an array, which may be one of the two."""
    if out is y:
        np.copyto(out, x, where=condition)
        return
    if out is not x:
        np.copyto(out, x)
    np.copyto(out, y, where=~condition)


register(
    "where(Tensor condition, Tensor|Scalar input, Tensor|Scalar other)",
    doc="The first value where the mask is True, the second elsewhere.",
    infer=_where_type,
    kernel=lambda condition, x, y: np.where(condition, *common(x, y)),
    broadcasts=True,
    into=lambda node: _choosing if node.elements >= FEW and _plain(node) else None,
    prepare=lambda node: np.where if _plain(node) else None,
    vjp=lambda g, out, condition, x, y: (
        None,
        t.where(condition, g, 0.0),
        t.where(condition, 0.0, g),
    ),
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.where(m, x, y)", m=In((3, 4), dtype="bool"), x=(3, 4), y=(4,)),
        Sample("torch.where(m, x, 0.5)", m=In((4,), dtype="bool"), x=(3, 1)),
        Sample("torch.where(m, 1, x)", m=In((3, 1), dtype="bool"), x=()),
        Sample("x * torch.where(m, 1.0, 0.1)", m=In((2, 3), dtype="bool"), x=(3,)),
        Sample("x * torch.where(m, 1, 2)", m=In((3,), dtype="bool"), x=(3,)),
        Sample("torch.where(x > 0, x * y, n)", x=(5,), y=(5,), n=In((5,), dtype="int64")),
        Sample("torch.where(m, x, y)", m=In((), dtype="bool"), x=(), y=()),
        Sample("torch.where(m, x, y)", m=In((0, 3), dtype="bool"), x=(3,), y=(1, 3)),
    ),
)
register(
    "where.self(Tensor input, Tensor condition, Tensor|Scalar other)",
    doc="The tensor where the mask is True, the other value elsewhere.",
    define=lambda input, condition, other: t.where(condition, input, other),
    on=("Tensor",),
    samples=(
        Sample("x.where(m, y)", m=In((3, 4), dtype="bool"), x=(3, 4), y=(4,)),
        Sample("x.where(x > 0, 0.0)", x=(4,)),
    ),
)


def _lerp_type(start: Expr, end: Expr, weight: Expr) -> Type:
    for name, value in (("end", end), ("weight", weight)):
        scalar = value.dtype.weak or (name == "weight" and value.ndim == 0)
        if value.dtype is not start.dtype and not scalar:
            msg = f"lerp() wants one dtype, but input is {start.dtype.name} and {name} is "
            raise Invalid("GC016", msg + value.dtype.name, "give both the same dtype", name)
    shape = broadcast(start.shape, end.shape, weight.shape)
    dtype = promote(start, end, None if weight.dtype.weak else weight)
    if dtype.kind not in "fz":
        msg = f"lerp() needs floating-point tensors, not {dtype.name}"
        raise Invalid("GC016", msg, "give the inputs a floating dtype")
    return Type(shape, dtype)


def _lerp(start: Any, end: Any, weight: Any) -> Any:
    """From the nearer end, so that weights 0 and 1 give exactly start and end."""
    start, end, weight = common(start, end, weight)
    change = end - start
    near = np.abs(np.real(weight)) < 0.5
    return np.where(near, start + weight * change, end - change * (1 - weight))


register(
    "lerp(Tensor input, Tensor end, Tensor|Scalar weight)",
    doc="Linear interpolation, `input + weight * (end - input)`.",
    infer=_lerp_type,
    kernel=_lerp,
    vjp=lambda g, out, x, end, weight: (g * (1 - weight), g * weight, g * (end - x)),
    analytic=True,
    elementwise=True,
    samples=(
        Sample("torch.lerp(x, y, 0.3)", x=(2, 3), y=(3,)),
        Sample("x.lerp(y, 2)", x=(), y=(2,)),
        Sample("x.lerp(y, w)", x=(2, 1), y=(3,), w=()),
    ),
)
