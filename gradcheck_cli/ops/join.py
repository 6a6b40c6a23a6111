"""Joining tensors and splitting them, along a dimension."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Shape, Type, t
from gradcheck_cli.ops._common import (
    common,
    dim_of,
    promote,
    register,
)
from gradcheck_cli.ops.shape import atleast
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence


def _along(x: Expr, dim: int, item: Any) -> Expr:
    """`x[:, :, item]`, the item at `dim`."""
    return x[(*(slice(None),) * dim, item)]


# Joining.


def _joined(tensors: Sequence[Expr]) -> list[Expr]:
    """What cat() joins: PyTorch passes over empty vectors whatever the other shapes are."""
    return [x for x in tensors if x.shape != (0,)] or list(tensors)


def _cat(*tensors: Expr, dim: int) -> Type:
    if not tensors:
        raise Invalid("GC014", "cat() needs at least one tensor", argument="tensors")
    joined = _joined(tensors)
    first = joined[0]
    if any(x.ndim == 0 for x in joined):
        msg = "cat() can't join zero-dimensional tensors"
        raise Invalid("GC015", msg, "use torch.stack, which adds a dimension", "tensors")
    d = dim_of(dim, first.ndim)
    for x in joined:
        if x.ndim != first.ndim or _without(x.shape, d) != _without(first.shape, d):
            msg = f"shapes {first.shape} and {x.shape} can't be joined along dimension {d}"
            raise Invalid("GC015", msg, "all other sizes must be equal", "tensors")
    total = sum(x.shape[d] for x in joined)
    return Type((*first.shape[:d], total, *first.shape[d + 1 :]), promote(*tensors))


def _without(shape: Shape, dim: int) -> Shape:
    return (*shape[:dim], *shape[dim + 1 :])


def _cat_kernel(*arrays: Any, dim: int) -> Any:
    values = common(*arrays)
    return np.concatenate([v for v in values if v.shape != (0,)] or values, axis=dim)


def _cat_vjp(g: Expr, out: Expr, *tensors: Expr, dim: int) -> tuple[Expr | None, ...]:
    d = dim_of(dim, out.ndim)
    joined = _joined(tensors)
    parts: list[Expr | None] = []
    end: Expr | None = None
    for x in tensors:
        if x not in joined:
            parts.append(None)
            continue
        start, end = end, x.size(d) if end is None else end + x.size(d)
        parts.append(_along(g, d, slice(start, end)))
    return tuple(parts)


register(
    "cat(Tensor[] tensors, int dim=0)",
    doc="Tensors joined along a dimension that they have.",
    infer=_cat,
    kernel=_cat_kernel,
    vjp=_cat_vjp,
    on=("torch",),
    aliases=("concat", "concatenate"),
    analytic=True,
    samples=(
        Sample("torch.cat([x, y])", x=(2, 3), y=(1, 3)),
        Sample("torch.cat((x, y, x), dim=-1)", x=(2, 3), y=(2, 1)),
        Sample("torch.cat([x, y], 1)", x=(2, 3), y=(2, 0)),
        Sample("torch.cat([x, torch.tensor([]), x])", x=(2, 3)),
        Sample("torch.cat([x, i])", x=(2,), i=In((2,), dtype="int64", low=0, high=5)),
        Sample("torch.concatenate([x], axis=0)", x=(2,)),
        Sample("torch.concat([x * y, y])", x=(2, 2), y=(2, 2)),
    ),
)


def _stack(*tensors: Expr, dim: int) -> Type:
    if not tensors:
        raise Invalid("GC014", "stack() needs at least one tensor", argument="tensors")
    first = tensors[0]
    for x in tensors:
        if x.shape != first.shape:
            msg = f"shapes {first.shape} and {x.shape} can't be stacked"
            raise Invalid("GC015", msg, "all shapes must be equal", "tensors")
    d = dim_of(dim, first.ndim + 1)
    return Type((*first.shape[:d], len(tensors), *first.shape[d:]), promote(*tensors))


def _stack_vjp(g: Expr, out: Expr, *tensors: Expr, dim: int) -> tuple[Expr, ...]:
    d = dim_of(dim, out.ndim)
    return tuple(_along(g, d, i) for i in range(len(tensors)))


register(
    "stack(Tensor[] tensors, int dim=0)",
    doc="Tensors of one shape joined along a new dimension.",
    infer=_stack,
    kernel=lambda *arrays, dim: np.stack(common(*arrays), axis=dim),
    vjp=_stack_vjp,
    on=("torch",),
    analytic=True,
    samples=(
        Sample("torch.stack([x, y])", x=(2, 3), y=(2, 3)),
        Sample("torch.stack([x, y, x], -1)", x=(2, 3), y=(2, 3)),
        Sample("torch.stack((x, x), dim=1)", x=(2,)),
        Sample("torch.stack([x, y])", x=(), y=()),
        Sample("torch.stack([x], 1)", x=(0, 2)),
    ),
)
register(
    "hstack(Tensor[] tensors)",
    doc="Tensors joined side by side: vectors along their only dimension, others along the second.",
    define=lambda *tensors: t.cat(
        (joined := [atleast(x, 1) for x in tensors]), 0 if joined and joined[0].ndim == 1 else 1
    ),
    on=("torch",),
    samples=(
        Sample("torch.hstack([x, y])", x=(2, 3), y=(2, 1)),
        Sample("torch.hstack([x, y])", x=(2,), y=()),
    ),
)
register(
    "vstack(Tensor[] tensors)",
    doc="Tensors joined one below the other; vectors become rows.",
    define=lambda *tensors: t.cat([atleast(x, 2) for x in tensors], 0),
    on=("torch",),
    aliases=("row_stack",),
    samples=(
        Sample("torch.vstack([x, y])", x=(2, 3), y=(3,)),
        Sample("torch.row_stack([x, x])", x=()),
    ),
)
register(
    "dstack(Tensor[] tensors)",
    doc="Tensors joined along the third dimension.",
    define=lambda *tensors: t.cat([atleast(x, 3) for x in tensors], 2),
    on=("torch",),
    samples=(Sample("torch.dstack([x, y])", x=(2, 3), y=(2, 3)),),
)
register(
    "column_stack(Tensor[] tensors)",
    doc="Tensors joined side by side; vectors become columns.",
    define=lambda *tensors: t.cat(
        [x.reshape((x.numel(), 1)) if x.ndim < 2 else x for x in tensors], 1
    ),
    on=("torch",),
    samples=(
        Sample("torch.column_stack([x, y])", x=(2,), y=(2, 3)),
        Sample("torch.column_stack([x, x])", x=()),
    ),
)

# Splitting: each part is a slice of its own.


def _parts(x: Expr, dim: int, ends: Sequence[int]) -> tuple[Expr, ...]:
    return tuple(
        _along(x, dim, slice(start, end)) for start, end in zip((0, *ends), ends, strict=False)
    )


def _dim_to_split(x: Expr, dim: int, name: str) -> int:
    if x.ndim == 0:
        msg = f"{name}() has nothing to split in a zero-dimensional tensor"
        raise Invalid("GC015", msg, argument="dim")
    return dim_of(dim, x.ndim)


def _split(x: Expr, size: int, dim: int) -> tuple[Expr, ...]:
    d = _dim_to_split(x, dim, "split")
    if size < 0 or (size == 0 and x.shape[d]):
        msg = f"split() needs parts of at least one element, not {size}"
        raise Invalid("GC014", msg, argument="split_size_or_sections")
    count = max(1, -(-x.shape[d] // size)) if size else 1
    return _parts(x, d, [min((i + 1) * size, x.shape[d]) for i in range(count)])


def _split_sizes(x: Expr, lengths: Sequence[int], dim: int) -> tuple[Expr, ...]:
    d = _dim_to_split(x, dim, "split")
    if sum(lengths) != x.shape[d] or any(n < 0 for n in lengths):
        msg = (
            f"parts of {tuple(lengths)} don't make up dimension {d} of a tensor of shape {x.shape}"
        )
        raise Invalid("GC015", msg, f"they must add up to {x.shape[d]}", "split_size_or_sections")
    return _parts(x, d, list(accumulate(lengths)))


# PyTorch names this argument differently in the function and in the method.
for _place, _first, _name in (
    ("torch", "tensor", "split_size_or_sections"),
    ("Tensor", "input", "split_size"),
):
    _call = "torch.split(x, " if _place == "torch" else "x.split("
    register(
        f"split.{_place}(Tensor {_first}, int {_name}, int dim=0)",
        doc="Parts of one size along a dimension, the last may be smaller.",
        define=lambda x, dim, **size: _split(x, next(iter(size.values())), dim),
        on=(_place,),
        samples=(
            Sample(f"{_call}2)[0]", x=(5, 2)),
            Sample(f"{_call}2, dim=-1)[-1]", x=(2, 5)),
            Sample(f"{_call}2)[0]", x=(0, 2)),
        ),
    )
    register(
        f"split.{_place}_sizes(Tensor {_first}, int[] {_name}, int dim=0)",
        doc="Parts of the given sizes along a dimension.",
        define=lambda x, dim, **sizes: _split_sizes(x, next(iter(sizes.values())), dim),
        on=(_place,),
        samples=(Sample(f"{_call}[2, 0, 3], dim=1)[2]", x=(2, 5)),),
    )


def _chunk(x: Expr, chunks: int, dim: int) -> tuple[Expr, ...]:
    d = _dim_to_split(x, dim, "chunk")
    if chunks < 1:
        raise Invalid("GC014", f"chunk() needs at least one chunk, not {chunks}", argument="chunks")
    if x.shape[d] == 0:
        return _parts(x, d, [0] * chunks)
    return _split(x, -(-x.shape[d] // chunks), d)


register(
    "chunk(Tensor input, int chunks, int dim=0)",
    doc="At most so many parts of one size, the last may be smaller.",
    define=_chunk,
    samples=(
        Sample("x.chunk(2)[1]", x=(5, 2)),
        Sample("torch.chunk(x, 4, dim=1)[2]", x=(2, 5)),
        Sample("x.chunk(2)[1]", x=(0, 2)),
    ),
)


def _tensor_split(x: Expr, indices: Sequence[int], dim: int) -> tuple[Expr, ...]:
    d = _dim_to_split(x, dim, "tensor_split")
    starts, ends = (0, *indices), (*indices, x.shape[d])
    return tuple(_along(x, d, slice(a, b)) for a, b in zip(starts, ends, strict=True))


def _tensor_split_sections(x: Expr, sections: int, dim: int) -> tuple[Expr, ...]:
    d = _dim_to_split(x, dim, "tensor_split")
    if sections < 1:
        msg = f"tensor_split() needs at least one section, not {sections}"
        raise Invalid("GC014", msg, argument="sections")
    least, more = divmod(x.shape[d], sections)
    return _parts(x, d, list(accumulate(least + (i < more) for i in range(sections))))


register(
    "tensor_split(Tensor input, int sections, int dim=0)",
    doc="So many parts, their sizes as equal as they can be.",
    define=_tensor_split_sections,
    samples=(
        Sample("x.tensor_split(3)[1]", x=(5, 2)),
        Sample("torch.tensor_split(x, 3, dim=1)[2]", x=(2, 2)),
    ),
)
register(
    "tensor_split.indices(Tensor input, int[] indices, int dim=0)",
    doc="Parts that begin at the given places.",
    define=_tensor_split,
    samples=(
        Sample("x.tensor_split((1, 3))[1]", x=(5, 2)),
        Sample("torch.tensor_split(x, (1, -1), dim=1)[1]", x=(2, 5)),
    ),
)


def _unbind(x: Expr, dim: int) -> tuple[Expr, ...]:
    d = _dim_to_split(x, dim, "unbind")
    return tuple(_along(x, d, i) for i in range(x.shape[d]))


register(
    "unbind(Tensor input, int dim=0)",
    doc="The slices along a dimension, which they lose.",
    define=_unbind,
    samples=(Sample("x.unbind()[1]", x=(2, 3)), Sample("torch.unbind(x, -1)[2]", x=(2, 3))),
)
