"""Rewrites of arithmetic: numbers, signs, like terms, divisions by sizes, first powers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.rewrites.choices import merge_choices, scale_choice
from gradcheck_cli.calculus.rewrites.patterns import (
    Number,
    coefficient,
    filling,
    is_op,
    moderate,
    number,
    pair,
    replaced,
    scaled,
    static_divisor,
    whole,
)
from gradcheck_cli.calculus.rewrites.terms import plain_sum
from gradcheck_cli.graph import Expr, infix, make

if TYPE_CHECKING:
    from collections.abc import Callable


# Products.


def numbers_first(node: Expr) -> Expr | None:
    """`x * 2 -> 2 * x`, `2.0 * x -> 2 * x`; sizes likewise."""
    left, right = pair(node)
    if right.value is not None and left.value is None:
        return right * left
    value = number(left)
    if value is not None and right.dtype.is_floating and right.value is None:
        short = whole(value)
        return short * right if type(short) is not type(value) else None
    return None


def multiply_by_one(node: Expr) -> Expr | None:
    """`1 * x -> x`, `-1 * x -> -x`; a tensor of ones leaves the other factor, expanded."""
    left, right = pair(node)
    value = number(left)
    if value is not None and right.value is None:
        if value == 1:
            return right
        return -right if value == -1 and right.dtype.kind != "b" else None
    for one, other in ((left, right), (right, left)):
        if filling(one) == 1.0 and other.value is None and one.shape == node.shape:
            expanded: Expr = other.expand(one.attributes["size"])
            return expanded
    return None


def multiply_by_size(node: Expr) -> Expr | None:
    """`(2 / n) * x -> 2 * x / n`, `(-n) * x -> -(n * x)`, for a size n."""
    left, right = pair(node)
    if left.value is None or right.value is not None:
        return None
    if is_op(left, "div"):
        top, bottom = pair(left)
        return infix("mul", top, right) / bottom
    return -(left.inputs[0] * right) if is_op(left, "neg") else None


def collect_factors(node: Expr) -> Expr | None:
    """`2 * (3 * x) -> 6 * x`, `x * (2 * y) -> 2 * (x * y)`, `-x * y -> -(x * y)`."""
    left, right = pair(node)
    if left.value is not None:
        value = number(left)
        factor, rest = coefficient(right)
        if value is None:
            return scaled(factor, left * rest) if factor != 1 else None
        if factor == 1:
            return scaled(value, right) if is_op(right, "div") and moderate(value) else None
        return scaled(value * factor, rest) if moderate(value * factor) else None
    (first, x), (second, y) = coefficient(left), coefficient(right)
    if first == second == 1 or not moderate(first * second):
        return None
    return scaled(first * second, infix("mul", x, y))


def multiply_by_reciprocal(node: Expr) -> Expr | None:
    """`(1 / s) * x -> x / s`, `x.numel() * (1 / s) -> x.numel() / s`."""
    left, right = pair(node)
    for inverse, other in ((left, right), (right, left)):
        if is_op(inverse, "div") and number(inverse.inputs[0]) == 1 and number(other) is None:
            return infix("div", other, inverse.inputs[1])
    return None


def divide_last(node: Expr) -> Expr | None:
    """Division by a number last: `(g / n) * x -> (g * x) / n`."""
    left, right = pair(node)
    if left.value is not None and number(left) is None:
        return None  # a size stays beside what it multiplies
    (x, first), (y, second) = static_divisor(left), static_divisor(right)
    if first is not None:
        return infix("mul", x, right) / first
    if second is not None:
        return infix("mul", left, y) / second
    return None


# Quotients.


def divide(node: Expr) -> Expr | None:
    """`x / 1 -> x`, `x / (2 * y) -> 0.5 * (x / y)`, `2 * x / 4 -> x / 2`, `x / 2.0 -> x / 2`."""
    top, bottom = pair(node)
    by = number(bottom)
    if by == 1 and top.dtype is node.dtype:
        return top
    if by is not None and top.dtype is node.dtype and type(whole(by)) is not type(by):
        return top / whole(by)
    value = number(top)
    if value is not None and number(bottom) is None and type(whole(value)) is not type(value):
        return infix("div", whole(value), bottom)
    above, x = coefficient(top) if value is None else (value, top)
    if by is not None:
        return _cancelled(above, x, by) if value is None else None
    below, y = coefficient(bottom)
    if below == 1:
        return None
    ratio = above / below
    if not moderate(ratio) or (ratio * below != above):
        return None
    return infix("div", whole(ratio), y) if value is not None else scaled(ratio, infix("div", x, y))


def _cancelled(above: Number, x: Expr, by: Number) -> Expr | None:
    """`above * x / by` with the common factor gone, where one divides the other."""
    if above in (1, -1) or not moderate(by):
        return None
    if above % by == 0:
        return scaled(whole(above / by), x)
    if by % above == 0:
        shorter = x / whole(abs(by / above))
        return shorter if by / above > 0 else -shorter
    return None


def divide_by_size_last(node: Expr) -> Expr | None:
    """`x / n / y -> x / y / n`, where n is a number or a size and y isn't."""
    top, bottom = pair(node)
    if bottom.value is not None:
        return None
    if top.value is not None and is_op(top, "neg"):
        return -infix("div", top.inputs[0], bottom)
    if top.value is not None and is_op(top, "div"):
        x, by = pair(top)
    else:
        x, divisor = static_divisor(top)
        if divisor is None:
            return None
        by = divisor
    return infix("div", x, bottom) / by


# Signs and sums.


def negate(node: Expr) -> Expr | None:
    """`-(-x) -> x`, `-(2 * x) -> -2 * x`, `-(a - b) -> b - a`, `-(x / n) -> -x / n`."""
    inner = node.inputs[0]
    if inner.value is not None:
        return None
    factor, rest = coefficient(inner)
    if factor != 1:
        return scaled(-factor, rest)
    if is_op(inner, "sub") and plain_sum(inner):
        left, right = pair(inner)
        return infix("sub", right, left)
    if is_op(inner, "div"):
        top, bottom = pair(inner)
        value = number(top)
        if value is not None:
            return infix("div", -value, bottom)
        # The sign of a size's quotient stands before it, as `divide_by_size_last` has it.
        movable = top.value is None and top.dtype.kind != "b"
        return infix("div", -top, bottom) if movable else None
    return None


def add_signed(node: Expr) -> Expr | None:
    """`a + -b -> a - b`, `a - -2 * b -> a + 2 * b`, `-a + b -> b - a`."""
    if not plain_sum(node):
        return None
    left, right = pair(node)
    adding = is_op(node, "add")
    factor, rest = coefficient(right)
    if factor < 0:
        return infix("sub" if adding else "add", left, scaled(-factor, rest))
    if adding and (value := number(right)) is not None and value < 0:
        return infix("sub", left, -value)
    factor, rest = coefficient(left)
    if adding and factor < 0:
        return infix("sub", right, scaled(-factor, rest))
    return None


def whole_summand(node: Expr) -> Expr | None:
    """`x + 1.0 -> x + 1`, `1.0 - x -> 1 - x`."""
    left, right = pair(node)
    if not plain_sum(node) or node.dtype.kind != "f":
        return None
    for position, (value, other) in enumerate(((number(left), right), (number(right), left))):
        if value is not None and other.value is None and other.dtype is node.dtype:
            short = whole(value)
            if type(short) is not type(value):
                return infix(node.op.name, *replaced((left, right), position, short))
    return None


def add_nothing(node: Expr) -> Expr | None:
    """`torch.zeros_like(x) + y -> y`, expanded where it is smaller; `x - 0 -> x`."""
    if not plain_sum(node):
        return None
    left, right = pair(node)
    for zero, other in ((left, right), (right, left)):
        if is_op(node, "sub") and zero is left:
            continue
        if number(zero) == 0 and other.value is None:
            return other
        if filling(zero) == 0.0 and other.value is None:
            if other.shape == node.shape:
                return other
            if zero.shape == node.shape:
                expanded: Expr = other.expand(zero.attributes["size"])
                return expanded
    return None


def collect_terms(node: Expr) -> Expr | None:
    """`x + x -> 2 * x`, `-x - 2 * x -> -3 * x`, `a / n + b / n -> (a + b) / n`.

    Terms of opposite signs stay: where x is infinite, `3 * x - 2 * x` is NaN.
    """
    if not plain_sum(node):
        return None
    left, right = pair(node)
    (first, x), (second, y) = coefficient(left), coefficient(right)
    second = second if is_op(node, "add") else -second
    if x is y and x.value is None and (first > 0) == (second > 0):
        return scaled(first + second, x) if moderate(first + second) else None
    (x, by), (y, also) = static_divisor(left), static_divisor(right)
    if by is not None and by is also:
        return infix(node.op.name, x, y) / by
    return None


# Linear operators let numbers, signs and divisions by sizes out.

_LINEAR = (
    *(
        "unsqueeze",
        "squeeze",
        "reshape",
        "flatten",
        "permute",
        "transpose",
        "T",
        "mT",
        "sum",
        "mean",
    ),
    *(
        "sum_to_size",
        "cumsum",
        "flip",
        "roll",
        "diagonal",
        "diag_embed",
        "select",
        "slice",
        "index",
    ),
    *("gather", "index_select", "trace", "tril", "triu"),
)
_MULTILINEAR = ("matmul", "outer", "einsum", "cross")
# Which arguments of an operator it is linear in, where that isn't the first alone.
_LINEAR_IN = {
    **dict.fromkeys(_MULTILINEAR, slice(None)),
    **dict.fromkeys(("solve", "solve_triangular"), slice(1, 2)),
}


def pull_out(node: Expr) -> Expr | None:
    """`(2 * x).T -> 2 * x.T`, `A @ (x / n) -> (A @ x) / n`."""
    if node.dtype.kind != "f":
        return None
    for position in range(len(node.args))[_LINEAR_IN.get(node.op.name, slice(1))]:
        arg = node.args[position]
        if arg is None or arg.value is not None:
            continue
        # A multiple of integers may be no integer: what is linear in the one may refuse the other.
        factor, rest = coefficient(arg)
        if factor != 1 and rest.dtype == arg.dtype:
            return scaled(factor, _with(node, position, rest))
        rest, by = static_divisor(arg)
        if by is not None and rest.dtype == arg.dtype:
            return _with(node, position, rest) / by
    return None


def inverse_of_multiple(node: Expr) -> Expr | None:
    """`(2 * X).inverse() -> X.inverse() / 2`, `(X / n).inverse() -> n * X.inverse()`."""
    factor, rest = coefficient(node.inputs[0])
    if factor != 1 and rest.dtype == node.inputs[0].dtype:
        return _with(node, 0, rest) / whole(factor)
    rest, by = static_divisor(node.inputs[0])
    if by is None or rest.dtype != node.inputs[0].dtype:
        return None
    return by * _with(node, 0, rest)


def _with(node: Expr, position: int, new: Expr) -> Expr:
    made: Expr = make(node.op, replaced(node.args, position, new), node.attributes)
    return made


def first_power(node: Expr) -> Expr | None:
    """`x ** 1 -> x`."""
    left, right = pair(node)
    return left if number(right) == 1 else None


REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "mul": (
        *(
            numbers_first,
            multiply_by_one,
            multiply_by_size,
            collect_factors,
            divide_last,
            multiply_by_reciprocal,
        ),
        scale_choice,
    ),
    "div": (divide, divide_by_size_last),
    "neg": (negate,),
    "add": (whole_summand, add_nothing, collect_terms, merge_choices, add_signed),
    "sub": (whole_summand, add_nothing, collect_terms, merge_choices, add_signed),
    "pow": (first_power,),
    **dict.fromkeys((*_LINEAR, *_LINEAR_IN), (pull_out,)),
    "inverse": (inverse_of_multiple,),
}
