"""Systems of linear equations; every leading dimension is a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops import factor, triangular
from gradcheck_cli.ops._common import broadcast, register
from gradcheck_cli.ops.linalg import zero_pivot
from gradcheck_cli.ops.matrices import refusing, require_matrix, require_square, turned
from gradcheck_cli.ops.products import same_dtype
from gradcheck_cli.schema import Invalid


def _is_vector(a_shape: tuple[int, ...], b_shape: tuple[int, ...]) -> bool:
    """Whether the right-hand side is a vector, or a batch of them (PyTorch's documentation)."""
    return len(b_shape) == 1 or (len(a_shape) - 1 == len(b_shape) and b_shape == a_shape[:-1])


def _solve_shape(name: str, A: Expr, B: Expr, *, left: bool, vector: bool) -> Type:
    require_square(name, A, "A")
    same_dtype(name, A, B)
    size = A.shape[-1]
    if not B.ndim:
        msg = f"{name}() needs a vector or matrices for B, not a tensor of shape ()"
        raise Invalid("GC015", msg, "B.unsqueeze(0) makes a vector of it", "B")
    shape = (*B.shape, 1) if vector else B.shape
    if shape[-2 if left else -1] != size:
        equation = "A X = B" if left else "X A = B"
        msg = f"{name}() can't solve {equation} with shapes {A.shape} and {B.shape}"
        which = "second-last" if left and not vector else "last"
        raise Invalid("GC015", msg, f"the {which} size of B must be {size}", "B")
    if vector and not left:
        msg = f"{name}() with left=False needs matrices on the right, not a vector"
        raise Invalid("GC015", msg, "B.unsqueeze(0) makes a row of it", "B")
    batch = broadcast(A.shape[:-2], shape[:-2])
    result = (*batch, *shape[-2:])
    return Type(result[:-1] if vector else result, B.dtype)


def _solve_kernel(A: Any, B: Any, left: bool) -> Any:
    vector = _is_vector(A.shape, B.shape)
    with refusing("the matrix given to solve() is singular"):
        if vector:
            return np.linalg.solve(A, B[..., None])[..., 0]
        if left:
            return np.linalg.solve(A, B)
        transposed = np.linalg.solve(np.swapaxes(A, -1, -2), np.swapaxes(B, -1, -2))
        return np.swapaxes(transposed, -1, -2)


def _solve_vjp(g: Expr, out: Expr, A: Expr, B: Expr, *, left: bool) -> tuple[Any, Any]:
    if not left:
        gB = t.solve(turned(A), g, left=False)
        return -turned(out) @ gB, gB
    gB = t.solve(turned(A), g)
    if not _is_vector(A.shape, B.shape):
        return -gB @ turned(out), gB
    if out.ndim == 1:
        return -t.outer(gB, out), gB
    return -gB.unsqueeze(-1) * out.unsqueeze(-2), gB


_A = In((3, 3), structure="spd")
_BATCH = In((2, 3, 3), structure="spd")

register(
    "solve(Tensor A, Tensor B, *, bool left=True)",
    doc="The X of the linear equations A X = B, or X A = B.",
    infer=lambda A, B, left: _solve_shape(
        "solve", A, B, left=left, vector=_is_vector(A.shape, B.shape)
    ),
    cubic=True,
    kernel=_solve_kernel,
    fused=factor.solved,
    vjp=_solve_vjp,
    on=("torch.linalg",),
    analytic=True,
    samples=(
        Sample("torch.linalg.solve(x, y)", x=_A, y=(3,)),
        Sample("torch.linalg.solve(x, y)", x=_A, y=(3, 2)),
        Sample("torch.linalg.solve(x, y)", x=_BATCH, y=(3,)),
        Sample("torch.linalg.solve(x, y)", x=_BATCH, y=(2, 3)),
        Sample("torch.linalg.solve(x, y)", x=_BATCH, y=(3, 4)),
        Sample("torch.linalg.solve(x, y)", x=_A, y=(2, 3, 2)),
        Sample("torch.linalg.solve(x, y, left=False)", x=_A, y=(2, 3)),
        Sample("torch.linalg.solve(x, y, left=False)", x=_BATCH, y=(4, 3)),
        Sample("torch.linalg.solve(x, y)", x=(0, 0), y=(0, 2)),
        Sample("torch.linalg.solve(x, y)", x=(0, 0), y=(0,)),
    ),
)


def _solve_ex(A: Any, B: Any, left: bool, check_errors: bool) -> tuple[Any, Any]:
    """The solutions, NaN where a matrix is singular, and its first zero pivot."""
    try:
        return _solve_kernel(A, B, left), np.zeros(A.shape[:-2], np.int32)
    except Invalid:
        if check_errors:
            raise
    info = zero_pivot(A)
    regular = info[..., None, None] == 0
    out = _solve_kernel(np.where(regular, A, np.eye(A.shape[-1], dtype=A.dtype)), B, left)
    regular = regular[..., 0] if _is_vector(A.shape, B.shape) else regular
    return np.where(regular, out, out.dtype.type(np.nan)), info


register(
    "solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False)",
    doc="The X of A X = B, or X A = B, and the first zero pivot of a singular A, else 0.",
    infer=lambda A, B, left, check_errors: (
        _solve_shape("solve_ex", A, B, left=left, vector=_is_vector(A.shape, B.shape)),
        Type(A.shape[:-2], dtypes.int32),
    ),
    cubic=True,
    kernel=_solve_ex,
    vjp=lambda g, out, A, B, left, check_errors, output: (
        (None, None) if output else _solve_vjp(g, out, A, B, left=left)
    ),
    outputs=("result", "info"),
    on=("torch.linalg",),
    samples=(
        Sample("torch.linalg.solve_ex(x, y).result", x=_A, y=(3, 2)),
        Sample("torch.linalg.solve_ex(x, y, left=False)[0]", x=_BATCH, y=(2, 4, 3)),
        Sample("torch.linalg.solve_ex(x, y)[1]", x=_BATCH, y=(3,)),
        Sample("torch.linalg.solve_ex(0.0 * x, y).info", x=_A, y=(3,)),
    ),
)


def _solve_triangular(A: Expr, B: Expr, *, upper: bool, left: bool, unitriangular: bool) -> Type:
    require_matrix("solve_triangular", B, "B")
    return _solve_shape("solve_triangular", A, B, left=left, vector=False)


def _solve_triangular_vjp(
    g: Expr, out: Expr, A: Expr, B: Expr, *, upper: bool, left: bool, unitriangular: bool
) -> tuple[Any, Any]:
    gB = t.solve_triangular(turned(A), g, upper=not upper, left=left, unitriangular=unitriangular)
    product = gB @ turned(out) if left else turned(out) @ gB
    skip = 1 if unitriangular else 0
    return -(product.triu(skip) if upper else product.tril(-skip)), gB


_L = In((3, 3), structure="lower_triangular")

register(
    "solve_triangular(Tensor input, Tensor B, *, bool upper, bool left=True, bool unitriangular=False)",
    doc="The X of the linear equations A X = B, or X A = B, of which one triangle of A is read.",
    infer=_solve_triangular,
    cubic=True,
    kernel=triangular.substitute,
    prepare=triangular.prepare,
    vjp=_solve_triangular_vjp,
    on=("torch.linalg",),
    analytic=True,
    samples=(
        Sample("torch.linalg.solve_triangular(x, y, upper=False)", x=_L, y=(3, 2)),
        Sample("torch.linalg.solve_triangular(x, y, upper=True)", x=_A, y=(2, 3, 1)),
        Sample("torch.linalg.solve_triangular(x, y, upper=True, left=False)", x=_A, y=(2, 3)),
        Sample("torch.linalg.solve_triangular(x, y, upper=False, left=False)", x=_BATCH, y=(2, 3)),
        Sample(
            "torch.linalg.solve_triangular(x, y, upper=False, unitriangular=True)", x=_A, y=(3, 2)
        ),
        Sample(
            "torch.linalg.solve_triangular(x, y, upper=True, unitriangular=True)", x=_A, y=(3, 2)
        ),
        Sample("torch.linalg.solve_triangular(x, y, upper=True)", x=(0, 0), y=(0, 2)),
    ),
)
