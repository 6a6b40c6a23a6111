"""Determinants, inverses and powers of square matrices; every leading dimension is a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.diagonal import eye
from gradcheck_cli.ops.factor import (
    determinant,
    inverted,
    log_determinant,
    refused,
    routine,
    sign_and_log,
)
from gradcheck_cli.ops.known import known
from gradcheck_cli.ops.matrices import (
    each,
    refusing,
    require_square,
    scaled_columns,
    square,
    times,
    turned,
)
from gradcheck_cli.ops.svd import svd

if TYPE_CHECKING:
    from collections.abc import Callable


# In units of rounding: PyTorch's bound, below which it takes singular values instead of the inverse.
_NEAR_ZERO = 100
_NO_INVERSE = "the matrix given to inverse() is singular"


def _inverse(x: Any) -> Any:
    with refusing(_NO_INVERSE):
        return np.linalg.inv(x)


def _per_matrix(name: str) -> Callable[[Expr], Type]:
    """infer: one number for each matrix."""

    def infer(x: Expr) -> Type:
        require_square(name, x)
        return Type(x.shape[:-2], x.dtype)

    return infer


def _inverse_ex(x: Any, check_errors: bool) -> tuple[Any, Any]:
    """The inverses, NaN where there is none, and the first zero pivot of each matrix."""
    try:
        return np.linalg.inv(x), np.zeros(x.shape[:-2], np.int32)
    except np.linalg.LinAlgError:
        if check_errors:
            raise refused(_NO_INVERSE) from None
    info = zero_pivot(x)
    regular = np.where(info[..., None, None] == 0, x, np.eye(x.shape[-1], dtype=x.dtype))
    return np.where(info[..., None, None] == 0, np.linalg.inv(regular), x.dtype.type(np.nan)), info


def zero_pivot(x: Any) -> Any:
    """The number of the first pivot of each matrix that is zero, from 1; 0 where there is none."""
    (info,) = each(lambda a: routine("getrf", a.dtype)(a)[2:], x)
    return info.astype(np.int32)


_REGULAR = In((3, 3), structure="spd")

register(
    "inverse(Tensor input)",
    doc="Inverse of square matrices.",
    infer=square("inverse"),
    cubic=True,
    kernel=_inverse,
    fused=inverted,
    vjp=lambda g, out, x: -turned(out) @ g @ turned(out),
    also=("torch.linalg.inv",),
    method=True,
    analytic=True,
    samples=(
        Sample("torch.inverse(x)", x=_REGULAR),
        Sample("torch.linalg.inv(x)", x=In((2, 2, 2), structure="spd")),
        Sample("x.inverse()", x=(0, 0)),
        Sample("x.inverse()", x=(0, 2, 2)),
    ),
)

register(
    "inv_ex(Tensor A, *, bool check_errors=False)",
    doc="Inverse of square matrices, and the first zero pivot of those that have none, else 0.",
    infer=lambda x, check_errors: (square("inv_ex")(x), Type(x.shape[:-2], dtypes.int32)),
    cubic=True,
    kernel=_inverse_ex,
    vjp=lambda g, out, x, check_errors, output: None if output else -turned(out) @ g @ turned(out),
    outputs=("inverse", "info"),
    on=("torch.linalg",),
    samples=(
        Sample("torch.linalg.inv_ex(x).inverse", x=_REGULAR),
        Sample("torch.linalg.inv_ex(x, check_errors=True)[0]", x=(2, 2, 2)),
        Sample("torch.linalg.inv_ex(x).info", x=(2, 3, 3)),
        Sample("torch.linalg.inv_ex(0.0 * x)[1]", x=(2, 2)),
    ),
)


def _is_regular(x: Expr) -> bool:
    """Whether no matrix is known to be singular: where values aren't known, they are taken to be regular."""
    values = known(x)
    if values is None:
        return True
    limit = _NEAR_ZERO * float(np.finfo(x.dtype.name).eps)
    return bool((np.abs(np.linalg.det(values)) >= limit).all())


def _det_vjp(g: Expr, out: Expr, x: Expr) -> Any:
    """The derivative of the determinant: det A inverse(A)^T, and where A is singular by singular values.

    The textbook's form is what a person wants to read and fast, so that the other stands only where a
    matrix is known to need it. Its branches get matrices on which each has a derivative of its own.
    """
    if x.op.name == "inverse":  # the inverse of an inverse
        return times(g * out, turned(x.inputs[0]))
    if _is_regular(x):
        return times(g * out, turned(x.inverse()))
    unit = eye(x, -1)
    singular = out.abs() < _NEAR_ZERO * float(np.finfo(x.dtype.name).eps)
    if x.ndim > 2:
        singular = singular.unsqueeze(-1).unsqueeze(-1)
    regular = times(out, turned(t.where(singular, unit, x).inverse()))
    count = t.arange(1, x.size(-1) + 1, dtype=x.dtype)
    U, S, Vh = svd(t.where(singular, x, count * unit))
    sign = (t.det(U) * t.det(Vh)).detach()
    others = ((1.0 - unit) * S.unsqueeze(-2) + unit).prod(-1)
    return times(g, t.where(singular, times(sign, scaled_columns(U, others) @ Vh), regular))


register(
    "det(Tensor input)",
    doc="Determinant of square matrices.",
    infer=_per_matrix("det"),
    cubic=True,
    kernel=np.linalg.det,
    fused=determinant,
    vjp=_det_vjp,
    also=("torch.linalg.det",),
    analytic=True,
    convention="at singular matrices the derivative is that of the polynomial, the cofactors",
    samples=(
        Sample("torch.det(x)", x=(3, 3)),
        Sample("torch.det(x)", x=In(value=[[1.0, 2.0], [2.0, 4.0]])),
        Sample(
            "torch.det(x)",
            x=In(value=[[[1.0, 0, 0], [0, 2, 0], [1, 0, 0]], [[2, 0, 1], [0, 2, 0], [0, 0, 2]]]),
        ),
        Sample("torch.linalg.det(x)", x=(2, 3, 3)),
        Sample("x.det()", x=(1, 1)),
        Sample("x.det()", x=(0, 0)),
        Sample("x.det()", x=(0, 2, 2)),
    ),
)


def _sign_and_log(x: Any) -> tuple[Any, Any]:
    """Sign and logarithm of the absolute determinant, continued analytically for complex `x`."""
    sign, log = np.linalg.slogdet(x)
    if np.iscomplexobj(x):
        real = np.sign(np.real(sign))
        return real, log + 1j * np.angle(sign * real)
    return sign, log


def _logdet(x: Any) -> Any:
    sign, log = _sign_and_log(x)
    if x.ndim == 2:  # two numbers: np.where() takes as long as all the rest
        return log.dtype.type(np.nan) if sign < 0 else log
    return np.where(sign < 0, np.asarray(np.nan, np.asarray(log).dtype), log)


register(
    "logdet(Tensor input)",
    doc="Logarithm of the determinant; NaN where it is negative.",
    infer=_per_matrix("logdet"),
    cubic=True,
    kernel=_logdet,
    fused=log_determinant,
    vjp=lambda g, out, x: times(g, turned(x.inverse())),
    analytic=True,
    convention="the rule needs the inverse: a matrix that is exactly singular is refused",
    samples=(
        Sample("torch.logdet(x)", x=_REGULAR),
        Sample("x.logdet()", x=In((2, 3, 3), structure="spd")),
        Sample("x.logdet()", x=(0, 0)),
    ),
)


def _slogdet(x: Expr) -> tuple[Type, Type]:
    result = _per_matrix("slogdet")(x)
    return result, result


register(
    "slogdet(Tensor input)",
    doc="Sign and logarithm of the absolute value of the determinant.",
    infer=_slogdet,
    cubic=True,
    kernel=_sign_and_log,
    fused=sign_and_log,
    vjp=lambda g, out, x, output: times(g, turned(x.inverse())) if output == 1 else None,
    outputs=("sign", "logabsdet"),
    also=("torch.linalg.slogdet",),
    analytic=True,
    convention="the sign's gradient is zero",
    samples=(
        Sample("torch.slogdet(x).logabsdet", x=(3, 3)),
        Sample("torch.linalg.slogdet(x)[1]", x=(2, 3, 3)),
        Sample("x.slogdet().sign", x=(3, 3), grad=False),  # constant between singular matrices
        Sample("x.slogdet()[1]", x=(0, 0)),
    ),
)
