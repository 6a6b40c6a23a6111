"""Convolutions in one and two dimensions, transposed ones, and the gradients of both.

The three products of images, weights and results are closed under differentiation: of a convolution's
arguments and result, each is bilinear in the other two.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gradcheck_cli.graph import Expr, Op, Sample, Shape, Type, make
from gradcheck_cli.ops._common import register, shape_of, sizes
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


def _same_kind(name: str, *args: Expr | None) -> None:
    """Refuse different dtypes, and masks. Raises Invalid (GC016)."""
    kinds = list(dict.fromkeys(x.dtype for x in args if x is not None))
    if len(kinds) > 1:
        listed = " and ".join(kind.name for kind in kinds)
        msg = f"{name}() needs an input, weight and bias of one dtype, not {listed}"
        raise Invalid("GC016", msg, f"convert one of them: w.to({kinds[0]})")
    if kinds[0].kind == "b":
        raise Invalid("GC016", f"{name}() isn't defined for bool", "convert it: mask.double()")


def _check_weight(
    name: str, weight: Shape, channels: int, groups: int, ndim: int, *, transposed: bool = False
) -> None:
    """Refuse a weight that doesn't fit the input's channels. Raises Invalid (GC014, GC015)."""
    sizes = "length" if ndim == 1 else "height, width"
    form = (
        "in_channels, out_channels / groups" if transposed else "out_channels, in_channels / groups"
    )
    if groups < 1:
        raise Invalid("GC014", f"groups must be positive, not {groups}", argument="groups")
    if len(weight) != ndim + 2 or 0 in weight:
        msg = f"{name}() needs a weight ({form}, {sizes}) that is not empty, not one of shape {weight}"
        raise Invalid("GC015", msg, argument="weight")
    if weight[0] % groups:
        msg = f"{name}() can't divide a weight of shape {weight} into {groups} groups"
        raise Invalid("GC015", msg, f"its first size must be a multiple of {groups}", "groups")
    expected = weight[0] if transposed else weight[1] * groups
    if channels != expected:
        msg = (
            f"{name}() with {groups} group{'s' * (groups != 1)} and a weight of shape {weight} needs an "
            f"input of {expected} channels, not {channels}"
        )
        raise Invalid("GC015", msg, f"the weight is ({form}, {sizes})", "weight")


def _check_bias(name: str, bias: Expr | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        msg = f"{name}() needs a bias of shape ({channels},), not {bias.shape}"
        raise Invalid("GC015", msg, "the bias is (out_channels,)", "bias")


def _out_sizes(
    name: str, size: Shape, kernel: Shape, stride: Numbers, padding: Numbers, dilation: Numbers
) -> Shape:
    """How many windows fit in each dim. Raises Invalid (GC014, GC015)."""
    ndim = len(kernel)
    stride, dilation = per_dim(stride, ndim, "stride", 1), per_dim(dilation, ndim, "dilation", 1)
    padding = per_dim(padding, ndim, "padding", 0)
    spans = extent(kernel, dilation)
    widened = tuple(s + 2 * p for s, p in zip(size, padding, strict=True))
    if any(span > s for span, s in zip(spans, widened, strict=True)):
        msg = (
            f"{name}() has a kernel of size {spans}, larger than the input's {widened}"
            f"{', padding included' if any(padding) else ''}"
        )
        raise Invalid("GC015", msg, "use a smaller kernel, or padding", "weight")
    return tuple(
        (s - span) // step + 1 for s, span, step in zip(widened, spans, stride, strict=True)
    )


def _conv(
    name: str,
    ndim: int,
    x: Expr,
    weight: Expr,
    bias: Expr | None,
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Type:
    _same_kind(name, x, weight, bias)
    require_input(name, x, ndim)
    _check_weight(name, weight.shape, x.shape[-ndim - 1], groups, ndim)
    _check_bias(name, bias, weight.shape[0])
    out = _out_sizes(name, x.shape[-ndim:], weight.shape[2:], stride, padding, dilation)
    return Type((*x.shape[: -ndim - 1], weight.shape[0], *out), x.dtype)


def _conv_input(
    name: str,
    ndim: int,
    weight: Expr,
    grad: Expr,
    input_size: Sequence[Any],
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Type:
    size = sizes(input_size)
    _same_kind(name, weight, grad)
    if len(size) != ndim + 2:
        msg = f"{name}() needs the size of a batch of inputs, {ndim + 2} numbers, not {size}"
        raise Invalid("GC015", msg, argument="input_size")
    _check_weight(name, weight.shape, size[1], groups, ndim)
    out = _out_sizes(name, size[2:], weight.shape[2:], stride, padding, dilation)
    _check_result(name, grad, (size[0], weight.shape[0], *out))
    return Type(size, grad.dtype)


def _conv_weight(
    name: str,
    ndim: int,
    x: Expr,
    grad: Expr,
    weight_size: Sequence[Any],
    stride: Numbers,
    padding: Numbers,
    dilation: Numbers,
    groups: int,
) -> Type:
    size = sizes(weight_size)
    _same_kind(name, x, grad)
    if x.ndim != ndim + 2:
        msg = f"{name}() needs a batch of inputs, {ndim + 2} dimensions, not shape {x.shape}"
        raise Invalid("GC015", msg, "unsqueeze(0) makes a batch of one", "input")
    require_input(name, x, ndim)
    _check_weight(name, size, x.shape[1], groups, ndim)
    out = _out_sizes(name, x.shape[2:], size[2:], stride, padding, dilation)
    _check_result(name, grad, (x.shape[0], size[0], *out))
    return Type(size, grad.dtype)


def _check_result(name: str, grad: Expr, wanted: Shape) -> None:
    if grad.shape != wanted:
        msg = f"{name}() needs a grad_output of shape {wanted}, not {grad.shape}"
        raise Invalid("GC015", msg, "it is of the shape of the convolution's result", "grad_output")


def _transposed_size(
    name: str,
    size: Shape,
    kernel: Shape,
    stride: Numbers,
    padding: Numbers,
    output_padding: Numbers,
    dilation: Numbers,
) -> Shape:
    """The size of a transposed convolution's result. Raises Invalid (GC014, GC015)."""
    ndim = len(kernel)
    stride, dilation = per_dim(stride, ndim, "stride", 1), per_dim(dilation, ndim, "dilation", 1)
    padding = per_dim(padding, ndim, "padding", 0)
    extra = per_dim(output_padding, ndim, "output_padding", 0)
    if any(e >= s for e, s in zip(extra, stride, strict=True)):
        msg = f"output_padding {extra} must be smaller than the stride {stride}"
        raise Invalid(
            "GC014", msg, "it chooses among the sizes that a stride maps to one", "output_padding"
        )
    out = tuple(
        (n - 1) * s - 2 * p + span + e
        for n, s, p, span, e in zip(
            size, stride, padding, extent(kernel, dilation), extra, strict=True
        )
    )
    if min(out) < 1:
        msg = f"{name}() of an input of size {size} would have the size {out}"
        raise Invalid("GC015", msg, "use less padding", "padding")
    return out


def _conv_transpose(
    name: str,
    ndim: int,
    x: Expr,
    weight: Expr,
    bias: Expr | None,
    stride: Numbers,
    padding: Numbers,
    output_padding: Numbers,
    groups: int,
    dilation: Numbers,
) -> Type:
    _same_kind(name, x, weight, bias)
    require_input(name, x, ndim)
    _check_weight(name, weight.shape, x.shape[-ndim - 1], groups, ndim, transposed=True)
    channels = weight.shape[1] * groups
    _check_bias(name, bias, channels)
    out = _transposed_size(
        name, x.shape[-ndim:], weight.shape[2:], stride, padding, output_padding, dilation
    )
    return Type((*x.shape[: -ndim - 1], channels, *out), x.dtype)


def _transpose_kernel(
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
    out = _transposed_size(
        "", x.shape[-ndim:], weight.shape[2:], stride, padding, output_padding, dilation
    )
    batch = x if x.ndim == ndim + 2 else x[None]
    size = (len(batch), weight.shape[1] * groups, *out)
    found = input_gradient(weight, batch, size, stride, padding, dilation, groups)
    if bias is not None:
        found = found + bias.reshape(-1, *[1] * ndim)
    return found if x.ndim == ndim + 2 else found[0]


def _batched(x: Expr, ndim: int) -> Any:
    return x if x.ndim == ndim + 2 else x.unsqueeze(0)


def _bias_gradient(ndim: int, g: Expr, bias: Expr | None) -> Any:
    return (
        None if bias is None else g.sum((*range(g.ndim - ndim - 1), *range(g.ndim - ndim, g.ndim)))
    )


def _conv_vjp(
    ndim: int, g: Expr, out: Expr, x: Expr, weight: Expr, bias: Expr | None, **window: Any
) -> tuple[Any, ...]:
    records = RECORDS[ndim]
    batch, upstream = _batched(x, ndim), _batched(g, ndim)
    by_input = make(records.input, (weight, upstream), {"input_size": shape_of(batch), **window})
    by_weight = make(records.weight, (batch, upstream), {"weight_size": shape_of(weight), **window})
    if x.ndim == ndim + 1:
        by_input = by_input.squeeze(0)
    return by_input, by_weight, _bias_gradient(ndim, g, bias)


def _transpose_vjp(
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
    batch, upstream = _batched(x, ndim), _batched(g, ndim)
    by_weight = make(records.weight, (upstream, batch), {"weight_size": shape_of(weight), **window})
    return by_input, by_weight, _bias_gradient(ndim, g, bias)


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
    require_input(name, x, ndim)
    _check_weight(name, weight.shape, x.shape[-ndim - 1], groups, ndim)
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
        infer=partial(_conv, name, ndim),
        kernel=partial(convolve, ndim),
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
        infer=partial(_conv_input, f"{name}_input", ndim),
        kernel=lambda weight, grad, input_size, **window: input_gradient(
            weight, grad, input_size, **window
        ),
        vjp=partial(_input_vjp, ndim),
        on=("torch.nn.grad",),
        analytic=True,
        cubic=True,
        samples=samples["input"],
    )
    by_weight = register(
        f"{name}_weight(Tensor input, size weight_size, Tensor grad_output, {_WINDOW})",
        doc=f"Gradient of {name} with respect to its weight.",
        infer=partial(_conv_weight, f"{name}_weight", ndim),
        kernel=weight_gradient,
        vjp=partial(_weight_vjp, ndim),
        on=("torch.nn.grad",),
        analytic=True,
        cubic=True,
        samples=samples["weight"],
    )
    register(
        f"conv_transpose{ndim}d(Tensor input, Tensor weight, Tensor? bias=None, int[] stride=1, "
        "int[] padding=0, int[] output_padding=0, int groups=1, int[] dilation=1)",
        doc=f"Transposed convolution of {what}: every element spreads weights over a window.",
        infer=partial(_conv_transpose, f"conv_transpose{ndim}d", ndim),
        kernel=partial(_transpose_kernel, ndim),
        vjp=partial(_transpose_vjp, ndim),
        on=("torch", "F"),
        analytic=True,
        cubic=True,
        samples=samples["transpose"],
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
        "transpose": (
            Sample("F.conv_transpose1d(x, w, b)", x=(2, 3, 4), w=(3, 2, 3), b=(2,)),
            Sample("torch.conv_transpose1d(x, w, None, 3, 1, 2, 2, 2)", x=(4, 3), w=(4, 2, 2)),
            Sample("F.conv_transpose1d(x, w, stride=2)", x=(0, 2, 3), w=(2, 1, 2)),
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
        "transpose": (
            Sample("F.conv_transpose2d(x, w, b)", x=(2, 3, 3, 2), w=(3, 2, 2, 3), b=(2,)),
            Sample(
                "torch.conv_transpose2d(x, w, b, (3, 2), 1, (1, 0), 2, (1, 2))",
                x=(4, 3, 3),
                w=(4, 2, 2, 2),
                b=(4,),
            ),
            Sample(
                "F.conv_transpose2d(x, w, stride=2, output_padding=1)",
                x=(0, 2, 3, 3),
                w=(2, 1, 2, 2),
            ),
        ),
    },
)
