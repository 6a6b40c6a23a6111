"""Rewrites of products that are a function by name: `exp(x) / (1 + exp(x)) -> sigmoid(x)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.facts import is_finite, is_nonnegative, is_nonzero, is_positive
from gradcheck_cli.calculus.rewrites.patterns import coefficient, is_op, number, pair, scaled
from gradcheck_cli.calculus.rewrites.terms import Product, plain_sum, product_of, written
from gradcheck_cli.graph import Expr, infix, t

if TYPE_CHECKING:
    from collections.abc import Callable


def of_real(node: Expr) -> bool:
    """Whether a function's argument is a floating-point tensor, as some functions want it."""
    return node.inputs[0].dtype.kind == "f"


def beside_one(node: Expr) -> Expr | None:
    """What is added to 1."""
    if is_op(node, "add") and plain_sum(node):
        left, right = pair(node)
        if number(left) == 1:
            return right
        if number(right) == 1:
            return left
    return None


def opposite(x: Expr) -> Expr:
    """The negative, a difference the other way round."""
    factor, rest = coefficient(x)
    if is_op(rest, "sub") and plain_sum(rest):
        left, right = pair(rest)
        return scaled(factor, infix("sub", right, left))
    return scaled(-factor, rest)


def sigmoid(x: Expr) -> Expr:
    """The logistic function of a node."""
    named: Expr = x.sigmoid()
    return named


def _logistic(product: Product) -> None:
    """`1 / (1 + exp(-x)) -> sigmoid(x)`, `exp(x) / (1 + exp(x)) -> sigmoid(x)`."""
    for base, power in tuple(product.below.items()):
        exp = beside_one(base)
        if exp is None or not is_op(exp, "exp") or not of_real(exp):
            continue
        x = exp.inputs[0]
        del product.below[base]
        over = min(power, product.above.get(exp, 0))
        _take(product.above, exp, over)
        _put(product.above, sigmoid(x), over)
        _put(product.above, sigmoid(opposite(x)), power - over)
    for base in tuple(product.above):
        if is_op(base, "exp"):
            beside = sigmoid(opposite(base.inputs[0]))
            power = min(product.above.get(base, 0), product.above.get(beside, 0))
            _take(product.above, base, power)
            _take(product.above, beside, power)
            _put(product.above, sigmoid(base.inputs[0]), power)


def _softmax(product: Product) -> None:
    """`exp(x) / exp(x).sum(1, keepdim=True) -> softmax(x, 1)`, of finite numbers.

    Of a row with infinity, softmax is NaN everywhere, and this in that element alone.
    """
    for base in tuple(product.below):
        total = base.inputs[0] if is_op(base, "unsqueeze") else base
        if not is_op(total, "sum") or product.above.get(total.inputs[0], 0) == 0:
            continue
        exp = total.inputs[0]
        dim = _row(base, total, exp)
        if not is_op(exp, "exp") or dim is None or not is_finite(exp.inputs[0]):
            continue
        named: Expr = t.softmax(exp.inputs[0], dim)
        power = min(product.above[exp], product.below[base])
        _take(product.above, exp, power)
        _take(product.below, base, power)
        _put(product.above, named, power)


def _row(base: Expr, total: Expr, x: Expr) -> int | None:
    """The dimension that `total` sums over, where dividing by `base` divides by the sum of one's own row."""
    attributes = total.attributes
    dims = attributes["dim"]
    if attributes["dtype"] is not None or not x.ndim:
        return None
    if dims is None:
        dims = tuple(range(x.ndim))
    if len(dims) != 1:
        return None
    dim: int = dims[0]
    if base is not total:
        fits = base.attributes["dim"] % base.ndim == dim % x.ndim and not attributes["keepdim"]
    else:
        fits = attributes["keepdim"] or dim % x.ndim == 0
    return dim if fits else None


_QUOTIENTS = (("sinh", "cosh", "tanh"), ("sin", "cos", "tan"))


def _tangent(product: Product) -> None:
    """`sinh(x) / cosh(x) -> tanh(x)`, `sin(x) / cos(x) -> tan(x)`."""
    for over, under, name in _QUOTIENTS:
        for base in [base for base in product.above if is_op(base, over)]:
            below: Expr = getattr(t, under)(*base.inputs)
            if below not in product.below:  # an even function, which may have had a sign taken out
                below = getattr(t, under)(opposite(base.inputs[0]))
            power = min(product.above.get(base, 0), product.below.get(below, 0))
            _take(product.above, base, power)
            _take(product.below, below, power)
            _put(product.above, getattr(t, name)(*base.inputs), power)


def _absolute(product: Product) -> None:
    """`abs(x) * sign(x) -> x`, `x * sign(x) -> abs(x)`; where x isn't 0, `x / abs(x) -> sign(x)`."""
    for base in [base for base in product.above if is_op(base, "sign")]:
        x = base.inputs[0]
        size: Expr = x.abs()
        for other, result in ((size, x), (x, size)):
            power = min(product.above.get(base, 0), product.above.get(other, 0))
            _take(product.above, base, power)
            _take(product.above, other, power)
            _put(product.above, result, power)
    for base in [base for base in product.below if is_op(base, "abs")]:
        x = base.inputs[0]
        power = min(product.below.get(base, 0), product.above.get(x, 0))
        if power and is_nonzero(x):
            _take(product.below, base, power)
            _take(product.above, x, power)
            _put(product.above, x.sign(), power)


def _exponentials(product: Product) -> None:
    """`exp(x) * exp(y) -> exp(x + y)`, `exp(x) / exp(y) -> exp(x - y)`, `1 / exp(x) -> exp(-x)`."""
    above = [(b.inputs[0], p) for b, p in product.above.items() if is_op(b, "exp")]
    below = [(b.inputs[0], p) for b, p in product.below.items() if is_op(b, "exp")]
    alone = not any(b.value is None for b in product.above)
    if sum(p for _, p in above + below) < 2 and not (below and alone):
        return
    if not above and not alone:
        return
    exponent: Any = None
    for x, power in [*above, *((x, -power) for x, power in below)]:
        term = scaled(power, x)
        exponent = term if exponent is None else exponent + term
    for x, _ in above:
        del product.above[x.exp()]
    for x, _ in below:
        del product.below[x.exp()]
    _put(product.above, exponent.exp(), 1)


def _roots(product: Product) -> None:
    """`1 / sqrt(x) -> rsqrt(x)`; where x is positive, `x / sqrt(x) -> sqrt(x)`, `sqrt(x) * sqrt(x) -> x`."""
    for base in [base for base in product.below if is_op(base, "sqrt")]:
        x = base.inputs[0]
        power = min(product.below.get(base, 0), product.above.get(x, 0))
        if power and is_positive(x):
            _take(product.below, base, power)
            _take(product.above, x, power)
            _put(product.above, base, power)
    for base in [
        base for base in product.below if is_op(base, "sqrt") and product.below[base] == 1
    ]:
        _under_root(product, base)
    for side in (product.above, product.below):
        for base in [base for base in side if is_op(base, "sqrt") and side[base] > 1]:
            if is_nonnegative(base.inputs[0]):
                pairs = side[base] // 2
                _take(side, base, 2 * pairs)
                _put(side, base.inputs[0], pairs)
    if not product.above and len(product.below) == 1:
        (base, power), *_ = product.below.items()
        if is_op(base, "sqrt"):
            del product.below[base]
            _put(product.above, base.inputs[0].rsqrt(), power)


def _under_root(product: Product, base: Expr) -> None:
    """`x / sqrt(x * y) -> sqrt(x / y)`, where x is positive."""
    inside = product_of(base.inputs[0])
    if inside is None or len(inside.above) + len(inside.below) < 2 or inside.number < 0:
        return
    for x in inside.above:
        if inside.above[x] == 1 and product.above.get(x) == 1 and is_positive(x):
            rest = Product(1 / inside.number, {x: 1, **inside.below}, _without(inside.above, x))
            new = written(rest)
            if new is not None:
                _take(product.below, base, 1)
                _take(product.above, x, 1)
                _put(product.above, new.sqrt(), 1)
            return


def _without(side: dict[Expr, int], base: Expr) -> dict[Expr, int]:
    return {b: p for b, p in side.items() if b is not base}


def _gated(product: Product) -> None:
    """`x * sigmoid(x) -> silu(x)`."""
    for base in [base for base in product.above if is_op(base, "sigmoid")]:
        power = min(product.above.get(base, 0), product.above.get(base.inputs[0], 0))
        _take(product.above, base, power)
        _take(product.above, base.inputs[0], power)
        if power:
            _put(product.above, t.silu(base.inputs[0]), power)


def _take(side: dict[Expr, int], base: Expr, power: int) -> None:
    if power:
        side[base] -= power
        if not side[base]:
            del side[base]


def _put(side: dict[Expr, int], base: Expr, power: int) -> None:
    if power:
        side[base] = side.get(base, 0) + power


_RULES = (_logistic, _softmax, _tangent, _absolute, _exponentials, _roots, _gated)
# Products without any of these hold nothing that has a name.
_NAMED = frozenset(["exp", "sigmoid", "sinh", "sin", "abs", "sign", "sqrt", "add"])


def name_product(node: Expr) -> Expr | None:
    """`exp(x) / (1 + exp(x)) -> sigmoid(x)`, and what `_RULES` say of further products."""
    product = product_of(node)
    if product is None:
        return None
    before = {**product.above}, {**product.below}
    named = [base for side in before for base in side if base.op.name in _NAMED]
    if not named or not all(of_real(base) for base in named if not is_op(base, "add")):
        return None
    for rule in _RULES:
        rule(product)
    return None if (product.above, product.below) == before else written(product)


# Taken only where the form becomes cheaper, see `cost`.
SHORTER: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "mul": (name_product,),
    "div": (name_product,),
}
