"""Normalisation layers: layer, RMS, batch, group and instance normalisation.

Each is the standardised input, which has a kernel and a short rule, times a weight plus a bias, which are
ordinary products and sums behind it. The rule (Ioffe and Szegedy 2015, section 3, in the form of Ba et
al. 2016): with `out` the standardised input, the gradient is what remains of the upstream one after its
mean, and its part along `out`, are taken out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Op, Sample, Type, concrete, make
from gradcheck_cli.ops._common import register, require_floating
from gradcheck_cli.schema import Invalid


def _normalized_dims(name: str, input: Expr, normalized_shape: Any) -> tuple[int, ...]:
    """The trailing dimensions that a normalisation goes over. Raises Invalid (GC014, GC015)."""
    wanted = concrete([("shape", normalized_shape)])["shape"]
    if not wanted:
        msg = f"{name}() needs at least one dimension to normalise over"
        raise Invalid("GC014", msg, "give the sizes of the last dimensions", "normalized_shape")
    if input.shape[-len(wanted) :] != wanted:
        msg = f"{name}() over {wanted} doesn't fit the last dimensions of the shape {input.shape}"
        raise Invalid("GC015", msg, "give the sizes of the last dimensions", "normalized_shape")
    require_floating(input, name)
    return tuple(range(-len(wanted), 0))


def _affine(
    name: str,
    x: Expr,
    shape: tuple[int, ...],
    weight: Expr | None,
    bias: Expr | None,
    after: int = 0,
) -> Expr:
    """`x * weight + bias`, both of `shape`, with `after` more dimensions of `x` behind theirs."""
    for parameter, label in ((weight, "weight"), (bias, "bias")):
        if parameter is not None and parameter.shape != shape:
            msg = f"{name}() needs a {label} of shape {shape}, not {parameter.shape}"
            raise Invalid("GC015", msg, argument=label)
    if weight is not None:
        x = x * _unsqueezed(weight, after)
    return x if bias is None else x + _unsqueezed(bias, after)


def _unsqueezed(x: Expr, count: int) -> Expr:
    for _ in range(count):
        x = x.unsqueeze(-1)
    return x


def _mean(x: Any, dims: tuple[int, ...]) -> Any:
    """The mean with its dimensions kept; NaN without NumPy's warning where there is nothing."""
    total = np.sum(x, axis=dims, keepdims=True)
    return total / (np.size(x) // max(np.size(total), 1))


def _standardized(x: Any, dims: tuple[int, ...], eps: float) -> Any:
    centred = x - _mean(x, dims)
    return centred / np.sqrt(_mean(centred * centred, dims) + eps)


def _standardized_vjp(g: Expr, out: Expr, x: Expr, dims: tuple[int, ...], eps: float) -> Expr:
    scale: Expr = (x.var(dims, correction=0, keepdim=True) + eps).rsqrt()
    inner: Expr = g - g.mean(dims, keepdim=True) - out * (g * out).mean(dims, keepdim=True)
    return scale * inner


def _standardized_definition(x: Expr, dims: tuple[int, ...], eps: float) -> Expr:
    scale: Expr = (x.var(dims, correction=0, keepdim=True) + eps).rsqrt()
    centred: Expr = x - x.mean(dims, keepdim=True)
    return centred * scale


def _layer_norm(
    input: Expr, weight: Expr | None, bias: Expr | None, normalized_shape: Any, eps: float
) -> Expr:
    _normalized_dims("layer_norm", input, normalized_shape)
    shape = concrete([("shape", normalized_shape)])["shape"]
    for parameter in (weight, bias):
        if parameter is not None and parameter.dtype is not input.dtype:
            msg = f"layer_norm() got a parameter of {parameter.dtype.name} for {input.dtype.name}"
            raise Invalid("GC016", msg, "give both the same dtype")
    normal = make(LAYER_NORM, (input,), {"normalized_shape": normalized_shape, "eps": eps})
    return _affine("layer_norm", normal, shape, weight, bias)


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
    kernel=lambda x, normalized_shape, eps: _standardized(x, _last(normalized_shape), eps),
    vjp=lambda g, out, x, normalized_shape, eps: _standardized_vjp(
        g, out, x, _last(normalized_shape), eps
    ),
    fused=lambda input, normalized_shape, eps: _standardized_definition(
        input, _last(normalized_shape), eps
    ),
    define=lambda input, normalized_shape, eps: _standardized_definition(
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


def _rms_norm(input: Expr, weight: Expr | None, normalized_shape: Any, eps: float | None) -> Expr:
    _normalized_dims("rms_norm", input, normalized_shape)
    shape = concrete([("shape", normalized_shape)])["shape"]
    if eps is None:
        eps = 2.0**-7 if input.dtype.name == "bfloat16" else float(np.finfo(input.dtype.name).eps)
    normal = make(RMS_NORM, (input,), {"normalized_shape": normalized_shape, "eps": eps})
    result = _affine("rms_norm", normal, shape, weight, None)
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
    kernel=lambda x, normalized_shape, eps: (
        x / np.sqrt(_mean(x * x, _last(normalized_shape)) + eps)
    ),
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


def _channels(name: str, input: Expr) -> tuple[int, ...]:
    """The shape of per-channel parameters. Raises Invalid (GC015, GC016)."""
    if input.ndim < 2:
        msg = f"{name}() needs at least two dimensions, not the shape {input.shape}"
        raise Invalid("GC015", msg, "the input is (batch, channels, ...)", "input")
    require_floating(input, name)
    return input.shape[1:2]


def _batch_dims(ndim: int) -> tuple[int, ...]:
    return (0, *range(2, ndim))


def _several(name: str, shape: tuple[int, ...], counted: tuple[int, ...]) -> None:
    """Statistics need more than one value. Raises Invalid (GC015)."""
    count = 1
    for size in counted:
        count *= size
    if count == 1:
        msg = f"{name}() needs more than one value for each mean, which the shape {shape} doesn't have"
        raise Invalid("GC015", msg, "the variance of one value is 0")


def _with_statistics(
    input: Expr, mean: Expr | None, var: Expr | None, eps: float, name: str
) -> Expr:
    """The input standardised with given statistics, one of each per channel."""
    shape = _channels(name, input)
    for argument, label in ((mean, "running_mean"), (var, "running_var")):
        if argument is None:
            msg = f"{name}() without batch statistics needs `{label}`"
            raise Invalid("GC014", msg, "give running_mean and running_var", label)
        if argument.shape != shape:
            msg = f"{name}() needs a {label} of shape {shape}, not {argument.shape}"
            raise Invalid("GC015", msg, argument=label)
    assert mean is not None
    assert var is not None
    after = input.ndim - 2
    return (input - _unsqueezed(mean, after)) * (_unsqueezed(var, after) + eps).rsqrt()  # type: ignore[no-any-return]


def _no_running(name: str, *statistics: Expr | None) -> None:
    if any(s is not None for s in statistics):
        msg = f"{name}() with batch statistics would update its running ones in place"
        raise Invalid("GC018", msg, "give None for them: they don't change the result")


def _batch_norm(
    input: Expr,
    running_mean: Expr | None,
    running_var: Expr | None,
    weight: Expr | None,
    bias: Expr | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Expr:
    shape = _channels("batch_norm", input)
    if training:
        _no_running("batch_norm", running_mean, running_var)
        if eps <= 0:
            msg = f"batch_norm() needs a positive eps in training, not {eps}"
            raise Invalid("GC014", msg, argument="eps")
        normal = make(BATCH_NORM, (input, None, None), {"training": True, "eps": eps})
    else:
        normal = _with_statistics(input, running_mean, running_var, eps, "batch_norm")
    return _affine("batch_norm", normal, shape, weight, bias, input.ndim - 2)


def _batch_norm_type(input: Expr, mean: None, var: None, training: bool, eps: float) -> Type:
    _channels("batch_norm", input)
    _several("batch_norm", input.shape, (input.shape[0], *input.shape[2:]))
    return Type(input.shape, input.dtype)


register(
    "batch_norm(Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight=None, "
    "Tensor? bias=None, bool training=False, float momentum=0.1, float eps=1e-5)",
    doc="Batch normalisation: each channel with mean 0 and variance 1 over the batch.",
    define=_batch_norm,
    on=("F",),
    samples=(
        Sample("F.batch_norm(x, None, None, w, b, training=True)", x=(5, 3), w=(3,), b=(3,)),
        Sample("F.batch_norm(x, None, None, w, b, True, eps=0.1)", x=(2, 3, 4), w=(3,), b=(3,)),
        Sample(
            "F.batch_norm(x, m.detach(), v.detach(), w)",
            x=(2, 3, 4),
            m=(3,),
            v=In((3,), 0.5, 2.0),
            w=(3,),
        ),
    ),
)
BATCH_NORM: Op = register(
    "batch_norm.plain(Tensor input, Tensor? running_mean, Tensor? running_var, *, bool training, "
    "float eps=1e-5)",
    doc="Batch normalisation in training, without weight and bias.",
    infer=_batch_norm_type,
    kernel=lambda x, mean, var, training, eps: _standardized(x, _batch_dims(np.ndim(x)), eps),
    vjp=lambda g, out, x, mean, var, training, eps: (
        _standardized_vjp(g, out, x, _batch_dims(x.ndim), eps),
        None,
        None,
    ),
    fused=lambda input, mean, var, training, eps: _standardized_definition(
        input, _batch_dims(input.ndim), eps
    ),
    define=lambda input, mean, var, training, eps: _standardized_definition(
        input, _batch_dims(input.ndim), eps
    ),
    on=("F",),
    analytic=True,
    samples=(
        Sample("F.batch_norm(x, None, None, training=True)", x=(4, 3)),
        Sample("F.batch_norm(x, None, None, training=True, eps=0.1)", x=(2, 3, 2, 2)),
    ),
)


def _instance_norm(
    input: Expr,
    running_mean: Expr | None,
    running_var: Expr | None,
    weight: Expr | None,
    bias: Expr | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
) -> Expr:
    shape = _channels("instance_norm", input)
    after = input.ndim - 2
    if use_input_stats:
        _no_running("instance_norm", running_mean, running_var)
        _several("instance_norm", input.shape, input.shape[2:])
        sizes = tuple(input.size(d) for d in range(2, input.ndim))
        normal = make(LAYER_NORM, (input,), {"normalized_shape": sizes, "eps": eps})
    else:
        normal = _with_statistics(input, running_mean, running_var, eps, "instance_norm")
    return _affine("instance_norm", normal, shape, weight, bias, after)


register(
    "instance_norm(Tensor input, Tensor? running_mean=None, Tensor? running_var=None, "
    "Tensor? weight=None, Tensor? bias=None, bool use_input_stats=True, float momentum=0.1, "
    "float eps=1e-5)",
    doc="Instance normalisation: each channel of each sample with mean 0 and variance 1.",
    define=_instance_norm,
    on=("F",),
    samples=(
        Sample("F.instance_norm(x, weight=w, bias=b)", x=(2, 3, 4), w=(3,), b=(3,)),
        Sample("F.instance_norm(x, eps=0.1)", x=(2, 3, 2, 2)),
    ),
)


def _group_norm(
    input: Expr, weight: Expr | None, bias: Expr | None, num_groups: int, eps: float
) -> Expr:
    shape = _channels("group_norm", input)
    if num_groups <= 0 or shape[0] % num_groups:
        msg = f"group_norm() can't divide {shape[0]} channels into {num_groups} groups"
        raise Invalid("GC014", msg, "use a divisor of the number of channels", "num_groups")
    _several("group_norm", input.shape, (input.elements // max(num_groups, 1),))
    grouped = input.reshape(input.size(0), num_groups, -1)
    normal = make(LAYER_NORM, (grouped,), {"normalized_shape": (grouped.size(2),), "eps": eps})
    normal = normal.reshape(tuple(input.size(d) for d in range(input.ndim)))
    return _affine("group_norm", normal, shape, weight, bias, input.ndim - 2)


register(
    "group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, "
    "float eps=1e-5)",
    doc="Group normalisation: each group of channels of each sample with mean 0 and variance 1.",
    define=_group_norm,
    on=("torch", "F"),
    samples=(
        Sample("F.group_norm(x, 2, w, b)", x=(2, 4, 3), w=(4,), b=(4,)),
        Sample("torch.group_norm(x, 1, eps=0.1)", x=(2, 3)),
        Sample("F.group_norm(x, num_groups=3, weight=w)", x=(1, 3, 2, 2), w=(3,)),
    ),
)
