"""Transposed convolutions in one to three dimensions: what a convolution's input receives, as a function."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, Sample, make, t
from gradcheck_cli.ops._common import register, shape_of
from gradcheck_cli.ops.convolution import RECORDS, batched, bias_gradient
from gradcheck_cli.ops.convolution_types import transposed_size, transposed_type
from gradcheck_cli.ops.convolve import input_gradient
from gradcheck_cli.ops.windows import spread

if TYPE_CHECKING:
    from gradcheck_cli.graph import Shape

Numbers = tuple[int, ...]


def _beyond(ndim: int, output_padding: Numbers, stride: Numbers) -> Shape:
    """How many more windows than the input has elements fit into the result.

    There are some where output_padding isn't smaller than the stride, as a dilation allows it to be.
    """
    extra, step = spread(output_padding, ndim), spread(stride, ndim)
    return tuple(e // s for e, s in zip(extra, step, strict=True))


def _kernel(
    ndim: int,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Numbers,
    padding: Numbers,
    output_padding: Numbers,
    groups: int,
    dilation: Numbers,
) -> Any:
    out = transposed_size(
        "", x.shape[-ndim:], weight.shape[2:], stride, padding, output_padding, dilation
    )
    batch = x if x.ndim == ndim + 2 else x[None]
    beyond = _beyond(ndim, output_padding, stride)
    if any(beyond):
        batch = np.pad(batch, [(0, 0), (0, 0), *((0, more) for more in beyond)])
    size = (len(batch), weight.shape[1] * groups, *out)
    found = input_gradient(weight, batch, size, stride, padding, dilation, groups)
    if bias is not None:
        found = found + bias.reshape(-1, *[1] * ndim)
    return found if x.ndim == ndim + 2 else found[0]


def _vjp(
    ndim: int,
    g: Expr,
    out: Expr,
    x: Expr,
    weight: Expr,
    bias: Expr | None,
    stride: Numbers,
    padding: Numbers,
    output_padding: Numbers,
    groups: int,
    dilation: Numbers,
) -> tuple[Any, ...]:
    """As PyTorch writes a transposed convolution: the convolution of which it is the gradient."""
    records = RECORDS[ndim]
    window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    by_input = make(records.conv, (g, weight, None), window)
    batch, upstream = batched(x, ndim), batched(g, ndim)
    for d, more in enumerate(_beyond(ndim, output_padding, stride)):
        if more:
            by_input = by_input.narrow(d - ndim, 0, x.size(d - ndim))
            size = list(shape_of(batch))
            size[d + 2] = size[d + 2] + more
            batch = t.zeros(size, dtype=x.dtype).slice_scatter(batch, d + 2, 0, batch.size(d + 2))
    by_weight = make(records.weight, (upstream, batch), {"weight_size": shape_of(weight), **window})
    return by_input, by_weight, bias_gradient(ndim, g, bias)


def _register(ndim: int, what: str, *samples: Sample) -> None:
    name = f"conv_transpose{ndim}d"
    register(
        f"{name}(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, "
        "int[] padding=0, int[] output_padding=0, int groups=1, int[] dilation=1)",
        doc=f"Transposed convolution of {what}: every element spreads weights over a window.",
        infer=partial(transposed_type, name, ndim),
        kernel=partial(_kernel, ndim),
        vjp=partial(_vjp, ndim),
        on=("torch", "F"),
        analytic=True,
        cubic=True,
        samples=samples,
    )


_register(
    1,
    "sequences",
    Sample("F.conv_transpose1d(x, w, b)", x=(2, 3, 4), w=(3, 2, 3), b=(2,)),
    Sample("torch.conv_transpose1d(x, w, None, 3, 1, 2, 2, 2)", x=(4, 3), w=(4, 2, 2)),
    Sample("F.conv_transpose1d(x, w, stride=2)", x=(0, 2, 3), w=(2, 1, 2)),
    # More padding at the end than the stride: windows beyond the input.
    Sample("F.conv_transpose1d(x, w, None, 1, 3, 2, 1, 4)", x=(1, 2, 1), w=(2, 2, 2)),
    Sample("F.conv_transpose1d(x, w, b, 2, 0, 3, 1, 4)", x=(2, 2), w=(2, 1, 2), b=(1,)),
)
_register(
    2,
    "images",
    Sample("F.conv_transpose2d(x, w, b)", x=(2, 3, 3, 2), w=(3, 2, 2, 3), b=(2,)),
    Sample(
        "torch.conv_transpose2d(x, w, b, (3, 2), 1, (1, 0), 2, (1, 2))",
        x=(4, 3, 3),
        w=(4, 2, 2, 2),
        b=(4,),
    ),
    Sample("F.conv_transpose2d(x, w, stride=2, output_padding=1)", x=(0, 2, 3, 3), w=(2, 1, 2, 2)),
    Sample(
        "F.conv_transpose2d(x, w, None, (3, 2), 0, (2, 3), 1, 4)", x=(1, 2, 2, 3), w=(2, 1, 1, 2)
    ),
)
_register(
    3,
    "volumes",
    Sample("F.conv_transpose3d(x, w, b)", x=(1, 2, 2, 1, 3), w=(2, 2, 2, 3, 2), b=(2,)),
    Sample(
        "torch.conv_transpose3d(x, w, None, (2, 1, 3), 1, (1, 0, 2), 2, (1, 2, 1))",
        x=(4, 2, 3, 2),
        w=(4, 1, 2, 2, 2),
    ),
)
