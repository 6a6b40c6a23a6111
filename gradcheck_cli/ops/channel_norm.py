"""Normalisation by channels: batch, instance and group normalisation; the input is (batch, channels, ...).

Each is the standardised input, as in `normalization.py`, times a weight plus a bias for every channel.
PyTorch's update of running statistics happens beside the value and is not part of an expression.
"""

from __future__ import annotations

import math

import numpy as np

from gradcheck_cli.graph import Expr, In, Op, Sample, Type, make
from gradcheck_cli.ops._common import register, require_floating
from gradcheck_cli.ops.normalization import (
    LAYER_NORM,
    affine,
    fits,
    standardized,
    standardized_definition,
    standardized_vjp,
    statistics,
    unsqueezed,
)
from gradcheck_cli.schema import Invalid


def channels(name: str, input: Expr) -> tuple[int, ...]:
    """The shape of per-channel parameters. Raises Invalid (GC015, GC016)."""
    if input.ndim < 2:
        msg = f"{name}() needs at least two dimensions, not the shape {input.shape}"
        raise Invalid("GC015", msg, "the input is (batch, channels, ...)", "input")
    require_floating(input, name)
    return input.shape[1:2]


def _batch_dims(ndim: int) -> tuple[int, ...]:
    return (0, *range(2, ndim))


def _count(input: Expr) -> int:
    """How many elements a channel has."""
    return math.prod((input.shape[0], *input.shape[2:]))


def several(name: str, shape: tuple[int, ...], count: int) -> None:
    """Statistics need more than one value. Raises Invalid (GC015)."""
    if count == 1:
        msg = f"{name}() needs more than one value for each mean, which the shape {shape} doesn't have"
        raise Invalid("GC015", msg, "the variance of one value is 0")


def _check_running(
    name: str, input: Expr, running_mean: Expr | None, running_var: Expr | None, *, needed: bool
) -> None:
    """Refuse running statistics that don't fit, or are missing where they are used."""
    for label, given, other in (
        ("running_mean", running_mean, running_var),
        ("running_var", running_var, running_mean),
    ):
        if given is not None:
            fits(name, given, label, input.shape[1:2], input)
        elif needed:
            msg = f"{name}() without the batch's statistics needs `{label}`"
            raise Invalid("GC014", msg, "give running_mean and running_var", label)
        elif other is not None:
            msg = f"{name}() takes running_mean and running_var together"
            raise Invalid("GC014", msg, "give both or neither", label)


def _with_statistics(input: Expr, mean: Expr | None, var: Expr | None, eps: float) -> Expr:
    """The input standardised with given statistics, one of each per channel."""
    assert mean is not None
    assert var is not None
    after = input.ndim - 2
    return (input - unsqueezed(mean, after)) * (unsqueezed(var, after) + eps).rsqrt()  # type: ignore[no-any-return]


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
    if training:
        if input.ndim != 1:
            several("batch_norm", input.shape, _count(input) if input.ndim else 1)
        if eps <= 0:
            msg = f"batch_norm() needs a positive eps in training, not {eps}"
            raise Invalid("GC014", msg, argument="eps")
    return _batch_norm_torch(
        input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=True
    )


def _batch_norm_torch(
    input: Expr,
    weight: Expr | None,
    bias: Expr | None,
    running_mean: Expr | None,
    running_var: Expr | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Expr:
    if input.shape == (0,) and weight is None and bias is None:
        require_floating(input, "batch_norm")
        return input.clone()  # type: ignore[no-any-return]
    shape = channels("batch_norm", input)
    nothing = input.elements == 0
    _check_running(
        "batch_norm", input, running_mean, running_var, needed=not training and not nothing
    )
    if nothing and running_mean is None:
        normal = input
    elif not training:
        normal = _with_statistics(input, running_mean, running_var, eps)
    elif _count(input) > 1 and eps > 0:
        normal = make(BATCH_NORM, (input, None, None), {"training": True, "eps": eps})
    else:  # which F.batch_norm refuses
        normal = standardized_definition(input, _batch_dims(input.ndim), eps)
    return affine("batch_norm", normal, shape, weight, bias, input.ndim - 2)


def _batch_norm_type(input: Expr, mean: None, var: None, training: bool, eps: float) -> Type:
    channels("batch_norm", input)
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
        # PyTorch updates copies of the running statistics here, since detach() would share them.
        Sample(
            "F.batch_norm(x, m.detach().clone(), v.detach().clone(), w, training=True, momentum=0.5)",
            x=(2, 3, 4),
            m=(3,),
            v=In((3,), 0.5, 2.0),
            w=(3,),
        ),
        Sample("F.batch_norm(x, None, None, w, b, True)", x=(0, 3), w=(3,), b=(3,)),
        Sample("F.batch_norm(x, x.detach().clone(), x.detach().clone())", x=(0,)),
    ),
)
BATCH_NORM: Op = register(
    "batch_norm.plain(Tensor input, Tensor? running_mean, Tensor? running_var, *, bool training, "
    "float eps=1e-5)",
    doc="Batch normalisation in training, without weight and bias.",
    infer=_batch_norm_type,
    kernel=lambda x, mean, var, training, eps: standardized(x, _batch_dims(np.ndim(x)), eps),
    vjp=lambda g, out, x, mean, var, training, eps: (
        standardized_vjp(g, out, x, _batch_dims(x.ndim), eps),
        None,
        None,
    ),
    fused=lambda input, mean, var, training, eps: standardized_definition(
        input, _batch_dims(input.ndim), eps
    ),
    define=lambda input, mean, var, training, eps: standardized_definition(
        input, _batch_dims(input.ndim), eps
    ),
    on=("F",),
    analytic=True,
    samples=(
        Sample("F.batch_norm(x, None, None, training=True)", x=(4, 3)),
        Sample("F.batch_norm(x, None, None, training=True, eps=0.1)", x=(2, 3, 2, 2)),
    ),
)
register(
    "batch_norm.torch(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, "
    "Tensor? running_var, bool training, float momentum, float eps, bool cudnn_enabled)",
    doc="Batch normalisation with the arguments in torch's order.",
    define=_batch_norm_torch,
    on=("torch",),
    samples=(
        Sample(
            "torch.batch_norm(x, w, b, None, None, True, 0.1, 1e-5, False)",
            x=(2, 3, 4),
            w=(3,),
            b=(3,),
        ),
        Sample("torch.batch_norm(x, w, None, None, None, True, 0.1, 0.1, True)", x=(1, 3), w=(3,)),
    ),
)


def _native_batch_norm(
    input: Expr,
    weight: Expr | None,
    bias: Expr | None,
    running_mean: Expr | None,
    running_var: Expr | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Expr, Expr, Expr]:
    result = _batch_norm_torch(
        input, weight, bias, running_mean, running_var, training, momentum, eps, cudnn_enabled=False
    )
    if not training:
        return result, input.new_zeros((0,)), input.new_zeros((0,))
    mean, scale = statistics(input, _batch_dims(input.ndim), eps)
    return result, mean.flatten(), scale.flatten()


register(
    "native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, "
    "Tensor? running_var, bool training, float momentum, float eps)",
    doc="Batch normalisation, with the batch's mean and reciprocal standard deviation as constants.",
    define=_native_batch_norm,
    on=("torch",),
    samples=(
        Sample(
            "torch.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)[0]",
            x=(2, 3, 4),
            w=(3,),
            b=(3,),
        ),
        Sample(
            "torch.native_batch_norm(x, w, None, None, None, True, 0.1, 0.1)[1] * w",
            x=(2, 3),
            w=(3,),
        ),
        Sample(
            "torch.native_batch_norm(x, None, None, None, None, True, 0.1, 0.1)[2]",
            x=(4, 3),
            grad=False,
        ),
        Sample(
            "torch.native_batch_norm(x, w, None, m.detach(), v.detach(), False, 0.1, 0.1)[0]",
            x=(2, 3),
            w=(3,),
            m=(3,),
            v=In((3,), 0.5, 2.0),
        ),
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
    channels("instance_norm", input)
    if use_input_stats:
        several("instance_norm", input.shape, math.prod(input.shape[2:]))
    return _instance_norm_torch(
        input,
        weight,
        bias,
        running_mean,
        running_var,
        use_input_stats,
        momentum,
        eps,
        cudnn_enabled=True,
    )


def _instance_norm_torch(
    input: Expr,
    weight: Expr | None,
    bias: Expr | None,
    running_mean: Expr | None,
    running_var: Expr | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Expr:
    shape = channels("instance_norm", input)
    _check_running("instance_norm", input, running_mean, running_var, needed=not use_input_stats)
    after = input.ndim - 2
    if not use_input_stats:
        normal = _with_statistics(input, running_mean, running_var, eps)
    elif after:
        sizes = tuple(input.size(d) for d in range(2, input.ndim))
        normal = make(LAYER_NORM, (input,), {"normalized_shape": sizes, "eps": eps})
    else:
        several("instance_norm", input.shape, 1)
    return affine("instance_norm", normal, shape, weight, bias, after)


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
        Sample(
            "F.instance_norm(x, m.detach().clone(), v.detach().clone(), w, momentum=0.5)",
            x=(2, 3, 4),
            m=(3,),
            v=In((3,), 0.5, 2.0),
            w=(3,),
        ),
        Sample(
            "F.instance_norm(x, m.detach(), v.detach(), w, use_input_stats=False)",
            x=(2, 3, 4),
            m=(3,),
            v=In((3,), 0.5, 2.0),
            w=(3,),
        ),
    ),
)
register(
    "instance_norm.torch(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, "
    "Tensor? running_var, bool use_input_stats, float momentum, float eps, bool cudnn_enabled)",
    doc="Instance normalisation with the arguments in torch's order.",
    define=_instance_norm_torch,
    on=("torch",),
    samples=(
        Sample(
            "torch.instance_norm(x, w, b, None, None, True, 0.1, 1e-5, False)",
            x=(2, 3, 4),
            w=(3,),
            b=(3,),
        ),
    ),
)
