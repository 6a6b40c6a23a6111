"""Products of vectors: inner, outer, cross; of every two elements (kron), and of one with itself (vander)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, make, t
from gradcheck_cli.ops._common import dim_of, elementwise, promote, register
from gradcheck_cli.ops.index import number
from gradcheck_cli.ops.products import require_dims, same_dtype
from gradcheck_cli.schema import Invalid


def _inner(x: Expr, y: Expr) -> Any:
    same_dtype("inner", x, y)
    if not x.ndim or not y.ndim:
        return x * y
    if x.shape[-1] != y.shape[-1]:
        msg = f"inner() needs last sizes that are equal, not shapes {x.shape} and {y.shape}"
        raise Invalid("GC015", msg)
    return x @ y if y.ndim == 1 else t.tensordot(x, y, dims=((-1,), (-1,)))


register(
    "inner(Tensor input, Tensor other)",
    doc="Inner products over the last dimension of both.",
    define=_inner,
    samples=(
        Sample("torch.inner(x, y)", x=(3,), y=(3,)),
        Sample("torch.inner(x, y)", x=(), y=(2, 3)),
        Sample("x.inner(y)", x=(2, 3), y=(4, 3)),
        Sample("x.inner(y)", x=(2, 2, 3), y=(3,)),
    ),
)


def _in_type_of(g: Expr, x: Expr) -> Any:
    return x if x.dtype is g.dtype else x.to(g.dtype)


def _outer(x: Expr, y: Expr) -> Type:
    require_dims("outer", x, 1, "input")
    require_dims("outer", y, 1, "vec2")
    return Type((*x.shape, *y.shape), promote(x, y))


register(
    "outer(Tensor input, Tensor vec2)",
    doc="Every product of an element of one vector and one of the other, as a matrix.",
    infer=_outer,
    cubic=True,
    kernel=np.multiply.outer,
    fused=lambda x, y: x.unsqueeze(-1) * y,
    vjp=lambda g, out, x, y: (g @ _in_type_of(g, y), g.T @ _in_type_of(g, x)),
    aliases=("ger",),
    analytic=True,
    samples=(
        Sample("torch.outer(x, y)", x=(3,), y=(4,)),
        Sample("x.ger(y)", x=(2,), y=(2,)),
        Sample("x.outer(y)", x=(0,), y=(2,)),
    ),
)


def _vecdot(x: Expr, y: Expr, *, dim: int) -> Any:
    same_dtype("vecdot", x, y)
    return (x.conj() * y).sum(dim)


register(
    "vecdot(Tensor x, Tensor y, *, int dim=-1)",
    doc="Inner products of the vectors along a dimension.",
    define=_vecdot,
    on=("torch.linalg",),
    samples=(
        Sample("torch.linalg.vecdot(x, y)", x=(2, 3), y=(3,)),
        Sample("torch.linalg.vecdot(x, y, dim=0)", x=(2, 3), y=(2, 3)),
    ),
)


def _cross(x: Expr, y: Expr, *, dim: int) -> Type:
    same_dtype("cross", x, y)
    if x.ndim != y.ndim:
        msg = (
            f"cross() needs operands of equally many dimensions, not shapes {x.shape} and {y.shape}"
        )
        raise Invalid("GC015", msg)
    d = dim_of(dim, x.ndim)
    if not x.ndim or x.shape[d] != 3 or y.shape[d] != 3:
        msg = f"cross() needs size 3 at dimension {dim}, not shapes {x.shape} and {y.shape}"
        raise Invalid("GC015", msg, argument="dim")
    return elementwise(x, y)


CROSS = register(
    "cross(Tensor input, Tensor other, *, int dim=-1)",
    doc="Cross product of vectors with three components.",
    infer=_cross,
    cubic=True,
    kernel=lambda x, y, dim: np.cross(x, y, axis=dim),
    vjp=lambda g, out, x, y, dim: (
        t.cross(y, g, dim=dim),
        t.cross(g, x, dim=dim),
    ),
    on=("torch.linalg",),
    analytic=True,
    samples=(
        Sample("torch.linalg.cross(x, y)", x=(2, 3), y=(2, 3)),
        Sample("torch.linalg.cross(x, y, dim=0)", x=(3, 1), y=(3, 4)),
    ),
)


def _cross_any(x: Expr, y: Expr, *, dim: int | None) -> Any:
    found = next((d for d, size in enumerate(x.shape) if size == 3), -1)
    return make(CROSS, (x, y), {"dim": found if dim is None else dim})


register(
    "cross.any(Tensor input, Tensor other, int? dim=None)",
    doc="Cross product; without dim along the first dimension of size 3.",
    define=_cross_any,
    samples=(
        Sample("torch.cross(x, y, dim=1)", x=(2, 3), y=(2, 3)),
        Sample("x.cross(y)", x=(3, 4), y=(3, 4)),
    ),
)


def _kron(x: Expr, y: Expr) -> Any:
    """Each size of the result is a product: (i, k) with i of x and k of y, made one dimension."""
    rank = max(x.ndim, y.ndim)
    one, other = _sizes(x, rank), _sizes(y, rank)
    if rank == 0:
        return x * y
    between = tuple(size for pair in zip(one, (1,) * rank, strict=True) for size in pair)
    beside = tuple(size for pair in zip((1,) * rank, other, strict=True) for size in pair)
    shape = tuple(_product(a, b) for a, b in zip(one, other, strict=True))
    return (x.reshape(between) * y.reshape(beside)).reshape(shape)


def _sizes(x: Expr, rank: int) -> tuple[Any, ...]:
    return (*(1,) * (rank - x.ndim), *(x.size(d) for d in range(x.ndim)))


def _product(a: Any, b: Any) -> Any:
    return b if isinstance(a, int) else a if isinstance(b, int) else a * b


register(
    "kron(Tensor input, Tensor other)",
    doc="Every element of one tensor times all of the other, as a block.",
    define=_kron,
    samples=(
        Sample("torch.kron(x, y)", x=(2, 3), y=(3, 2)),
        Sample("x.kron(y)", x=(2,), y=(2, 1, 3)),
        Sample("torch.kron(x, y)", x=(), y=(2,)),
        Sample("torch.kron(x, y)", x=(), y=()),
        Sample("torch.kron(x, i)", x=(2, 1), i=In((2,), 0, 5, "int64")),
        Sample("torch.kron(x, y)", x=(0, 2), y=(2, 2)),
    ),
)


def _powers(x: Expr, count: Any) -> Any:
    """1, x, x ** 2, ..., along a new last dimension: running products have a gradient at 0 as well."""
    x = x.unsqueeze(-1)
    if x.dtype.kind == "b":
        x = x.to(dtypes.int64)
    columns = number(count)
    ones = t.ones_like(x)
    if columns == 0:
        return ones[..., :0]
    if columns == 1:
        return ones
    repeated = x.expand((*(-1,) * (x.ndim - 1), count - 1))
    return t.cat((ones, repeated.cumprod(-1)), -1)


def _vander(x: Expr, N: Any, *, increasing: bool) -> Any:
    require_dims("vander", x, 1, "x")
    if N is not None and number(N) < 0:
        raise Invalid("GC014", f"vander() makes 0 columns or more, not {number(N)}", argument="N")
    powers = _powers(x, x.size(0) if N is None else N)
    return powers if increasing else powers.flip(-1)


def _linalg_vander(x: Expr, *, N: Any) -> Any:
    x = x if x.ndim else x.unsqueeze(0)
    count = x.size(-1) if N is None else N
    if number(count) < 2:
        msg = f"vander() makes at least two columns, not {x.shape[-1] if N is None else N}"
        raise Invalid("GC014", msg, "give N=2 or more", "N")
    return _powers(x, count)


register(
    "vander(Tensor x, Scalar? N=None, bool increasing=False)",
    doc="The powers of a vector's elements, as columns; the highest first.",
    define=_vander,
    on=("torch",),
    samples=(
        # PyTorch's running product in place loses the gradient: it raises from two powers on.
        Sample("torch.vander(x)", x=(3,), grad=False),
        Sample("torch.vander(x, 4)", x=In(value=[0.0, 2.0, -1.0]), grad=False),
        Sample("torch.vander(x, N=2, increasing=True)", x=(3,), grad=False),
        Sample("torch.vander(x, 1)", x=(3,)),
        Sample("torch.vander(x, 0)", x=(3,)),
        Sample("torch.vander(i)", i=In((3,), -2, 4, "int64")),
    ),
)
register(
    "linalg_vander(Tensor x, *, Scalar? N=None)",
    doc="The powers of vectors' elements, as columns; the lowest first.",
    define=_linalg_vander,
    on=(),
    also=("torch.linalg.vander",),
    samples=(
        Sample("torch.linalg.vander(x)", x=(2, 3)),
        Sample("torch.linalg.vander(x, N=4)", x=In(value=[0.0, -0.5])),
        Sample("torch.linalg.vander(x, N=2)", x=(0, 1)),
        Sample("torch.linalg.vander(x, N=3)", x=()),
    ),
)
