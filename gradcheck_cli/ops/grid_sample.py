"""Images sampled at the places that a grid names, and the grids of affine maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import register, sizes
from gradcheck_cli.ops.interpolate import cubic_weights
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def _check(name: str, x: Expr, grid: Expr, mode: str, padding: str) -> None:
    ndim = x.ndim - 2
    if mode not in _MODES:
        msg = f"{name}() has no mode {mode!r}"
        raise Invalid("GC014", msg, "use 'bilinear', 'nearest' or 'bicubic'", "mode")
    if padding not in _PADDINGS:
        msg = f"{name}() has no padding_mode {padding!r}"
        raise Invalid("GC014", msg, "use 'zeros', 'border' or 'reflection'", "padding_mode")
    fits = grid.ndim == x.ndim and grid.shape[:1] == x.shape[:1] and grid.shape[-1:] == (ndim,)
    if ndim not in (2, 3) or not fits:
        msg = (
            f"{name}() needs an input (batch, channels, [depth,] height, width) and a grid (batch, "
            f"[depth,] height, width, 2 or 3), not shapes {x.shape} and {grid.shape}"
        )
        raise Invalid("GC015", msg, "the grid's last size is the number of coordinates", "grid")
    if mode == "bicubic" and ndim == 3:
        msg = f"mode='bicubic' is for inputs of 4 dimensions, not for shape {x.shape}"
        raise Invalid("GC015", msg, "use mode='bilinear'", "mode")
    if 0 in x.shape[2:]:
        raise Invalid("GC015", f"{name}() has nothing to sample in shape {x.shape}")
    if x.dtype is not grid.dtype or x.dtype.kind != "f":
        msg = f"{name}() needs input and grid of one floating dtype, not {x.dtype.name} and {grid.dtype.name}"
        raise Invalid("GC016", msg, f"convert one of them: grid.to({x.dtype!r})", "grid")


def grid_sample(
    name: str, x: Expr, grid: Expr, mode: str, padding: str, align_corners: bool | None
) -> Any:
    """The definition of `F.grid_sample`. Raises Invalid (GC014, GC015, GC016)."""
    _check(name, x, grid, mode, padding)
    ndim = x.ndim - 2
    corners = bool(align_corners)
    index: Any = 0
    inside: Any = None
    weights: Any = None
    for d in range(ndim):
        places, parts = _taps(grid[..., ndim - 1 - d], x, d + 2, mode, padding, corners)
        last = x.size(d + 2) - 1
        there = (places >= 0) & (places <= last)
        here = t.where(there, places, 0.0).long()
        # The elements that are mixed in every dim become dims of their own, which end up last.
        view = (*grid.shape[:-1], *(1,) * d, places.shape[-1], *(1,) * (ndim - 1 - d))
        there, here = there.reshape(view), here.reshape(view)
        index = here if d == 0 else index * x.size(d + 2) + here
        inside = there if inside is None else inside & there
        if parts is not None:
            parts = parts.reshape(view)
            weights = parts if weights is None else weights * parts
    # What lies outside is the zero put after the plane's last element.
    plane = t.pad(x.flatten(2), (0, 1))
    index = t.where(inside, index, plane.size(2) - 1).flatten(1).unsqueeze(1)
    taken = plane.gather(2, index.expand((index.size(0), plane.size(1), index.size(2))))
    shape = (x.size(0), x.size(1), *(grid.size(d) for d in range(1, ndim + 1)))
    if weights is None:
        return taken.reshape(shape)
    weights = weights.flatten(-ndim)
    return (taken.reshape((*shape, weights.size(-1))) * weights.unsqueeze(1)).sum(-1)


def _taps(place: Any, x: Expr, dim: int, mode: str, padding: str, corners: bool) -> Any:
    """The elements of a dim that are mixed at each place, as whole numbers, and their weights."""
    n: Any = x.size(dim)
    place = (place + 1) * ((n - 1) / 2) if corners else (place + 1) * (n / 2) - 0.5
    if mode == "bicubic":
        first = place.floor()
        around = first.unsqueeze(-1) + t.arange(-1, 3)
        weights = cubic_weights((place - first).unsqueeze(-1), -0.75)
        return _moved_inside(around.detach(), x, dim, padding, corners), weights
    place = _moved_inside(place, x, dim, padding, corners)
    if mode == "nearest":
        return place.detach().round().unsqueeze(-1), None
    first = place.floor()
    part = (place - first).unsqueeze(-1)
    return first.unsqueeze(-1) + t.arange(2), t.cat((1 - part, part), -1)


def _moved_inside(place: Any, x: Expr, dim: int, padding: str, corners: bool) -> Any:
    """Places brought between the first and the last element: clipped there, or reflected first."""
    if padding == "zeros":
        return place
    n, size = x.size(dim), x.shape[dim]
    if padding == "reflection":
        if corners and size == 1:
            return t.zeros_like(place)
        # Back and forth between the edges: a triangle wave.
        edge, span = (0.0, n - 1) if corners else (-0.5, n)
        place = (span + edge) - (span - (place - edge).remainder(2 * span)).abs()
    # As in PyTorch: NaN is the first element, and there is no gradient at the first and the last one.
    return t.hardtanh(t.nan_to_num(place, nan=0.0), 0.0, float(size - 1))


_SQUARE = In((2, 3, 2, 2), -1.3, 1.3)
_CUBE = In((1, 2, 1, 3, 3), -1.3, 1.3)

register(
    'grid_sample(Tensor input, Tensor grid, str mode="bilinear", str padding_mode="zeros", '
    "bool? align_corners=None)",
    doc="The input at the places that a grid names, from -1 to 1 in each dimension, its neighbours mixed.",
    define=lambda x, grid, mode, padding_mode, align_corners: grid_sample(
        "grid_sample", x, grid, mode, padding_mode, align_corners
    ),
    on=("F",),
    samples=(
        *(
            Sample(
                f"F.grid_sample(x, y, {mode!r}, {padding!r}, {corners})", x=(2, 2, 4, 3), y=_SQUARE
            )
            for mode in _MODES
            for padding in _PADDINGS
            for corners in ((False, True) if mode == "bilinear" else (padding == "border",))
        ),
        Sample("F.grid_sample(x, y, align_corners=False)", x=(1, 2, 2, 3, 4), y=_CUBE),
        Sample("F.grid_sample(x, y, 'bilinear', 'reflection', True)", x=(1, 2, 2, 3, 1), y=_CUBE),
        Sample("F.grid_sample(x, y, 'nearest', 'border', False)", x=(1, 1, 2, 3, 4), y=_CUBE),
        Sample("F.grid_sample(x, y, align_corners=True)", x=(0, 2, 3, 3), y=(0, 2, 1, 2)),
    ),
)


def _sampler(name: str, ndim: int | None) -> Any:
    def define(
        x: Expr, grid: Expr, interpolation_mode: int, padding_mode: int, align_corners: bool
    ) -> Any:
        mode, padding = interpolation_mode, padding_mode
        if ndim is not None and x.ndim != ndim + 2:
            msg = f"{name}() needs an input of {ndim + 2} dimensions, not one of shape {x.shape}"
            raise Invalid("GC015", msg, argument="input")
        if not (0 <= mode <= 2 and 0 <= padding <= 2):
            msg = f"the modes of {name}() are numbered 0 to 2, not {mode} and {padding}"
            raise Invalid("GC014", msg, "F.grid_sample() has names for them", "interpolation_mode")
        return grid_sample(name, x, grid, _MODES[mode], _PADDINGS[padding], align_corners)

    return define


for _name, _ndim in (("grid_sampler", None), ("grid_sampler_2d", 2), ("grid_sampler_3d", 3)):
    register(
        f"{_name}(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, "
        "bool align_corners)",
        doc="grid_sample() with numbers for its modes.",
        define=_sampler(_name, _ndim),
        on=("torch",),
        samples=(
            Sample(f"torch.{_name}(x, y, 0, 2, False)", x=(1, 2, 2, 3, 4), y=_CUBE)
            if _ndim == 3
            else Sample(f"torch.{_name}(x, y, 2, 1, True)", x=(2, 2, 4, 3), y=_SQUARE),
        ),
    )


def _base(size: Any, dtype: Any, *, corners: bool) -> Any:
    """The coordinates of the elements of a dim, from -1 to 1: at the elements, or at their outer edges."""
    if sizes((size,))[0] <= 1:
        return t.zeros(1, dtype=dtype)
    line = t.linspace(-1.0, 1.0, size, dtype=dtype)
    return line if corners else line * ((size - 1) / size)


def _affine_grid(theta: Expr, size: Sequence[Any], align_corners: bool | None) -> Any:
    known = sizes(size)
    ndim = len(known) - 2
    if ndim not in (2, 3):
        msg = f"affine_grid() needs a size of 4 or 5 numbers, not {known}"
        raise Invalid("GC014", msg, "(batch, channels, height, width)", "size")
    if theta.shape != (known[0], ndim, ndim + 1):
        msg = f"affine_grid() to size {known} needs matrices {(known[0], ndim, ndim + 1)}, not {theta.shape}"
        raise Invalid("GC015", msg, "an affine map is a matrix and a column to add", "theta")
    if min(known) < 1:
        raise Invalid("GC014", f"the sizes of affine_grid() are positive, not {known}")
    if theta.dtype.kind != "f":
        msg = f"affine_grid() needs a floating-point tensor, not {theta.dtype.name}"
        raise Invalid("GC016", msg, "give theta a floating dtype")
    shape = tuple(size[2:])
    corners = bool(align_corners)
    lines = []
    for d in range(ndim - 1, -1, -1):
        line = _base(shape[d], theta.dtype, corners=corners)
        lines.append(line.reshape((-1, *(1,) * (ndim - 1 - d))).expand(shape))
    points = t.stack((*lines, t.ones(shape, dtype=theta.dtype)), -1).flatten(0, -2)
    return (points @ theta.transpose(1, 2)).reshape((theta.size(0), *shape, ndim))


for _name, _corners, _places in (
    ("affine_grid", "bool? align_corners=None", ("F",)),
    ("affine_grid_generator", "bool align_corners", ("torch",)),
):
    register(
        f"{_name}(Tensor theta, size size, {_corners})",
        doc="Where affine maps send the elements of an image, as a grid for grid_sample().",
        define=_affine_grid,
        on=_places,
        samples=(
            Sample(f"{_places[0]}.{_name}(x, (2, 1, 3, 4), align_corners=False)", x=(2, 2, 3)),
            Sample(f"{_places[0]}.{_name}(x, (1, 2, 2, 1, 3), align_corners=True)", x=(1, 3, 4)),
        ),
    )
