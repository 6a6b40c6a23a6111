"""Rewrites that put names back: what a formula takes apart is called by its name where one is given.

A definition is an assumption like others: `n == (x - m) * r`, with an input on its left.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_cli.calculus.facts import assumed
from gradcheck_cli.calculus.rewrites.patterns import coefficient, is_op, number, pair, scaled
from gradcheck_cli.calculus.rewrites.reductions import again, constant_along, is_reduction
from gradcheck_cli.calculus.rewrites.sizes import reduced_dims
from gradcheck_cli.graph import Expr, infix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A product of more factors is left as it is.
_MOST_FACTORS = 16


def name_whole(node: Expr) -> Expr | None:
    """`(x - m) * r -> n`, where n is defined so."""
    return assumed().names.get(node)


class Monomial(NamedTuple):
    """A product as a number times powers of its factors; negative powers divide."""

    number: int | float
    powers: Counter[Expr]

    def written(self) -> Expr:
        """As an expression: factors first, then divisors, those that are sizes last."""
        top: Expr | None = None
        for factor, power in self.powers.items():
            if power > 0:
                part = factor if power == 1 else factor**power
                top = part if top is None else infix("mul", top, part)
        below = [(f, -p) for f, p in self.powers.items() if p < 0]
        below.sort(key=lambda one: one[0].value is not None)
        for factor, power in below:
            part = factor if power == 1 else factor**power
            top = infix("div", 1 if top is None else top, part)
        assert top is not None
        return scaled(self.number, top)


def monomial(node: Expr) -> Monomial | None:
    """A node as a product; None where it is too long."""
    value, rest = coefficient(node)
    powers: Counter[Expr] = Counter()
    pending = [(rest, 1)]
    while pending:
        current, power = pending.pop()
        if current.value is None and is_op(current, "mul"):
            pending += ((arg, power) for arg in reversed(current.inputs))
        elif current.value is None and is_op(current, "div"):
            top, bottom = pair(current)
            pending += ((bottom, -power), (top, power))
        elif is_op(current, "pow") and type(exponent := number(current.inputs[1])) is int:
            pending.append((current.inputs[0], power * exponent))
        elif number(current) != 1:
            if current in powers and (powers[current] > 0) != (power > 0):
                return None  # x / x is not 1
            powers[current] += power
        if len(powers) + len(pending) > _MOST_FACTORS:
            return None
    return Monomial(value, powers)


def _products() -> Iterator[tuple[Expr, Monomial]]:
    """The definitions that are products."""
    for name, definition in assumed().definitions.items():
        if is_op(definition, "mul", "div"):
            found = monomial(definition)
            if found is not None and len(found.powers) > 1:
                yield name, found


def _available(wanted: int, there: int) -> int:
    """How many of `wanted` factors (divisors, where negative) are there."""
    if (wanted > 0) != (there > 0):
        return 0
    return min(wanted, there) if wanted > 0 else max(wanted, there)


def name_product(node: Expr) -> Expr | None:
    """`2 * r * x * y -> 2 * n * y`, where n is defined as `x * r`.

    Also `r * (x * y).sum() -> (n * y).sum()`, where r is the same in all that is summed.
    """
    if not assumed().definitions:
        return None
    defined = list(_products())
    whole = monomial(node) if defined else None
    if whole is None:
        return None
    before = whole
    while True:
        after = next(
            (found for one in defined for found in (_named(whole, *one),) if found is not None),
            None,
        )
        if after is None:
            break
        whole = after
    return None if whole is before else whole.written()


def _named(whole: Monomial, name: Expr, definition: Monomial) -> Monomial | None:
    """The product with a name in the place of some of its factors."""
    if all(_available(p, whole.powers[f]) == p for f, p in definition.powers.items()):
        powers = _replaced(whole.powers, definition.powers, name)
        return Monomial(whole.number / definition.number, powers)
    for found, power in whole.powers.items():
        if power == 1 and is_reduction(found):
            drawn = _drawn_in(whole, found, name, definition)
            if drawn is not None:
                return drawn
    return None


def _replaced(powers: Counter[Expr], used: Counter[Expr], name: Expr | None) -> Counter[Expr]:
    """The factors without those used, and the name in the place of the first of these."""
    found: Counter[Expr] = Counter()
    for factor, power in powers.items():
        if name is not None and used[factor]:
            found[name] += 1
            name = None
        if power != used[factor]:
            found[factor] += power - used[factor]
    return found


def _drawn_in(whole: Monomial, found: Expr, name: Expr, definition: Monomial) -> Monomial | None:
    """The same with some of the factors among those of a sum, and some before it."""
    x, dims, keepdim = found.inputs[0], reduced_dims(found), found.attributes["keepdim"]
    inner = monomial(x) if keepdim or dims == tuple(range(len(dims))) else None
    if inner is None:
        return None
    inside: Counter[Expr] = Counter()
    outside: Counter[Expr] = Counter()
    for factor, power in definition.powers.items():
        inside[factor] = _available(power, inner.powers[factor])
        outside[factor] = power - inside[factor]
        if outside[factor] and (
            _available(outside[factor], whole.powers[factor]) != outside[factor]
            or not constant_along(factor, x, dims)
        ):
            return None
    if not any(inside.values()) or not any(outside.values()):
        return None
    within = Monomial(
        inner.number / definition.number, _replaced(inner.powers, inside, name)
    ).written()
    if within.shape != x.shape:
        return None
    powers = _replaced(whole.powers, outside, None)
    del powers[found]
    powers[again(found, within)] += 1
    return Monomial(whole.number, powers)


def name_negative(node: Expr) -> Expr | None:
    """`y - x -> -e`, where e is defined as `x - y`."""
    names = assumed().names
    if not names:
        return None
    left, right = pair(node)
    name = names.get(infix("sub", right, left)) if node.attributes["alpha"] == 1 else None
    return None if name is None else -name


# Taken only where the form becomes cheaper, see `cost`.
SHORTER: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    **dict.fromkeys(("mul", "div"), (name_product,)),
    "sub": (name_negative,),
}
