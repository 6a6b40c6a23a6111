"""One factorization of a matrix for all that is asked of it: solutions, inverse, determinant.

What `solve`, `inverse`, `det`, `logdet` and `slogdet` are made of where the planner may take them apart.
Equal nodes are one node, so that the value, the gradient and its parts share the factors. These operators
are the engine's own: no expression names them, and they have no rule.
"""

from __future__ import annotations

import math
from functools import cache, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, Op, Type, concrete, make, t
from gradcheck_cli.ops._common import linalg
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

# From this size on LAPACK is called through SciPy. What it saves on smaller matrices, in thousands of
# calls, is less than what importing SciPy takes.
LARGE = 64
# Matrices are compared with their transposes, and mirrored, in strips of so many rows that fit the cache.
_STRIP = 128
# What stands in place of the pivots where the factors are Cholesky's.
_NO_PIVOT = -1


@cache
def routine(name: str, dtype: Any) -> Callable[..., Any]:
    """LAPACK's or BLAS's routine for real matrices of a type: `dgetrf` for "getrf" and float64."""
    typed_name = ("s" if dtype.itemsize == 4 else "d") + name
    module = linalg.blas if name == "trsm" else linalg.lapack
    return getattr(module, typed_name)  # type: ignore[no-any-return]


def refused(message: str) -> Invalid:
    """The error for a matrix that can't be factored, or has no inverse (GC204)."""
    return Invalid(
        "GC204", message, "draw it with `sample: spd`, or add a multiple of torch.eye(n)"
    )


def is_symmetric(x: Any) -> bool:
    """Whether a matrix equals its transpose to the last bit. NaN equals nothing."""
    if not (x[0] == x[:, 0]).all():
        return False
    ends = range(_STRIP, len(x) + _STRIP, _STRIP)
    return all((x[e - _STRIP : e, :e] == x[:e, e - _STRIP : e].T).all() for e in ends)


def _mirror(x: Any) -> None:
    """Overwrite what is above the diagonal with what is below."""
    for start in range(0, len(x), _STRIP):
        strip = slice(start, start + _STRIP)
        x[:start, strip] = x[strip, :start].T
        square = x[strip, strip]
        np.copyto(square, square.T, where=_above(len(square)))


@lru_cache(8)
def _above(size: int) -> Any:
    """True above the diagonal."""
    return np.tri(size, k=-1, dtype=bool).T


def _factor(A: Any) -> tuple[Any, Any]:
    """Cholesky's lower factor of A where it is symmetric and positive definite, half the work of LU.

    Else L and U of the transpose, in one array: LAPACK counts columns first, so that the transpose of
    what NumPy holds row by row needs no rearranging.
    """
    if is_symmetric(A):
        potrf = routine("potrf", A.dtype)
        lower, info = potrf(np.array(A.T, order="F"), lower=1, clean=0, overwrite_a=1)
        if info == 0:
            return lower, np.full(len(A), _NO_PIVOT, np.int32)
    factors, pivots, _ = routine("getrf", A.dtype)(np.array(A.T, order="F"), overwrite_a=1)
    return factors, pivots


def _solve(factors: Any, pivots: Any, B: Any, transposed: bool) -> Any:
    """The X of A X = B, or of A^T X = B."""
    if pivots[0] == _NO_PIVOT:
        return routine("potrs", B.dtype)(factors, B, lower=1)[0]
    if not factors.diagonal().all():
        raise refused("the matrix given to solve() is singular")
    return routine("getrs", B.dtype)(factors, pivots, B, trans=not transposed)[0]


def _inverse(factors: Any, pivots: Any) -> Any:
    if pivots[0] == _NO_PIVOT:
        inverse, info = routine("potri", factors.dtype)(factors, lower=1)
        _mirror(inverse)
    else:
        length, _ = routine("getri_lwork", factors.dtype)(len(factors))
        inverse, info = routine("getri", factors.dtype)(factors, pivots, lwork=int(length))
    if info:
        raise refused("the matrix given to inverse() is singular")
    return inverse.T


def _slogdet(factors: Any, pivots: Any) -> tuple[Any, Any]:
    diagonal = factors.diagonal()
    one = factors.dtype.type(1)
    if pivots[0] == _NO_PIVOT:
        return one, 2 * np.log(diagonal).sum()
    if not diagonal.all():
        return 0 * one, -np.inf * one
    swaps = np.count_nonzero(pivots != np.arange(len(pivots)))
    odd = (swaps + np.count_nonzero(diagonal < 0)) % 2
    return -one if odd else one, np.log(np.abs(diagonal)).sum()


def _own(schema: str, infer: Any, kernel: Any, outputs: tuple[str, ...] = ()) -> Op:
    """A record that stands in no table."""

    def prepare(node: Expr) -> Any:
        return partial(kernel, **concrete(node.attrs))

    return Op(
        schema=schema,
        on=(),
        infer=infer,
        kernel=kernel,
        outputs=outputs,
        prepare=prepare,
        cubic=True,
    )


_FACTOR = _own(
    "factor.engine(Tensor A)",
    lambda A: (Type(A.shape, A.dtype), Type(A.shape[:1], dtypes.int32)),
    _factor,
    ("factors", "pivots"),
)
_SOLVE = _own(
    "solve.engine(Tensor factors, Tensor pivots, Tensor B, bool transposed)",
    lambda factors, pivots, B, transposed: Type(B.shape, B.dtype),
    _solve,
)
_INVERSE = _own(
    "inverse.engine(Tensor factors, Tensor pivots)",
    lambda factors, pivots: Type(factors.shape, factors.dtype),
    _inverse,
)
_SLOGDET = _own(
    "slogdet.engine(Tensor factors, Tensor pivots)",
    lambda factors, pivots: (Type((), factors.dtype),) * 2,
    _slogdet,
    ("sign", "logabsdet"),
)


def _factored(A: Expr) -> tuple[Any, bool] | None:
    """The factors of a large matrix, or of what it is the transpose of, and whether it is."""
    if A.ndim != 2 or A.shape[0] < LARGE:
        return None
    transposed = False
    while _turns(A):
        A, transposed = A.inputs[0], not transposed
    return make(_FACTOR, (A,), {}), transposed


def _turns(x: Expr) -> bool:
    """Whether it is the transpose of a matrix."""
    if x.op.name == "transpose":
        return bool((x.attributes["dim0"] - x.attributes["dim1"]) % 2)
    return x.op.name in ("T", "mT")


def solved(A: Expr, B: Expr, left: bool) -> Any:
    """fused: the X of A X = B, or X A = B."""
    found = _factored(A)
    if found is None or B.ndim > 2 or not B.elements:
        return None
    factors, transposed = found
    if left:
        return make(_SOLVE, (*factors, B), {"transposed": transposed})
    return make(_SOLVE, (*factors, B.T), {"transposed": not transposed}).T


def inverted(x: Expr) -> Any:
    """fused: the inverse."""
    found = _factored(x)
    if found is None:
        return None
    factors, transposed = found
    inverse = make(_INVERSE, factors, {})
    return inverse.T if transposed else inverse


def sign_and_log(x: Expr) -> Any:
    """fused: sign and logarithm of the absolute determinant."""
    found = _factored(x)
    return None if found is None else make(_SLOGDET, found[0], {})


def log_determinant(x: Expr) -> Any:
    """fused: the determinant's logarithm, NaN where it is negative."""
    found = sign_and_log(x)
    return None if found is None else t.where(found.sign < 0, math.nan, found.logabsdet)


def determinant(x: Expr) -> Any:
    """fused: the determinant."""
    found = sign_and_log(x)
    return None if found is None else found.sign * found.logabsdet.exp()
