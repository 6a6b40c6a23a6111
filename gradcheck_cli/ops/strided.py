"""Elements picked by their place in memory, overlapping or not: as_strided and windows on a dimension."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, Sample, Type, t, topological
from gradcheck_cli.ops._common import as_tensor, dim_of, register, shape_of, sizes
from gradcheck_cli.schema import Invalid

# After one of these, memory may hold the elements in another order than the dimensions have them.
_REORDERING = frozenset(
    ("T", "mT", "transpose", "permute", "expand", "select", "slice", "diagonal", "unfold.dimension")
)


def _places(x: Expr, name: str, size: Any, stride: Any, storage_offset: int | None) -> Any:
    """Where in `x`, stored in order, each element is found: a number or a tensor. Raises Invalid."""
    counts, offset = sizes(size), storage_offset or 0
    if len(counts) != len(stride):
        msg = f"{name}() needs a stride for each dimension, not {len(stride)} for {len(counts)}"
        raise Invalid("GC014", msg, None, "stride")
    if min((*counts, *stride, offset), default=0) < 0:
        msg = f"{name}() takes no negative numbers: size {counts}, stride {stride}, offset {offset}"
        raise Invalid("GC014", msg, "x.flip(dim) reverses a dimension")
    if any(node.op.name in _REORDERING for node in topological([x])):
        msg = f"{name}() reads memory, and after a transpose or a slice its order is not known here"
        raise Invalid("GC014", msg, "name the elements instead: x.take(places)", "input")
    last = offset + sum((n - 1) * s for n, s in zip(counts, stride, strict=True))
    if 0 not in counts and last >= x.elements:
        msg = f"{name}() reaches element {last}, but the input of shape {x.shape} has {x.elements}"
        raise Invalid("GC015", msg, "the first element has the place 0", "size")
    places: Any = offset
    for d, (count, step) in enumerate(zip(size, stride, strict=True)):
        along = t.arange(count) if step == 1 else t.arange(count) * step
        after = len(size) - 1 - d
        along = along.reshape((-1, *(1,) * after)) if after else along
        places = along if isinstance(places, int) and places == 0 else places + along
    return places


def _as_strided(x: Expr, size: Any, stride: Any, storage_offset: int | None) -> Any:
    places = _places(x, "as_strided", size, stride, storage_offset)
    return x.flatten()[places] if isinstance(places, int) else x.take(places)


register(
    "as_strided(Tensor input, size size, int[] stride, int? storage_offset=None)",
    doc="The elements at regular places of the input's memory, in which they lie in order.",
    define=_as_strided,
    also=("torch.as_strided_copy",),
    samples=(
        Sample("x.as_strided((2, 2), (1, 2))", x=(3, 3)),
        Sample("torch.as_strided(x, (2, 2), (1, 1), 1)", x=(4,)),
        Sample("torch.as_strided(x, (), (), storage_offset=2)", x=(4,)),
        Sample("x.as_strided((0, 3), (1, 1))", x=(2,)),
        Sample("torch.as_strided_copy(x, (2, 3, 2), (0, 1, 2))", x=(3, 2)),
        Sample("x.as_strided((1,), (1,))", x=()),
    ),
)


def _as_strided_scatter(
    x: Expr, src: Expr, size: Any, stride: Any, storage_offset: int | None
) -> Any:
    places = _places(x, "as_strided_scatter", size, stride, storage_offset)
    if src.shape != sizes(size):
        msg = f"src has the shape {src.shape}, but the places have the shape {sizes(size)}"
        raise Invalid("GC015", msg, argument="src")
    if src.dtype is not x.dtype:
        src = src.to(x.dtype)
    if isinstance(places, int):
        return x.flatten().select_scatter(src, 0, places).reshape(shape_of(x))
    return x.put(places, src)


register(
    "as_strided_scatter(Tensor input, Tensor src, size size, int[] stride, "
    "int? storage_offset=None)",
    doc="The input with the elements at regular places of its memory replaced by src.",
    define=_as_strided_scatter,
    convention="PyTorch 2.13 gives the input the gradient of the replaced elements, not of the rest",
    # That is a mistake of PyTorch's, so that gradients can't be compared with it.
    samples=(
        Sample("torch.as_strided_scatter(x, y, (2, 2), (1, 2))", x=(3, 3), y=(2, 2), grad=False),
        Sample("x.as_strided_scatter(y, (), (), 2)", x=(3,), y=(), grad=False),
        Sample(
            "x.as_strided_scatter(y, (2,), (2,), storage_offset=1)", x=(2, 2), y=(2,), grad=False
        ),
    ),
)


def _unfold(x: Expr, dimension: int, size: int, step: int) -> Type:
    d = dim_of(dimension, x.ndim, "dimension")
    if size < 0 or step < 1:
        wrong, name = (f"size {size}", "size") if size < 0 else (f"step {step}", "step")
        msg = (
            f"unfold() can't have the {wrong}: windows are 0 or more wide, and move on by 1 or more"
        )
        raise Invalid("GC014", msg, None, name)
    there = x.shape[d] if x.ndim else 1
    if size > there:
        msg = f"unfold() finds no window of size {size} in dimension {d} of shape {x.shape}"
        raise Invalid("GC015", msg, f"a window is {there} wide at most", "size")
    count = (there - size) // step + 1
    shape = (*x.shape[:d], count, *x.shape[d + 1 :], size) if x.ndim else (size,)
    return Type(shape, x.dtype)


def _windows(x: Any, dimension: int, size: int, step: int) -> Any:
    if not np.ndim(x):
        return np.reshape(x, 1)[:size]
    if not size:  # NumPy has no windows without elements
        shape = list(x.shape)
        shape[dimension] = shape[dimension] // step + 1
        return np.empty((*shape, 0), x.dtype)
    d = dimension % x.ndim
    windows = np.lib.stride_tricks.sliding_window_view(x, size, d)
    return windows[(*(slice(None),) * d, slice(None, None, step))]


def _unfold_vjp(g: Expr, out: Expr, x: Expr, dimension: int, size: int, step: int) -> Any:
    g = as_tensor(g, out)
    if not x.ndim:
        return g.sum()
    d = dim_of(dimension, x.ndim, "dimension")
    first = t.arange(out.size(d)) if step == 1 else t.arange(out.size(d)) * step
    places = (first.unsqueeze(1) + t.arange(size)).flatten()
    return t.zeros_like(x).index_add(d, places, g.movedim(-1, d + 1).flatten(d, d + 1))


register(
    "unfold.dimension(Tensor input, int dimension, int size, int step)",
    doc="The windows that slide over a dimension, their elements as a new last dimension.",
    infer=_unfold,
    kernel=_windows,
    vjp=_unfold_vjp,
    on=("Tensor",),
    also=("torch.unfold_copy",),
    method=True,
    analytic=True,
    samples=(
        Sample("x.unfold(0, 2, 1)", x=(5,)),
        Sample("x.unfold(1, 2, 2)", x=(2, 5, 2)),
        Sample("x.unfold(-1, 3, 5)", x=(2, 7)),
        Sample("x.unfold(dimension=0, size=1, step=1)", x=()),
        Sample("x.unfold(0, 0, 1)", x=()),
        Sample("x.unfold(0, 0, 2)", x=(5, 2)),
        Sample("torch.unfold_copy(x, 0, 2, 1) * 2", x=(2, 0)),
    ),
)
