"""Rewrites of matrix products: identities, outer products, traces, common operands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.facts import is_finite
from gradcheck_cli.calculus.rewrites import collecting, contractions, decompositions, transposes
from gradcheck_cli.calculus.rewrites.patterns import as_number, filling, is_op, pair, replaced
from gradcheck_cli.calculus.rewrites.symmetry import is_antisymmetric, is_symmetric, is_unit
from gradcheck_cli.calculus.rewrites.tables import joined
from gradcheck_cli.calculus.rewrites.terms import Product, product_of, written
from gradcheck_cli.graph import Expr, infix, make, t

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.calculus.rewrites.tables import Rewrites

# How deep in a product a unit matrix is looked for.
_DEEPEST = 6


# Unit matrices. The infinities and NaN that they are multiplied with stay visible in products.


def multiply_by_unit(node: Expr) -> Expr | None:
    """`torch.eye(n) @ A -> A`, `A @ (s * torch.eye(n)) -> s * A`, for a number or 0-d tensor s."""
    left, right = pair(node)
    for unit, other in ((left, right), (right, left)):
        scale = _scale_of_unit(unit)
        if scale is not None:
            return scale(other)
    return None


def _scale_of_unit(x: Expr) -> Callable[[Expr], Expr] | None:
    """How a multiple of a unit matrix scales what it multiplies."""
    if is_unit(x):
        return lambda other: other
    if not is_op(x, "mul", "div"):
        return None
    left, right = pair(x)
    if is_op(x, "div"):
        return (lambda other: other / right) if is_unit(left) and right.ndim == 0 else None
    for scale, unit in ((left, right), (right, left)):
        if is_unit(unit) and scale.ndim == 0:
            return lambda other: infix("mul", scale, other)
    return None


def sum_with_unit(node: Expr) -> Expr | None:
    """`(A * torch.eye(n)).sum() -> trace(A)`, `(A * torch.eye(n)).sum(1) -> A.diagonal()`, where A is finite.

    Else a NaN beside the diagonal would be lost.
    """
    x, dims = node.inputs[0], node.attributes["dim"]
    if x.ndim != 2 or node.attributes["keepdim"] or node.attributes["dtype"] is not None:
        return None
    other = _without_unit(x, _DEEPEST)
    if other is None or (dims is not None and not 1 <= len(dims) <= 2):
        return None
    every = dims is None or len(dims) == 2
    found: Expr
    if is_op(other, "outer"):  # what is NaN in a row is NaN on the diagonal
        u, v = pair(other)
        found = u @ v if every else u * v
    elif other.ndim == 2 and other.shape == x.shape and is_finite(other):
        found = t.trace(other) if every else other.diagonal()
    elif other.ndim == 1 and other.shape == x.shape[1:]:
        found = other.sum() if every else other
    else:
        return None
    return found


def _without_unit(x: Expr, depth: int) -> Expr | None:
    """What a product multiplies a unit matrix with, element by element."""
    if not depth or not is_op(x, "mul", "div"):
        return None
    left, right = pair(x)
    if is_op(x, "div"):
        top = _without_unit(left, depth - 1)
        return None if top is None else infix("div", top, right)
    for one, other in ((left, right), (right, left)):
        if is_unit(one):
            return other
        rest = _without_unit(one, depth - 1)
        if rest is not None:
            return infix("mul", rest, other) if one is left else infix("mul", other, rest)
    return None


# Factors without dimensions.

# Which arguments each of these is linear in.
_LINEAR = {
    **dict.fromkeys(("matmul", "outer"), (0, 1)),
    # Not tril and triu: a zero that they make isn't one any more when s is infinite or a divisor zero.
    **dict.fromkeys(("T", "mT", "trace", "diagonal", "diag_embed", "squeeze"), (0,)),
    **dict.fromkeys(("solve", "solve_triangular"), (1,)),
}


def scalar_out(node: Expr) -> Expr | None:
    """`A @ (s * B) -> s * (A @ B)`, `(A / s).T -> A.T / s`, for a 0-d tensor s.

    Where s is infinite, or a divisor zero, infinity - infinity may become a number.
    """
    for position in _LINEAR[node.op.name]:
        arg = node.args[position]
        if arg is None or arg.ndim == 0 or not is_op(arg, "mul", "div"):
            continue
        product = product_of(arg)
        if product is None:
            continue
        scalars = Product(
            1,
            {x: power for x, power in product.above.items() if x.ndim == 0 and x.value is None},
            {x: power for x, power in product.below.items() if x.ndim == 0 and x.value is None},
        )
        rest = written(product.without(scalars.above, scalars.below))
        if (scalars.above or scalars.below) and rest is not None and rest.shape == arg.shape:
            made = make(node.op, replaced(node.args, position, rest), node.attributes)
            scalars.above[made] = 1
            return written(scalars)
    return None


# Outer products.


def as_outer(node: Expr) -> Expr | None:
    """`a.unsqueeze(1) * b -> outer(a, b)` of two vectors."""
    left, right = pair(node)
    for column, row in ((left, right), (right, left)):
        if node.ndim == 2 and row.ndim == 1 and row.dtype is column.dtype:
            vector = _of_column(column)
            if vector is not None:
                made: Expr = t.outer(vector, row)
                return made
    return None


def _of_column(x: Expr) -> Expr | None:
    """The vector of which `x` is the column."""
    if is_op(x, "unsqueeze") and x.ndim == 2 and x.attributes["dim"] in (1, -1):
        return x.inputs[0]
    return None


def scale_outer(node: Expr) -> Expr | None:
    """`outer(a, b) * c -> outer(a, b * c)`, `outer(a, b) / c.unsqueeze(1) -> outer(a / c, b)`."""
    left, right = pair(node)
    for product, scale in ((left, right), (right, left)):
        if not is_op(product, "outer") or product.dtype is not scale.dtype:
            continue
        if product is right and is_op(node, "div"):
            return None
        a, b = pair(product)
        column = _of_column(scale)
        if scale.ndim == 1 and scale.shape == b.shape:
            return t.outer(a, infix(node.op.name, b, scale))  # type: ignore[no-any-return]
        if column is not None and column.shape == a.shape:
            return t.outer(infix(node.op.name, a, column), b)  # type: ignore[no-any-return]
    return None


def product_with_outer(node: Expr) -> Expr | None:
    """`outer(a, b) @ C -> outer(a, b @ C)`, `outer(a, b) @ c -> a * (b @ c)`, and from the left."""
    left, right = pair(node)
    if is_op(left, "outer") and right.ndim <= 2:
        a, b = pair(left)
        inner = b @ right
        return a * inner if right.ndim == 1 else t.outer(a, inner)
    if is_op(right, "outer") and left.ndim <= 2:
        a, b = pair(right)
        inner = left @ a
        return inner * b if left.ndim == 1 else t.outer(inner, b)
    return None


def sum_of_outer(node: Expr) -> Expr | None:
    """`outer(a, b).sum(0) -> a.sum() * b`, `outer(a, b).sum(1) -> a * b.sum()`."""
    x, dims = node.inputs[0], node.attributes["dim"]
    if not is_op(x, "outer") or node.attributes["keepdim"] or node.attributes["dtype"] is not None:
        return None
    a, b = pair(x)
    gone = {d % 2 for d in ((0, 1) if dims is None else dims)}
    found: Expr = (a.sum() if 0 in gone else a) * (b.sum() if 1 in gone else b)
    return found if gone else None


def trace_of_outer(node: Expr) -> Expr | None:
    """`trace(outer(a, b)) -> a @ b`."""
    x = node.inputs[0]
    if not is_op(x, "outer") or x.shape[0] != x.shape[1]:
        return None
    a, b = pair(x)
    return a @ b if a.dtype is b.dtype else None


# Tensors filled with one number.


def multiply_filled(node: Expr) -> Expr | None:
    """`torch.ones(n) @ A -> A.sum(0)`, `torch.ones(m, n) @ A -> A.sum(0).expand(m, k)`."""
    left, right = pair(node)
    if left.ndim > 2 or right.ndim > 2:
        return None
    for filled, other in ((left, right), (right, left)):
        if not is_op(filled, "full") or filling(other) is not None:
            continue
        along = 0 if filled is left else other.ndim - 1
        keeps = filled.ndim == 2 and filled is right and other.ndim == 2
        total = other.sum(None if other.ndim == 1 else (along,), keeps)
        scaled = infix("mul", as_number(filling(filled)), total)
        if scaled.shape == node.shape:
            return scaled
        rows = (_size(left, 0),) if left.ndim == 2 else ()
        columns = (_size(right, 1),) if right.ndim == 2 else ()
        expanded: Expr = scaled.expand((*rows, *columns))
        return expanded
    return None


def outer_filled(node: Expr) -> Expr | None:
    """`outer(torch.ones(n), b) -> b.expand(n, k)`."""
    left, right = pair(node)
    for filled, other in ((left, right), (right, left)):
        if is_op(filled, "full") and filling(other) is None and other.dtype is node.dtype:
            scaled = infix("mul", as_number(filling(filled)), other)
            column = scaled if filled is left else scaled.unsqueeze(1)
            expanded: Expr = column.expand((_size(left, 0), _size(right, 0)))
            return expanded
    return None


def _size(x: Expr, dim: int) -> Any:
    return x.attributes["size"][dim] if is_op(x, "full") else x.size(dim)


# Diagonals.


def scatter_diagonal(node: Expr) -> Expr | None:
    """`torch.zeros_like(A).diagonal_scatter(v) -> diag_embed(v)`, for a square A."""
    x, v = pair(node)
    places = [node.attributes[name] for name in ("offset", "dim1", "dim2")]
    square = node.ndim == 2 and node.shape[0] == node.shape[1]
    if filling(x) != 0.0 or not square or places not in ([0, 0, 1], [0, -2, -1]):
        return None
    made: Expr = v.diag_embed()
    return made


def multiply_diagonal(node: Expr) -> Expr | None:
    """`A @ diag_embed(v) -> A * v`, `diag_embed(v) @ A -> v.unsqueeze(1) * A`."""
    left, right = pair(node)
    if _is_diagonal(right) and left.ndim <= 2:
        scaled: Expr = left * right.inputs[0]
        return scaled
    if _is_diagonal(left) and right.ndim <= 2:
        v = left.inputs[0]
        return (v if right.ndim == 1 else v.unsqueeze(1)) * right
    return None


def _is_diagonal(x: Expr) -> bool:
    return is_op(x, "diag_embed") and x.ndim == 2 and x.attributes["offset"] == 0


def of_diagonal(node: Expr) -> Expr | None:
    """`trace(diag_embed(v)) -> v.sum()`, `diag_embed(v).diagonal() -> v`, `.tril() -> diag_embed(v)`."""
    x = node.inputs[0]
    if not _is_diagonal(x):
        return None
    if is_op(node, "diagonal"):
        return x.inputs[0] if node.attributes["offset"] == 0 else None
    if is_op(node, "trace"):
        total: Expr = x.inputs[0].sum()
        return total
    return x if node.attributes["diagonal"] == 0 else None


def diagonal_of_product(node: Expr) -> Expr | None:
    """`(A @ B.T).diagonal() -> (A * B).sum(1)`."""
    x = node.inputs[0]
    if not is_op(x, "matmul") or x.shape[0] != x.shape[-1] or not _is_main_diagonal(node):
        return None
    left, right = pair(x)
    if left.ndim != 2 or right.ndim != 2:
        return None
    summed: Expr = infix("mul", left, right.T).sum(1)
    return summed


def _is_main_diagonal(node: Expr) -> bool:
    places = [node.attributes[name] for name in ("offset", "dim1", "dim2")]
    return node.inputs[0].ndim == 2 and places in ([0, 0, 1], [0, -2, -1])


# Sums over rows or columns of a product.


def sum_of_matrix_product(node: Expr) -> Expr | None:
    """`(A @ B).sum(0) -> A.sum(0) @ B`, `(A @ B).sum(1) -> A @ B.sum(1)`."""
    x, dims = node.inputs[0], node.attributes["dim"]
    if not is_op(x, "matmul") or node.attributes["keepdim"] or node.attributes["dtype"] is not None:
        return None
    left, right = pair(x)
    if left.ndim != 2 or right.ndim != 2 or dims is None or len(dims) != 1:
        return None
    found: Expr = left @ right.sum(1) if dims[0] % 2 else left.sum(0) @ right
    return found


def sum_of_symmetric(node: Expr) -> Expr | None:
    """`A.sum(0) -> A.sum(1)` of a symmetric matrix, `A.sum(0) -> -A.sum(1)` of an antisymmetric one."""
    x, dims = node.inputs[0], node.attributes["dim"]
    if x.ndim != 2 or dims is None or len(dims) != 1 or dims[0] % 2:
        return None
    if node.attributes["keepdim"] or node.attributes["dtype"] is not None:
        return None
    if is_symmetric(x):
        return x.sum(1)  # type: ignore[no-any-return]
    return -x.sum(1) if is_antisymmetric(x) else None


REWRITES: Rewrites = joined(
    transposes.REWRITES,
    decompositions.REWRITES,
    dict.fromkeys(_LINEAR, (scalar_out,)),
    {
        "matmul": (multiply_by_unit, multiply_filled, product_with_outer),
        "mul": (as_outer, scale_outer),
        "div": (scale_outer,),
        "outer": (outer_filled,),
        "sum": (sum_with_unit, sum_of_outer, sum_of_symmetric),
        "trace": (trace_of_outer, of_diagonal),
        **dict.fromkeys(("tril", "triu", "diagonal"), (of_diagonal,)),
        "diagonal_scatter": (scatter_diagonal,),
        "einsum": (contractions.einsum_of_matrices,),
    },
)
SHORTER: Rewrites = joined(
    transposes.SHORTER,
    collecting.SHORTER,
    {
        "sum": (contractions.sum_of_product, sum_of_matrix_product),
        "matmul": (multiply_diagonal, contractions.product_of_rows),
        "reshape": (contractions.reshaped_sum,),
        "diagonal": (diagonal_of_product,),
    },
)
PRESENT: Rewrites = transposes.PRESENT
