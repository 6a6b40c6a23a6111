"""Complex numbers: made of two real tensors, taken apart again, conjugated.

Gradients follow PyTorch's convention (documentation, "Autograd for Complex Numbers"): of a real loss L,
the gradient with respect to z is dL/d(Re z) + i dL/d(Im z).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.dtypes import COMPLEX_OF, REAL_OF, to_default_floating
from gradcheck_cli.graph import In, Sample, Type, make, t
from gradcheck_cli.ops._common import as_tensor, broadcast, common, register
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from gradcheck_cli.graph import Expr, Op

_PAIR = "torch.complex(x, y)"


def _require_pair(name: str, x: Expr, y: Expr) -> None:
    if x.dtype is not y.dtype or x.dtype not in COMPLEX_OF:
        given = f"{x.dtype.name} and {y.dtype.name}"
        msg = f"{name}() needs two float32 or two float64 tensors, not {given}"
        raise Invalid("GC016", msg, "give both the same floating dtype")


def _complex(x: Expr, y: Expr) -> Type:
    _require_pair("complex", x, y)
    return Type(broadcast(x.shape, y.shape), COMPLEX_OF[x.dtype])


def joined(real: Any, imag: Any) -> Any:
    """The complex array with these parts, infinities and NaN kept where they stand."""
    real, imag = np.asarray(real), np.asarray(imag)
    shape = np.broadcast_shapes(real.shape, imag.shape)
    out = np.empty(shape, np.result_type(real.dtype, imag.dtype, np.complex64))
    out.real, out.imag = real, imag
    return out


def _as_complex(g: Expr, like: Expr) -> Expr:
    """An upstream gradient in the type of what it belongs to; of a real part alone it is real."""
    g = as_tensor(g, like)
    return g if g.dtype is like.dtype else g.to(like.dtype)


def _polar(abs: Expr, angle: Expr) -> Expr:
    _require_pair("polar", abs, angle)
    return t.complex(abs * angle.cos(), abs * angle.sin())  # type: ignore[no-any-return]


register(
    "complex(Tensor real, Tensor imag)",
    doc="The complex numbers with these real and imaginary parts.",
    infer=_complex,
    kernel=joined,
    vjp=lambda g, out, x, y: (t.real(g), t.imag(_as_complex(g, out))),
    on=("torch",),
    samples=(
        Sample("torch.complex(x, y).abs()", x=(2, 3), y=(3,)),
        Sample("torch.view_as_real(torch.complex(x, y))", x=(), y=(2,)),
        Sample("torch.view_as_real(torch.complex(x, y) * torch.complex(y, x))", x=(3,), y=(3,)),
        Sample("torch.complex(x, x).imag", x=(0, 2)),
    ),
)
register(
    "polar(Tensor abs, Tensor angle)",
    doc="The complex numbers of these absolute values and angles.",
    define=_polar,
    on=("torch",),
    samples=(
        Sample("torch.view_as_real(torch.polar(x, y))", x=In((2, 3), low=0.2, high=3.0), y=(2, 3)),
    ),
)


def _view_as_complex(x: Expr) -> Type:
    if x.dtype not in COMPLEX_OF:
        msg = f"view_as_complex() needs a float32 or float64 tensor, not {x.dtype.name}"
        raise Invalid("GC016", msg, "give the input one of these dtypes")
    if not x.ndim or x.shape[-1] != 2:
        msg = f"view_as_complex() needs a last dimension of size 2, and the shape is {x.shape}"
        raise Invalid("GC015", msg, "the last dimension holds the real and the imaginary part")
    return Type(x.shape[:-1], COMPLEX_OF[x.dtype])


def _parts(x: Any) -> Any:
    x = np.asarray(x)
    return np.stack([x.real, x.imag], -1)


register(
    "view_as_complex(Tensor input)",
    doc="Pairs of numbers, along the last dimension, as complex numbers.",
    infer=_view_as_complex,
    kernel=lambda x: joined(x[..., 0], x[..., 1]),
    vjp=lambda g, out, x: t.view_as_real(_as_complex(g, out)),
    on=("torch",),
    samples=(
        Sample("torch.view_as_complex(x).abs()", x=(3, 2)),
        Sample("torch.view_as_real(torch.view_as_complex(x).exp())", x=(2, 3, 2)),
        Sample("torch.view_as_complex(x).real", x=(2,)),
    ),
)


def _require_complex(x: Expr, name: str) -> None:
    if x.dtype.kind != "z":
        msg = f"{name} is for complex tensors, and this one is {x.dtype.name}"
        raise Invalid("GC016", msg, "make it complex first: torch.complex(x, torch.zeros_like(x))")


def _view_as_real(x: Expr) -> Type:
    _require_complex(x, "view_as_real()")
    return Type((*x.shape, 2), REAL_OF[x.dtype])


register(
    "view_as_real(Tensor input)",
    doc="Complex numbers as pairs of numbers along a new last dimension.",
    infer=_view_as_real,
    kernel=_parts,
    vjp=lambda g, out, x: t.view_as_complex(as_tensor(g, out)),
    on=("torch",),
    complex=True,
    samples=(Sample(f"torch.view_as_real({_PAIR})", x=(2, 3), y=(2, 3)),),
)


# Real tensors are their own real parts and conjugates, so that these records never stand on them.
register(
    "real(Tensor input)",
    doc="The real part; real tensors stay as they are.",
    define=lambda x: make(_REAL, (x,), {}) if x.dtype.kind == "z" else x,
    attribute="real",
    also=("torch.real",),
    samples=(
        Sample(f"torch.real({_PAIR}.square())", x=(2, 3), y=(2, 3)),
        Sample(f"{_PAIR}.exp().real", x=(2, 3), y=(2, 3)),
        Sample("x.real * torch.real(x)", x=(3,)),
    ),
)
_REAL: Op = register(
    "real.complex(Tensor input)",
    doc="The real part of complex numbers.",
    infer=lambda x: Type(x.shape, REAL_OF[x.dtype]),
    kernel=lambda x: np.asarray(x).real,
    vjp=lambda g, out, x: g,
    on=(),
    also=("torch.real",),
    complex=True,
    samples=(Sample(f"torch.real({_PAIR})", x=(2,), y=(2,)),),
)


def _imag(x: Expr) -> Type:
    _require_complex(x, "imag")
    return Type(x.shape, REAL_OF[x.dtype])


register(
    "imag(Tensor input)",
    doc="The imaginary part.",
    infer=_imag,
    kernel=lambda x: np.asarray(x).imag,
    vjp=lambda g, out, x: t.complex(t.zeros_like(out), as_tensor(g, out)),
    attribute="imag",
    also=("torch.imag",),
    complex=True,
    samples=(
        Sample(f"torch.imag({_PAIR}.square())", x=(2, 3), y=(2, 3)),
        Sample(f"{_PAIR}.exp().imag", x=(), y=(2, 3)),
    ),
)


def _conjugate(x: Expr) -> Expr:
    if x.dtype.kind != "z":
        return x
    # Rules conjugate what was conjugated before: twice is not at all, and so it is of real numbers.
    if x.op is _CONJ:
        return x.inputs[0]
    if x.op.name == "to" and x.inputs[0].dtype.kind != "z":
        return x
    return make(_CONJ, (x,), {})  # type: ignore[no-any-return]


register(
    "conj(Tensor input)",
    doc="The complex conjugate; real tensors stay as they are.",
    define=_conjugate,
    aliases=("conj_physical",),
    method=True,
    samples=(
        Sample(f"torch.view_as_real({_PAIR}.conj() * {_PAIR})", x=(2, 3), y=(2, 3)),
        Sample("x.conj() * torch.conj_physical(x)", x=(3,)),
    ),
)
_CONJ: Op = register(
    "conj.complex(Tensor input)",
    doc="The complex conjugate of complex numbers.",
    infer=lambda x: Type(x.shape, x.dtype),
    kernel=np.conj,
    vjp=lambda g, out, x: t.conj(g),
    complex=True,
    method=True,
    samples=(Sample(f"torch.view_as_real({_PAIR}.conj().exp())", x=(2,), y=(2,)),),
)
register(
    "resolve_neg(Tensor input)",
    doc="The same values; how they are stored makes no difference here.",
    define=lambda x: x,
    aliases=("resolve_conj",),
    samples=(
        Sample("x.resolve_neg() * x", x=(3,)),
        Sample(f"torch.view_as_real({_PAIR}.conj().resolve_conj())", x=(2,), y=(2,)),
    ),
)


def _angle(x: Expr) -> Type:
    return Type(x.shape, REAL_OF.get(x.dtype) or to_default_floating(x.dtype))


def _angle_kernel(x: Any) -> Any:
    if np.iscomplexobj(x):
        return np.angle(x)
    (x,) = common(x, floating=True)
    # Not NumPy's, for which the angle of -0.0 is pi.
    return np.where(np.isnan(x), x, np.where(x < 0, x.dtype.type(math.pi), x.dtype.type(0)))


def _angle_vjp(g: Expr, out: Expr, x: Expr) -> Expr | None:
    if x.dtype.kind != "z":
        return None
    scaled = t.where(x.eq(0), 0.0, g / (t.real(x).square() + t.imag(x).square()))
    return t.complex(-t.imag(x) * scaled, t.real(x) * scaled)  # type: ignore[no-any-return]


register(
    "angle(Tensor input)",
    doc="The angle of complex numbers; of real ones 0, or pi where they are negative.",
    infer=_angle,
    kernel=_angle_kernel,
    vjp=_angle_vjp,
    complex=True,
    convention="the gradient at 0 is 0, and that of real numbers is 0 everywhere",
    samples=(
        Sample(f"torch.angle({_PAIR})", x=(2, 3), y=(2, 3)),
        Sample("torch.angle(x)", x=In(value=[0.0, -0.0, -1.0, 2.0, math.nan]), grad=False),
        Sample("i.angle()", i=In((4,), dtype="int64", low=-3, high=3)),
    ),
)


def _sgn_vjp(g: Expr, out: Expr, x: Expr) -> Expr:
    if x.dtype.kind != "z":
        return t.zeros_like(x)  # type: ignore[no-any-return]
    size = x.abs()
    # Only what turns the number changes its sign: g without its part along the sign.
    along = t.real(out) * t.real(g) + t.imag(out) * t.imag(_as_complex(g, out))
    turned = (_as_complex(g, out) - out * along) / size
    return t.where(size.eq(0), t.zeros_like(turned), turned)  # type: ignore[no-any-return]


def _sgn_kernel(x: Any) -> Any:
    if not np.iscomplexobj(x):
        x = np.asarray(x)
        return x if x.dtype == bool else np.where(np.isnan(x), x.dtype.type(0), np.sign(x))
    size = np.abs(x)
    return np.where(size == 0, 0, x / np.where(size == 0, 1, size)).astype(x.dtype, copy=False)


register(
    "sgn(Tensor input)",
    doc="-1, 0 or 1; of complex numbers, those of absolute value 1 with the same angle, or 0.",
    infer=lambda x: Type(x.shape, x.dtype),
    kernel=_sgn_kernel,
    vjp=_sgn_vjp,
    complex=True,
    kink=lambda x: (x,) if x.dtype.kind != "z" else (x.abs(),),
    convention="the gradient at 0 is 0",
    samples=(
        Sample("torch.sgn(x)", x=(3,)),
        Sample("i.sgn()", i=In((4,), dtype="int64", low=-3, high=3)),
        Sample(f"torch.view_as_real({_PAIR}.sgn())", x=(2, 3), y=(2, 3)),
    ),
)
