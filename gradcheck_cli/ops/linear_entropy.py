"""Cross entropy of a linear layer's outputs, in one function."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import register
from gradcheck_cli.schema import Invalid, Options

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType

_POLICIES = ("accurate", "balanced", "compact", "auto")


def _options(
    *,
    allow_retain_graph: bool,
    batch_chunk_size: int | None,
    chunking_method: str | None,
    acc_policy: str,
    acc_dtype: DType | None,
) -> Options:
    if batch_chunk_size is not None and batch_chunk_size < 1:
        msg = f"a chunk has at least one row, not {batch_chunk_size}"
        raise Invalid("GC014", msg, argument="batch_chunk_size")
    if acc_policy not in _POLICIES:
        msg = f"there is no acc_policy {acc_policy!r}"
        raise Invalid("GC014", msg, f"use {', '.join(map(repr, _POLICIES))}", "acc_policy")
    chosen = {
        "allow_retain_graph": allow_retain_graph,
        "batch_chunk_size": batch_chunk_size,
        "chunking_method": chunking_method,
        "acc_policy": acc_policy,
        "acc_dtype": acc_dtype,
    }
    return Options("LinearCrossEntropyOptions", tuple(chosen.items()))


def _check(input: Expr, weight: Expr, bias: Expr | None) -> None:
    """Refuse shapes that don't fit. Raises Invalid (GC015)."""
    if input.ndim not in (1, 2) or weight.ndim < 2:
        msg = (
            f"linear_cross_entropy() can't use an input of shape {input.shape} with a linear_weight of "
            f"shape {weight.shape}"
        )
        raise Invalid("GC015", msg, "the input is (N, features), the weight (classes, features)")
    if input.shape[-1] != weight.shape[-1]:
        msg = f"the input {input.shape} and the linear_weight {weight.shape} end in different sizes"
        raise Invalid("GC015", msg, "the last dimension of both are the features", "linear_weight")
    if bias is not None and bias.shape != weight.shape[:-1]:
        msg = f"the linear_bias has the shape {bias.shape}, {weight.shape[:-1]} is needed"
        raise Invalid("GC015", msg, argument="linear_bias")
    if weight.ndim > 2 and input.ndim == 1:
        msg = (
            f"a linear_weight of shape {weight.shape} needs a batch, not an input of {input.shape}"
        )
        raise Invalid("GC015", msg, "input.unsqueeze(0)", "input")


def _linear_cross_entropy(
    input: Expr,
    linear_weight: Expr,
    target: Expr,
    linear_bias: Expr | None,
    weight: Expr | None,
    *,
    reduction: str,
    ignore_index: int | None,
    label_smoothing: float,
    options: Options | None,
) -> Any:
    _check(input, linear_weight, linear_bias)
    features = linear_weight.size(-1)
    inner = tuple(linear_weight.size(d) for d in range(linear_weight.ndim - 1))
    if len(inner) > 1:
        linear_weight = linear_weight.reshape((-1, features))
        linear_bias = None if linear_bias is None else linear_bias.flatten()
    logits = t.linear(input, linear_weight, linear_bias)
    if len(inner) > 1:
        logits = logits.reshape((input.size(0), *inner))
    if target.shape == logits.shape and ignore_index is not None:
        msg = "linear_cross_entropy() takes no ignore_index where the target holds class probabilities"
        raise Invalid("GC014", msg, "set the weight of that class to 0", "ignore_index")
    return t.cross_entropy(
        logits,
        target,
        weight=weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


_CLASSES = In(value=[2, 0, 1, 2], dtype="int64")

register(
    "linear_cross_entropy(Tensor input, Tensor linear_weight, Tensor target, *, "
    "Tensor? linear_bias=None, Tensor? weight=None, str reduction='mean', int? ignore_index=None, "
    "float label_smoothing=0.0, options? options=None)",
    doc="Cross entropy of a linear layer's outputs; options that save memory change no value.",
    define=_linear_cross_entropy,
    on=("F",),
    samples=(
        Sample("F.linear_cross_entropy(x, w, i)", x=(4, 2), w=(3, 2), i=_CLASSES),
        Sample(
            "F.linear_cross_entropy(x, w, i, linear_bias=b, ignore_index=1, label_smoothing=0.1)",
            x=(4, 2),
            w=(3, 2),
            b=(3,),
            i=_CLASSES,
        ),
        Sample(
            "F.linear_cross_entropy(x, w, i, linear_bias=b, reduction='none')",
            x=(4, 2),
            w=(3, 2, 2),
            b=(3, 2),
            i=In((4, 2), 0, 3, "int64"),
        ),
        Sample(
            "F.linear_cross_entropy(x, w, p, reduction='sum')",
            x=(4, 2),
            w=(3, 2),
            p=In((4, 3), 0.1, 1.0),
        ),
        Sample("F.linear_cross_entropy(x, w, i)", x=(2,), w=(3, 2), i=In(value=1, dtype="int64")),
    ),
)
register(
    "LinearCrossEntropyOptions(bool allow_retain_graph=False, int? batch_chunk_size=None, "
    "str? chunking_method='auto', str acc_policy='auto', dtype? acc_dtype=None)",
    doc="How linear_cross_entropy saves memory; the values are the same.",
    define=_options,
    on=(),
    also=("torch.nn.LinearCrossEntropyOptions",),
    samples=(
        # In chunks PyTorch has no second derivative.
        Sample(
            "F.linear_cross_entropy(x, w, i, options=torch.nn.LinearCrossEntropyOptions("
            "batch_chunk_size=3, chunking_method=None, allow_retain_graph=True))",
            x=(4, 2),
            w=(3, 2),
            i=_CLASSES,
            second=False,
        ),
    ),
)
