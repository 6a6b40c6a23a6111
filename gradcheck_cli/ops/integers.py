"""Whole numbers bit by bit, and common divisors; masks are whole numbers of one bit."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import Expr, In, Sample, Type
from gradcheck_cli.ops._common import elementwise, one_tensor, register, typed
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

_INTEGERS = In((6,), dtype="int64", low=-3, high=4)
_MASK = In((6,), dtype="bool")


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


def _of_integers(name: str) -> Callable[..., Type]:
    def check(x: Expr, y: Expr) -> Type:
        result = elementwise(x, y)
        if result.dtype.kind != "i":
            shown = next((a.dtype for a in (x, y) if a.dtype.kind != "i"), result.dtype)
            msg = f"{name}() is for whole numbers, not for {shown.name}"
            raise Invalid("GC016", msg, "make whole numbers of it: x.to(torch.int64)")
        return result

    return check


for _name, _ufunc, _doc in (
    ("gcd", np.gcd, "Greatest common divisor."),
    ("lcm", np.lcm, "Least common multiple."),
):
    register(
        f"{_name}(Tensor input, Tensor other)",
        doc=_doc,
        infer=_of_integers(_name),
        kernel=typed(_ufunc),
        broadcasts=True,
        samples=(
            Sample(f"torch.{_name}(n, k)", n=_INTEGERS, k=In((2, 1), dtype="int64", high=9)),
            Sample(f"n.{_name}(n)", n=In((), dtype="int64", low=-6, high=6)),
            Sample(f"n.{_name}(n)", n=In((0, 2), dtype="int64")),
        ),
    )


def _shift(shift: Callable[..., Any], *, left: bool) -> Callable[..., Any]:
    """C leaves shifts by as many bits as there are, or by fewer than none, to chance; PyTorch doesn't."""

    def kernel(x: Any, by: Any) -> Any:
        bits = 8 * x.dtype.itemsize
        beyond = (by < 0) | (by >= bits)
        rest = 0 if left else np.where(x < 0, -1, 0).astype(x.dtype)
        return np.where(beyond, rest, shift(x, np.where(beyond, 0, by))).astype(x.dtype)

    return typed(kernel)


for _name, _kernel, _doc in (
    ("bitwise_left_shift", _shift(np.left_shift, left=True), "`input * 2 ** other`, bit by bit."),
    ("bitwise_right_shift", _shift(np.right_shift, left=False), "`input // 2 ** other`."),
):
    register(
        f"{_name}(Tensor|Scalar input, Tensor|Scalar other)",
        doc=_doc,
        infer=one_tensor(_name, _of_integers(_name)),
        kernel=_kernel,
        broadcasts=True,
        samples=(
            Sample(f"torch.{_name}(n, 2)", n=_INTEGERS),
            Sample(f"torch.{_name}(5, n)", n=In(value=[0, 1, 63, 64, 70], dtype="int64")),
            Sample(
                f"n.{_name}(k)",
                n=In((2, 1), dtype="int64", low=-9, high=9),
                k=In((3,), dtype="int64", high=4),
            ),
        ),
    )
