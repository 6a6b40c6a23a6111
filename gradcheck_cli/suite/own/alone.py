"""A check of code for which there is no expression: its backward against differences of its forward."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.errors import GradcheckError, Problem
from gradcheck_cli.methods import run
from gradcheck_cli.methods.case import prepare, review, values_of
from gradcheck_cli.methods.gradients import Estimate
from gradcheck_cli.spec.sample import sample
from gradcheck_cli.suite.own.code import loaded
from gradcheck_cli.suite.own.findings import METHOD, Code, apart, compared
from gradcheck_cli.suite.repeats import with_spread
from gradcheck_cli.verdict.compare import Allowances, compare
from gradcheck_cli.verdict.grid import pictured
from gradcheck_cli.verdict.judge import judge
from gradcheck_cli.verdict.outcome import Diagnosis, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array, Gradients
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.suite.settings import Settings
    from gradcheck_cli.verdict.judge import Verdict
    from gradcheck_cli.verdict.outcome import CheckOutcome

METHODS = (METHOD, "manual", "numeric")


def judged_alone(outcome: CheckOutcome, check: Check, settings: Settings) -> CheckOutcome:
    """Run and judge it. Raises GradcheckError for what is wrong with the spec, or with the code's call."""
    _refuse_second_order(check)
    review(check)
    check = loaded(check, settings)
    with values_of(check):
        case = prepare(check, shape=_shape(check))
        results = _results(case)
        from gradcheck_cli.methods.own.differences import spreads

        measured = spreads(case)
        allowances = _allowances(check, measured)
        return _closed(outcome, case, results, allowances, settings)


def _refuse_second_order(check: Check) -> None:
    if check.order == 2:
        message = "`order: 2` needs an `expression`: there is nothing else to hold second derivatives against"
        where = check.expression.where()
        raise GradcheckError(Problem("GC002", message, where, "add it, or leave `order` out"))


def _shape(check: Check) -> tuple[int, ...]:
    """The shape of the code's value, which only a run tells."""
    from gradcheck_cli.methods.own.evaluate import Bench

    bare = replace(check, manual={}, manual_sources={}, cotangent="ones")
    return tuple(Bench(prepare(bare, shape=())).value(sample(check)).shape)


def _results(case: Case) -> list[Gradients]:
    wanted = case.check.methods or METHODS
    found = [run(METHOD, case)] if METHOD in wanted else []
    if "manual" in wanted and case.manual:
        found.append(run("manual", case))
    if "numeric" in wanted:
        from gradcheck_cli.methods.own.differences import run as differences

        found.append(differences(case))
    return found


def _allowances(check: Check, measured: Sequence[Array]) -> Callable[[int], Allowances]:
    given = check.tolerance
    rtol, atol = (None, None) if given is None else (given.rtol, given.atol)

    def allowances(position: int) -> Allowances:
        def rounding(method: str) -> Array | None:
            return measured[position] if method == METHOD else None

        return Allowances(rtol, atol, rounding)

    return allowances


def _closed(
    outcome: CheckOutcome,
    case: Case,
    results: Sequence[Gradients],
    allowances: Callable[[int], Allowances],
    settings: Settings,
) -> CheckOutcome:
    verdicts = [
        judge(name, case.variables[name].shape, results, allowances(position))
        for position, name in enumerate(case.wrt, start=1)
    ]
    gradients = [
        pictured(verdict.outcome, results, allowances(position), always=settings.grids)
        for position, verdict in enumerate(verdicts, start=1)
    ]
    diagnoses = with_spread((note for v in verdicts for note in v.notes), results)
    statuses: list[Status] = [verdict.status for verdict in verdicts]
    for position, verdict in enumerate(verdicts, start=1):
        diagnoses += [
            _explained(verdict, results, method, allowances(position))
            for method in verdict.outcome.outliers
        ]
    own = next((r for r in results if r.method == METHOD), None)
    if own is not None:
        value = _value(case, own, results, allowances(0))
        more = Code(case, own, allowances).findings(value, [v.outcome for v in verdicts])
        diagnoses, statuses = [*diagnoses, *more[0]], [*statuses, *more[1]]
        if not np.isfinite(np.asarray(own.value)).all():
            message = "the implementation's value is not finite"
            diagnoses.append(Diagnosis("GC204", message, method=METHOD))
            statuses.append("inconclusive")
    worst: Status = next((s for s in ("failed", "inconclusive") if s in statuses), "passed")
    return replace(
        outcome,
        status=worst,
        gradients=tuple(gradients),
        diagnoses=tuple(diagnoses),
        value={r.method: float(np.sum(r.value)) for r in results if r.value is not None},
    )


def _value(
    case: Case, own: Gradients, results: Sequence[Gradients], allowances: Allowances
) -> Diagnosis | None:
    """Its value in the check's dtype held against that in float64, where it takes both."""
    fine = next((r.value for r in results if r.method == "numeric"), None)
    if fine is None or case.check.dtype == "float64" or own.value is None:
        return None
    found = compared(own.value, fine, allowances, own.value_error)
    if found.agree:
        return None
    message = (
        f"the implementation's value in {case.check.dtype} is {apart(found)} is what float64 gives: "
        "more than rounding explains"
    )
    return Diagnosis("GC231", message, method=METHOD)


def _explained(
    verdict: Verdict, results: Sequence[Gradients], method: str, allowances: Allowances
) -> Diagnosis:
    """What the numbers alone say of an outlier."""
    from gradcheck_cli.verdict.diagnosis import Suspect, diagnose

    outcome = verdict.outcome
    assert outcome.reference is not None
    known = {r.method: r.estimates[outcome.input] for r in results if outcome.input in r.estimates}
    reference = known[outcome.reference]

    def right(array: Array) -> bool:
        pair = (Estimate(np.asarray(array, np.float64)), reference)
        return compare((method, outcome.reference or ""), pair, allowances).agree

    suspect = Suspect(outcome.input, method, known[method].gradient, reference.gradient, right)
    return diagnose(suspect)
