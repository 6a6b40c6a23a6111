"""Which operations run together, block by block: a graph partitioned into regions and single steps.

A region is a set of operations that treat one slice of their leading dims after the other: elementwise
ones, reductions of a slice, sums over all slices. Its arrays then pass through the cache once, however
many operations there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.engine.regions import Lead, Region, families, is_sliced, stays_inside

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gradcheck_cli.graph import Expr


def partition(order: Sequence[Expr], roots: Collection[Expr]) -> list[Expr | Region]:
    """`order` as steps and regions, in an order in which each finds what it needs.

    Arguments that are not in `order` are there already.

    Greedy: single steps first; where none can run, the region that starts earliest takes all it can.
    """
    family = families(order)
    users: dict[Expr, list[Expr]] = {node: [] for node in order}
    stage = latest_stages(order, family)
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
        now = min(stage[node] for node in ready if family[node] is lead)
        candidates = [node for node in ready if family[node] is lead and stage[node] == now]
        while candidates:
            node = min(candidates, key=position.__getitem__)
            candidates.remove(node)
            if any(
                arg in inside and (arg in totals or not is_sliced(arg, node, len(lead.shape)))
                for arg in node.inputs
            ):
                continue  # it waits for a later region
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


def latest_stages(order: Sequence[Expr], family: Mapping[Expr, Lead]) -> dict[Expr, int]:
    """In which run over its family's blocks each node belongs: as late as those that need it allow.

    What leaves the family's blocks, as a total or into another step, and comes back, comes back in a
    later run. A node that is only needed there is computed there, rather than stored in between.
    """
    users: dict[Expr, list[Expr]] = {node: [] for node in order}
    for node in order:
        for arg in node.inputs:
            if arg in users:
                users[arg].append(node)
    last: dict[Lead, int] = {}
    for node, stage in _earliest_stages(order, family).items():
        last[family[node]] = max(last.get(family[node], 0), stage)
    latest: dict[Expr, int] = {}
    needed: dict[Expr, dict[Lead, int]] = {}  # the first stage, of each family, that needs a node
    for node in reversed(order):
        bounds: dict[Lead, int] = {}
        lead = family.get(node)
        own = last[lead] if lead is not None else 0
        for user in users[node]:
            for other, stage in needed[user].items():
                bounds[other] = min(bounds.get(other, stage), stage)
            if lead is not None and stays_inside(node, user, family):
                own = min(own, latest[user])
            elif lead is not None and lead in needed[user]:
                own = min(own, needed[user][lead] - 1)
        if lead is not None:
            latest[node] = own
            bounds[lead] = min(bounds.get(lead, own), own)
        needed[node] = bounds
    return latest


def _earliest_stages(order: Sequence[Expr], family: Mapping[Expr, Lead]) -> dict[Expr, int]:
    """How often what a node needs has left its family's blocks before, and come back."""
    earliest: dict[Expr, int] = {}
    ready: dict[
        Expr, dict[Lead, int]
    ] = {}  # the first stage, of each family, that finds a node there
    for node in order:
        lead = family.get(node)
        stages: dict[Lead, int] = {}
        own = 0
        for arg in node.inputs:
            if arg not in ready:
                continue
            inside = lead is not None and stays_inside(arg, node, family)
            for other, stage in ready[arg].items():
                stages[other] = max(stages.get(other, 0), stage)
                if other is lead and not inside:
                    own = max(own, stage)
            if inside:
                own = max(own, earliest[arg])
        if lead is not None:
            earliest[node] = own
            stages[lead] = max(stages.get(lead, 0), own + 1)
        ready[node] = stages
    return earliest
