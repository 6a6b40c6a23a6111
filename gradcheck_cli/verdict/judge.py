"""The verdict on one input's gradient: its rows, its status, and whether the evidence suffices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.methods import RULES
from gradcheck_cli.verdict.compare import (
    Allowances,
    Comparison,
    Side,
    same,
)
from gradcheck_cli.verdict.elementwise import blocks
from gradcheck_cli.verdict.kinks import listed, notes_of, places
from gradcheck_cli.verdict.outcome import Diagnosis, GradientOutcome, MethodOutcome, Status
from gradcheck_cli.verdict.vote import (
    REFERENCE,
    Vote,
    groups_of,
    only_noise_is_against,
    outliers_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.methods.gradients import Array, Estimate, Gradients

# An error estimate above this, relative to the gradient, can't tell right from wrong ...
_BLUNT = 1e-3
# ... unless it is this small beside the terms whose sum is the gradient: then that is as good as zero.
_CANCELS = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement on one input's gradient."""

    outcome: GradientOutcome
    status: Status
    notes: tuple[Diagnosis, ...] = ()


def judge(
    name: str,
    shape: tuple[int, ...],
    results: Sequence[Gradients],
    allowances: Allowances,
    *,
    order: int = 1,
) -> Verdict:
    """Judge the gradients of one input by all methods that gave one."""
    sides = _sides({r.method: r.estimates[name] for r in results if name in r.estimates})
    doubtful = {m: doubt for m, side in sides.items() if (doubt := _doubtful(side)) is not None}
    vote = Vote(sides, allowances.at_kinks_of(s.estimate for s in sides.values()), doubtful)
    groups = groups_of(vote)
    reference = next((m for m in REFERENCE if groups and m in groups[0]), None)
    derived = next((r.formulas.get(name) for r in results if r.method == "derived"), None)
    assuming = next((r.assumptions.get(name, ()) for r in results if r.method == "derived"), ())
    methods = tuple(_method(name, result, vote, reference, groups) for result in results)
    visible, relative = _visible(vote, reference, methods)
    outcome = GradientOutcome(
        input=name,
        shape=shape,
        derived=derived,
        methods=methods,
        reference=reference,
        groups=groups,
        outliers=outliers_of(vote, groups),
        equal=_equal_pairs(vote),
        order=order,
        smallest_visible_error=visible,
        smallest_visible_relative_error=relative,
        assuming=assuming,
        rounding_aside=allowances.glimpse is None and not allowances.by_person,
    )
    status, notes = _status(name, vote, groups)
    return Verdict(outcome, status, notes)


def _sides(estimates: Mapping[str, Estimate]) -> dict[str, Side]:
    """One side for all whose gradients are the same bit for bit and who say nothing else."""
    sides: dict[str, Side] = {}
    plain: list[Side] = []
    for method, estimate in estimates.items():
        side = Side(estimate)
        said = (estimate.error, estimate.low, estimate.probes, estimate.note)
        if all(word is None for word in said):
            equal = next((other for other in plain if same(other.flat, side.flat)), None)
            plain += [side] if equal is None else []
            side = equal or side
        sides[method] = side
    return sides


def _doubtful(side: Side) -> Array | None:
    """The elements where the method's own error could hide a wrong gradient; None if there are none."""
    estimate, error, flat = side.estimate, side.doubt, side.flat
    if estimate.probes is not None:
        size = np.sqrt(np.mean(np.square(estimate.probes.slopes)))
        known = estimate.probes.errors <= _BLUNT * size
        return None if known.any() else np.ones(1, bool)
    if error is None:
        return None
    with np.errstate(all="ignore"):
        if all(
            ((error[part] <= _BLUNT * np.abs(flat[part])) & (error[part] < np.inf)).all()
            for part in blocks(flat.size)
        ):
            return None
        size = np.abs(flat)
        typical = np.where(np.isfinite(size), size, 0.0).mean()
        known = error <= _BLUNT * np.maximum(size, typical)
        if estimate.scale is not None:
            known |= error <= _CANCELS * estimate.scale.reshape(-1)
        known &= np.isfinite(error)
    return None if known.all() else np.asarray(~known).reshape(estimate.gradient.shape)


def _visible_by(vote: Vote, comparison: Comparison, a: str, b: str) -> float | None:
    """The largest allowance: with the rounding that would be measured if it were exceeded."""
    allowances, visible = vote.allowances, comparison.visible
    if not (comparison.measured or allowances.by_person or allowances.glimpse is None):
        visible += allowances.glimpse(a) + allowances.glimpse(b)
    return visible if np.isfinite(visible) else None


def _visible(
    vote: Vote, reference: str | None, rows: Sequence[MethodOutcome]
) -> tuple[float | None, float | None]:
    """The smallest error that this check could have seen, and the same over the largest element."""
    told = {
        row.method: row.allowance
        for row in rows
        if row.status == "agrees" and row.allowance is not None and row.method != reference
    }
    if reference is None:
        return None, None
    independent = [told[m] for m in told if RULES[m] != RULES[reference]]
    if not independent:
        return None, None
    tested = [told[m] for m in ("implementation", "manual") if m in told]
    error = max(tested, default=min(independent))
    known = reference if vote.estimates[reference].probes is None else next(iter(told))
    largest = vote.sides[known].largest
    return error, error / largest if largest else None


def _equal_pairs(vote: Vote) -> tuple[tuple[str, str], ...]:
    classes: list[list[str]] = []
    for method, estimate in vote.estimates.items():
        if estimate.probes is not None:
            continue
        for members in classes:
            if vote.equal(members[0], method):
                members.append(method)
                break
        else:
            classes.append([method])
    return tuple(
        (a, b) for members in classes for i, a in enumerate(members) for b in members[i + 1 :]
    )


def _status(
    name: str, vote: Vote, groups: Sequence[Sequence[str]]
) -> tuple[Status, tuple[Diagnosis, ...]]:
    notes = notes_of(name, vote.estimates, vote.doubtful)
    if len(groups) > 1:
        if not only_noise_is_against(vote, groups):
            return "failed", tuple(notes)
        message = f"differences disagree on `{name}` with all others, and can't tell all elements"
        notes.append(Diagnosis("GC202", message, name, "numeric"))
        return "inconclusive", tuple(notes)
    if not groups:
        notes.append(Diagnosis("GC205", f"no method could tell the gradient of `{name}`", name))
        return "inconclusive", tuple(notes)
    group = groups[0]
    for method in group:
        side = vote.sides[method]
        if method in vote.doubtful or side.estimate.probes is not None:
            continue
        if np.isnan(side.peak):
            undefined = int(np.isnan(side.flat).sum())
            message = f"the gradient of `{name}` is NaN at {places(undefined)} by all who can tell"
            notes.append(Diagnosis("GC204", message, name))
            return "inconclusive", tuple(notes)
    if vote.witnesses(group) >= 2:
        return "passed", tuple(notes)
    if any(not vote.between(group[0], m).agree for m in vote.estimates if vote.blunt(m)):
        return "failed", tuple(notes)
    if not vote.doubtful:
        message = f"only {listed(group)} gave a gradient of `{name}`"
        if len(group) > 1:
            message = f"{listed(group)} share their derivative rules: that is one witness"
        notes.append(Diagnosis("GC205", message, name))
    return "inconclusive", tuple(notes)


def _method(
    name: str,
    result: Gradients,
    vote: Vote,
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
            reason="no other agrees with it" if len(groups) > 1 else "nothing to compare with",
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
        reason=comparison.note or estimate.note,
        allowance=_visible_by(vote, comparison, method, against),
    )
    if method not in vote.doubtful:
        return row
    if vote.blunt(method) and comparison.agree:
        return replace(row, status="undecided", reason="too noisy to decide")
    count = int(vote.doubtful[method].sum())
    return replace(row, reason=f"can't tell {count} of {comparison.elements} elements")
