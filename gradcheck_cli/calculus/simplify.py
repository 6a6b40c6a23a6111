"""Simplification: an ordered tuple of passes, each a table of small pure rewrites run to a fixed point.

A rewrite keeps a node's shape and dtype, and its value up to rounding, NaN and infinity included: never
`x * 0 -> 0` or `x / x -> 1`. Numbers may change places within a product (`x * (2 * y) -> 2 * (x * y)`),
tensors may not, since `(a * b) * c` can overflow where `a * (b * c)` doesn't. Sizes stay symbolic, so that
a formula holds at other sizes; which dimensions are broadcast is taken as given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus import algebra, layout, present, sizes
from gradcheck_cli.graph import CONST, Expr, const, rebuild, symbolic_sizes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Rewrite = Callable[[Expr], Expr | None]
    Rewrites = Mapping[str, Sequence[Rewrite]]


def _joined(*tables: Rewrites) -> dict[str, tuple[Rewrite, ...]]:
    """Several tables as one, the rewrites of the first tried first."""
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: tuple(r for table in tables for r in table.get(name, ())) for name in names}


# First the canonical form, in which equal terms meet; then the form that reads best.
PASSES: tuple[Rewrites, ...] = (
    _joined(sizes.REWRITES, layout.REWRITES, algebra.REWRITES),
    present.REWRITES,
)


def simplify(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """The same expressions, shorter.

    >>> from gradcheck_cli.graph import variable
    >>> from gradcheck_cli.lang.printer import to_text
    >>> x = variable("x", (3,))
    >>> to_text(simplify([1.0 * (2 * -(-x))])[0])
    '2 * x'
    """
    current = tuple(roots)
    for rewrites in PASSES:
        current = sweep(current, rewrites)
    return current


def sweep(
    roots: tuple[Expr, ...],
    rewrites: Rewrites,
    *,
    early: Rewrites | None = None,
    symbolic: bool = True,
) -> tuple[Expr, ...]:
    """Every node below `roots` brought to a form in which no rewrite fires, arguments before users.

    Iterative, so that deep graphs are no problem. What a rewrite makes is swept in its turn. `early`
    rewrites see a node before anything below it has changed. Not `symbolic`, sizes become plain numbers:
    enough to compute with, and sooner done.
    """
    done: dict[Expr, Expr] = {}

    def settled(node: Expr) -> Expr:
        if symbolic or node.value is None:
            return done[node]
        return node if node.op is CONST else const(node.value)

    successor: dict[Expr, Expr] = {}
    seen: set[Expr] = set()
    stack = list(reversed(roots))
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        after = successor.get(node)
        if after is not None:
            if after in done:
                done[node] = done[after]
            else:
                stack.append(after)
            continue
        if early and node.op.name in early and node not in seen:
            seen.add(node)
            other = _rewritten(node, early)
            if other is not None:
                successor[node] = other
                continue
        if symbolic:
            below = (*node.inputs, *symbolic_sizes(node)) if node.attrs else node.inputs
            open_ = [child for child in below if child not in done]
        else:
            open_ = [child for child in node.inputs if child not in done and child.value is None]
        if open_:
            assert successor.keys().isdisjoint(open_), f"rewrites of {node!r} go in a circle"
            stack += open_
            continue
        after = rebuild(node, settled)
        if after is node:
            after = _rewritten(node, rewrites)
        if after is None:
            done[node] = node
        else:
            assert after not in successor or after in done, f"rewrites of {node!r} go in a circle"
            successor[node] = after
    return tuple(settled(root) for root in roots)


def _rewritten(node: Expr, rewrites: Rewrites) -> Expr | None:
    """What the first rewrite that fires makes of a node. They are made for real numbers."""
    if node.dtype.kind == "z" or any(arg.dtype.kind == "z" for arg in node.inputs):
        return None
    for rewrite in rewrites.get(node.op.name, ()):
        found = rewrite(node)
        if found is None or found is node:
            continue
        if found.shape == node.shape and found.dtype is node.dtype:
            return found
    return None
