"""Rewrites of sums of matrix products: an operand that they have in common is written once.

Where one of the summed products is infinite - infinity, a number may come of it; the other way never.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.rewrites.patterns import Number, coefficient, is_op, moderate, pair
from gradcheck_cli.calculus.rewrites.terms import Term, plain_sum, summands_of, summed
from gradcheck_cli.calculus.rewrites.transposes import is_turned, turned
from gradcheck_cli.graph import Expr, infix, t

if TYPE_CHECKING:
    from collections.abc import Callable

    Rewrites = dict[str, tuple[Callable[[Expr], Expr | None], ...]]

# Longer products are compared as they are arranged.
_MOST_FACTORS = 12


def common_operand(node: Expr) -> Expr | None:
    """`A @ C + B @ C -> (A + B) @ C`, `x @ A + A @ x -> (A + A.T) @ x`, `outer(a, b) - outer(a, c) -> ...`.

    >>> from gradcheck_cli.graph import variable
    >>> from gradcheck_cli.lang.printer import to_text
    >>> A, B, x = variable("A", (3, 3)), variable("B", (3, 3)), variable("x", (3,))
    >>> to_text(common_operand(A @ B - x.sum() + 2 * (A @ A)))
    'A @ (B + 2 * A) - x.sum()'
    """
    terms = _products(node)
    for i, first in enumerate(terms):
        for j in range(i + 1, len(terms)):
            merged = _merged(first, terms[j])
            if merged is not None:
                rest = [*terms[:i], merged, *terms[i + 1 : j], *terms[j + 1 :]]
                return summed(rest)
    return None


def _products(node: Expr) -> list[Term]:
    """The summands, where at least two of them are products of matrices."""
    if node.dtype.kind != "f" or not plain_sum(node):
        return []
    summands = summands_of(node)
    if sum(_core(x)[1].op.name in _MERGED for _, x in summands) < 2:
        return []
    terms = []
    for sign, summand in summands:
        factor, core = _core(summand)
        terms.append(Term(sign * factor, core))
    return terms


def _core(summand: Expr) -> tuple[Number, Expr]:
    factor, core = coefficient(summand)
    return (factor, core) if moderate(factor) else (1, summand)


def _merged(first: Term, second: Term) -> Term | None:
    """Two products with an operand in common as one."""
    x, y = first.core, second.core
    if x is None or y is None or x is y or x.op is not y.op or x.shape != y.shape:
        return None
    if x.op.name not in _MERGED:
        return None
    # Where neither way to arrange the factors gives NaN, both give the same.
    alike = is_op(x, "matmul") and (first.number > 0) == (second.number > 0)
    if alike and moderate(first.number + second.number) and _factors(x) == _factors(y):
        return Term(first.number + second.number, x)
    together = _MERGED[x.op.name](x, y, first.number, second.number)
    return None if together is None else Term(_outside(first.number, second.number), together)


def _factors(x: Expr) -> list[Expr]:
    """The factors of a matrix product however it is arranged: `A @ (B @ C)` and `A @ B @ C`."""
    found: list[Expr] = []
    pending = [(x, True)]
    while pending:
        node, opens = pending.pop()
        if not opens or len(found) + len(pending) > _MOST_FACTORS:
            found.append(node)
            continue
        for side in (1, 0):
            arg = node.inputs[side]
            # A vector in the middle stays with the matrix that it is multiplied with.
            inside = is_op(arg, "matmul") and arg.ndim <= 2
            pending.append((arg, inside and (arg.ndim == 2 or arg.inputs[side].ndim == 1)))
    return found


def _outside(first: Number, second: Number) -> Number:
    """The number that both have in common: that of the first, up to the sign of what is added first."""
    if abs(first) != abs(second):
        return 1
    return -abs(first) if first < 0 and second < 0 else abs(first)


def _sum(x: Expr, y: Expr, first: Number, second: Number) -> Expr:
    """The sum of what two products don't share, without the number that they do."""
    by = _outside(first, second)
    if is_turned(x) and not is_turned(y):
        x, y, first, second = y, x, second, first
    total = summed([Term(_whole_ratio(first, by), x), Term(_whole_ratio(second, by), y)])
    assert total is not None
    return total


def _whole_ratio(number: Number, by: Number) -> Number:
    return number if by == 1 else 1 if number == by else -1


def _matrices(x: Expr, y: Expr, first: Number, second: Number) -> Expr | None:
    (a, b), (c, d) = pair(x), pair(y)
    if b is d and a.shape == c.shape:
        return _sum(a, c, first, second) @ b
    if a is c and b.shape == d.shape:
        return a @ _sum(b, d, first, second)
    # A vector times a matrix is the transpose times the vector.
    if a is d and a.ndim == 1 and b.shape == c.shape[::-1]:
        return _sum(c, turned(b), second, first) @ a
    if b is c and b.ndim == 1 and a.shape == d.shape[::-1]:
        return _sum(a, turned(d), first, second) @ b
    return None


def _outer(x: Expr, y: Expr, first: Number, second: Number) -> Expr | None:
    (a, b), (c, d) = pair(x), pair(y)
    if a is c:
        return t.outer(a, _sum(b, d, first, second))  # type: ignore[no-any-return]
    return t.outer(_sum(a, c, first, second), b) if b is d else None


def _transposes(x: Expr, y: Expr, first: Number, second: Number) -> Expr | None:
    """`A.T + 2 * B.T -> (A + 2 * B).T`."""
    a, b = x.inputs[0], y.inputs[0]
    return turned(_sum(a, b, first, second)) if is_turned(x) and is_turned(y) else None


def _traces(x: Expr, y: Expr, first: Number, second: Number) -> Expr | None:
    a, b = x.inputs[0], y.inputs[0]
    return t.trace(_sum(a, b, first, second)) if a.shape == b.shape else None


_MERGED: dict[str, Callable[[Expr, Expr, Number, Number], Expr | None]] = {
    "matmul": _matrices,
    "outer": _outer,
    "T": _transposes,
    "mT": _transposes,
    "trace": _traces,
}


def transposes_of_factors(node: Expr) -> Expr | None:
    """`A.T * B.T -> (A * B).T`."""
    tensors = [arg for arg in node.inputs if arg.ndim]
    if not tensors or not all(is_turned(arg) and arg.ndim == node.ndim for arg in tensors):
        return None
    factors = [arg.inputs[0] if arg.ndim else arg for arg in node.inputs]
    return turned(infix(node.op.name, *factors))  # type: ignore[no-any-return]


SHORTER: Rewrites = {
    **dict.fromkeys(("add", "sub"), (common_operand,)),
    **dict.fromkeys(("mul", "div"), (transposes_of_factors,)),
}
