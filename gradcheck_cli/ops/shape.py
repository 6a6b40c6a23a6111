"""Shapes: reading them, and changing them while every value stays what it is.

Dimensions in another order are in `axes.py`, joining and splitting in `join.py`, subscripts in `index.py`.
"""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, Sample, Shape, Type, concrete, const, size_of
from gradcheck_cli.ops._common import dim_of, distinct, moved, register, shape_of, sizes
from gradcheck_cli.schema import Invalid

# Sizes stay symbolic, ranks are plain numbers.


def _numel(x: Expr) -> Expr:
    return size_of(NUMEL, (x,), {}, x.elements)


NUMEL = register(
    "numel(Tensor input)",
    doc="The number of elements, a Python number.",
    define=_numel,
    also=("Tensor.nelement",),
    method=True,
    samples=(
        Sample("x * x.numel()", x=(2, 3)),
        Sample("x / torch.numel(x)", x=()),
        Sample("x / x.nelement()", x=(3,)),
    ),
)
SIZE = register(
    "size(Tensor input, int? dim=None)",
    doc="The size of a dimension, or the whole shape; Python numbers.",
    define=lambda x, dim: shape_of(x) if dim is None else _size(x, dim),
    on=("Tensor",),
    method=True,
    samples=(
        Sample("x * x.size(-1)", x=(2, 3)),
        Sample("x.reshape(x.size()) / x.size(dim=0)", x=(2, 3)),
        Sample("y.reshape(x.shape) * x.shape[0]", x=(2, 3), y=(6,)),
    ),
)
register(
    "dim(Tensor input)",
    doc="The number of dimensions, a Python number.",
    define=lambda x: const(x.ndim),
    on=("Tensor",),
    aliases=("ndimension",),
    samples=(Sample("x * x.dim()", x=(2, 3)), Sample("x + x.ndimension()", x=())),
)


def _size(x: Expr, dim: int) -> Expr:
    d = dim_of(dim, x.ndim)
    if x.ndim == 0:
        msg = "size() of a dimension asks for one that a zero-dimensional tensor doesn't have"
        raise Invalid("GC014", msg, "leave `dim` out", "dim")
    return size_of(SIZE, (x,), {"dim": d}, x.shape[d])


# The same elements in the same order.


def filled_in(elements: int, shape: Sequence[int], of: Shape) -> Shape:
    """`shape` with its -1 worked out. Raises Invalid (GC015)."""
    if any(size < -1 for size in shape):
        msg = f"{tuple(shape)} is no shape: sizes are 0 or more, or -1 for the one to work out"
        raise Invalid("GC015", msg, argument="shape")
    if list(shape).count(-1) > 1:
        msg = f"{tuple(shape)} leaves more than one size open"
        raise Invalid("GC015", msg, "only one size can be -1", "shape")
    known = math.prod(size for size in shape if size != -1)
    if -1 in shape and known == 0 == elements:
        msg = f"any size would do for the -1 in {tuple(shape)}, because there are no elements"
        raise Invalid("GC015", msg, "write the size itself", "shape")
    if known != elements if -1 not in shape else known == 0 or elements % known:
        msg = f"a tensor of shape {of} with {elements} elements can't have the shape {tuple(shape)}"
        raise Invalid("GC015", msg, "the product of the sizes must stay the same", "shape")
    return tuple(elements // known if size == -1 else size for size in shape)


def _unchanged(node: Expr) -> int:
    """How many leading dims reshape() leaves as they are."""
    pairs = zip(node.inputs[0].shape, node.shape, strict=False)
    return next(
        (d for d, (a, b) in enumerate(pairs) if a != b), min(node.inputs[0].ndim, node.ndim)
    )


def _reshaping(node: Expr) -> Any:
    same = _unchanged(node) if node.elements else 0
    behind, shape = node.inputs[0].ndim - same, node.shape[same:]
    if not same:
        return lambda x: x.reshape(shape)
    return lambda x: x.reshape(x.shape[: x.ndim - behind] + shape)


register(
    "reshape(Tensor input, size shape)",
    doc="The same elements in another shape.",
    infer=lambda x, shape: Type(filled_in(x.elements, sizes(shape), x.shape), x.dtype),
    kernel=lambda x, shape: np.reshape(x, shape),
    prepare=lambda node: _reshaping(node),
    leading=lambda node: _unchanged(node),
    vjp=lambda g, out, x, shape: moved(g, lambda: g.reshape(shape_of(x))),
    method=True,
    analytic=True,
    samples=(
        Sample("x.reshape(6)", x=(2, 3)),
        Sample("x.reshape(3, -1)", x=(2, 3)),
        Sample("torch.reshape(x, (1, 3, 2))", x=(2, 3)),
        Sample("x.reshape(())", x=(1, 1)),
        Sample("x.reshape(1, 1)", x=()),
        Sample("x.reshape(0, 4)", x=(2, 0)),
        Sample("x.reshape(x.size(1), x.size(0))", x=(2, 3)),
        Sample("x.T.reshape(-1)", x=(2, 3)),
    ),
)
register(
    "view(Tensor input, size size)",
    doc="The same elements in another shape.",
    define=lambda x, size: x.reshape(size),
    on=("Tensor",),
    also=("torch.view_copy",),
    samples=(
        Sample("x.view(3, -1)", x=(2, 3)),
        Sample("x.view(x.shape)", x=(2, 3)),
        Sample("torch.view_copy(x, (6,))", x=(2, 3)),
    ),
)
register(
    "reshape_as(Tensor input, Tensor other)",
    doc="The same elements in the shape of another tensor.",
    define=lambda x, other: x.reshape(shape_of(other)),
    on=("Tensor",),
    samples=(Sample("x.reshape_as(y) * y", x=(2, 3), y=(3, 2)),),
)
register(
    "view_as(Tensor input, Tensor other)",
    doc="The same elements in the shape of another tensor.",
    define=lambda x, other: x.reshape(shape_of(other)),
    on=("Tensor",),
    samples=(Sample("x.view_as(y) * y", x=(2, 3), y=(6,)),),
)


def _flatten(x: Expr, start_dim: int, end_dim: int) -> Type:
    start, end = dim_of(start_dim, x.ndim, "start_dim"), dim_of(end_dim, x.ndim, "end_dim")
    if start > end:
        msg = f"flatten() ends at dimension {end}, before it starts, at {start}"
        raise Invalid("GC014", msg, "swap start_dim and end_dim", "start_dim")
    joined = math.prod(x.shape[start : end + 1])
    return Type((*x.shape[:start], joined, *x.shape[end + 1 :]), x.dtype)


def _flatten_kernel(x: Any, start_dim: int, end_dim: int) -> Any:
    shape = np.shape(x)
    start, end = dim_of(start_dim, len(shape)), dim_of(end_dim, len(shape))
    joined = math.prod(shape[start : end + 1])
    return np.reshape(x, (*shape[:start], joined, *shape[end + 1 :]))


register(
    "flatten(Tensor input, int start_dim=0, int end_dim=-1)",
    doc="Dimensions start_dim to end_dim made one.",
    infer=_flatten,
    kernel=_flatten_kernel,
    fused=lambda x, start_dim, end_dim: x.reshape(_flatten(x, start_dim, end_dim).shape),
    vjp=lambda g, out, x, start_dim, end_dim: g.reshape(shape_of(x)),
    method=True,
    analytic=True,
    samples=(
        Sample("x.flatten()", x=(2, 3, 2)),
        Sample("x.flatten()", x=()),
        Sample("torch.flatten(x, 1)", x=(2, 3, 2)),
        Sample("x.flatten(start_dim=0, end_dim=-2)", x=(2, 3, 2)),
        Sample("x.flatten(1)", x=(0, 3, 2)),
    ),
)
register(
    "ravel(Tensor input)",
    doc="One dimension with all elements.",
    define=lambda x: x.reshape((-1,)),
    samples=(Sample("x.ravel()", x=(2, 3)), Sample("torch.ravel(x.T)", x=(2, 3))),
)


def _unflatten(x: Expr, dim: int, sizes_: tuple[Any, ...]) -> tuple[int, Shape]:
    if not sizes_ or x.ndim == 0:
        msg = "unflatten() needs a dimension to split and the sizes to split it into"
        raise Invalid("GC014", msg, argument="sizes")
    d = dim_of(dim, x.ndim)
    return d, filled_in(x.shape[d], sizes(sizes_), (x.shape[d],))


def _unflatten_infer(x: Expr, dim: int, sizes: tuple[Any, ...]) -> Type:
    d, new = _unflatten(x, dim, sizes)
    return Type((*x.shape[:d], *new, *x.shape[d + 1 :]), x.dtype)


def _unflatten_kernel(x: Any, dim: int, sizes: Shape) -> Any:
    shape = np.shape(x)
    d = dim_of(dim, len(shape))
    new = filled_in(shape[d], sizes, shape)
    return np.reshape(x, (*shape[:d], *new, *shape[d + 1 :]))


register(
    "unflatten(Tensor input, int dim, size sizes)",
    doc="One dimension split into several.",
    infer=_unflatten_infer,
    kernel=_unflatten_kernel,
    vjp=lambda g, out, x, dim, sizes: g.reshape(shape_of(x)),
    method=True,
    analytic=True,
    samples=(
        Sample("x.unflatten(1, (3, 2))", x=(2, 6)),
        Sample("torch.unflatten(x, -1, (-1, 2))", x=(2, 6)),
        Sample("x.unflatten(0, (0, 3))", x=(0, 2)),
    ),
)


def _squeeze(x: Expr, dim: Sequence[int] | None) -> Type:
    dropped = _squeezed(x.shape, dim)
    return Type(tuple(s for d, s in enumerate(x.shape) if d not in dropped), x.dtype)


def _squeezed(shape: Shape, dim: Sequence[int] | None) -> tuple[int, ...]:
    """The dimensions that squeeze() drops: None means all of size 1, () none."""
    named = range(len(shape)) if dim is None else distinct(dim, len(shape))
    return tuple(d for d in named if shape and shape[d] == 1)


def _dropped(node: Expr) -> tuple[int, ...]:
    return _squeezed(node.inputs[0].shape, concrete(node.attrs)["dim"])


def _without(node: Expr) -> tuple[Any, ...]:
    """The subscript that drops dims, counted from the back."""
    dropped, ndim = _dropped(node), node.inputs[0].ndim
    first = min(dropped, default=ndim)
    return (..., *(0 if d in dropped else slice(None) for d in range(first, ndim)))


def _with_one(node: Expr) -> tuple[Any, ...]:
    """The subscript that puts a new dim in, counted from the back."""
    after = node.inputs[0].ndim - _unsqueezed(node.attributes["dim"], node.inputs[0].ndim)
    return (..., None, *(slice(None),) * after)


register(
    "squeeze(Tensor input, int[]... dim=None)",
    doc="Without the dimensions of size 1: all of them, or those named.",
    infer=_squeeze,
    kernel=lambda x, dim: np.squeeze(x, axis=_squeezed(np.shape(x), dim)),
    prepare=lambda node: operator.itemgetter(_without(node)),
    leading=lambda node: min(_dropped(node), default=node.ndim),
    vjp=lambda g, out, x, dim: moved(g, lambda: g.reshape(shape_of(x))),
    also=("torch.squeeze_copy",),
    method=True,
    analytic=True,
    samples=(
        Sample("x.squeeze()", x=(1, 3, 1)),
        Sample("x.squeeze()", x=(1, 1)),
        Sample("x.squeeze(0)", x=(1, 3, 1)),
        Sample("x.squeeze(1)", x=(1, 3, 1)),
        Sample("torch.squeeze(x, (0, -1))", x=(1, 3, 1)),
        Sample("x.squeeze(())", x=(1, 3)),
        Sample("x.squeeze(0)", x=()),
        Sample("torch.squeeze_copy(x, 1) * 2", x=(2, 1)),
    ),
)


def _unsqueezed(dim: int, ndim: int) -> int:
    return dim_of(dim, ndim + 1)


register(
    "unsqueeze(Tensor input, int dim)",
    doc="With a new dimension of size 1 at dim.",
    infer=lambda x, dim: Type(
        (*x.shape[: (d := _unsqueezed(dim, x.ndim))], 1, *x.shape[d:]), x.dtype
    ),
    kernel=lambda x, dim: np.expand_dims(x, dim),
    prepare=lambda node: operator.itemgetter(_with_one(node)),
    leading=lambda node: _unsqueezed(node.attributes["dim"], node.ndim - 1),
    vjp=lambda g, out, x, dim: g.squeeze(_unsqueezed(dim, x.ndim)),
    also=("torch.unsqueeze_copy",),
    method=True,
    analytic=True,
    samples=(
        Sample("x.unsqueeze(0)", x=(2, 3)),
        Sample("torch.unsqueeze(x, 2)", x=(2, 3)),
        Sample("x.unsqueeze(dim=-2)", x=(2, 3)),
        Sample("x.unsqueeze(-1)", x=()),
        Sample("x.unsqueeze(1)", x=(0,)),
        Sample("torch.unsqueeze_copy(x, 1) * 2", x=(2,)),
    ),
)


def atleast(x: Expr, rank: int) -> Expr:
    """Dimensions put around as NumPy does: (n) becomes (1, n, 1), (m, n) becomes (m, n, 1)."""
    while x.ndim < rank:
        x = x.unsqueeze(-1 if x.ndim == 2 else 0)
    return x


for _rank in (1, 2, 3):
    register(
        f"atleast_{_rank}d(Tensor input)",
        doc=f"With dimensions of size 1 added until there are {_rank}.",
        define=lambda x, rank=_rank: atleast(x, rank),
        on=("torch",),
        samples=tuple(Sample(f"torch.atleast_{_rank}d(x)", x=s) for s in ((), (2,), (2, 3))),
    )
    register(
        f"atleast_{_rank}d.tensors(Tensor[]... tensors)",
        doc=f"Each of several tensors with dimensions of size 1 added until there are {_rank}.",
        define=lambda *tensors, rank=_rank: tuple([atleast(x, rank) for x in tensors]),
        on=("torch",),
        samples=(
            Sample(f"torch.atleast_{_rank}d(x, y)[1] * x", x=(2,), y=()),
            Sample(f"torch.atleast_{_rank}d([x])[0]", x=(2,)),
        ),
    )

if TYPE_CHECKING:
    from collections.abc import Sequence
