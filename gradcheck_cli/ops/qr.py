"""The QR decomposition, and the products of Householder reflections that LAPACK keeps it as."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, Op, Sample, Type, call, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.ops.diagonal import eye
from gradcheck_cli.ops.matrices import mirrored, require_matrix, turned
from gradcheck_cli.ops.products import same_dtype
from gradcheck_cli.schema import Invalid

_MODES = ("reduced", "complete", "r")


def _qr_infer(x: Expr, *, mode: str) -> tuple[Type, Type]:
    require_matrix("qr", x, "A")
    if mode not in _MODES:
        msg = f"qr() has the modes 'reduced', 'complete' and 'r', not {mode!r}"
        raise Invalid("GC014", msg, argument="mode")
    *batch, m, n = x.shape
    k = m if mode == "complete" else min(m, n)
    Q = (0,) if mode == "r" else (*batch, m, k)
    return Type(Q, x.dtype), Type((*batch, k, n), x.dtype)


def _qr_kernel(x: Any, mode: str) -> tuple[Any, Any]:
    if mode == "r":
        return np.empty(0, x.dtype), np.linalg.qr(x, "r")
    factors: Any = np.linalg.qr
    Q, R = factors(x, mode)
    return Q, R


def _copied(x: Expr) -> Any:
    """The symmetric matrix with the same lower triangle."""
    return x.tril() + turned(x.tril(-1))


def _qr_vjp(g: Expr, out: Expr, x: Expr, *, mode: str, output: int) -> Any:
    """Walter and Lehmann, Algorithmic differentiation of linear algebra functions (2010).

    Of wide matrices: Roberts and Roberts, QR and LQ decomposition matrix backpropagation (2020).
    """
    wide = x.shape[-2] < x.shape[-1]
    if mode == "r":
        msg = "the gradient of qr() needs Q, which mode 'r' doesn't give"
        raise Invalid("GC014", msg, "use qr(A, 'reduced')", "mode")
    if mode == "complete" and x.shape[-2] > x.shape[-1]:
        msg = f"complete QR has no gradient where there are more rows than columns, shape {x.shape}"
        raise Invalid("GC014", msg, "use qr(A, 'reduced')", "mode")
    Q, R = call([QR], x, mode)
    count = x.size(-2)
    square = R[..., :count] if wide else R
    if output == 0:
        inner = g - Q @ _copied(turned(g) @ Q)
    elif wide:
        known, upstream = R[..., count:], g[..., count:]
        beyond = known @ turned(upstream)
        inner = Q @ (beyond + _copied(square @ turned(g[..., :count]) - turned(beyond)))
    else:
        inner = Q @ _copied(R @ turned(g))
    first = t.solve_triangular(turned(square), inner, upper=False, left=False)
    if not wide:
        return first
    if output == 0:
        return t.zeros_like(x).slice_scatter(first, -1, 0, count)
    return t.cat((first, Q @ upstream), -1)


QR = register(
    "linalg_qr(Tensor A, str mode='reduced')",
    doc="A matrix as a product of orthonormal columns Q and an upper triangle R.",
    infer=_qr_infer,
    kernel=_qr_kernel,
    cubic=True,
    orthogonal=True,
    vjp=_qr_vjp,
    outputs=("Q", "R"),
    on=(),
    also=("torch.linalg.qr",),
    convention="the first columns must be linearly independent, as many as there are rows",
    samples=(
        Sample("torch.linalg.qr(x).Q", x=(4, 2)),
        Sample("torch.linalg.qr(x).R", x=(4, 2)),
        Sample("torch.linalg.qr(x)[0]", x=(2, 2, 4)),
        Sample("torch.linalg.qr(x, 'complete').R", x=(2, 2, 4)),
        Sample("torch.linalg.qr(x, mode='complete').Q", x=(3, 3)),
        Sample("torch.linalg.qr(x, 'complete').Q", x=(3, 2), grad=False),  # not unique
        Sample("torch.linalg.qr(x, 'r').R", x=(3, 2), grad=False),  # PyTorch needs Q
        Sample("torch.linalg.qr(x, 'r').Q", x=(3, 2), grad=False),  # empty
        Sample("torch.linalg.qr(x).Q", x=(3, 0)),
        Sample("torch.linalg.qr(x).R", x=(0, 3)),
    ),
)
OLD_QR: Op = register(
    "qr(Tensor input, bool some=True)",
    doc="A matrix as a product of orthonormal columns Q and an upper triangle R.",
    define=lambda x, some: OLD_QR.result_tuple(*call([QR], x, "reduced" if some else "complete")),
    outputs=("Q", "R"),
    samples=(
        Sample("torch.qr(x).Q", x=(3, 2)),
        Sample("x.qr(some=False)[1]", x=(2, 3)),
    ),
)


def _geqrf(x: Expr) -> tuple[Type, Type]:
    require_matrix("geqrf", x)
    *batch, m, n = x.shape
    return Type(x.shape, x.dtype), Type((*batch, min(m, n)), x.dtype)


def _geqrf_kernel(x: Any) -> tuple[Any, Any]:
    transposed, tau = np.linalg.qr(x, "raw")
    return mirrored(transposed), tau


register(
    "geqrf(Tensor input)",
    doc="The QR decomposition as LAPACK keeps it: R above the vectors of reflections, and their factors.",
    infer=_geqrf,
    kernel=_geqrf_kernel,
    cubic=True,
    orthogonal=True,
    outputs=("a", "tau"),
    samples=(  # PyTorch has no gradient
        Sample("torch.geqrf(x).a", x=(3, 2), grad=False),
        Sample("x.geqrf()[1]", x=(2, 2, 3), grad=False),
    ),
)


def _require_reflections(name: str, x: Expr, tau: Expr) -> None:
    require_matrix(name, x)
    same_dtype(name, x, tau)
    if tau.ndim != x.ndim - 1 or tau.shape[:-1] != x.shape[:-2]:
        msg = f"{name}() needs a vector tau for each matrix, not shapes {x.shape} and {tau.shape}"
        raise Invalid("GC015", msg, "tau has one dimension less than input", "tau")
    if tau.shape[-1] > x.shape[-1]:
        msg = f"{name}() has {tau.shape[-1]} factors in tau for the {x.shape[-1]} columns of input"
        raise Invalid("GC015", msg, "at most one factor for each column", "tau")


def _compact(x: Expr, tau: Expr) -> tuple[Any, Any]:
    """V and T with (I - tau_1 v_1 v_1^T) ... (I - tau_k v_k v_k^T) = I - V T V^T.

    T inverts diag(1 / tau) plus what V^T V has above the diagonal (Puglisi, SIAM J. Sci. Stat. Comput. 13,
    1992), written so that tau may be zero.
    """
    columns = x[..., : tau.size(-1)]
    V = columns.tril(-1) + eye(columns, -2, -1)
    coupled = tau.unsqueeze(-1) * (turned(V) @ V)
    return V, t.solve_triangular(coupled, tau.diag_embed(), upper=True, unitriangular=True)


def _householder_product(x: Expr, tau: Expr) -> Any:
    _require_reflections("householder_product", x, tau)
    if x.shape[-2] < x.shape[-1]:
        msg = f"householder_product() can't give more columns than rows, shape {x.shape}"
        raise Invalid("GC015", msg, "the last size must not be the larger one", "input")
    V, T = _compact(x, tau)
    return eye(x, -2, -1) - V @ T @ turned(V[..., : x.size(-1), :])


_FACTORS: Any = {"x": (4, 3), "y": (3,)}
_BATCH: Any = {"x": (2, 4, 3), "y": (2, 2)}

register(
    "householder_product(Tensor input, Tensor tau)",
    doc="The first columns of a product of Householder reflections: Q of a QR decomposition.",
    define=_householder_product,
    on=("torch.linalg",),
    samples=(
        Sample("torch.linalg.householder_product(x, y)", **_FACTORS),
        Sample("torch.linalg.householder_product(x, y)", **_BATCH),
        Sample("torch.linalg.householder_product(x, y)", x=(3, 0), y=(0,)),
        Sample("torch.linalg.householder_product(x, y)", x=(0, 3, 2), y=(0, 2)),
    ),
)
register(
    "orgqr(Tensor input, Tensor input2)",
    doc="The first columns of a product of Householder reflections: Q of a QR decomposition.",
    define=_householder_product,
    samples=(Sample("torch.orgqr(x, y)", **_FACTORS), Sample("x.orgqr(y)", **_BATCH)),
)


def _ormqr(x: Expr, tau: Expr, other: Expr, *, left: bool, transpose: bool) -> Any:
    _require_reflections("ormqr", x, tau)
    require_matrix("ormqr", other, "input3")
    same_dtype("ormqr", x, other)
    inner = other.shape[-2 if left else -1] if other.ndim > 1 else 0
    if x.shape[-2] != inner or x.shape[:-2] != other.shape[:-2]:
        msg = f"ormqr() can't multiply reflections of shape {x.shape} with shape {other.shape}"
        which = "second-last" if left else "last"
        hint = f"the {which} size of input3 must be {x.shape[-2]}, and the batches equal"
        raise Invalid("GC015", msg, hint, "input3")
    if tau.shape[-1] != min(x.shape[-2:]):
        msg = f"ormqr() needs {min(x.shape[-2:])} factors in tau for shape {x.shape}"
        raise Invalid("GC015", f"{msg}, not {tau.shape[-1]}", "cut input: x[..., :k]", "input2")
    V, T = _compact(x, tau)
    T = turned(T) if transpose else T
    if left:
        return other - V @ (T @ (turned(V) @ other))
    return other - other @ V @ T @ turned(V)


register(
    "ormqr(Tensor input, Tensor input2, Tensor input3, bool left=True, bool transpose=False)",
    doc="A matrix multiplied by a whole product of Householder reflections, from a side.",
    define=_ormqr,
    samples=(
        Sample("torch.ormqr(x, y, z)", **_FACTORS, z=(4, 2)),
        Sample("x.ormqr(y, z, left=False)", **_FACTORS, z=(2, 4)),
        Sample("torch.ormqr(x, y, z, True, True)", x=(2, 4, 2), y=(2, 2), z=(2, 4, 2)),
        Sample("torch.ormqr(x, y, z, left=False, transpose=True)", **_FACTORS, z=(1, 4)),
    ),
)
