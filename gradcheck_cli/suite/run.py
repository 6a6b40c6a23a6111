"""One check from spec to outcome: prepare, run the methods, judge, explain."""

from __future__ import annotations

import sys
from contextlib import nullcontext, redirect_stdout
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods import applicable, load, run
from gradcheck_cli.methods.case import Case, prepare, values_of
from gradcheck_cli.methods.gradients import Array, Estimate, Gradients
from gradcheck_cli.methods.second_order import second_order
from gradcheck_cli.suite.attempt import attempt
from gradcheck_cli.suite.blank import blank
from gradcheck_cli.suite.budget import Rounding, allowances_of, coarsest_dtype
from gradcheck_cli.suite.precision import exact, excused, excused_value, lone
from gradcheck_cli.suite.repeats import second_look, with_spread
from gradcheck_cli.suite.settings import Settings
from gradcheck_cli.verdict.blind import blind_spots
from gradcheck_cli.verdict.compare import Allowances, compare
from gradcheck_cli.verdict.grid import pictured
from gradcheck_cli.verdict.judge import Verdict, judge
from gradcheck_cli.verdict.outcome import (
    CheckOutcome,
    Diagnosis,
    GradientOutcome,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.errors import Where
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.suite.own.blame import Accused
    from gradcheck_cli.suite.own.findings import Code


_USUAL = Settings()


def run_check(check: Check, settings: Settings = _USUAL) -> CheckOutcome:
    """Run one check. What goes wrong with it is its outcome's `error`; nothing is raised for that."""
    start = perf_counter()
    outcome = blank(check)
    loading = 0.0

    def judged() -> CheckOutcome:
        nonlocal loading
        if check.implementation is not None and not check.expression.text:
            from gradcheck_cli.suite.own.alone import judged_alone

            return _closed(judged_alone(outcome, check, settings), check)
        case = prepare(check)
        before = perf_counter()
        if "implementation" in applicable(case, check.methods):
            from gradcheck_cli.suite.own.code import loaded

            case = replace(case, check=loaded(check, settings))
        load(applicable(case, check.methods))
        loading = perf_counter() - before  # importing PyTorch is no check's own time
        with values_of(check):
            # Before anything runs: PyTorch has no limit, and would take all memory, or forever.
            Plan([case.output], limit=memory_limit())
            return _judged(outcome, case, settings)

    # What a person's code prints stays out of a report on stdout.
    with nullcontext() if check.implementation is None else redirect_stdout(sys.stderr):
        found, problems = attempt(check, judged)
    if found is None:
        found = replace(outcome, error=problems[0], also=problems[1:])
    return replace(found, seconds=perf_counter() - start - loading)


def _judged(outcome: CheckOutcome, case: Case, settings: Settings) -> CheckOutcome:
    check = case.check
    first = _first_order(case, settings)
    orders = [first]
    if check.order == 2:
        # Second derivatives, the numeric ones too, are those of the engine's first ones.
        sound = not any("engine" in gradient.outliers for gradient in first.gradients)
        if any(d.method == "implementation" and d.code != "GC232" for d in first.diagnoses):
            # Code whose first derivatives are wrong says nothing new with its second ones.
            case = replace(case, check=replace(case.check, implementation=None))
        orders.append(_second_order(case, settings, blame=sound))
    outcome = replace(
        outcome,
        status=_worst([status for order in orders for status in order.statuses]),
        gradients=tuple(gradient for order in orders for gradient in order.gradients),
        diagnoses=tuple(diagnosis for order in orders for diagnosis in order.diagnoses),
        value=first.value,
    )
    if outcome.status == "passed":
        outcome = replace(outcome, diagnoses=(*outcome.diagnoses, *blind_spots(case)))
    return _closed(outcome, check)


def _closed(outcome: CheckOutcome, check: Check) -> CheckOutcome:
    return _expected(outcome, check) if check.expect_fail else outcome


@dataclass(frozen=True)
class _Order:
    """What is found of the first derivatives, or of the second."""

    gradients: Sequence[GradientOutcome]
    statuses: Sequence[Status]
    diagnoses: Sequence[Diagnosis]
    value: Mapping[str, float] = field(default_factory=dict)
    judged: Sequence[_Judged] = ()


def _first_order(case: Case, settings: Settings) -> _Order:
    results: Sequence[Gradients] = _run(case)
    rounding = Rounding(case)
    forward = _compare_values(case, results, rounding, coarsest_dtype(case.check))
    if forward is not None:
        results = second_look(case, results) or results
        forward = _compare_values(case, results, rounding, coarsest_dtype(case.check))
    blame = forward is None or forward.code == "GC306"
    code = _code(case, results, rounding)
    value_of_code = None if code is None else code.value()
    unexplained = ("implementation",) if value_of_code is not None else ()
    found = _of_order(case, results, rounding, 1, blame=blame, unexplained=unexplained)
    statuses = [*found.statuses]
    diagnoses = _located(case, 1, found) if blame else [*found.diagnoses]
    if forward is not None:
        diagnoses.append(forward if blame else _located_value(case, forward))
        statuses.append("inconclusive" if forward.code == "GC306" else "failed")
    undefined = _not_finite(results)
    if undefined is not None:
        diagnoses.append(undefined)
        statuses.append("inconclusive")
    value = {r.method: float(np.sum(r.value)) for r in results if r.value is not None}
    if code is not None:
        more = code.findings(value_of_code, found.gradients)
        diagnoses, statuses = [*diagnoses, *more[0]], [*statuses, *more[1]]
    return _Order(_pictured(found, settings), statuses, diagnoses, value)


def _code(case: Case, results: Sequence[Gradients], rounding: Rounding) -> Code | None:
    """The check's own code, where that has run."""
    if case.check.implementation is None:
        return None
    from gradcheck_cli.suite.own.findings import Code

    return Code.of(case, results, rounding)


def _second_order(case: Case, settings: Settings, *, blame: bool = True) -> _Order:
    found = _examined(case, 2, blame=blame)
    located = _located(case, 2, found) if blame else found.diagnoses
    diagnoses = [replace(d, message=f"second derivative: {d.message}") for d in located]
    return _Order(_pictured(found, settings), found.statuses, diagnoses)


def _pictured(found: _Order, settings: Settings) -> list[GradientOutcome]:
    """The gradients with their pictures: of those in which something disagrees, or of all if asked for."""
    return [
        pictured(j.verdict.outcome, j.results, j.allowances, always=settings.grids)
        for j in found.judged
    ]


def _run(case: Case) -> list[Gradients]:
    return [run(method, case) for method in applicable(case, case.check.methods)]


def _examined(case: Case, order: int, *, blame: bool = True) -> _Order:
    """Run and judge the derivatives of this order, and explain the outliers."""
    if order == 2:
        case = second_order(case)
    return _of_order(case, _run(case), Rounding(case), order, blame=blame)


def _located(case: Case, order: int, found: _Order) -> list[Diagnosis]:
    """The diagnoses with the operator named, where PyTorch or the engine is wrong."""
    if "failed" not in found.statuses:
        return [*found.diagnoses]
    from gradcheck_cli.suite.blame import locate  # only failures have a use for it

    return locate(case, order, found, _examined)


def _located_value(case: Case, forward: Diagnosis) -> Diagnosis:
    """The same where the forward values differ."""
    from gradcheck_cli.suite.blame import locate_value

    def differ(piece: Case) -> Diagnosis | None:
        return _compare_values(piece, _run(piece), Rounding(piece), coarsest_dtype(piece.check))

    return locate_value(case, forward, differ)


def _of_order(
    case: Case,
    results: Sequence[Gradients],
    rounding: Rounding,
    order: int,
    *,
    blame: bool = True,
    unexplained: Sequence[str] = (),
) -> _Order:
    """Judge every input's gradient. Without `blame` nobody is named: the values already differ.

    `unexplained` are methods whose own value differs, so that nothing more has to be said of them.
    """
    dtype = coarsest_dtype(case.check)
    judged = _verdicts(case, results, rounding, order, dtype)
    if dtype != "float64" and any(lone(j.verdict) for j in judged):
        judged = _excused(case, results, rounding, order, judged)
    accused: Accused | None = None
    if any("implementation" in j.verdict.outcome.outliers for j in judged):
        from gradcheck_cli.suite.own.blame import Accused

        accused = Accused(case, results, rounding)
        judged = [
            j._replace(verdict=accused.softened(j.verdict, j.results, position))
            for position, j in enumerate(judged, start=1)
        ]
    if not blame:
        judged = [j._replace(verdict=_blameless(j.verdict)) for j in judged]
    if any(_contradicted(j.verdict) for j in judged):
        again = second_look(case, results)
        if again is not None:
            return _of_order(case, again, rounding, order, blame=blame, unexplained=unexplained)
    diagnoses = with_spread((note for j in judged for note in j.verdict.notes), results)
    diagnoses += [
        _explain(case, one, method, position, accused)
        for position, one in enumerate(judged, start=1)
        for method in one.verdict.outcome.outliers
        if method not in unexplained
    ]
    statuses: list[Status] = [j.verdict.status for j in judged]
    refusals = _refusals(results)
    if refusals:
        # A method that was asked for and could not run: the others' agreement is no full pass.
        statuses.append("inconclusive")
    outcomes = [j.verdict.outcome for j in judged]
    return _Order(outcomes, statuses, [*diagnoses, *refusals], judged=judged)


def _contradicted(verdict: Verdict) -> bool:
    """Whether PyTorch's gradient is another than the reference."""
    rows = verdict.outcome.methods
    return any(row.method == "torch" and row.status == "disagrees" for row in rows)


class _Judged(NamedTuple):
    """A verdict on one input's gradient, and what it was made from."""

    verdict: Verdict
    allowances: Allowances
    results: Sequence[Gradients]


def _blameless(verdict: Verdict) -> Verdict:
    return replace(verdict, outcome=replace(verdict.outcome, outliers=()))


def _verdicts(
    case: Case, results: Sequence[Gradients], rounding: Rounding, order: int, dtype: str
) -> list[_Judged]:
    """Every input's verdict, where PyTorch computed in `dtype`."""
    judged = []
    for position, name in enumerate(case.wrt, start=1):
        allowances = allowances_of(case.check, rounding, position, dtype, results)
        verdict = judge(name, case.variables[name].shape, results, allowances, order=order)
        judged.append(_Judged(verdict, allowances, results))
    return judged


def _excused(
    case: Case,
    results: Sequence[Gradients],
    rounding: Rounding,
    order: int,
    judged: list[_Judged],
) -> list[_Judged]:
    """The same, and where PyTorch stands alone in a coarse dtype but not in float64, that is said."""
    finer = exact(case, results)
    if finer is None:
        return judged
    dtype = coarsest_dtype(case.check)
    again = _verdicts(case, finer, rounding, order, "float64")
    return [
        fine._replace(verdict=excused(coarse.verdict, fine.verdict, results, dtype))
        if lone(coarse.verdict) and not lone(fine.verdict)
        else coarse
        for coarse, fine in zip(judged, again, strict=True)
    ]


def _refusals(results: Sequence[Gradients]) -> list[Diagnosis]:
    return [
        Diagnosis("GC304", result.unavailable, method=result.method)
        for result in results
        # Code whose value has another shape has run: that is a diagnosis of its own.
        if result.unavailable is not None and result.value is None
    ]


def _worst(statuses: Sequence[Status]) -> Status:
    for status in ("failed", "inconclusive"):
        if status in statuses:
            return status
    return "passed"


def _compare_values(
    case: Case, results: Sequence[Gradients], rounding: Rounding, dtype: str
) -> Diagnosis | None:
    """Forward values by PyTorch and by the engine must agree too, or the gradients are of two functions."""
    values = {r.method: r.value for r in results if r.value is not None}
    if not {"torch", "engine"} <= values.keys():
        return None
    ours, theirs = (np.asarray(values[m], np.float64) for m in ("engine", "torch"))
    error = next(r.value_error for r in results if r.method == "torch")
    if ours.shape != theirs.shape:
        return Diagnosis(
            "GC206", f"the value has shape {ours.shape} by the engine, {theirs.shape} by PyTorch"
        )
    comparison = compare(
        ("engine", "torch"),
        (Estimate(ours), Estimate(theirs, error)),
        allowances_of(case.check, rounding, 0, dtype),
    )
    if comparison.agree:
        return None
    if dtype != "float64":
        finer = exact(case, results)
        if finer is not None and _compare_values(case, finer, rounding, "float64") is None:
            return excused_value(theirs, ours, dtype)
    where = comparison.worst or ()
    message = (
        f"the forward values differ: {float(ours[where]):.10g} by the engine, "
        f"{float(theirs[where]):.10g} by PyTorch"
    )
    return Diagnosis("GC206", message + (f", at {list(where)}" if where else ""))


def _not_finite(results: Sequence[Gradients]) -> Diagnosis | None:
    """A value that is NaN or infinite has no derivative, whatever the methods say."""
    for result in results:
        if result.value is not None and not np.isfinite(result.value).all():
            count = int((~np.isfinite(result.value)).sum())
            what = "" if result.value.ndim == 0 else f" in {count} of {result.value.size} elements"
            message = f"the expression's value by {result.method} is not finite{what}"
            return Diagnosis("GC204", message, method=result.method)
    return None


def _explain(
    case: Case, judged: _Judged, method: str, position: int, accused: Accused | None
) -> Diagnosis:
    """The diagnosis of one outlier."""
    from gradcheck_cli.verdict.diagnosis import Suspect, diagnose  # only a failure needs it

    verdict, allowances, results = judged
    outcome = verdict.outcome
    estimates = {
        r.method: r.estimates[outcome.input] for r in results if outcome.input in r.estimates
    }
    assert outcome.reference is not None
    reference = estimates[outcome.reference]
    if reference.probes is not None:
        reference = _every_element(case, outcome.input, reference, allowances)

    if method == "implementation" and accused is not None:
        return accused.explained(verdict, reference, position)

    def right(array: Array) -> bool:
        pair = (Estimate(np.asarray(array, np.float64)), reference)
        return compare((method, outcome.reference or ""), pair, allowances).agree

    formula = case.formulas.get(outcome.input) if method == "manual" else None
    return diagnose(
        Suspect(
            input=outcome.input,
            method=method,
            gradient=estimates[method].gradient,
            reference=reference.gradient,
            right=right,
            case=case,
            formula=formula,
            where=None if formula is None else _place(formula.source),
        )
    )


def _every_element(case: Case, name: str, probed: Estimate, allowances: Allowances) -> Estimate:
    """The engine's gradient, if it is what probes saw: they know no single element."""
    found: Estimate = run("engine", case).estimates[name]
    same = compare(("engine", "numeric"), (found, probed), allowances).agree
    return found if same else probed


def _place(source: Any) -> Where:
    where: Where = source.where(0, len(source.text))
    return where


def _expected(outcome: CheckOutcome, check: Check) -> CheckOutcome:
    """A check with `expect: fail` passes by failing, with the diagnosis named if one is."""
    found = [d.code for d in outcome.diagnoses if d.is_cause]
    if outcome.status == "failed" and check.expect_code in (None, *found):
        return replace(outcome, status="passed", expected_failure=True)
    if outcome.status == "failed":
        message = f"expected {check.expect_code}, found {', '.join(found) or 'no diagnosis'}"
    elif outcome.status == "inconclusive":
        return outcome
    else:
        message = "expected to fail, but every gradient agrees"
    diagnoses = (*outcome.diagnoses, Diagnosis("GC026", message))
    return replace(outcome, status="failed", diagnoses=diagnoses)
