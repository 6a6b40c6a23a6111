"""The pseudoinverse of matrices of any shape and rank."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, call
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.matrices import (
    is_perturbed,
    iterating,
    mirrored,
    require_matrix,
    require_square,
    symmetrized,
    turned,
)
from gradcheck_cli.ops.svd import cutoff, tolerated


def _infer(x: Expr, atol: Expr | None, rtol: Expr | None, *, hermitian: bool) -> Type:
    (require_square if hermitian else require_matrix)("pinv", x)
    return Type((*tolerated("pinv", x, atol, rtol), x.shape[-1], x.shape[-2]), x.dtype)


def _kernel(x: Any, atol: Any, rtol: Any, hermitian: bool) -> Any:
    if not hermitian:
        return _by_singular_values(x, atol, rtol)
    with iterating("pinv", x):
        values, vectors = np.linalg.eigh(symmetrized(x))
    out = _put_together(vectors, values, mirrored(vectors), _floor(x, values, atol, rtol))
    # The rule is that of all matrices, symmetric or not: finite differences around a symmetric one see it.
    perturbed = is_perturbed(x, x - mirrored(x))
    if not perturbed.any():
        return out
    return np.where(perturbed[..., None, None], _by_singular_values(x, atol, rtol), out)


def _by_singular_values(x: Any, atol: Any, rtol: Any) -> Any:
    with iterating("pinv", x):
        U, S, Vh = np.linalg.svd(x, full_matrices=False)
    return _put_together(U, S, Vh, _floor(x, S, atol, rtol))


def _floor(x: Any, values: Any, atol: Any, rtol: Any) -> Any:
    largest = np.abs(values).max(-1, initial=0)
    return np.asarray(cutoff(x.shape[-2:], largest, atol, rtol))[..., None]


def _put_together(left: Any, values: Any, right: Any, floor: Any) -> Any:
    kept = np.abs(values) > floor
    inverted = np.where(kept, 1 / np.where(kept, values, 1), 0).astype(values.dtype)
    return mirrored(right) @ (inverted[..., None] * mirrored(left))


def _vjp(
    g: Expr, out: Expr, x: Expr, atol: Expr | None, rtol: Expr | None, *, hermitian: bool
) -> tuple[Any, None, None]:
    """Golub and Pereyra, SIAM J. Numer. Anal. 10 (1973), equation 4.12, transposed."""
    p = turned(out)
    rows = turned(g) @ out @ p
    columns = p @ (out @ turned(g))
    gradient = rows - x @ (out @ rows) + columns - columns @ out @ x - p @ g @ p
    return gradient, None, None


PINV = register(
    "pinv(Tensor input, *, Tensor|Scalar? atol=None, Tensor|Scalar? rtol=None, "
    "bool hermitian=False)",
    doc="Moore-Penrose pseudoinverse of matrices.",
    infer=_infer,
    cubic=True,
    orthogonal=True,
    kernel=_kernel,
    vjp=_vjp,
    on=("torch.linalg",),
    convention="differentiable where the rank does not change",
    samples=(
        Sample("torch.linalg.pinv(x)", x=(3, 2)),
        Sample("torch.linalg.pinv(x)", x=(2, 2, 3)),
        Sample("torch.linalg.pinv(x, rtol=1e-3)", x=(3, 3)),
        Sample("torch.linalg.pinv(x, atol=1e-3)", x=(2, 3, 3)),
        Sample("torch.linalg.pinv(x, rtol=y.detach())", x=(2, 3, 2), y=In((2,), 0.0, 1e-3)),
        Sample("torch.linalg.pinv(x @ y.mT)", x=(4, 2), y=(3, 2), second=False),  # loses digits
        Sample("torch.linalg.pinv(x, hermitian=True)", x=In((2, 3, 3), structure="spd")),
        Sample("torch.linalg.pinv(x)", x=(0, 2)),
    ),
)
register(
    "pinv.rcond(Tensor input, Tensor|Scalar rcond, bool hermitian=False)",
    doc="Moore-Penrose pseudoinverse of matrices, small singular values left out.",
    define=lambda x, rcond, hermitian: call([PINV], x, rtol=rcond, hermitian=hermitian),
    on=("torch.linalg",),
    samples=(Sample("torch.linalg.pinv(x, 1e-3)", x=(3, 2)),),
)
register(
    "pinverse(Tensor input, float rcond=1e-15)",
    doc="Moore-Penrose pseudoinverse of matrices.",
    define=lambda x, rcond: call([PINV], x, rtol=rcond),
    samples=(Sample("torch.pinverse(x)", x=(3, 2)), Sample("x.pinverse(1e-6)", x=(2, 3))),
)
