"""Rewrites of sums and products as wholes: like terms, common factors, powers of one base."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.facts import assumed, is_nonnegative, is_nonzero
from gradcheck_cli.calculus.rewrites import expand
from gradcheck_cli.calculus.rewrites.choices import common_factor_of_choices
from gradcheck_cli.calculus.rewrites.patterns import (
    coefficient,
    is_op,
    moderate,
    number,
    pair,
    whole,
)
from gradcheck_cli.calculus.rewrites.sizes import symbolic_shape
from gradcheck_cli.calculus.rewrites.terms import (
    HIGHEST_POWER,
    Product,
    Term,
    common_powers,
    of_value,
    opened,
    plain_sum,
    product_of,
    products_of,
    size_of_product,
    size_up_to,
    sum_of,
    summands_of,
    summed,
    written,
)
from gradcheck_cli.graph import Expr, infix, t

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gradcheck_cli.calculus.rewrites.patterns import Number

# Larger factors needn't be told apart by size.
_LARGE = 64


def _operands(node: Expr) -> list[Product] | None:
    """The two operands of a sum as products: sums that they have in common are seen as one factor."""
    if not plain_sum(node) or node.dtype.kind != "f":
        return None
    left, right = pair(node)
    first = product_of(left) if left.value is None else of_value(left)
    second = product_of(right) if right.value is None else of_value(right)
    if first is None or second is None:
        return None
    if is_op(node, "sub"):
        second.number = -second.number
    return [first, second]


# Sums.


def like_terms(node: Expr) -> Expr | None:
    """`x + y + x -> 2 * x + y`, `x * y - 3 * y * x -> -2 * x * y`, `x + 1 + 2 -> x + 3`.

    Not where nothing is left over: `x - x` is NaN for an infinite x. Nor where nearly nothing is, which
    would show how the numbers were rounded.
    """
    products = products_of(node)
    if products is None:
        return None
    gathered: dict[object, Product] = {}
    for product in products:
        first = gathered.get(product.key)
        if first is None:
            gathered[product.key] = product.copy()
            continue
        total = first.number + product.number
        alone = not first.above and not first.below
        opposite = (first.number > 0) != (product.number > 0)
        if opposite and (alone or abs(total) < 0.1 * abs(first.number)):
            return None
        if not alone and not moderate(total):
            return None
        first.number = total
    return sum_of(gathered.values()) if len(gathered) < len(products) else None


def common_operand(node: Expr) -> Expr | None:
    """`(x + y) + (x + y) * b -> (x + y) * (1 + b)`: the two operands as they stand, sums not taken apart."""
    return _factored(_operands(node))


def common_factor(node: Expr) -> Expr | None:
    """`x * y + x * b -> x * (y + b)`, `x / y - b / y -> (x - b) / y`, `2 * x - 2 * y -> 2 * (x - y)`.

    What was infinity - infinity may become a number: where the common factor is infinite.
    """
    products = products_of(node)
    found = _factored(products)
    if found is None and products is not None:
        return _factored([opened(p) for p in products])
    return found


def _factored(products: list[Product] | None) -> Expr | None:
    if products is None:
        return None
    best: tuple[int, list[int], Product] | None = None
    for members, common in _shared(products):
        saved = _saved([products[i] for i in members], common)
        if saved > 0 and (best is None or saved > best[0]):
            best = saved, members, common
    return None if best is None else _taken_out(products, *best[1:])


def _saved(products: list[Product], common: Product) -> int:
    """About how many nodes shorter a sum becomes when `common` is taken out of its products."""
    weight = sum(size_up_to(base, _LARGE) for base in (*common.above, *common.below))
    again = len(products) - 1
    number = 2 * again if abs(common.number) != 1 else 0
    if not weight:
        return number
    # Where nothing else is left, a 1 is.
    alone = sum(
        not common.below and len(p.above) + len(p.below) == len(common.above) for p in products
    )
    return again * weight + number + again - 2 * alone


def _taken_out(products: list[Product], members: list[int], common: Product) -> Expr | None:
    """The sum of products, of which some have a factor in common."""
    inner = []
    for i in members:
        rest = products[i].without(common.above, common.below)
        rest.number = products[i].number / common.number
        inner.append(rest)
    rests = sum_of(inner)
    if rests is None:
        return None
    outer = common.copy()
    outer.above[rests] = outer.above.get(rests, 0) + 1
    together = written(outer)
    if together is None or len(members) == len(products):
        return together
    others = [
        Product(p.number, p.above, p.below) for i, p in enumerate(products) if i not in members
    ]
    others.insert(0 if members[0] == 0 else len(others), Product(1, {together: 1}))
    return sum_of(others)


def _shared(products: list[Product]) -> Iterable[tuple[list[int], Product]]:
    """Which products have factors in common, and what."""
    places: dict[tuple[Expr, bool], list[int]] = {}
    for i, product in enumerate(products):
        for over, side in ((True, product.above), (False, product.below)):
            for base in side:
                places.setdefault((base, over), []).append(i)
    seen: set[tuple[int, ...]] = set()
    for members in places.values():
        if len(members) < 2 or tuple(members) in seen:
            continue
        seen.add(tuple(members))
        above = common_powers([products[i].above for i in members])
        below = common_powers([products[i].below for i in members])
        yield members, Product(_common_number([products[i].number for i in members]), above, below)
    for value in dict.fromkeys(abs(p.number) for p in products if abs(p.number) != 1):
        members = [i for i, p in enumerate(products) if abs(p.number) == value]
        if len(members) > 1:
            yield members, Product(_common_number([products[i].number for i in members]))


def _common_number(numbers: list[Number]) -> Number:
    first = numbers[0]
    if any(abs(n) != abs(first) for n in numbers):
        return 1
    return first if all(n < 0 for n in numbers) else abs(first)


def added_first(node: Expr) -> Expr | None:
    """`-x - y + b -> b - x - y`: a sum begins with what is added."""
    if not plain_sum(node):
        return None
    summands = summands_of(node)
    if summands[0][0] > 0 or all(sign < 0 for sign, _ in summands):
        return None
    if any(number(summand) is not None for _, summand in summands):
        return None
    return summed(Term(sign, summand) for sign, summand in summands)


# Products.


def gather_powers(node: Expr) -> Expr | None:
    """`x ** 2 * y * x -> x ** 3 * y`, `x ** 2 / y / y -> (x / y) ** 2`.

    What is divided by twice stays so: its square may overflow where the quotient doesn't. Not so what is
    1 or more, since what is divided by it is small where that overflows: `x / (1 + abs(x)) ** 2`.
    """
    product = product_of(node)
    if product is None:
        return None
    above, below = dict(product.above), dict(product.below)
    for power in {*above.values()} & {2, 3, 4}:
        tops = [b for b, p in above.items() if p == power and b.value is None]
        bottoms = [b for b, p in below.items() if p == power and b.value is None]
        if tops and len(tops) + len(bottoms) > 1:
            inside = written(Product(1, dict.fromkeys(tops, 1), dict.fromkeys(bottoms, 1)))
            assert inside is not None
            for base in tops:
                del above[base]
            for base in bottoms:
                del below[base]
            above[inside] = power
            return written(Product(product.number, above, below))
    if product.again and not all(map(_one_or_more, product.again)):
        return None
    return written(product) if product.repeats or product.again else None


def _one_or_more(node: Expr) -> bool:
    if not is_op(node, "add") or not plain_sum(node):
        return False
    left, right = pair(node)
    for value, other in ((number(left), right), (number(right), left)):
        if value is not None and value >= 1:
            return is_nonnegative(other)
    return False


def cancel_nonzero(node: Expr) -> Expr | None:
    """`x / y * y -> x`, `x ** 2 / x -> x`, where what cancels is known not to be zero."""
    if not assumed():
        return None
    product = product_of(node)
    if product is None:
        return None
    both = [base for base in product.above if base in product.below and is_nonzero(base)]
    if not both:
        return None
    gone = {base: min(product.above[base], product.below[base]) for base in both}
    rest = product.without(gone, gone)
    left = written(rest)
    if left is not None and left.shape == node.shape:
        return left
    sizes = symbolic_shape(node)
    if sizes is None:
        return None
    if left is None:
        filling = infix(
            "mul", float(rest.number), size_of_product(Product(1, rest.above, rest.below))
        )
        filled: Expr = t.full(sizes, filling, dtype=node.dtype)
        return filled
    expanded: Expr = left.expand(sizes)
    return expanded


def number_into_sum(node: Expr) -> Expr | None:
    """`2 * x * (0.5 * y + b) -> x * (y + 2 * b)`, `-x * (y - b) -> x * (b - y)`.

    Also from one sum to the other: `(x - y) * (-x - b) -> (y - x) * (x + b)`.
    """
    product = product_of(node)
    if product is None:
        return None
    for base in [b for b, p in product.above.items() if p == 1 and is_op(b, "sub")]:
        inner = products_of(base)
        if inner is not None and all(p.number < 0 for p in inner):
            opposite = sum_of(Product(-p.number, p.above, p.below) for p in inner)
            if opposite is not None:
                above = {opposite if b is base else b: p for b, p in product.above.items()}
                product = Product(-product.number, above, product.below, repeats=True)
    if product.number == 1:
        return written(product) if product.repeats else None
    for base, power in product.above.items():
        if power != 1 or not is_op(base, "add", "sub"):
            continue
        inner = products_of(base)
        if inner is None:
            continue
        scaled_up = [p.number * product.number for p in inner]
        if not any(
            abs(n) == 1 != abs(p.number) or n > 0 > p.number
            for n, p in zip(scaled_up, inner, strict=True)
        ):
            continue
        for p, n in zip(inner, scaled_up, strict=True):
            p.number = whole(n)
        new = sum_of(inner)
        if new is None:
            continue
        above = {new if b is base else b: p for b, p in product.above.items()}
        if len(above) == len(product.above):
            return written(Product(1, above, product.below))
    return None


def size_arithmetic(node: Expr) -> Expr | None:
    """`2.0 * (x.shape[0] * 0.25) * y -> 0.5 * x.shape[0] * y`: the numbers beside sizes are one."""
    if node.value is None:
        return None
    product = product_of(node)
    if product is None:
        return None
    sizes = size_of_product(Product(1, product.above, product.below))
    made = sizes if product.number == 1 else infix("mul", product.number, sizes)
    return made if size_up_to(made, _LARGE) < size_up_to(node, _LARGE) else None


# Powers.


def square(node: Expr) -> Expr | None:
    """`x * x -> x ** 2`, which rounds in the same way."""
    left, right = pair(node)
    if left is not right or left.value is not None or left.dtype.kind != "f":
        return None
    return infix("pow", left, 2)


def power(node: Expr) -> Expr | None:
    """`(2 * x) ** 2 -> 4 * x ** 2`, `(x ** 2) ** 3 -> x ** 6`, `abs(x) ** 2 -> x ** 2`."""
    base, exponent = pair(node)
    count = number(exponent)
    if count is None or base.value is not None or base.dtype.kind != "f":
        return None
    if type(whole(count)) is not type(count):
        return infix("pow", base, whole(count))
    if not isinstance(count, int) or not 1 < count <= HIGHEST_POWER:
        return None
    factor, rest = coefficient(base)
    if factor != 1:
        outside = factor**count
        return (
            infix("mul", whole(outside), infix("pow", rest, count)) if moderate(outside) else None
        )
    if is_op(base, "pow"):
        inner, below = pair(base)
        first = number(below)
        if isinstance(first, int) and 1 < first <= HIGHEST_POWER and first * count <= HIGHEST_POWER:
            return infix("pow", inner, first * count)
    if is_op(base, "abs") and count % 2 == 0:
        return infix("pow", base.inputs[0], count)
    return None


_SUMS = (added_first, common_operand, common_factor)
_PRODUCTS = (gather_powers, number_into_sum)
REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "add": (like_terms,),
    "sub": (like_terms,),
    "mul": (size_arithmetic, square, cancel_nonzero),
    "div": (size_arithmetic, cancel_nonzero),
    "pow": (power,),
}
# Taken only where the form becomes cheaper, see `cost`.
SHORTER: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    **{name: (*expand.SHORTER[name], *_SUMS) for name in ("add", "sub")},
    **{name: (*expand.SHORTER[name], *_PRODUCTS) for name in ("mul", "div")},
    "neg": (number_into_sum,),
    "where": (common_factor_of_choices,),
}
