"""Rewrites that put means back by name, and the softmax of which logsumexp is the integral."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gradcheck_cli.calculus.facts import is_finite
from gradcheck_cli.calculus.rewrites.patterns import is_op, pair
from gradcheck_cli.calculus.rewrites.reductions import again, is_reduction
from gradcheck_cli.calculus.rewrites.sizes import as_many, origins, reduced_dims, size_of
from gradcheck_cli.graph import CONST, Expr, infix, make, rebuild, t

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# How many factors and terms are looked at.
_MOST_FACTORS = 12


def _size_factors(value: Expr) -> Counter[Expr]:
    """The sizes that a count is the product of."""
    found: Counter[Expr] = Counter()
    pending = [value]
    while pending:
        current = pending.pop()
        if is_op(current, "mul") and len(found) < _MOST_FACTORS:
            pending += current.inputs
        else:
            found[current] += 1
    return found


def _counts(count: Expr, x: Expr, dims: tuple[int, ...]) -> bool:
    """Whether `count` is how many elements a reduction of `x` over `dims` takes together."""
    if len(dims) == x.ndim and is_op(count, "numel") and count.inputs[0] in as_many(x):
        return True
    sizes = _size_factors(count)
    if sizes.total() != len(dims):
        return False
    for d in dims:
        same = (size for size in sizes if sizes[size] and _is_size(size, x, d))
        size = next(same, None)
        if size is None:
            return False
        sizes[size] -= 1
    return True


def _is_size(size: Expr, x: Expr, dim: int) -> bool:
    if size.value != x.shape[dim]:
        return False
    counted = size.inputs[0] if size.inputs else size
    if is_op(size, "size"):
        return size is size_of(x, dim) or (counted, size.attributes["dim"]) in origins(x, dim)
    return is_op(size, "numel") and counted.ndim == 1 and (counted, 0) in origins(x, dim)


def take_mean(node: Expr) -> Expr | None:
    """`x.sum(0) / x.shape[0] -> x.mean(0)`, `(2 * x.sum() * y) / x.numel() -> 2 * x.mean() * y`.

    Of several terms each must hold such a sum.
    """
    top, bottom = pair(node)
    if bottom.value is None or bottom.op is CONST or top.value is not None:
        return None
    means: dict[Expr, Expr] = {}
    terms = [top]
    for term in terms:
        if is_op(term, "add", "sub") and len(terms) < _MOST_FACTORS:
            terms += term.inputs
            continue
        found = _averaged(term, bottom)
        if found is None:
            return None
        means[term] = found
    return _rebuilt(top, means)


def _averaged(term: Expr, count: Expr) -> Expr | None:
    """The term with a mean in the place of the first sum that is `count` times as large."""
    pending: list[tuple[tuple[Expr, ...], Expr]] = [((), term)]
    for _ in range(_MOST_FACTORS):
        if not pending:
            return None
        path, current = pending.pop()
        if is_reduction(current, "sum"):
            x, dims = current.inputs[0], reduced_dims(current)
            if 0 not in x.shape and _counts(count, x, dims):
                made = again(current, x, "mean")
                for step, below in zip(reversed(path), (current, *reversed(path)), strict=False):
                    args = [made if arg is below else arg for arg in step.args]
                    made = make(step.op, args, step.attributes)
                return made
        elif is_op(current, "mul") and current.inputs[0] is not current.inputs[1]:
            pending += (((*path, current), part) for part in reversed(current.inputs))
        elif is_op(current, "neg", "div"):
            pending.append(((*path, current), current.inputs[0]))
    return None


def _rebuilt(node: Expr, means: Mapping[Expr, Expr]) -> Expr:
    """A sum of terms with others in their places; no deeper than there are terms."""
    if node in means:
        return means[node]
    return rebuild(node, lambda term: _rebuilt(term, means))


def softmax_by_logsumexp(node: Expr) -> Expr | None:
    """`exp(x - x.logsumexp(1, keepdim=True)) -> softmax(x, 1)`.

    Of finite numbers: of a row with infinity, softmax is NaN everywhere, and this in that element alone.
    """
    difference = node.inputs[0]
    if not is_op(difference, "sub") or difference.attributes["alpha"] != 1:
        return None
    x, total = pair(difference)
    if not is_op(total, "logsumexp") or total.inputs[0] is not x or len(reduced_dims(total)) != 1:
        return None
    if not is_finite(x):
        return None
    (dim,) = reduced_dims(total)
    if dim and not total.attributes["keepdim"]:
        return None
    softmax: Expr = t.softmax(x, dim)
    return softmax


def deviation_first(node: Expr) -> Expr | None:
    """`x - y - x.mean(0) -> x - x.mean(0) - y`: what is left of x after its mean, in one piece."""
    inner, mean = pair(node)
    if not is_op(inner, "sub") or not is_reduction(mean, "mean"):
        return None
    x, other = pair(inner)
    if x is not mean.inputs[0] or (is_reduction(other, "mean") and other.inputs[0] is x):
        return None
    if any(part.attributes["alpha"] != 1 for part in (node, inner)):
        return None
    return infix("sub", infix("sub", x, mean), other)


REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "div": (take_mean,),
    "exp": (softmax_by_logsumexp,),
}
# Last of all.
PRESENT: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {"sub": (deviation_first,)}
