"""Channels made pixels, pixels made channels, and channels dealt out anew among groups."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, Sample, Type, t
from gradcheck_cli.ops._common import as_tensor, register
from gradcheck_cli.schema import Invalid


def _image(name: str, x: Expr, factor: int, argument: str) -> None:
    if x.ndim < 3:
        msg = f"{name}() needs an input (..., channels, height, width), not one of shape {x.shape}"
        raise Invalid("GC015", msg, "unsqueeze() adds a dimension of size 1", "input")
    if factor < 1:
        raise Invalid("GC014", f"{name}() by {factor}: the factor is positive", None, argument)


def _pixel_shuffle(x: Expr, upscale_factor: int) -> Type:
    _image("pixel_shuffle", x, upscale_factor, "upscale_factor")
    r = upscale_factor
    *batch, channels, height, width = x.shape
    if channels % r**2:
        msg = f"pixel_shuffle() by {r} needs a multiple of {r**2} channels, not shape {x.shape}"
        raise Invalid("GC015", msg, "the channels are the third-last dimension", "input")
    return Type((*batch, channels // r**2, height * r, width * r), x.dtype)


def _shuffled(x: Any, upscale_factor: int) -> Any:
    r = upscale_factor
    *batch, channels, height, width = x.shape
    apart = x.reshape(*batch, channels // r**2, r, r, height, width)
    c = len(batch)
    order = (*range(c + 1), c + 3, c + 1, c + 4, c + 2)
    return apart.transpose(order).reshape(*batch, channels // r**2, height * r, width * r)


def _pixel_shuffle_definition(input: Expr, upscale_factor: int) -> Expr:
    r, c = upscale_factor, input.ndim - 3
    apart = input.unflatten(c, (-1, r, r))  # (..., channels, r, r, height, width)
    order = (*range(c + 1), c + 3, c + 1, c + 4, c + 2)
    return apart.permute(order).flatten(-4, -3).flatten(-2, -1)  # type: ignore[no-any-return]


def _pixel_unshuffle(x: Expr, downscale_factor: int) -> Type:
    _image("pixel_unshuffle", x, downscale_factor, "downscale_factor")
    r = downscale_factor
    *batch, channels, height, width = x.shape
    if height % r or width % r:
        msg = (
            f"pixel_unshuffle() by {r} needs multiples of {r} as height and width: shape {x.shape}"
        )
        raise Invalid("GC015", msg, "crop or pad the images", "input")
    return Type((*batch, channels * r**2, height // r, width // r), x.dtype)


def _gathered(x: Any, downscale_factor: int) -> Any:
    r = downscale_factor
    *batch, channels, height, width = x.shape
    apart = x.reshape(*batch, channels, height // r, r, width // r, r)
    c = len(batch)
    order = (*range(c + 1), c + 2, c + 4, c + 1, c + 3)
    return apart.transpose(order).reshape(*batch, channels * r**2, height // r, width // r)


def _pixel_unshuffle_definition(input: Expr, downscale_factor: int) -> Expr:
    r, c = downscale_factor, input.ndim - 3
    # To (..., channels, height, r, width, r), and from there with both r beside the channels.
    apart = input.unflatten(-1, (-1, r)).unflatten(-3, (-1, r))
    order = (*range(c + 1), c + 2, c + 4, c + 1, c + 3)
    return apart.permute(order).flatten(c, c + 2)  # type: ignore[no-any-return]


def _channel_shuffle(x: Expr, groups: int) -> Any:
    if x.ndim < 3:
        msg = f"channel_shuffle() needs an input (batch, channels, ...), not one of shape {x.shape}"
        raise Invalid("GC015", msg, "unsqueeze() adds a dimension of size 1", "input")
    if groups < 1:
        msg = f"channel_shuffle() needs at least one group, not {groups}"
        raise Invalid("GC014", msg, None, "groups")
    if x.shape[1] % groups:
        msg = (
            f"channel_shuffle() can't make {groups} equal groups of the channels of shape {x.shape}"
        )
        raise Invalid("GC015", msg, "the channels are dimension 1", "groups")
    return x.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


register(
    "pixel_shuffle(Tensor input, int upscale_factor)",
    doc="Channels dealt out as pixels: (..., C r r, H, W) becomes (..., C, H r, W r).",
    infer=_pixel_shuffle,
    kernel=lambda x, upscale_factor: _shuffled(np.asarray(x), upscale_factor),
    vjp=lambda g, out, x, upscale_factor: t.pixel_unshuffle(as_tensor(g, out), upscale_factor),
    define=_pixel_shuffle_definition,
    analytic=True,
    on=("torch", "F"),
    samples=(
        Sample("F.pixel_shuffle(x, 2)", x=(1, 8, 2, 3)),
        Sample("torch.pixel_shuffle(x, upscale_factor=3)", x=(9, 1, 2)),
        Sample("F.pixel_shuffle(x, 1)", x=(2, 2, 2)),
        # PyTorch has no gradient of the right shape for an empty batch.
        Sample("F.pixel_shuffle(x, 2)", x=(0, 4, 1, 2), grad=False),
    ),
)
register(
    "pixel_unshuffle(Tensor input, int downscale_factor)",
    doc="Pixels gathered as channels: (..., C, H r, W r) becomes (..., C r r, H, W).",
    infer=_pixel_unshuffle,
    kernel=lambda x, downscale_factor: _gathered(np.asarray(x), downscale_factor),
    vjp=lambda g, out, x, downscale_factor: t.pixel_shuffle(as_tensor(g, out), downscale_factor),
    define=_pixel_unshuffle_definition,
    analytic=True,
    on=("torch", "F"),
    samples=(
        Sample("F.pixel_unshuffle(x, 2)", x=(1, 2, 4, 2)),
        Sample("torch.pixel_unshuffle(x, downscale_factor=3)", x=(1, 3, 6)),
        Sample("F.pixel_unshuffle(x, 2)", x=(2, 1, 3, 2, 4)),
    ),
)
register(
    "channel_shuffle(Tensor input, int groups)",
    doc="The channels dealt out anew: one of each group, then the next of each.",
    define=_channel_shuffle,
    on=("torch", "F"),
    samples=(
        Sample("F.channel_shuffle(x, 2)", x=(1, 6, 2)),
        Sample("torch.channel_shuffle(x, groups=3)", x=(2, 6, 1, 2)),
    ),
)
