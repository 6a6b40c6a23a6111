"""Connectionist temporal classification: the loss of all alignments of a sequence with its labels.

Graves et al., Connectionist Temporal Classification (2006). Everything is computed in logarithms, for all
sequences and labels at once; only time is a loop. The states of an alignment are the labels with a blank
before, between and after them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Op, Sample, Type, make, t
from gradcheck_cli.ops._common import as_tensor, register, require_floating
from gradcheck_cli.ops.known import known
from gradcheck_cli.ops.loss import reduced_loss
from gradcheck_cli.schema import Invalid

_LENGTHS = ("input_lengths", "target_lengths")


def _check(log_probs: Expr, targets: Expr, *lengths: Expr, blank: int) -> None:
    """Refuse tensors that don't fit together. Raises Invalid (GC014, GC015, GC016)."""
    require_floating(log_probs, "ctc_loss")
    for label, x in zip(("targets", *_LENGTHS), (targets, *lengths), strict=True):
        if x.dtype.kind != "i":
            msg = f"ctc_loss() needs whole numbers as its {label}, not {x.dtype.name}"
            raise Invalid("GC016", msg, "draw them with `sample: integers`", label)
    if log_probs.ndim != 3:
        msg = f"ctc_loss() can't use log_probs of shape {log_probs.shape}"
        raise Invalid(
            "GC015", msg, "they are (time, batch, classes) or (time, classes)", "log_probs"
        )
    _, batch, classes = log_probs.shape
    for label, x in zip(_LENGTHS, lengths, strict=True):
        if x.shape != (batch,):
            msg = f"ctc_loss() of log_probs {log_probs.shape} needs {label} of shape {(batch,)}"
            raise Invalid("GC015", f"{msg}, not {x.shape}", "one for each sequence", label)
    if targets.ndim != 2 or targets.shape[0] != batch:
        msg = (
            f"ctc_loss() of log_probs {log_probs.shape} can't use targets of shape {targets.shape}"
        )
        raise Invalid("GC015", msg, "they are (batch, labels), or all in one row", "targets")
    if not 0 <= blank < classes:
        msg = f"the blank {blank} is not among the {classes} classes"
        raise Invalid("GC014", msg, f"use 0 to {classes - 1}", "blank")


def _check_lengths(lengths: Any, most: int, label: str) -> None:
    if lengths.size and not (lengths.min() >= 0 and lengths.max() <= most):
        wrong = lengths.min() if lengths.min() < 0 else lengths.max()
        msg = f"a length of {wrong} in {label} is not from 0 to {most}"
        raise Invalid("GC014", msg, "check the values", label)


def _check_labels(used: Any, classes: int, blank: int) -> None:
    """Refuse labels for which PyTorch reads outside of its memory. Raises Invalid (GC014)."""
    wrong = used[(used < 0) | (used >= classes) | (used == blank)]
    if wrong.size:
        msg = f"the label {wrong[0]} is none of the classes 0 to {classes - 1} without the blank, {blank}"
        raise Invalid("GC014", msg, "check the targets, and which class is the blank", "targets")


def _forward(log_probs: Any, targets: Any, ends: Any, widths: Any, *, blank: int, **_: Any) -> Any:
    """The losses, and the log-probability of all ways into each state: (batch, time, state)."""
    (steps, batch, classes), width = log_probs.shape, targets.shape[1]
    _check_lengths(ends, steps, "input_lengths")
    _check_lengths(widths, width, "target_lengths")
    kept = np.arange(width) < widths[:, None]
    _check_labels(targets[kept], classes, blank)
    count = 2 * width + 1
    labels = np.full((batch, count), blank)
    labels[:, 1::2] = np.where(kept, targets, blank)
    exists = np.arange(count) <= 2 * widths[:, None]
    # The blank between two labels may be left out where they differ.
    skips = np.zeros((batch, count), bool)
    skips[:, 3::2] = labels[:, 3::2] != labels[:, 1:-2:2]
    # Two states in front that are never reached, and a time before the first: there, in the first blank.
    ways = np.full((batch, steps + 1, count + 2), -np.inf, log_probs.dtype)
    ways[:, 0, 2] = 0
    rows = np.arange(batch)
    with np.errstate(divide="ignore", invalid="ignore"):
        for step in range(steps):
            before = ways[:, step]
            left_out = np.where(skips, before[:, :-2], -np.inf)
            three = np.stack([before[:, 2:], before[:, 1:-1], left_out])
            largest = np.real(three).max(0)
            largest = np.where(np.isfinite(largest), largest, 0)
            into = np.log(np.exp(three - largest).sum(0)) + largest
            emitted = log_probs[step][rows[:, None], labels]
            active = exists & (step < ends)[:, None]
            ways[:, step + 1, 2:] = np.where(active, into + emitted, -np.inf)
        # Complete alignments end in the last label or in the blank after it.
        two = ways[rows, ends, 2 * widths + 2], ways[rows, ends, 2 * widths + 1]
        largest = np.maximum(*map(np.real, two))
        largest = np.where(np.isfinite(largest), largest, 0)
        losses = -np.log(np.exp(two[0] - largest) + np.exp(two[1] - largest)) - largest
    return losses, ways[:, 1:, 2:]


def _mirrored(log_probs: Expr, targets: Expr, ends: Expr, widths: Expr, blank: int) -> Any:
    """The log-probability of all ways out of each state: those into it when all runs backwards."""
    steps, count = log_probs.size(0), 2 * targets.size(1) + 1
    times = t.remainder(ends.unsqueeze(1) - 1 - t.arange(steps), steps)
    places = t.remainder(widths.unsqueeze(1) - 1 - t.arange(targets.size(1)), targets.size(1))
    states = t.remainder(2 * widths.unsqueeze(1) - t.arange(count), count)
    backwards = log_probs.gather(0, times.T.unsqueeze(-1).expand_as(log_probs))
    ways = t._ctc_loss(backwards, targets.gather(1, places), ends, widths, blank)[1]  # noqa: SLF001
    ways = ways.gather(1, times.unsqueeze(-1).expand_as(ways))
    return ways.gather(2, states.unsqueeze(1).expand_as(ways))


def _vjp(
    g: Expr,
    out: Expr,
    log_probs: Expr,
    targets: Expr,
    ends: Expr,
    widths: Expr,
    *,
    blank: int,
    zero_infinity: bool,
    **attributes: Any,
) -> tuple[Any, None, None, None]:
    """Graves et al., equation 15: how likely it is that an alignment is in a class at a time.

    PyTorch adds the probabilities, which makes it the gradient of the logits (equation 16). Behind a
    log_softmax both come out the same, because it takes away what is the same for all classes.
    """
    if attributes.get("output"):  # only in the gradient, so the gradient's is asked for
        msg = "ctc_loss() has no second derivative, in PyTorch neither"
        raise Invalid("GC014", msg, "check it to first order: `order: 1`")
    g = as_tensor(g, out)
    losses, into = t._ctc_loss(log_probs, targets, ends, widths, blank)  # noqa: SLF001
    out_of = _mirrored(log_probs, targets, ends, widths, blank)
    pairs = t.stack((t.full_like(targets, blank), targets), 2).flatten(1)
    labels = t.cat((pairs, t.full_like(widths, blank).unsqueeze(1)), 1)
    exists = t.arange(labels.size(1)) <= 2 * widths.unsqueeze(1)
    through = (into + out_of).transpose(0, 1)
    classes = t.where(exists, labels, blank).long().expand_as(through)
    # Both ways hold the class at this time: it counts once.
    each = (through - log_probs.gather(2, classes) + losses.unsqueeze(1)).exp()
    slope = -t.zeros_like(log_probs).scatter_add(2, classes, each)
    impossible = t.eq(losses, math.inf).unsqueeze(1)
    lost = t.eq(log_probs, -math.inf) | impossible
    slope = t.where(lost, math.nan, slope)
    if zero_infinity:
        slope = t.where(impossible, 0.0, slope)
    active = t.arange(log_probs.size(0)).unsqueeze(1) < ends
    return t.where(active.unsqueeze(2), slope * g.unsqueeze(1), 0.0), None, None, None


_LONGER = In(value=[[1, 2, 2], [3, 1, 0]], dtype="int64")
_TWO = In(value=[3, 2], dtype="int64")
_SIX = In(value=[6, 5], dtype="int64")

_BOTH: Op = register(
    "_ctc_loss(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor target_lengths, "
    "int blank=0, bool zero_infinity=False)",
    doc="ctc_loss without reduction, and the log-probabilities of all ways into each state.",
    infer=lambda log_probs, targets, ends, widths, blank, zero_infinity: _types(
        log_probs, targets, ends, widths, blank
    ),
    kernel=_forward,
    vjp=_vjp,
    outputs=("losses", "ways"),
    on=("torch",),
    analytic=True,
    samples=(
        Sample(
            "torch._ctc_loss(x.log_softmax(2), i, n, m)[0]",
            x=(6, 2, 4),
            i=_LONGER,
            n=_SIX,
            m=_TWO,
            second=False,
        ),
        Sample(
            "torch._ctc_loss(x.detach().log_softmax(2), i, n, n)[1]",
            x=(2, 1, 4),
            i=In(value=[[1, 2]], dtype="int64"),
            n=In(value=[2], dtype="int64"),
            grad=False,
        ),
    ),
)


def _types(log_probs: Expr, targets: Expr, ends: Expr, widths: Expr, blank: int) -> Any:
    _check(log_probs, targets, ends, widths, blank=blank)
    steps, batch, _ = log_probs.shape
    shape = (batch, steps, 2 * targets.shape[1] + 1)
    return Type((batch,), log_probs.dtype), Type(shape, log_probs.dtype)


def _one_type(log_probs: Expr, targets: Expr, *lengths: Expr, blank: int, **_: Any) -> Type:
    _check(log_probs, targets, *lengths, blank=blank)
    return Type(log_probs.shape[1:2], log_probs.dtype)


def _losses(*arrays: Any, blank: int, zero_infinity: bool, **_: Any) -> Any:
    losses = _forward(*arrays, blank=blank)[0]
    return np.where(np.isinf(losses), 0, losses) if zero_infinity else losses


def _ctc(
    log_probs: Expr,
    targets: Expr,
    input_lengths: Any,
    target_lengths: Any,
    *,
    blank: int,
    reduction: str,
    zero_infinity: bool,
) -> Any:
    ends, widths = (
        x if isinstance(x, Expr) else t.tensor(x) for x in (input_lengths, target_lengths)
    )
    one = log_probs.ndim == 2
    if one:
        log_probs = log_probs.unsqueeze(1)
        ends, widths = (x if x.ndim else x.unsqueeze(0) for x in (ends, widths))
    if targets.ndim == 1:
        targets = targets.unsqueeze(0) if one else _in_rows(targets, widths, target_lengths)
    _refuse_labels(log_probs, targets, widths, blank)
    options = {"blank": blank, "reduction": "none", "zero_infinity": zero_infinity}
    losses = make(_EACH, (log_probs, targets, ends, widths), options)
    if reduction == "mean":
        losses = losses / widths.clamp(min=1)
    if reduction == "none" and one:
        return losses.squeeze(0)
    return reduced_loss("ctc_loss", losses, reduction)


def _refuse_labels(log_probs: Expr, targets: Expr, widths: Expr, blank: int) -> None:
    """Refuse wrong labels as soon as they are known: PyTorch's memory doesn't survive them."""
    labels, lengths = known(targets), known(widths)
    if labels is None or lengths is None or labels.ndim != 2 or lengths.shape != labels.shape[:1]:
        return
    kept = np.arange(labels.shape[1]) < lengths[:, None]
    _check_labels(labels[kept], log_probs.shape[-1], blank)


def _in_rows(targets: Expr, widths: Expr, given: Any) -> Any:
    """Targets of all sequences one after the other, as rows padded at the end. Raises Invalid (GC015)."""
    if isinstance(given, tuple):
        if sum(given) != targets.elements:
            msg = (
                f"ctc_loss() got {targets.elements} labels for lengths that add up to {sum(given)}"
            )
            raise Invalid("GC015", msg, "targets hold the labels of all sequences", "targets")
        width: Any = max(given, default=0)
    else:
        width = targets.size(0)  # the lengths are known later: no sequence has more labels
    if not targets.elements:
        return targets.reshape((widths.size(0), 0))
    starts = widths.cumsum(0) - widths
    places = starts.unsqueeze(1) + t.arange(width)
    return targets[places.clamp(max=targets.size(0) - 1)]


_OPTIONS = "int blank=0, str reduction='mean', bool zero_infinity=False)"
_SHORT: dict[str, Any] = {"x": In((6, 2, 4)), "i": _LONGER, "n": _SIX, "m": _TWO, "second": False}
_CONVENTION = (
    "PyTorch gives the gradient of logits behind a log_softmax; where log_probs come from elsewhere it is "
    "another than this one"
)

register(
    f"ctc_loss(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor target_lengths, {_OPTIONS}",
    doc="Connectionist temporal classification: minus the log-probability of all alignments.",
    define=_ctc,
    on=("F",),
    convention=_CONVENTION,
    samples=(
        Sample("F.ctc_loss(x.log_softmax(2), i, n, m)", **_SHORT),
        Sample("F.ctc_loss(x.log_softmax(2), i, n, m, 0, 'sum', True)", **_SHORT),
        Sample(
            "F.ctc_loss(x.log_softmax(-1), i, n, m, blank=3)",
            x=(4, 5),
            i=In(value=[1, 0], dtype="int64"),
            n=In(value=4, dtype="int64"),
            m=In(value=2, dtype="int64"),
            second=False,
        ),
        Sample(
            "F.ctc_loss(x.log_softmax(2), i, n, m)",
            x=(6, 2, 4),
            i=In(value=[1, 2, 2, 3, 1], dtype="int64"),
            n=_SIX,
            m=_TWO,
            second=False,
        ),
    ),
)
register(
    f"ctc_loss.lengths(Tensor log_probs, Tensor targets, int[] input_lengths, int[] target_lengths, "
    f"{_OPTIONS}",
    doc="ctc_loss with lengths that are known beforehand.",
    define=_ctc,
    on=("F",),
    convention=_CONVENTION,
    samples=(
        Sample(
            "F.ctc_loss(x.log_softmax(2), i, (6, 5), (3, 2))", x=(6, 2, 4), i=_LONGER, second=False
        ),
        Sample(
            "F.ctc_loss(x.log_softmax(2), i, [4, 3], [2, 1], reduction='sum')",
            x=(4, 2, 3),
            i=In(value=[1, 2, 2], dtype="int64"),
            second=False,
        ),
    ),
)
_EACH: Op = register(
    f"ctc_loss.none(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor target_lengths, "
    f"{_OPTIONS}",
    doc="ctc_loss of a batch, without reduction.",
    infer=_one_type,
    kernel=_losses,
    vjp=_vjp,
    on=("F",),
    analytic=True,
    convention=_CONVENTION,
    samples=(
        Sample("F.ctc_loss(x.log_softmax(2), i, n, m, reduction='none')", **_SHORT),
        # No alignment is short enough: PyTorch's gradient is NaN, or 0 where that is asked for.
        Sample(
            "F.ctc_loss(x.log_softmax(2), i, n, m, reduction='none', zero_infinity=True)",
            x=(3, 2, 4),
            i=_LONGER,
            n=In(value=[3, 3], dtype="int64"),
            m=_TWO,
            second=False,
        ),
        Sample(
            "F.ctc_loss(x.log_softmax(2), i, n, m, reduction='none')",
            x=(3, 2, 4),
            i=_LONGER,
            n=In(value=[3, 3], dtype="int64"),
            m=In(value=[3, 0], dtype="int64"),
            second=False,
        ),
    ),
)
