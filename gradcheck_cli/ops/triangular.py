"""How triangular systems are solved: by LAPACK through NumPy, by BLAS through SciPy, row by row."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import concrete
from gradcheck_cli.ops import factor

if TYPE_CHECKING:
    from gradcheck_cli.graph import Expr


def substitute(A: Any, B: Any, upper: bool, left: bool, unitriangular: bool) -> Any:
    """The X of A X = B or X A = B, of which one triangle of A is read; also complex."""
    if not left:
        A, B, upper = np.swapaxes(A, -1, -2), np.swapaxes(B, -1, -2), not upper
    if not upper:  # in the opposite order it is an upper triangle
        A, B = A[..., ::-1, ::-1], B[..., ::-1, :]
    out = _by_elimination(A, B, unitriangular)
    if not upper:
        out = out[..., ::-1, :]
    return out if left else np.swapaxes(out, -1, -2)


def _by_elimination(A: Any, B: Any, unitriangular: bool) -> Any:
    """Gaussian elimination finds nothing to eliminate in an upper triangle: what is left is substitution.

    Unless the pivots are zero, or NaN and infinity are multiplied with the zeros.
    """
    if not np.iscomplexobj(A) and not np.iscomplexobj(B):
        triangle = np.where(_triangle(A.shape[-1], int(unitriangular)), A, 0)
        if unitriangular:
            triangle += np.eye(A.shape[-1], dtype=A.dtype)
        try:
            out = np.linalg.solve(triangle, B)
        except np.linalg.LinAlgError:
            pass
        else:
            if np.isfinite(out).all():
                return out
    return _by_rows(A, B, unitriangular)


@lru_cache(8)
def _triangle(size: int, k: int) -> Any:
    """True on and above the k-th diagonal. To make it takes as long as to solve a small system."""
    return ~np.tri(size, k=k - 1, dtype=bool)


def _by_rows(A: Any, B: Any, unitriangular: bool) -> Any:
    """Back substitution, one row of all systems of the batch at a time."""
    size = A.shape[-1]
    batch = np.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    out = np.empty((*batch, *B.shape[-2:]), np.result_type(A, B))
    for row in reversed(range(size)):
        known = slice(row + 1, None)
        solved = (A[..., row : row + 1, known] @ out[..., known, :])[..., 0, :]
        rest = B[..., row, :] - solved
        out[..., row, :] = rest if unitriangular else rest / A[..., row, row, None]
    return out


def prepare(node: Expr) -> Any:
    """The same for large matrices, by BLAS."""
    A, B = node.inputs
    if A.shape[-1] < factor.LARGE or not node.elements:
        return None
    run = partial(_by_blas, **concrete(node.attrs))
    return run if A.ndim == B.ndim == 2 else partial(_each, run)


def _by_blas(A: Any, B: Any, upper: bool, left: bool, unitriangular: bool) -> Any:
    """Of two matrices. BLAS counts columns first: it is given transposes where those are as it wants."""
    if not left:
        turned = _by_blas(A.T, B.T, upper=not upper, left=True, unitriangular=unitriangular)
        return turned.T
    trsm = factor.routine("trsm", A.dtype)
    rows_first = not A.flags.f_contiguous
    triangle, lower = (A.T, upper) if rows_first else (A, not upper)
    if B.flags.f_contiguous:
        return trsm(1, triangle, B, lower=lower, trans_a=rows_first, diag=unitriangular)
    turned = trsm(1, triangle, B.T, side=1, lower=lower, trans_a=not rows_first, diag=unitriangular)
    return turned.T


def _each(run: Any, A: Any, B: Any) -> Any:
    """`run` on every pair of matrices of two batches."""
    batch = np.broadcast_shapes(A.shape[:-2], B.shape[:-2])
    A = np.broadcast_to(A, (*batch, *A.shape[-2:]))
    B = np.broadcast_to(B, (*batch, *B.shape[-2:]))
    out = np.empty(B.shape, B.dtype)
    for place in np.ndindex(batch):
        out[place] = run(A[place], B[place])
    return out
