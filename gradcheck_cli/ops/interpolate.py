"""Interpolation: images resized, each element a weighted sum of a few of the input's along every dimension.

Which elements and weights is written with `arange`, as PyTorch computes them: Keys' cubic convolution with a
coefficient of -0.75, or -0.5 where an antialiasing filter widens the window, as in PIL.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Shape, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.dtypes import DType

# Dimensions of the input that a mode is for.
_MODES = {
    "nearest": (3, 4, 5),
    "nearest-exact": (3, 4, 5),
    "area": (3, 4, 5),
    "linear": (3,),
    "bilinear": (4,),
    "bicubic": (4,),
    "trilinear": (5,),
    "lanczos": (4,),
}
_PLAIN = ("nearest", "nearest-exact", "area")
# On how many elements to each side of its place a filter has weights, in the larger of the two spacings.
_REACH = {"bilinear": 1, "bicubic": 2, "lanczos": 3}


class Taps(NamedTuple):
    """For each element of a resized dim, the elements that it is made of, and their weights."""

    places: Expr
    weights: Expr


class Way(NamedTuple):
    """How one dim is resized; `size` is what it was, `n` the same as a symbolic size."""

    mode: str
    n: Expr
    size: int
    out: int
    factor: float | None
    align_corners: bool
    antialias: bool
    exact: DType


def _check(
    x: Expr, mode: str, align_corners: bool | None, antialias: bool, recompute: bool | None
) -> None:
    if mode not in _MODES:
        known = ", ".join(map(repr, _MODES))
        raise Invalid("GC014", f"interpolate() has no mode {mode!r}", f"use one of {known}", "mode")
    if x.ndim not in _MODES[mode]:
        wanted = " or ".join(map(str, _MODES[mode]))
        msg = f"mode={mode!r} is for inputs of {wanted} dimensions, not for shape {x.shape}"
        raise Invalid("GC015", msg, "the first two are (batch, channels)", "input")
    if x.dtype.kind != "f" and not (x.dtype.name == "uint8" and mode.startswith("nearest")):
        msg = f"interpolate() needs a floating-point tensor, not {x.dtype.name}"
        raise Invalid("GC016", msg, "give the input a floating dtype")
    if align_corners is not None and mode in _PLAIN:
        msg = f"align_corners has no meaning for mode={mode!r}"
        raise Invalid("GC014", msg, "leave it out", "align_corners")
    if antialias and mode not in _REACH:
        msg = f"antialias=True is for the modes 'bilinear', 'bicubic' and 'lanczos', not {mode!r}"
        raise Invalid("GC014", msg, argument="antialias")
    if mode == "lanczos" and (align_corners or not antialias):
        msg = "mode='lanczos' needs antialias=True, and has no align_corners=True"
        raise Invalid("GC014", msg, argument="mode")
    if 0 in (x.shape[2:] if mode == "area" else x.shape[1:]):
        msg = f"only the batch of interpolate() may be empty, not as in shape {x.shape}"
        raise Invalid("GC015", msg, argument="input")


def _sizes(
    x: Expr, size: tuple[int, ...] | None, scale_factor: tuple[float, ...] | None
) -> tuple[Shape, tuple[float, ...] | None]:
    """The sizes asked for, and the factors if they were given instead. Raises Invalid (GC014)."""
    ndim = x.ndim - 2
    if (size is None) == (scale_factor is None):
        msg = "interpolate() needs either size or scale_factor"
        raise Invalid("GC014", msg, "give one of them", "size")
    given = size if size is not None else scale_factor
    assert given is not None
    if len(given) not in (1, ndim):
        name = "scale_factor" if size is None else "size"
        msg = f"{name} is one number or {ndim}, not {given}, for an input of shape {x.shape}"
        raise Invalid("GC014", msg, "batch and channels keep their sizes", name)
    if scale_factor is None:
        assert size is not None
        out = size * ndim if len(size) == 1 else size
    else:
        scale_factor = scale_factor * ndim if len(scale_factor) == 1 else scale_factor
        out = tuple(int(n * factor) for n, factor in zip(x.shape[2:], scale_factor, strict=True))
    if min(out) < 1:
        msg = f"interpolate() from {x.shape[2:]} to {out} leaves nothing"
        raise Invalid("GC014", msg, "sizes are positive", "size" if size else "scale_factor")
    return out, scale_factor


def interpolate(
    x: Expr,
    size: tuple[int, ...] | None,
    scale_factor: tuple[float, ...] | None,
    mode: str,
    align_corners: bool | None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """The definition of `F.interpolate`. Raises Invalid (GC014, GC015, GC016)."""
    _check(x, mode, align_corners, antialias, recompute_scale_factor)
    out, factors = _sizes(x, size, scale_factor)
    if recompute_scale_factor and size is not None:
        msg = "recompute_scale_factor has no meaning with a size"
        raise Invalid("GC014", msg, "leave it out", "recompute_scale_factor")
    ndim = x.ndim - 2
    if mode == "area":
        return getattr(t, f"adaptive_avg_pool{ndim}d")(x, out)
    result = x
    for d in range(-1, -1 - ndim, -1):
        factor = None if recompute_scale_factor or factors is None else factors[d]
        corners = bool(align_corners)
        way = Way(mode, x.size(d), x.shape[d], out[d], factor, corners, antialias, _exact(x))
        result = _resize(result, d, way)
    return result


def _resize(x: Expr, dim: int, way: Way) -> Any:
    factor = way.factor
    # PyTorch leaves these sizes as they are, also where a factor would move the places a little.
    kept = way.mode != "bicubic" and way.mode != "nearest-exact"
    if way.size == way.out and (kept or way.antialias or factor in (None, 1.0)):
        return x
    if way.mode in ("nearest", "nearest-exact"):
        return x.index_select(dim, _nearest(way))
    places, weights = (_filtered if way.antialias else _between)(way)
    if weights.dtype is not x.dtype:
        weights = weights.to(x.dtype)
    after = (1,) * (-1 - dim)
    count = places.shape[1]
    taken = x.index_select(dim, places.flatten()).unflatten(dim, (way.out, count))
    return (taken * weights.reshape((way.out, count, *after))).sum(dim)


def _step(way: Way) -> Any:
    """How far apart the results are, in elements of the input."""
    n: Any = way.n
    if way.align_corners:
        return (n - 1) / (way.out - 1) if way.out > 1 else 0.0
    return n / way.out if way.factor is None or way.factor <= 0 else 1 / way.factor


def _exact(x: Expr) -> Any:
    """In which dtype PyTorch computes places."""
    return dtypes.float64 if x.dtype is dtypes.float64 else dtypes.float32


def _nearest(way: Way) -> Any:
    """The element whose place, in single precision whatever the input, is the last before the result's."""
    if way.mode == "nearest" and way.out == 2 * way.size:
        return t.arange(way.out).floor_divide(2)
    place = t.arange(way.out, dtype=way.exact)
    if way.mode == "nearest":
        place = place * _step(way)
    else:
        place = ((place + 0.5) * _step(way) - 0.5).clamp(min=0) + 0.5
    return place.to(dtypes.float32).floor().long().clamp(max=way.n - 1)


def _between(way: Way) -> Taps:
    """The two neighbours of each place, or the four that a cubic goes through."""
    number = t.arange(way.out, dtype=way.exact)
    step = _step(way)
    place = number * step if way.align_corners else (number + 0.5) * step - 0.5
    cubic = way.mode == "bicubic"
    if not (cubic or way.align_corners):
        place = place.clamp(min=0)
    last = way.n - 1
    first = place.floor().clamp(max=last).unsqueeze(1)
    part = (place.unsqueeze(1) - first).clamp(0, 1)
    if not cubic:
        places = t.cat((first, (first + 1).clamp(max=last)), 1)
        return Taps(places.long(), t.cat((1 - part, part), 1))
    places = (first + t.arange(-1, 3)).clamp(0, last)
    return Taps(places.long(), cubic_weights(part, -0.75))


def cubic_weights(part: Any, a: float) -> Any:
    """The weights of the elements at -1, 0, 1 and 2 for a place `part` after 0; they are the last dim."""
    u, v = part, 1 - part
    outer = [((a * (w + 1) - 5 * a) * (w + 1) + 8 * a) * (w + 1) - 4 * a for w in (u, v)]
    inner = [((a + 2) * w - (a + 3)) * w * w + 1 for w in (u, v)]
    return t.cat((outer[0], inner[0], inner[1], outer[1]), -1)


def _filtered(way: Way) -> Taps:
    """All elements under a filter as wide as the larger of the two spacings."""
    step = _step(way)
    width = max(getattr(step, "value", step), 1.0)
    reach = _REACH[way.mode] * width
    centre = ((t.arange(way.out, dtype=way.exact) + 0.5) * step).unsqueeze(1)
    first = (centre - reach + 0.5).clamp(min=0).floor()
    stop = (centre + reach + 0.5).floor().clamp(max=way.n)
    places = first + t.arange(2 * math.ceil(reach) + 1)
    distance = ((places - centre + 0.5) / width).abs()
    weights = t.where(places < stop, _FILTERS[way.mode](distance), 0.0)
    weights = weights / weights.sum(1, keepdim=True)
    return Taps(places.clamp(max=way.n - 1).long(), weights)


def _cubic(d: Any) -> Any:
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return t.where(d < 1, near, t.where(d < 2, far, 0.0))


_FILTERS: dict[str, Callable[[Any], Any]] = {
    "bilinear": lambda d: (1 - d).clamp(min=0),
    "bicubic": _cubic,
    "lanczos": lambda d: t.where(d < 3, t.sinc(d) * t.sinc(d / 3), 0.0),
}
_SIZE = "Tensor input, int[]? size=None, float[]? scale_factor=None"

register(
    f'interpolate({_SIZE}, str mode="nearest", bool? align_corners=None, '
    "bool? recompute_scale_factor=None, bool antialias=False)",
    doc="The input resized to a size or by a factor.",
    define=interpolate,
    on=("F",),
    samples=(
        Sample("F.interpolate(x, 3)", x=(2, 1, 5)),
        Sample("F.interpolate(x, scale_factor=2)", x=(1, 2, 2, 3)),
        Sample("F.interpolate(x, (3, 5, 2))", x=(1, 2, 2, 3, 4)),
        Sample("F.interpolate(i, (4, 2))", i=In((1, 2, 3, 3), 0, 9, "uint8")),
        Sample("F.interpolate(x, (4, 7), mode='nearest-exact')", x=(1, 2, 3, 3)),
        Sample("F.interpolate(x, 7, mode='linear')", x=(2, 1, 4)),
        Sample(
            "F.interpolate(x, scale_factor=1.7, mode='linear', align_corners=True)", x=(1, 2, 3)
        ),
        Sample("F.interpolate(x, (2, 6), None, 'bilinear')", x=(1, 2, 4, 4)),
        Sample("F.interpolate(x, None, (1.5, 0.6), 'bilinear', False, True)", x=(0, 1, 3, 4)),
        Sample("F.interpolate(x, (5, 1), mode='bilinear', align_corners=True)", x=(1, 1, 3, 3)),
        Sample("F.interpolate(x, (2, 3, 5), mode='trilinear')", x=(1, 1, 3, 2, 4)),
        Sample("F.interpolate(x, (5, 3), mode='bicubic')", x=(1, 2, 3, 4)),
        Sample("F.interpolate(x, scale_factor=1.2, mode='bicubic')", x=(1, 1, 4, 6)),
        Sample("F.interpolate(x, 4, mode='bicubic', align_corners=True)", x=(1, 1, 3, 4)),
        Sample("F.interpolate(x, (2, 4), mode='bilinear', antialias=True)", x=(1, 1, 5, 7)),
        Sample("F.interpolate(x, 3, None, 'bicubic', True, antialias=True)", x=(1, 1, 7, 6)),
        Sample("F.interpolate(x, (4, 8), mode='lanczos', antialias=True)", x=(1, 1, 7, 6)),
        Sample("F.interpolate(x, 2, mode='area')", x=(1, 2, 5)),
        Sample("F.interpolate(x, scale_factor=0.5, mode='area')", x=(1, 2, 5, 4)),
    ),
)
register(
    f'upsample({_SIZE}, str mode="nearest", bool? align_corners=None)',
    doc="An older name of interpolate().",
    define=interpolate,
    on=("F",),
    samples=(
        Sample("F.upsample(x, (3, 4), None, 'bilinear', True)", x=(1, 2, 2, 2)),
        Sample("F.upsample(x, scale_factor=2)", x=(1, 2, 3)),
    ),
)
register(
    f"upsample_nearest({_SIZE})",
    doc="The input resized, each element the nearest of the input.",
    define=lambda x, size, scale_factor: interpolate(x, size, scale_factor, "nearest", None),
    on=("F",),
    samples=(Sample("F.upsample_nearest(x, scale_factor=1.7)", x=(1, 2, 4, 3)),),
)
register(
    f"upsample_bilinear({_SIZE})",
    doc="The input resized with linear interpolation, its corners kept where they are.",
    define=lambda x, size, scale_factor: interpolate(x, size, scale_factor, "bilinear", True),
    on=("F",),
    samples=(Sample("F.upsample_bilinear(x, (3, 5))", x=(1, 2, 4, 3)),),
)
