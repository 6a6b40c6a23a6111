"""Activation functions of neural networks, applied to every element."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, call, t
from gradcheck_cli.ops._common import (
    dim_of,
    elementwise_floating,
    numeric,
    register,
    special,
    typed,
)
from gradcheck_cli.ops.functions import log1p, sigmoid
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_ROOT_HALF = math.sqrt(0.5)
_ROOT_2_OVER_PI = math.sqrt(2 / math.pi)
_ONE_OVER_ROOT_2_PI = 1 / math.sqrt(2 * math.pi)
_CUBIC = 0.044715
# Klambauer et al., Self-Normalizing Neural Networks, equation 14.
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


# What tests write where the first argument is not the only one needed.
_IN_PLACE = {"threshold": "F.threshold(x, 0.5, -1, inplace=False)"}


def activation(
    schema: str,
    kernel: Callable[..., Any],
    vjp: Callable[..., Expr],
    *,
    inplace: bool = True,
    infer: Callable[..., Type] | None = None,
    on: tuple[str, ...] = ("F",),
    elementwise: bool = True,
    **fields: Any,
) -> None:
    """Register an activation and, with `inplace`, the overload that also takes that argument."""
    name = schema.partition("(")[0]
    op = register(
        schema,
        infer=infer or numeric(name, floating=True),
        kernel=kernel,
        vjp=vjp,
        on=on,
        elementwise=elementwise,
        **fields,
    )
    if not inplace:
        return

    def define(x: Expr, inplace: bool, **attributes: Any) -> Any:
        if inplace:
            msg = f"{name}(..., inplace=True) changes its input, which an expression can't do"
            raise Invalid("GC018", msg, "leave inplace=True out", "inplace")
        return call([op], x, **attributes)

    register(
        f"{name}.inplace{schema[len(name) : -1]}, bool inplace=False)",
        doc=f"The same as {name}; inplace=True is refused.",
        define=define,
        on=("F",),
        samples=(
            Sample(
                _IN_PLACE.get(name, f"F.{name}(x, inplace=False)"),
                x=(3,),
                grad=all(sample.grad for sample in op.samples),
            ),
        ),
    )


def _elu(x: Any, alpha: float, width: float = 1.0) -> Any:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / width))


# In terms of the output, nothing overflows on the side that a mask hides.
activation(
    "elu(Tensor input, Scalar alpha=1.0)",
    _elu,
    lambda g, out, x, alpha: t.where(x <= 0, g * (out + alpha), g),
    doc="x where positive, alpha * (exp(x) - 1) elsewhere.",
    kink=lambda x, alpha: () if alpha == 1 else (x,),
    convention="alpha at 0",
    samples=(Sample("F.elu(x, 1.5)", x=(6,)), Sample("F.elu(x, alpha=2)", x=(2, 2))),
)

activation(
    "selu(Tensor input)",
    lambda x: _SELU_SCALE * _elu(x, _SELU_ALPHA),
    lambda g, out, x: t.where(x <= 0, g * (out + _SELU_SCALE * _SELU_ALPHA), g * _SELU_SCALE),
    doc="Scaled elu with the constants of self-normalizing networks.",
    on=("torch", "F"),
    kink=lambda x: (x,),
    convention="the derivative from below at 0",
)


def _celu_type(x: Expr, alpha: Any) -> Type:
    if alpha == 0:
        raise Invalid("GC014", "celu() can't have alpha 0", "use relu()", "alpha")
    return numeric("celu", floating=True)(x)


activation(
    "celu(Tensor input, Scalar alpha=1.0)",
    lambda x, alpha: _elu(x, alpha, alpha),
    lambda g, out, x, alpha: t.where(x <= 0, g * (out / alpha + 1), g),
    infer=_celu_type,
    doc="x where positive, alpha * (exp(x / alpha) - 1) elsewhere; smooth at 0.",
    on=("torch", "F"),
    samples=(Sample("torch.celu(x, 0.5)", x=(6,)), Sample("F.celu(x, alpha=2)", x=(2, 2))),
)


def _gelu(x: Any, approximate: str) -> Any:
    """Through erfc and sigmoid, `1 + erf` and `1 + tanh` keep their digits in the left tail."""
    if approximate == "none":
        return x * (0.5 * special.erfc(-x * _ROOT_HALF))
    return x * sigmoid(2 * _ROOT_2_OVER_PI * (x + _CUBIC * x * x * x))


def _gelu_type(x: Expr, approximate: str) -> Type:
    if approximate not in ("none", "tanh"):
        msg = f"gelu(): approximate is 'none' or 'tanh', not {approximate!r}"
        raise Invalid("GC014", msg, argument="approximate")
    return numeric("gelu", floating=True)(x)


def _gelu_vjp(g: Expr, out: Expr, x: Expr, approximate: str) -> Any:
    """Hendrycks and Gimpel, Gaussian Error Linear Units: x * cdf(x), so cdf(x) + x * density(x)."""
    if approximate == "none":
        density: Expr = _ONE_OVER_ROOT_2_PI * (-0.5 * x * x).exp()
        return g * (0.5 * (1 + (x * _ROOT_HALF).erf()) + x * density)
    tanh: Expr = (_ROOT_2_OVER_PI * (x + _CUBIC * x**3)).tanh()
    inner = _ROOT_2_OVER_PI * (1 + 3 * _CUBIC * x**2)
    return g * (0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * inner)


def _gelu_definition(x: Expr, approximate: str) -> Expr:
    if approximate == "none":
        erf: Expr = (x * _ROOT_HALF).erf()
        return 0.5 * x * (1 + erf)
    tanh: Expr = (_ROOT_2_OVER_PI * (x + _CUBIC * x**3)).tanh()
    return 0.5 * x * (1 + tanh)


activation(
    "gelu(Tensor input, *, str approximate='none')",
    _gelu,
    _gelu_vjp,
    define=_gelu_definition,
    infer=_gelu_type,
    inplace=False,
    doc="x times the normal distribution's cumulative probability of x.",
    analytic=True,
    complex=False,
    samples=(
        Sample("F.gelu(x)", x=In(value=[-9.0, -3.0, 0.0, 3.0, 9.0])),
        Sample("F.gelu(x, approximate='tanh')", x=(3, 4)),
        Sample("F.gelu(x, approximate='tanh')", x=In(value=[-9.0, -3.0, 0.0, 3.0, 9.0])),
    ),
)

activation(
    "silu(Tensor input)",
    lambda x: x * sigmoid(x),
    lambda g, out, x: g * (x.sigmoid() + out * (1 - x.sigmoid())),
    doc="x * sigmoid(x), also called swish.",
    analytic=True,
    complex=False,
)

activation(
    "mish(Tensor input)",
    lambda x: x * np.tanh(_softplus(x)),
    lambda g, out, x: g * (_gate(x) + x * x.sigmoid() * (1 - _gate(x) * _gate(x))),
    doc="x * tanh(softplus(x)).",
    analytic=True,
    complex=False,
)


def _gate(x: Expr) -> Expr:
    return t.softplus(x).tanh()  # type: ignore[no-any-return]


def _softplus(x: Any, beta: float = 1, threshold: float = 20) -> Any:
    scaled = beta * x
    linear = scaled.real > threshold
    return np.where(linear, x, log1p(np.exp(np.where(linear, 0, scaled))) / beta)


activation(
    "softplus(Tensor input, Scalar beta=1.0, Scalar threshold=20.0)",
    _softplus,
    lambda g, out, x, beta, threshold: t.where(
        x * beta > threshold, g, g * (x if beta == 1 else x * beta).sigmoid()
    ),
    inplace=False,
    doc="log(1 + exp(beta * x)) / beta; x itself where beta * x is above the threshold.",
    analytic=True,
    complex=False,
    samples=(
        Sample("F.softplus(x, 2)", x=(3, 4)),
        Sample("F.softplus(x, beta=0.5, threshold=1)", x=(6,)),
        Sample("F.softplus(x)", x=In(value=[-50.0, -1.0, 0.0, 19.0, 21.0, 900.0])),
    ),
)


def _logsigmoid(x: Any) -> Any:
    """The linear part apart from the curved one, so that neither end loses digits."""
    left = x.real < 0
    return np.where(left, x, 0) - log1p(np.exp(np.where(left, x, -x)))


activation(
    "logsigmoid(Tensor input)",
    _logsigmoid,
    lambda g, out, x: g * (-x).sigmoid(),
    inplace=False,
    doc="log(sigmoid(x)), exact in both tails.",
    analytic=True,
    complex=False,
    samples=(Sample("F.logsigmoid(x)", x=In(value=[-800.0, -1.0, 0.0, 30.0, 800.0])),),
)


def _real(name: str) -> Callable[..., Type]:
    """infer: integers become real numbers, masks are refused."""

    def check(x: Expr) -> Type:
        numeric(name)(x)
        return elementwise_floating(x)

    return check


activation(
    "softsign(Tensor input)",
    lambda x: x / (1 + np.abs(x)),
    lambda g, out, x: g / (1 + x.abs()) ** 2,
    infer=_real("softsign"),
    inplace=False,
    doc="x / (1 + |x|).",
    samples=(Sample("F.softsign(n)", n=In((4,), dtype="int64", low=-3, high=4)),),
)

activation(
    "tanhshrink(Tensor input)",
    typed(lambda x: x - np.tanh(x), floating=True),
    lambda g, out, x: g * x.tanh() ** 2,
    infer=_real("tanhshrink"),
    inplace=False,
    doc="x - tanh(x).",
    analytic=True,
)


def _glu(input: Expr, dim: int) -> Expr:
    if not input.ndim:
        raise Invalid("GC015", "glu() halves a dimension, and a tensor without dimensions has none")
    numeric("glu", floating=True)(input)
    if input.dtype.kind == "z":
        raise Invalid("GC016", "glu() isn't defined for complex tensors")
    size = input.shape[dim_of(dim, input.ndim)]
    if size % 2:
        msg = f"glu() halves dimension {dim}, and its size {size} is odd"
        raise Invalid("GC015", msg, "the dimension holds values and gates, as many of each", "dim")
    value, gate = t.chunk(input, 2, dim)
    return value * gate.sigmoid()  # type: ignore[no-any-return]


register(
    "glu(Tensor input, int dim=-1)",
    doc="One half of a dimension times the sigmoid of the other.",
    define=_glu,
    on=("F",),
    samples=(
        Sample("F.glu(x)", x=(3, 4)),
        Sample("F.glu(x, 0)", x=(2,)),
        Sample("F.glu(x, dim=-2)", x=(2, 4, 3)),
        Sample("F.glu(x, 1)", x=(0, 4)),
    ),
)
