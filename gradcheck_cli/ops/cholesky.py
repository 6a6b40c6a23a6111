"""The Cholesky factorization of positive-definite matrices, and what is solved with it."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops import factor
from gradcheck_cli.ops._common import broadcast, register
from gradcheck_cli.ops.diagonal import eye
from gradcheck_cli.ops.matrices import (
    each,
    is_perturbed,
    mirrored,
    refusing,
    require_matrix,
    require_square,
    symmetrized,
    turned,
)
from gradcheck_cli.ops.products import same_dtype
from gradcheck_cli.ops.triangular import substitute
from gradcheck_cli.schema import Invalid

_A = In((3, 3), structure="spd")
_BATCH = In((2, 3, 3), structure="spd")
_L = In((3, 3), structure="lower_triangular")
_SYMMETRIC = "the matrix is taken as symmetric, and the gradient is symmetric"


def _cholesky(x: Expr, *, upper: bool) -> Type:
    require_square("cholesky", x)
    return Type(x.shape, x.dtype)


_NOT_POSITIVE = "the matrix given to cholesky() is not positive definite"


def _factor(x: Any, upper: bool) -> Any:
    symmetric = symmetrized(x, lower=not upper)
    with refusing(_NOT_POSITIVE):
        out = _complex_factor(symmetric) if np.iscomplexobj(x) else np.linalg.cholesky(symmetric)
    return mirrored(out) if upper else out


def _prepare_cholesky(node: Expr) -> Any:
    """The same for a large matrix, without work on what is symmetric already."""
    if node.ndim != 2 or node.shape[0] < factor.LARGE:
        return None
    upper = node.attributes["upper"]

    def run(x: Any) -> Any:
        own = x.copy() if factor.is_symmetric(x) else symmetrized(x, lower=not upper)
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
    complex=False,
    convention=_SYMMETRIC,
    samples=(
        Sample("torch.linalg.cholesky(x)", x=_A),
        Sample("torch.linalg.cholesky(x, upper=True)", x=_BATCH),
        Sample("x.cholesky()", x=In((1, 1), structure="spd")),
        Sample("torch.linalg.cholesky(x @ x.mT + torch.eye(3))", x=(2, 3, 2)),
        Sample("x.cholesky()", x=(0, 0)),
        Sample("x.cholesky()", x=(0, 2, 2)),
    ),
)


def _factor_ex(x: Any, upper: bool, check_errors: bool) -> tuple[Any, Any]:
    """The factor and a number for each matrix: 0, or the order of the minor that is not positive."""
    try:
        return _factor(x, upper), np.zeros(x.shape[:-2], np.int32)
    except Invalid:
        if check_errors:
            raise
    potrf = factor.routine("potrf", x.dtype)
    L, info = each(lambda a: potrf(a, lower=1, clean=1), symmetrized(x, lower=not upper))
    return (mirrored(L) if upper else L), info.astype(np.int32)


register(
    "cholesky_ex(Tensor input, *, bool upper=False, bool check_errors=False)",
    doc="The Cholesky factor, and whether there is one: 0, or the minor that is not positive.",
    infer=lambda x, upper, check_errors: (
        _cholesky(x, upper=upper),
        Type(x.shape[:-2], dtypes.int32),
    ),
    cubic=True,
    kernel=_factor_ex,
    vjp=lambda g, out, x, upper, check_errors, output: (
        None if output else _cholesky_vjp(g, out, x, upper=upper)
    ),
    outputs=("L", "info"),
    on=("torch.linalg",),
    convention=_SYMMETRIC,
    samples=(
        Sample("torch.linalg.cholesky_ex(x).L", x=_A),
        Sample("torch.linalg.cholesky_ex(x, upper=True)[0]", x=_BATCH),
        Sample("torch.linalg.cholesky_ex(x).info", x=_BATCH),
        Sample("torch.linalg.cholesky_ex(-x).info", x=_A),
    ),
)


def _inverse(L: Expr, *, upper: bool) -> Any:
    require_square("cholesky_inverse", L)
    return t.cholesky_solve(eye(L, -1), L, upper)


def _solve_shape(B: Expr, L: Expr, *, upper: bool) -> Type:
    require_matrix("cholesky_solve", B, "input")
    require_square("cholesky_solve", L, "input2")
    same_dtype("cholesky_solve", B, L)
    if B.shape[-2] != L.shape[-1]:
        msg = f"cholesky_solve() can't solve for shape {B.shape} with a factor of shape {L.shape}"
        raise Invalid("GC015", msg, f"the second-last size of input must be {L.shape[-1]}", "input")
    return Type((*broadcast(B.shape[:-2], L.shape[:-2]), *B.shape[-2:]), B.dtype)


def _solve(B: Any, L: Any, upper: bool) -> Any:
    """The X of L L^T X = B. What is beyond the triangle is a perturbation of the product, or not read."""
    lower = mirrored(L) if upper else L
    triangle = np.tril(lower)
    perturbed = is_perturbed(triangle, lower - triangle)
    out = substitute(triangle, B, False, True, False)
    out = substitute(mirrored(triangle), out, True, True, False)
    if not perturbed.any():
        return out
    whole = np.where(perturbed[..., None, None], lower, np.eye(L.shape[-1], dtype=L.dtype))
    product = whole @ mirrored(whole)
    return np.where(perturbed[..., None, None], np.linalg.solve(product, B), out)


def _prepare_solve(node: Expr) -> Any:
    """The same for a large matrix, by LAPACK from the factor."""
    L = node.inputs[1]
    if node.ndim != 2 or L.ndim != 2 or L.shape[0] < factor.LARGE or not node.elements:
        return None
    upper = node.attributes["upper"]

    def run(B: Any, L: Any) -> Any:
        if (np.tril(L, -1) if upper else np.triu(L, 1)).any():
            return _solve(B, L, upper)
        # LAPACK counts columns first: it is given the transpose where the numbers lie so.
        turn = L.flags.c_contiguous
        lower = upper if turn else not upper
        return factor.routine("potrs", B.dtype)(L.T if turn else L, B, lower=int(lower))[0]

    return run


def _solve_vjp(g: Expr, out: Expr, B: Expr, L: Expr, *, upper: bool) -> tuple[Any, Any]:
    gB = t.cholesky_solve(g, L, upper)
    product = gB @ turned(out)
    both = product + turned(product)
    return gB, -(L @ both if upper else both @ L)


_WHOLE = "as in PyTorch, the factor's gradient is that of L L^T, not cut to the triangle"

register(
    "cholesky_solve(Tensor input, Tensor input2, bool upper=False)",
    doc="The X of A X = B, from the Cholesky factor of A.",
    infer=_solve_shape,
    cubic=True,
    kernel=_solve,
    prepare=_prepare_solve,
    vjp=_solve_vjp,
    analytic=True,
    complex=False,
    convention=_WHOLE,
    samples=(
        Sample("torch.cholesky_solve(y, x)", x=_L, y=(3, 2)),
        Sample("torch.cholesky_solve(y, x.tril())", x=_A, y=(3, 2)),
        Sample("y.cholesky_solve(x.triu(), upper=True)", x=_BATCH, y=(3, 2)),
        Sample("torch.cholesky_solve(y, torch.linalg.cholesky(x))", x=_A, y=(3, 1)),
        Sample("torch.cholesky_solve(y, x)", x=(0, 0), y=(2, 0, 1)),
    ),
)
register(
    "cholesky_inverse(Tensor input, bool upper=False)",
    doc="The inverse of A from its Cholesky factor.",
    define=_inverse,
    convention=_WHOLE,
    samples=(
        Sample("torch.cholesky_inverse(x)", x=_L),
        Sample("x.mT.cholesky_inverse(upper=True)", x=In((2, 3, 3), structure="lower_triangular")),
        Sample("torch.cholesky_inverse(torch.linalg.cholesky(x))", x=_A),
    ),
)
