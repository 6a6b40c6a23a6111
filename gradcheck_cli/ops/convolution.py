"""Convolutions in one to three dimensions, and their gradients.

The three products of images, weights and results are closed under differentiation: of a convolution's
arguments and result, each is bilinear in the other two.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_cli.graph import Expr, Op, Sample, make, t
from gradcheck_cli.ops import convolve_few
from gradcheck_cli.ops._common import register, shape_of
from gradcheck_cli.ops.convolution_types import check_weight, conv_type, input_type, weight_type
from gradcheck_cli.ops.convolve import convolve, input_gradient, weight_gradient
from gradcheck_cli.ops.windows import extent, per_dim, require_input
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

Numbers = tuple[int, ...]


class Records(NamedTuple):
    """The primitives for one number of dimensions."""

    conv: Op
    input: Op
    weight: Op


RECORDS: dict[int, Records] = {}


def _kernel(ndim: int, x: Any, weight: Any, bias: Any, *window: Any, **named: Any) -> Any:
    out = convolve(ndim, x, weight, bias, *window, **named)
    # PyTorch's convolution of images without channels has none either.
    return out if weight.shape[1] else np.zeros_like(out[..., :0, *[slice(None)] * ndim])


def batched(x: Expr, ndim: int) -> Any:
    """`x` with the batch that it may lack."""
    return x if x.ndim == ndim + 2 else x.unsqueeze(0)


def bias_gradient(ndim: int, g: Expr, bias: Expr | None) -> Any:
    """What is added to every element of a channel receives their sum."""
    return (
        None if bias is None else g.sum((*range(g.ndim - ndim - 1), *range(g.ndim - ndim, g.ndim)))
    )


def _conv_vjp(
    ndim: int, g: Expr, out: Expr, x: Expr, weight: Expr, bias: Expr | None, **window: Any
) -> tuple[Any, ...]:
    if not weight.shape[1]:
        return tuple(None if arg is None else t.zeros_like(arg) for arg in (x, weight, bias))
    records = RECORDS[ndim]
    batch, upstream = batched(x, ndim), batched(g, ndim)
    by_input = make(records.input, (weight, upstream), {"input_size": shape_of(batch), **window})
    by_weight = make(records.weight, (batch, upstream), {"weight_size": shape_of(weight), **window})
    if x.ndim == ndim + 1:
        by_input = by_input.squeeze(0)
    return by_input, by_weight, bias_gradient(ndim, g, bias)


def _input_vjp(
    ndim: int,
    g: Expr,
    out: Expr,
    weight: Expr,
    grad: Expr,
    input_size: Sequence[Any],
    **window: Any,
) -> tuple[Any, ...]:
    records = RECORDS[ndim]
    by_weight = make(records.weight, (g, grad), {"weight_size": shape_of(weight), **window})
    return by_weight, make(records.conv, (g, weight, None), window)


def _weight_vjp(
    ndim: int, g: Expr, out: Expr, x: Expr, grad: Expr, weight_size: Sequence[Any], **window: Any
) -> tuple[Any, ...]:
    records = RECORDS[ndim]
    by_input = make(records.input, (g, grad), {"input_size": shape_of(x), **window})
    return by_input, make(records.conv, (x, g, None), window)


def _by_name(
    ndim: int,
    x: Expr,
    weight: Expr,
    bias: Expr | None,
    stride: Numbers,
    padding: str,
    dilation: Numbers,
    groups: int,
) -> Any:
    """padding='same': the result has the input's size; of unequal margins, the last is the wider."""
    if padding not in ("same", "valid"):
        msg = f"padding is 'same', 'valid' or whole numbers, not {padding!r}"
        raise Invalid("GC014", msg, argument="padding")
    window = {"stride": stride, "padding": (0,), "dilation": dilation, "groups": groups}
    if padding == "valid":
        return make(RECORDS[ndim].conv, (x, weight, bias), window)
    if any(s != 1 for s in stride):
        msg = f"padding='same' is for a stride of 1, not {stride}"
        raise Invalid("GC014", msg, "give the padding as numbers", "padding")
    name = f"conv{ndim}d"
    require_input(name, x, ndim, channels=False)
    check_weight(name, weight.shape, x.shape[-ndim - 1], groups, ndim)
    spans = extent(weight.shape[2:], per_dim(dilation, ndim, "dilation", 1))
    # An odd total is made even by one more in front; the result's first element goes.
    window["padding"] = tuple(span // 2 for span in spans)
    result = make(RECORDS[ndim].conv, (x, weight, bias), window)
    for d, span in enumerate(spans):
        if span % 2 == 0:
            result = result[(..., slice(1, None), *[slice(None)] * (ndim - 1 - d))]
    return result


_WINDOW = "int[] stride=1, int[] padding=0, int[] dilation=1, int groups=1"


def _register(ndim: int, what: str, samples: dict[str, tuple[Sample, ...]]) -> None:
    name = f"conv{ndim}d"
    conv = register(
        f"{name}(Tensor input, Tensor weight, Tensor? bias=None, {_WINDOW})",
        doc=f"Convolution of {what}: products of a sliding window with weights, summed up.",
        infer=partial(conv_type, name, ndim),
        kernel=partial(_kernel, ndim),
        prepare=partial(convolve_few.convolution, ndim),
        vjp=partial(_conv_vjp, ndim),
        on=("torch", "F"),
        analytic=True,
        cubic=True,
        samples=samples["conv"],
    )
    register(
        f"{name}.padding(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, "
        'str padding="valid", int[] dilation=1, int groups=1)',
        doc=f"Convolution of {what} that keeps their size (padding='same').",
        define=partial(_by_name, ndim),
        on=("torch", "F"),
        samples=samples["padding"],
    )
    by_input = register(
        f"{name}_input(size input_size, Tensor weight, Tensor grad_output, {_WINDOW})",
        doc=f"Gradient of {name} with respect to its input.",
        infer=partial(input_type, f"{name}_input", ndim),
        kernel=lambda weight, grad, input_size, **window: input_gradient(
            weight, grad, input_size, **window
        ),
        prepare=partial(convolve_few.input_gradient, ndim),
        vjp=partial(_input_vjp, ndim),
        on=("torch.nn.grad",),
        analytic=True,
        cubic=True,
        samples=samples["input"],
    )
    by_weight = register(
        f"{name}_weight(Tensor input, size weight_size, Tensor grad_output, {_WINDOW})",
        doc=f"Gradient of {name} with respect to its weight.",
        infer=partial(weight_type, f"{name}_weight", ndim),
        kernel=weight_gradient,
        prepare=partial(convolve_few.weight_gradient, ndim),
        vjp=partial(_weight_vjp, ndim),
        on=("torch.nn.grad",),
        analytic=True,
        cubic=True,
        samples=samples["weight"],
    )
    RECORDS[ndim] = Records(conv, by_input, by_weight)


_register(
    1,
    "sequences",
    {
        "conv": (
            Sample("F.conv1d(x, w, b)", x=(2, 3, 7), w=(4, 3, 3), b=(4,)),
            Sample("torch.conv1d(x, w, None, 2, 1)", x=(2, 3, 7), w=(4, 3, 2)),
            Sample("F.conv1d(x, w, padding=3, dilation=2, groups=2)", x=(4, 5), w=(2, 2, 3)),
            Sample("F.conv1d(x, w, b, stride=(3,))", x=(1, 1, 6), w=(1, 1, 1), b=(1,)),
            Sample("F.conv1d(x, w)", x=(0, 2, 5), w=(3, 2, 2)),
            Sample("F.conv1d(x, w)", x=(2, 0, 5), w=(3, 0, 2)),
        ),
        "padding": (
            Sample("F.conv1d(x, w, b, padding='same')", x=(2, 2, 5), w=(3, 2, 4), b=(3,)),
            Sample("F.conv1d(x, w, padding='same', dilation=2)", x=(2, 3), w=(1, 2, 3)),
            Sample("torch.conv1d(x, w, padding='valid', stride=2)", x=(1, 2, 6), w=(2, 2, 3)),
        ),
        "input": (
            Sample("torch.nn.grad.conv1d_input((2, 3, 7), w, g, 2)", w=(4, 3, 3), g=(2, 4, 3)),
            Sample(
                "torch.nn.grad.conv1d_input(x.shape, w, g, padding=1, dilation=2, groups=2)",
                x=(1, 4, 6),
                w=(2, 2, 2),
                g=(1, 2, 6),
            ),
        ),
        "weight": (
            Sample("torch.nn.grad.conv1d_weight(x, (4, 3, 3), g, 2)", x=(2, 3, 7), g=(2, 4, 3)),
            Sample(
                "torch.nn.grad.conv1d_weight(x, w.shape, g, padding=1, dilation=2, groups=2)",
                x=(1, 4, 6),
                w=(2, 2, 2),
                g=(1, 2, 6),
            ),
        ),
    },
)
_register(
    2,
    "images",
    {
        "conv": (
            Sample("F.conv2d(x, w, b)", x=(2, 3, 5, 6), w=(4, 3, 3, 2), b=(4,)),
            Sample("torch.conv2d(x, w, None, (2, 1), (0, 2))", x=(2, 2, 5, 4), w=(3, 2, 2, 3)),
            Sample("F.conv2d(x, w, stride=3, padding=1, groups=2)", x=(4, 4, 5), w=(2, 2, 2, 2)),
            Sample(
                "F.conv2d(x, w, b, dilation=(2, 1), groups=3)",
                x=(1, 3, 4, 3),
                w=(3, 1, 2, 2),
                b=(3,),
            ),
            Sample("F.conv2d(x, w)", x=(2, 3, 2, 2), w=(4, 3, 1, 1)),
            Sample("F.conv2d(x, w, b)", x=(0, 2, 3, 3), w=(2, 2, 2, 2), b=(2,)),
        ),
        "padding": (
            Sample("F.conv2d(x, w, b, padding='same')", x=(2, 2, 4, 3), w=(3, 2, 3, 2), b=(3,)),
            Sample("F.conv2d(x, w, padding='same', dilation=(1, 3))", x=(1, 3, 5), w=(2, 1, 4, 2)),
            Sample("torch.conv2d(x, w, padding='valid', stride=2)", x=(1, 2, 4, 4), w=(2, 2, 2, 3)),
        ),
        "input": (
            Sample(
                "torch.nn.grad.conv2d_input((2, 3, 5, 6), w, g, (2, 1))",
                w=(4, 3, 2, 3),
                g=(2, 4, 2, 4),
            ),
            Sample(
                "torch.nn.grad.conv2d_input(x.shape, w, g, padding=1, dilation=2, groups=2)",
                x=(1, 4, 3, 4),
                w=(2, 2, 2, 2),
                g=(1, 2, 3, 4),
            ),
        ),
        "weight": (
            Sample(
                "torch.nn.grad.conv2d_weight(x, (4, 3, 2, 3), g, (2, 1))",
                x=(2, 3, 5, 6),
                g=(2, 4, 2, 4),
            ),
            Sample(
                "torch.nn.grad.conv2d_weight(x, w.shape, g, padding=1, dilation=2, groups=2)",
                x=(1, 4, 3, 4),
                w=(2, 2, 2, 2),
                g=(1, 2, 3, 4),
            ),
        ),
    },
)
_register(
    3,
    "volumes",
    {
        "conv": (
            Sample("F.conv3d(x, w, b)", x=(2, 2, 3, 4, 3), w=(3, 2, 2, 3, 2), b=(3,)),
            Sample(
                "torch.conv3d(x, w, None, (2, 1, 1), (0, 2, 1), (1, 2, 1), 2)",
                x=(4, 3, 4, 2),
                w=(2, 2, 2, 2, 2),
            ),
            Sample("F.conv3d(x, w)", x=(0, 2, 3, 3, 3), w=(2, 2, 2, 2, 1)),
        ),
        "padding": (
            Sample(
                "F.conv3d(x, w, b, padding='same')", x=(1, 2, 3, 2, 4), w=(2, 2, 2, 3, 2), b=(2,)
            ),
            Sample("F.conv3d(x, w, padding='valid')", x=(1, 2, 2, 3), w=(1, 1, 1, 2, 2)),
        ),
        "input": (
            Sample(
                "torch.nn.grad.conv3d_input((1, 2, 3, 4, 3), w, g, (2, 1, 1))",
                w=(3, 2, 2, 3, 2),
                g=(1, 3, 1, 2, 2),
            ),
        ),
        "weight": (
            Sample(
                "torch.nn.grad.conv3d_weight(x, (2, 1, 2, 2, 1), g, 1, (0, 1, 0), 1, 2)",
                x=(1, 2, 3, 2, 2),
                g=(1, 2, 2, 3, 2),
            ),
        ),
    },
)
