"""The last pass: of forms with the same value, the one that a person would write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.rewrites.algebra import negate
from gradcheck_cli.calculus.rewrites.choices import scale_choice
from gradcheck_cli.calculus.rewrites.layout import calculate_filled
from gradcheck_cli.calculus.rewrites.patterns import is_op, number, pair, scaled
from gradcheck_cli.graph import Expr, infix, t

if TYPE_CHECKING:
    from collections.abc import Callable


# Longer products keep their parentheses: to put a number into one shared by others is to copy it.
_MOST_FACTORS = 6


def _is_short_product(node: Expr) -> bool:
    for _ in range(_MOST_FACTORS):
        if not is_op(node, "mul", "matmul"):
            return True
        node = node.inputs[0]
    return False


def _takes_factor(x: Expr) -> bool:
    """Whether a number stands before a factor; what is expanded would take it inside."""
    for _ in range(_MOST_FACTORS):
        if not is_op(x, "mul", "div", "matmul"):
            break
        x = x.inputs[0]
    return x.value is None and not is_op(x, "expand")


def without_parentheses(node: Expr) -> Expr | None:
    """`2 * (a * b) -> 2 * a * b`, `2 * (A @ x) -> 2 * A @ x`: the number goes to the first factor."""
    left, right = pair(node)
    factor = number(left)
    if factor is None or not is_op(right, "mul", "matmul") or not _is_short_product(right):
        return None
    first, second = pair(right)
    return infix(right.op.name, scaled(factor, first), second) if _takes_factor(first) else None


def sign_first(node: Expr) -> Expr | None:
    """`-(a * b) -> -a * b`, `-(A @ x) -> -A @ x`."""
    inner = node.inputs[0]
    if not is_op(inner, "mul", "matmul") or not _is_short_product(inner):
        return None
    first, second = pair(inner)
    return infix(inner.op.name, -first, second) if _takes_factor(first) else None


def name_filled(node: Expr) -> Expr | None:
    """`torch.full(x.shape, 0.0) -> torch.zeros_like(x)`, `torch.full((3,), 1.0) -> torch.ones(3)`."""
    size, value = node.attributes["size"], node.attributes["fill_value"]
    owner = _owner(size)
    if owner is not None and owner.dtype is node.dtype:
        like = {0.0: t.zeros_like, 1.0: t.ones_like}.get(_literal(value))
        named: Expr = t.full_like(owner, value) if like is None else like(owner)
        return named
    make = {0.0: t.zeros, 1.0: t.ones}.get(_literal(value))
    plain: Expr | None = None if make is None else make(size)
    return plain


def _literal(value: Any) -> Any:
    return None if isinstance(value, Expr) else value


def _owner(size: tuple[Any, ...]) -> Expr | None:
    """The tensor of which `size` is the whole shape."""
    first = size[0] if size else None
    if not isinstance(first, Expr) or not is_op(first, "size"):
        return None
    owner = first.inputs[0]
    return owner if size == tuple(owner.size(d) for d in range(owner.ndim)) else None


REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "mul": (calculate_filled, scale_choice, without_parentheses),
    "neg": (sign_first, negate),
    "full": (name_filled,),
}
