"""Which operations run together, block by block: a graph partitioned into regions and single steps.

A region is a set of operations that treat one slice of their leading dims after the other: elementwise
ones, reductions of a slice, sums over all slices. Its arrays then pass through the cache once, however
many operations there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from gradcheck_cli.graph import INPUT, Expr

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

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


def partition(
    order: Sequence[Expr], roots: Collection[Expr]
) -> list[Expr | Region]:
    """`order` as steps and regions, in an order in which each finds what it needs.

    Arguments that are not in `order` are there already.

    Greedy: single steps first; where none can run, the region that starts earliest takes all it can.
    """
    family = _families(order)
    users: dict[Expr, list[Expr]] = {node: [] for node in order}
    stage = _stages(order, family)
    waiting: dict[Expr, int] = {}
    for node in order:
        args = [arg for arg in dict.fromkeys(node.inputs) if arg in users]
        waiting[node] = len(args)
        for arg in args:
            users[arg].append(node)
    position = {node: i for i, node in enumerate(order)}
    ready = [node for node in order if not waiting[node]]
    result: list[Expr | Region] = []

    def finish(node: Expr) -> None:
        for user in users[node]:
            waiting[user] -= 1
            if not waiting[user]:
                ready.append(user)

    while ready:
        single = next((node for node in ready if node not in family), None)
        if single is not None:
            ready.remove(single)
            result.append(single)
            finish(single)
            continue
        first = min(ready, key=position.__getitem__)
        lead = family[first]
        members: list[Expr] = []
        inside: set[Expr] = set()
        totals: set[Expr] = set()
        late: list[Expr] = []
        now = min(stage[node] for node in ready if family[node] is lead)
        candidates = [node for node in ready if family[node] is lead and stage[node] == now]
        while candidates:
            node = min(candidates, key=position.__getitem__)
            candidates.remove(node)
            if any(
                arg in inside and (arg in totals or not is_sliced(arg, node, len(lead.shape)))
                for arg in node.inputs
            ):
                late.append(node)
                continue
            ready.remove(node)
            members.append(node)
            inside.add(node)
            if lead.sums_up(node):
                totals.add(node)
            before = len(ready)
            finish(node)
            candidates += [
                new for new in ready[before:] if family.get(new) is lead and stage[new] == now
            ]
        members.sort(key=position.__getitem__)
        outputs = tuple(
            node for node in members if node in roots or not inside.issuperset(users[node])
        )
        result.append(Region(lead.shape, tuple(members), outputs, lead.wide))
    assert len({*result} & {*order}) + sum(
        len(item.nodes) for item in result if isinstance(item, Region)
    ) == len(order)
    return result


@dataclass(eq=False)
class _Lead:
    """The leading dims that the operations of a family share, as in `Region`."""

    shape: tuple[int, ...]
    wide: bool = False

    def sums_up(self, node: Expr) -> bool:
        """Whether a member's value is known only when all blocks have run."""
        return is_total(node) or (self.wide and _reduces(node))


def _families(order: Sequence[Expr]) -> dict[Expr, _Lead]:
    """The nodes that can run in blocks, each with what it shares with those it is connected to."""
    depth = {node: d for node in order if (d := _depth(node)) > 0}
    parent: dict[Expr, Expr] = {node: node for node in depth}
    readers: dict[tuple[Expr, tuple[int, ...]], Expr] = {}

    def root(node: Expr) -> Expr:
        while parent[node] is not node:
            parent[node] = node = parent[parent[node]]
        return node

    for node in depth:
        for arg in node.inputs:
            if not is_sliced(arg, node, 1) or arg.value is not None:
                continue
            if arg not in depth or is_total(arg):
                # What reads the same array belongs together too: it is then read once.
                first = readers.setdefault((arg, arg.shape[: depth[node]]), node)
                if depth[first] == depth[node]:
                    parent[root(first)] = root(node)
            else:
                parent[root(arg)] = root(node)
    groups: dict[Expr, list[Expr]] = {}
    for node in depth:
        groups.setdefault(root(node), []).append(node)
    result: dict[Expr, _Lead] = {}
    for members in groups.values():
        if max(_work(node) for node in members) < BIG:
            continue
        wide = _wide_members(members, min(depth[node] for node in members))
        if wide:
            lead = _Lead(_sliced_shape(wide[0]), wide=True)
            result.update(dict.fromkeys(wide, lead))
            continue
        for dims in range(min(depth[node] for node in members), 0, -1):
            shapes = {_sliced_shape(node)[:dims] for node in members}
            if len(shapes) == 1:
                lead = _Lead(shapes.pop())
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
        elif broadcasts(node) and node.shape == shape:
            if all(place_in_rows(arg, shape) is not None for arg in node.inputs):
                found.append(node)
    return found


def place_in_rows(arg: Expr, shape: tuple[int, ...]) -> str | None:
    """How an argument lies in the rows of `shape`: a number of its own for each "element", one a "row",
    one a "column", or one "number" for all; None for anything else."""
    whole = (1,) * (len(shape) - arg.ndim) + arg.shape
    if whole == shape:
        return "element"
    if prod(whole) == 1:
        return "number"
    if whole[:-1] == shape[:-1] and whole[-1] == 1:
        return "row"
    return "column" if prod(whole[:-1]) == 1 and whole[-1] == shape[-1] else None


def _stages(order: Sequence[Expr], family: Mapping[Expr, _Lead]) -> dict[Expr, int]:
    """In which run over its family's blocks each node belongs: as late as those that need it allow.

    What leaves the family's blocks, as a total or into another step, and comes back, comes back in a
    later run. A node that is only needed there is computed there, rather than stored in between.
    """
    depends: dict[Expr, dict[_Lead, int]] = {}
    earliest: dict[Expr, int] = {}
    users: dict[Expr, list[Expr]] = {node: [] for node in order}
    for node in order:
        lead = family.get(node)
        needs: dict[_Lead, int] = {}
        own = 0
        for arg in node.inputs:
            if arg not in depends:
                continue
            users[arg].append(node)
            direct = lead is not None and _stays_inside(arg, node, family)
            for other, count in depends[arg].items():
                needs[other] = max(needs.get(other, 0), count)
                if other is lead and not direct:
                    own = max(own, count)
            if direct:
                own = max(own, earliest[arg])
        if lead is not None:
            earliest[node] = own
            needs[lead] = max(needs.get(lead, 0), own + 1)
        depends[node] = needs
    last: dict[_Lead, int] = {}
    for node, count in earliest.items():
        last[family[node]] = max(last.get(family[node], 0), count)
    latest: dict[Expr, int] = {}
    needed: dict[Expr, dict[_Lead, int]] = {}
    for node in reversed(order):
        bounds: dict[_Lead, int] = {}
        lead = family.get(node)
        own = last[lead] if lead is not None else 0
        for user in users[node]:
            for other, count in needed[user].items():
                bounds[other] = min(bounds.get(other, count), count)
            if lead is not None and _stays_inside(node, user, family):
                own = min(own, latest[user])
            elif lead is not None and lead in needed[user]:
                own = min(own, needed[user][lead] - 1)
        if lead is not None:
            latest[node] = own
            bounds[lead] = min(bounds.get(lead, own), own)
        needed[node] = bounds
    return latest


def _stays_inside(arg: Expr, node: Expr, family: Mapping[Expr, _Lead]) -> bool:
    """Whether a value goes from one operation to the other within a block."""
    lead = family.get(node)
    if lead is None or family.get(arg) is not lead or lead.sums_up(arg):
        return False
    return is_sliced(arg, node, len(lead.shape))


def _sliced_shape(node: Expr) -> tuple[int, ...]:
    return node.inputs[0].shape if _reduces(node) else node.shape


def _work(node: Expr) -> int:
    return max(node.elements, prod(node.inputs[0].shape)) if node.inputs else node.elements
