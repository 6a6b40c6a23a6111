"""The gamma function and its kin: its logarithm and derivatives, incomplete ones, the zeta function."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import (
    elementwise_floating,
    numeric,
    one_tensor,
    register,
    special,
    typed,
    unary,
)
from gradcheck_cli.schema import Invalid


def _lgamma(x: Any) -> Any:
    """C and PyTorch take infinity at minus infinity."""
    return special.gammaln(np.where(np.isneginf(x), -x, x))


def _polygamma(x: Any, n: int) -> Any:
    """NIST Handbook of Mathematical Functions, 25.11.12: by the Hurwitz zeta function."""
    if n == 0:
        return special.psi(x)
    # math.factorial(171) is no float; the gamma function overflows to infinity.
    return (-1) ** (n + 1) * float(special.gamma(n + 1.0)) * special.zeta(n + 1, x)


unary(
    "lgamma",
    _lgamma,
    lambda g, out, x: g * x.digamma(),
    doc="Logarithm of the gamma function's absolute value.",
    domain="positive",
    analytic=False,
    also=("torch.special.gammaln",),
)
unary(
    "digamma",
    lambda x: _polygamma(x, 0),
    lambda g, out, x: g * t.polygamma(1, x),
    doc="Derivative of lgamma.",
    domain="positive",
    analytic=False,
    also=("torch.special.digamma", "torch.special.psi"),
)


def _polygamma_type(x: Expr, n: int) -> Type:
    if n < 0:
        msg = f"polygamma() wants an order n of 0 or more, not {n}"
        raise Invalid("GC014", msg, argument="n")
    return elementwise_floating(x)


register(
    "polygamma(int n, Tensor input)",
    doc="The n-th derivative of digamma.",
    infer=_polygamma_type,
    kernel=typed(_polygamma, floating=True),
    vjp=lambda g, out, x, n: g * t.polygamma(n + 1, x),
    on=("torch",),
    also=("torch.special.polygamma",),
    samples=(
        Sample("torch.polygamma(0, x)", x=In((2, 3), low=0.3, high=3)),
        # Not the order 1: PyTorch's own has no more than 9 digits.
        Sample("torch.polygamma(3, x)", x=In((4,), low=0.3, high=3)),
        Sample("torch.polygamma(2, x)", x=In((), low=0.3, high=3)),
    ),
)
register(
    "polygamma.self(Tensor input, int n)",
    doc="The n-th derivative of digamma.",
    define=lambda x, n: t.polygamma(n, x),
    on=("Tensor",),
    samples=(Sample("x.polygamma(2)", x=In((4,), low=0.3, high=3)),),
)


def _mvlgamma(input: Expr, p: int) -> Expr:
    """NIST Handbook of Mathematical Functions, 35.3.4."""
    if p < 1:
        msg = f"mvlgamma() wants a dimension p of 1 or more, not {p}"
        raise Invalid("GC014", msg, argument="p")
    if input.dtype.kind == "b":
        msg = "mvlgamma() isn't defined for masks (dtype bool)"
        raise Invalid("GC016", msg, "make numbers of it first: torch.where(mask, 1.0, 0.0)")
    constant = math.log(math.pi) * (p * (p - 1) / 4)
    if p == 1:
        return input.lgamma()  # type: ignore[no-any-return]
    dtype = elementwise_floating(input).dtype
    shifts = t.arange((1 - p) / 2, 0.5, 0.5, dtype=dtype)
    total: Expr = (input.unsqueeze(-1) + shifts).lgamma().sum(-1)
    return total + constant


register(
    "mvlgamma(Tensor input, int p)",
    doc="Logarithm of the gamma function of p-dimensional symmetric matrices.",
    define=_mvlgamma,
    also=("torch.special.multigammaln",),
    samples=(
        Sample("torch.mvlgamma(x, 1)", x=In((2, 3), low=0.3, high=3)),
        Sample("x.mvlgamma(p=3)", x=In((4,), low=1.2, high=5)),
        Sample("torch.special.multigammaln(x, 2)", x=In((), low=0.8, high=3)),
        Sample("x.mvlgamma(4)", x=(0, 3)),
        Sample("n.mvlgamma(2)", n=In((3,), dtype="int64", low=1, high=5)),
    ),
)


def _density(a: Expr, x: Expr) -> Expr:
    """The gamma distribution's density, the slope of `igamma` in its second argument."""
    exponent: Expr = (a - 1) * x.log() - x - a.lgamma()
    return exponent.exp()  # type: ignore[no-any-return]


def _no_derivative(name: str) -> Invalid:
    """In the first argument there is no closed form, and PyTorch refuses, too."""
    msg = f"{name}() has no derivative in its first argument, in PyTorch neither"
    return Invalid("GC014", msg, "hold it fast: a.detach(), or `requires_grad: false` at the input")


_SHAPE = In((2, 3), low=0.3, high=3, dtype="float64")


def _incomplete(name: str, function: str, sign: int, doc: str) -> None:
    register(
        f"{name}(Tensor input, Tensor other)",
        doc=doc,
        infer=numeric(name, floating=True),
        kernel=typed(lambda a, x: getattr(special, function)(a, x)),
        vjp=lambda g, out, a, x: (_no_derivative(name), (g if sign > 0 else -g) * _density(a, x)),
        also=(f"torch.special.{function}",),
        convention="refused in the first argument, in which there is no closed form",
        broadcasts=True,
        samples=(
            Sample(f"torch.{name}(a.detach(), x)", a=_SHAPE, x=In((3,), low=0.2, high=4)),
            Sample(f"a.detach().{name}(x)", a=In((), low=0.3, high=3), x=In((0, 2))),
            Sample(
                f"torch.special.{function}(a.detach(), x)",
                a=In((), low=0.3, high=3),
                x=In((), low=0.2, high=4),
            ),
        ),
    )


_incomplete("igamma", "gammainc", 1, "The part of the gamma function's integral up to the second.")
_incomplete("igammac", "gammaincc", -1, "The part of the gamma function's integral beyond it.")


register(
    "zeta(Tensor|Scalar input, Tensor|Scalar other)",
    doc="Hurwitz's zeta function, the sum of `(k + other) ** -input` over k from 0.",
    infer=one_tensor("zeta", elementwise_floating),
    kernel=typed(lambda s, q: special.zeta(s, q), floating=True),
    vjp=lambda g, out, s, q: (_no_derivative("zeta"), -g * s * t.zeta(s + 1, q)),
    on=(),
    also=("torch.special.zeta",),
    convention="refused in the first argument, in which there is no closed form",
    broadcasts=True,
    samples=(
        Sample("torch.special.zeta(2.5, x)", x=In((2, 3), low=0.3, high=3)),
        Sample("torch.special.zeta(3, x)", x=In((), low=0.3, high=3)),
        Sample(
            "torch.special.zeta(s.detach(), x)",
            s=In((3,), low=1.5, high=4),
            x=In((2, 1), low=0.3, high=3),
        ),
        Sample("torch.special.zeta(n, 2)", n=In((3,), dtype="int64", low=2, high=5)),
        Sample("torch.special.zeta(2.5, x)", x=(0, 2)),
    ),
)
