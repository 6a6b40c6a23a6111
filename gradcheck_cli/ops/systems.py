"""Systems of linear equations in other forms: between tensors, and the older triangular_solve."""

from __future__ import annotations

import math
from typing import Any

from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import broadcast, dim_of, register
from gradcheck_cli.ops.matrices import require_matrix, require_square, turned
from gradcheck_cli.ops.products import same_dtype
from gradcheck_cli.schema import Invalid


def _product(sizes: tuple[Expr, ...]) -> Any:
    return math.prod(sizes) if sizes else 1


def _tensorinv(x: Expr, *, ind: int) -> Any:
    if not ind > 0:
        msg = f"tensorinv() needs a positive number of dimensions, not {ind}"
        raise Invalid("GC014", msg, "ind counts the dimensions on the left", "ind")
    left, right = math.prod(x.shape[:ind]), math.prod(x.shape[ind:])
    if left != right:
        msg = (
            f"tensorinv() needs as many elements in the first {ind} dimensions as in the others, "
            f"not {left} and {right} (shape {x.shape})"
        )
        raise Invalid("GC015", msg, "ind counts the dimensions on the left", "ind")
    sizes = tuple(x.size(d) for d in range(x.ndim))
    matrix = x.reshape(_product(sizes[:ind]), _product(sizes[ind:]))
    return matrix.inverse().reshape((*sizes[ind:], *sizes[:ind]))


register(
    "tensorinv(Tensor input, int ind=2)",
    doc="The inverse for tensordot(): the first `ind` dimensions are rows, the others columns.",
    define=_tensorinv,
    on=("torch.linalg",),
    samples=(
        Sample("torch.linalg.tensorinv(x)", x=(2, 2, 4)),
        Sample("torch.linalg.tensorinv(x, ind=1)", x=(4, 2, 2)),
    ),
)


def _tensorsolve(x: Expr, other: Expr, *, dims: tuple[int, ...] | None) -> Any:
    for d in dims or ():
        dim_of(d, x.ndim, "dims")
    if dims:
        x = x.movedim(dims, tuple(range(x.ndim - len(dims), x.ndim)))
    rest = tuple(x.size(d) for d in range(other.ndim, x.ndim))
    wanted = math.prod(x.shape[other.ndim :])
    if other.elements != wanted or x.elements != wanted * wanted:
        msg = f"tensorsolve() can't solve with shapes {x.shape} and {other.shape}"
        hint = "the last dimensions of A must have as many elements as B, and as the first ones"
        raise Invalid("GC015", msg, hint, "B")
    solution = t.solve(x.reshape(other.numel(), _product(rest)), other.flatten())
    return solution.reshape(rest)


register(
    "tensorsolve(Tensor input, Tensor other, int[]? dims=None)",
    doc="The X of tensordot(A, X, X.ndim) = B.",
    define=_tensorsolve,
    on=("torch.linalg",),
    samples=(
        Sample("torch.linalg.tensorsolve(x, y)", x=(2, 3, 6), y=(2, 3)),
        Sample("torch.linalg.tensorsolve(x, y, dims=(0, 2))", x=(2, 6, 3), y=(6,)),
    ),
)


def _triangular_solve(
    B: Expr, A: Expr, *, upper: bool, transpose: bool, unitriangular: bool
) -> Any:
    require_matrix("triangular_solve", B)
    require_square("triangular_solve", A, "A")
    same_dtype("triangular_solve", B, A)
    broadcast(A.shape[:-2], B.shape[:-2])
    solution = t.solve_triangular(
        turned(A) if transpose else A, B, upper=upper != transpose, unitriangular=unitriangular
    )
    copy = A
    if A.ndim < solution.ndim or A.shape[:-2] != solution.shape[:-2]:
        batch = tuple(solution.size(d) for d in range(solution.ndim - 2))
        copy = A.expand((*batch, A.size(-2), A.size(-1)))
    return TRIANGULAR_SOLVE.result_tuple(solution, copy)


_TRIANGLE = In((3, 3), structure="lower_triangular")

TRIANGULAR_SOLVE = register(
    "triangular_solve(Tensor input, Tensor A, bool upper=True, bool transpose=False, "
    "bool unitriangular=False)",
    doc="The X of A X = B, of which one triangle of A is read, and A.",
    define=_triangular_solve,
    outputs=("solution", "cloned_coefficient"),
    samples=(
        Sample("torch.triangular_solve(y, x, upper=False).solution", x=_TRIANGLE, y=(3, 2)),
        Sample("y.triangular_solve(x, False, True)[0]", x=_TRIANGLE, y=(2, 3, 1)),
        Sample("torch.triangular_solve(y, x, unitriangular=True)[0]", x=(2, 3, 3), y=(3, 2)),
        Sample("torch.triangular_solve(y, x).cloned_coefficient", x=(3, 3), y=(2, 3, 1)),
    ),
)
