"""Comparisons, logic on masks, rounding: what has no derivative, or a zero one.

What works on the bits of whole numbers is in `integers.py`.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.graph import Expr, In, Sample, Type, t
from gradcheck_cli.ops._common import (
    common,
    elementwise_bool,
    numeric,
    one_tensor,
    register,
    typed,
    unary,
)
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_INTEGERS = In((6,), dtype="int64", low=-3, high=4)
_MASK = In((6,), dtype="bool")


def _comparison(
    name: str,
    symbol: str,
    ufunc: Callable[..., Any],
    scalar: Callable[..., Any],
    doc: str,
    aliases: tuple[str, ...] = (),
) -> None:
    def kernel(x: Any, y: Any) -> Any:
        # Beside the real axis (complex-step differentiation) the real parts decide.
        x, y = common(x, y)
        return ufunc(np.real(x), np.real(y))

    register(
        f"{name}(Tensor input, Tensor|Scalar other)",
        doc=doc,
        infer=elementwise_bool,
        kernel=kernel,
        complex=ufunc in (np.equal, np.not_equal),
        complex_kernel=ufunc,
        ufunc=ufunc,
        scalar=scalar,
        aliases=aliases,
        infix=symbol,
        elementwise=True,
        samples=(
            Sample(f"x {symbol} 0.5", x=In(value=[0.0, 0.5, 1.0])),
            Sample(f"n {symbol} 1", n=_INTEGERS),
            Sample(f"1 {symbol} n", n=_INTEGERS),
            Sample(f"n {symbol} 0.5", n=_INTEGERS),
            Sample(f"x {symbol} n", n=_INTEGERS, x=In(value=[-1.0, 0.0, 1.0, 2.0, 3.0, 2.5])),
        ),
    )


_comparison("eq", "==", np.equal, operator.eq, "Whether equal.")
_comparison("ne", "!=", np.not_equal, operator.ne, "Whether not equal.", ("not_equal",))
_comparison("lt", "<", np.less, operator.lt, "Whether less.", ("less",))
_comparison("le", "<=", np.less_equal, operator.le, "Whether less or equal.", ("less_equal",))
_comparison("gt", ">", np.greater, operator.gt, "Whether greater.", ("greater",))
_comparison(
    "ge", ">=", np.greater_equal, operator.ge, "Whether greater or equal.", ("greater_equal",)
)

for _name, _test, _doc in (
    ("isnan", np.isnan, "Where the values are NaN."),
    ("isinf", np.isinf, "Where the values are infinite."),
    ("isfinite", np.isfinite, "Where the values are neither NaN nor infinite."),
    ("isposinf", lambda x: np.equal(x, np.inf), "Where the values are positively infinite."),
    ("isneginf", lambda x: np.equal(x, -np.inf), "Where the values are negatively infinite."),
    (
        "isreal",
        lambda x: np.equal(np.imag(x), 0),
        "Where the imaginary part is 0: in real tensors, everywhere.",
    ),
):
    unary(
        _name,
        _test,
        None,
        doc=_doc,
        floating=False,
        analytic=False,
        complex=_name in ("isreal", "isfinite", "isinf", "isnan"),
        infer=elementwise_bool,
        samples=(
            Sample(f"x.{_name}()", x=In(value=[0.0, float("nan"), float("inf"), -float("inf")])),
            Sample(f"torch.{_name}(n)", n=_INTEGERS),
        ),
    )

for _name, _logic, _doc in (
    ("logical_and", np.logical_and, "Whether both are true (not zero)."),
    ("logical_or", np.logical_or, "Whether one of both is true (not zero)."),
    ("logical_xor", np.logical_xor, "Whether exactly one is true (not zero)."),
):
    register(
        f"{_name}(Tensor input, Tensor other)",
        doc=_doc,
        infer=elementwise_bool,
        kernel=typed(_logic),
        ufunc=_logic,
        elementwise=True,
        samples=(
            Sample(f"torch.{_name}(m, n)", m=_MASK, n=_INTEGERS),
            Sample(f"x.{_name}(m)", x=In(value=[0.0, 1.0]), m=In((2,), dtype="bool")),
        ),
    )
unary(
    "logical_not",
    np.logical_not,
    None,
    doc="Whether false (zero).",
    floating=False,
    analytic=False,
    infer=elementwise_bool,
    samples=(Sample("m.logical_not()", m=_MASK), Sample("torch.logical_not(n)", n=_INTEGERS)),
)


def _isclose_type(x: Expr, y: Expr, rtol: float, atol: float, equal_nan: bool) -> Type:
    if x.dtype is not y.dtype:
        msg = f"isclose() wants one dtype, but input is {x.dtype.name} and other {y.dtype.name}"
        raise Invalid("GC016", msg, "give both the same dtype", "other")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not value >= 0:
            msg = f"{name} can't be {value}"
            raise Invalid("GC014", msg, "a tolerance is 0 or more", name)
    return elementwise_bool(x, y)


def _isclose(x: Any, y: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    close = np.equal(x, y)
    if equal_nan and np.asarray(x).dtype.kind in "fc":
        close |= np.isnan(x) & np.isnan(y)
    if rtol == atol == 0:
        return close
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype.kind not in "fc":
        x, y = x.astype(np.float64), y.astype(np.float64)
    distance = np.abs(x - y)
    return close | (np.isfinite(distance) & (distance <= atol + np.abs(rtol * y)))


_TOLERANCES = "float rtol=1e-05, float atol=1e-08, bool equal_nan=False"
_NEARLY = In(value=[1.0, 1.001, float("nan"), float("inf")])
_ONES = In(value=[1.0, 1.0, float("nan"), float("inf")])

register(
    f"isclose(Tensor input, Tensor other, {_TOLERANCES})",
    doc="Whether nearly equal: `|input - other| <= atol + rtol * |other|`.",
    infer=_isclose_type,
    kernel=_isclose,
    elementwise=True,
    samples=(
        Sample("torch.isclose(x, y)", x=_NEARLY, y=_ONES),
        Sample("x.isclose(y, 0.01, equal_nan=True)", x=_NEARLY, y=_ONES),
        Sample("x.isclose(y, rtol=0, atol=0)", x=_NEARLY, y=_ONES),
        Sample("torch.isclose(n, n + 1, atol=1)", n=_INTEGERS),
        Sample("torch.isclose(m, m)", m=_MASK),
    ),
)
register(
    f"allclose(Tensor input, Tensor other, {_TOLERANCES})",
    doc="Whether all elements are nearly equal.",
    define=lambda x, y, **tolerances: t.isclose(x, y, **tolerances).all(),
    samples=(
        Sample("torch.allclose(x, y)", x=_NEARLY, y=_ONES),
        Sample("x.allclose(y, rtol=0.01, equal_nan=True)", x=_NEARLY, y=_ONES),
        Sample("torch.allclose(x, y)", x=(0, 3), y=()),
    ),
)
register(
    "equal(Tensor input, Tensor other)",
    doc="Whether two tensors have the same shape and elements.",
    define=lambda x, y: x.eq(y).all() if x.shape == y.shape else t.full((), False),
    samples=(
        Sample("torch.equal(x, x + 0.0)", x=(2, 3)),
        Sample("x.equal(y)", x=(2, 3), y=(3,)),
        Sample("x.equal(y)", x=(0,), y=(0,)),
    ),
)


def _isin_type(x: Expr, y: Expr, *, assume_unique: bool, invert: bool) -> Type:
    for name, values in (("elements", x), ("test_elements", y)):
        if values.dtype.kind == "b":
            msg = f"isin() isn't defined for masks (dtype bool), as `{name}` is one"
            raise Invalid("GC016", msg, "use the mask itself, or ~mask", name)
    return Type(x.shape, dtypes.bool_)


def _isin(x: Any, y: Any, *, assume_unique: bool, invert: bool) -> Any:
    x, y = common(x, y)
    return np.isin(x, y, invert=invert)


register(
    "isin(Tensor|Scalar elements, Tensor|Scalar test_elements, *, bool assume_unique=False, "
    "bool invert=False)",
    doc="Whether each element is among the others.",
    infer=one_tensor("isin", _isin_type),
    kernel=_isin,
    on=("torch",),
    samples=(
        Sample("torch.isin(n, k)", n=In((2, 3), dtype="int64", low=0, high=9), k=_INTEGERS),
        Sample("torch.isin(x, 0.5, invert=True)", x=In(value=[0.5, 1.0, float("nan")])),
        Sample("torch.isin(2, n, assume_unique=True)", n=In((3,), dtype="int64", low=0, high=5)),
        Sample("torch.isin(x, y)", x=(0, 3), y=(2,)),
        Sample("torch.isin(x, y)", x=(), y=(0,)),
    ),
)


def _rounding(
    name: str, kernel: Callable[..., Any], doc: str, aliases: tuple[str, ...] = ()
) -> None:
    register(
        f"{name}(Tensor input)",
        doc=doc,
        infer=numeric(name),
        kernel=lambda x: kernel(x) if np.asarray(x).dtype.kind == "f" else x,
        vjp=lambda g, out, x: None,
        aliases=aliases,
        elementwise=True,
        kink=lambda x: (x - x.round(),),
        convention="the derivative is 0 everywhere",
        samples=(
            Sample(f"x.{name}()", x=In(value=[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])),
            Sample(f"n.{name}()", n=_INTEGERS),
        ),
    )


_rounding("floor", np.floor, "The next whole number below.")
_rounding("ceil", np.ceil, "The next whole number above.")
_rounding("trunc", np.trunc, "The whole part, rounded towards zero.", ("fix",))


_MOST_DECIMALS = 308


def _round_type(x: Expr, decimals: int) -> Type:
    if abs(decimals) > _MOST_DECIMALS:
        msg = f"round() to {decimals} decimals is beyond what a number can hold"
        raise Invalid("GC014", msg, argument="decimals")
    return numeric("round", floating=decimals != 0)(x)


def _round(x: Any, decimals: int) -> Any:
    if np.asarray(x).dtype.kind != "f":
        return x
    if decimals == 0:
        return np.round(x)
    scale = 10.0 ** abs(decimals)
    return np.round(x * scale) / scale if decimals > 0 else np.round(x / scale) * scale


register(
    "round(Tensor input, *, int decimals=0)",
    doc="The nearest whole number (or decimal), halves to the even one.",
    infer=_round_type,
    kernel=_round,
    vjp=lambda g, out, x, decimals: None,
    also=("torch.special.round",),
    elementwise=True,
    kink=lambda x, decimals: ((y := x * 10.0**decimals + 0.5) - y.round(),),
    convention="the derivative is 0 everywhere",
    samples=(
        # At the halves central differences see the jump.
        Sample("x.round()", x=In(value=[-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]), grad=False),
        Sample("torch.round(x, decimals=2)", x=(3, 4)),
        Sample("x.round(decimals=-1)", x=In((5,), low=11, high=99)),
        Sample("n.round()", n=_INTEGERS),
    ),
)
unary(
    "frac",
    lambda x: x - np.trunc(x),
    lambda g, out, x: g,
    doc="What stands after the decimal point, with the sign.",
    floating=False,
    analytic=False,
    infer=numeric("frac", floating=True),
    kink=lambda x: (x - x.round(),),
    convention="1 everywhere",
)
