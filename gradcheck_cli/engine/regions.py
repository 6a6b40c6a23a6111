"""What can run in blocks: which operations share leading dims, and how their arguments lie in a block."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from gradcheck_cli.graph import INPUT, Expr

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# From this many elements on it pays to join operations into blocks.
BIG = 1 << 13
# A slice of this many elements is too large for a block: it is cut along its last dim as well.
WIDE = 1 << 17


@dataclass(frozen=True, eq=False)
class Region:
    """Operations over the same `lead`, the leading dims that are cut into blocks, in order.

    `outputs` are those of `nodes` that are needed outside. A `wide` one is cut along the last dim alone,
    row by row, `lead` being the whole shape; sums of rows are then known only at the end, too.
    """

    lead: tuple[int, ...]
    nodes: tuple[Expr, ...]
    outputs: tuple[Expr, ...]
    wide: bool = False

    def is_total(self, node: Expr) -> bool:
        """Whether a member's value is known only when all blocks have run."""
        return node.op.reduction is not None and (self.wide or is_total(node))

    @property
    def depth(self) -> int:
        """How many dims lead."""
        return len(self.lead)


def reduced_dims(node: Expr) -> tuple[int, ...]:
    """The dims of its argument that a reduction goes over, counted from the front, sorted."""
    ndim = node.inputs[0].ndim
    dim = node.attributes.get("dim")
    if dim is None or dim == ():
        return tuple(range(ndim))
    dims = (dim,) if isinstance(dim, int) else dim
    return tuple(sorted(d % ndim for d in dims)) if ndim else ()


def _reduces(node: Expr) -> bool:
    """Whether it is a reduction that blocks know: of a tensor with dims, in its own dtype."""
    return (
        node.op.reduction is not None
        and node.inputs[0].ndim > 0
        and node.inputs[0].dtype is node.dtype
        and node.dtype.is_floating
        and node.attributes.get("dtype") is None
    )


def broadcasts(node: Expr) -> bool:
    """Whether it works element by element, and its arguments broadcast."""
    return node.op.elementwise or node.op.broadcasts


def is_total(node: Expr) -> bool:
    """Whether it is a reduction over the leading dims, known only when all blocks have run."""
    return _reduces(node) and reduced_dims(node)[:1] == (0,)


def _depth(node: Expr) -> int:
    """Over how many leading dims a node may be cut; 0: not at all."""
    if node.value is not None or node.op is INPUT or node.op.outputs:
        return 0
    if _reduces(node):
        dims = reduced_dims(node)
        if dims[0] > 0:
            return dims[0]
        return next((d for d, dim in enumerate(dims) if d != dim), len(dims))
    if broadcasts(node) and node.op.kernel is not None and node.ndim:
        return min((_common_dims(arg, node) for arg in node.inputs), default=0)
    if node.op.leading is not None and node.ndim:
        return node.op.leading(node)
    return 0


def _common_dims(arg: Expr, node: Expr) -> int:
    """The most leading dims of which `arg` has all, or none."""
    missing = node.ndim - arg.ndim
    if missing or arg.shape[0] != node.shape[0]:
        ones = 0
        while ones < arg.ndim and arg.shape[ones] == 1:
            ones += 1
        return missing + ones if arg.ndim > ones else node.ndim
    same = 0
    while same < node.ndim and arg.shape[same] == node.shape[same]:
        same += 1
    return same


def is_sliced(arg: Expr, node: Expr, depth: int) -> bool:
    """Whether `node` wants the slice of `arg` that belongs to a block, rather than all of it."""
    if not arg.ndim:
        return False
    if not broadcasts(node):
        return True
    return arg.ndim == node.ndim and arg.shape[:depth] == node.shape[:depth]


@dataclass(eq=False)
class Lead:
    """The leading dims that the operations of a family share, as in `Region`."""

    shape: tuple[int, ...]
    wide: bool = False

    def sums_up(self, node: Expr) -> bool:
        """Whether a member's value is known only when all blocks have run."""
        return is_total(node) or (self.wide and _reduces(node))


def families(order: Sequence[Expr]) -> dict[Expr, Lead]:
    """The nodes that can run in blocks, each with what it shares with those it is connected to."""
    depth = {node: d for node in order if (d := _depth(node)) > 0}
    parent: dict[Expr, Expr] = {node: node for node in depth}
    readers: dict[tuple[Expr, tuple[int, ...]], Expr] = {}

    def root(node: Expr) -> Expr:
        while parent[node] is not node:
            parent[node] = node = parent[parent[node]]
        return node

    for node, dims in depth.items():
        for arg in node.inputs:
            if not is_sliced(arg, node, 1) or arg.value is not None:
                continue
            if arg not in depth or is_total(arg):
                # What reads the same array belongs together too: it is then read once.
                first = readers.setdefault((arg, arg.shape[:dims]), node)
                if depth[first] == dims:
                    parent[root(first)] = root(node)
            else:
                parent[root(arg)] = root(node)
    groups: dict[Expr, list[Expr]] = {}
    for node in depth:
        groups.setdefault(root(node), []).append(node)
    result: dict[Expr, Lead] = {}
    for members in groups.values():
        if max(_work(node) for node in members) < BIG:
            continue
        wide = _wide_members(members, min(depth[node] for node in members))
        if wide:
            lead = Lead(_sliced_shape(wide[0]), wide=True)
            result.update(dict.fromkeys(wide, lead))
            continue
        for dims in range(min(depth[node] for node in members), 0, -1):
            shapes = {_sliced_shape(node)[:dims] for node in members}
            if len(shapes) == 1:
                lead = Lead(shapes.pop())
                result.update(dict.fromkeys(members, lead))
                break
    return result


def _wide_members(members: Sequence[Expr], depth: int) -> list[Expr]:
    """Those that can run along the last dim of a few long rows; empty where slices fit into blocks."""
    shape = max(map(_sliced_shape, members), key=prod)
    if len(shape) <= depth or 0 in shape or shape[-1] < WIDE:
        return []
    last = len(shape) - 1
    found = []
    for node in members:
        if _reduces(node):
            fits = reduced_dims(node) in ((last,), tuple(range(len(shape))))
            if fits and node.inputs[0].shape == shape:
                found.append(node)
        elif (
            broadcasts(node)
            and node.shape == shape
            and all(place_in_rows(arg, shape) is not None for arg in node.inputs)
        ):
            found.append(node)
    return found


def place_in_rows(arg: Expr, shape: tuple[int, ...]) -> str | None:
    """How an argument lies in the rows of `shape`; None where in no way that a loop over rows knows.

    It has a number of its own for each "element", one for each "row" or "column", or one "number" for all.
    """
    whole = (1,) * (len(shape) - arg.ndim) + arg.shape
    if whole == shape:
        return "element"
    if prod(whole) == 1:
        return "number"
    if whole[:-1] == shape[:-1] and whole[-1] == 1:
        return "row"
    return "column" if prod(whole[:-1]) == 1 and whole[-1] == shape[-1] else None


def stays_inside(arg: Expr, node: Expr, family: Mapping[Expr, Lead]) -> bool:
    """Whether a value goes from one operation to the other within a block."""
    lead = family.get(node)
    if lead is None or family.get(arg) is not lead or lead.sums_up(arg):
        return False
    return is_sliced(arg, node, len(lead.shape))


def _sliced_shape(node: Expr) -> tuple[int, ...]:
    return node.inputs[0].shape if _reduces(node) else node.shape


def _work(node: Expr) -> int:
    return max(node.elements, prod(node.inputs[0].shape)) if node.inputs else node.elements
