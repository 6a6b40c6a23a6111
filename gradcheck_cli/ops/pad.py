"""Margins put around the last dimensions: zeros, or the input's own elements again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Shape, Type, t
from gradcheck_cli.ops._common import as_tensor, register, shape_of
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_MODES = ("constant", "reflect", "replicate", "circular")


def _margins(pad: Sequence[int], ndim: int) -> Iterator[tuple[int, int, int]]:
    """Dimension, elements before and elements after, for each pair of `pad`, the last dim first."""
    for pair in range(len(pad) // 2):
        yield ndim - 1 - pair, pad[2 * pair], pad[2 * pair + 1]


def _pad(x: Expr, pad: Sequence[int], mode: str, value: Any) -> Type:
    if mode not in _MODES:
        msg = f"pad() has no mode {mode!r}"
        raise Invalid("GC014", msg, f"use {', '.join(_MODES[:-1])} or {_MODES[-1]}", "mode")
    if len(pad) % 2:
        msg = f"pad() needs pairs of numbers, before and after, not {len(pad)} numbers"
        raise Invalid("GC014", msg, "the first pair is for the last dimension", "pad")
    _allowed(x, pad, mode, value)
    shape = list(x.shape)
    for d, before, after in _margins(pad, x.ndim):
        shape[d] += before + after
        if shape[d] < (mode in ("reflect", "replicate")):
            msg = (
                f"pad() by {before} and {after} leaves nothing of dimension {d} of shape {x.shape}"
            )
            raise Invalid("GC015", msg, "negative numbers take elements away", "pad")
        if mode == "reflect" and max(before, after) >= x.shape[d]:
            msg = f"the margins {before} and {after} are too wide for dimension {d} of shape {x.shape}"
            raise Invalid("GC015", msg, "a reflection is narrower than what it reflects", "pad")
        rest = x.shape[d] + min(before, 0) + min(after, 0)
        if mode == "circular" and max(before, after, 0) > rest:
            msg = f"the margins {before} and {after} wrap around dimension {d} of shape {x.shape} twice"
            raise Invalid("GC015", msg, f"they can be {max(rest, 0)} wide at most", "pad")
    return Type(tuple(shape), x.dtype)


def _allowed(x: Expr, pad: Sequence[int], mode: str, value: Any) -> None:
    """Refuse numbers of dimensions that PyTorch has no such padding for."""
    pairs = len(pad) // 2
    if mode == "constant":
        if pairs > x.ndim:
            msg = f"{len(pad)} numbers pad {pairs} dimensions, but the shape is {x.shape}"
            raise Invalid("GC015", msg, "give two numbers for each dimension from the last", "pad")
        return
    if value:
        msg = f"pad() with mode {mode!r} takes its margins from the input, not from a value"
        raise Invalid("GC014", msg, 'leave `value` out, or use mode="constant"', "value")
    if not 1 <= pairs <= 3 or x.ndim not in (pairs + 1, pairs + 2):
        msg = f"pad() with mode {mode!r} and {len(pad)} numbers has no meaning for shape {x.shape}"
        hint = "it pads the last 1 to 3 dimensions; one or two stand before: (batch, channels, ...)"
        raise Invalid("GC015", msg, hint, "pad")
    if mode != "circular" and 0 in x.shape[-pairs - 1 :]:
        msg = f"pad() with mode {mode!r} finds nothing to repeat in shape {x.shape}"
        raise Invalid("GC015", msg, "only the batch may be empty", "input")
    if mode == "replicate" and x.dtype.kind == "b":
        raise Invalid("GC016", "pad() replicates no masks", "convert the mask: m.double()")


def _padded(x: Any, pad: Shape, mode: str, value: Any) -> Any:
    x = np.asarray(x)
    if mode == "constant":
        return _surrounded(x, pad, value)
    for d, before, after in _margins(pad, x.ndim):
        if before or after:
            x = x.take(_SOURCES[mode](x.shape[d], before, after), d)
    return x


def _surrounded(x: Any, pad: Shape, value: Any) -> Any:
    shape, there, kept = list(x.shape), [slice(None)] * x.ndim, [slice(None)] * x.ndim
    for d, before, after in _margins(pad, x.ndim):
        shape[d] += before + after
        there[d] = slice(max(before, 0), shape[d] - max(after, 0))
        kept[d] = slice(max(-before, 0), x.shape[d] - max(-after, 0))
    out = np.full(shape, value or 0, x.dtype)
    out[tuple(there)] = x[tuple(kept)]
    return out


# Where each element comes from, of a dimension of `size` with margins; negative ones take away.


def _reflected(size: int, before: int, after: int) -> Any:
    last = size - 1
    return last - np.abs(last - np.abs(np.arange(-before, size + after)))


def _replicated(size: int, before: int, after: int) -> Any:
    return np.arange(-before, size + after).clip(0, size - 1)


def _in_a_circle(size: int, before: int, after: int) -> Any:
    """What a negative margin takes away is taken first: the circle is of what remains."""
    first, rest = max(-before, 0), size + min(before, 0) + min(after, 0)
    places = np.arange(-max(before, 0), rest + max(after, 0))
    return first + places % rest if rest else places


_SOURCES = {"reflect": _reflected, "replicate": _replicated, "circular": _in_a_circle}


def _pad_vjp(g: Expr, out: Expr, x: Expr, pad: Shape, mode: str, value: Any) -> Any:
    if mode == "constant":
        return t.pad(as_tensor(g, out), tuple(-p for p in pad))
    # Padding the places themselves says where each element of the result comes from.
    places = t.pad(t.arange(x.numel()).reshape(shape_of(x)), pad, mode)
    return t.zeros_like(x).put(places, g, accumulate=True)


register(
    'pad(Tensor input, int[] pad, str mode="constant", Scalar? value=None)',
    doc="With margins around the last dimensions, filled with a number or from the input.",
    infer=_pad,
    kernel=_padded,
    vjp=_pad_vjp,
    on=("F",),
    analytic=True,
    samples=(
        Sample("F.pad(x, (1, 2))", x=(2, 3)),
        Sample("F.pad(x, (0, 1, 2, 0), value=1.5)", x=(2, 3)),
        Sample("F.pad(x, (-1, 1, 0, -1))", x=(3, 2, 3)),
        Sample("F.pad(x, (1, 0))", x=(0,)),
        Sample("F.pad(x, ())", x=()),
        Sample("F.pad(i, [1, 1], value=2.7)", i=In((3,), 0, 5, "int64")),
        *(Sample(f"F.pad(x, (1, 2), '{mode}')", x=(2, 3)) for mode in _MODES[1:]),
        *(Sample(f"F.pad(x, (2, 0, 1, 1), mode='{mode}')", x=(2, 3, 3)) for mode in _MODES[1:]),
        *(
            Sample(f"F.pad(x, (1, 1, 0, 1, 1, 0), '{mode}')", x=(1, 2, 2, 3, 2))
            for mode in _MODES[1:]
        ),
        *(Sample(f"F.pad(x, (-1, 2), '{mode}')", x=(2, 4)) for mode in _MODES[1:]),
        *(Sample(f"F.pad(x, (1, 1), '{mode}')", x=(0, 2, 3)) for mode in _MODES[1:]),
    ),
)
register(
    "constant_pad_nd(Tensor input, int[] pad, Scalar value=0)",
    doc="With margins of one number around the last dimensions.",
    define=lambda x, pad, value: t.pad(x, pad, value=None if value == 0 else value),
    on=("torch",),
    samples=(
        Sample("torch.constant_pad_nd(x, (1, 2))", x=(2, 3)),
        Sample("torch.constant_pad_nd(x, (1, 2, -1, 0), 0.5)", x=(2, 3)),
    ),
)
