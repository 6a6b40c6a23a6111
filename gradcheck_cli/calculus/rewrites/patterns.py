"""What rewrites ask about a node: its number, its coefficient, what fills it, what it is divided by."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import CONST, Expr, infix

if TYPE_CHECKING:
    from collections.abc import Sequence

Number = int | float


def is_op(node: Expr, *names: str) -> bool:
    """Whether the node applies one of these operators."""
    return node.op.name in names


def pair(node: Expr) -> tuple[Expr, Expr]:
    """The two operands."""
    left, right = node.inputs
    return left, right


def number(node: Expr) -> Number | None:
    """The literal that a node is; None for tensors, masks and symbolic sizes."""
    return node.value if node.op is CONST and not isinstance(node.value, bool) else None


def moderate(value: Number) -> bool:
    """Whether a factor can change its place in a product without overflow worth mention."""
    return value != 0 and math.isfinite(value) and 1e-100 < abs(value) < 1e100


def whole(value: Number) -> Number:
    """A number without its `.0`, for use beside a floating-point tensor."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value


def coefficient(node: Expr) -> tuple[Number, Expr]:
    """A node as number times rest: `-x`, `2 * x`, `2 * x / y`, `2 / y`; (1, node) where there is none."""
    if node.value is not None:
        return 1, node
    if is_op(node, "neg"):
        inner, rest = coefficient(node.inputs[0])
        return -inner, rest
    if node.dtype.kind != "f":
        return 1, node
    if is_op(node, "mul"):
        left, right = pair(node)
        value = number(left)
        if value is not None and moderate(value) and right.value is None:
            return value, right
    if is_op(node, "div"):
        top, bottom = pair(node)
        value = number(top)
        if value is not None and moderate(value) and value != 1:
            return value, infix("div", 1, bottom)
        inner, rest = coefficient(top)
        if inner != 1:
            return inner, rest / bottom
    return 1, node


def scaled(factor: Number, rest: Expr) -> Expr:
    """`factor * rest`, written as people do: the number in front, a division by a size last."""
    if factor == 1:
        return rest
    if is_op(rest, "div"):
        top, bottom = pair(rest)
        if number(top) is not None:
            return infix("div", whole(factor * top.value), bottom)  # type: ignore[operator]
        return scaled(factor, top) / bottom
    if factor == -1:
        return -rest
    return whole(factor) * rest if rest.dtype.is_floating else factor * rest


def static_divisor(node: Expr) -> tuple[Expr, Expr | None]:
    """A node as (dividend, divisor), where the divisor is a literal or a size; (node, None) elsewhere."""
    if is_op(node, "div"):
        top, bottom = pair(node)
        if bottom.value is not None and top.value is None:
            return top, bottom
    return node, None


_FILLED = {
    "ones": 1.0,
    "ones_like": 1.0,
    "zeros": 0.0,
    "zeros_like": 0.0,
    "full": None,
    "full_like": None,
}


def filling(node: Expr) -> Any:
    """The number, literal or symbolic, that fills a tensor; None where it isn't filled by one."""
    name = node.op.name
    if name not in _FILLED or node.dtype.kind != "f":
        return None
    value = _FILLED[name]
    return node.attributes["fill_value"] if value is None else value


def as_number(value: Any) -> Expr:
    """A literal or a symbolic size as a node."""
    return value if isinstance(value, Expr) else infix("mul", float(value), 1)


def replaced(args: Sequence[Expr | None], position: int, new: Any) -> list[Any]:
    """The arguments with one of them exchanged."""
    return [*args[:position], new, *args[position + 1 :]]
