"""Systems of linear equations and the Cholesky factorization; every leading dimension is a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops import factor, triangular
from gradcheck_cli.ops._common import broadcast, register
from gradcheck_cli.ops.linalg import refusing, require_matrix, require_square, turned
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


def _cholesky(x: Expr, *, upper: bool) -> Type:
    require_square("cholesky", x)
    return Type(x.shape, x.dtype)


_NOT_POSITIVE = "the matrix given to cholesky() is not positive definite"


def _factor(x: Any, upper: bool) -> Any:
    """The factor of the symmetric part, so that finite differences see PyTorch's gradient.

    PyTorch reads one triangle, but its gradient is that of a symmetric matrix, spread over both.
    """
    symmetric = (x + np.swapaxes(x, -1, -2)) / 2
    with refusing(_NOT_POSITIVE):
        out = _complex_factor(symmetric) if np.iscomplexobj(x) else np.linalg.cholesky(symmetric)
    return np.swapaxes(out, -1, -2) if upper else out


def _prepare_cholesky(node: Expr) -> Any:
    """The same for a large matrix, without work on what is symmetric already."""
    if node.ndim != 2 or node.shape[0] < factor.LARGE:
        return None
    upper = node.attributes["upper"]

    def run(x: Any) -> Any:
        own = x.copy() if factor.is_symmetric(x) else (x + x.T) / 2
        out, info = factor.routine("potrf", x.dtype)(own.T, overwrite_a=1)
        if info:
            raise factor.refused(_NOT_POSITIVE)
        return out if upper else out.T

    return run


def _complex_factor(x: Any) -> Any:
    """L with L L^T = x for complex symmetric x, without conjugation: the analytic continuation."""
    np.linalg.cholesky(x.real)
    out = np.zeros_like(x)
    for j in range(x.shape[-1]):
        row = out[..., j : j + 1, :j]
        below = x[..., j:, j] - (out[..., j:, :j] @ np.swapaxes(row, -1, -2))[..., 0]
        out[..., j:, j] = below / np.sqrt(below[..., :1])
    return out


def _cholesky_vjp(g: Expr, out: Expr, x: Expr, *, upper: bool) -> Any:
    """Murray, Differentiation of the Cholesky decomposition (2016), equation 10, symmetrised."""
    L, gL = (turned(out), turned(g)) if upper else (out, g)
    p = turned(L) @ gL
    middle = (p.tril() + turned(p.tril(-1))) / 2
    inner = t.solve_triangular(turned(L), middle, upper=True)
    return t.solve_triangular(L, inner, upper=False, left=False)


register(
    "cholesky(Tensor input, bool upper=False)",
    doc="The triangular L with L L^T equal to a positive-definite matrix; upper gives L^T.",
    infer=_cholesky,
    cubic=True,
    kernel=_factor,
    prepare=_prepare_cholesky,
    vjp=_cholesky_vjp,
    also=("torch.linalg.cholesky",),
    analytic=True,
    convention="the matrix is taken as symmetric, and the gradient is symmetric",
    samples=(
        Sample("torch.linalg.cholesky(x)", x=_A),
        Sample("torch.linalg.cholesky(x, upper=True)", x=_BATCH),
        Sample("x.cholesky()", x=In((1, 1), structure="spd")),
        Sample("torch.linalg.cholesky(x @ x.mT + torch.eye(3))", x=(2, 3, 2)),
        Sample("x.cholesky()", x=(0, 0)),
        Sample("x.cholesky()", x=(0, 2, 2)),
    ),
)


def _cholesky_solve(B: Expr, L: Expr, *, upper: bool) -> Any:
    require_matrix("cholesky_solve", B, "B")
    require_square("cholesky_solve", L, "L")
    lower, above = (turned(L), L) if upper else (L, turned(L))
    inner = t.solve_triangular(lower, B, upper=False)
    return t.solve_triangular(above, inner, upper=True)


register(
    "cholesky_solve(Tensor input, Tensor input2, bool upper=False)",
    doc="The X of A X = B, from the Cholesky factor of A.",
    define=_cholesky_solve,
    convention="only the factor's triangle has a gradient",
    samples=(
        Sample("torch.cholesky_solve(y, x.tril())", x=_A, y=(3, 2)),
        Sample("y.cholesky_solve(x.triu(), upper=True)", x=_BATCH, y=(3, 2)),
        Sample("torch.cholesky_solve(y, torch.linalg.cholesky(x))", x=_A, y=(3, 1)),
    ),
)
