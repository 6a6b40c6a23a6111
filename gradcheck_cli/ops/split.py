"""Splitting tensors along a dimension: each part is a slice of its own."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.graph import Expr, Sample
from gradcheck_cli.ops._common import dim_of, register
from gradcheck_cli.ops.join import along
from gradcheck_cli.ops.known import known
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence


def _parts(x: Expr, dim: int, ends: Sequence[int]) -> tuple[Expr, ...]:
    return tuple(
        along(x, dim, slice(start, end)) for start, end in zip((0, *ends), ends, strict=False)
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
for _name, _on in (("split_copy", ("torch",)), ("unsafe_split", ("torch", "Tensor"))):
    register(
        f"{_name}(Tensor input, int split_size, int dim=0)",
        doc="Parts of one size along a dimension, the last may be smaller.",
        define=lambda x, split_size, dim: _split(x, split_size, dim),
        on=_on,
        samples=(Sample(f"torch.{_name}(x, 2)[1]", x=(5, 2)),),
    )
for _name, _on in (
    ("split_with_sizes", ("torch", "Tensor")),
    ("unsafe_split_with_sizes", ("torch", "Tensor")),
    ("split_with_sizes_copy", ("torch",)),
):
    register(
        f"{_name}(Tensor input, int[] split_sizes, int dim=0)",
        doc="Parts of the given sizes along a dimension.",
        define=lambda x, split_sizes, dim: _split_sizes(x, split_sizes, dim),
        on=_on,
        samples=(Sample(f"torch.{_name}(x, [2, 0, 3], -1)[2]", x=(2, 5)),),
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
    aliases=("unsafe_chunk",),
    samples=(
        Sample("x.unsafe_chunk(2, -1)[0]", x=(2, 3)),
        Sample("x.chunk(2)[1]", x=(5, 2)),
        Sample("torch.chunk(x, 4, dim=1)[2]", x=(2, 5)),
        Sample("x.chunk(2)[1]", x=(0, 2)),
    ),
)


def _tensor_split(x: Expr, indices: Sequence[int], dim: int) -> tuple[Expr, ...]:
    d = _dim_to_split(x, dim, "tensor_split")
    starts, ends = (0, *indices), (*indices, x.shape[d])
    return tuple(along(x, d, slice(a, b)) for a, b in zip(starts, ends, strict=True))


def _tensor_split_sections(x: Expr, sections: int, dim: int) -> tuple[Expr, ...]:
    d = _dim_to_split(x, dim, "tensor_split")
    if sections < 1:
        msg = f"tensor_split() needs at least one section, not {sections}"
        raise Invalid("GC014", msg, argument="sections")
    least, more = divmod(x.shape[d], sections)
    return _parts(x, d, list(accumulate(least + (i < more) for i in range(sections))))


def _tensor_split_at(x: Expr, places: Expr, *, dim: int) -> tuple[Expr, ...]:
    argument = "tensor_indices_or_sections"
    if places.dtype.name != "int64" or places.ndim > 1:
        what = f"{places.dtype.name} of shape {places.shape}"
        msg = f"tensor_split() splits at int64 places, one or a vector of them, not {what}"
        raise Invalid("GC016" if places.ndim < 2 else "GC015", msg, None, argument)
    values = known(places)
    if values is None:
        msg = "where tensor_split() splits would depend on an input's values, and so would shapes"
        raise Invalid("GC011", msg, "give the places as numbers: x.tensor_split((1, 3))", argument)
    if places.ndim == 0:
        return _tensor_split_sections(x, int(values), dim)
    return _tensor_split(x, np.asarray(values).tolist(), dim)


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
        Sample("x.tensor_split((4, 2))[1]", x=(5, 2)),
    ),
)
register(
    "tensor_split.tensor(Tensor input, Tensor tensor_indices_or_sections, int dim=0)",
    doc="Parts that begin at places, or so many parts, named by a tensor that is known beforehand.",
    define=_tensor_split_at,
    samples=(
        Sample("x.tensor_split(torch.tensor([1, 3]))[1]", x=(5, 2)),
        Sample("torch.tensor_split(x, torch.tensor(2), -1)[0]", x=(2, 5)),
        Sample("x.tensor_split(2 * torch.arange(1, 3))[2]", x=(5,)),
    ),
)

# Along the dimension that a name stands for: hsplit columns, vsplit rows, dsplit depth.


def _dim_by_name(x: Expr, name: str) -> int:
    least = {"hsplit": 1, "vsplit": 2, "dsplit": 3}[name]
    if x.ndim < least:
        msg = f"{name}() needs at least {least} dimension{'s' * (least > 1)}, not shape {x.shape}"
        raise Invalid("GC015", msg, "tensor_split() splits along any dimension", "input")
    return {"hsplit": min(x.ndim - 1, 1), "vsplit": 0, "dsplit": 2}[name]


def _split_evenly(x: Expr, sections: int, name: str) -> tuple[Expr, ...]:
    d = _dim_by_name(x, name)
    if sections < 1:
        msg = f"{name}() needs at least one section, not {sections}"
        raise Invalid("GC014", msg, argument="sections")
    if x.shape[d] % sections:
        msg = f"{name}() can't split dimension {d} of shape {x.shape} into {sections} equal parts"
        raise Invalid("GC015", msg, "tensor_split() makes parts of unequal sizes", "sections")
    return _tensor_split_sections(x, sections, d)


for _name, _shape in (("hsplit", (2, 4)), ("vsplit", (4, 2)), ("dsplit", (1, 2, 4))):
    register(
        f"{_name}(Tensor input, int sections)",
        doc="So many equal parts along the dimension that NumPy's name stands for.",
        define=lambda x, sections, name=_name: _split_evenly(x, sections, name),
        samples=(Sample(f"torch.{_name}(x, 2)[1]", x=_shape),),
    )
    register(
        f"{_name}.array(Tensor input, int[] indices)",
        doc="Parts that begin at the given places, along the dimension that NumPy's name stands for.",
        define=lambda x, indices, name=_name: _tensor_split(x, indices, _dim_by_name(x, name)),
        samples=(Sample(f"x.{_name}([1, 3])[1]", x=_shape),),
    )


def _unbind(x: Expr, dim: int) -> tuple[Expr, ...]:
    d = _dim_to_split(x, dim, "unbind")
    return tuple(along(x, d, i) for i in range(x.shape[d]))


register(
    "unbind(Tensor input, int dim=0)",
    doc="The slices along a dimension, which they lose.",
    define=_unbind,
    also=("torch.unbind_copy",),
    samples=(Sample("x.unbind()[1]", x=(2, 3)), Sample("torch.unbind(x, -1)[2]", x=(2, 3))),
)
