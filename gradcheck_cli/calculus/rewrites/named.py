"""Rewrites that put functions back by their names: sigmoid, softmax, tanh, logsumexp.

The named one is never the less stable: where an exponential of what was written overflows or underflows, or
what is added to 1 is rounded away, it has the value that was meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.facts import is_nonnegative, is_positive
from gradcheck_cli.calculus.rewrites import named_products
from gradcheck_cli.calculus.rewrites.named_products import beside_one, of_real, opposite, sigmoid
from gradcheck_cli.calculus.rewrites.patterns import coefficient, is_op, number, pair, scaled
from gradcheck_cli.calculus.rewrites.sizes import symbolic_shape
from gradcheck_cli.calculus.rewrites.terms import plain_sum
from gradcheck_cli.graph import Expr, infix, make, t

if TYPE_CHECKING:
    from collections.abc import Callable


# Functions of functions.


def exponential_of(node: Expr) -> Expr | None:
    """`exp(log_softmax(x, 1)) -> softmax(x, 1)`, `exp(logsigmoid(x)) -> sigmoid(x)`.

    Where x isn't negative, `exp(log(x)) -> x`.
    """
    inner = node.inputs[0]
    if is_op(inner, "log_softmax"):
        named: Expr = t.softmax(*inner.inputs, **inner.attributes)
        return named
    if is_op(inner, "logsigmoid"):
        return sigmoid(inner.inputs[0])
    if is_op(inner, "log") and is_nonnegative(inner.inputs[0]):
        return inner.inputs[0]
    return None


def logarithm_of(node: Expr) -> Expr | None:
    """`log(softmax(x, 1)) -> log_softmax(x, 1)`, `log(sigmoid(x)) -> logsigmoid(x)`, `log(exp(x)) -> x`."""
    inner = node.inputs[0]
    if is_op(inner, "softmax"):
        named: Expr = t.log_softmax(*inner.inputs, **inner.attributes)
        return named
    if is_op(inner, "sigmoid") and of_real(inner):
        return t.logsigmoid(inner.inputs[0])  # type: ignore[no-any-return]
    return inner.inputs[0] if is_op(inner, "exp") else None


def logarithm_of_sum(node: Expr) -> Expr | None:
    """`log(exp(x).sum(1)) -> x.logsumexp(1)`, `log(exp(x) + exp(y)) -> logaddexp(x, y)`."""
    inner = node.inputs[0]
    if is_op(inner, "sum") and is_op(inner.inputs[0], "exp"):
        x = inner.inputs[0].inputs[0]
        dims, keepdim = inner.attributes["dim"], inner.attributes["keepdim"]
        if inner.attributes["dtype"] is not None or not x.ndim:
            return None
        named: Expr = x.logsumexp(tuple(range(x.ndim)) if dims is None else dims, keepdim)
        return named
    if not is_op(inner, "add") or not plain_sum(inner):
        return None
    left, right = pair(inner)
    if is_op(left, "exp") and is_op(right, "exp") and of_real(left) and of_real(right):
        together: Expr = t.logaddexp(left.inputs[0], right.inputs[0])
        return together
    return None


def logarithm_of_one_and(node: Expr) -> Expr | None:
    """`log(1 + x) -> log1p(x)`, `log(1 + exp(x)) -> -logsigmoid(-x)`."""
    inner = node.inputs[0]
    x = beside_one(inner) if is_op(node, "log") else inner
    if x is None:
        return None
    if is_op(x, "exp"):
        if not of_real(x):
            return None
        return infix("neg", t.logsigmoid(opposite(x.inputs[0])))
    return t.log1p(x) if is_op(node, "log") else None


def exponential_less_one(node: Expr) -> Expr | None:
    """`exp(x) - 1 -> expm1(x)`, `1 - exp(x) -> -expm1(x)`."""
    left, right = pair(node)
    if not plain_sum(node):
        return None
    if is_op(left, "exp") and number(right) == 1:
        return left.inputs[0].expm1()  # type: ignore[no-any-return]
    if is_op(right, "exp") and number(left) == 1:
        return -right.inputs[0].expm1()  # type: ignore[no-any-return]
    return None


def root_of_squares(node: Expr) -> Expr | None:
    """`sqrt(x ** 2) -> abs(x)`, `sqrt((x ** 2).sum(1)) -> x.norm(dim=1)`."""
    inner = node.inputs[0]
    if is_op(inner, "sum") and inner.attributes["dtype"] is None:
        x = _squared(inner.inputs[0])
        if x is None:
            return None
        named: Expr = x.norm(dim=inner.attributes["dim"], keepdim=inner.attributes["keepdim"])
        return named
    x = _squared(inner)
    return None if x is None else x.abs()


def _squared(node: Expr) -> Expr | None:
    return node.inputs[0] if is_op(node, "pow") and number(node.inputs[1]) == 2 else None


def square_of_root(node: Expr) -> Expr | None:
    """`sqrt(x) ** 2 -> x`, where x isn't negative."""
    base, exponent = pair(node)
    if is_op(base, "sqrt") and number(exponent) == 2 and is_nonnegative(base.inputs[0]):
        return base.inputs[0]
    return None


_ODD = ("sin", "tan", "tanh", "sinh", "asin", "atan", "asinh", "atanh", "erf", "erfinv", "sign")
_EVEN = ("cos", "cosh", "abs")


def sign_out_of_function(node: Expr) -> Expr | None:
    """`sin(-x) -> -sin(x)`, `cos(-2 * x) -> cos(2 * x)`, `abs(-3 * x) -> 3 * abs(x)`."""
    factor, rest = coefficient(node.inputs[0])
    if is_op(node, "abs", "sign") and factor != 1:
        inner: Expr = make(node.op, (rest,), node.attributes)
        return scaled(abs(factor) if is_op(node, "abs") else 1 if factor > 0 else -1, inner)
    if factor >= 0:
        return None
    inner = make(node.op, (scaled(-factor, rest),), node.attributes)
    return -inner if node.op.name in _ODD else inner


def swapped_in_function(node: Expr) -> Expr | None:
    """`-sign(x - y) -> sign(y - x)`."""
    inner = node.inputs[0]
    if inner.op.name not in _ODD or not is_op(inner.inputs[0], "sub"):
        return None
    if not plain_sum(inner.inputs[0]):
        return None
    left, right = pair(inner.inputs[0])
    swapped: Expr = make(inner.op, (infix("sub", right, left),), inner.attributes)
    return swapped


def known_sign(node: Expr) -> Expr | None:
    """`abs(exp(x)) -> exp(x)`, and where x is known to be positive, `sign(x) -> torch.ones_like(x)`."""
    x = node.inputs[0]
    if is_op(node, "abs"):
        return x if is_nonnegative(x) else None
    sizes = symbolic_shape(node) if is_positive(x) else None
    filled: Expr | None = None if sizes is None else t.full(sizes, 1.0, dtype=node.dtype)
    return filled


def shifted_softmax(node: Expr) -> Expr | None:
    """`softmax(x - x.amax(1, keepdim=True), 1) -> softmax(x, 1)`: it is the same for all of a row."""
    x, attributes = node.inputs[0], node.attributes
    if not is_op(x, "sub") or not plain_sum(x):
        return None
    kept, shift = pair(x)
    # Not any shift: one that is NaN must come from the numbers that stay.
    if not is_op(shift, "amax", "amin", "logsumexp", "mean") or shift.inputs[0] is not kept:
        return None
    dims = shift.attributes["dim"]
    dim = attributes["dim"] % x.ndim if x.ndim else 0
    row = dims is not None and [d % x.ndim for d in dims] == [dim] and shift.attributes["keepdim"]
    same: Expr | None = make(node.op, (kept,), attributes) if row else None
    return same


REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "exp": (exponential_of,),
    "log": (logarithm_of, logarithm_of_sum, logarithm_of_one_and),
    "log1p": (logarithm_of_one_and,),
    "sub": (exponential_less_one,),
    "sqrt": (root_of_squares,),
    "pow": (square_of_root,),
    **dict.fromkeys((*_ODD, *_EVEN), (sign_out_of_function,)),
    "abs": (sign_out_of_function, known_sign),
    "sign": (sign_out_of_function, known_sign),
    "softmax": (shifted_softmax,),
    "log_softmax": (shifted_softmax,),
}
# Taken only where the form becomes cheaper, see `cost`.
SHORTER: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    **named_products.SHORTER,
    "neg": (swapped_in_function,),
}
