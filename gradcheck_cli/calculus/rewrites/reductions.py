"""Rewrites of reductions and of what is repeated for them: sums, means, kept dimensions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.facts import assumed, is_nonzero
from gradcheck_cli.calculus.rewrites.layout import full_of
from gradcheck_cli.calculus.rewrites.patterns import (
    Number,
    filling,
    is_op,
    number,
    pair,
    scaled,
    whole,
)
from gradcheck_cli.calculus.rewrites.sizes import (
    KEEPING,
    SAME_ELEMENTS,
    reduced_dims,
    size_of,
)
from gradcheck_cli.graph import Expr, infix, make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

Dims = tuple[int, ...]

# How many factors of a product are looked at, and how many operators a search goes down.
_MOST_FACTORS = 12
_DEEPEST = 12


def is_reduction(node: Expr, *names: str) -> bool:
    """Whether it is a plain sum or mean (or one of `names`) of real numbers."""
    if node.op.name not in (names or ("sum", "mean")) or node.dtype.kind != "f":
        return False
    return node.attributes["dtype"] is None and node.inputs[0].dtype is node.dtype


def reduce(name: str, x: Expr, dims: Iterable[int], *, keepdim: bool) -> Expr:
    """The sum or mean of `x` over some of its dimensions, of none `x` itself."""
    listed = tuple(sorted(dims))
    if not listed:
        return x
    every = len(listed) == x.ndim and not keepdim
    made: Expr = getattr(x, name)(None if every else listed, keepdim)
    return made


# Kept dimensions.


def keep_dims(node: Expr) -> Expr | None:
    """`x.sum(1).unsqueeze(1) -> x.sum(1, keepdim=True)`."""
    places: list[int] = []
    inner = node
    while is_op(inner, "unsqueeze") and len(places) < _DEEPEST:
        places.append(inner.attributes["dim"] % inner.ndim)
        inner = inner.inputs[0]
    if inner.op.name not in KEEPING or inner.attributes["keepdim"] or not inner.inputs[0].ndim:
        return None
    # Where the new dimensions stand in the result.
    taken: list[int] = []
    for place in reversed(places):
        taken = [d + (d >= place) for d in taken] + [place]
    dims = reduced_dims(inner)
    if tuple(sorted(taken)) != dims:
        return None
    kept: Expr = make(inner.op, inner.args, {**inner.attributes, "keepdim": True})
    return kept


# Sums of sums, of what is repeated, and of what is known.


def reduce_once(node: Expr) -> Expr | None:
    """`x.sum(1).sum(0) -> x.sum()`, `x.mean(1, keepdim=True).mean(0) -> ...`: one reduction for two."""
    inner = node.inputs[0]
    if inner.op is not node.op or not (is_reduction(node) and is_reduction(inner)):
        return None
    x, first, second = inner.inputs[0], reduced_dims(inner), reduced_dims(node)
    kept = inner.attributes["keepdim"]
    if kept is not node.attributes["keepdim"] and not (kept and set(first) <= set(second)):
        return None
    if not kept:
        left = [d for d in range(x.ndim) if d not in first]
        second = tuple(left[d] for d in second)
    return reduce(node.op.name, x, {*first, *second}, keepdim=node.attributes["keepdim"])


def reduce_all(node: Expr) -> Expr | None:
    """`x.sum((0, 1)) -> x.sum()`, `x.T.sum() -> x.sum()`, `x.reshape(-1).sum() -> x.sum()`."""
    x, attributes = node.inputs[0], node.attributes
    if not is_reduction(node) or attributes["keepdim"] or len(reduced_dims(node)) != x.ndim:
        return None
    if x.op.name in SAME_ELEMENTS:
        return reduce(node.op.name, x.inputs[0], range(x.inputs[0].ndim), keepdim=False)
    if attributes["dim"] is not None and x.ndim:
        return reduce(node.op.name, x, range(x.ndim), keepdim=False)
    return None


def reduce_turned(node: Expr) -> Expr | None:
    """`x.T.sum(0) -> x.sum(1)`."""
    turned = node.inputs[0]
    if not is_reduction(node) or node.attributes["keepdim"] or not is_op(turned, "T", "mT"):
        return None
    dims = reduced_dims(node)
    if turned.ndim != 2 or len(dims) != 1:
        return None
    return reduce(node.op.name, turned.inputs[0], (1 - dims[0],), keepdim=False)


def reduce_repeated(node: Expr) -> Expr | None:
    """`b.expand(x.shape).sum(0) -> x.shape[0] * b`, `b.expand(x.shape).mean(0) -> b`."""
    x = node.inputs[0]
    if not is_op(x, "expand") or not is_reduction(node):
        return None
    small, keepdim = x.inputs[0], node.attributes["keepdim"]
    new = x.ndim - small.ndim
    dims = reduced_dims(node)
    repeated = [d for d in dims if d < new or (small.shape[d - new] == 1 != x.shape[d])]
    if not repeated or 0 in x.shape:
        return None
    rest = [d - new for d in dims if d not in repeated]
    made = reduce(node.op.name, small, rest, keepdim=True)
    if not keepdim:
        gone = tuple(d - new for d in dims if d >= new)
        made = made.squeeze(gone) if gone else made
    if is_op(node, "sum"):
        for d in repeated:
            made = size_of(x, d) * made
    if made.shape != node.shape:
        sizes = [1 if d in dims else size for d, size in enumerate(x.attributes["size"])]
        left = sizes if keepdim else [s for d, s in enumerate(sizes) if d not in dims]
        made = made.expand(tuple(left))
    return made


def reduce_filled(node: Expr) -> Expr | None:
    """`torch.ones(3, n).sum(1) -> torch.full((3,), n)`; also of what is known to add up to a number."""
    if not is_reduction(node):
        return None
    x, dims = node.inputs[0], reduced_dims(node)
    value = filling(x)
    total: Any
    if value is not None:
        total = value if isinstance(value, Expr) else float(value)
        if is_op(node, "sum") and dims:
            total = scaled(whole(value), product([size_of(x, d) for d in dims]))
    elif is_op(node, "sum") and len(dims) == 1:
        square = is_op(x, "eye") and x.shape[0] == x.shape[1]
        total = 1.0 if square else _known_total(x, dims[0])
        if total is None:
            return None
    else:
        return None
    sizes = [1 if d in dims else size_of(x, d) for d in range(x.ndim)]
    left = (
        sizes if node.attributes["keepdim"] else [s for d, s in enumerate(sizes) if d not in dims]
    )
    return full_of(tuple(left), total)


def _known_total(x: Expr, dim: int, depth: int = 0) -> float | None:
    """What a tensor is known to add up to along a dimension: a simplex, and what is made of such."""
    if assumed().has(assumed().sums_to_one, (x, dim)):
        return 1.0
    if not assumed().sums_to_one or depth > _DEEPEST:
        return None
    if x in assumed().definitions:
        return _known_total(assumed().definitions[x], dim, depth + 1)
    if is_op(x, "mul"):
        left, right = pair(x)
        value = number(left)
        total = None if value is None else _known_total(right, dim, depth + 1)
        return None if total is None or value is None else value * total
    if is_op(x, "add", "sub") and x.attributes["alpha"] == 1:
        totals = []
        for part in pair(x):
            by_number = part.value is not None and is_op(part, "div")
            total = _share(part, x, dim) if by_number else _known_total(part, dim, depth + 1)
            if total is None or (not by_number and part.shape != x.shape):
                return None
            totals.append(total)
        return totals[0] + totals[1] if is_op(x, "add") else totals[0] - totals[1]
    return None


def _share(part: Expr, x: Expr, dim: int) -> Number | None:
    """What `0.1 / x.shape[1]` adds up to along dimension 1 of `x`."""
    top, bottom = pair(part)
    return number(top) if bottom is size_of(x, dim) else None


def again(node: Expr, x: Expr, name: str | None = None) -> Expr:
    """The same reduction of another tensor, whose last dimensions are those of the first."""
    attributes, new = node.attributes, node.inputs[0].ndim - x.ndim
    dims, keepdim = attributes["dim"], attributes["keepdim"]
    if new and dims is not None:
        dims = tuple(d if d < 0 else d - new for d in dims)
    made: Expr = getattr(x, name or node.op.name)(dims, keepdim)
    return made


# What is the same within a reduction stands before it.


def factors(node: Expr) -> tuple[list[Expr], list[Expr]]:
    """The factors and the divisors of a product, in order; of many, the last are left together."""
    above: list[Expr] = []
    below: list[Expr] = []
    pending = [(node, above)]
    while pending:
        current, side = pending.pop()
        many = len(above) + len(below) + len(pending) >= _MOST_FACTORS
        if is_op(current, "mul", "div") and current.value is None and not many:
            left, right = pair(current)
            if is_op(current, "mul"):
                pending += ((right, side), (left, side))
                continue
            if side is above:
                pending += ((right, below), (left, side))
                continue
        side.append(current)
    return above, below


def product(parts: Sequence[Expr]) -> Expr:
    """The product of factors, from left to right."""
    made = parts[0]
    for part in parts[1:]:
        made = infix("mul", made, part)
    return made


def constant_along(part: Expr, x: Expr, dims: Dims) -> bool:
    """Whether broadcasting repeats `part` along these dimensions of `x`."""
    new = x.ndim - part.ndim
    return all(d < new or part.shape[d - new] == 1 != x.shape[d] for d in dims)


def move_out(node: Expr) -> Expr | None:
    """`(s * x).sum(1) -> s * x.sum(1)`, where s is the same along what is summed.

    So too of divisors that are known not to be zero: else a sum of infinities would become a quotient.
    """
    x = node.inputs[0]
    if not is_op(x, "mul", "div") or not is_reduction(node) or x.value is not None or 0 in x.shape:
        return None
    above, below = factors(x)
    inside, outside = _split(above, node)
    staying, leaving = _split(below, node, is_nonzero)
    if not inside or not (outside or leaving):
        return None
    rest = product(inside)
    for part in staying:
        rest = rest / part
    new = x.ndim - rest.ndim
    if any(d < new or rest.shape[d - new] != x.shape[d] for d in reduced_dims(node)):
        return None
    moved = again(node, rest)
    moved = infix("mul", product(outside), moved) if outside else moved
    for part in leaving:
        moved = moved / part
    return moved


def _split(
    parts: Sequence[Expr], node: Expr, movable: Callable[[Expr], bool] = lambda _: True
) -> tuple[list[Expr], list[Expr]]:
    """Those of the factors that a reduction must keep, and those that can stand before it."""
    x, dims = node.inputs[0], reduced_dims(node)
    inside: list[Expr] = []
    outside: list[Expr] = []
    for part in parts:
        dropped = None
        if part.value is not None:
            dropped = part
        elif constant_along(part, x, dims) and movable(part):
            shorter = [d - x.ndim for d in dims]
            dropped = part if node.attributes["keepdim"] else without_dims(part, shorter)
        if dropped is None:
            inside.append(part)
        else:
            outside.append(dropped)
    return inside, outside


def without_dims(x: Expr, dims: Sequence[int], depth: int = 0) -> Expr | None:
    """`x` without dimensions of size 1, given as negative numbers; None where that isn't shorter."""
    gone = [d for d in dims if d >= -x.ndim]
    if not gone or x.value is not None:
        return x
    if depth > _DEEPEST:
        return None
    source = x.inputs[0] if x.inputs else x
    if is_op(x, "unsqueeze"):
        new = x.attributes["dim"] % x.ndim - x.ndim
        if new in gone:
            # What stands before the dimension that goes moves back by one.
            return without_dims(source, [d + (d < new) for d in gone if d != new], depth + 1)
        return None
    if x.op.name in KEEPING and x.attributes["keepdim"]:
        if [d % x.ndim for d in sorted(gone)] != list(reduced_dims(x)):
            return None
        plain: Expr = make(x.op, x.args, {**x.attributes, "keepdim": False})
        return plain
    if is_op(x, "mul", "neg", "div", "add", "sub"):
        parts = [without_dims(arg, gone, depth + 1) for arg in x.inputs]
        if None not in parts:
            made: Expr = make(x.op, parts, x.attributes)
            return made
    return None


_REDUCTIONS = (
    reduce_once,
    reduce_all,
    reduce_turned,
    reduce_repeated,
    reduce_filled,
    move_out,
)
REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "sum": _REDUCTIONS,
    "mean": _REDUCTIONS,
    "unsqueeze": (keep_dims,),
}
