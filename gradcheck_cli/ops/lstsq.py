"""Least squares: systems of linear equations with more equations than unknowns, or fewer."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, Sample, Type, call, t
from gradcheck_cli.ops._common import broadcast, register
from gradcheck_cli.ops.matrices import iterating, mirrored, require_matrix, turned
from gradcheck_cli.ops.pinv import PINV
from gradcheck_cli.ops.products import same_dtype
from gradcheck_cli.ops.svd import cutoff
from gradcheck_cli.schema import Invalid

_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def _is_vector(A: Any, B: Any) -> bool:
    return bool(B.ndim == 1 or (A.ndim - 1 == B.ndim and B.shape == A.shape[:-1]))


def _infer(A: Expr, B: Expr, *, rcond: float | None, driver: str | None) -> tuple[Type, ...]:
    require_matrix("lstsq", A)
    same_dtype("lstsq", A, B)
    driver = driver or "gelsy"
    if driver not in _DRIVERS:
        msg = f"lstsq() doesn't have the driver {driver!r}"
        raise Invalid("GC014", msg, f"use one of {', '.join(_DRIVERS)}", "driver")
    *batch, m, n = A.shape
    vector = _is_vector(A, B)
    shape = (*B.shape, 1) if vector else B.shape
    if len(shape) < 2 or shape[-2] != m:
        msg = f"lstsq() can't fit shape {A.shape} to shape {B.shape}"
        raise Invalid("GC015", msg, f"the number of rows of b must be {m}", "b")
    together = broadcast(tuple(batch), shape[:-2])
    columns = () if vector else shape[-1:]
    residuals = (*together, *columns) if m > n and driver != "gelsy" else (0,)
    rank = (0,) if driver == "gels" else tuple(batch)
    values = (*batch, min(m, n)) if driver in ("gelsd", "gelss") else (0,)
    return (
        Type((*together, n, *columns), A.dtype),
        Type(residuals, A.dtype),
        Type(rank, dtypes.int64),
        Type(values, A.dtype),
    )


def _kernel(A: Any, B: Any, rcond: float | None, driver: str | None) -> tuple[Any, Any, Any, Any]:
    """The shortest solution of the least residual, by singular values."""
    driver = driver or "gelsy"
    with iterating("lstsq", A):
        U, S, Vh = np.linalg.svd(A, full_matrices=False)
    columns = B[..., None] if _is_vector(A, B) else B
    floor = np.asarray(cutoff(A.shape[-2:], S.max(-1, initial=0), None, rcond))
    kept = floor[..., None] < S if driver != "gels" else S == S
    scale = np.where(kept, 1 / np.where(kept, S, 1), 0).astype(S.dtype)
    X = mirrored(Vh) @ (scale[..., None] * (mirrored(U) @ columns))
    empty = np.empty(0, A.dtype)
    residuals = empty
    if A.shape[-2] > A.shape[-1] and driver != "gelsy":
        residuals = np.sum((A @ X - columns) ** 2, -2)
    if columns is not B:
        X = X[..., 0]
        residuals = residuals[..., 0] if residuals is not empty else residuals
    rank = np.empty(0, np.int64) if driver == "gels" else kept.sum(-1, dtype=np.int64)
    return X, residuals, rank, S if driver in ("gelsd", "gelss") else empty


def _vjp(
    g: Expr, out: Expr, A: Expr, B: Expr, *, output: int, **attributes: Any
) -> tuple[Any, Any]:
    """The solution is pinv(A) @ B; where the residual is least, it doesn't depend on the solution."""
    if output > 1 or 0 in out.shape:
        return None, None
    vector = _is_vector(A, B)
    columns = B.unsqueeze(-1) if vector else B
    if output == 0:
        X = call([LSTSQ], A, B, **attributes).solution
        inverse = call([PINV], A, rtol=attributes["rcond"])
        if A.ndim == 2 and B.ndim == 1:
            gB = turned(inverse) @ g
            gA = t.outer(B - A @ X, inverse @ gB) + t.outer(turned(inverse) @ X, g - turned(A) @ gB)
            return gA - t.outer(gB, X), gB
        X, upstream = (X.unsqueeze(-1), g.unsqueeze(-1)) if vector else (X, g)
        gB = turned(inverse) @ upstream
        # The rule of the pseudoinverse, multiplied out: the first term is zero where A has full row rank,
        # the second where it has full column rank.
        gA = (columns - A @ X) @ turned(inverse @ gB)
        gA = gA + turned(inverse) @ X @ turned(upstream - turned(A) @ gB) - gB @ turned(X)
    else:
        X = call([LSTSQ], A, B, **attributes).solution
        X = X.unsqueeze(-1) if vector else X
        upstream = g.unsqueeze(-1) if vector else g
        gB = 2.0 * (columns - A @ X) * upstream.unsqueeze(-2)
        gA = -gB @ turned(X)
    return gA, (gB.squeeze(-1) if vector else gB)


LSTSQ = register(
    "lstsq(Tensor input, Tensor b, float? rcond=None, *, str? driver=None)",
    doc="The X of least norm among those that make A X - B least, by columns.",
    infer=_infer,
    kernel=_kernel,
    cubic=True,
    orthogonal=True,
    vjp=_vjp,
    outputs=("solution", "residuals", "rank", "singular_values"),
    on=("torch.linalg",),
    convention="differentiable where the rank does not change",
    samples=(
        Sample("torch.linalg.lstsq(x, y).solution", x=(4, 2), y=(4, 3)),
        Sample("torch.linalg.lstsq(x, y).solution", x=(2, 4), y=(2, 3)),
        Sample("torch.linalg.lstsq(x, y)[0]", x=(2, 3, 3), y=(2, 3, 1)),
        Sample("torch.linalg.lstsq(x, y, driver='gels')[0]", x=(2, 4, 2), y=(2, 4)),
        Sample("torch.linalg.lstsq(x, y, driver='gelsd').residuals", x=(4, 2), y=(4, 3)),
        Sample("torch.linalg.lstsq(x, y, driver='gelss').rank", x=(2, 4, 2), y=(2, 4, 1)),
        Sample(
            "torch.linalg.lstsq(x, y, 1e-3, driver='gelsd').singular_values",
            x=(4, 2),
            y=(4, 1),
            grad=False,  # PyTorch lets none through
        ),
    ),
)
