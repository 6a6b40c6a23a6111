"""Diagonals and triangles of matrices: taking them, and making matrices from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Shape, Type, t
from gradcheck_cli.ops._common import dim_of, register
from gradcheck_cli.ops.index import writable
from gradcheck_cli.schema import Invalid


def eye(x: Expr, *dims: int) -> Any:
    """The unit matrix of the sizes of `dims` of `x`, in its type; one dim makes it square."""
    sizes = tuple(x.size(d) for d in dims)
    if x.dtype is dtypes.default_dtype.get():
        return t.eye(*sizes)
    return t.eye(*sizes, dtype=x.dtype)


def _plane(name: str, ndim: int, dim1: int, dim2: int) -> tuple[int, int]:
    """The two dims of a matrix, counted from the front. Raises Invalid."""
    if ndim < 2:
        msg = f"{name}() needs at least two dimensions, not {ndim}"
        raise Invalid("GC015", msg, "diag_embed() makes a matrix of a vector")
    first, second = dim_of(dim1, ndim, "dim1"), dim_of(dim2, ndim, "dim2")
    if first == second:
        raise Invalid(
            "GC014", f"the two dimensions of {name}() are the same, {first}", None, "dim2"
        )
    return first, second


def _length(rows: int, columns: int, offset: int) -> int:
    """The number of elements on a diagonal; `offset` above the main one where positive."""
    return max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)


def _diagonal_shape(name: str, shape: Shape, offset: int, dim1: int, dim2: int) -> Shape:
    first, second = _plane(name, len(shape), dim1, dim2)
    rest = tuple(s for d, s in enumerate(shape) if d not in (first, second))
    return (*rest, _length(shape[first], shape[second], offset))


register(
    "diagonal(Tensor input, int offset=0, int dim1=0, int dim2=1)",
    doc="A diagonal of a matrix, as the last dimension.",
    infer=lambda x, offset, dim1, dim2: Type(
        _diagonal_shape("diagonal", x.shape, offset, dim1, dim2), x.dtype
    ),
    kernel=lambda x, offset, dim1, dim2: np.diagonal(x, offset=offset, axis1=dim1, axis2=dim2),
    vjp=lambda g, out, x, offset, dim1, dim2: t.zeros_like(x).diagonal_scatter(
        g, offset, dim1, dim2
    ),
    also=("torch.diagonal_copy",),
    method=True,
    analytic=True,
    samples=(
        Sample("x.diagonal()", x=(3, 4)),
        Sample("torch.diagonal(x, 1)", x=(3, 3)),
        Sample("x.diagonal(-1, dim1=-1, dim2=0)", x=(4, 2, 3)),
        Sample("x.diagonal(5)", x=(2, 3)),
        Sample("x.diagonal()", x=(0, 3)),
        Sample("torch.diagonal_copy(x, 1) * 2", x=(2, 3)),
    ),
)
register(
    "linalg_diagonal(Tensor A, *, int offset=0, int dim1=-2, int dim2=-1)",
    doc="A diagonal of the matrices in the last two dimensions.",
    define=lambda x, offset, dim1, dim2: x.diagonal(offset, dim1, dim2),
    on=(),
    also=("torch.linalg.diagonal",),
    samples=(Sample("torch.linalg.diagonal(x, offset=-1)", x=(2, 3, 3)),),
)


def _diagonal_scatter(x: Expr, src: Expr, offset: int, dim1: int, dim2: int) -> Type:
    wanted = _diagonal_shape("diagonal_scatter", x.shape, offset, dim1, dim2)
    if src.shape != wanted:
        msg = f"src has the shape {src.shape}, but the diagonal has the shape {wanted}"
        raise Invalid("GC015", msg, argument="src")
    return Type(x.shape, x.dtype)


def _on_diagonal(x: Any, src: Any, offset: int, dim1: int, dim2: int) -> Any:
    out = writable(x, src)
    view = np.moveaxis(out, (dim1, dim2), (-2, -1))
    places = np.arange(_length(view.shape[-2], view.shape[-1], offset))
    view[..., places - min(offset, 0), places + max(offset, 0)] = src
    return out


register(
    "diagonal_scatter(Tensor input, Tensor src, int offset=0, int dim1=0, int dim2=1)",
    doc="The input with a diagonal replaced by src.",
    infer=_diagonal_scatter,
    kernel=_on_diagonal,
    vjp=lambda g, out, x, src, offset, dim1, dim2: (
        g.diagonal_scatter(t.zeros_like(src), offset, dim1, dim2),
        g.diagonal(offset, dim1, dim2),
    ),
    method=True,
    analytic=True,
    samples=(
        Sample("x.diagonal_scatter(y)", x=(3, 4), y=(3,)),
        Sample("torch.diagonal_scatter(x, y, -1, dim1=0, dim2=2)", x=(3, 2, 3), y=(2, 2)),
    ),
)


def _diag_embed(x: Expr, offset: int, dim1: int, dim2: int) -> Type:
    if not x.ndim:
        raise Invalid("GC015", "diag_embed() needs at least one dimension, not a scalar")
    first, second = _plane("diag_embed", x.ndim + 1, dim1, dim2)
    size = x.shape[-1] + abs(offset)
    rest = list(x.shape[:-1])
    for d in sorted((first, second)):
        rest.insert(d, size)
    return Type(tuple(rest), x.dtype)


def _embedded(x: Any, offset: int, dim1: int, dim2: int) -> Any:
    size = x.shape[-1] + abs(offset)
    out = np.zeros((*x.shape[:-1], size, size), x.dtype)
    places = np.arange(x.shape[-1])
    out[..., places - min(offset, 0), places + max(offset, 0)] = x
    return np.moveaxis(out, (-2, -1), (dim1, dim2))


register(
    "diag_embed(Tensor input, int offset=0, int dim1=-2, int dim2=-1)",
    doc="Matrices with the last dimension on a diagonal and zeros elsewhere.",
    infer=_diag_embed,
    kernel=_embedded,
    vjp=lambda g, out, x, offset, dim1, dim2: g.diagonal(offset, dim1, dim2),
    analytic=True,
    samples=(
        Sample("torch.diag_embed(x)", x=(2, 3)),
        Sample("x.diag_embed(1)", x=(3,)),
        Sample("x.diag_embed(offset=-1, dim1=0, dim2=2)", x=(2, 3)),
        Sample("x.diag_embed(0, -1, 0)", x=(2, 2)),
        Sample("x.diag_embed()", x=(2, 0)),
    ),
)


def _diag(x: Expr, *, diagonal: int) -> Any:
    if x.ndim == 1:
        return x.diag_embed(diagonal)
    if x.ndim == 2:
        return x.diagonal(diagonal)
    msg = f"diag() needs a vector or a matrix, not a tensor of shape {x.shape}"
    raise Invalid("GC015", msg, "diagonal() and diag_embed() work on batches")


register(
    "diag(Tensor input, int diagonal=0)",
    doc="The diagonal of a matrix, or the matrix with a vector on its diagonal.",
    define=_diag,
    samples=(
        Sample("torch.diag(x)", x=(3,)),
        Sample("x.diag(-1)", x=(2,)),
        Sample("x.diag(diagonal=1)", x=(3, 4)),
    ),
)
register(
    "diagflat(Tensor input, int offset=0)",
    doc="The matrix with all elements on a diagonal.",
    define=lambda x, offset: (x if x.ndim == 1 else x.flatten()).diag_embed(offset),
    samples=(
        Sample("torch.diagflat(x)", x=(2, 2)),
        Sample("x.diagflat(-1)", x=(2,)),
        Sample("torch.diagflat(x, offset=1)", x=()),
    ),
)


def _triangle(name: str, kernel: Any, which: str) -> None:
    def infer(x: Expr, *, diagonal: int) -> Type:
        _plane(name, x.ndim, 0, 1)
        return Type(x.shape, x.dtype)

    register(
        f"{name}(Tensor input, int diagonal=0)",
        doc=f"The {which} triangle of matrices, zeros elsewhere.",
        infer=infer,
        kernel=lambda x, diagonal: kernel(x, k=diagonal),
        vjp=lambda g, out, x, diagonal: getattr(g, name)(diagonal),
        method=True,
        analytic=True,
        samples=(
            Sample(f"x.{name}()", x=(3, 4)),
            Sample(f"torch.{name}(x, 1)", x=(2, 3, 3)),
            Sample(f"x.{name}(diagonal=-1)", x=(4, 3)),
            Sample(f"x.{name}(9)", x=(2, 0)),
            Sample(f"m.{name}()", m=In((3, 3), dtype="bool")),
        ),
    )


_triangle("tril", np.tril, "lower")
_triangle("triu", np.triu, "upper")


def _trace(x: Expr) -> Type:
    if x.ndim != 2:
        msg = f"trace() needs a matrix, not a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, "for batches: x.diagonal(dim1=-2, dim2=-1).sum(-1)")
    if x.dtype.kind == "b":
        raise Invalid("GC016", "trace() isn't defined for bool", "convert it: x.long()")
    return Type((), dtypes.int64 if x.dtype.kind == "i" else x.dtype)


register(
    "trace(Tensor input)",
    doc="Sum of the main diagonal of a matrix.",
    infer=_trace,
    kernel=np.trace,
    vjp=lambda g, out, x: g * (eye(x, 0) if x.shape[0] == x.shape[1] else eye(x, 0, 1)),
    analytic=True,
    samples=(
        Sample("torch.trace(x)", x=(3, 3)),
        Sample("x.trace()", x=(2, 3)),
        Sample("x.trace()", x=(0, 0)),
        Sample("i.trace()", i=In((2, 2), 0, 9, "int32")),
    ),
)
