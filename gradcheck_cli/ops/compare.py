"""Comparisons, logic on masks, rounding: what has no derivative, or a zero one."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type
from gradcheck_cli.ops._common import (
    common,
    elementwise,
    elementwise_bool,
    numeric,
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
):
    unary(
        _name,
        _test,
        None,
        doc=_doc,
        floating=False,
        analytic=False,
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


def _bitwise(name: str, symbol: str) -> Callable[..., Type]:
    def check(*args: Expr) -> Type:
        result = elementwise(*args)
        if result.dtype.kind not in "bi":
            shown = next(a.dtype.name for a in args if a.dtype.kind not in "bi")
            msg = f"`{symbol}` ({name}) is for masks and integers, not for {shown}"
            hint = f"compare first, in parentheses: (x > 0) {symbol} (y > 0)"
            raise Invalid("GC016", msg, "compare first: ~(x > 0)" if symbol == "~" else hint)
        return result

    return check


for _name, _symbol, _bits, _scalar, _doc in (
    ("bitwise_and", "&", np.bitwise_and, operator.and_, "Both, for masks or bit by bit."),
    ("bitwise_or", "|", np.bitwise_or, operator.or_, "One of both, for masks or bit by bit."),
    ("bitwise_xor", "^", np.bitwise_xor, operator.xor, "Exactly one, for masks or bit by bit."),
):
    register(
        f"{_name}(Tensor|Scalar input, Tensor|Scalar other)",
        doc=_doc,
        infer=_bitwise(_name, _symbol),
        kernel=typed(_bits),
        ufunc=_bits,
        broadcasts=True,
        scalar=_scalar,
        infix=_symbol,
        samples=(
            Sample(f"m {_symbol} k", m=_MASK, k=In((2, 6), dtype="bool")),
            Sample(f"(x > 0) {_symbol} (x < 1)", x=(4,)),
            Sample(f"torch.{_name}(n, 3)", n=_INTEGERS),
            Sample(f"m.{_name}(n)", m=_MASK, n=_INTEGERS),
            Sample(f"m {_symbol} k", m=In((), dtype="bool"), k=In((0, 2), dtype="bool")),
        ),
    )
register(
    "bitwise_not(Tensor input)",
    doc="The inverse of a mask, or of every bit.",
    infer=_bitwise("bitwise_not", "~"),
    kernel=np.bitwise_not,
    ufunc=np.bitwise_not,
    broadcasts=True,
    # Python's ~ on True is deprecated; with + it is the integer 1 first.
    scalar=lambda x: operator.invert(+x),
    infix="~",
    samples=(
        Sample("~m", m=_MASK),
        Sample("~(x > 0)", x=()),
        Sample("n.bitwise_not()", n=_INTEGERS),
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
