"""Simplification: an ordered tuple of passes, each a table of small pure rewrites run to a fixed point.

A rewrite keeps a node's shape and dtype. Wherever its left side is not NaN the right side is equal to it up
to rounding, infinities included, unless an intermediate result overflows or underflows. Where no infinity
comes up on the way it is NaN exactly where the left side is: never `x / x -> 1`. It may turn infinity -
infinity or 0 * infinity into a number (`a * x + b * x -> (a + b) * x`), but no NaN that went in disappears:
never `x * 0 -> 0`.
Sizes stay symbolic, so that a formula holds at other sizes; which dimensions are broadcast is taken as given.
What is assumed of the inputs is used where it was given, see `facts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.cost import Costs
from gradcheck_cli.calculus.rewrites import (
    algebra,
    definitions,
    dims,
    factor,
    layout,
    masks,
    means,
    named,
    pieces,
    present,
    products,
    reductions,
    sizes,
)
from gradcheck_cli.calculus.rewrites.tables import joined
from gradcheck_cli.graph import CONST, Expr, const, rebuild, symbolic_sizes
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gradcheck_cli.calculus.rewrites.tables import Rewrite, Rewrites

    Watch = Callable[[Rewrite, Expr, Expr], None]


# First the canonical form, in which equal terms meet.
CANONICAL = joined(
    sizes.REWRITES,
    dims.REWRITES,
    layout.REWRITES,
    masks.REWRITES,
    reductions.REWRITES,
    means.REWRITES,
    pieces.REWRITES,
    products.REWRITES,
    named.REWRITES,
    factor.REWRITES,
    algebra.REWRITES,
)
# Then what pays off in some places only, taken where the form becomes cheaper by it.
SHORTER = joined(
    definitions.SHORTER,
    pieces.SHORTER,
    products.SHORTER,
    named.SHORTER,
    factor.SHORTER,
)
# Then the form that reads best.
PRESENT = joined(present.REWRITES, products.PRESENT, masks.PRESENT, means.PRESENT, dims.PRESENT)
PASSES: tuple[Rewrites, ...] = (CANONICAL, SHORTER, PRESENT)


def simplify(roots: Sequence[Expr], watch: Watch | None = None) -> tuple[Expr, ...]:
    """The same expressions, shorter. `watch` is told of each rewrite that was made: it, before, after.

    >>> from gradcheck_cli.graph import variable
    >>> from gradcheck_cli.lang.printer import to_text
    >>> x = variable("x", (3,))
    >>> to_text(simplify([1.0 * (2 * -(-x))])[0])
    '2 * x'
    """
    done: dict[Expr, Expr] = {}
    current = sweep(tuple(roots), CANONICAL, watch=watch, done=done)
    current = sweep(current, CANONICAL, watch=watch, cheaper=_Cheaper(done.values()))
    with dims.spelled_as(roots):
        return sweep(current, PRESENT, watch=watch)


class _Cheaper:
    """The rewrites of `SHORTER` where they pay off: brought to canonical form, the result costs less.

    `done` are the canonical forms of nodes, of itself where a node is in canonical form.
    """

    def __init__(self, canonical: Iterable[Expr]) -> None:
        self.costs = Costs()
        self.done: dict[Expr, Expr] = {node: node for node in canonical}

    def __call__(self, node: Expr) -> tuple[Rewrite, Expr] | None:
        for rewrite in _rewrites_of(node, SHORTER):
            found = _fitting(node, rewrite)
            if found is not None:
                (settled,) = sweep((found,), CANONICAL, done=self.done)
                if self.costs.of(settled) < self.costs.of(node):
                    return rewrite, settled
        self.done[node] = node
        return None


def sweep(
    roots: tuple[Expr, ...],
    rewrites: Rewrites,
    *,
    early: Rewrites | None = None,
    symbolic: bool = True,
    watch: Watch | None = None,
    cheaper: _Cheaper | None = None,
    done: dict[Expr, Expr] | None = None,
) -> tuple[Expr, ...]:
    """Every node below `roots` brought to a form in which no rewrite fires, arguments before users.

    Iterative, so that deep graphs are no problem. What a rewrite makes is swept in its turn; one that leads
    back to where it started is not followed. `early` rewrites see a node before anything below it has
    changed, `cheaper` ones where no other fires. Not `symbolic`, sizes become plain numbers: enough to
    compute with, and sooner done. `done` are nodes swept before, and is added to.
    """
    done = {} if done is None else done

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
            made = _rewritten(node, early)
            if made is not None:
                successor[node] = made[1]
                continue
        open_ = _open(node, done, symbolic)
        if open_:
            # What leads back to where it started stays as it is.
            done.update((child, child) for child in open_ if child in successor)
            stack += (child for child in open_ if child not in done)
            continue
        after = rebuild(node, settled)
        if after is node:
            after = _improved(node, rewrites, cheaper, watch)
        if after is node or (after in successor and after not in done):
            done[node] = node
        else:
            successor[node] = after
    return tuple(settled(root) for root in roots)


def _open(node: Expr, done: Mapping[Expr, Expr], symbolic: bool) -> list[Expr]:
    """What stands below a node and hasn't been swept yet."""
    if symbolic:
        below = (*node.inputs, *symbolic_sizes(node)) if node.attrs else node.inputs
        return [child for child in below if child not in done]
    return [child for child in node.inputs if child not in done and child.value is None]


def _improved(
    node: Expr, rewrites: Rewrites, cheaper: _Cheaper | None, watch: Watch | None
) -> Expr:
    name = definitions.name_whole(node)
    if name is not None:
        if watch is not None:
            watch(definitions.name_whole, node, name)
        return name
    known = cheaper is not None and cheaper.done.get(node) is node
    made = None if known else _rewritten(node, rewrites)
    if made is None and cheaper is not None:
        made = cheaper(node)
    if made is None:
        return node
    if watch is not None:
        watch(made[0], node, made[1])
    return made[1]


def _rewritten(node: Expr, rewrites: Rewrites) -> tuple[Rewrite, Expr] | None:
    """The first rewrite that fires on a node, with what it makes of it."""
    for rewrite in _rewrites_of(node, rewrites):
        found = _fitting(node, rewrite)
        if found is not None:
            return rewrite, found
    return None


def _rewrites_of(node: Expr, rewrites: Rewrites) -> Sequence[Rewrite]:
    """Those to be tried on a node. They are made for real numbers."""
    found = rewrites.get(node.op.name, ())
    if found and (node.dtype.kind == "z" or "z" in [arg.dtype.kind for arg in node.inputs]):
        return ()
    return found


def _fitting(node: Expr, rewrite: Rewrite) -> Expr | None:
    """What a rewrite makes of a node, where that is a change."""
    try:
        found = rewrite(node)
    except Invalid:  # real numbers again: whole numbers have no mean, and no product with them
        return None
    if found is None or found is node:
        return None
    return found if found.shape == node.shape and found.dtype is node.dtype else None
