"""Losses of class indices and class probabilities: negative log-likelihood and cross entropy."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Op, Sample, Type, make, t
from gradcheck_cli.ops._common import FEW, as_tensor, register, require_floating
from gradcheck_cli.ops.index import within
from gradcheck_cli.ops.loss import Losses, register_loss
from gradcheck_cli.ops.nn import exponentials, log_softmax
from gradcheck_cli.schema import Invalid

# Called by position, which NumPy reads fastest and its stubs don't know.
_largest: Any = np.maximum.reduce
_total: Any = np.add.reduce


def _class_dim(ndim: int) -> int:
    return 0 if ndim == 1 else 1


def _check_classes(name: str, input: Expr, target: Expr, weight: Expr | None) -> None:
    """Refuse inputs and class indices that don't fit. Raises Invalid (GC015, GC016)."""
    if input.ndim == 0:
        msg = f"{name}() needs an input of at least one dimension, not a scalar"
        raise Invalid("GC015", msg, "the input is (N, C), (C,) or (N, C, ...)", "input")
    require_floating(input, name)
    if target.dtype.name != "int64" and (target.dtype.name != "uint8" or input.ndim > 2):
        msg = f"{name}() needs class indices of int64, not {target.dtype.name}"
        raise Invalid("GC016", msg, "use target.long()", "target")
    wanted = () if input.ndim == 1 else (input.shape[0], *input.shape[2:])
    if target.shape != wanted:
        msg = (
            f"{name}() of an input of shape {input.shape} needs class indices of shape {wanted}, not "
            f"{target.shape}"
        )
        raise Invalid("GC015", msg, "the classes are dimension 1 of the input", "target")
    _check_weight(name, input, weight)


def _check_weight(name: str, input: Expr, weight: Expr | None) -> None:
    if weight is None:
        return
    classes = input.shape[_class_dim(input.ndim)]
    if weight.shape != (classes,):
        msg = (
            f"{name}() needs one weight for each of {classes} classes, not the shape {weight.shape}"
        )
        raise Invalid("GC015", msg, argument="weight")
    if weight.dtype is not input.dtype:
        msg = f"{name}() got a weight of {weight.dtype.name} for an input of {input.dtype.name}"
        raise Invalid("GC016", msg, "give both the same dtype", "weight")


def _per_class(x: Expr, ndim: int) -> Expr:
    """A vector over classes, ready to broadcast to an input of `ndim` dimensions."""
    for _ in range(ndim - 2):
        x = x.unsqueeze(-1)
    return x


def _chosen(input: Expr, target: Expr, ignore_index: int) -> Expr:
    """The mask of the elements that the targets name, none where the target is ignored."""
    dim = _class_dim(input.ndim)
    mask: Expr = t.eq(target.unsqueeze(dim), _per_class(t.arange(input.size(dim)), input.ndim))
    return mask if ignore_index < 0 else mask & t.ne(target, ignore_index).unsqueeze(dim)


def _nll_type(input: Expr, target: Expr, ignore_index: int, reduction: str) -> Type:
    _check_classes("nll_loss", input, target, None)
    return Type(target.shape, input.dtype)


def _nll(x: Any, target: Any, ignore_index: int, reduction: str) -> Any:
    x, target = np.asarray(x), np.asarray(target)
    dim = _class_dim(x.ndim)
    kept = target != ignore_index
    if not kept.any():
        return np.zeros_like(x, shape=target.shape)
    index = within(np.where(kept, target, 0), x.shape[dim], dim, negative=False)
    picked = np.take_along_axis(x, np.expand_dims(index, dim), dim).squeeze(dim)
    return np.where(kept, -picked, 0)


def _nll_vjp(
    g: Expr, out: Expr, x: Expr, target: Expr, ignore_index: int, reduction: str
) -> tuple[Expr, None]:
    each = g if x.ndim == 1 else g.unsqueeze(1)
    return t.where(_chosen(x, target, ignore_index), -each, 0.0), None


register_loss(
    "nll_loss(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, "
    "int ignore_index=-100, bool? reduce=None, str reduction='mean')",
    "Negative log-likelihood: minus the log-probability of the right class.",
    lambda input, target, weight, ignore_index: _index_losses(
        "nll_loss", input, target, weight, ignore_index, 0.0
    ),
    Sample("F.nll_loss(x, i)", x=(4, 3), i=In((4,), dtype="int64", high=3)),
    Sample("F.nll_loss(x, i, reduction='sum')", x=(3,), i=In(value=2, dtype="int64")),
    Sample(
        "F.nll_loss(x, i, w.detach(), ignore_index=1)",
        x=(4, 3),
        i=In(value=[2, 1, 0, 2], dtype="int64"),
        w=In((3,), 0.5, 2.0),
    ),
    Sample("F.nll_loss(x, i)", x=(2, 3, 2, 2), i=In((2, 2, 2), dtype="int64", high=3)),
    Sample("F.nll_loss(x, i, reduction='none')", x=(5, 3), i=In((5,), dtype="uint8", high=3)),
)
NLL: Op = register(
    "nll_loss.none(Tensor input, Tensor target, *, int ignore_index=-100, str reduction)",
    doc="nll_loss without weight and reduction.",
    infer=_nll_type,
    kernel=_nll,
    vjp=_nll_vjp,
    define=lambda input, target, ignore_index, reduction: t.where(
        _chosen(input, target, ignore_index), -input, 0.0
    ).sum(_class_dim(input.ndim)),
    on=("F",),
    analytic=True,
    samples=(
        Sample(
            "F.nll_loss(x, i, reduction='none')",
            x=(4, 3),
            i=In(value=[2, -100, 0, 2], dtype="int64"),
        ),
        Sample(
            "F.nll_loss(x, i, ignore_index=0, reduction='none')",
            x=(2, 3, 2),
            i=In((2, 2), dtype="int64", high=3),
        ),
        Sample("F.nll_loss(x, i, reduction='none')", x=(0, 3), i=In((0,), dtype="int64", high=3)),
        Sample("F.nll_loss(x, i, reduction='none')", x=(3,), i=In(value=1, dtype="int64")),
    ),
)


def _index_losses(
    name: str,
    log_p: Expr,
    target: Expr,
    weight: Expr | None,
    ignore_index: int,
    smoothing: float,
) -> Losses:
    """Losses of class indices, and the sum of weights (or count) of those not ignored."""
    _check_classes(name, log_p, target, weight)
    dim = _class_dim(log_p.ndim)
    divisor = t.ne(target, ignore_index).sum()
    if weight is not None:
        weight = _per_class(weight, log_p.ndim)
        log_p = log_p * weight
        divisor = t.where(_chosen(log_p, target, ignore_index), weight, 0.0).sum()
    losses: Expr = make(NLL, (log_p, target), {"ignore_index": ignore_index, "reduction": "none"})
    if smoothing:
        uniform = t.where(t.ne(target, ignore_index), -log_p.sum(dim), 0.0)
        losses = (1 - smoothing) * losses + smoothing / log_p.size(dim) * uniform
    return losses, divisor


def _probability_losses(
    input: Expr, target: Expr, weight: Expr | None, ignore_index: int, smoothing: float
) -> Losses:
    if ignore_index >= 0:
        msg = "cross_entropy() takes no ignore_index where the target holds class probabilities"
        raise Invalid("GC014", msg, "set the weight of that class to 0", "ignore_index")
    require_floating(input, "cross_entropy")
    _check_weight("cross_entropy", input, weight)
    dim = _class_dim(input.ndim)
    if smoothing:
        target = (1 - smoothing) * target + smoothing / target.size(dim)
    losses = t.log_softmax(input, dim) * target
    if weight is not None:
        losses = losses * _per_class(weight, input.ndim)
    return -losses.sum(dim)  # type: ignore[no-any-return]


def _cross_entropy(
    input: Expr, target: Expr, weight: Expr | None, ignore_index: int, label_smoothing: float
) -> Losses:
    if not 0 <= label_smoothing <= 1:
        msg = f"cross_entropy() needs a label_smoothing from 0.0 to 1.0, not {label_smoothing}"
        raise Invalid("GC014", msg, argument="label_smoothing")
    if input.shape == target.shape and input.ndim:
        if target.dtype.kind != "f":
            msg = (
                f"cross_entropy() of an input and a target of the same shape {input.shape} needs class "
                f"probabilities of a floating dtype, not {target.dtype.name}"
            )
            raise Invalid("GC016", msg, "use target.double(), or indices without a class dimension")
        return _probability_losses(input, target, weight, ignore_index, label_smoothing)
    _check_classes("cross_entropy", input, target, weight)
    if weight is None and not label_smoothing:
        plain = {"ignore_index": ignore_index, "reduction": "none"}
        losses: Expr = make(CROSS_ENTROPY, (input, target), plain)
        return losses, t.ne(target, ignore_index).sum()
    log_p = t.log_softmax(input, _class_dim(input.ndim))
    return _index_losses("cross_entropy", log_p, target, weight, ignore_index, label_smoothing)


register_loss(
    "cross_entropy(Tensor input, Tensor target, Tensor? weight=None, bool? size_average=None, "
    "int ignore_index=-100, bool? reduce=None, str reduction='mean', float label_smoothing=0.0)",
    "Cross entropy of logits against class indices or class probabilities.",
    _cross_entropy,
    Sample("F.cross_entropy(x, i)", x=(4, 3), i=In((4,), dtype="int64", high=3)),
    Sample("F.cross_entropy(x, i)", x=(3,), i=In(value=2, dtype="int64")),
    Sample("F.cross_entropy(x, i)", x=(4, 3), i=In(value=[2, -100, 0, 2], dtype="int64")),
    Sample(
        "F.cross_entropy(x, i, w.detach(), reduction='sum', label_smoothing=0.2)",
        x=(4, 3),
        i=In((4,), dtype="int64", high=3),
        w=In((3,), 0.5, 2.0),
    ),
    Sample(
        "F.cross_entropy(x, i, w.detach(), ignore_index=1, label_smoothing=0.1)",
        x=(4, 3, 2),
        i=In((4, 2), dtype="int64", high=3),
        w=In((3,), 0.5, 2.0),
    ),
    Sample(
        "F.cross_entropy(x, i, reduction='none', label_smoothing=0.1)",
        x=(2, 3, 2, 2),
        i=In((2, 2, 2), dtype="int64", high=3),
    ),
    Sample("F.cross_entropy(x, i, reduction='sum')", x=(0, 3), i=In((0,), dtype="int64")),
    Sample("F.cross_entropy(x, p)", x=(4, 3), p=In((4, 3), 0.1, 1.0)),
    Sample(
        "F.cross_entropy(x, p, w, label_smoothing=0.1)",
        x=(2, 3, 2),
        p=In((2, 3, 2), 0.1, 1.0),
        w=In((3,), 0.5, 2.0),
    ),
    Sample("F.cross_entropy(x, p, reduction='none')", x=(3,), p=In((3,), 0.1, 1.0)),
)


def _places(target: Expr, ignore_index: int, dim: int) -> tuple[Expr, Expr]:
    """The mask of targets that count, and each one's class along `dim`, 0 for those that don't."""
    kept: Expr = t.ne(target, ignore_index)
    classes: Expr = t.where(kept, target, 0)
    return kept, (classes if classes.dtype.name == "int64" else classes.long()).unsqueeze(dim)


def _entropy(x: Any, target: Any, ignore_index: int, reduction: str) -> Any:
    return _nll(log_softmax(x, _class_dim(np.ndim(x)), None), target, ignore_index, reduction)


def _entropy_vjp(
    g: Expr, out: Expr, x: Expr, target: Expr, ignore_index: int, reduction: str
) -> tuple[Expr, None]:
    """Bishop, Pattern Recognition and Machine Learning, equation 4.109: softmax less the one-hot target."""
    dim = _class_dim(x.ndim)
    kept, classes = _places(target, ignore_index, dim)
    each = t.where(kept, as_tensor(g, out), 0.0).unsqueeze(dim)
    return (each * t.softmax(x, dim)).scatter_add(dim, classes, -each), None


def _few_rows(node: Expr) -> Any:
    """The kernel for a matrix of few elements, in as few calls as there can be."""
    x, target = node.inputs
    if x.ndim != 2 or 0 in x.shape or target.dtype.name != "int64":
        return None
    ignored, size, rows = node.attributes["ignore_index"], x.shape[1], np.arange(x.shape[0])

    def run(x: Any, target: Any) -> Any:
        if 0 <= ignored < size or not _all_below(size, target):
            return _entropy(x, target, ignored, "none")
        shifted = x - _largest(x, 1, None, None, True)
        picked = shifted[rows, target]
        return np.log(_total(np.exp(shifted), 1)) - picked

    return run


def _all_below(size: int, index: Any) -> bool:
    """Whether indices are from 0 to below `size`: read without sign, a negative one is huge."""
    contiguous = index if index.flags.c_contiguous else index.copy()
    return bool(_largest(contiguous.view(np.uint64), None) < size)


def _slope(each: Any, x: Any, places: Any, rows: Any = None) -> Any:
    rows = np.arange(len(x))[:, None] if rows is None else rows
    out = np.exp(x - _largest(x, 1, None, None, True))
    out *= each / _total(out, 1, None, None, True)
    if not _all_below(x.shape[1], places):
        within(places, x.shape[1], 1, negative=False)  # which says what is wrong
    out[rows, places] -= each
    return out


# No operator of PyTorch's: what lowering makes of the rule below where there are few elements.
ENTROPY_SLOPE = Op(
    schema="cross_entropy.slope(Tensor each, Tensor input, Tensor places)",
    doc="`(each * softmax(input, 1)).scatter_add(1, places, -each)`.",
    infer=lambda each, x, places: Type(x.shape, x.dtype),
    kernel=_slope,
    prepare=lambda node: partial(_slope, rows=np.arange(node.shape[0])[:, None]),
    on=(),
)


def _fused_entropy(x: Expr, target: Expr, ignore_index: int, reduction: str) -> Expr | None:
    if x.elements < FEW:
        return None
    dim = _class_dim(x.ndim)
    kept, classes = _places(target, ignore_index, dim)
    kept = kept.unsqueeze(dim)
    shifted, _, total = exponentials(x, dim, None)
    return t.where(kept, total.log() - shifted.gather(dim, classes), 0.0).squeeze(dim)  # type: ignore[no-any-return]


CROSS_ENTROPY: Op = register(
    "cross_entropy.none(Tensor input, Tensor target, *, int ignore_index=-100, str reduction)",
    doc="cross_entropy of class indices, without weight, smoothing and reduction.",
    infer=lambda input, target, ignore_index, reduction: Type(target.shape, input.dtype),
    kernel=_entropy,
    prepare=_few_rows,
    vjp=_entropy_vjp,
    fused=_fused_entropy,
    define=lambda input, target, ignore_index, reduction: make(
        NLL,
        (t.log_softmax(input, _class_dim(input.ndim)), target),
        {"ignore_index": ignore_index, "reduction": reduction},
    ),
    on=("F",),
    analytic=True,
    samples=(
        Sample(
            "F.cross_entropy(x, i, reduction='none')",
            x=(4, 3),
            i=In(value=[2, -100, 0, 2], dtype="int64"),
        ),
        Sample("F.cross_entropy(x, i, reduction='none')", x=(3,), i=In(value=1, dtype="int64")),
        Sample(
            "F.cross_entropy(x, i, ignore_index=0, reduction='none')",
            x=(2, 3, 2),
            i=In((2, 2), dtype="int64", high=3),
        ),
        Sample("F.cross_entropy(x, i, reduction='none')", x=(5, 3), i=In((5,), 0, 3, "uint8")),
    ),
)
