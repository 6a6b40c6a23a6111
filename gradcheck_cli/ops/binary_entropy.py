"""Losses of labels that are each true or not: binary cross entropy in its forms."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Op, Sample, Type, make, t
from gradcheck_cli.ops._common import register, typed
from gradcheck_cli.ops.loss import (
    Losses,
    kept_dtype,
    kept_shape,
    need_floating,
    register_loss,
    same_shape,
)
from gradcheck_cli.schema import Invalid


def _bce_type(input: Expr, target: Expr, reduction: str) -> Type:
    need_floating("binary_cross_entropy", input)
    same_shape("binary_cross_entropy", input, target)
    if input.dtype is not target.dtype:
        msg = f"binary_cross_entropy() needs one dtype, not {input.dtype.name} and {target.dtype.name}"
        raise Invalid("GC016", msg, "make the target floating: target.double()", "target")
    return Type(input.shape, input.dtype)


def _bce(x: Any, y: Any, reduction: str) -> Any:
    logs = np.log(x), np.log1p(-x)
    # PyTorch's bound, which makes the loss of a wrong certainty 100 and not infinite.
    positive, negative = (np.where(np.real(log) < -100, -100, log) for log in logs)
    return -(y * positive + (1 - y) * negative)


def _bce_vjp(g: Expr, out: Expr, x: Expr, y: Expr, reduction: str) -> tuple[Expr, Expr]:
    slope = g * (x - y) / (x * (1 - x)).clamp(min=1e-12)
    return slope, g * ((1 - x).log() - x.log())


def _bce_losses(input: Expr, target: Expr, weight: Expr | None) -> Losses:
    losses: Expr = make(BCE, (input, target), {"reduction": "none"})
    kept_shape("binary_cross_entropy", losses, weight, "weight")
    return losses if weight is None else kept_dtype(losses * weight, losses)


_PROBABILITIES = In((3, 4), 0.1, 0.9)

register_loss(
    "binary_cross_entropy(Tensor input, Tensor target, Tensor? weight=None, "
    "bool? size_average=None, bool? reduce=None, str reduction='mean')",
    "Cross entropy of probabilities against labels from 0 to 1.",
    _bce_losses,
    Sample("F.binary_cross_entropy(x, y)", x=_PROBABILITIES, y=_PROBABILITIES),
    Sample(
        "F.binary_cross_entropy(x, y, w.detach(), reduction='sum')",
        x=_PROBABILITIES,
        y=_PROBABILITIES,
        w=In((4,), 0.5, 2.0),
    ),
)
BCE: Op = register(
    "binary_cross_entropy.none(Tensor input, Tensor target, *, str reduction)",
    doc="binary_cross_entropy without weight and reduction.",
    infer=_bce_type,
    kernel=typed(_bce),
    vjp=_bce_vjp,
    define=lambda input, target, reduction: (
        -(
            target * input.log().clamp(min=-100.0)
            + (1 - target) * (1 - input).log().clamp(min=-100.0)
        )
    ),
    on=("F",),
    analytic=True,
    convention="the logarithms are at least -100, and the gradient divides by at least 1e-12",
    samples=(
        Sample(
            "F.binary_cross_entropy(x, y, reduction='none')", x=_PROBABILITIES, y=_PROBABILITIES
        ),
        Sample(
            "F.binary_cross_entropy(x, y, reduction='none')", x=In((), 0.1, 0.9), y=In((), 0, 1)
        ),
        # At the ends of the interval only the value and the gradient have a convention.
        Sample(
            "F.binary_cross_entropy(x.detach(), y.detach(), reduction='none')",
            x=In(value=[0.0, 1.0, 0.0, 1.0]),
            y=In(value=[0.0, 0.0, 1.0, 1.0]),
        ),
    ),
)


def _logits_type(input: Expr, target: Expr, reduction: str) -> Type:
    name = "binary_cross_entropy_with_logits"
    need_floating(name, input)
    same_shape(name, input, target)
    if target.dtype.kind != "f":
        msg = f"{name}() needs a floating target, not {target.dtype.name}"
        raise Invalid("GC016", msg, "use target.double()", "target")
    return Type(input.shape, input.dtype)


def _logits(x: Any, y: Any, reduction: str) -> Any:
    # log(1 + exp(x)) with an exponent that is never positive, also for the complex step.
    positive = np.real(x) > 0
    rest = np.log1p(np.exp(np.where(positive, -x, x)))
    return (1 - y) * x - np.where(positive, 0, x) + rest


def _logits_losses(
    input: Expr, target: Expr, weight: Expr | None, pos_weight: Expr | None
) -> Losses:
    name = "binary_cross_entropy_with_logits"
    losses: Expr = make(LOGITS, (input, target), {"reduction": "none"})
    kept_shape(name, losses, pos_weight, "pos_weight")
    kept_shape(name, losses, weight, "weight")
    if pos_weight is not None:
        factor = 1 + (pos_weight - 1) * target
        losses = (1 - target) * input - factor * t.logsigmoid(input)
    return losses if weight is None else kept_dtype(losses * weight, losses)


register_loss(
    "binary_cross_entropy_with_logits(Tensor input, Tensor target, Tensor? weight=None, "
    "bool? size_average=None, bool? reduce=None, str reduction='mean', Tensor? pos_weight=None)",
    "Cross entropy of logits against labels from 0 to 1.",
    _logits_losses,
    Sample("F.binary_cross_entropy_with_logits(x, y)", x=(3, 4), y=In((3, 4), 0, 1)),
    Sample(
        "F.binary_cross_entropy_with_logits(x, y, w.detach(), None, None, 'sum', p.detach())",
        x=(3, 4),
        y=In((3, 4), 0, 1),
        w=In((3, 1), 0.5, 2.0),
        p=In((4,), 0.5, 2.0),
    ),
    Sample("F.binary_cross_entropy_with_logits(100 * x, y)", x=(3, 4), y=In((3, 4), 0, 1)),
)
LOGITS: Op = register(
    "binary_cross_entropy_with_logits.none(Tensor input, Tensor target, *, str reduction)",
    doc="binary_cross_entropy_with_logits without weights and reduction.",
    infer=_logits_type,
    kernel=typed(_logits),
    vjp=lambda g, out, x, y, reduction: (g * (x.sigmoid() - y), -g * x),
    define=lambda input, target, reduction: (1 - target) * input + (-input).exp().log1p(),
    on=("F",),
    analytic=True,
    samples=(
        Sample(
            "F.binary_cross_entropy_with_logits(x, y, reduction='none')",
            x=(3, 4),
            y=In((3, 4), 0, 1),
        ),
        Sample("F.binary_cross_entropy_with_logits(x, y, reduction='none')", x=(), y=In((), 0, 1)),
    ),
)


def _multilabel(input: Expr, target: Expr, weight: Expr | None) -> Losses:
    need_floating("multilabel_soft_margin_loss", input)
    if input.ndim == 0:
        msg = "multilabel_soft_margin_loss() needs a dimension of classes, not a scalar"
        raise Invalid("GC015", msg, "the input is (..., C)", "input")
    losses = -(target * t.logsigmoid(input) + (1 - target) * t.logsigmoid(-input))
    if weight is not None:
        losses = losses * weight
    return losses.sum(input.ndim - 1) / input.size(-1)  # type: ignore[no-any-return]


register_loss(
    "multilabel_soft_margin_loss(Tensor input, Tensor target, Tensor? weight=None, "
    "bool? size_average=None, bool? reduce=None, str reduction='mean')",
    "Binary cross entropy of logits, averaged over the classes.",
    _multilabel,
    Sample("F.multilabel_soft_margin_loss(x, y)", x=(3, 4), y=In((3, 4), 0, 1)),
    Sample(
        "F.multilabel_soft_margin_loss(x, y, w, reduction='none')",
        x=(2, 3, 4),
        y=In((2, 3, 4), 0, 1),
        w=In((4,), 0.5, 2.0),
    ),
)
