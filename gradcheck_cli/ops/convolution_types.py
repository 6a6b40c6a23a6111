"""What fits together in a convolution: the types of its results, and the refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import Expr, Shape, Type
from gradcheck_cli.ops._common import sizes
from gradcheck_cli.ops.windows import SIZES, extent, per_dim, require_input
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

Numbers = tuple[int, ...]


def _same_kind(name: str, *args: Expr | None) -> None:
    """Refuse different dtypes, and masks. Raises Invalid (GC016)."""
    kinds = list(dict.fromkeys(x.dtype for x in args if x is not None))
    if len(kinds) > 1:
        listed = " and ".join(kind.name for kind in kinds)
        msg = f"{name}() needs an input, weight and bias of one dtype, not {listed}"
        raise Invalid("GC016", msg, f"convert one of them: w.to({kinds[0]})")
    if kinds[0].kind == "b":
        raise Invalid("GC016", f"{name}() isn't defined for bool", "convert it: mask.double()")


def check_weight(
    name: str, weight: Shape, channels: int, groups: int, ndim: int, *, transposed: bool = False
) -> None:
    """Refuse a weight that doesn't fit the input's channels. Raises Invalid (GC014, GC015)."""
    sizes = SIZES[ndim]
    form = (
        "in_channels, out_channels / groups" if transposed else "out_channels, in_channels / groups"
    )
    if groups < 1:
        raise Invalid("GC014", f"groups must be positive, not {groups}", argument="groups")
    no_channels = not transposed and channels == 0 and weight[1:2] == (0,)
    if len(weight) != ndim + 2 or 0 in (weight[:1] + weight[2:] if no_channels else weight):
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


def conv_type(
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
    require_input(name, x, ndim, channels=False)
    check_weight(name, weight.shape, x.shape[-ndim - 1], groups, ndim)
    _check_bias(name, bias, weight.shape[0])
    out = _out_sizes(name, x.shape[-ndim:], weight.shape[2:], stride, padding, dilation)
    channels = weight.shape[0] if weight.shape[1] else 0
    return Type((*x.shape[: -ndim - 1], channels, *out), x.dtype)


def input_type(
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
    check_weight(name, weight.shape, size[1], groups, ndim)
    out = _out_sizes(name, size[2:], weight.shape[2:], stride, padding, dilation)
    _check_result(name, grad, (size[0], weight.shape[0], *out))
    return Type(size, grad.dtype)


def weight_type(
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
    check_weight(name, size, x.shape[1], groups, ndim)
    out = _out_sizes(name, x.shape[2:], size[2:], stride, padding, dilation)
    _check_result(name, grad, (x.shape[0], size[0], *out))
    return Type(size, grad.dtype)


def _check_result(name: str, grad: Expr, wanted: Shape) -> None:
    if grad.shape != wanted:
        msg = f"{name}() needs a grad_output of shape {wanted}, not {grad.shape}"
        raise Invalid("GC015", msg, "it is of the shape of the convolution's result", "grad_output")


def transposed_size(
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
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        msg = f"output_padding {extra} must be smaller than the stride {stride} or the dilation {dilation}"
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


def transposed_type(
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
    check_weight(name, weight.shape, x.shape[-ndim - 1], groups, ndim, transposed=True)
    channels = weight.shape[1] * groups
    _check_bias(name, bias, channels)
    out = transposed_size(
        name, x.shape[-ndim:], weight.shape[2:], stride, padding, output_padding, dilation
    )
    return Type((*x.shape[: -ndim - 1], channels, *out), x.dtype)
