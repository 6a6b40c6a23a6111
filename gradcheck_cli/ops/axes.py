"""Dimensions in another order: transposes and permutations."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, Sample, Type, make
from gradcheck_cli.ops._common import dim_of, distinct, moved, register
from gradcheck_cli.schema import Invalid


def _transpose(x: Expr, dim0: int, dim1: int) -> Type:
    a, b = dim_of(dim0, x.ndim, "dim0"), dim_of(dim1, x.ndim, "dim1")
    shape = list(x.shape)
    if shape:
        shape[a], shape[b] = shape[b], shape[a]
    return Type(tuple(shape), x.dtype)


def _swapping(node: Expr) -> Any:
    if not node.ndim:
        return None
    one, other = (dim_of(node.attributes[d], node.ndim) - node.ndim for d in ("dim0", "dim1"))
    return lambda x: x.swapaxes(one, other)


register(
    "transpose(Tensor input, int dim0, int dim1)",
    doc="Two dimensions swapped.",
    infer=_transpose,
    kernel=lambda x, dim0, dim1: np.swapaxes(x, dim0, dim1) if np.ndim(x) else x,
    prepare=lambda node: _swapping(node),
    leading=lambda node: min(dim_of(node.attributes[d], node.ndim) for d in ("dim0", "dim1")),
    vjp=lambda g, out, x, dim0, dim1: g.transpose(dim0, dim1) if x.ndim else g,
    also=("torch.transpose_copy",),
    method=True,
    analytic=True,
    samples=(
        Sample("x.transpose(0, 2)", x=(2, 3, 4)),
        Sample("torch.transpose(x, dim0=-1, dim1=0)", x=(2, 3, 4)),
        Sample("x.transpose(0, -1)", x=()),
        Sample("x.transpose(1, 1)", x=(2, 3)),
        Sample("torch.transpose_copy(x, 0, 1) * 2", x=(2, 3)),
    ),
)
register(
    "swapaxes(Tensor input, int axis0, int axis1)",
    doc="Two dimensions swapped.",
    define=lambda x, axis0, axis1: x.transpose(axis0, axis1),
    samples=(Sample("x.swapaxes(0, 1)", x=(2, 3)),),
)
register(
    "swapdims(Tensor input, int dim0, int dim1)",
    doc="Two dimensions swapped.",
    define=lambda x, dim0, dim1: x.transpose(dim0, dim1),
    samples=(Sample("torch.swapdims(x, 0, -1)", x=(2, 3)),),
)


def _permutation(x: Expr, dims: Sequence[int]) -> tuple[int, ...]:
    order = distinct(dims, x.ndim, "dims")
    if len(order) != x.ndim:
        msg = f"permute() names {len(order)} dimensions of a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, f"name each of the {x.ndim} dimensions once", "dims")
    return order


def _unpermute(g: Expr, x: Expr, dims: Sequence[int]) -> Expr:
    order = _permutation(x, dims)
    return moved(g, lambda: g.permute(tuple(order.index(d) for d in range(x.ndim))))


register(
    "permute(Tensor input, int[]... dims)",
    doc="The dimensions in another order.",
    infer=lambda x, dims: Type(tuple(x.shape[d] for d in _permutation(x, dims)), x.dtype),
    kernel=lambda x, dims: np.transpose(x, dims),
    vjp=lambda g, out, x, dims: _unpermute(g, x, dims),
    also=("torch.permute_copy",),
    method=True,
    analytic=True,
    samples=(
        Sample("x.permute(2, 0, 1)", x=(2, 3, 4)),
        Sample("torch.permute(x, (-1, 0, -2))", x=(2, 3, 4)),
        Sample("x.permute(())", x=()),
        Sample("torch.permute_copy(x, (1, 2, 0)) * 2", x=(2, 3, 4)),
    ),
)


def _movedim(x: Expr, source: Sequence[int], destination: Sequence[int]) -> Expr:
    if len(source) != len(destination):
        msg = f"movedim() moves {len(source)} dimensions to {len(destination)} places"
        raise Invalid("GC014", msg, "give as many destinations as sources", "destination")
    if x.ndim == 0:
        return x
    places = dict(
        zip(
            distinct(destination, x.ndim, "destination"),
            distinct(source, x.ndim, "source"),
            strict=True,
        )
    )
    others = iter(d for d in range(x.ndim) if d not in places.values())
    moved: Expr = x.permute(
        tuple(places[d] if d in places else next(others) for d in range(x.ndim))
    )
    return moved


for _name in ("movedim", "moveaxis"):
    register(
        f"{_name}(Tensor input, int[] source, int[] destination)",
        doc="Dimensions moved to other places, the rest in their order.",
        define=_movedim,
        samples=(
            Sample(f"x.{_name}(0, 2)", x=(2, 3, 4)),
            Sample(f"torch.{_name}(x, (0, 1), (-1, 0))", x=(2, 3, 4)),
        ),
    )


def _matrices(x: Expr) -> Type:
    if x.ndim == 1:
        msg = f"this transposes matrices, not a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, "a vector has no transpose; `x.unsqueeze(1)` makes it a column")
    return Type((*x.shape[:-2], *x.shape[:-3:-1]), x.dtype)


TRANSPOSED = register(
    "T(Tensor input)",
    doc="The dimensions in reverse order.",
    infer=lambda x: Type(x.shape[::-1], x.dtype),
    kernel=np.transpose,
    prepare=lambda node: operator.attrgetter("T"),
    vjp=lambda g, out, x: g.T if x.ndim else g,
    attribute="T",
    analytic=True,
    samples=(
        Sample("x.T", x=(2, 3)),
        Sample("x.T", x=(0, 3)),
        Sample("x.T @ y", x=(2, 3), y=(2,)),
        Sample("x.T.ravel()", x=(1, 2, 3)),
    ),
)
MATRICES_TRANSPOSED = register(
    "mT(Tensor input)",
    doc="The last two dimensions swapped.",
    infer=_matrices,
    kernel=lambda x: np.swapaxes(x, -1, -2) if np.ndim(x) else x,
    leading=lambda node: max(0, node.ndim - 2),
    vjp=lambda g, out, x: g.mT if x.ndim else g,
    attribute="mT",
    analytic=True,
    samples=(Sample("x.mT", x=(2, 3)), Sample("x.mT", x=(4, 2, 3)), Sample("x.mT", x=(0, 2, 3))),
)


def _conjugate_transpose(x: Expr) -> Any:
    if x.ndim not in (0, 2):
        msg = f".H transposes a matrix, not a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, "use .mH for batches of matrices")
    return make(TRANSPOSED, (x,), {}).conj()


def _t(x: Expr) -> Any:
    if x.ndim > 2:
        msg = f"t() transposes a matrix, not a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, "use .mT for batches of matrices")
    return make(TRANSPOSED, (x,), {}) if x.ndim == 2 else x


register(
    "H(Tensor input)",
    doc="The conjugate transpose of a matrix.",
    define=_conjugate_transpose,
    attribute="H",
    samples=(Sample("x.H", x=(2, 3)),),
)
register(
    "mH(Tensor input)",
    doc="The conjugate transposes of matrices.",
    define=lambda x: make(MATRICES_TRANSPOSED, (x,), {}).conj(),
    attribute="mH",
    samples=(Sample("x.mH", x=(4, 2, 3)),),
)
register(
    "adjoint(Tensor input)",
    doc="The conjugate transposes of matrices.",
    define=lambda x: make(MATRICES_TRANSPOSED, (x,), {}).conj(),
    samples=(Sample("x.adjoint()", x=(4, 2, 3)), Sample("torch.adjoint(x)", x=(2, 3))),
)
register(
    "t(Tensor input)",
    doc="The transpose of a matrix; what has fewer dimensions stays as it is.",
    define=_t,
    also=("torch.t_copy",),
    samples=(
        Sample("torch.t_copy(x)", x=(2, 3)),
        Sample("x.t()", x=(2, 3)),
        Sample("torch.t(x)", x=(3,)),
        Sample("x.t()", x=()),
    ),
)

if TYPE_CHECKING:
    from collections.abc import Sequence
