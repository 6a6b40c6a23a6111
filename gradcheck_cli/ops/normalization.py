"""Normalisation over the last dimensions: layer and RMS normalisation.

Each is the standardised input, which has a kernel and a short rule, times a weight plus a bias, which are
ordinary products and sums behind it. The rule (Ioffe and Szegedy 2015, section 3, in the form of Ba et
al. 2016): with `out` the standardised input, the gradient is what remains of the upstream one after its
mean, and its part along `out`, are taken out. Normalisation by channels is in `channel_norm.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, Op, Sample, Type, make
from gradcheck_cli.ops._common import register, require_floating, sizes
from gradcheck_cli.schema import Invalid


def _normalized_dims(name: str, input: Expr, normalized_shape: Any) -> tuple[int, ...]:
    """The trailing dimensions that a normalisation goes over. Raises Invalid (GC014, GC015)."""
    wanted = sizes(normalized_shape)
    if not wanted:
        msg = f"{name}() needs at least one dimension to normalise over"
        raise Invalid("GC014", msg, "give the sizes of the last dimensions", "normalized_shape")
    if input.shape[-len(wanted) :] != wanted:
        msg = f"{name}() over {wanted} doesn't fit the last dimensions of the shape {input.shape}"
        raise Invalid("GC015", msg, "give the sizes of the last dimensions", "normalized_shape")
    require_floating(input, name)
    return tuple(range(-len(wanted), 0))


def affine(
    name: str,
    x: Expr,
    shape: tuple[int, ...],
    weight: Expr | None,
    bias: Expr | None,
    after: int = 0,
) -> Expr:
    """`x * weight + bias`, both of `shape`, with `after` more dimensions of `x` behind theirs."""
    for parameter, label in ((weight, "weight"), (bias, "bias")):
        if parameter is not None:
            fits(name, parameter, label, shape, x)
    if weight is not None:
        x = x * unsqueezed(weight, after)
    return x if bias is None else x + unsqueezed(bias, after)


def fits(name: str, parameter: Expr, label: str, shape: tuple[int, ...], input: Expr) -> None:
    """Refuse a parameter of another shape than `shape`, or another dtype than the input's."""
    if parameter.shape != shape:
        msg = (
            f"{name}() of an input of shape {input.shape} needs a `{label}` of shape {shape}, not "
            f"{parameter.shape}"
        )
        raise Invalid("GC015", msg, argument=label)
    if parameter.dtype is not input.dtype:
        msg = f"{name}() got a `{label}` of {parameter.dtype.name} for {input.dtype.name}"
        raise Invalid("GC016", msg, "give both the same dtype", label)


def unsqueezed(x: Expr, count: int) -> Expr:
    for _ in range(count):
        x = x.unsqueeze(-1)
    return x


def mean(x: Any, dims: tuple[int, ...]) -> Any:
    """The mean with its dimensions kept; NaN without NumPy's warning where there is nothing."""
    total = np.sum(x, axis=dims, keepdims=True)
    return total / (np.size(x) // max(np.size(total), 1))


def standardized(x: Any, dims: tuple[int, ...], eps: float) -> Any:
    centred = x - mean(x, dims)
    return centred / np.sqrt(mean(centred * centred, dims) + eps)


def standardized_vjp(g: Expr, out: Expr, x: Expr, dims: tuple[int, ...], eps: float) -> Expr:
    scale: Expr = (x.var(dims, correction=0, keepdim=True) + eps).rsqrt()
    inner: Expr = g - g.mean(dims, keepdim=True) - out * (g * out).mean(dims, keepdim=True)
    return scale * inner


def standardized_definition(x: Expr, dims: tuple[int, ...], eps: float) -> Expr:
    scale: Expr = (x.var(dims, correction=0, keepdim=True) + eps).rsqrt()
    centred: Expr = x - x.mean(dims, keepdim=True)
    return centred * scale


def _layer_norm(
    input: Expr, weight: Expr | None, bias: Expr | None, normalized_shape: Any, eps: float
) -> Expr:
    _normalized_dims("layer_norm", input, normalized_shape)
    shape = sizes(normalized_shape)
    normal = make(LAYER_NORM, (input,), {"normalized_shape": normalized_shape, "eps": eps})
    return affine("layer_norm", normal, shape, weight, bias)


def _last(normalized_shape: Any) -> tuple[int, ...]:
    return tuple(range(-len(normalized_shape), 0))


register(
    "layer_norm(Tensor input, size normalized_shape, Tensor? weight=None, Tensor? bias=None, "
    "float eps=1e-5)",
    doc="Layer normalisation: mean 0 and variance 1 over the last dimensions, then weight and bias.",
    define=_layer_norm,
    on=("torch", "F"),
    samples=(
        Sample("F.layer_norm(x, [4], w, b)", x=(3, 4), w=(4,), b=(4,)),
        # PyTorch's second derivative fails for a bias without a weight.
        Sample("F.layer_norm(x, (3, 4), bias=b)", x=(2, 3, 4), b=(3, 4), second=False),
        Sample("torch.layer_norm(x, x.shape[-1:], w, eps=0.1)", x=(3, 4), w=(4,)),
        Sample("F.layer_norm(x, (4,), w)", x=(0, 4), w=(4,)),
    ),
)
# The part of layer_norm without parameters, which is what stands in a graph: weight and bias are a
# product and a sum behind it.
LAYER_NORM: Op = register(
    "layer_norm.plain(Tensor input, size normalized_shape, *, float eps=1e-5)",
    doc="Layer normalisation without weight and bias.",
    infer=lambda input, normalized_shape, eps: Type(
        input.shape if _normalized_dims("layer_norm", input, normalized_shape) else (), input.dtype
    ),
    kernel=lambda x, normalized_shape, eps: standardized(x, _last(normalized_shape), eps),
    vjp=lambda g, out, x, normalized_shape, eps: standardized_vjp(
        g, out, x, _last(normalized_shape), eps
    ),
    fused=lambda input, normalized_shape, eps: standardized_definition(
        input, _last(normalized_shape), eps
    ),
    define=lambda input, normalized_shape, eps: standardized_definition(
        input, _last(normalized_shape), eps
    ),
    on=("torch", "F"),
    analytic=True,
    samples=(
        Sample("F.layer_norm(x, (4,))", x=(3, 4)),
        Sample("F.layer_norm(x, (x.size(1), 2), eps=1e-3)", x=(2, 3, 2)),
        Sample("F.layer_norm(x, (3,))", x=(3,)),
        Sample("F.layer_norm(x, (0,))", x=(2, 0)),
    ),
)


register(
    "layer_norm.cudnn(Tensor input, size normalized_shape, Tensor? weight=None, Tensor? bias=None, "
    "float eps=1e-5, bool cudnn_enable=True)",
    doc="Layer normalisation as torch has it; which library computes it makes no difference here.",
    define=lambda input, weight, bias, normalized_shape, eps, cudnn_enable: _layer_norm(
        input, weight, bias, normalized_shape, eps
    ),
    on=("torch",),
    samples=(Sample("torch.layer_norm(x, (4,), w, b, 1e-3, False)", x=(3, 4), w=(4,), b=(4,)),),
)


def _native_layer_norm(
    input: Expr, weight: Expr | None, bias: Expr | None, normalized_shape: Any, eps: float
) -> tuple[Expr, Expr, Expr]:
    result = _layer_norm(input, weight, bias, normalized_shape, eps)
    return (result, *statistics(input, _last(normalized_shape), eps))


def statistics(x: Expr, dims: tuple[int, ...], eps: float) -> tuple[Expr, Expr]:
    """Mean and reciprocal standard deviation, through which PyTorch lets no gradient flow."""
    held = x.detach()
    average: Expr = held.mean(dims, keepdim=True)
    scale: Expr = (held.var(dims, correction=0, keepdim=True) + eps).rsqrt()
    return average, scale


# PyTorch's second derivative fails for a bias without a weight.
register(
    "native_layer_norm(Tensor input, size normalized_shape, Tensor? weight, Tensor? bias, float eps)",
    doc="Layer normalisation, with the mean and the reciprocal standard deviation as constants.",
    define=_native_layer_norm,
    on=("torch",),
    samples=(
        Sample("torch.native_layer_norm(x, (4,), w, b, 1e-5)[0]", x=(3, 4), w=(4,), b=(4,)),
        Sample("torch.native_layer_norm(x, (3, 2), None, None, 0.1)[1]", x=(2, 3, 2), grad=False),
        Sample("torch.native_layer_norm(x, [4], w, None, 0.1)[2] * w", x=(3, 4), w=(4,)),
    ),
)


def _rms_norm(input: Expr, weight: Expr | None, normalized_shape: Any, eps: float | None) -> Expr:
    _normalized_dims("rms_norm", input, normalized_shape)
    if eps is None:
        eps = 2.0**-7 if input.dtype.name == "bfloat16" else float(np.finfo(input.dtype.name).eps)
    normal: Expr = make(RMS_NORM, (input,), {"normalized_shape": normalized_shape, "eps": eps})
    if weight is None:
        return normal
    if weight.shape != sizes(normalized_shape):
        msg = f"rms_norm() needs a `weight` of shape {sizes(normalized_shape)}, not {weight.shape}"
        raise Invalid("GC015", msg, argument="weight")
    result: Expr = normal * weight
    return result if result.dtype is input.dtype else result.to(input.dtype)


def _rms_norm_vjp(g: Expr, out: Expr, x: Expr, normalized_shape: Any, eps: float) -> Expr:
    dims = _last(normalized_shape)
    scale: Expr = (x.square().mean(dims, keepdim=True) + eps).rsqrt()
    inner: Expr = g - out * (g * out).mean(dims, keepdim=True)
    return scale * inner


register(
    "rms_norm(Tensor input, size normalized_shape, Tensor? weight=None, float? eps=None)",
    doc="The input over its root mean square along the last dimensions, times the weight.",
    define=_rms_norm,
    on=("torch", "F"),
    samples=(
        Sample("F.rms_norm(x, [4], w, 1e-6)", x=(3, 4), w=(4,)),
        Sample("F.rms_norm(x, (3, 4))", x=(2, 3, 4)),
        Sample("torch.rms_norm(x, x.shape[-1:], weight=w)", x=(3, 4), w=(4,)),
        Sample("F.rms_norm(x, (4,), eps=1e-3)", x=(0, 4)),
    ),
)
RMS_NORM: Op = register(
    "rms_norm.plain(Tensor input, size normalized_shape, *, float eps)",
    doc="The input over its root mean square along the last dimensions.",
    infer=lambda input, normalized_shape, eps: Type(
        input.shape if _normalized_dims("rms_norm", input, normalized_shape) else (), input.dtype
    ),
    kernel=lambda x, normalized_shape, eps: x / np.sqrt(mean(x * x, _last(normalized_shape)) + eps),
    vjp=_rms_norm_vjp,
    fused=lambda input, normalized_shape, eps: (
        input * (input.square().mean(_last(normalized_shape), keepdim=True) + eps).rsqrt()
    ),
    define=lambda input, normalized_shape, eps: (
        input * (input.square().mean(_last(normalized_shape), keepdim=True) + eps).rsqrt()
    ),
    on=("torch", "F"),
    analytic=True,
    samples=(
        Sample("F.rms_norm(x, (4,), eps=0.1)", x=(3, 4)),
        Sample("F.rms_norm(x, (3, x.size(-1)), eps=1e-6)", x=(2, 3, 2)),
        Sample("F.rms_norm(x, (0,), eps=1e-6)", x=(2, 0)),
    ),
)
