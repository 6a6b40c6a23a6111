"""Rewrites of what matrices are taken apart into, and of functions of them: eigenvectors, factors, powers.

LAPACK refuses NaN and infinity, so that the vectors and factors which it gives are finite.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.rewrites.patterns import filling, is_op, number, pair
from gradcheck_cli.calculus.rewrites.symmetry import is_symmetric, is_transpose, is_unit
from gradcheck_cli.calculus.rewrites.transposes import is_turned
from gradcheck_cli.graph import Expr, infix, make, t

if TYPE_CHECKING:
    from collections.abc import Callable

    Rewrites = dict[str, tuple[Callable[[Expr], Expr | None], ...]]

_DEEPEST = 4


# Eigenvectors and singular vectors.


def orthogonal_product(node: Expr) -> Expr | None:
    """`V @ V.T -> torch.eye(n)` of the eigenvectors of a symmetric matrix."""
    left, right = pair(node)
    for vectors, other in ((left, right), (right, left)):
        across = is_turned(other) and other.inputs[0] is vectors
        if across and node.ndim == 2 and _is_result(vectors, "linalg_eigh", 1):
            unit: Expr = t.eye(vectors.inputs[0].size(0))
            return unit
    return None


def _is_result(x: Expr, name: str, output: int) -> bool:
    return is_op(x, name) and x.output == output


def put_together(node: Expr) -> Expr | None:
    """`U * S @ Vh -> A`, `Q @ R -> A`; `V * values @ V.T -> A` where A is symmetric."""
    left, right = pair(node)
    if _is_result(left, "linalg_qr", 0) and _is_result(right, "linalg_qr", 1):
        same = left.attrs == right.attrs and left.inputs == right.inputs
        return left.inputs[0] if same and left.attributes["mode"] != "r" else None
    if node.ndim != 2 or not is_op(left, "mul"):
        return None
    for vectors, values in (pair(left), pair(left)[::-1]):
        whole = vectors.inputs[0] if vectors.inputs else None
        if whole is None or values.inputs != (whole,) or values.attrs != vectors.attrs:
            continue
        if _is_result(vectors, "linalg_eigh", 1) and _is_result(values, "linalg_eigh", 0):
            across = is_turned(right) and right.inputs[0] is vectors
            return whole if across and is_symmetric(whole) else None
        if _is_result(vectors, "linalg_svd", 0) and _is_result(values, "linalg_svd", 1):
            same = right.inputs == (whole,) and right.attrs == vectors.attrs
            reduced = not vectors.attributes["full_matrices"] or whole.shape[0] == whole.shape[1]
            return whole if same and reduced and _is_result(right, "linalg_svd", 2) else None
    return None


def choose_vector(node: Expr) -> Expr | None:
    """`V * zeros.select_scatter(c, 0, i) @ V.T -> c * outer(V[:, i], V[:, i])`, V the eigenvectors."""
    left, right = pair(node)
    if node.ndim != 2 or not is_op(left, "mul"):
        return None
    rows = right.inputs[0] if is_turned(right) else right
    for vectors, scale in (pair(left), pair(left)[::-1]):
        if not (_is_vectors(vectors) and _is_vectors(rows) and is_op(scale, "select_scatter")):
            continue
        zeros, chosen = pair(scale)
        if scale.ndim != 1 or filling(zeros) != 0.0:
            continue
        index = scale.attributes["index"]
        row = rows.select(1 if rows is not right else 0, index)
        product: Expr = chosen * t.outer(vectors.select(1, index), row)
        return product
    return None


def _is_vectors(x: Expr) -> bool:
    return any(
        _is_result(x, name, output)
        for name, output in (("linalg_eigh", 1), ("linalg_svd", 0), ("linalg_svd", 2))
    )


# Cholesky factors: their diagonal is positive.


def triangle_with_unit_diagonal(node: Expr) -> Expr | None:
    """`(L.T / L.diagonal()).tril() -> torch.eye(n)`, `.tril(-1) -> zeros`, of a Cholesky factor L."""
    x, k = node.inputs[0], node.attributes["diagonal"]
    lower = _scaled_to_unit_diagonal(x)
    if lower is None or isinstance(k, Expr) or lower is is_op(node, "tril"):
        return None
    k = k if lower else -k
    if k < 0:
        return None
    found: Expr = t.eye(x.size(0)) if k == 0 else t.zeros_like(x)
    return found


def _scaled_to_unit_diagonal(x: Expr) -> bool | None:
    """Whether a Cholesky factor divided by its diagonal is a lower triangle; None of anything else."""
    if not is_op(x, "div") or x.ndim != 2:
        return None
    triangle, diagonal = pair(x)
    if is_op(diagonal, "unsqueeze") and diagonal.shape[1] == 1:
        diagonal = diagonal.inputs[0]
    factor = triangle.inputs[0] if is_turned(triangle) else triangle
    if not is_op(factor, "cholesky") or not is_op(diagonal, "diagonal"):
        return None
    if diagonal.inputs[0] is not factor or diagonal.attributes["offset"] != 0:
        return None
    return bool(factor.attributes["upper"]) == is_turned(triangle)


def solve_twice(node: Expr) -> Expr | None:
    """`solve_triangular(L.T, solve_triangular(L, B, upper=False), upper=True) -> cholesky_solve(B, L)`.

    And with a unit matrix on the right, from the other side: `A.inverse()`, where A is symmetric.
    """
    outer, inner = pair(node)
    if not is_op(inner, "solve_triangular") or node.ndim != 2:
        return None
    first, right = pair(inner)
    if node.attributes["unitriangular"] or inner.attributes["unitriangular"]:
        return None
    factor = first if is_op(first, "cholesky") else outer
    if not is_op(factor, "cholesky") or not is_transpose(first, outer):
        return None
    lower = factor.attributes["upper"] is False
    if not lower or any(
        one.attributes["upper"] == (one.inputs[0] is factor) for one in (node, inner)
    ):
        return None
    sides = node.attributes["left"], inner.attributes["left"]
    found: Expr
    if first is factor and sides == (True, True):
        found = t.cholesky_solve(right, factor)
        return found
    # L^-T B L^-1 and the like are no solution, but for a unit matrix B the inverse.
    if first is not factor and is_unit(right) and sides[0] is False:
        whole = factor.inputs[0]
        inverse = is_symmetric(whole)
        found = whole.inverse() if inverse else t.cholesky_solve(right, factor)
        return found
    return None


# Exponentials.


def exponential_of_block(node: Expr) -> Expr | None:
    """The corner of `torch.matrix_exp` of [[A, G], [0, A]]: `G @ torch.matrix_exp(A)` where A G = G A."""
    inner = node.inputs[0]
    if not is_op(inner, "slice") or not is_op(inner.inputs[0], "matrix_exp"):
        return None
    block = inner.inputs[0].inputs[0]
    if node.ndim != 2 or not is_op(block, "cat") or block.attributes["dim"] % 2 != 0:
        return None
    if len(block.inputs) != 2 or not all(is_op(row, "cat") for row in block.inputs):
        return None
    (a, g), (zeros, b) = (row.inputs for row in block.inputs)
    if a is not b or filling(zeros) != 0.0 or not (a.shape == g.shape == node.shape):
        return None
    wanted = ((0, 0, a.shape[0], 1), (1, a.shape[0], 2 * a.shape[0], 1))
    if {_cut(node), _cut(inner)} != {*wanted} or not _commutes(g, a, _DEEPEST):
        return None
    product: Expr = g @ t.matrix_exp(a)
    return product


def _cut(node: Expr) -> tuple[Any, ...]:
    """What a slice takes: its dim, start, end and step."""
    x, attributes = node.inputs[0], node.attributes
    dim = attributes["dim"] % x.ndim
    ends = (attributes["start"], attributes["end"], attributes["step"])
    start, end, step = (e.value if isinstance(e, Expr) else e for e in ends)
    return dim, start or 0, x.shape[dim] if end is None else end, step


def _commutes(g: Expr, a: Expr, depth: int) -> bool:
    """Whether a matrix is known to commute with another: a power of it, a multiple, its inverse."""
    if g is a or is_unit(g):
        return True
    if not depth:
        return False
    if is_op(g, "neg", "inverse", "matrix_exp"):
        return _commutes(g.inputs[0], a, depth - 1)
    if is_op(g, "add", "sub", "matmul"):
        return all(arg.ndim == 2 and _commutes(arg, a, depth - 1) for arg in g.inputs)
    if is_op(g, "mul", "div"):
        matrices = [arg for arg in g.inputs if arg.ndim]
        return len(matrices) == 1 and _commutes(matrices[0], a, depth - 1)
    return False


# Norms: x / x.norm() times the norm.


def norm_times_direction(node: Expr) -> Expr | None:
    """`n * torch.where(n == 0.0, 0.0, x / n) -> x` for `n = x.norm()`, also within a matrix product."""
    left, right = pair(node)
    for norm, other in ((left, right), (right, left)):
        if is_op(norm, "norm") and norm.attributes["p"] in (2, 2.0):
            found = _undivided(other, norm, _DEEPEST)
            if found is not None:
                return found
        if is_op(norm, "mul"):
            for one, rest in (pair(norm), pair(norm)[::-1]):
                if is_op(one, "norm") and one.attributes["p"] in (2, 2.0):
                    found = _undivided(other, one, _DEEPEST)
                    if found is not None:
                        return infix("mul", rest, found)
    return None


def _undivided(x: Expr, norm: Expr, depth: int) -> Expr | None:
    """`x * norm` where x is linear in the direction of what the norm is of, zero where that is zero."""
    if is_op(x, "where"):
        mask, zero, direction = x.inputs
        if not is_op(mask, "eq") or number(zero) != 0 or mask.inputs[0] is not norm:
            return None
        if number(mask.inputs[1]) != 0 or not is_op(direction, "div"):
            return None
        top, bottom = pair(direction)
        # Zero where the norm is: a multiple of what it is the norm of.
        return top if bottom is norm and _is_multiple(top, norm.inputs[0]) else None
    if not depth or norm.ndim:
        return None
    if is_op(x, "matmul", "outer", "mul", "T", "mT", "neg", "sum", "div"):
        for position, arg in enumerate(x.args[:1] if is_op(x, "div", "sum") else x.args):
            inner = None if arg is None else _undivided(arg, norm, depth - 1)
            if inner is not None:
                args = [*x.args]
                args[position] = inner
                made: Expr = make(x.op, args, x.attributes)
                return made
    return None


def _is_multiple(x: Expr, of: Expr) -> bool:
    """Whether one is a number times the other, or the other divided by one."""
    while x is not of and (is_op(x, "neg", "div") or (is_op(x, "mul") and x.inputs[0].ndim == 0)):
        if is_op(x, "div") and x.inputs[1].value is None:
            return False
        x = x.inputs[1] if is_op(x, "mul") else x.inputs[0]
    return x is of


REWRITES: Rewrites = {
    "matmul": (put_together, orthogonal_product, choose_vector),
    **dict.fromkeys(("tril", "triu"), (triangle_with_unit_diagonal,)),
    "solve_triangular": (solve_twice,),
    "slice": (exponential_of_block,),
    "mul": (norm_times_direction,),
}
