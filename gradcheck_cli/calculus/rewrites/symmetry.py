"""Which matrices equal their transposes: those assumed to, and those made so that they must."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus import facts
from gradcheck_cli.calculus.rewrites.patterns import filling, is_op, number, pair
from gradcheck_cli.calculus.rewrites.sizes import broadcasts

if TYPE_CHECKING:
    from gradcheck_cli.graph import Expr

_DEEPEST = 12
# What makes symmetric matrices of symmetric ones.
_KEEPS = frozenset(["inverse", "pinv", "matrix_exp", "T", "mT", "detach", "to"])
# f(x, y) = f(y, x), and f(-x) = f(x).
_COMMUTES = frozenset(["add", "mul", "maximum", "minimum"])
_EVEN = frozenset(["abs", "cos", "cosh", "sinc"])


def is_symmetric(x: Expr, depth: int = 0) -> bool:
    """Whether a matrix, or each of a batch, is known to equal its transpose up to rounding.

    >>> from gradcheck_cli.graph import variable
    >>> X = variable("X", (5, 3))
    >>> is_symmetric((X.T @ X).inverse()), is_symmetric(X.T @ (2 * X))
    (True, False)
    """
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        return False
    if facts.is_symmetric(x):
        return True
    x = facts.assumed().definitions.get(x, x)
    if depth > _DEEPEST or not x.inputs:
        return is_unit(x) or filling(x) is not None
    if x.op.name in _KEEPS:
        return is_symmetric(x.inputs[0], depth + 1)
    if is_op(x, "matmul"):
        return _is_gram(*pair(x), depth)
    if is_op(x, "outer"):
        return x.inputs[0] is x.inputs[1]
    if is_op(x, "diag_embed"):
        return bool(x.attributes["offset"] == 0)
    if not broadcasts(x):
        return filling(x) is not None
    if len(x.inputs) == 2 and x.op.name in _COMMUTES and _are_mirrored(*pair(x)):
        return True
    if _is_even(x) and is_antisymmetric(x.inputs[0], depth + 1):
        return True
    return all(arg.ndim == 0 or is_symmetric(arg, depth + 1) for arg in x.inputs)


def is_antisymmetric(x: Expr, depth: int = 0) -> bool:
    """Whether a matrix is known to equal minus its transpose: `x.unsqueeze(1) - x`, `A - A.T`."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or depth > _DEEPEST:
        return False
    x = facts.assumed().definitions.get(x, x)
    if is_op(x, "sub"):
        return _are_mirrored(*pair(x))
    if is_op(x, "neg", "T", "mT"):
        return is_antisymmetric(x.inputs[0], depth + 1)
    if is_op(x, "mul", "div"):
        left, right = pair(x)
        for one, other in ((left, right), (right, left))[: 2 if is_op(x, "mul") else 1]:
            if other.ndim == 0 or is_symmetric(other, depth + 1):
                return is_antisymmetric(one, depth + 1)
    return False


def is_unit(x: Expr) -> bool:
    """Whether a node is a square `torch.eye(n)`."""
    return is_op(x, "eye") and x.attributes["m"] in (None, x.attributes["n"])


def is_transpose(x: Expr, of: Expr) -> bool:
    """Whether one node is written as the transpose of the other, either way."""
    return (is_op(x, "T", "mT") and x.inputs[0] is of) or (
        is_op(of, "T", "mT") and of.inputs[0] is x
    )


def _are_mirrored(x: Expr, y: Expr) -> bool:
    """Whether y is x transposed: `A` and `A.T`, the column `a.unsqueeze(1)` and the row `a`."""
    if is_transpose(x, y):
        return True
    for column, row in ((x, y), (y, x)):
        if is_op(column, "unsqueeze") and column.ndim == 2 and column.shape[1] == 1:
            flat = row.inputs[0] if is_op(row, "unsqueeze") and row.shape[0] == 1 else row
            if column.inputs[0] is flat:
                return True
    return False


def _is_gram(left: Expr, right: Expr, depth: int) -> bool:
    """`X.T @ X`, `X @ S @ X.T` for a symmetric S."""
    if is_transpose(left, right):
        return True
    if is_op(left, "matmul"):
        outer, inner = pair(left)
        return is_transpose(outer, right) and is_symmetric(inner, depth + 1)
    if is_op(right, "matmul"):
        inner, outer = pair(right)
        return is_transpose(left, outer) and is_symmetric(inner, depth + 1)
    return False


def _is_even(x: Expr) -> bool:
    """Whether a function takes the same value at x and -x."""
    if is_op(x, "pow"):
        exponent = number(x.inputs[1])
        return exponent is not None and exponent % 2 == 0
    return x.op.name in _EVEN or (is_op(x, "mul") and x.inputs[0] is x.inputs[1])
