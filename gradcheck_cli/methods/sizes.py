"""The same check with other sizes: which of them belong together, and the check with some of them changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.schema import Invalid
from gradcheck_cli.spec.samplers import SAMPLERS, shape_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gradcheck_cli.spec.check import Check, InputSpec

# Of more sizes, equal ones belong together; expressions that are built to see which of fewer ones do.
_MOST_SLOTS, _MOST_TRIALS = 12, 48

Slot: TypeAlias = tuple[int, int]


def size_at(check: Check, slot: Slot) -> int:
    """The size of one dimension of one input."""
    return check.inputs[slot[0]].shape[slot[1]]


def with_sizes(check: Check, sizes: Mapping[Slot, int]) -> Check:
    """The check with some sizes changed; whether its expressions fit them is not looked at."""
    inputs = tuple(
        replace(
            spec,
            shape=tuple(sizes.get((i, dim), size) for dim, size in enumerate(spec.shape)),
        )
        for i, spec in enumerate(check.inputs)
    )
    return replace(check, inputs=inputs)


def groupings(check: Check) -> Iterable[list[set[Slot]]]:
    """Which sizes change together: as few as the expression allows, or else all equal ones."""
    yield independent(check)
    yield tied(check)


def tied(check: Check) -> list[set[Slot]]:
    """The sizes that are drawn, those that are equal together."""
    by_size: dict[int, set[Slot]] = {}
    for slot in _slots(check):
        by_size.setdefault(size_at(check, slot), set()).add(slot)
    return list(by_size.values())


def _slots(check: Check) -> list[Slot]:
    return [
        (i, dim)
        for i, spec in enumerate(check.inputs)
        if spec.drawn
        for dim, size in enumerate(spec.shape)
        if size > 1
    ]


def independent(check: Check) -> list[set[Slot]]:
    """The sizes that are drawn, together where the expression takes one only with the other."""
    slots = _slots(check)
    if len(slots) > _MOST_SLOTS:
        return tied(check)
    trials = iter(range(_MOST_TRIALS))
    groups: list[set[Slot]] = []
    for slot in slots:
        if any(slot in group for group in groups):
            continue
        equal = [other for other in slots if size_at(check, other) == size_at(check, slot)]
        free = [other for other in equal if other != slot]
        tried = [{slot}, *({slot, other} for other in free), set(equal)]
        for group in tried:
            if next(trials, None) is None:
                break
            if _builds(check, group):
                groups.append(group)
                break
    merged: list[set[Slot]] = []
    for group in groups:
        joined = [other for other in merged if other & group]
        merged = [other for other in merged if not other & group]
        merged.append(group.union(*joined))
    return merged


def _builds(check: Check, group: set[Slot]) -> bool:
    changed = with_sizes(check, {slot: size_at(check, slot) + 1 for slot in group})
    if not all(map(_can_be_drawn, changed.inputs)):
        return False
    try:
        prepare(changed)
    except (GradcheckError, Invalid):
        return False
    return True


def _can_be_drawn(spec: InputSpec) -> bool:
    if spec.structure is not None and spec.shape[-1] != spec.shape[-2]:
        return False
    return shape_problem(SAMPLERS[spec.sampler], spec.shape) is None
