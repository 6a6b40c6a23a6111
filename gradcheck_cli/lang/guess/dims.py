"""Letters and small sizes for the dimensions of inputs, and the bounds of those that index others."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from gradcheck_cli.graph import INPUT, Expr, topological
from gradcheck_cli.lang.guess.sizes import DIVISIBLE
from gradcheck_cli.lang.printer import to_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from gradcheck_cli.lang.guess.sizes import Layout

_LETTERS = "NDMKLPQRSUVWGHIJABCEFTXYZ"
# What the first dimensions are called, by the rank of the input that has the most.
_OF_RANK = {3: "BND", 4: "NCHW", 5: "NCDHW"}
# Up to this rank C is kept for classes; above, it is the channels of images.
_MATRICES = 3
# Sizes that are tried in place of the primes of the search, each with those that follow.
_BASES = (3, 6, 9)

# The operators that take indices: the places of the indexed tensor and of the indices.
_INDEXED = {
    "gather": (0, 1),
    "index_select": (0, 1),
    "embedding": (0, 1),
    "cross_entropy.none": (0, 1),
    "nll_loss.none": (0, 1),
    "scatter": (0, 1),
    "scatter_add": (0, 1),
    "index_add": (0, 1),
}
_VIEWS = frozenset(
    ["unsqueeze", "squeeze", "view", "reshape", "expand", "to", "flatten", "T", "mT"]
)


def letters(layout: Layout, names: Collection[str], classes: Collection[int]) -> dict[int, str]:
    """A letter for each class of dimensions; `names` are taken, `classes` are those of class indices."""
    dims = layout.dims
    most = max((len(one) for one in dims.values()), default=0)
    name, first = next(((name, one) for name, one in dims.items() if len(one) == 2), ("", [0, 0]))
    start = _OF_RANK.get(most, "ND")
    if name[:1] in ("A", "B") and first[0] != first[1]:
        start = "MN"  # A @ x is written with A of M rows, X @ w with X of N
    free = [one for one in dict.fromkeys(start + _LETTERS) if one not in names]
    pool = iter(free if most > _MATRICES else [one for one in free if one != "C"])
    found: dict[int, str] = {}
    ordered = sorted(dims.values(), key=len, reverse=True) if most > _MATRICES else dims.values()
    for one in ordered:
        for dim in one:
            if dim not in found:
                is_class = dim in classes and "C" not in (*found.values(), *names)
                found[dim] = "C" if is_class else next(pool, f"N{dim}")
    return found


def small(layout: Layout) -> Iterator[Layout]:
    """The layout with small sizes in the order of its own, to be tried; numbers stay."""
    used = {dim for dims in layout.dims.values() for dim in dims}
    free = [d for d in used if d not in layout.fixed and layout.sizes[d] % DIVISIBLE]
    taken = {layout.sizes[dim] for dim in used.difference(free)}
    for base in _BASES:
        other = layout.copy()
        sizes = (size for size in count(base) if size not in taken)
        for dim in sorted(free, key=layout.sizes.__getitem__):
            other.sizes[dim] = next(sizes)
        yield other


def bounds(output: Expr, variables: Mapping[str, Expr]) -> dict[str, tuple[str, int]]:
    """For inputs that index others: the input whose size they stay below, and which of its dimensions."""
    found: dict[str, tuple[str, int]] = {}
    for node in topological([output], sizes=True):
        for size, index in _indexings(node):
            below = _viewed(index)
            if below.op is not INPUT or below.dtype.is_floating or below.dtype.kind == "b":
                continue
            name = below.attributes["name"]
            owner = next(
                (
                    (other, dim)
                    for other, variable in variables.items()
                    if other != name
                    for dim, own in enumerate(variable.shape)
                    if own == size
                ),
                None,
            )
            if owner is not None and name in variables:
                found.setdefault(name, owner)
    return found


def _indexings(node: Expr) -> Iterator[tuple[int, Expr]]:
    """The sizes that indices are below, with the indices."""
    if node.op.name == "index":
        base, *items = node.args
        if base is not None:
            for dim, item in enumerate(items[: base.ndim]):
                if item is not None:
                    yield base.shape[dim], item
    elif node.op.name == "one_hot.counted" and node.inputs:
        size = node.attributes["num_classes"]
        yield int(size.value or 0) if isinstance(size, Expr) else size, node.inputs[0]
    elif node.op.name in _INDEXED:
        of, by = (node.args[place] for place in _INDEXED[node.op.name])
        if of is not None and by is not None and of.ndim:
            usual = min(1, of.ndim - 1) if node.op.name.endswith(".none") else 0
            yield of.shape[node.attributes.get("dim", usual)], by


def _viewed(node: Expr) -> Expr:
    while node.op.name.partition(".")[0] in _VIEWS and node.inputs:
        node = node.inputs[0]
    return node


def size_text(variable: Expr, dim: int) -> str:
    """How a size of an input is written."""
    return to_text(variable.size(dim))
