"""Bessel functions and Airy's.

PyTorch differentiates i0, i0e, i1 and i1e. The gradients of the others are those of the functions; in
PyTorch none flows through them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, t
from gradcheck_cli.ops._common import elementwise_floating, register, special, typed, unary
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable


def _called(name: str) -> Callable[[Any], Any]:
    return lambda x: getattr(special, name)(x)


def _first_kind(name: str, vjp: Callable[[Expr, Expr, Expr], Expr], doc: str) -> None:
    """Modified Bessel functions of the first kind; those not scaled are NaN at infinity, as in PyTorch."""
    function = _called(name)

    def kernel(x: Any) -> Any:
        return function(x) if name.endswith("e") else np.where(np.isinf(x), np.nan, function(x))

    unary(
        name,
        typed(kernel, floating=True),
        vjp,
        doc=doc,
        analytic=False,
        on=("torch", "Tensor") if name == "i0" else (),
        also=(f"torch.special.{name}",),
        samples=(
            Sample(f"torch.special.{name}(x)", x=In(value=[-9.0, -0.1, 0.0, 8.0, 40.0])),
            Sample(f"torch.special.{name}(n)", n=In((4,), dtype="int64", low=-3, high=4)),
        ),
    )


def _over(out: Expr, x: Expr) -> Expr:
    """`out / x` for odd functions of slope 1/2 at 0, with that limit there."""
    # Not divided by 0 where the limit is taken, so that the derivative of this is finite too.
    return t.where(x.eq(0), 0.5, out / t.where(x.eq(0), 1.0, x))  # type: ignore[no-any-return]


_first_kind(
    "i0",
    lambda g, out, x: g * t.i1(x),
    "Modified Bessel function of the first kind and order 0.",
)
_first_kind(
    "i0e",
    lambda g, out, x: g * (t.i1e(x) - x.sign() * out),
    "`exp(-|x|) * i0(x)`.",
)
_first_kind(
    "i1",
    lambda g, out, x: g * (t.i0(x) - _over(out, x)),
    "Modified Bessel function of the first kind and order 1.",
)
_first_kind(
    "i1e",
    lambda g, out, x: g * (t.i0e(x) - x.sign() * out - _over(out, x)),
    "`exp(-|x|) * i1(x)`.",
)


def _only_in_special(
    name: str, kernel: Callable[[Any], Any], vjp: Callable[[Expr, Expr, Expr], Expr], doc: str
) -> None:
    """A function of which PyTorch has no derivative, so that its gradient can't be compared there."""
    # Of these, PyTorch's own values in float64 have no more than 8 digits.
    single = name.startswith(("bessel", "airy"))
    low, high = (0.3, 2.0) if single or "_k" in name else (-6.0, 6.0)

    def drawn(*shape: int) -> In:
        return In(shape, low, high, dtype="float32" if single else "float64")

    whole = "torch.special.{}(n){}".format(name, ".to(torch.float32)" if single else "")
    # PyTorch's older functions call it `input`, for which `x` stands too.
    argument = "input" if name.startswith(("bessel", "modified")) else "x"
    register(
        f"{name}(Tensor {argument})",
        doc=doc,
        infer=elementwise_floating,
        kernel=typed(kernel, floating=True),
        vjp=vjp,
        on=(),
        also=(f"torch.special.{name}",),
        broadcasts=True,
        samples=(
            Sample(f"torch.special.{name}(x)", x=drawn(3, 4), grad=False),
            Sample(f"torch.special.{name}(x)", x=drawn(), grad=False),
            Sample(f"torch.special.{name}(x)", x=drawn(0, 3), grad=False),
            Sample(whole, n=In((4,), dtype="int64", low=1, high=5)),
        ),
    )


_only_in_special(
    "bessel_j0",
    _called("j0"),
    lambda g, out, x: -g * t.bessel_j1(x),
    "Bessel function of the first kind and order 0.",
)
_only_in_special(
    "bessel_j1",
    _called("j1"),
    lambda g, out, x: g * (t.bessel_j0(x) - _over(out, x)),
    "Bessel function of the first kind and order 1.",
)
_only_in_special(
    "bessel_y0",
    _called("y0"),
    lambda g, out, x: -g * t.bessel_y1(x),
    "Bessel function of the second kind and order 0.",
)
_only_in_special(
    "bessel_y1",
    _called("y1"),
    lambda g, out, x: g * (t.bessel_y0(x) - out / x),
    "Bessel function of the second kind and order 1.",
)
_only_in_special(
    "modified_bessel_k0",
    _called("k0"),
    lambda g, out, x: -g * t.modified_bessel_k1(x),
    "Modified Bessel function of the second kind and order 0.",
)
_only_in_special(
    "modified_bessel_k1",
    _called("k1"),
    lambda g, out, x: -g * (t.modified_bessel_k0(x) + out / x),
    "Modified Bessel function of the second kind and order 1.",
)
_only_in_special(
    "scaled_modified_bessel_k0",
    _called("k0e"),
    lambda g, out, x: g * (out - t.scaled_modified_bessel_k1(x)),
    "`exp(x) * modified_bessel_k0(x)`.",
)
_only_in_special(
    "scaled_modified_bessel_k1",
    _called("k1e"),
    lambda g, out, x: g * (out - t.scaled_modified_bessel_k0(x) - out / x),
    "`exp(x) * modified_bessel_k1(x)`.",
)
_only_in_special(
    "spherical_bessel_j0",
    lambda x: np.asarray(special.spherical_jn(0, x), np.result_type(x)),
    lambda g, out, x: t.where(x.eq(0), 0.0, g * (x.cos() - out) / x),
    "`sin(x) / x`, the spherical Bessel function of order 0.",
)
_NOTHING = 110


def _no_slope(g: Expr, out: Expr, x: Expr) -> Expr:
    msg = "airy_ai() has no derivative here: PyTorch has no function for it"
    raise Invalid("GC014", msg, "hold its argument fast: x.detach()")


_only_in_special(
    "airy_ai",
    # Where the result is too small for a number, SciPy gives up.
    lambda x: np.where(x > _NOTHING, 0, special.airy(np.minimum(x, _NOTHING))[0]),
    _no_slope,
    "Airy's function Ai; its gradient is refused, because PyTorch has no function for Ai'.",
)
for _order in (0, 1):
    register(
        f"modified_bessel_i{_order}(Tensor input)",
        doc=f"The same function as i{_order}; PyTorch has no derivative of this one.",
        define=(lambda input: t.i0(input)) if _order == 0 else (lambda input: t.i1(input)),
        on=(),
        also=(f"torch.special.modified_bessel_i{_order}",),
        elementwise=True,
    )
