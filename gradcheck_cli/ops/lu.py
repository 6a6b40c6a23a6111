"""The LU decomposition with row pivoting, packed as LAPACK keeps it or taken apart."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Op, Sample, Type, call, t
from gradcheck_cli.ops._common import broadcast, register
from gradcheck_cli.ops.factor import refused, routine
from gradcheck_cli.ops.matrices import each, require_matrix, require_square, turned
from gradcheck_cli.ops.products import same_dtype
from gradcheck_cli.schema import Invalid


def _infer(x: Expr, *, pivot: bool, check_errors: bool) -> tuple[Type, Type, Type]:
    require_matrix("lu_factor", x, "A")
    if not pivot:
        msg = "the LU decomposition without pivots is not available on the CPU"
        raise Invalid("GC014", msg, "leave pivot=False out", "pivot")
    batch, count = x.shape[:-2], min(x.shape[-2:])
    whole = dtypes.int32
    return Type(x.shape, x.dtype), Type((*batch, count), whole), Type(batch, whole)


def _kernel(x: Any, pivot: bool, check_errors: bool) -> tuple[Any, Any, Any]:
    if x.size:
        LU, pivots, info = each(routine("getrf", x.dtype), x)
    else:
        LU, info = x, np.zeros(x.shape[:-2])
        pivots = np.empty((*x.shape[:-2], min(x.shape[-2:])))
    if check_errors and info.any():
        raise refused("the matrix given to lu_factor() is singular")
    return LU, (pivots + 1).astype(np.int32), info.astype(np.int32)


def _vjp(g: Expr, out: Expr, x: Expr, *, output: int, **attributes: bool) -> Any:
    """De Hoog, Anderssen and Lukas, Math. Comp. 80 (2011), transposed.

    What is beyond the square part of a wide or tall matrix solves a triangular system.
    """
    if output:
        return None
    LU, pivots, _ = call([FACTOR_EX], x, **attributes)
    P, L, U = t.lu_unpack(LU, pivots)
    rows, columns = x.size(-2), x.size(-1)
    if x.shape[-2] < x.shape[-1]:
        right, gright = U[..., rows:], g[..., rows:]
        U, g = U[..., :rows], g[..., :rows]
        inner = _packed_vjp(turned(L) @ g.tril(-1) - gright @ turned(right), g.triu() @ turned(U))
        inner = t.cat((_divided(inner, U), gright), -1)
    elif x.shape[-2] > x.shape[-1]:
        below, gbelow = L[..., columns:, :], g[..., columns:, :]
        L, g = L[..., :columns, :], g[..., :columns, :]
        inner = _packed_vjp(turned(L) @ g.tril(-1), g.triu() @ turned(U) - turned(below) @ gbelow)
        lower = _substituted(L, inner)
        return P @ _divided(t.cat((lower, gbelow), -2), U)
    else:
        inner = _divided(_packed_vjp(turned(L) @ g.tril(-1), g.triu() @ turned(U)), U)
    return P @ _substituted(L, inner)


def _packed_vjp(lower: Expr, upper: Expr) -> Any:
    return lower.tril(-1) + upper.triu()


def _substituted(L: Expr, x: Expr) -> Any:
    """The inverse transpose of a unit lower triangle times x."""
    return t.solve_triangular(turned(L), x, upper=True, unitriangular=True)


def _divided(x: Expr, U: Expr) -> Any:
    """X times the inverse transpose of an upper triangle."""
    return t.solve_triangular(turned(U), x, upper=False, left=False)


_REGULAR = "the pivots must not be zero, nor equally large in their columns"
_SHAPES = ((3, 3), (2, 2, 4), (2, 4, 2))

FACTOR_EX = register(
    "lu_factor_ex(Tensor A, *, bool pivot=True, bool check_errors=False)",
    doc="The LU decomposition in one matrix, the rows exchanged (from 1), and the first zero pivot.",
    infer=_infer,
    kernel=_kernel,
    cubic=True,
    vjp=_vjp,
    outputs=("LU", "pivots", "info"),
    on=("torch.linalg",),
    convention=_REGULAR,
    samples=(
        *(Sample("torch.linalg.lu_factor_ex(x).LU", x=shape) for shape in _SHAPES),
        Sample("torch.linalg.lu_factor_ex(x).pivots", x=(2, 4, 3)),
        Sample("torch.linalg.lu_factor_ex(0.0 * x)[2]", x=(2, 2)),
        Sample("torch.linalg.lu_factor_ex(x)[0]", x=(0, 3)),
        Sample("torch.linalg.lu_factor_ex(x)[1]", x=(2, 3, 0)),
    ),
)
FACTOR: Op = register(
    "lu_factor(Tensor A, *, bool pivot=True)",
    doc="The LU decomposition in one matrix, and the rows exchanged (from 1).",
    define=lambda x, pivot: FACTOR.result_tuple(
        *call([FACTOR_EX], x, pivot=pivot, check_errors=True)[:2]
    ),
    outputs=("LU", "pivots"),
    on=("torch.linalg",),
    convention=_REGULAR,
    samples=(
        Sample("torch.linalg.lu_factor(x).LU", x=(3, 3)),
        Sample("torch.linalg.lu_factor(x)[1]", x=(2, 3, 3)),
    ),
)


def _old_lu(x: Expr, *, pivot: bool, get_infos: bool) -> Any:
    found = call([FACTOR_EX], x, pivot=pivot)
    return tuple(found) if get_infos else tuple(found[:2])


register(
    "lu(Tensor input, bool pivot=True, bool get_infos=False)",
    doc="The LU decomposition in one matrix, and the rows exchanged (from 1).",
    define=_old_lu,
    convention=_REGULAR,
    samples=(
        Sample("torch.lu(x)[0]", x=(3, 3)),
        Sample("x.lu(get_infos=True)[2]", x=(2, 3, 3)),
    ),
)


def _unpack_infer(
    LU: Expr, pivots: Expr, *, unpack_data: bool, unpack_pivots: bool
) -> tuple[Type, Type, Type]:
    require_matrix("lu_unpack", LU, "LU_data")
    if pivots.dtype is not dtypes.int32:
        msg = f"lu_unpack() needs pivots in int32, not {pivots.dtype.name}"
        raise Invalid("GC016", msg, "take them from lu_factor()", "LU_pivots")
    *batch, m, n = LU.shape
    if pivots.shape != (*batch, min(m, n)):
        msg = f"lu_unpack() needs pivots of shape {(*batch, min(m, n))}, not {pivots.shape}"
        raise Invalid("GC015", msg, "take them from lu_factor()", "LU_pivots")
    k = min(m, n)
    P = (*batch, m, m) if unpack_pivots else (0,)
    L, U = ((*batch, m, k), (*batch, k, n)) if unpack_data else ((0,), (0,))
    return Type(P, LU.dtype), Type(L, LU.dtype), Type(U, LU.dtype)


def _unpack(LU: Any, pivots: Any, unpack_data: bool, unpack_pivots: bool) -> tuple[Any, Any, Any]:
    m, n = LU.shape[-2:]
    P = L = U = np.empty(0, LU.dtype)
    if unpack_data:
        k = min(m, n)
        L = np.tril(LU[..., :k], -1) + np.eye(m, k, dtype=LU.dtype)
        U = np.triu(LU[..., :k, :])
    if unpack_pivots:
        P = np.eye(m, dtype=LU.dtype)[_permutation(pivots, m)].swapaxes(-1, -2)
    return P, L, U


def _permutation(pivots: Any, size: int) -> Any:
    """Where each row came from: LAPACK exchanges row i with row pivots[i], one after the other."""
    order = np.broadcast_to(np.arange(size), (*pivots.shape[:-1], size)).copy()
    for row in range(pivots.shape[-1]):
        place = pivots[..., row : row + 1].astype(np.int64) - 1
        other = np.take_along_axis(order, place, -1)
        np.put_along_axis(order, place, order[..., row : row + 1].copy(), -1)
        order[..., row : row + 1] = other
    return order


def _unpack_vjp(
    g: Expr, out: Expr, LU: Expr, pivots: Expr, *, output: int, **_: bool
) -> tuple[Any, None]:
    if output == 0:
        return None, None
    m, n = LU.shape[-2:]
    part = g.tril(-1) if output == 1 else g.triu()
    if (m < n) if output == 1 else (m > n):
        dim = -1 if output == 1 else -2
        part = t.zeros_like(LU).slice_scatter(part, dim, 0, out.size(dim))
    return part, None


_PIVOTS = In((2, 3), 1, 4, "int32")

register(
    "lu_unpack(Tensor LU_data, Tensor LU_pivots, bool unpack_data=True, bool unpack_pivots=True)",
    doc="The permutation P and the triangles L and U of a packed LU decomposition.",
    infer=_unpack_infer,
    kernel=_unpack,
    vjp=_unpack_vjp,
    outputs=("P", "L", "U"),
    on=("torch",),
    samples=(
        Sample("torch.lu_unpack(x, i).L", x=(2, 3, 3), i=_PIVOTS),
        Sample("torch.lu_unpack(x, i).U", x=(2, 3, 5), i=_PIVOTS),
        Sample("torch.lu_unpack(x, i)[1]", x=(2, 3, 5), i=_PIVOTS),
        Sample("torch.lu_unpack(x, i)[2]", x=(2, 4, 3), i=_PIVOTS),
        Sample("torch.lu_unpack(x, i).P", x=(2, 4, 3), i=_PIVOTS, grad=False),  # constant
        Sample("torch.lu_unpack(x, i, unpack_data=False)[1]", x=(2, 3, 3), i=_PIVOTS, grad=False),
    ),
)


def _lu(x: Expr, *, pivot: bool) -> Any:
    LU, pivots, _ = call([FACTOR_EX], x, pivot=pivot)
    return LU_APART.result_tuple(*t.lu_unpack(LU, pivots))


LU_APART = register(
    "linalg_lu(Tensor A, *, bool pivot=True)",
    doc="A matrix as a product of a permutation P, a lower triangle L and an upper one U.",
    define=_lu,
    outputs=("P", "L", "U"),
    on=(),
    also=("torch.linalg.lu",),
    convention=_REGULAR,
    samples=(
        Sample("torch.linalg.lu(x).L", x=(4, 2)),
        Sample("torch.linalg.lu(x).U", x=(2, 4)),
        Sample("torch.linalg.lu(x)[1] + torch.linalg.lu(x)[2]", x=(2, 3, 3)),
        Sample("torch.linalg.lu(x).P", x=(4, 2), grad=False),  # constant between ties
    ),
)


def _solve(LU: Expr, pivots: Expr, B: Expr, *, left: bool, adjoint: bool) -> Any:
    require_square("lu_solve", LU, "LU")
    require_matrix("lu_solve", B, "B")
    same_dtype("lu_solve", LU, B)
    if B.shape[-2 if left else -1] != LU.shape[-1]:
        msg = f"lu_solve() can't solve for shape {B.shape} with factors of shape {LU.shape}"
        which = "second-last" if left else "last"
        raise Invalid("GC015", msg, f"the {which} size of B must be {LU.shape[-1]}", "B")
    broadcast(LU.shape[:-2], B.shape[:-2])
    if not left:  # the transpose of a solution from the left
        return turned(_solve(LU, pivots, turned(B), left=True, adjoint=not adjoint))
    P, L, U = t.lu_unpack(LU, pivots)
    if adjoint:
        inner = t.solve_triangular(turned(U), B, upper=False)
        return P @ t.solve_triangular(turned(L), inner, upper=True, unitriangular=True)
    inner = t.solve_triangular(L, turned(P) @ B, upper=False, unitriangular=True)
    return t.solve_triangular(U, inner, upper=True)


register(
    "linalg_lu_solve(Tensor LU, Tensor pivots, Tensor B, *, bool left=True, bool adjoint=False)",
    doc="The X of A X = B, or X A = B, from the LU decomposition of A; adjoint takes A transposed.",
    define=_solve,
    on=(),
    also=("torch.linalg.lu_solve",),
    samples=(
        Sample("torch.linalg.lu_solve(x, i, y)", x=(2, 3, 3), i=_PIVOTS, y=(2, 3, 2)),
        Sample("torch.linalg.lu_solve(x, i, y, left=False)", x=(2, 3, 3), i=_PIVOTS, y=(2, 3)),
        Sample("torch.linalg.lu_solve(x, i, y, adjoint=True)", x=(2, 3, 3), i=_PIVOTS, y=(3, 1)),
    ),
)
register(
    "lu_solve(Tensor input, Tensor LU_data, Tensor LU_pivots)",
    doc="The X of A X = B from the LU decomposition of A.",
    define=lambda B, LU, pivots: _solve(LU, pivots, B, left=True, adjoint=False),
    samples=(Sample("torch.lu_solve(y, x, i)", x=(2, 3, 3), i=_PIVOTS, y=(2, 3, 2)),),
)
