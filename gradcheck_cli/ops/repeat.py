"""The elements again and again, or in another order along a dimension: repeat, flip, roll."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, make, t
from gradcheck_cli.ops._common import (
    dim_of,
    distinct,
    moved,
    register,
    shape_of,
    sizes,
)
from gradcheck_cli.ops.known import known
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

# Repeating.


def _repeat(x: Expr, repeats: tuple[Any, ...]) -> Type:
    counts = sizes(repeats)
    if len(counts) < x.ndim or any(n < 0 for n in counts):
        msg = f"repeat() by {counts} doesn't say how often for each dimension of shape {x.shape}"
        raise Invalid("GC015", msg, f"give {x.ndim} or more numbers, each 0 or more", "repeats")
    old = (1,) * (len(counts) - x.ndim) + x.shape
    return Type(tuple(n * s for n, s in zip(counts, old, strict=True)), x.dtype)


def _repeat_vjp(g: Expr, out: Expr, x: Expr, repeats: tuple[Any, ...]) -> Expr:
    new = len(repeats) - x.ndim
    pairs = [size for pair in zip(repeats[new:], shape_of(x), strict=True) for size in pair]
    copies = (*range(new), *range(new, len(repeats) + x.ndim, 2))
    return g.reshape((*repeats[:new], *pairs)).sum(copies) if copies else g


register(
    "repeat(Tensor input, size repeats)",
    doc="The tensor over and over along each dimension.",
    infer=_repeat,
    kernel=lambda x, repeats: np.tile(x, repeats),
    vjp=_repeat_vjp,
    on=("Tensor",),
    method=True,
    analytic=True,
    samples=(
        Sample("x.repeat(2, 3)", x=(3, 2)),
        Sample("x.repeat((2, 1, 2))", x=(3,)),
        Sample("x.repeat(2)", x=()),
        Sample("x.repeat(())", x=()),
        Sample("x.repeat(0, 2)", x=(3, 2)),
        Sample("x.repeat(y.size(0), 1) * y", x=(1, 2), y=(3, 2)),
    ),
)
register(
    "tile(Tensor input, size dims)",
    doc="The tensor over and over along each dimension, the last ones where fewer numbers are given.",
    define=lambda x, dims: x.repeat((*(1,) * (x.ndim - len(dims)), *dims)),
    samples=(
        Sample("x.tile(2)", x=(3, 2)),
        Sample("torch.tile(x, (2, 1, 2))", x=(3,)),
        Sample("x.tile(())", x=(2,)),
    ),
)


def _times_each(x: Expr, repeats: int, dim: int | None, *, output_size: int | None) -> Any:
    if repeats < 0:
        msg = f"repeat_interleave() repeats 0 times or more, not {repeats}"
        raise Invalid("GC014", msg, None, "repeats")
    x, d = _dim_to_repeat(x, dim)
    if output_size not in (None, x.shape[d] * repeats):
        msg = f"repeat_interleave() gives {x.shape[d] * repeats} elements, not {output_size}"
        raise Invalid("GC014", msg, "leave output_size out", "output_size")
    each = tuple(repeats if at == d + 1 else -1 for at in range(x.ndim + 1))
    return x.unsqueeze(d + 1).expand(each).flatten(d, d + 1)


def _dim_to_repeat(x: Expr, dim: int | None) -> tuple[Any, int]:
    if dim is None:
        return (x if x.ndim == 1 else x.flatten()), 0
    if not x.ndim:
        msg = "a zero-dimensional tensor has no dimension to repeat along"
        raise Invalid("GC015", msg, "leave `dim` out", "dim")
    return x, dim_of(dim, x.ndim)


def _by_repeats(x: Expr, repeats: Expr, dim: int | None, *, output_size: int | None) -> Any:
    x, d = _dim_to_repeat(x, dim)
    if repeats.ndim > 1 or (repeats.ndim and repeats.shape[0] not in (1, x.shape[d])):
        msg = (
            f"repeat_interleave() needs one number of repeats, or one for each of the {x.shape[d]} "
            f"places of dimension {d}, not a tensor of shape {repeats.shape}"
        )
        raise Invalid("GC015", msg, None, "repeats")
    if repeats.elements == 1 and (x.shape[d] != 1 or not repeats.ndim):
        repeats = repeats.expand((x.size(d),))
    return x.index_select(d, t.repeat_interleave(repeats, output_size=output_size))


def _places(repeats: Expr, *, output_size: int | None) -> Any:
    """The places of what is repeated, their number known: it may depend on the values of `repeats`."""
    if repeats.ndim != 1 or repeats.dtype.name not in ("int64", "int32"):
        what = f"{repeats.dtype.name} of shape {repeats.shape}"
        msg = f"the repeats of repeat_interleave() are a vector of int64 or int32, not {what}"
        raise Invalid("GC016" if repeats.ndim == 1 else "GC015", msg, None, "repeats")
    if output_size is None:
        values = known(repeats)
        if values is None:
            msg = "without output_size the result's shape would depend on the values of repeats"
            raise Invalid("GC011", msg, "give the sum of all repeats: output_size=7", "repeats")
        output_size = int(np.sum(values))
    return make(_COUNTED, (repeats,), {"output_size": output_size})


def _repeated_places(repeats: Any, output_size: int) -> Any:
    if repeats.size and repeats.min() < 0:
        msg = f"repeat_interleave() repeats 0 times or more, not {repeats.min()}"
        raise Invalid("GC014", msg, None, "repeats")
    if output_size != repeats.sum():
        msg = f"the repeats add up to {repeats.sum()}, not to the output_size of {output_size}"
        raise Invalid("GC014", msg, None, "output_size")
    return np.repeat(np.arange(repeats.size, dtype=repeats.dtype), repeats)


register(
    "repeat_interleave(Tensor input, int repeats, int? dim=None, *, int? output_size=None)",
    doc="Each element several times in a row, of the flattened tensor or along a dimension.",
    define=_times_each,
    samples=(
        Sample("x.repeat_interleave(2)", x=(2, 3)),
        Sample("torch.repeat_interleave(x, 3, dim=-1)", x=(2, 2)),
        Sample("x.repeat_interleave(2, 0, output_size=4)", x=(2, 3)),
        Sample("x.repeat_interleave(repeats=2)", x=()),
        Sample("x.repeat_interleave(0)", x=(2,)),
        Sample("x.repeat_interleave(2, 1)", x=(2, 0)),
    ),
)
register(
    "repeat_interleave.self(Tensor input, Tensor repeats, int? dim=None, *, int? output_size=None)",
    doc="Each element as many times in a row as a tensor says.",
    define=_by_repeats,
    samples=(
        Sample(
            "x.repeat_interleave(i, 0, output_size=3)",
            x=(3, 2),
            i=In(value=[2, 0, 1], dtype="int64"),
        ),
        Sample("x.repeat_interleave(torch.tensor([1, 0, 2, 1]))", x=(2, 2)),
        Sample("torch.repeat_interleave(x, torch.tensor([2]), dim=1)", x=(2, 3)),
        Sample("x.repeat_interleave(torch.tensor(2))", x=()),
    ),
)
register(
    "repeat_interleave.Tensor(Tensor repeats, *, int? output_size=None)",
    doc="The numbers from 0, each as many times as its repeat says.",
    define=_places,
    on=("torch",),
    samples=(
        Sample("torch.repeat_interleave(torch.tensor([1, 2]))"),
        Sample("x[torch.repeat_interleave(i)]", x=(3,), i=In(value=[2, 0, 1], dtype="int64")),
    ),
)
_COUNTED = register(
    "repeat_interleave.counted(Tensor repeats, *, int output_size)",
    doc="The numbers from 0, each as many times as its repeat says, their number given.",
    infer=lambda repeats, output_size: Type((output_size,), repeats.dtype),
    kernel=_repeated_places,
    on=("torch",),
    samples=(
        Sample("torch.repeat_interleave(i, output_size=3)", i=In(value=[2, 0, 1], dtype="int64")),
        Sample("torch.repeat_interleave(i, output_size=0)", i=In((0,), dtype="int32")),
    ),
)

# Turning around.


def _flip(x: Expr, dims: Sequence[int]) -> Type:
    distinct(dims, x.ndim, "dims")
    return Type(x.shape, x.dtype)


def _backwards(node: Expr) -> tuple[Any, ...]:
    """The subscript that reverses dims, counted from the back."""
    dims = distinct(node.attributes["dims"], node.ndim)
    first = min(dims, default=node.ndim)
    return (..., *(slice(None, None, -1 if d in dims else 1) for d in range(first, node.ndim)))


register(
    "flip(Tensor input, int[]... dims)",
    doc="In reverse order along dimensions.",
    infer=_flip,
    kernel=lambda x, dims: np.flip(x, dims) if np.ndim(x) else x,
    prepare=lambda node: operator.itemgetter(_backwards(node)),
    leading=lambda node: min(distinct(node.attributes["dims"], node.ndim), default=node.ndim),
    vjp=lambda g, out, x, dims: moved(g, lambda: g.flip(dims)),
    method=True,
    analytic=True,
    samples=(
        Sample("x.flip(0)", x=(2, 3)),
        Sample("torch.flip(x, (0, -1))", x=(2, 3, 2)),
        Sample("x.flip(())", x=(2, 3)),
        Sample("x.flip(-1)", x=()),
        Sample("x.flip(0, 1)", x=(2, 0)),
    ),
)


def _flip_one(x: Expr, dim: int, name: str) -> Any:
    if x.ndim <= dim:
        msg = f"{name}() needs a tensor of at least {dim + 1} dimensions, not of shape {x.shape}"
        raise Invalid("GC015", msg, argument="input")
    return x.flip((dim,))


register(
    "fliplr(Tensor input)",
    doc="In reverse order along the second dimension.",
    define=lambda x: _flip_one(x, 1, "fliplr"),
    samples=(Sample("x.fliplr()", x=(2, 3)),),
)
register(
    "flipud(Tensor input)",
    doc="In reverse order along the first dimension.",
    define=lambda x: _flip_one(x, 0, "flipud"),
    samples=(Sample("torch.flipud(x)", x=(3,)),),
)


def _rot90(x: Expr, k: int, dims: Sequence[int]) -> Any:
    if len(dims) != 2 or x.ndim < 2:
        msg = f"rot90() turns a plane of two dimensions, not {tuple(dims)} of shape {x.shape}"
        raise Invalid("GC015", msg, argument="dims")
    a, b = distinct(dims, x.ndim, "dims")
    if k % 2 == 0:
        return x.flip((a, b)) if k % 4 else x
    return x.flip((b,) if k % 4 == 1 else (a,)).transpose(a, b)


register(
    "rot90(Tensor input, int k=1, int[] dims=[0, 1])",
    doc="A plane turned by 90 degrees, k times.",
    define=_rot90,
    samples=tuple(Sample(f"torch.rot90(x, {k}, (0, -1))", x=(2, 3, 2)) for k in (1, 2, 3, 4, -1)),
)


def _roll(x: Expr, shifts: Sequence[int], dims: Sequence[int]) -> Type:
    if (len(dims) != len(shifts) and (dims or len(shifts) != 1)) or not shifts:
        msg = f"roll() has {len(shifts)} shifts for {len(dims)} dimensions"
        raise Invalid("GC014", msg, "give one shift per dimension", "shifts")
    if dims and x.ndim == 0:
        raise Invalid(
            "GC014", "a zero-dimensional tensor has no dimension to roll", argument="dims"
        )
    for d in dims:
        dim_of(d, x.ndim, "dims")
    return Type(x.shape, x.dtype)


register(
    "roll(Tensor input, int[] shifts, int[] dims=[])",
    doc="Elements shifted along dimensions, those that fall off one end come in at the other.",
    infer=_roll,
    kernel=lambda x, shifts, dims: np.roll(x, shifts, dims) if dims else np.roll(x, shifts[0]),
    vjp=lambda g, out, x, shifts, dims: moved(g, lambda: g.roll(tuple(-s for s in shifts), dims)),
    method=True,
    analytic=True,
    samples=(
        Sample("x.roll(1)", x=(2, 3)),
        Sample("x.roll(-2, 1)", x=(2, 3)),
        Sample("torch.roll(x, shifts=(1, 5), dims=(0, -1))", x=(2, 3)),
        Sample("x.roll((1, 1), (0, 0))", x=(3, 2)),
        Sample("x.roll(1)", x=()),
        Sample("x.roll(1, 0)", x=(0, 2)),
    ),
)

if TYPE_CHECKING:
    from collections.abc import Sequence
