"""One check from spec to outcome: prepare, run the methods, judge, explain."""

from __future__ import annotations

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
from gradcheck_cli.suite.budget import Rounding, allowances_of, coarsest_dtype
from gradcheck_cli.suite.collect import reproduce
from gradcheck_cli.suite.precision import exact, excused, excused_value, lone
from gradcheck_cli.suite.repeats import second_look, with_spread
from gradcheck_cli.suite.settings import Settings
from gradcheck_cli.verdict.blind import blind_spots
from gradcheck_cli.verdict.compare import Allowances, compare
from gradcheck_cli.verdict.judge import Verdict, judge
from gradcheck_cli.verdict.outcome import (
    CheckOutcome,
    Diagnosis,
    GradientOutcome,
    InputOutcome,
    Status,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.errors import Where
    from gradcheck_cli.spec.check import Check


_USUAL = Settings()


def run_check(check: Check, settings: Settings = _USUAL) -> CheckOutcome:
    """Run one check. What goes wrong with it is its outcome's `error`; nothing is raised for that."""
    start = perf_counter()
    outcome = CheckOutcome(
        id=check.id,
        name=check.name,
        status="error",
        file=check.file,
        line=check.line,
        device=check.device,
        dtype=check.dtype,
        seed=check.seed,
        expression=check.expression.text,
        manual={name: source.where(0, len(source.text)) for name, source in check.manual.items()},
        reproduce=reproduce(check),
        description=check.description,
        tags=check.tags,
        order=check.order,
        inputs=tuple(
            InputOutcome(spec.name, spec.shape, spec.dtype or check.dtype, spec.name in check.wrt)
            for spec in check.inputs
        ),
        let={name: source.text for name, source in check.let},
        formulas={name: source.text for name, source in check.manual.items()},
    )
    loading = 0.0

    def judged() -> CheckOutcome:
        nonlocal loading
        case = prepare(check)
        before = perf_counter()
        load(applicable(case, check.methods))
        loading = perf_counter() - before  # importing PyTorch is no check's own time
        with values_of(check):
            # Before anything runs: PyTorch has no limit, and would take all memory, or forever.
            Plan([case.output], limit=memory_limit())
            return _judged(outcome, case)

    found, problems = attempt(check, judged)
    if found is None:
        found = replace(outcome, error=problems[0], also=problems[1:])
    return replace(found, seconds=perf_counter() - start - loading)


def _judged(outcome: CheckOutcome, case: Case) -> CheckOutcome:
    check = case.check
    first = _first_order(case)
    orders = [first]
    if check.order == 2:
        # Second derivatives, the numeric ones too, are those of the engine's first ones.
        sound = not any("engine" in gradient.outliers for gradient in first.gradients)
        orders.append(_second_order(case, blame=sound))
    outcome = replace(
        outcome,
        status=_worst([status for order in orders for status in order.statuses]),
        gradients=tuple(gradient for order in orders for gradient in order.gradients),
        diagnoses=tuple(diagnosis for order in orders for diagnosis in order.diagnoses),
        value=first.value,
    )
    if outcome.status == "passed":
        outcome = replace(outcome, diagnoses=(*outcome.diagnoses, *blind_spots(case)))
    return _expected(outcome, check) if check.expect_fail else outcome


@dataclass(frozen=True)
class _Order:
    """What is found of the first derivatives, or of the second."""

    gradients: Sequence[GradientOutcome]
    statuses: Sequence[Status]
    diagnoses: Sequence[Diagnosis]
    value: Mapping[str, float] = field(default_factory=dict)


def _first_order(case: Case) -> _Order:
    results: Sequence[Gradients] = _run(case)
    rounding = Rounding(case)
    forward = _compare_values(case, results, rounding, coarsest_dtype(case.check))
    if forward is not None:
        results = second_look(case, results) or results
        forward = _compare_values(case, results, rounding, coarsest_dtype(case.check))
    blame = forward is None or forward.code == "GC306"
    found = _of_order(case, results, rounding, 1, blame=blame)
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
    return _Order(found.gradients, statuses, diagnoses, value)


def _second_order(case: Case, *, blame: bool = True) -> _Order:
    found = _examined(case, 2, blame=blame)
    located = _located(case, 2, found) if blame else found.diagnoses
    diagnoses = [replace(d, message=f"second derivative: {d.message}") for d in located]
    return _Order(found.gradients, found.statuses, diagnoses)


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
    case: Case, results: Sequence[Gradients], rounding: Rounding, order: int, *, blame: bool = True
) -> _Order:
    """Judge every input's gradient. Without `blame` nobody is named: the values already differ."""
    dtype = coarsest_dtype(case.check)
    judged = _verdicts(case, results, rounding, order, dtype)
    if dtype != "float64" and any(lone(j.verdict) for j in judged):
        judged = _excused(case, results, rounding, order, judged)
    if not blame:
        judged = [j._replace(verdict=_blameless(j.verdict)) for j in judged]
    if any(_contradicted(j.verdict) for j in judged):
        again = second_look(case, results)
        if again is not None:
            return _of_order(case, again, rounding, order, blame=blame)
    diagnoses = with_spread((note for j in judged for note in j.verdict.notes), results)
    diagnoses += [
        _explain(case, verdict, held, method, allowances)
        for verdict, allowances, held in judged
        for method in verdict.outcome.outliers
    ]
    statuses: list[Status] = [j.verdict.status for j in judged]
    refusals = _refusals(results)
    if refusals:
        # A method that was asked for and could not run: the others' agreement is no full pass.
        statuses.append("inconclusive")
    return _Order([j.verdict.outcome for j in judged], statuses, [*diagnoses, *refusals])


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
        if result.unavailable is not None
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
    case: Case,
    verdict: Verdict,
    results: Sequence[Gradients],
    method: str,
    allowances: Allowances,
) -> Diagnosis:
    """The diagnosis of one outlier."""
    from gradcheck_cli.verdict.diagnosis import Suspect, diagnose  # only a failure needs it

    outcome = verdict.outcome
    estimates = {
        r.method: r.estimates[outcome.input] for r in results if outcome.input in r.estimates
    }
    assert outcome.reference is not None
    reference = estimates[outcome.reference]
    if reference.probes is not None:
        reference = _every_element(case, outcome.input, reference, allowances)

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
    found = [d.code for d in outcome.diagnoses if d.code.startswith("GC1")]
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
