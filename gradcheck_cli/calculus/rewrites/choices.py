"""Rewrites of arithmetic on choices: what `torch.where` takes in, and what its branches have in common."""

from __future__ import annotations

from typing import Any

from gradcheck_cli.calculus.rewrites.patterns import (
    Number,
    coefficient,
    is_op,
    moderate,
    number,
    pair,
    replaced,
    scaled,
)
from gradcheck_cli.calculus.rewrites.terms import (
    Product,
    common_powers,
    plain_sum,
    product_of,
    size_of_product,
    written,
)
from gradcheck_cli.graph import Expr, infix, t


def scale_choice(node: Expr) -> Expr | None:
    """`2 * torch.where(m, a, 0.0) -> torch.where(m, 2 * a, 0.0)`, also where a product stands between."""
    left, right = pair(node)
    value = number(left)
    if value is None or not moderate(value):
        return None
    return _into_choice(value, right)


def _into_choice(value: Number, x: Expr, depth: int = 0) -> Expr | None:
    """A number times something that has a choice for a factor; None where it has none."""
    if is_op(x, "where"):
        mask, *branches = x.inputs
        if x.dtype.kind != "f" or not any(number(branch) == 0 for branch in branches):
            return None
        chosen: Expr = t.where(mask, *(_times(value, branch) for branch in branches))
        return chosen
    if not is_op(x, "mul") or depth == _MOST_FACTORS:
        return None
    for position, factor in enumerate(x.inputs):
        scaled_up = _into_choice(value, factor, depth + 1)
        if scaled_up is not None:
            return infix("mul", *replaced(x.inputs, position, scaled_up))
    return None


# As many factors may stand between a number and the end of its product when it is presented.
_MOST_FACTORS = 6


def _times(value: Number, branch: Expr, depth: int = 0) -> Any:
    if number(branch) == 0:
        return branch
    if branch.value is not None:
        return infix("mul", value, branch)
    factor, rest = coefficient(branch)
    if factor == 1 and is_op(branch, "mul", "matmul") and depth < _MOST_FACTORS:
        left, right = pair(branch)
        if _leads_with_number(left):
            return infix(branch.op.name, _times(value, left, depth + 1), right)
    return scaled(value * factor, rest) if moderate(value * factor) else scaled(value, branch)


def _leads_with_number(node: Expr) -> bool:
    for _ in range(_MOST_FACTORS):
        if coefficient(node)[0] != 1:
            return True
        if not is_op(node, "mul", "matmul"):
            return False
        node = node.inputs[0]
    return False


def merge_choices(node: Expr) -> Expr | None:
    """`torch.where(m, a, 0.0) + torch.where(m, 0.0, b) -> torch.where(m, a, b)`."""
    left, right = pair(node)
    if not (plain_sum(node) and is_op(left, "where") and is_op(right, "where")):
        return None
    (mask, *first), (other, *second) = left.inputs, right.inputs
    if mask is not other:
        return None
    merged = []
    for a, b in zip(first, second, strict=True):
        if number(b) == 0:
            merged.append(a)
        elif number(a) == 0:
            merged.append(b if is_op(node, "add") else infix("neg", b))
        else:
            return None
    chosen: Expr = t.where(mask, *merged)
    return chosen


def common_factor_of_choices(node: Expr) -> Expr | None:
    """`torch.where(mask, x * y, x) -> x * torch.where(mask, y, 1.0)`: the same is multiplied."""
    mask, *branches = node.inputs
    if node.dtype.kind != "f" or any(branch.value is not None for branch in branches):
        return None
    products = [product_of(branch) for branch in branches]
    first, second = products
    if first is None or second is None:
        return None
    above = common_powers([first.above, second.above])
    below = common_powers([first.below, second.below])
    if not above and not below:
        return None
    rests = [_rest(p.without(above, below)) for p in (first, second)]
    choice: Expr = t.where(mask, *rests)
    outer = Product(1, {**above, choice: 1}, below)
    return written(outer)


def _rest(product: Product) -> Expr:
    rest = written(product)
    if rest is None:
        rest = infix(
            "mul", float(product.number), size_of_product(Product(1, product.above, product.below))
        )
    return rest
