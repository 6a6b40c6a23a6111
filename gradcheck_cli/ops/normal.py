"""The normal distribution: its cumulative probability, the inverse and the logarithm; entropy's terms."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import In, Sample, t
from gradcheck_cli.ops._common import special, unary

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.graph import Expr

_ROOT_HALF = math.sqrt(0.5)
_ROOT_2_PI = math.sqrt(2 * math.pi)
_ROOT_2_OVER_PI = math.sqrt(2 / math.pi)
_TWO_OVER_ROOT_PI = 2 / math.sqrt(math.pi)


def _special(
    name: str,
    kernel: Callable[[Any], Any],
    vjp: Callable[[Expr, Expr, Expr], Expr],
    doc: str,
    *,
    domain: str = "",
    convention: str = "",
    samples: tuple[Sample, ...] = (),
) -> None:
    unary(
        name,
        kernel,
        vjp,
        doc=doc,
        domain=domain,
        analytic=False,
        on=(),
        also=(f"torch.special.{name}",),
        convention=convention,
        samples=samples,
    )


_TAILS = In(value=[-30.0, -5.0, -0.5, 0.0, 0.5, 5.0])

_special(
    "ndtr",
    lambda x: special.ndtr(x),
    lambda g, out, x: g * ((-0.5 * x * x).exp() / _ROOT_2_PI),
    "Cumulative probability of the standard normal distribution.",
    samples=(
        Sample("torch.special.ndtr(x)", x=_TAILS),
        Sample("torch.special.ndtr(n)", n=In((4,), dtype="int64", low=-3, high=4)),
    ),
)
_special(
    "ndtri",
    lambda x: special.ndtri(x),
    lambda g, out, x: g * (_ROOT_2_PI * (0.5 * out * out).exp()),
    "The number that the standard normal distribution stays below with the given probability.",
    domain="probability",
    convention="infinite at 0 and 1",
    samples=(Sample("torch.special.ndtri(x)", x=In((7,), low=0.02, high=0.98)),),
)
_special(
    "log_ndtr",
    lambda x: special.log_ndtr(x),
    lambda g, out, x: g * (_ROOT_2_OVER_PI / t.erfcx(-x * _ROOT_HALF)),
    "Logarithm of ndtr, exact in the left tail.",
    samples=(
        Sample("torch.special.log_ndtr(x)", x=_TAILS),
        Sample("torch.special.log_ndtr(n)", n=In((4,), dtype="int64", low=-3, high=4)),
    ),
)
_special(
    "erfcx",
    lambda x: special.erfcx(x),
    lambda g, out, x: g * (2 * x * out - _TWO_OVER_ROOT_PI),
    "`exp(x ** 2) * erfc(x)`.",
    samples=(
        Sample("torch.special.erfcx(x)", x=In(value=[-3.0, -0.5, 0.0, 0.5, 5.0])),
        Sample("torch.special.erfcx(n)", n=In((4,), dtype="int64", low=-3, high=4)),
    ),
)
_special(
    "entr",
    lambda x: special.entr(x),
    lambda g, out, x: -g * (1 + x.log()),
    "`-x * log(x)`, 0 at 0 and minus infinity below: one term of an entropy.",
    domain="positive",
    convention="infinite at 0",
    samples=(Sample("torch.special.entr(n)", n=In((4,), dtype="int64", low=-1, high=4)),),
)
