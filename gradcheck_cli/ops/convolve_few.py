"""Convolutions of few elements: sizes settled beforehand, then a handful of NumPy calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import concrete
from gradcheck_cli.ops._common import FEW
from gradcheck_cli.ops.convolve import one_block, view
from gradcheck_cli.ops.windows import extent, inside, spread

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.graph import Expr, Shape

    Kernel = Callable[..., Any] | None


def convolution(ndim: int, node: Expr) -> Kernel:
    """`convolve` for a batch, or None where it isn't that small."""
    x, weight, bias = node.args
    assert x is not None
    assert weight is not None
    if x.ndim != ndim + 2 or not _alike(node):
        return None
    run = _convolution(x.shape, weight.shape, node.dtype.numpy, **concrete(node.attrs))
    if run is None or bias is None:
        return run
    channels = (-1, *[1] * ndim)
    plain: Callable[..., Any] = run

    def with_bias(x: Any, weight: Any, bias: Any) -> Any:
        out = plain(x, weight)
        out += bias.reshape(channels)
        return out

    return with_bias


def weight_gradient(ndim: int, node: Expr) -> Kernel:
    """The kernel of the same name, likewise."""
    x = node.inputs[0]
    attributes = concrete(node.attrs)
    weight = tuple(attributes.pop("weight_size"))
    if x.ndim != ndim + 2 or not _alike(node):
        return None
    found = one_block(x.shape, weight, node.dtype.numpy.itemsize, **attributes)
    if found is None:
        return None
    at, block = found
    pad = _padding(x.shape, at.wide, at.padding, node.dtype.numpy)
    results = (at.groups, at.results, -1)

    def run(x: Any, grad: Any) -> Any:
        columns = view(pad(x), block.windows).reshape(block.columns)[0, 0]
        upstream = view(np.ascontiguousarray(grad), block.results)[0, 0].reshape(results)
        return np.matmul(upstream, columns.swapaxes(1, 2)).reshape(weight)

    return run


def input_gradient(ndim: int, node: Expr) -> Kernel:
    """The kernel of the same name, where windows move by 1: a convolution with the turned weight."""
    weight, grad = node.inputs
    attributes = concrete(node.attrs)
    size = tuple(attributes.pop("input_size"))
    if len(size) != ndim + 2 or not _alike(node) or max(attributes["stride"]) > 1:
        return None
    groups = attributes["groups"]
    dilation = spread(attributes["dilation"], ndim)
    padding = spread(attributes["padding"], ndim)
    spans = extent(weight.shape[2:], dilation)
    margins = tuple(span - 1 - p for span, p in zip(spans, padding, strict=True))
    if min(margins) < 0:
        return None
    results, channels, kernel = weight.shape[0] // groups, weight.shape[1], weight.shape[2:]
    turned = (groups * channels, results, *kernel)
    window = {**attributes, "padding": margins}
    run = _convolution(grad.shape, turned, node.dtype.numpy, **window)
    if run is None:
        return None
    plain: Callable[..., Any] = run
    backwards = (..., *[slice(None, None, -1)] * ndim)
    grouped = (groups, results, channels, *kernel)
    return lambda weight, grad: plain(
        grad, weight.reshape(grouped).swapaxes(1, 2)[backwards].reshape(turned)
    )


def _alike(node: Expr) -> bool:
    """Whether all arrays are of the result's type, and few."""
    return node.elements < FEW and all(
        arg.dtype is node.dtype and arg.elements < FEW for arg in node.inputs
    )


def _padding(size: Shape, wide: Shape, padding: Shape, dtype: Any) -> Callable[[Any], Any]:
    """The function that puts an image between its margins, contiguous in any case."""
    if wide == size[2:]:
        return np.ascontiguousarray
    shape, key = (*size[:2], *wide), (slice(None), slice(None), *inside(padding, size[2:]))

    def pad(x: Any) -> Any:
        out = np.zeros(shape, dtype)
        out[key] = x
        return out

    return pad


def _convolution(size: Shape, weight: Shape, dtype: Any, **window: Any) -> Kernel:
    found = one_block(size, weight, dtype.itemsize, **window)
    if found is None:
        return None
    at, block = found
    pad = _padding(size, at.wide, at.padding, dtype)
    filters = (at.groups, at.results, at.inner)
    whole = (at.images, at.groups * at.results, *at.out)
    shape = block.results[0]

    def run(x: Any, weight: Any, _bias: None = None) -> Any:
        columns = view(pad(x), block.windows).reshape(block.columns)
        found = np.matmul(weight.reshape(filters), columns)
        if at.images == 1:
            return found.reshape(whole)
        out = np.empty(whole, dtype)
        np.copyto(view(out, block.results), found.reshape(shape))
        return out

    return run
