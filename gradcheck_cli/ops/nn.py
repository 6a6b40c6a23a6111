"""Layers: linear maps, softmax and its kin, distances and similarities.

Attention is in `attention.py`, dropout in `dropout.py`, recurrent cells in `recurrent.py`, normalisation
in `normalization.py` and `channel_norm.py`; losses in `loss.py`, `cross_entropy.py` and
`binary_entropy.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import as_tensor, broadcast, dim_of, promote, register
from gradcheck_cli.schema import Invalid


def _softmax_type(input: Expr, dim: int, dtype: Any) -> Type:
    dim_of(dim, input.ndim)
    result = dtype or input.dtype
    if result.kind != "f":
        msg = f"softmax() needs a floating-point tensor, not {result.name}"
        raise Invalid("GC016", msg, "give the input a floating dtype, or dtype=torch.float64")
    return Type(input.shape, result)


def _shifted(x: Any, dim: int, dtype: Any) -> Any:
    """`x` minus its maximum along `dim`, so that exp can't overflow; the maximum of the real part."""
    x = np.asarray(x) if dtype is None or np.iscomplexobj(x) else np.asarray(x, dtype.numpy)
    if x.ndim == 0 or x.size == 0:
        return x - np.real(x)
    return x - np.max(x.real, axis=dim, keepdims=True)


def _total(x: Any, dim: int) -> Any:
    return np.sum(x, axis=dim, keepdims=True) if np.ndim(x) else x


def _softmax(x: Any, dim: int, dtype: Any) -> Any:
    exp = np.exp(_shifted(x, dim, dtype))
    return exp / _total(exp, dim)


def log_softmax(x: Any, dim: int, dtype: Any) -> Any:
    shifted = _shifted(x, dim, dtype)
    return shifted - np.log(_total(np.exp(shifted), dim))


def _softmax_vjp(g: Expr, out: Expr, x: Expr, dim: int, dtype: Any) -> Expr:
    g = as_tensor(g, out)
    inner: Expr = g - (g * out).sum(dim, keepdim=True)
    return out * inner


def _log_softmax_vjp(g: Expr, out: Expr, x: Expr, dim: int, dtype: Any) -> Expr:
    g = as_tensor(g, out)
    return g - out.exp() * g.sum(dim, keepdim=True)  # type: ignore[no-any-return]


def _softmax_definition(input: Expr, dim: int, dtype: Any) -> Expr:
    exp: Expr = (input if dtype is None else input.to(dtype)).exp()
    total: Expr = exp.sum(dim, keepdim=True)
    return exp / total


def _log_softmax_definition(input: Expr, dim: int, dtype: Any) -> Expr:
    x: Expr = input if dtype is None else input.to(dtype)
    log_total: Expr = x.logsumexp(dim, keepdim=True)
    return x - log_total


def exponentials(x: Expr, dim: int, dtype: Any) -> tuple[Expr, Expr, Expr]:
    """What is left of `x` beside its maximum, the exponentials, and their sum."""
    x = x if dtype is None else x.to(dtype)
    shifted = x - x.amax((dim,), keepdim=True)
    exp = shifted.exp()
    return shifted, exp, exp.sum((dim,), keepdim=True)


def _fused_softmax(x: Expr, dim: int, dtype: Any) -> Expr | None:
    if not x.ndim or 0 in x.shape:
        return None
    _, exp, total = exponentials(x, dim, dtype)
    return exp * (1.0 / total)


def _fused_log_softmax(x: Expr, dim: int, dtype: Any) -> Expr | None:
    if not x.ndim or 0 in x.shape:
        return None
    shifted, _, total = exponentials(x, dim, dtype)
    log_total: Expr = total.log()
    return shifted - log_total


def _softmax_samples(name: str) -> tuple[Sample, ...]:
    return (
        Sample(f"F.{name}(x, 1)", x=(3, 4)),
        Sample(f"F.{name}(x, dim=-3)", x=(2, 3, 2)),
        Sample(f"F.{name}(x, dim=0)", x=()),
        Sample(f"F.{name}(x, dim=-1)", x=(2, 0)),
        Sample(f"F.{name}(x, dim=0)", x=(0, 3)),
        Sample(f"F.{name}(100 * x, 0)", x=(5,)),
        Sample(f"F.{name}(i, 0, dtype=torch.float64)", i=In((3, 2), dtype="int64", high=5)),
    )


register(
    "softmax(Tensor input, int dim, *, dtype? dtype=None)",
    doc="Exponentials divided by their sum along a dimension: positive numbers that add up to 1.",
    infer=_softmax_type,
    kernel=_softmax,
    fused=_fused_softmax,
    vjp=_softmax_vjp,
    define=_softmax_definition,
    on=("torch", "Tensor", "F"),
    also=("torch.special.softmax",),
    analytic=True,
    samples=(
        *_softmax_samples("softmax"),
        Sample("torch.softmax(x, -1)", x=(2, 3)),
        Sample("x.softmax(0)", x=(2, 3)),
        Sample("torch.special.softmax(x, 0)", x=(3,)),
    ),
)
register(
    "log_softmax(Tensor input, int dim, *, dtype? dtype=None)",
    doc="Logarithm of softmax, computed without leaving the range of numbers.",
    infer=_softmax_type,
    kernel=log_softmax,
    fused=_fused_log_softmax,
    vjp=_log_softmax_vjp,
    define=_log_softmax_definition,
    on=("torch", "Tensor", "F"),
    also=("torch.special.log_softmax",),
    analytic=True,
    samples=(
        *_softmax_samples("log_softmax"),
        Sample("torch.log_softmax(x, -1)", x=(2, 3)),
        Sample("x.log_softmax(0)", x=(2, 3)),
        Sample("torch.special.log_softmax(x, 0)", x=(3,)),
    ),
)
register(
    "softmin(Tensor input, int dim, *, dtype? dtype=None)",
    doc="Softmax of the negated input.",
    define=lambda input, dim, dtype: t.softmax(-input, dim, dtype=dtype),
    on=("F",),
    samples=(
        Sample("F.softmin(x, dim=1)", x=(2, 3)),
        Sample("F.softmin(x, -1, dtype=torch.float64)", x=(3,)),
    ),
)


def _linear(input: Expr, weight: Expr, bias: Expr | None) -> Expr:
    if weight.ndim not in (1, 2) or input.ndim == 0 or input.shape[-1] != weight.shape[-1]:
        msg = (
            f"linear() multiplies the last dimension of an input of shape {input.shape} with that of "
            f"a weight of shape {weight.shape}"
        )
        raise Invalid("GC015", msg, "the weight is (out_features, in_features)", "weight")
    for argument, name in ((weight, "weight"), (bias, "bias")):
        if argument is not None and argument.dtype is not input.dtype:
            msg = (
                f"linear() got a {name} of {argument.dtype.name} for an input of {input.dtype.name}"
            )
            raise Invalid("GC016", msg, "give both the same dtype", name)
    product = input @ (weight.T if weight.ndim == 2 else weight)
    if bias is None:
        return product
    if broadcast(product.shape, bias.shape) != product.shape:
        msg = (
            f"linear() can't add a bias of shape {bias.shape} to a product of shape {product.shape}"
        )
        raise Invalid("GC015", msg, "the bias is (out_features,)", "bias")
    return product + bias


register(
    "linear(Tensor input, Tensor weight, Tensor? bias=None)",
    doc="A linear layer: the input times the transposed weight, plus the bias.",
    define=_linear,
    on=("F",),
    samples=(
        Sample("F.linear(x, w, b)", x=(4, 3), w=(2, 3), b=(2,)),
        Sample("F.linear(x, weight=w)", x=(2, 4, 3), w=(2, 3)),
        Sample("F.linear(x, w, bias=b)", x=(3,), w=(2, 3), b=(2,)),
        Sample("F.linear(x, w)", x=(4, 3), w=(3,)),
        Sample("F.linear(x, w, b)", x=(0, 3), w=(2, 3), b=(2,)),
    ),
)


def _bilinear(input1: Expr, input2: Expr, weight: Expr, bias: Expr | None) -> Expr:
    fits = (
        weight.ndim == 3
        and input1.ndim == input2.ndim > 0
        and input1.shape[:-1] == input2.shape[:-1]
        and weight.shape[1:] == (input1.shape[-1], input2.shape[-1])
    )
    if not fits:
        msg = (
            f"bilinear() of shapes {input1.shape} and {input2.shape} doesn't fit a weight of shape "
            f"{weight.shape}"
        )
        raise Invalid(
            "GC015", msg, "the weight is (out_features, in1_features, in2_features)", "weight"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        msg = f"bilinear() needs a bias of shape {weight.shape[:1]}, not {bias.shape}"
        raise Invalid("GC015", msg, argument="bias")
    product: Expr = t.einsum("...i,oij,...j->...o", input1, weight, input2)
    return product if bias is None else product + bias


register(
    "bilinear(Tensor input1, Tensor input2, Tensor weight, Tensor? bias=None)",
    doc="A bilinear layer: each output is one bilinear form of the two inputs.",
    define=_bilinear,
    on=("torch", "F"),
    samples=(
        Sample("F.bilinear(x, y, w, b)", x=(4, 3), y=(4, 2), w=(5, 3, 2), b=(5,)),
        Sample("F.bilinear(x, y, weight=w)", x=(3,), y=(2,), w=(5, 3, 2)),
    ),
)


def _normalize(input: Expr, p: float, dim: Any, eps: float) -> Expr:
    norm: Expr = input.norm(p, dim, keepdim=True).clamp(min=eps)
    return input / norm


register(
    "normalize(Tensor input, float p=2.0, int[] dim=1, float eps=1e-12)",
    doc="The input over its norm along a dimension, the norm at least eps.",
    define=_normalize,
    on=("F",),
    samples=(
        Sample("F.normalize(x)", x=(3, 4)),
        Sample("F.normalize(x, p=1.0, dim=-1, eps=1e-6)", x=(3, 4)),
        Sample("F.normalize(x, dim=(1, 2))", x=(2, 3, 2)),
        Sample("F.normalize(x, 3.0, 0)", x=(4,)),
        Sample("F.normalize(x, eps=100.0)", x=(2, 2)),
    ),
)


def _cosine_similarity(x1: Expr, x2: Expr, dim: int, eps: float) -> Expr:
    ndim = len(broadcast(x1.shape, x2.shape))
    dim = dim_of(dim, ndim) - max(ndim, 1)
    if promote(x1, x2).kind != "f":
        msg = f"cosine_similarity() needs floating-point tensors, not {promote(x1, x2).name}"
        raise Invalid("GC016", msg, "give the inputs a floating dtype")
    # Sizes of 1 that broadcast along `dim` repeat before the norm is taken.
    extents = [x.shape[dim] if x.ndim >= -dim else None for x in (x1, x2)]
    if extents[0] != extents[1]:
        sizes = tuple(_common_size(x1, x2, d) for d in range(-ndim, 0))
        x1, x2 = x1.expand(sizes), x2.expand(sizes)
    first, second = (x / x.norm(2.0, dim, keepdim=True).clamp(min=eps) for x in (x1, x2))
    return (first * second).sum(dim)  # type: ignore[no-any-return]


def _common_size(x1: Expr, x2: Expr, dim: int) -> Expr:
    owner = x1 if x1.ndim >= -dim and (x2.ndim < -dim or x1.shape[dim] != 1) else x2
    return owner.size(dim)  # type: ignore[no-any-return]


register(
    "cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-8)",
    doc="The cosine of the angle between two tensors along a dimension.",
    define=_cosine_similarity,
    on=("torch", "F"),
    samples=(
        Sample("F.cosine_similarity(x, y)", x=(3, 4), y=(3, 4)),
        Sample("torch.cosine_similarity(x, y, dim=0, eps=1e-6)", x=(4,), y=(4,)),
        Sample("F.cosine_similarity(x, y, -1)", x=(2, 3, 4), y=(4,)),
        Sample("F.cosine_similarity(x[:, None], y[None], dim=-1)", x=(2, 4), y=(3, 4)),
        Sample("F.cosine_similarity(x, y)", x=(3, 4), y=(3, 1)),
    ),
)
register(
    "pairwise_distance(Tensor x1, Tensor x2, float p=2.0, float eps=1e-6, bool keepdim=False)",
    doc="The norm, along the last dimension, of the difference plus eps.",
    define=lambda x1, x2, p, eps, keepdim: (x1 - x2 + eps).norm(p, -1, keepdim=keepdim),
    on=("torch", "F"),
    samples=(
        Sample("F.pairwise_distance(x, y)", x=(3, 4), y=(3, 4)),
        Sample("torch.pairwise_distance(x, y, p=1.0, keepdim=True)", x=(3, 4), y=(4,)),
        Sample("F.pairwise_distance(x, y, 3.0, eps=0.1)", x=(2, 3, 4), y=(3, 4)),
    ),
)
