"""What records of linear algebra share: what is a matrix, what LAPACK refuses, and short forms for rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Type
from gradcheck_cli.ops.factor import refused
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.graph import Expr

_LAPACK_TYPES = ("float32", "float64", "complex64", "complex128")
# Up to this part of the largest element, what deviates from a structure is taken as a perturbation of it:
# a step of finite differences, rounding. Beyond, the matrix hasn't the structure.
_PERTURBATION = 1 / 64


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


def square(name: str) -> Callable[..., Type]:
    """infer: square matrices of the same shape."""

    def infer(x: Expr, **_: Any) -> Type:
        require_square(name, x)
        return Type(x.shape, x.dtype)

    return infer


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


def iterating(name: str, x: Any) -> refusing:
    """Context of an iteration towards singular values or eigenvalues: some LAPACKs never end it on NaN.

    Raises Invalid (GC204), as PyTorch does.
    """
    if not np.isfinite(x).all():
        msg = f"{name}() can't be computed of a matrix with NaN or infinity in it"
        raise Invalid("GC204", msg, "`gradcheck trace` shows where the first of them arises")
    return refusing(f"{name}() found no singular values or eigenvalues: no convergence")


def turned(x: Expr) -> Any:
    """The transpose, written as people do: `.T` for a matrix, `.mT` for a batch."""
    return x.T if x.ndim == 2 else x.mT


def times(g: Expr, matrices: Expr) -> Any:
    """Each matrix of a batch times its own number."""
    return g * matrices if matrices.ndim == 2 else g.unsqueeze(-1).unsqueeze(-1) * matrices


def skew(x: Expr) -> Any:
    """Twice the part of square matrices that changes its sign when transposed."""
    return x - turned(x)


def scaled_columns(x: Expr, scale: Expr) -> Any:
    """Every column of a matrix times its own number."""
    return x * scale.unsqueeze(-2)


def mirrored(x: Any) -> Any:
    """The transposes of an array's matrices."""
    return np.swapaxes(x, -1, -2)


def symmetrized(x: Any, lower: bool = True) -> Any:
    """The symmetric part of matrices that are nearly symmetric; of others, one triangle and its mirror.

    PyTorch reads one triangle, but its gradient is that of a symmetric matrix, spread over both. Finite
    differences around a symmetric matrix see the same so.
    """
    off = x - mirrored(x)
    if not off.any():
        return x
    symmetric = (x + mirrored(x)) / 2
    size = np.abs(x).max((-2, -1), initial=0)
    near = np.abs(off).max((-2, -1), initial=0) <= _PERTURBATION * size
    if near.all():
        return symmetric
    triangle = np.tril(x) if lower else np.triu(x)
    whole = triangle + mirrored(np.tril(x, -1) if lower else np.triu(x, 1))
    return np.where(near[..., None, None], symmetric, whole)


def is_perturbed(triangle: Any, rest: Any) -> Any:
    """For each matrix, whether what is beyond a triangle is little, though not nothing."""
    size = np.abs(rest).max((-2, -1), initial=0)
    return (size > 0) & (size <= _PERTURBATION * np.abs(triangle).max((-2, -1), initial=0))


def each(run: Callable[..., Any], *arrays: Any) -> list[Any]:
    """`run` on every matrix of a batch (of several, together), its results stacked as a list of arrays."""
    batch = arrays[0].shape[:-2]
    results = [run(*(array[place] for array in arrays)) for place in np.ndindex(batch)]
    parts = zip(*results, strict=True)
    return [np.stack(part).reshape(batch + np.shape(part[0])) for part in parts]
