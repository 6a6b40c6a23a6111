"""Losses that ask for a margin: between similarities, distances or scores."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import broadcast, register
from gradcheck_cli.ops.loss import Losses, need_floating, register_loss
from gradcheck_cli.schema import Invalid, describe

if TYPE_CHECKING:
    from collections.abc import Callable

_SIGNS = In(value=[[1.0, -1.0, 1.0], [-1.0, 1.0, -1.0]])


def _soft_margin(input: Expr, target: Expr) -> Losses:
    need_floating("soft_margin_loss", input)
    if broadcast(input.shape, target.shape) != input.shape:
        msg = f"soft_margin_loss() needs a target of shape {input.shape}, not {target.shape}"
        raise Invalid("GC015", msg, argument="target")
    # Not by a stable softplus: PyTorch's overflows too, and its gradient is NaN there.
    return (-target * input).exp().log1p()  # type: ignore[no-any-return]


register_loss(
    "soft_margin_loss(Tensor input, Tensor target, bool? size_average=None, bool? reduce=None, "
    "str reduction='mean')",
    "Logistic loss of scores and targets of 1 or -1.",
    _soft_margin,
    Sample("F.soft_margin_loss(x, y.detach())", x=(2, 3), y=_SIGNS),
    Sample(
        "F.soft_margin_loss(x, y.detach(), reduction='none')",
        x=(2, 3),
        y=In(value=[1.0, -1.0, 1.0]),
    ),
)


def _hinge_embedding(input: Expr, target: Expr, margin: float) -> Losses:
    need_floating("hinge_embedding_loss", input)
    near = t.where(t.eq(target, -1), 0.0, input)
    far = t.where(t.eq(target, 1), 0.0, (margin - input).clamp(min=0.0))
    return near + far  # type: ignore[no-any-return]


register_loss(
    "hinge_embedding_loss(Tensor input, Tensor target, float margin=1.0, bool? size_average=None, "
    "bool? reduce=None, str reduction='mean')",
    "The input where the target is 1, what it lacks to the margin where it is -1.",
    _hinge_embedding,
    Sample("F.hinge_embedding_loss(x, y.detach())", x=(2, 3), y=_SIGNS),
    Sample("F.hinge_embedding_loss(x, y.detach(), 0.5, reduction='none')", x=(2, 3), y=_SIGNS),
)


def _margin_ranking(input1: Expr, input2: Expr, target: Expr, margin: float) -> Losses:
    if not input1.ndim == input2.ndim == target.ndim:
        msg = (
            f"margin_ranking_loss() needs as many dimensions in each of {input1.shape}, {input2.shape} "
            f"and {target.shape}"
        )
        raise Invalid("GC015", msg, "add dimensions with unsqueeze()")
    return (margin - target * (input1 - input2)).clamp(min=0.0)  # type: ignore[no-any-return]


register_loss(
    "margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0, "
    "bool? size_average=None, bool? reduce=None, str reduction='mean')",
    "How far input1 is from being larger than input2 by the margin (smaller, where the target is -1).",
    _margin_ranking,
    Sample("F.margin_ranking_loss(x, y, s)", x=(2, 3), y=(2, 3), s=_SIGNS),
    Sample("F.margin_ranking_loss(x, y, s, 0.7, reduction='none')", x=(2, 3), y=(1, 3), s=_SIGNS),
)

# PyTorch's own constant in cosine_embedding_loss.
_COSINE_EPS = 1e-12


def _cosine_embedding(input1: Expr, input2: Expr, target: Expr, margin: float) -> Losses:
    if target.ndim > 1 or not input1.ndim == input2.ndim == target.ndim + 1:
        msg = (
            f"cosine_embedding_loss() of {input1.shape} and {input2.shape} doesn't fit a target of shape "
            f"{target.shape}"
        )
        raise Invalid("GC015", msg, "the inputs are (N, D) or (D,), the target (N,) or a scalar")
    squares = [x.square().sum(-1) + _COSINE_EPS for x in (input1, input2)]
    cosine = (input1 * input2).sum(-1) / (squares[0] * squares[1]).sqrt()
    alike = t.where(t.eq(target, 1), 1 - cosine, 0.0)
    unlike = t.where(t.eq(target, -1), (cosine - margin).clamp(min=0.0), 0.0)
    return alike + unlike  # type: ignore[no-any-return]


register_loss(
    "cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0, "
    "bool? size_average=None, bool? reduce=None, str reduction='mean')",
    "1 minus the cosine where the target is 1, the cosine above the margin where it is -1.",
    _cosine_embedding,
    Sample(
        "F.cosine_embedding_loss(x, y, s)",
        x=(4, 3),
        y=(4, 3),
        s=In(value=[1, -1, -1, 1], dtype="int64"),
    ),
    Sample(
        "F.cosine_embedding_loss(x, y, s, margin=-0.9, reduction='none')",
        x=(3, 4),
        y=(1, 4),
        s=In(value=[-1, -1, 1], dtype="int64"),
    ),
    Sample("F.cosine_embedding_loss(x, y, s)", x=(3,), y=(3,), s=In(value=1, dtype="int64")),
)


def _triplet(
    anchor: Expr, positive: Expr, negative: Expr, margin: float, p: float, eps: float, swap: bool
) -> Losses:
    return _triplet_losses(
        "triplet_margin_loss",
        (anchor, positive, negative),
        lambda x, y: t.pairwise_distance(x, y, p, eps),
        margin,
        swap,
    )


def _triplet_losses(
    name: str,
    tensors: tuple[Expr, Expr, Expr],
    distance: Callable[[Expr, Expr], Any],
    margin: float,
    swap: bool,
) -> Losses:
    anchor, positive, negative = tensors
    if margin <= 0:
        msg = f"{name}() needs a positive margin, not {margin}"
        raise Invalid("GC014", msg, argument="margin")
    if not anchor.ndim == positive.ndim == negative.ndim:
        msg = (
            f"{name}() needs as many dimensions in each of {anchor.shape}, "
            f"{positive.shape} and {negative.shape}"
        )
        raise Invalid("GC015", msg, "add dimensions with unsqueeze()")
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = t.minimum(far, distance(positive, negative))
    for found in (near, far):
        if not isinstance(found, Expr):
            msg = f"the distance_function gives {describe(found)}, not a tensor"
            raise Invalid("GC014", msg, "use F.pairwise_distance", "distance_function")
    return (margin + near - far).clamp(min=0.0)  # type: ignore[no-any-return]


register_loss(
    "triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, "
    "float p=2, float eps=1e-6, bool swap=False, bool? size_average=None, bool? reduce=None, "
    "str reduction='mean')",
    "How far the positive is from being nearer to the anchor than the negative, by the margin.",
    _triplet,
    Sample("F.triplet_margin_loss(a, p, n)", a=(4, 3), p=(4, 3), n=(4, 3)),
    Sample(
        "F.triplet_margin_loss(a, p, n, margin=3.0, p=1, swap=True, reduction='none')",
        a=(4, 3),
        p=(4, 3),
        n=(1, 3),
    ),
)


def _triplet_with(
    anchor: Expr,
    positive: Expr,
    negative: Expr,
    distance_function: Callable[[Expr, Expr], Any] | None,
    margin: float,
    swap: bool,
) -> Losses:
    distance = distance_function or t.pairwise_distance
    name = "triplet_margin_with_distance_loss"
    return _triplet_losses(name, (anchor, positive, negative), distance, margin, swap)


register_loss(
    "triplet_margin_with_distance_loss(Tensor anchor, Tensor positive, Tensor negative, *, "
    "function? distance_function=None, float margin=1.0, bool swap=False, str reduction='mean')",
    "triplet_margin_loss with a distance of one's own choice.",
    _triplet_with,
    Sample("F.triplet_margin_with_distance_loss(a, p, n)", a=(4, 3), p=(4, 3), n=(4, 3)),
    Sample(
        "F.triplet_margin_with_distance_loss(a, p, n, distance_function=F.pairwise_distance, "
        "margin=3.0, swap=True, reduction='sum')",
        a=(4, 3),
        p=(4, 3),
        n=(4, 3),
    ),
    Sample(
        "F.triplet_margin_with_distance_loss(a, p, n, reduction='none', "
        "distance_function=torch.nn.PairwiseDistance(p=1.0, keepdim=True))",
        a=(4, 3),
        p=(4, 3),
        n=(4, 3),
    ),
)
register(
    "PairwiseDistance(float p=2.0, float eps=1e-6, bool keepdim=False)",
    doc="The distance between vectors as a function, for triplet_margin_with_distance_loss.",
    define=lambda p, eps, keepdim: partial(t.pairwise_distance, p=p, eps=eps, keepdim=keepdim),
    on=(),
    also=("torch.nn.PairwiseDistance",),
    samples=(
        Sample(
            "F.triplet_margin_with_distance_loss(a, p, n, "
            "distance_function=torch.nn.PairwiseDistance())",
            a=(4, 3),
            p=(4, 3),
            n=(4, 3),
        ),
    ),
)


def _multi_margin(input: Expr, target: Expr, weight: Expr | None, p: int, margin: float) -> Losses:
    need_floating("multi_margin_loss", input)
    if p not in (1, 2):
        raise Invalid("GC014", f"multi_margin_loss() takes p=1 or p=2, not {p}", argument="p")
    classes = input.shape[-1:] or (1,)
    one = input.elements == classes[0] and target.elements == 1  # of one sample the shapes are free
    if input.ndim > 2 or target.ndim > 1 or not (one or target.shape == input.shape[:-1]):
        msg = f"multi_margin_loss() of {input.shape} doesn't fit a target of shape {target.shape}"
        raise Invalid("GC015", msg, "the input is (N, C) or (C,), the target (N,) or a scalar")
    if input.ndim and not classes[0]:
        msg = f"multi_margin_loss() needs at least one class, not an input of shape {input.shape}"
        raise Invalid("GC015", msg, argument="input")
    if target.dtype.name != "int64":
        msg = f"multi_margin_loss() needs int64 class indices, not {target.dtype.name}"
        raise Invalid("GC016", msg, "use target.long()", "target")
    if weight is not None and weight.shape != classes:
        msg = f"multi_margin_loss() needs a weight of shape {classes}, not {weight.shape}"
        raise Invalid("GC015", msg, argument="weight")
    scores = input
    if one and (not input.ndim or input.ndim - 1 != target.ndim):
        scores = input.reshape((1, -1) if target.ndim else (-1,))
    right = scores.gather(-1, target.unsqueeze(-1))
    short = margin - right + scores
    lacking = short.relu() ** p
    if weight is not None:
        lacking = lacking * weight[target].unsqueeze(-1)
    # Only what is positive counts: NaN doesn't, as in PyTorch.
    others = t.ne(t.arange(scores.size(-1)), target.unsqueeze(-1)) & (short > 0)
    return t.where(others, lacking, 0.0).sum(-1) / scores.size(-1)  # type: ignore[no-any-return]


_CLASSES = In(value=[2, 0, 1, 2], dtype="int64")

register_loss(
    "multi_margin_loss(Tensor input, Tensor target, int p=1, float margin=1.0, Tensor? weight=None, "
    "bool? size_average=None, bool? reduce=None, str reduction='mean')",
    "How far the right class's score is from being above each other one's by the margin.",
    _multi_margin,
    # PyTorch has no second derivative of it.
    Sample("F.multi_margin_loss(x, i)", x=(4, 3), i=_CLASSES, second=False),
    Sample(
        "F.multi_margin_loss(x, i, 2, 0.5, w.detach(), reduction='none')",
        x=(4, 3),
        i=_CLASSES,
        w=In((3,), 0.5, 2.0),
        second=False,
    ),
    Sample("F.multi_margin_loss(x, i)", x=(3,), i=In(value=1, dtype="int64"), second=False),
    Sample(
        "F.multi_margin_loss(x, i, reduction='none')",
        x=(3,),
        i=In(value=[1], dtype="int64"),
        second=False,
    ),
    Sample("F.multi_margin_loss(x, i)", x=(), i=In(value=0, dtype="int64"), second=False),
)


def _multilabel_margin(input: Expr, target: Expr) -> Losses:
    need_floating("multilabel_margin_loss", input)
    if input.ndim > 2 or 0 in input.shape[-1:]:
        msg = f"multilabel_margin_loss() needs an input (N, C) or (C,), not of shape {input.shape}"
        raise Invalid("GC015", msg, argument="input")
    if (target.shape or (1,)) != (input.shape or (1,)):
        msg = (
            f"multilabel_margin_loss() needs a target of the input's shape {input.shape}, not "
            f"{target.shape}"
        )
        raise Invalid("GC015", msg, "the classes of each sample, then -1", "target")
    if target.dtype.name != "int64":
        msg = f"multilabel_margin_loss() needs int64 class indices, not {target.dtype.name}"
        raise Invalid("GC016", msg, "use target.long()", "target")
    scores = input if input.ndim else input.reshape((1,))  # a scalar is one class
    places = target if target.ndim else target.reshape((1,))
    # Each sample names its classes first; they end at the first -1.
    named = t.eq((places < 0).long().cumsum(-1), 0)
    classes = t.where(named, places, 0)
    own = t.zeros_like(places).scatter_add(-1, classes, named.long()) > 0
    right = scores.gather(-1, classes)
    short = 1 - (right.unsqueeze(-1) - scores.unsqueeze(-2))
    counted = named.unsqueeze(-1) & ~own.unsqueeze(-2) & (short > 0)
    return t.where(counted, short.relu(), 0.0).sum((-2, -1)) / scores.size(-1)  # type: ignore[no-any-return]


_NAMED = In(value=[[3, 0, -1, 1], [2, -1, -1, -1]], dtype="int64")

register_loss(
    "multilabel_margin_loss(Tensor input, Tensor target, bool? size_average=None, "
    "bool? reduce=None, str reduction='mean')",
    "How far the scores of each sample's classes are from being above all others' by 1.",
    _multilabel_margin,
    # PyTorch has no second derivative of it.
    Sample("F.multilabel_margin_loss(x, i)", x=(2, 4), i=_NAMED, second=False),
    Sample("F.multilabel_margin_loss(x, i, reduction='none')", x=(2, 4), i=_NAMED, second=False),
    Sample(
        "F.multilabel_margin_loss(x, i, reduction='sum')",
        x=(4,),
        i=In(value=[2, 2, -1, 0], dtype="int64"),
        second=False,
    ),
    Sample("F.multilabel_margin_loss(x, i)", x=(), i=In(value=0, dtype="int64"), second=False),
)
