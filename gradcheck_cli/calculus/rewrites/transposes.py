"""Rewrites of transposes: cancelled, taken out of what they commute with, one form for one matrix.

Two products of transposes are one transpose: `B.T @ A.T -> (A @ B).T`, until the last pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.rewrites.patterns import is_op, pair, replaced
from gradcheck_cli.calculus.rewrites.sizes import broadcasts
from gradcheck_cli.calculus.rewrites.symmetry import is_symmetric
from gradcheck_cli.graph import INPUT, Expr, make, rebuild

if TYPE_CHECKING:
    from collections.abc import Callable

    Rewrites = dict[str, tuple[Callable[[Expr], Expr | None], ...]]

# How far a transpose is pushed into arithmetic to see whether it meets others.
_DEEPEST = 3
# How many products deep a transpose is taken to the factors.
_LONGEST = 6


def turned(x: Expr) -> Any:
    """The transpose of a matrix, of each of a batch; a vector is its own."""
    return x if x.ndim < 2 else x.T if x.ndim == 2 else x.mT


def is_turned(x: Expr) -> bool:
    """Whether it is written as the transpose of a matrix, or of each of a batch."""
    return is_op(x, "mT") or (is_op(x, "T") and x.ndim == 2)


def plain_transpose(node: Expr) -> Expr | None:
    """`A.mT -> A.T`, `A.transpose(0, 1) -> A.T`, `z.permute(0, 2, 1) -> z.mT`."""
    x = node.inputs[0]
    if x.ndim < 2:
        return x
    if is_op(node, "mT", "T"):
        return x.T if is_op(node, "mT") and x.ndim == 2 else None
    order = _order(node)
    if order == [*range(x.ndim)]:
        return x
    swapped = [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2]
    return turned(x) if order == swapped else None


def _order(node: Expr) -> list[int]:
    """Where each dimension of a permuted tensor comes from."""
    ndim = node.ndim
    if is_op(node, "permute"):
        return [d % ndim for d in node.attributes["dims"]]
    order = [*range(ndim)]
    if is_op(node, "transpose"):
        first, second = (node.attributes[name] % ndim for name in ("dim0", "dim1"))
        order[first], order[second] = second, first
    else:
        order[-2:] = reversed(order[-2:])
    return order


def permute_once(node: Expr) -> Expr | None:
    """`z.permute(2, 0, 1).permute(1, 2, 0) -> z`, `z.transpose(0, 1).mT -> z.permute(1, 2, 0)`."""
    inner = node.inputs[0]
    if not is_op(inner, "permute", "transpose", "mT") or node.ndim < 3:
        return None
    first = _order(inner)
    together: Expr = inner.inputs[0].permute(tuple(first[d] for d in _order(node)))
    return together


def turn_twice(node: Expr) -> Expr | None:
    """`x.T.T -> x`, and `A.T -> A` of a symmetric matrix."""
    inner = node.inputs[0]
    if inner.op is node.op or is_symmetric(inner):
        return inner.inputs[0] if inner.op is node.op else inner
    return None


def turn_product(node: Expr) -> Expr | None:
    """`(x.T @ y).T -> y.T @ x`, `(A @ S @ B.T).T -> B @ (S @ A.T)` for a symmetric S, `outer(a, b).T -> ...`.

    Where it takes at most one transpose within.
    """
    inner = node.inputs[0]
    if is_op(inner, "outer") and is_op(node, "T"):
        left, right = pair(inner)
        swapped: Expr = make(inner.op, (right, left), {})
        return swapped
    if not is_op(inner, "matmul") or _turns(inner, _LONGEST) > 1:
        return None
    product: Expr = _turned_product(inner, _LONGEST)
    return product


def _turns(x: Expr, depth: int) -> int:
    """How many more transposes there are when a product is turned factor by factor."""
    if depth and is_op(x, "matmul"):
        left, right = pair(x)
        if left.ndim != x.ndim or right.ndim != x.ndim:
            return _LONGEST
        return _turns(left, depth - 1) + _turns(right, depth - 1)
    return -1 if is_turned(x) else 0 if is_symmetric(x) else 1


def _turned_product(x: Expr, depth: int) -> Any:
    if depth and is_op(x, "matmul"):
        left, right = pair(x)
        return _turned_product(right, depth - 1) @ _turned_product(left, depth - 1)
    return turned(x)


def turn_column(node: Expr) -> Expr | None:
    """`a.unsqueeze(1).T -> a.unsqueeze(0)`."""
    inner = node.inputs[0]
    if not is_op(inner, "unsqueeze") or inner.ndim != 2 or not is_op(node, "T"):
        return None
    row: Expr = inner.inputs[0].unsqueeze(1 - inner.attributes["dim"] % 2)
    return row


def product_of_transposes(node: Expr) -> Expr | None:
    """`A.T @ B.T -> (B @ A).T`, and of a vector `v @ A.T -> A @ v`."""
    left, right = pair(node)
    if is_turned(right) and left.ndim == 1 and right.ndim == 2:
        applied: Expr = right.inputs[0] @ left
        return applied
    if is_turned(right) and is_turned(left) and left.ndim == right.ndim:
        return turned(right.inputs[0] @ left.inputs[0])  # type: ignore[no-any-return]
    if left.ndim == 1 and right.ndim == 2 and is_symmetric(right):
        swapped: Expr = right @ left
        return swapped
    return None


def function_of_transpose(node: Expr) -> Expr | None:
    """`A.T.inverse() -> A.inverse().T`."""
    x = node.inputs[0]
    return turned(_with(node, x.inputs[0])) if is_turned(x) else None


def unmoved_by_transpose(node: Expr) -> Expr | None:
    """`trace(A.T) -> trace(A)`, `det(A.T) -> det(A)`, `A.T.sum() -> A.sum()`."""
    x = node.inputs[0]
    if not is_turned(x) and not (is_op(x, "T") and is_op(node, "sum", "norm")):
        return None
    if is_op(node, "sum", "norm") and (node.attributes["dim"] is not None or node.ndim):
        return None
    return _with(node, x.inputs[0])


def triangle_of_transpose(node: Expr) -> Expr | None:
    """`A.T.tril() -> A.triu().T`."""
    x = node.inputs[0]
    if not is_turned(x):
        return None
    diagonal = -node.attributes["diagonal"]
    whole = x.inputs[0]
    other: Expr = turned(whole.triu(diagonal) if is_op(node, "tril") else whole.tril(diagonal))
    return other


def _with(node: Expr, x: Expr) -> Expr:
    made: Expr = make(node.op, replaced(node.args, 0, x), node.attributes)
    return made


def push_in(node: Expr) -> Expr | None:
    """`(A + B.T).T -> A.T + B`, where the transposes meet others."""
    return _pushed(node.inputs[0], _DEEPEST) if node.ndim == 2 else None


def _pushed(x: Expr, depth: int) -> Expr | None:
    """The transpose of arithmetic, carried out on its operands; None where there is none."""
    if not depth or not broadcasts(x) or any(arg.ndim not in (0, 2) for arg in x.inputs):
        return None

    def transposed(arg: Expr) -> Expr:
        if arg.ndim == 0:
            return arg
        inner = _pushed(arg, depth - 1)
        return turned(arg) if inner is None else inner

    return rebuild(x, transposed)


def turn_both(node: Expr) -> Expr | None:
    """`(B @ A).T -> A.T @ B.T`, as people write it of two matrices with names."""
    inner = node.inputs[0]
    if not is_op(inner, "matmul") or any(arg.op is not INPUT for arg in inner.inputs):
        return None
    left, right = pair(inner)
    if left is right or not left.ndim == right.ndim == inner.ndim:
        return None
    product: Expr = turned(right) @ turned(left)
    return product


def form_of_vectors(node: Expr) -> Expr | None:
    """`S @ x @ y -> x @ S @ y`, of two vectors and a symmetric matrix."""
    left, right = pair(node)
    if right.ndim != 1 or left.ndim != 1 or not is_op(left, "matmul"):
        return None
    matrix, x = pair(left)
    if matrix.ndim != 2 or not is_symmetric(matrix):
        return None
    form: Expr = x @ matrix @ right
    return form


REWRITES: Rewrites = {
    **dict.fromkeys(("transpose", "permute"), (plain_transpose, permute_once)),
    "T": (plain_transpose, turn_twice, turn_product, turn_column),
    "mT": (plain_transpose, turn_twice, turn_product, permute_once),
    "matmul": (product_of_transposes,),
    **dict.fromkeys(("inverse", "pinv", "matrix_exp"), (function_of_transpose,)),
    **dict.fromkeys(("trace", "det", "logdet", "norm"), (unmoved_by_transpose,)),
    "sum": (unmoved_by_transpose,),
    **dict.fromkeys(("tril", "triu"), (triangle_of_transpose,)),
}
SHORTER: Rewrites = {
    "T": (push_in,),
}
PRESENT: Rewrites = {"T": (turn_both,), "mT": (turn_both,), "matmul": (form_of_vectors,)}
