"""Orthogonal polynomials of a given degree, one degree for all elements or one for each.

PyTorch lets no gradient flow through them; the gradients here are those of the polynomials. A degree is a
whole number, its decimals cut off, and the polynomials of negative degrees are 0.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.dtypes import int64
from gradcheck_cli.graph import Expr, In, Sample, Type, const, t
from gradcheck_cli.ops._common import elementwise_floating, one_tensor, register, special, typed
from gradcheck_cli.ops.known import known
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_HIGHEST = 10_000
_CONVENTION = "0 in the degree; PyTorch has no derivative"


def _whole(n: Expr) -> Expr:
    """A degree without its decimals."""
    if n.value is not None:
        return n if isinstance(n.value, int) else const(math.trunc(n.value))
    if n.dtype.is_floating:
        return n.trunc()  # type: ignore[no-any-return]
    return n if n.dtype is int64 else n.to(int64)


def _real(x: Expr) -> Expr:
    return x * 1.0 if x.dtype.kind in "bi" and x.value is None else x


def _samples(name: str) -> tuple[Sample, ...]:
    degrees = In(value=[0, 1, 2, 5, 9, -1], dtype="int64")
    return (
        Sample(f"torch.special.{name}(x, n)", x=In((3, 6), -1.5, 1.5), n=degrees, grad=False),
        Sample(f"torch.special.{name}(x, 4)", x=In((), -1.5, 1.5), grad=False),
        Sample(f"torch.special.{name}(0.3, n)", n=degrees),
        Sample(f"torch.special.{name}(x, n)", x=(0, 3), n=In((3,), dtype="int64"), grad=False),
        Sample(f"torch.special.{name}(x, 2.7)", x=In(value=[-1.0, 0.0, 1.0]), grad=False),
    )


def _bounded(name: str) -> Callable[..., Type]:
    """infer: made to refuse degrees that would take forever, each being computed from the one before."""

    def infer(x: Expr, n: Expr) -> Type:
        degrees = known(n)
        if degrees is not None and np.max(degrees, initial=0) > _HIGHEST:
            msg = f"{name}() of degree {np.max(degrees)} takes too long"
            raise Invalid("GC019", msg, f"use degrees up to {_HIGHEST}", "n")
        return elementwise_floating(x, n)

    return infer


def _polynomial(
    name: str, function: str, slope: Callable[[Expr, Expr, Expr], Expr], doc: str
) -> None:
    """`slope(out, x, n)` is the derivative in x."""

    def kernel(x: Any, n: Any) -> Any:
        degree = np.trunc(n).astype(np.int64)
        value = getattr(special, function)(np.maximum(degree, 0), x)
        return np.where(degree < 0, 0, value).astype(np.result_type(x), copy=False)

    register(
        f"{name}(Tensor|Scalar x, Tensor|Scalar n)",
        doc=doc,
        infer=one_tensor(name, _bounded(name)),
        kernel=typed(kernel, floating=True),
        vjp=lambda g, out, x, n: (g * slope(out, x, _whole(n)), None),
        on=(),
        also=(f"torch.special.{name}",),
        convention=_CONVENTION,
        broadcasts=True,
        samples=_samples(name),
    )


def _first_chebyshev_slope(out: Expr, x: Expr, n: Expr) -> Expr:
    return n * t.chebyshev_polynomial_u(x, n - 1)  # type: ignore[no-any-return]


def _second_chebyshev_slope(out: Expr, x: Expr, n: Expr) -> Expr:
    """NIST Handbook of Mathematical Functions, 18.9.20, with its limits at -1 and 1."""
    inside = (n + 1) * t.chebyshev_polynomial_t(x, n + 1) - x * out
    return _but_at_ends(x, inside, x * out * (n * (n + 2) / 3))


def _legendre_slope(out: Expr, x: Expr, n: Expr) -> Expr:
    """NIST Handbook of Mathematical Functions, 18.9.17, with its limits at -1 and 1."""
    inside = n * (x * out - t.legendre_polynomial_p(x, n - 1))
    return _but_at_ends(x, inside, x * out * (n * (n + 1) / 2))


def _but_at_ends(x: Expr, numerator: Expr, limit: Expr) -> Expr:
    """`numerator / (x * x - 1)`, and the limit where that is 0 / 0."""
    square = x * x - 1
    return t.where(square.eq(0), limit, numerator / square)  # type: ignore[no-any-return]


def _laguerre_slope(out: Expr, x: Expr, n: Expr) -> Expr:
    """NIST Handbook of Mathematical Functions, 18.9.23, with its limit at 0."""
    inside = n * (out - t.laguerre_polynomial_l(x, n - 1)) / x
    return t.where(x.eq(0), -n * out, inside)  # type: ignore[no-any-return]


def _hermite_slope(name: str, factor: int) -> Callable[[Expr, Expr, Expr], Expr]:
    def slope(out: Expr, x: Expr, n: Expr) -> Expr:
        return factor * n * getattr(t, name)(x, n - 1)  # type: ignore[no-any-return]

    return slope


_polynomial(
    "chebyshev_polynomial_t",
    "eval_chebyt",
    _first_chebyshev_slope,
    "Chebyshev polynomial of the first kind.",
)
_polynomial(
    "chebyshev_polynomial_u",
    "eval_chebyu",
    _second_chebyshev_slope,
    "Chebyshev polynomial of the second kind.",
)
_polynomial(
    "hermite_polynomial_h",
    "eval_hermite",
    _hermite_slope("hermite_polynomial_h", 2),
    "Hermite polynomial as physicists scale it.",
)
_polynomial(
    "hermite_polynomial_he",
    "eval_hermitenorm",
    _hermite_slope("hermite_polynomial_he", 1),
    "Hermite polynomial as it is scaled in probability theory.",
)
_polynomial("laguerre_polynomial_l", "eval_laguerre", _laguerre_slope, "Laguerre polynomial.")
_polynomial("legendre_polynomial_p", "eval_legendre", _legendre_slope, "Legendre polynomial.")


def _combined(name: str, define: Callable[[Expr, Expr], Expr], doc: str) -> None:
    def checked(x: Expr, n: Expr) -> Expr:
        one_tensor(name)(x, n)
        return define(_real(x), n)

    register(
        f"{name}(Tensor|Scalar x, Tensor|Scalar n)",
        doc=doc,
        define=checked,
        on=(),
        also=(f"torch.special.{name}",),
        samples=_samples(name),
    )


def _third(x: Expr, n: Expr) -> Expr:
    n = _whole(n)
    return t.chebyshev_polynomial_u(x, n) - t.chebyshev_polynomial_u(x, n - 1)  # type: ignore[no-any-return]


def _fourth(x: Expr, n: Expr) -> Expr:
    n = _whole(n)
    return t.chebyshev_polynomial_u(x, n) + t.chebyshev_polynomial_u(x, n - 1)  # type: ignore[no-any-return]


_combined("chebyshev_polynomial_v", _third, "Chebyshev polynomial of the third kind.")
_combined("chebyshev_polynomial_w", _fourth, "Chebyshev polynomial of the fourth kind.")


def _shifted(name: str, define: Callable[[Expr, Expr], Expr]) -> None:
    doc = f"{name} of `2 * x - 1`."
    _combined(f"shifted_{name}", lambda x, n: define(2 * x - 1, n), doc)


_shifted("chebyshev_polynomial_t", lambda x, n: t.chebyshev_polynomial_t(x, n))
_shifted("chebyshev_polynomial_u", lambda x, n: t.chebyshev_polynomial_u(x, n))
_shifted("chebyshev_polynomial_v", _third)
_shifted("chebyshev_polynomial_w", _fourth)
