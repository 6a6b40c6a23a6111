"""The singular value decomposition, and the numbers that are read off the singular values."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, call, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.diagonal import eye
from gradcheck_cli.ops.matrices import (
    iterating,
    require_matrix,
    scaled_columns,
    skew,
    symmetrized,
    turned,
)
from gradcheck_cli.schema import Invalid


def no_driver(name: str, driver: str | None) -> None:
    """Refuse the choice of a routine, which PyTorch has on CUDA only. Raises Invalid (GC014)."""
    if driver is not None:
        msg = f"{name}() takes a driver on CUDA devices only"
        raise Invalid("GC014", msg, "leave `driver` out", "driver")


def _svd_infer(x: Expr, *, full_matrices: bool, driver: str | None) -> tuple[Type, ...]:
    require_matrix("svd", x, "A")
    no_driver("svd", driver)
    *batch, m, n = x.shape
    k = min(m, n)
    return (
        Type((*batch, m, m if full_matrices else k), x.dtype),
        Type((*batch, k), x.dtype),
        Type((*batch, n if full_matrices else k, n), x.dtype),
    )


def _svd_kernel(x: Any, full_matrices: bool, driver: str | None) -> tuple[Any, Any, Any]:
    with iterating("svd", x):
        return tuple(np.linalg.svd(x, full_matrices))  # type: ignore[return-value]


def _svd_vjp(
    g: Expr, out: Expr, x: Expr, *, full_matrices: bool, driver: str | None, output: int
) -> Any:
    """Townsend, Differentiating the Singular Value Decomposition (2016), transposed.

    Of full matrices, the vectors beyond the singular values are arbitrary: no gradient flows from them.
    """
    U, S, Vh = call([SVD], x, full_matrices)
    if full_matrices:
        count = S.size(-1)
        U, Vh = U[..., :count], Vh[..., :count, :]
        if output != 1:
            g = g[..., :count] if output == 0 else g[..., :count, :]
    if output == 1:
        return scaled_columns(U, g) @ Vh
    squares = S * S
    gaps = squares.unsqueeze(-2) - squares.unsqueeze(-1) + eye(S, -1)
    if output == 0:
        turning = U @ (skew(turned(U) @ g) / gaps * S.unsqueeze(-2))
        if x.shape[-2] > x.shape[-1]:
            outside = g / S.unsqueeze(-2)
            turning = turning + outside - U @ (turned(U) @ outside)
        return turning @ Vh
    turning = S.unsqueeze(-1) * skew(Vh @ turned(g)) / gaps @ Vh
    if x.shape[-2] < x.shape[-1]:
        outside = g / S.unsqueeze(-1)
        turning = turning + outside - outside @ turned(Vh) @ Vh
    return U @ turning


def svd(x: Expr) -> Any:
    """U, S and Vh with as many vectors as there are singular values."""
    return call([SVD], x, full_matrices=False)


_UNIQUE = "the singular values must differ; a sign is LAPACK's choice and has no gradient"

SVD = register(
    "linalg_svd(Tensor A, bool full_matrices=True, *, str? driver=None)",
    doc="The singular value decomposition U diag(S) Vh of matrices.",
    infer=_svd_infer,
    kernel=_svd_kernel,
    cubic=True,
    orthogonal=True,
    vjp=_svd_vjp,
    outputs=("U", "S", "Vh"),
    on=(),
    also=("torch.linalg.svd",),
    convention=_UNIQUE,
    samples=(  # other builds of LAPACK choose other signs
        Sample("torch.linalg.svd(x).S", x=(3, 3)),
        Sample("torch.linalg.svd(x, full_matrices=False).U.abs()", x=(4, 2)),
        Sample("torch.linalg.svd(x, False).Vh.abs()", x=(2, 4)),
        Sample("torch.linalg.svd(x, full_matrices=False)[0].abs()", x=(2, 2, 3)),
        Sample("torch.linalg.svd(x, full_matrices=False)[2].abs()", x=(2, 3, 2)),
        Sample("torch.linalg.svd(x)[2].abs()", x=(3, 3)),
        Sample("torch.linalg.svd(x).U[:, :2].abs()", x=(4, 2)),
        Sample("torch.linalg.svd(x).S", x=(0, 3)),
        Sample("torch.linalg.svd(x, False).U", x=(0, 2, 3)),
    ),
)


def _torch_svd(x: Expr, *, some: bool, compute_uv: bool) -> Any:
    require_matrix("svd", x)
    U, S, Vh = call([SVD], x, full_matrices=not some)
    if not compute_uv:  # PyTorch gives zeros of the full size
        batch, (m, n) = tuple(x.size(d) for d in range(x.ndim - 2)), (x.size(-2), x.size(-1))
        dtype = {} if x.dtype is dtypes.default_dtype.get() else {"dtype": x.dtype}
        S = svd(x).S
        return OLD_SVD.result_tuple(
            t.zeros((*batch, m, m), **dtype), S, t.zeros((*batch, n, n), **dtype)
        )
    return OLD_SVD.result_tuple(U, S, turned(Vh))


OLD_SVD = register(
    "svd(Tensor input, bool some=True, bool compute_uv=True)",
    doc="The singular value decomposition U diag(S) V^T of matrices; V is not transposed.",
    define=_torch_svd,
    outputs=("U", "S", "V"),
    convention=_UNIQUE,
    samples=(
        Sample("torch.svd(x).V.abs()", x=(3, 2)),
        Sample("x.svd(some=False).S", x=(2, 3)),
        Sample("x.svd(compute_uv=False)[1]", x=(2, 3, 2)),
        Sample("x.svd(compute_uv=False).U", x=(3, 2), grad=False),  # zeros
    ),
)


def _svdvals(x: Expr, *, driver: str | None) -> Any:
    require_matrix("svdvals", x, "A")
    no_driver("svdvals", driver)
    return singular_values(x)


def singular_values(x: Expr) -> Any:
    """The singular values of matrices, the largest first."""
    return svd(x).S


register(
    "svdvals(Tensor A, *, str? driver=None)",
    doc="The singular values of matrices, the largest first.",
    define=_svdvals,
    on=("torch.linalg",),
    convention="the singular values must differ for a second derivative",
    samples=(
        Sample("torch.linalg.svdvals(x)", x=(3, 4)),
        Sample("torch.linalg.svdvals(x)", x=(2, 3, 2)),
        Sample("torch.linalg.svdvals(x)", x=(3, 0)),
    ),
)


def cutoff(sizes: Any, largest: Any, atol: Any, rtol: Any) -> Any:
    """Below what a singular value counts as zero, for each matrix (`torch.linalg.pinv`'s rule)."""
    if rtol is None:
        eps = max(sizes) * float(np.finfo(largest.dtype).eps)
        rtol = eps if atol is None else np.where(np.asarray(atol) > 0, 0.0, eps)
    return np.maximum(0.0 if atol is None else np.asarray(atol), rtol * largest)


def _rank_infer(x: Expr, atol: Expr | None, rtol: Expr | None, *, hermitian: bool) -> Type:
    require_matrix("matrix_rank", x)
    return Type(tolerated("matrix_rank", x, atol, rtol), dtypes.int64)


def tolerated(name: str, x: Expr, atol: Expr | None, rtol: Expr | None) -> tuple[int, ...]:
    """The batch's shape together with the tolerances'. Raises Invalid (GC015, GC016)."""
    batch = x.shape[:-2]
    for argument, tolerance in (("atol", atol), ("rtol", rtol)):
        if tolerance is None:
            continue
        if tolerance.dtype.kind == "z":
            msg = f"{name}() needs real tolerances, not {tolerance.dtype.name}"
            raise Invalid("GC016", msg, argument=argument)
        try:
            batch = np.broadcast_shapes(batch, tolerance.shape)
        except ValueError:
            msg = f"{name}() has a tolerance of shape {tolerance.shape} for matrices of {x.shape}"
            raise Invalid("GC015", msg, "one number for each matrix", argument) from None
    return tuple(batch)


def _rank(x: Any, atol: Any, rtol: Any, hermitian: bool) -> Any:
    with iterating("matrix_rank", x):
        if hermitian:
            values = np.abs(np.linalg.eigvalsh(symmetrized(x)))
        else:
            values = np.linalg.svd(x, compute_uv=False)
    largest = values.max(-1, initial=0)
    floor = np.asarray(cutoff(x.shape[-2:], largest, atol, rtol))
    return np.sum(values > floor[..., None], -1, dtype=np.int64)


RANK = register(
    "matrix_rank(Tensor input, *, Tensor|Scalar? atol=None, Tensor|Scalar? rtol=None, "
    "bool hermitian=False)",
    doc="How many singular values of a matrix are not zero, up to rounding or the tolerances.",
    infer=_rank_infer,
    kernel=_rank,
    cubic=True,
    orthogonal=True,
    on=("torch.linalg",),
    samples=(
        Sample("torch.linalg.matrix_rank(x)", x=(3, 4)),
        Sample("torch.linalg.matrix_rank(x @ x.mT)", x=(2, 3, 2)),
        Sample("torch.linalg.matrix_rank(x, hermitian=True)", x=In((3, 3), structure="spd")),
        Sample("torch.linalg.matrix_rank(x, atol=1.5, rtol=0.1)", x=(3, 3)),
        Sample("torch.linalg.matrix_rank(x, rtol=y)", x=(2, 3, 3), y=In((2,), 0.1, 0.9)),
        Sample("torch.linalg.matrix_rank(x)", x=(0, 3)),
    ),
)
register(
    "matrix_rank.tol(Tensor input, Tensor|Scalar tol, bool hermitian=False)",
    doc="How many singular values of a matrix are above a tolerance.",
    define=lambda x, tol, hermitian: call([RANK], x, atol=tol, rtol=0.0, hermitian=hermitian),
    on=("torch.linalg",),
    samples=(Sample("torch.linalg.matrix_rank(x, 1.0)", x=(3, 4)),),
)


def _cond(x: Expr, *, p: Any) -> Any:
    require_matrix("cond", x)
    order: Any = p.value if isinstance(p, Expr) else p
    if 0 in x.shape[-2:]:
        return t.zeros(tuple(x.size(d) for d in range(x.ndim - 2)), dtype=x.dtype)
    if order in (None, 2, -2, "nuc"):
        S = singular_values(x)
        if order == "nuc":
            return S.sum(-1) * (1.0 / S).sum(-1)
        first, last = S.select(-1, 0), S.select(-1, -1)
        return last / first if order == -2 else first / last
    if order != "fro" and (isinstance(order, str) or abs(order) not in (1, float("inf"))):
        msg = f"cond() doesn't have the order {order!r}"
        raise Invalid("GC014", msg, "use 'fro', 'nuc', 1, -1, 2, -2, math.inf or -math.inf", "p")
    if x.shape[-2] != x.shape[-1]:
        msg = f"cond() of order {order!r} needs square matrices, not shape {x.shape}"
        raise Invalid("GC015", msg, "the order 2 takes all matrices", "input")
    return t.matrix_norm(x, order) * t.matrix_norm(x.inverse(), order)


for _schema, _samples in (
    (
        "cond(Tensor input, Scalar? p=None)",
        (
            Sample("torch.linalg.cond(x)", x=(3, 3)),
            Sample("torch.linalg.cond(x)", x=(2, 3, 2)),
            Sample("torch.linalg.cond(x, -2)", x=(2, 3)),
            # PyTorch's backward of these fails: it writes into what it needs.
            Sample("torch.linalg.cond(x, 1)", x=(2, 3, 3), grad=False),
            Sample("torch.linalg.cond(x, p=-math.inf)", x=(3, 3), grad=False),
            Sample("torch.linalg.cond(x)", x=(2, 0, 0), grad=False),  # constant
        ),
    ),
    (
        "cond.p_str(Tensor input, str p)",
        (
            Sample("torch.linalg.cond(x, 'fro')", x=(3, 3), grad=False),  # as above
            Sample("torch.linalg.cond(x, 'nuc')", x=(2, 3, 3)),
        ),
    ),
):
    register(
        _schema,
        doc="The condition number of matrices with respect to a matrix norm.",
        define=_cond,
        on=("torch.linalg",),
        convention="not differentiable at singular matrices",
        samples=_samples,
    )
