"""Determinants, inverses and powers of square matrices; every leading dimension is a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.diagonal import eye
from gradcheck_cli.ops.factor import (
    determinant,
    inverted,
    log_determinant,
    refused,
    sign_and_log,
)
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_LAPACK_TYPES = ("float32", "float64")


def require_matrix(name: str, x: Expr, argument: str = "input") -> None:
    """Refuse what LAPACK can't take as matrices. Raises Invalid (GC015, GC016)."""
    if x.ndim < 2:
        msg = f"{name}() needs a matrix or a batch of them, not a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, "at least two dimensions are needed", argument)
    if x.dtype.name not in _LAPACK_TYPES:
        msg = f"{name}() needs float32 or float64, not {x.dtype.name}"
        raise Invalid("GC016", msg, "convert it: x.double()", argument)


def require_square(name: str, x: Expr, argument: str = "input") -> None:
    """Refuse all but square matrices. Raises Invalid (GC015, GC016)."""
    require_matrix(name, x, argument)
    if x.shape[-2] != x.shape[-1]:
        msg = f"{name}() needs square matrices, not shape {x.shape}"
        raise Invalid("GC015", msg, "the last two sizes must be equal", argument)


class refusing:  # noqa: N801 -- named like other contexts; a generator's would take longer
    """Context that turns LAPACK's refusal of a matrix into a sentence. Raises Invalid (GC204)."""

    __slots__ = ("_message",)

    def __init__(self, message: str) -> None:
        self._message = message

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        if isinstance(error, np.linalg.LinAlgError):
            raise refused(self._message) from None


def _inverse(x: Any) -> Any:
    with refusing("the matrix given to inverse() is singular"):
        return np.linalg.inv(x)


def _square(name: str) -> Callable[[Expr], Type]:
    def infer(x: Expr) -> Type:
        require_square(name, x)
        return Type(x.shape, x.dtype)

    return infer


def _per_matrix(name: str) -> Callable[[Expr], Type]:
    """infer: one number for each matrix."""

    def infer(x: Expr) -> Type:
        require_square(name, x)
        return Type(x.shape[:-2], x.dtype)

    return infer


def turned(x: Expr) -> Any:
    """The transpose, written as people do: `.T` for a matrix, `.mT` for a batch."""
    return x.T if x.ndim == 2 else x.mT


def _times(g: Expr, matrices: Expr) -> Any:
    """Each matrix of a batch times its own number."""
    return g * matrices if matrices.ndim == 2 else g.unsqueeze(-1).unsqueeze(-1) * matrices


_REGULAR = In((3, 3), structure="spd")

register(
    "inverse(Tensor input)",
    doc="Inverse of square matrices.",
    infer=_square("inverse"),
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
    "det(Tensor input)",
    doc="Determinant of square matrices.",
    infer=_per_matrix("det"),
    cubic=True,
    kernel=np.linalg.det,
    fused=determinant,
    vjp=lambda g, out, x: _times(g * out, turned(x.inverse())),
    also=("torch.linalg.det",),
    analytic=True,
    convention="the rule needs the inverse: a matrix that is exactly singular is refused",
    samples=(
        Sample("torch.det(x)", x=(3, 3)),
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
    vjp=lambda g, out, x: _times(g, turned(x.inverse())),
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
    vjp=lambda g, out, x, output: _times(g, turned(x.inverse())) if output == 1 else None,
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


def _matrix_power(x: Expr, *, n: int) -> Any:
    name = "matrix_power"
    if x.dtype.kind == "f" or n < 0 or x.ndim < 2:
        require_square(name, x)
    elif x.shape[-2] != x.shape[-1]:
        msg = f"{name}() needs square matrices, not shape {x.shape}"
        raise Invalid("GC015", msg, "the last two sizes must be equal", "input")
    if abs(n) > _MAX_POWER:
        msg = f"the power {n} is too large: at most {_MAX_POWER} is allowed"
        raise Invalid("GC019", msg, "square repeatedly with `let`", "n")
    if n == 0:
        unit = eye(x, -1)
        return unit if x.ndim == 2 else unit.expand(tuple(x.size(d) for d in range(x.ndim)))
    base, rest = (x.inverse(), -n) if n < 0 else (x, n)
    result = None
    while rest:
        if rest % 2:
            result = base if result is None else result @ base
        rest //= 2
        base = base @ base if rest else base
    return result


_MAX_POWER = 2**16

register(
    "matrix_power(Tensor input, int n)",
    doc="A square matrix multiplied with itself n times; a negative n inverts it.",
    define=_matrix_power,
    also=("torch.linalg.matrix_power",),
    samples=(
        Sample("torch.matrix_power(x, 3)", x=(3, 3)),
        Sample("x.matrix_power(-2)", x=_REGULAR),
        Sample("torch.linalg.matrix_power(x, 0)", x=(2, 3, 3), grad=False),  # constant
        Sample("x.matrix_power(1)", x=(2, 2, 2)),
        Sample("i.matrix_power(2)", i=In((2, 2), 0, 5, "int64")),
    ),
)


def _pinv_infer(x: Expr, *, atol: float | None, rtol: float | None) -> Type:
    require_matrix("pinv", x)
    return Type((*x.shape[:-2], x.shape[-1], x.shape[-2]), x.dtype)


def _pinv(x: Any, atol: float | None, rtol: float | None) -> Any:
    with refusing("the singular values of the matrix given to pinv() can't be computed"):
        u, s, vt = np.linalg.svd(x, full_matrices=False)
    if rtol is None:
        rtol = 0.0 if atol else max(x.shape[-2:]) * float(np.finfo(s.dtype).eps)
    largest = s[..., :1] if s.shape[-1] else s
    kept = s > np.maximum(atol or 0.0, rtol * largest)
    inverted = np.where(kept, 1 / np.where(kept, s, 1), 0).astype(s.dtype)
    return np.swapaxes(vt, -1, -2) @ (inverted[..., None] * np.swapaxes(u, -1, -2))


def _pinv_vjp(g: Expr, out: Expr, x: Expr, *, atol: float | None, rtol: float | None) -> Any:
    """Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973), equation 4.12, transposed."""
    p = turned(out)
    rows = turned(g) @ out @ p
    columns = p @ out @ turned(g)
    return rows - x @ out @ rows + columns - columns @ out @ x - p @ g @ p


register(
    "pinv(Tensor input, *, float? atol=None, float? rtol=None)",
    doc="Moore-Penrose pseudoinverse of matrices.",
    infer=_pinv_infer,
    cubic=True,
    kernel=_pinv,
    vjp=_pinv_vjp,
    on=("torch.linalg",),
    convention="differentiable where the rank does not change",
    samples=(
        Sample("torch.linalg.pinv(x)", x=(3, 2)),
        Sample("torch.linalg.pinv(x)", x=(2, 2, 3)),
        Sample("torch.linalg.pinv(x, rtol=1e-3)", x=(3, 3)),
        Sample("torch.linalg.pinv(x)", x=(0, 2)),
    ),
)
register(
    "pinverse(Tensor input, float rcond=1e-15)",
    doc="Moore-Penrose pseudoinverse of matrices.",
    define=lambda x, rcond: t.pinv(x, rtol=rcond),
    samples=(Sample("torch.pinverse(x)", x=(3, 2)), Sample("x.pinverse(1e-6)", x=(2, 3))),
)
