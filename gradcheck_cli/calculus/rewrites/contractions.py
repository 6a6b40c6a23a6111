"""Sums of products as matrix products: of broadcast factors, `(v.unsqueeze(1) * A).sum(0)`, and of einsum.

Each factor is named by letters, one for each of its dimensions, as in einsum. A factor that doesn't vary
along what is summed over may leave the sum: what was infinity - infinity or 0 * infinity may become a number.
"""

from __future__ import annotations

from itertools import combinations
from string import ascii_letters
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_cli.calculus.rewrites.patterns import is_op, number, pair
from gradcheck_cli.calculus.rewrites.transposes import is_turned, turned
from gradcheck_cli.graph import Expr, infix, t

if TYPE_CHECKING:
    from collections.abc import Sequence

# Longer products are left as they are.
_MOST_FACTORS = 5


class Factor(NamedTuple):
    """A tensor and a letter for each of its dimensions."""

    x: Expr
    letters: str


def sum_of_product(node: Expr) -> Expr | None:
    """`(v.unsqueeze(1) * A).sum(0) -> v @ A`, `(A * v).sum(1) -> A @ v`, `(v ** 2).sum() -> v @ v`."""
    x, dims = node.inputs[0], node.attributes["dim"]
    if (
        not is_op(x, "mul", "pow")
        or x.ndim == 0
        or node.attributes["keepdim"]
        or node.attributes["dtype"] is not None
    ):
        return None
    every = range(x.ndim) if dims is None else dims
    summed = {d % x.ndim for d in every}
    letters = ascii_letters[: x.ndim]
    factors = _factors(x, letters)
    if not 1 < len(factors) <= _MOST_FACTORS or x.ndim >= len(ascii_letters):
        return None
    output = "".join(c for d, c in enumerate(letters) if d not in summed)
    named = set("".join(f.letters for f in factors))
    return None if named != set(letters) else _contracted(factors, output)


def _factors(x: Expr, letters: str) -> list[Factor]:
    """The factors of a product without the dimensions of size 1 that were put in to broadcast them."""
    pending, found = [x], []
    while pending:
        node = pending.pop()
        if is_op(node, "mul") and all(arg.value is None for arg in node.inputs):
            pending += reversed(node.inputs)
            continue
        if node is x and is_op(x, "pow") and number(x.inputs[1]) == 2 and x.ndim == 1:
            pending += (x.inputs[0], x.inputs[0])
            continue
        own = letters[len(letters) - node.ndim :]
        while is_op(node, "unsqueeze"):
            d = node.attributes["dim"] % node.ndim
            node, own = node.inputs[0], own[:d] + own[d + 1 :]
        found.append(Factor(node, own))
        if len(found) > _MOST_FACTORS or node.value is not None or not _fits(node, own, x, letters):
            return []
    return found


def _fits(node: Expr, own: str, x: Expr, letters: str) -> bool:
    """Whether a factor has the sizes of the product, none of 1 that is repeated."""
    return all(x.shape[letters.index(c)] == s for c, s in zip(own, node.shape, strict=True))


def einsum_of_matrices(node: Expr) -> Expr | None:
    """`einsum("ij,kj->ik", A, B) -> A @ B.T`, `einsum("n,in->in", v, A) -> ...` where a factor scales it."""
    from gradcheck_cli.ops.einsum import subscripts

    if len(node.inputs) not in (2, 3):
        return None
    ranks = tuple(x.ndim for x in node.inputs)
    terms, output = subscripts(node.attributes["equation"], ranks)
    sizes: dict[str, int] = {}
    for x, term in zip(node.inputs, terms, strict=True):
        if len(set(term)) < len(term):
            return None
        if any(sizes.setdefault(c, s) != s for c, s in zip(term, x.shape, strict=True)):
            return None
    factors = [Factor(x, term) for x, term in zip(node.inputs, terms, strict=True)]
    if len(factors) == 3 and min(len(f.letters) for f in factors) > 1:
        return None
    return _contracted(factors, output)


def _contracted(factors: Sequence[Factor], output: str) -> Expr | None:
    """The product of all factors, summed over the letters that aren't in `output`, with one `@`.

    None where there is no such form.
    """
    outside = [f for f in factors if set(f.letters) <= set(output) and len(f.letters) < 2]
    inside = [f for f in factors if f not in outside]
    if not inside:
        return _multiplied(outside, output)
    if len(inside) < 2:
        return None
    for count in range(1, len(inside) // 2 + 1):
        for places in combinations(range(len(inside)), count):
            left = _joined([f for i, f in enumerate(inside) if i in places])
            right = _joined([f for i, f in enumerate(inside) if i not in places])
            if left is None or right is None:
                continue
            product = _product(left, right, output)
            if product is not None:
                return _multiplied([*outside, Factor(product, output)], output)
    return None


def _joined(factors: Sequence[Factor]) -> Factor | None:
    """The elementwise product of factors, of which one has all the letters."""
    largest = max(factors, key=lambda f: len(f.letters))
    if any(not set(f.letters) <= set(largest.letters) for f in factors):
        return None
    product = _multiplied(factors, largest.letters)
    return None if product is None else Factor(product, largest.letters)


def _multiplied(factors: Sequence[Factor], letters: str) -> Expr | None:
    """The elementwise product, each factor broadcast along `letters`."""
    product: Expr | None = None
    for f in factors:
        x = _spread(f, letters)
        if x is None:
            return None
        product = x if product is None else infix("mul", product, x)
    return product


def _spread(factor: Factor, letters: str) -> Expr | None:
    """A factor with dimensions of size 1 so that it broadcasts along `letters`."""
    x, own = factor
    places = [letters.index(c) for c in own]
    if places != sorted(places):
        return turned(x) if len(own) == 2 == len(letters) else None
    first = min(places, default=len(letters))
    for d in range(first, len(letters)):
        if letters[d] not in own:
            x = x.unsqueeze(d - first)
    return x


def _product(left: Factor, right: Factor, output: str) -> Expr | None:
    """The matrix product of two tensors of at most two dimensions, or batches of such."""
    batch = _batch(left.letters, right.letters, output)
    first, second, wanted = left.letters[batch:], right.letters[batch:], output[batch:]
    shared = set(first) & set(second)
    if len(shared) != 1 or not 0 < len(first) <= 2 or not 0 < len(second) <= 2:
        return None
    if shared & set(wanted) or set(first) ^ set(second) != set(wanted):
        return None
    if batch and (len(first), len(second)) != (2, 2):
        return None
    (inner,) = shared
    if wanted and wanted[0] not in first:
        left, right, first, second = right, left, second, first
    if len(wanted) == 1:
        return _with_vector(left.x, first, right.x, second)
    x = left.x if first[-1] == inner else turned(left.x)
    y = right.x if second[0] == inner else turned(right.x)
    product: Expr = x @ y
    return product


def _batch(first: str, second: str, output: str) -> int:
    """How many leading letters number independent products."""
    count = 0
    for a, b, c in zip(first, second, output, strict=False):
        if not a == b == c:
            break
        count += 1
    return count


def _with_vector(matrix: Expr, letters: str, vector: Expr, inner: str) -> Expr:
    """A matrix times a vector, without a transpose."""
    product: Expr = matrix @ vector if letters[1] == inner else vector @ matrix
    return product


def reshaped_sum(node: Expr) -> Expr | None:
    """`z.sum((0, 2), keepdim=True).reshape(z.shape[1]) -> z.sum((0, 2))`."""
    x = node.inputs[0]
    if not is_op(x, "sum") or not x.attributes["keepdim"] or x.attributes["dtype"] is not None:
        return None
    source, dims = x.inputs[0], x.attributes["dim"]
    if dims is None:
        return None
    gone = {d % source.ndim for d in dims}
    if tuple(s for d, s in enumerate(source.shape) if d not in gone) != node.shape:
        return None
    summed: Expr = source.sum(tuple(sorted(gone)))
    return summed


def product_of_rows(node: Expr) -> Expr | None:
    """`y.flatten(0, -2).T @ x.flatten(0, -2) -> einsum("abc,abd->cd", y, x)`."""
    left, right = pair(node)
    if not is_turned(left) or not _of_rows(left.inputs[0]) or not _of_rows(right):
        return None
    y, x = left.inputs[0].inputs[0], right.inputs[0]
    if y.shape[:-1] != x.shape[:-1]:
        return None
    batch = ascii_letters[: x.ndim - 1]
    row, column = ascii_letters[x.ndim - 1], ascii_letters[x.ndim]
    product: Expr = t.einsum(f"{batch}{row},{batch}{column}->{row}{column}", y, x)
    return product


def _of_rows(x: Expr) -> bool:
    """Whether all dimensions but the last were made one."""
    if not is_op(x, "flatten") or x.ndim != 2:
        return False
    rank = x.inputs[0].ndim
    start, end = x.attributes["start_dim"], x.attributes["end_dim"]
    return rank > 2 and (start % rank, end % rank) == (0, rank - 2)
