"""Norms of matrices, and `torch.linalg.norm`, which is a vector's or a matrix's norm by its arguments."""

from __future__ import annotations

import math
from typing import Any

from gradcheck_cli.graph import Expr, Sample, t
from gradcheck_cli.ops._common import dim_of, dims_of, register
from gradcheck_cli.ops.norm import require_wide
from gradcheck_cli.ops.svd import singular_values
from gradcheck_cli.schema import Invalid

_ORDERS = "'fro', 'nuc', 1, -1, 2, -2, inf and -inf"


def _matrix_norm(x: Expr, ord: Any, dim: Any, *, keepdim: bool, dtype: Any) -> Any:
    if x.ndim < 2 or len(dim) != 2:
        msg = f"a matrix norm needs two dimensions; the shape is {x.shape} and dim is {tuple(dim)}"
        raise Invalid("GC015", msg, "use torch.linalg.vector_norm", "dim")
    rows, columns = (dim_of(d, x.ndim) for d in dim)
    if rows == columns:
        raise Invalid("GC014", f"dimension {rows} is named twice", argument="dim")
    order: Any = ord.value if isinstance(ord, Expr) else ord
    if order == "fro":
        return t.vector_norm(x, 2, dim=(rows, columns), keepdim=keepdim, dtype=dtype)
    if order != "nuc" and (isinstance(order, str) or abs(order) not in (1, 2, math.inf)):
        msg = f"the matrix norm of order {order!r} isn't supported"
        raise Invalid("GC014", msg, f"supported are {_ORDERS}", "ord")
    if order in ("nuc", 2, -2):
        result = _by_singular_values(x, order, rows, columns, dtype)
        for d in sorted((rows, columns)) if keepdim else ():
            result = result.unsqueeze(d)
        return result
    summed, chosen = (columns, rows) if abs(order) == math.inf else (rows, columns)
    sums = t.vector_norm(x, 1, dim=(summed,), keepdim=True, dtype=dtype)
    result = _extreme(sums, order, chosen)
    return result if keepdim else result.squeeze((rows, columns))


def _extreme(x: Expr, order: float, dim: int) -> Any:
    """The largest, or for a negative order the smallest; no absolute value is larger than 0 of none."""
    if order > 0 and not x.shape[dim]:
        return x.sum((dim,), keepdim=True)
    return (t.amax if order > 0 else t.amin)(x, dim=(dim,), keepdim=True)


def _by_singular_values(x: Expr, order: Any, rows: int, columns: int, dtype: Any) -> Any:
    require_wide(x, dtype)
    x = x if dtype is None else x.to(dtype)
    if (rows, columns) != (x.ndim - 2, x.ndim - 1):
        x = x.movedim((rows, columns), (-2, -1))
    values = singular_values(x)
    return (
        values.sum(-1) if order == "nuc" else _extreme(values, order, values.ndim - 1).squeeze(-1)
    )


def _norm(x: Expr, ord: Any, dim: Any, *, keepdim: bool, dtype: Any) -> Any:
    """PyTorch's choice: no order, all elements; one dim, vectors; two dims or a 2-d input, matrices."""
    if dim is not None and len(dim) not in (1, 2):
        msg = f"norm() takes one dimension or two, not {tuple(dim)}"
        raise Invalid("GC014", msg, "use torch.linalg.vector_norm", "dim")
    if dim is None and ord is not None and x.ndim not in (1, 2):
        msg = f"norm() with an order but no dim needs a vector or a matrix, not shape {x.shape}"
        raise Invalid("GC015", msg, "say dim=", "dim")
    matrix = ord is not None and (len(dim) == 2 if dim is not None else x.ndim == 2)
    if matrix or isinstance(ord, str):
        both = tuple(dim) if dim is not None else dims_of(None, x.ndim)
        return _matrix_norm(x, ord, both, keepdim=keepdim, dtype=dtype)
    return t.vector_norm(x, 2 if ord is None else ord, dim=dim, keepdim=keepdim, dtype=dtype)


for _kind, _overload in (("Scalar?", ""), ("str", ".ord_str")):
    _default = "=None" if not _overload else ""
    register(
        f"linalg_norm{_overload}(Tensor input, {_kind} ord{_default}, int[]? dim=None, "
        "bool keepdim=False, *, dtype? dtype=None)",
        doc="Norm of vectors, or of matrices where two dimensions are meant.",
        define=_norm,
        on=(),
        also=("torch.linalg.norm",),
        convention="zero is the gradient at a norm of zero; equal extremes share it evenly",
        samples=(
            (
                Sample("torch.linalg.norm(x)", x=(2, 3)),
                Sample("torch.linalg.norm(x)", x=(2, 2, 3)),
                Sample("torch.linalg.norm(x, 1)", x=(2, 3)),
                Sample("torch.linalg.norm(x, -math.inf, dim=(0, -1), keepdim=True)", x=(2, 3, 2)),
                Sample("torch.linalg.norm(x, 3, 0)", x=(4, 2)),
                Sample("torch.linalg.norm(x, 2)", x=(3, 2)),
                Sample("torch.linalg.norm(x)", x=()),
            )
            if not _overload
            else (
                Sample('torch.linalg.norm(x, "fro")', x=(2, 3)),
                Sample('torch.linalg.norm(x, ord="fro", dim=(0, 2))', x=(2, 2, 3)),
                Sample('torch.linalg.norm(x, "nuc")', x=(2, 3)),
            )
        ),
    )

for _kind, _overload in (("Scalar", ""), ("str", ".ord_str")):
    _default = "='fro'" if _overload else ""
    register(
        f"matrix_norm{_overload}(Tensor input, {_kind} ord{_default}, int[] dim=[-2, -1], "
        "bool keepdim=False, *, dtype? dtype=None)",
        doc="Norm of the matrices in two dimensions.",
        define=_matrix_norm,
        on=("torch.linalg",),
        convention="zero is the gradient at a norm of zero; equal extremes share it evenly",
        samples=(
            (
                Sample("torch.linalg.matrix_norm(x)", x=(2, 2, 3)),
                Sample('torch.linalg.matrix_norm(x, "fro", keepdim=True)', x=(2, 3)),
                Sample('torch.linalg.matrix_norm(x, "nuc", keepdim=True)', x=(2, 3, 2)),
            )
            if _overload
            else (
                Sample("torch.linalg.matrix_norm(x, math.inf)", x=(2, 3)),
                Sample("torch.linalg.matrix_norm(x, -1, dim=(0, 2), keepdim=True)", x=(2, 2, 3)),
                Sample("torch.linalg.matrix_norm(x, 2, dim=(0, 2))", x=(2, 2, 3)),
                Sample("torch.linalg.matrix_norm(x, -2, (1, 0), True)", x=(3, 2, 2)),
                Sample(
                    "torch.linalg.matrix_norm(x, 2)", x=(2, 0, 3), grad=False
                ),  # zero of nothing
            )
        ),
    )
