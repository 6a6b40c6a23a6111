"""The vote: which methods agree on a gradient, who is the outlier, and whether the evidence suffices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from gradcheck_cli.methods import METHODS, RULES
from gradcheck_cli.methods.gradients import Estimate, Gradients
from gradcheck_cli.verdict.compare import Allowances, Comparison, compare
from gradcheck_cli.verdict.outcome import Diagnosis, GradientOutcome, MethodOutcome, Status

# Where two camps have equally many independent witnesses, the one with the first of these is believed:
# differences use no rules at all, PyTorch is tested by many, and a formula under test comes last.
_TRUST = ("numeric", "torch", "engine", "derived", "manual")
# Which of those who agree the others are held against.
_REFERENCE = ("engine", "derived", "torch", "numeric", "manual")
# An error estimate above this, relative to the gradient, can't tell right from wrong.
_BLUNT = 1e-3


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one input's gradient."""

    outcome: GradientOutcome
    status: Status
    notes: tuple[Diagnosis, ...] = ()


@dataclass(frozen=True)
class _Vote:
    estimates: Mapping[str, Estimate]
    pairs: Mapping[tuple[str, str], Comparison]
    blunt: frozenset[str]

    def between(self, a: str, b: str) -> Comparison:
        return self.pairs[a, b] if (a, b) in self.pairs else self.pairs[b, a]


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
    pairs = {
        pair: compare(pair, (estimates[pair[0]], estimates[pair[1]]), allowances)
        for pair in combinations(estimates, 2)
    }
    blunt = frozenset(m for m, estimate in estimates.items() if _is_blunt(estimate))
    vote = _Vote(estimates, pairs, blunt)
    groups = _groups(vote)
    believed = groups[0] if groups else ()
    tied = len(groups) > 1 and _weight(groups[0]) == _weight(groups[1])
    outliers = () if tied and not _trusted(groups) else tuple(
        m for group in groups[1:] for m in group
    )
    reference = next((m for m in _REFERENCE if m in believed), None)
    methods = tuple(_method(name, result, vote, reference, groups) for result in results)
    derived = next((r.formulas.get(name) for r in results if r.method == "derived"), None)
    outcome = GradientOutcome(
        input=name,
        shape=shape,
        derived=derived,
        methods=methods,
        reference=reference,
        groups=groups,
        outliers=outliers,
        equal=tuple(pair for pair, comparison in pairs.items() if comparison.bitwise),
        order=order,
    )
    status, notes = _status(name, vote, groups)
    return Verdict(outcome, status, notes)


def _is_blunt(estimate: Estimate) -> bool:
    """Whether the method's own error could hide a wrong gradient."""
    if estimate.error is None or not estimate.error.size:
        return False
    with np.errstate(all="ignore"):
        size = np.abs(estimate.gradient)
        finite = size[np.isfinite(size)]
        typical = float(np.median(finite)) if finite.size else 0.0
        doubtful = estimate.error > _BLUNT * np.maximum(np.maximum(size, typical), 1e-12)
    return bool(np.any(doubtful))


def _groups(vote: _Vote) -> tuple[tuple[str, ...], ...]:
    """Methods that agree with one another, the most believable group first.

    A blunt method joins no group: it would agree with anything.
    """
    sharp = [m for m in vote.estimates if m not in vote.blunt]
    groups: list[list[str]] = []
    for method in sorted(sharp, key=_TRUST.index):
        home = next(
            (g for g in groups if all(vote.between(method, other).agree for other in g)), None
        )
        if home is None:
            groups.append([method])
        else:
            home.append(method)
    groups.sort(key=lambda g: (-_weight(g), min(map(_TRUST.index, g))))
    return tuple(tuple(sorted(g, key=METHODS.index)) for g in groups)


def _weight(group: Sequence[str]) -> int:
    """How many independent witnesses a group has: methods that share their rules are one."""
    return len({RULES[method] for method in group})


def _trusted(groups: Sequence[Sequence[str]]) -> bool:
    """Whether a tie can be broken: differences without rules are there, or only a formula is against."""
    return "numeric" in groups[0] or all(set(group) == {"manual"} for group in groups[1:])


def _status(
    name: str, vote: _Vote, groups: Sequence[Sequence[str]]
) -> tuple[Status, tuple[Diagnosis, ...]]:
    notes = []
    for method, estimate in vote.estimates.items():
        if estimate.kinks:
            message = (
                f"{_places(estimate.kinks)} of `{name}` at a kink: any value between the one-sided "
                "derivatives is accepted there"
            )
            notes.append(Diagnosis("GC201", message, name, method))
    notes += [
        Diagnosis("GC202", f"the numeric gradient of `{name}` is too noisy to decide", name, method)
        for method in vote.estimates
        if method in vote.blunt
    ]
    if len(groups) > 1:
        return "failed", tuple(notes)
    for method, estimate in vote.estimates.items():
        if method in (groups[0] if groups else ()) and np.isnan(estimate.gradient).any():
            message = f"the gradient of `{name}` is NaN in places, by every method"
            notes.append(Diagnosis("GC204", message, name))
            return "inconclusive", tuple(notes)
    if not groups or _weight(groups[0]) < 2:  # noqa: PLR2004
        message = f"only {_listed(groups[0]) if groups else 'no method'} gave a gradient of `{name}`"
        if groups and len(groups[0]) > 1:
            message = f"{_listed(groups[0])} share their derivative rules: that is one witness"
        elif groups and _opposed(vote, groups[0][0]):
            return "failed", tuple(notes)
        notes.append(Diagnosis("GC205", message, name))
        return "inconclusive", tuple(notes)
    return "passed", tuple(notes)


def _opposed(vote: _Vote, method: str) -> bool:
    """Whether a blunt method still contradicts the only sharp one."""
    return any(not vote.between(method, other).agree for other in vote.blunt)


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
        against = (independent or others or [None])[0]
    if against is None:
        return MethodOutcome(
            method, "undecided", elements=estimate.gradient.size, seconds=result.seconds,
            reason="nothing to compare with",
        )
    comparison = vote.between(method, against)
    row = MethodOutcome(
        method=method,
        status="agrees" if comparison.agree else "disagrees",
        error_over_allowance=comparison.ratio,
        max_abs_error=comparison.max_abs,
        max_rel_error=comparison.max_rel,
        worst_index=comparison.worst,
        value=_at(estimate, comparison.worst),
        expected=_at(vote.estimates[against], comparison.worst),
        mismatched=comparison.mismatched,
        elements=comparison.elements,
        seconds=result.seconds,
        reason=estimate.note,
    )
    if method in vote.blunt and comparison.agree:
        return replace(row, status="undecided", reason="too noisy to decide")
    return row


def _at(estimate: Estimate, index: tuple[int, ...] | None) -> float | None:
    return None if index is None else float(estimate.gradient[index])


