"""Rewrites of sums that become short once they are multiplied out: what then cancels is gone.

What cancels must still show elsewhere: a NaN in it stays one. And what remains has no differences but of
numbers that are given, so that no digits are lost that weren't lost before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.facts import assumed, is_nonzero
from gradcheck_cli.calculus.rewrites.patterns import coefficient, is_op, moderate, number, pair
from gradcheck_cli.calculus.rewrites.terms import (
    Product,
    common_powers,
    joined,
    opened,
    plain_sum,
    product_of,
    products_of,
    sum_of,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gradcheck_cli.graph import Expr

_MOST_MONOMIALS = 12
_MOST_STEPS = 8 * _MOST_MONOMIALS
# How much of an expression is searched for what it shows.
_REACH = 24
_DEEPEST = 4


def multiplied_out(node: Expr) -> Expr | None:
    """`(1 - x) * y - x * (1 - y) -> y - x`, `1 - x / (1 + x) -> 1 / (1 + x)`.

    Over a common denominator. Where sigmoid(x) and sigmoid(-x) meet, the one is 1 less the other.
    """
    products = products_of(node)
    if products is None:
        return None
    products = [opened(p) for p in products]
    above = common_powers([p.above for p in products])
    below = common_powers([p.below for p in products])
    rests = [p.without(above, below) for p in products]
    denominator: dict[Expr, int] = {}
    for rest in rests:
        for base, power in rest.below.items():
            denominator[base] = max(power, denominator.get(base, 0))
    opposites = _opposites(rests)
    if not (denominator or opposites or any(_is_sum(base) for p in rests for base in p.above)):
        return None
    monomials = _expand([_times(rest, denominator) for rest in rests], opposites)
    if monomials is None:
        return None
    outside = Product(
        1,
        above,
        {base: below.get(base, 0) + denominator.get(base, 0) for base in (*below, *denominator)},
    )
    left = _gathered(monomials, (*above, *below, *denominator))
    if left is None:
        return None
    shared = Product(
        1, common_powers([p.above for p in left]), common_powers([p.below for p in left])
    )
    left = [p.without(shared.above, shared.below) for p in left]
    if any(_degree(p) > 1 for p in left):
        return None
    outside = joined(outside, shared)
    if not any(map(_degree, left)):
        outside.number = sum(p.number for p in left)
        return written(outside)
    total = sum_of(left)
    if total is None:
        return None
    outside.above[total] = outside.above.get(total, 0) + 1
    return written(outside)


def _is_sum(node: Expr) -> bool:
    return is_op(node, "add", "sub") and plain_sum(node) and node.dtype.kind == "f"


def _times(product: Product, denominator: dict[Expr, int]) -> Product:
    """A product times the common denominator."""
    top = Product(product.number, dict(product.above))
    for base, power in denominator.items():
        missing = power - product.below.get(base, 0)
        if missing:
            top.above[base] = top.above.get(base, 0) + missing
    return top


def _opposites(products: list[Product]) -> dict[Expr, Expr]:
    """Each sigmoid whose argument is the negative of another's, with that other."""
    found: dict[Expr, Expr] = {}
    sigmoids = [base for p in products for base in p.above if is_op(base, "sigmoid")]
    for base in sigmoids:
        factor, rest = coefficient(base.inputs[0])
        for other in sigmoids:
            if factor < 0 and coefficient(other.inputs[0]) == (-factor, rest):
                found[base] = other
    return found


def _expand(products: list[Product], opposites: dict[Expr, Expr]) -> list[Product] | None:
    """The products with every sum in them multiplied out; None where too many come of it."""
    done: list[Product] = []
    pending = products
    # A factor that is taken apart into itself again would never come to an end.
    for _ in range(_MOST_STEPS):
        if not pending:
            return done
        product, *pending = pending
        chosen = next(
            (b for b, p in product.above.items() if (_is_sum(b) and p <= 2) or b in opposites), None
        )
        if chosen is None:
            done.append(product)
            continue
        if chosen in opposites:
            parts: list[Product] | None = [Product(1), Product(-1, {opposites[chosen]: 1})]
        else:
            parts = products_of(chosen)
        if parts is None or any(p.below for p in parts):
            return None
        rest = product.without({chosen: 1}, {})
        pending = [*(joined(rest, part) for part in parts), *pending]
        if len(done) + len(pending) > _MOST_MONOMIALS:
            return None
    return None


def _gathered(monomials: list[Product], shown: Iterable[Expr]) -> list[Product] | None:
    """Like terms together; None where there are none, or what cancels is seen nowhere else."""
    totals: dict[object, Product] = {}
    for product in monomials:
        first = totals.setdefault(product.key, Product(0, product.above, product.below))
        first.number += product.number
    gone = [p for p in totals.values() if not p.number]
    left = [p for p in totals.values() if p.number]
    if len(left) == len(monomials) or not left or not all(moderate(p.number) for p in left):
        return None
    seen = [*shown, *(base for p in left for base in (*p.above, *p.below))]
    hidden = [base for p in gone for base in (*p.above, *p.below) if not _shown(base, seen)]
    return None if hidden else left


def _degree(product: Product) -> int:
    return sum(product.above.values()) + sum(product.below.values())


_SHOWING = frozenset(
    ["add", "sub", "mul", "div", "neg", "pow", "exp", "sigmoid", "tanh", "abs", "sqrt"]
)


def _shown(base: Expr, seen: Sequence[Expr], depth: int = 0) -> bool:
    """Whether an element that is NaN in `base` is so in one of `seen`."""
    if base.value is not None:
        return True
    pending = list(seen)
    for looked_at, node in enumerate(pending):
        if node is base:
            return True
        if looked_at > _REACH:
            break
        if node.op.name in _SHOWING:
            pending += node.inputs
    # Of finite numbers these are never NaN.
    if depth == _DEEPEST or not is_op(base, "add", "sub", "neg"):
        return False
    return all(_shown(arg, seen, depth + 1) for arg in base.inputs)


def cancelled_in_sum(node: Expr) -> Expr | None:
    """`(y / s - b) * s -> y - b * s`, where s isn't zero; `s = sigmoid(x)` isn't, unless it underflows.

    Also below: `x / (1 + y / s) / s -> x / (s + y)`.
    """
    product = product_of(node)
    if product is None:
        return None
    for over, side in ((True, product.above), (False, product.below)):
        for total, power in side.items():
            inner = products_of(total) if power == 1 and _is_sum(total) else None
            if inner is None:
                continue
            divided = {base for p in inner for base in p.below}
            into = {base: 1 for base in side if base in divided and _never_zero(base)}
            if not into:
                continue
            gone = {**into, total: 1}
            rest = product.without(gone, {}) if over else product.without({}, gone)
            new = [_reduced(p, into) for p in inner]
            seen = [base for p in (*new, rest) for base in (*p.above, *p.below)]
            summed = sum_of(new)
            if summed is None or not all(_shown(base, seen) for base in into):
                continue
            kept = rest.above if over else rest.below
            kept[summed] = kept.get(summed, 0) + 1
            return written(rest)
    return None


def _reduced(product: Product, factors: dict[Expr, int]) -> Product:
    """A product times factors, of which those that it is divided by cancel."""
    above, below = dict(product.above), dict(product.below)
    for base in factors:
        if base in below:
            below[base] -= 1
        else:
            above[base] = above.get(base, 0) + 1
    return Product(product.number, above, {b: p for b, p in below.items() if p})


def _never_zero(base: Expr) -> bool:
    """Whether a factor is nonzero, unless it underflows or, beside 1, is rounded to it."""
    if is_nonzero(base):
        return True
    meant = assumed().definitions.get(base, base)
    if is_op(meant, "sub") and plain_sum(meant):
        left, right = pair(meant)
        meant = assumed().definitions.get(right, right)
        return number(left) == 1 and is_op(meant, "sigmoid")
    return is_op(meant, "exp", "sigmoid", "softmax", "cosh")


def cancelled(node: Expr) -> Expr | None:
    """`s * (1 - s) / s -> 1 - s` for `s = sigmoid(x)`, which isn't zero unless it underflows."""
    product = product_of(node)
    if product is None:
        return None
    both = [base for base in product.above if base in product.below and _never_zero(base)]
    if not both:
        return None
    gone = {base: min(product.above[base], product.below[base]) for base in both}
    rest = product.without(gone, gone)
    seen = (*rest.above, *rest.below)
    return written(rest) if all(_shown(base, seen) for base in both) else None


SHORTER: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "add": (multiplied_out,),
    "sub": (multiplied_out,),
    "mul": (cancelled, cancelled_in_sum),
    "div": (cancelled, cancelled_in_sum),
}
