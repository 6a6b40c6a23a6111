"""Sums and products as wholes: a chain of `+` and `-`, of `*`, `/` and `** n`, taken apart and put together.

However a product is arranged, it is NaN for the same finite and infinite factors: where one of them is NaN,
or where some pull to zero and others to infinity. So factors may change places, and equal ones on the same
side of the fraction may become a power; one above may not cancel one below, unless it is known not to be 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from gradcheck_cli.calculus.rewrites.patterns import (
    Number,
    is_op,
    moderate,
    number,
    pair,
    scaled,
    whole,
)
from gradcheck_cli.graph import CONST, Expr, const, infix, symbolic_sizes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Longer chains are taken as they stand, so that every node is looked at in bounded time.
MOST_TERMS = 8
MOST_FACTORS = 12
HIGHEST_POWER = 1000


@dataclass
class Product:
    """`number * above / below`: what is multiplied, each with its power, in order of appearance."""

    number: Number = 1
    above: dict[Expr, int] = field(default_factory=dict)
    below: dict[Expr, int] = field(default_factory=dict)
    # Whether some factor is multiplied by more than once, or numbers in more places: one would do.
    repeats: bool = False
    # What is divided by more than once, in divisions of their own.
    again: tuple[Expr, ...] = ()

    @property
    def key(self) -> tuple[frozenset[tuple[Expr, int]], frozenset[tuple[Expr, int]]]:
        """What like terms have in common."""
        return frozenset(self.above.items()), frozenset(self.below.items())

    def without(self, above: Mapping[Expr, int], below: Mapping[Expr, int]) -> Product:
        """The rest when these factors are taken out."""
        return Product(self.number, _less(self.above, above), _less(self.below, below))

    def copy(self) -> Product:
        """One whose factors can be changed."""
        return Product(self.number, dict(self.above), dict(self.below), self.repeats, self.again)


def _less(powers: Mapping[Expr, int], gone: Mapping[Expr, int]) -> dict[Expr, int]:
    rest = {base: power - gone.get(base, 0) for base, power in powers.items()}
    return {base: power for base, power in rest.items() if power}


# Every summand of a long sum is looked at again by all who look at the sum, and at the next longer one. What
# is found depends on the node alone, and goes with it.
_known: WeakKeyDictionary[Expr, Product | None] = WeakKeyDictionary()
_FACTORED = frozenset(["mul", "div", "neg", "pow"])


def product_of(node: Expr) -> Product | None:
    """A node as a product; None where it has too many factors, or some of other types.

    Only through operations in the node's own dtype, so that nothing is rounded elsewhere than it was. A power
    of a product is a factor as it stands.
    """
    if node.op.name not in _FACTORED:
        return of_value(node) if node.value is not None else Product(1, {node: 1})
    try:
        known = _known[node]
    except KeyError:
        known = _taken_apart(node)
        if known is None or node not in known.above:  # which would keep it for ever
            _known[node] = known
    return None if known is None else known.copy()


def _taken_apart(node: Expr) -> Product | None:
    found = Product()
    stack = [(node, 1)]
    real_ones = whole_ones = 0
    while stack:
        if len(stack) + len(found.above) + len(found.below) > MOST_FACTORS:
            return None
        current, power = stack.pop()
        if current.value is None:
            if current.dtype is node.dtype:
                name = current.op.name
                if name in ("mul", "div"):
                    left, right = current.inputs
                    stack += ((right, power if name == "mul" else -power), (left, power))
                    continue
                if name == "neg":
                    found.number *= -1 if power % 2 else 1
                    stack.append((current.inputs[0], power))
                    continue
                if name == "pow":
                    count = _power_of(current)
                    if count and abs(count * power) <= HIGHEST_POWER:
                        base = current.inputs[0]
                        if is_op(base, "mul", "div"):
                            real_ones += 1
                            _count(found, base, power * count)
                        else:
                            stack.append((base, power * count))
                        continue
                real_ones += 1
            else:
                # Whole numbers and masks multiply otherwise among themselves: one at most, and above.
                whole_ones += 1
                if current.dtype.kind not in "bi" or power != 1 or whole_ones > 1:
                    return None
        elif current.op is not CONST and is_op(current, "mul", "div", "neg"):
            # Sizes: what numbers stand among them are the product's.
            if is_op(current, "neg"):
                found.number *= -1 if power % 2 else 1
                stack.append((current.inputs[0], power))
            else:
                left, right = current.inputs
                stack += ((right, power if is_op(current, "mul") else -power), (left, power))
            continue
        _count(found, current, power)
    return None if whole_ones and not real_ones else found


def _power_of(node: Expr) -> int:
    exponent = node.inputs[1]
    return exponent.value if exponent.op is CONST and type(exponent.value) is int else 0


def _count(found: Product, factor: Expr, power: int) -> None:
    value = number(factor) if factor.value is not None else None
    if value is not None and moderate(value):
        if value < 0:
            found.number *= -1 if power % 2 else 1
            value = -value
            factor = infix("neg", factor)
        # A division by 3 stays one: its reciprocal would be rounded.
        if power > 0 or math.frexp(value)[0] == 0.5:
            scale = value**power
            if moderate(found.number * scale):
                found.repeats |= scale == 1 or abs(found.number) != 1
                found.number *= scale
                return
    side = found.above if power > 0 else found.below
    if factor in side and factor.op is not CONST:
        if power > 0:
            found.repeats = True
        else:
            found.again = (*found.again, factor)
    side[factor] = side.get(factor, 0) + abs(power)


def is_sizes(product: Product) -> bool:
    """Whether nothing but numbers and sizes is multiplied and divided."""
    return all(f.value is not None for f in (*product.above, *product.below))


def written(product: Product) -> Expr | None:
    """The product as a node: the number first, division by sizes and numbers last; None of numbers alone."""
    if is_sizes(product):
        return None
    top = _together(f for f in product.above.items() if f[0].value is None)
    over = [f for f in product.below.items() if f[0].value is None]
    if top is None:
        first, *over = over
        top = infix("div", 1, _power(*first))
    for item in over:
        top = infix("div", top, _power(*item))
    size = _together(f for f in product.above.items() if f[0].value is not None)
    if size is not None:
        top = infix("mul", size, top)
    for item in product.below.items():
        if item[0].value is not None:
            top = infix("div", top, _power(*item))
    return scaled(whole(product.number), top)


def _together(factors: Iterable[tuple[Expr, int]]) -> Expr | None:
    joined: Expr | None = None
    for base, power in factors:
        factor = _power(base, power)
        joined = factor if joined is None else infix("mul", joined, factor)
    return joined


def _power(base: Expr, power: int) -> Expr:
    return base if power == 1 else infix("pow", base, power)


def opened(product: Product) -> Product:
    """A product in which powers of products are taken apart: `(x / y) ** 2`."""
    result = Product(product.number)
    for side, outer in ((product.above, 1), (product.below, -1)):
        for base, power in side.items():
            inner = product_of(base) if is_op(base, "mul", "div") else None
            inner = Product(1, {base: 1}) if inner is None else inner
            raised = Product(
                inner.number**power,
                {b: p * power for b, p in inner.above.items()},
                {b: p * power for b, p in inner.below.items()},
            )
            if outer < 0:
                raised = Product(1 / raised.number, raised.below, raised.above)
            result = joined(result, raised)
    return result


def joined(a: Product, b: Product) -> Product:
    """The two multiplied."""
    result = Product(a.number * b.number, dict(a.above), dict(a.below))
    for side, other in ((result.above, b.above), (result.below, b.below)):
        for base, power in other.items():
            side[base] = side.get(base, 0) + power
    return result


@dataclass
class Term:
    """One summand: its sign and number times `core`, which is None where it is a number alone."""

    number: Number
    core: Expr | None


def plain_sum(node: Expr) -> bool:
    """Whether a sum or difference takes its second operand once."""
    alpha = node.attributes["alpha"]
    return not isinstance(alpha, Expr) and bool(alpha == 1)


def summands_of(node: Expr) -> list[tuple[int, Expr]]:
    """A sum as signs and summands, in order; of a long one, the first summand is the rest of it."""
    found: list[tuple[int, Expr]] = []
    stack = [(node, 1)]
    while stack:
        current, sign = stack.pop()
        if (
            len(found) + len(stack) < MOST_TERMS
            and current.value is None
            and current.dtype is node.dtype
        ):
            if is_op(current, "add", "sub") and plain_sum(current):
                left, right = pair(current)
                stack += ((right, sign if is_op(current, "add") else -sign), (left, sign))
                continue
            if is_op(current, "neg"):
                stack.append((current.inputs[0], -sign))
                continue
        found.append((sign, current))
    return found


def summed(terms: Iterable[Term]) -> Expr | None:
    """The sum of terms: one that is added first, where there is one; None of numbers alone."""
    listed = list(terms)
    if all(term.core is None for term in listed):
        return None
    first = next((i for i, term in enumerate(listed) if term.number > 0), 0)
    listed.insert(0, listed.pop(first))
    total: Expr | None = None
    for term in listed:
        size = abs(term.number) if total is not None else term.number
        value = const(whole(size)) if term.core is None else scaled(size, term.core)
        name = "add" if term.number > 0 else "sub"
        total = value if total is None else infix(name, total, value)
    return total


def products_of(node: Expr) -> list[Product] | None:
    """The summands of a sum as products."""
    if not plain_sum(node) or node.dtype.kind != "f":
        return None
    found: list[Product] = []
    for sign, summand in summands_of(node):
        product = product_of(summand) if summand.value is None else of_value(summand)
        if product is None:
            product = Product(1, {summand: 1})
        product.number *= sign
        found.append(product)
    return found


def of_value(summand: Expr) -> Product:
    """A number or a size as a product."""
    value = number(summand)
    return Product(1, {summand: 1}) if value is None else Product(value)


def sum_of(products: Iterable[Product]) -> Expr | None:
    """Products added up, one of numbers alone as a number; None where all are, or one is of masks alone."""
    terms: list[Term] = []
    for product in products:
        core = written(Product(1, product.above, product.below))
        if core is not None and core.dtype.kind != "f":
            return None
        if core is None and (product.above or product.below):
            core = size_of_product(product)
        terms.append(Term(product.number, core))
    return summed(terms)


def size_of_product(product: Product) -> Expr:
    """A product of sizes."""
    top = const(1)
    for base, power in product.above.items():
        for _ in range(power):
            top = base if top.value == 1 else infix("mul", top, base)
    for base, power in product.below.items():
        for _ in range(power):
            top = infix("div", top, base)
    return top


def common_powers(parts: list[dict[Expr, int]]) -> dict[Expr, int]:
    """What all of these have in common, each with its lowest power."""
    first, *others = parts
    least = {base: min([p, *(o.get(base, 0) for o in others)]) for base, p in first.items()}
    return {base: power for base, power in least.items() if power}


def size_up_to(node: Expr, most: int) -> int:
    """How many nodes a formula has, counted up to `most`."""
    count = 0
    stack = [node]
    while stack and count < most:
        current = stack.pop()
        count += 1
        stack += current.inputs
        if current.attrs:
            stack += symbolic_sizes(current)
    return count
