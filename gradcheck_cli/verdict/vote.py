"""The vote on a gradient: who agrees with whom, which group is believed, and who is named as wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.methods import METHODS, RULES
from gradcheck_cli.verdict.compare import (
    Allowances,
    Comparison,
    Side,
    compare_cheaply,
    compare_sides,
    locate,
    same,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.methods.gradients import Array, Estimate

# Where two camps have equally many independent witnesses, the one with the first of these is believed:
# differences use no rules at all, PyTorch is tested by many, and a formula under test comes last.
_TRUST = ("numeric", "torch", "engine", "derived", "manual", "implementation")
# Which of those who agree the others are held against.
REFERENCE = ("engine", "derived", "torch", "numeric", "manual", "implementation")
# What is under test: a formula, or code. It never outweighs the others.
_TESTED = frozenset({"manual", "implementation"})
# Two that are both this near to a third agree with each other: their distances add up.
_NEAR = 0.5


@dataclass(frozen=True)
class Vote:
    """The gradients, and how they compare; `doubtful` marks elements that a method can't tell.

    `torn` are those that agree with two that differ, as one of low precision may: they are no witness
    for either. Methods whose gradients are the same bit for bit share a side, so that none is compared twice.
    """

    sides: Mapping[str, Side]
    allowances: Allowances
    doubtful: Mapping[str, Array]
    torn: set[str] = field(default_factory=set)
    _pairs: dict[tuple[str, str], Comparison] = field(default_factory=dict)
    _cheap: dict[tuple[int, int], Comparison] = field(default_factory=dict)
    _located: dict[tuple[str, str], Comparison] = field(default_factory=dict)

    @cached_property
    def estimates(self) -> dict[str, Estimate]:
        """What each method gave."""
        return {method: side.estimate for method, side in self.sides.items()}

    def between(self, a: str, b: str) -> Comparison:
        """`a` held against `b`."""
        found = self._pairs.get((a, b))
        if found is None:
            turned = self._pairs.get((b, a))
            found = self._compared(a, b) if turned is None else _turned(turned)
            self._pairs[a, b] = found
        return found

    def _compared(self, a: str, b: str) -> Comparison:
        sides = self.sides[a], self.sides[b]
        ours, theirs = id(sides[0]), id(sides[1])
        cheap = self._cheap.get((ours, theirs))
        if cheap is None:
            turned = self._cheap.get((theirs, ours))
            cheap = compare_cheaply(sides, self.allowances) if turned is None else _turned(turned)
            self._cheap[ours, theirs] = cheap
        return compare_sides((a, b), sides, self.allowances, cheap)

    def equal(self, a: str, b: str) -> bool:
        """Whether both are the same bit for bit."""
        ours, theirs = self.sides[a], self.sides[b]
        return ours is theirs or same(ours.flat, theirs.flat)

    def located(self, a: str, b: str) -> Comparison:
        """The same, with the worst element looked for where only probes know of it."""
        if (a, b) not in self._located:
            pair = self.estimates[a], self.estimates[b]
            found = locate(pair, self.between(a, b), self.allowances)
            self._located[a, b] = found
            self._located[b, a] = replace(found, values=found.values and found.values[::-1])
        return self._located[a, b]

    def blunt(self, method: str) -> bool:
        """Whether it can't tell any element, so that it would agree with anything."""
        return method in self.doubtful and bool(self.doubtful[method].all())

    def weight(self, group: Sequence[str]) -> int:
        """How many independent witnesses a group has: methods that share their rules are one."""
        return len({RULES[m] for m in group if m not in self.torn})

    def witnesses(self, methods: Sequence[str]) -> int:
        """How many independent ones tell every element: methods that share their rules are one."""
        return len({RULES[m] for m in methods if m not in self.doubtful})


def _turned(comparison: Comparison) -> Comparison:
    """The same with the two sides in the other order."""
    values = comparison.values
    if values is None or values[0] == values[1]:
        return comparison
    return replace(comparison, values=values[::-1])


def groups_of(vote: Vote) -> tuple[tuple[str, ...], ...]:
    """Methods that agree with one another, the most believable group first."""
    voters = [m for m in vote.estimates if not vote.blunt(m)]
    central = next((m for m in REFERENCE if m in voters), None)
    if central is None:
        return ()
    others = [m for m in voters if m != central]
    if vote.estimates[central].error is None and all(
        vote.between(central, other).ratio <= _NEAR for other in others
    ):
        return (tuple(sorted(voters, key=METHODS.index)),)
    vote.torn.update(m for m in voters if _is_torn(vote, m, voters))
    later = [m for m in voters if m in vote.doubtful or m in vote.torn]
    groups = _merged(vote, [m for m in voters if m not in later])
    for method in later:
        homes = [g for g in groups if all(vote.between(method, other).agree for other in g)]
        if not homes:
            groups.append([method])
        elif len(homes) == 1:
            homes[0].append(method)
        elif method not in vote.doubtful:
            distances = [vote.between(method, g[0]).max_abs for g in homes]
            best = max(range(len(homes)), key=lambda k: (vote.weight(homes[k]), -distances[k]))
            homes[best].append(method)
    broken = {id(g): _is_broken(vote, g, groups) for g in groups}
    groups.sort(key=lambda g: (broken[id(g)], -vote.weight(g), min(map(_TRUST.index, g))))
    return tuple(tuple(sorted(g, key=METHODS.index)) for g in groups)


def _is_torn(vote: Vote, method: str, voters: Sequence[str]) -> bool:
    """Whether it agrees with two that differ: it can't decide between them."""
    friends = [m for m in voters if m != method and vote.between(method, m).agree]
    return any(not vote.between(a, b).agree for a, b in combinations(friends, 2))


def _merged(vote: Vote, methods: Sequence[str]) -> list[list[str]]:
    """The nearest pairs come together first, as long as all in a group agree.

    Distances along probes are of another kind, so they come last.
    """
    groups = [[method] for method in methods]

    def distance(pair: tuple[str, str]) -> tuple[bool, float]:
        along = any(vote.estimates[m].probes is not None for m in pair)
        return along, vote.between(*pair).max_abs

    for a, b in sorted(combinations(methods, 2), key=distance):
        ours, theirs = (next(g for g in groups if m in g) for m in (a, b))
        if ours is not theirs and all(vote.between(m, n).agree for m in ours for n in theirs):
            ours += theirs
            groups = [g for g in groups if g is not theirs]
    return groups


def _is_broken(vote: Vote, group: Sequence[str], groups: Sequence[Sequence[str]]) -> bool:
    """Whether it has NaN or infinity where a group that has a say has numbers: a failure, not a vote.

    Differences that can tell have a say; so has a group of no fewer witnesses. One formula alone has none
    against two that agree on infinity: that may be the derivative.
    """
    if vote.estimates[group[0]].probes is not None:
        return False  # known along directions: its elements only stand for what isn't known
    bad = ~np.isfinite(vote.estimates[group[0]].gradient)
    return any(
        _has_numbers(vote, other, bad)
        and (vote.weight(other) >= vote.weight(group) or _differences_tell(vote, other, bad))
        for other in groups
        if other is not group
    )


def _has_numbers(vote: Vote, group: Sequence[str], places: Array) -> bool:
    """Whether the group's gradient is finite at one of `places` or more."""
    first = vote.estimates[group[0]]
    return first.probes is None and bool(np.isfinite(first.gradient[places]).any())


def _differences_tell(vote: Vote, group: Sequence[str], places: Array) -> bool:
    if "numeric" not in group:
        return False
    known = np.isfinite(vote.estimates["numeric"].gradient) & places
    if "numeric" in vote.doubtful:
        known &= ~vote.doubtful["numeric"]
    return bool(known.any())


def outliers_of(vote: Vote, groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The methods that are named as wrong; none where the evidence doesn't say which camp is right."""
    if len(groups) < 2 or only_noise_is_against(vote, groups):
        return ()
    best, *others = groups
    rest = tuple(m for group in others for m in group)
    first = vote.estimates[best[0]]
    undefined = np.isnan(first.gradient)
    if first.probes is None and any(_has_numbers(vote, other, undefined) for other in others):
        # NaN is no number to agree on: a branch that isn't taken gives it to every chain rule.
        return ()
    if vote.weight(best) > vote.weight(others[0]) or _is_broken(vote, others[0], groups):
        return rest
    if vote.weight(best) > 1:
        # Two witnesses against two: whoever is named may be right.
        return ()
    # A tie is broken by differences, which use no rules, or where only a formula is against.
    trusted = "numeric" in best or _TESTED.issuperset(rest)
    return rest if trusted else ()


def only_noise_is_against(vote: Vote, groups: Sequence[Sequence[str]]) -> bool:
    """Whether two witnesses agree, and against them are only differences that can't tell all elements.

    What hides some elements from them may have misled them about others: that is too weak to call
    anybody wrong.
    """
    best, *others = groups
    alone = [list(group) for group in others] == [["numeric"]]
    return alone and "numeric" in vote.doubtful and vote.weight(best) > 1
