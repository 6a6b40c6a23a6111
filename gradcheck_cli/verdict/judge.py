"""The vote: which methods agree on a gradient, who is the outlier, and whether the evidence suffices."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.methods import METHODS, RULES
from gradcheck_cli.verdict.compare import Allowances, Comparison, compare, locate
from gradcheck_cli.verdict.outcome import Diagnosis, GradientOutcome, MethodOutcome, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.methods.gradients import Array, Estimate, Gradients

# Where two camps have equally many independent witnesses, the one with the first of these is believed:
# differences use no rules at all, PyTorch is tested by many, and a formula under test comes last.
_TRUST = ("numeric", "torch", "engine", "derived", "manual")
# Which of those who agree the others are held against.
_REFERENCE = ("engine", "derived", "torch", "numeric", "manual")
# An error estimate above this, relative to the gradient, can't tell right from wrong ...
_BLUNT = 1e-3
# ... unless it is this small beside the terms whose sum is the gradient: then that is as good as zero.
_CANCELS = 1e-9
# Two that are both this near to a third agree with each other: their distances add up.
_NEAR = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one input's gradient."""

    outcome: GradientOutcome
    status: Status
    notes: tuple[Diagnosis, ...] = ()


@dataclass(frozen=True)
class _Vote:
    """The gradients, and how they compare; `doubtful` marks elements that a method can't tell."""

    estimates: Mapping[str, Estimate]
    allowances: Allowances
    doubtful: Mapping[str, Array]
    _pairs: dict[tuple[str, str], Comparison] = field(default_factory=dict)

    def between(self, a: str, b: str) -> Comparison:
        """`a` held against `b`."""
        if (a, b) not in self._pairs:
            pair = self.estimates[a], self.estimates[b]
            found = compare((a, b), pair, self.allowances)
            self._pairs[a, b] = found
            self._pairs[b, a] = replace(found, values=found.values and found.values[::-1])
        return self._pairs[a, b]

    def located(self, a: str, b: str) -> Comparison:
        """The same, with the worst element looked for where only probes know of it."""
        return locate((self.estimates[a], self.estimates[b]), self.between(a, b))

    def blunt(self, method: str) -> bool:
        """Whether it can't tell any element, so that it would agree with anything."""
        return method in self.doubtful and bool(self.doubtful[method].all())

    def witnesses(self, methods: Sequence[str]) -> int:
        """How many independent ones tell every element: methods that share their rules are one."""
        return len({RULES[m] for m in methods if m not in self.doubtful})


def judge(
    name: str,
    shape: tuple[int, ...],
    results: Sequence[Gradients],
    allowances: Allowances,
    *,
    order: int = 1,
) -> Verdict:
    """Judge the gradients of one input by all methods that gave one."""
    estimates = {r.method: r.estimates[name] for r in results if name in r.estimates}
    kinks = next((e for e in estimates.values() if e.kinks), None)
    doubtful = {m: doubt for m, e in estimates.items() if (doubt := _doubtful(e)) is not None}
    vote = _Vote(estimates, replace(allowances, kinks=kinks) if kinks else allowances, doubtful)
    groups = _groups(vote)
    reference = next((m for m in _REFERENCE if groups and m in groups[0]), None)
    derived = next((r.formulas.get(name) for r in results if r.method == "derived"), None)
    outcome = GradientOutcome(
        input=name,
        shape=shape,
        derived=derived,
        methods=tuple(_method(name, result, vote, reference, groups) for result in results),
        reference=reference,
        groups=groups,
        outliers=_outliers(vote, groups),
        equal=_equal_pairs(estimates),
        order=order,
    )
    status, notes = _status(name, vote, groups)
    return Verdict(outcome, status, notes)


def _doubtful(estimate: Estimate) -> Array | None:
    """The elements where the method's own error could hide a wrong gradient; None if there are none."""
    if estimate.probes is not None:
        size = np.sqrt(np.mean(np.square(estimate.probes.slopes)))
        known = estimate.probes.errors <= _BLUNT * size
        return None if known.any() else np.ones(1, bool)
    if estimate.error is None or not estimate.error.size:
        return None
    with np.errstate(all="ignore"):
        size = np.abs(estimate.gradient)
        typical = np.where(np.isfinite(size), size, 0.0).mean()
        known = estimate.error <= _BLUNT * np.maximum(size, typical)
        if estimate.scale is not None:
            known |= estimate.error <= _CANCELS * estimate.scale
        known &= np.isfinite(estimate.error)
    return None if known.all() else np.asarray(~known)


def _groups(vote: _Vote) -> tuple[tuple[str, ...], ...]:
    """Methods that agree with one another, the most believable group first."""
    voters = [m for m in vote.estimates if not vote.blunt(m)]
    central = next((m for m in _REFERENCE if m in voters), None)
    if central is None:
        return ()
    others = [m for m in voters if m != central]
    if vote.estimates[central].error is None and all(
        vote.between(central, other).ratio <= _NEAR for other in others
    ):
        return (tuple(sorted(voters, key=METHODS.index)),)
    torn = [m for m in voters if m in vote.doubtful or _is_torn(vote, m, voters)]
    groups = _merged(vote, [m for m in voters if m not in torn])
    for method in torn:
        homes = [g for g in groups if all(vote.between(method, other).agree for other in g)]
        if not homes:
            groups.append([method])
        elif len(homes) == 1:
            homes[0].append(method)
        elif method not in vote.doubtful:
            distances = [vote.between(method, g[0]).max_abs for g in homes]
            best = max(range(len(homes)), key=lambda k: (_weight(homes[k]), -distances[k]))
            homes[best].append(method)
    broken = {id(g): _is_broken(vote, g, groups) for g in groups}
    groups.sort(key=lambda g: (broken[id(g)], -_weight(g), min(map(_TRUST.index, g))))
    return tuple(tuple(sorted(g, key=METHODS.index)) for g in groups)


def _is_torn(vote: _Vote, method: str, voters: Sequence[str]) -> bool:
    """Whether it agrees with two that differ, as one of low precision may: it can't decide between them."""
    friends = [m for m in voters if m != method and vote.between(method, m).agree]
    return any(not vote.between(a, b).agree for a, b in combinations(friends, 2))


def _merged(vote: _Vote, methods: Sequence[str]) -> list[list[str]]:
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


def _is_broken(vote: _Vote, group: Sequence[str], groups: Sequence[Sequence[str]]) -> bool:
    """Whether it has NaN or infinity where another group has numbers: that is a failure, not a vote."""
    first = vote.estimates[group[0]]
    if first.probes is not None:
        return False
    bad = ~np.isfinite(first.gradient)
    if not bad.any():
        return False
    return any(
        bool(np.isfinite(vote.estimates[other[0]].gradient[bad]).any())
        for other in groups
        if other is not group
    )


def _weight(group: Sequence[str]) -> int:
    """How many independent witnesses a group has: methods that share their rules are one."""
    return len({RULES[method] for method in group})


def _outliers(vote: _Vote, groups: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The methods that are named as wrong; none where the evidence doesn't say which camp is right."""
    if len(groups) < 2:
        return ()
    best, *others = groups
    rest = tuple(m for group in others for m in group)
    if _weight(best) > _weight(others[0]) or _is_broken(vote, others[0], groups):
        return rest
    # A tie is broken by differences, which use no rules, or where only a formula is against.
    trusted = "numeric" in best or set(rest) == {"manual"}
    return rest if trusted else ()


def _equal_pairs(estimates: Mapping[str, Estimate]) -> tuple[tuple[str, str], ...]:
    classes: list[list[str]] = []
    for method, estimate in estimates.items():
        if estimate.probes is not None:
            continue
        for members in classes:
            if np.array_equal(estimates[members[0]].gradient, estimate.gradient, equal_nan=True):
                members.append(method)
                break
        else:
            classes.append([method])
    return tuple(
        (a, b) for members in classes for i, a in enumerate(members) for b in members[i + 1 :]
    )


def _status(
    name: str, vote: _Vote, groups: Sequence[Sequence[str]]
) -> tuple[Status, tuple[Diagnosis, ...]]:
    notes = [_kink_note(name, vote, m) for m, e in vote.estimates.items() if e.kinks]
    for method, doubt in vote.doubtful.items():
        notes.append(_doubt_note(name, vote, method, doubt))
    if len(groups) > 1:
        return "failed", tuple(notes)
    if not groups:
        notes.append(Diagnosis("GC205", f"no method could tell the gradient of `{name}`", name))
        return "inconclusive", tuple(notes)
    group = groups[0]
    for method in group:
        estimate = vote.estimates[method]
        undefined = int(np.isnan(estimate.gradient).sum())
        if undefined and method not in vote.doubtful and estimate.probes is None:
            message = f"the gradient of `{name}` is NaN at {_places(undefined)} by all who can tell"
            notes.append(Diagnosis("GC204", message, name))
            return "inconclusive", tuple(notes)
    if vote.witnesses(group) >= 2:
        return "passed", tuple(notes)
    if any(not vote.between(group[0], m).agree for m in vote.estimates if vote.blunt(m)):
        return "failed", tuple(notes)
    if not vote.doubtful:
        message = f"only {_listed(group)} gave a gradient of `{name}`"
        if len(group) > 1:
            message = f"{_listed(group)} share their derivative rules: that is one witness"
        notes.append(Diagnosis("GC205", message, name))
    return "inconclusive", tuple(notes)


def _doubt_note(name: str, vote: _Vote, method: str, doubt: Array) -> Diagnosis:
    """Where differences can't tell, and what keeps them from it."""
    count = "" if vote.blunt(method) else f" at {int(doubt.sum())} of {doubt.size} elements"
    error = vote.estimates[method].error
    if error is not None and np.isinf(error[doubt]).all():
        why = "a jump, an infinite slope, or the edge of the domain"
    else:
        why = "rounding noise"
    message = f"differences can't tell the gradient of `{name}`{count}: {why}"
    return Diagnosis("GC202", message, name, method)


def _kink_note(name: str, vote: _Vote, method: str) -> Diagnosis:
    """Where it is, what is accepted there, and the convention that each method follows."""
    estimate = vote.estimates[method]
    low, high = estimate.low, estimate.high
    assert low is not None
    assert high is not None
    index = tuple(int(i) for i in np.argwhere(low < high)[0]) if low.ndim else ()
    taken: dict[str, list[str]] = {}
    for other, theirs in vote.estimates.items():
        if other != method:
            taken.setdefault(f"{float(theirs.gradient[index]):.6g}", []).append(other)
    sides = "; ".join(f"{_listed(methods)} {value}" for value, methods in taken.items())
    place = f" at {list(index)}" if index else ""
    message = (
        f"`{name}` is at a kink in {_places(estimate.kinks)}: any value between the one-sided "
        f"derivatives is accepted. They are {low[index]:.6g} and {high[index]:.6g}{place}"
    )
    return Diagnosis("GC201", f"{message}; taken there: {sides}" if sides else message, name)


def _places(count: int) -> str:
    return "1 element" if count == 1 else f"{count} elements"


def _listed(methods: Sequence[str]) -> str:
    return " and ".join(methods)


def _method(
    name: str,
    result: Gradients,
    vote: _Vote,
    reference: str | None,
    groups: Sequence[Sequence[str]],
) -> MethodOutcome:
    """One row of the table."""
    method = result.method
    if name not in result.estimates:
        reason = result.unavailable or "no formula for this input"
        return MethodOutcome(method, "unavailable", reason=reason, seconds=result.seconds)
    estimate = vote.estimates[method]
    against = reference
    if method == reference:
        others = [m for m in groups[0] if m != method]
        independent = [m for m in others if RULES[m] != RULES[method]]
        against = next(iter((*independent, *others)), None)
    if against is None:
        return MethodOutcome(
            method,
            "undecided",
            elements=estimate.gradient.size,
            seconds=result.seconds,
            reason="nothing to compare with",
        )
    comparison = vote.located(method, against)
    value, expected = comparison.values or (None, None)
    row = MethodOutcome(
        method=method,
        status="agrees" if comparison.agree else "disagrees",
        error_over_allowance=comparison.ratio,
        max_abs_error=comparison.max_abs,
        max_rel_error=comparison.max_rel,
        worst_index=comparison.worst,
        value=value,
        expected=expected,
        mismatched=comparison.mismatched,
        elements=comparison.elements,
        seconds=result.seconds,
        reason=estimate.note,
    )
    if method not in vote.doubtful:
        return row
    if vote.blunt(method) and comparison.agree:
        return replace(row, status="undecided", reason="too noisy to decide")
    count = int(vote.doubtful[method].sum())
    return replace(row, reason=f"can't tell {count} of {comparison.elements} elements")
