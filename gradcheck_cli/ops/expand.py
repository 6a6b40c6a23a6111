"""Broadcasting made visible: expanding to a shape, and summing back to one."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, Sample, Shape, Type
from gradcheck_cli.ops._common import broadcast, register, shape_of, sizes
from gradcheck_cli.schema import Invalid


def _expand(x: Expr, size: tuple[Any, ...]) -> Type:
    wanted = sizes(size)
    new = len(wanted) - x.ndim
    old = (-1,) * new + x.shape
    if new < 0 or any(w != o and (o != 1 or w < 0) for w, o in _met(wanted, old)):
        msg = f"a tensor of shape {x.shape} can't be expanded to {wanted}"
        hint = "only dimensions of size 1 can be expanded; new ones come first and have a size"
        raise Invalid("GC015", msg, hint, "size")
    return Type(tuple(w for w, _ in _met(wanted, old)), x.dtype)


def _met(wanted: Shape, old: Shape) -> list[tuple[int, int]]:
    """Sizes wanted and there, -1 filled in; a new dimension (-1 in `old`) takes what is wanted."""
    pairs = zip(wanted, old, strict=False)
    return [(w, 1 if w >= 0 else 0) if o == -1 else (o if w == -1 else w, o) for w, o in pairs]


def _expand_kernel(x: Any, size: Shape) -> Any:
    old = (1,) * (len(size) - np.ndim(x)) + np.shape(x)
    return np.broadcast_to(x, tuple(o if s == -1 else s for s, o in zip(size, old, strict=True)))


register(
    "expand(Tensor input, size size)",
    doc="A view in which dimensions of size 1 are repeated.",
    infer=_expand,
    kernel=_expand_kernel,
    vjp=lambda g, out, x, size: g,
    on=("Tensor",),
    also=("torch.expand_copy",),
    method=True,
    analytic=True,
    samples=(
        Sample("torch.expand_copy(x, (2, 3)) * 2", x=(3,)),
        Sample("x.expand(2, 3)", x=(1, 3)),
        Sample("x.expand(4, -1, 3)", x=(2, 1)),
        Sample("x.expand((2, 3))", x=()),
        Sample("x.expand(0, 3)", x=(1, 3)),
        Sample("x.expand(())", x=()),
        Sample("x.expand(y.size(0), -1) * y", x=(3,), y=(2, 3)),
    ),
)
register(
    "expand_as(Tensor input, Tensor other)",
    doc="Expanded to the shape of another tensor.",
    define=lambda x, other: x.expand(shape_of(other)),
    on=("Tensor",),
    samples=(Sample("x.expand_as(y) * y", x=(3,), y=(2, 3)),),
)
register(
    "broadcast_to(Tensor input, size size)",
    doc="Expanded to a shape.",
    define=lambda x, size: x.expand(size),
    samples=(
        Sample("torch.broadcast_to(x, (2, 3))", x=(3,)),
        Sample("x.broadcast_to((2, -1))", x=(1, 3)),
    ),
)


def _broadcast_tensors(*tensors: Expr) -> tuple[Expr, ...]:
    rank = len(broadcast(*(x.shape for x in tensors)))

    def common(position: int) -> Expr:
        there = [x for x in tensors if x.ndim >= position]
        owner = next((x for x in there if x.shape[-position] != 1), there[0])
        size: Expr = owner.size(-position)
        return size

    size = tuple(common(position) for position in range(rank, 0, -1))
    return tuple(x.expand(size) for x in tensors)


register(
    "broadcast_tensors(Tensor[]... tensors)",
    doc="All tensors expanded to their common shape.",
    define=_broadcast_tensors,
    on=("torch",),
    samples=(
        Sample("torch.broadcast_tensors(x, y)[0]", x=(3, 1), y=(4,)),
        Sample("torch.broadcast_tensors(x, y)[1]", x=(3, 1), y=(4,)),
    ),
)


def _sum_to_size(x: Expr, size: tuple[Any, ...]) -> Type:
    wanted = sizes(size)
    old = x.shape[x.ndim - len(wanted) :]
    if len(wanted) > x.ndim or any(w not in (1, o) for w, o in zip(wanted, old, strict=True)):
        msg = f"a tensor of shape {x.shape} can't be summed to the shape {wanted}"
        raise Invalid("GC015", msg, "it must be one that broadcasts to the tensor's", "size")
    return Type(wanted, dtypes.int64 if x.dtype.kind in "bi" and wanted != x.shape else x.dtype)


def _sum_to_size_kernel(x: Any, size: Shape) -> Any:
    shape = np.shape(x)
    new = len(shape) - len(size)
    kept = tuple(d + new for d, s in enumerate(size) if s == 1 and shape[d + new] != 1)
    if not new and not kept:
        return x
    return np.sum(x, axis=(*range(new), *kept), keepdims=True).reshape(size)


register(
    "sum_to_size(Tensor input, size size)",
    doc="Sum over the dimensions that broadcasting from this shape would have added or repeated.",
    infer=_sum_to_size,
    kernel=_sum_to_size_kernel,
    vjp=lambda g, out, x, size: g,
    on=("Tensor",),
    method=True,
    analytic=True,
    samples=(
        Sample("x.sum_to_size(1, 3)", x=(2, 3)),
        Sample("x.sum_to_size(3)", x=(2, 3)),
        Sample("x.sum_to_size((2, 1))", x=(4, 2, 3)),
        Sample("x.sum_to_size(2, 3)", x=(2, 3)),
        Sample("x.sum_to_size(())", x=()),
    ),
)
