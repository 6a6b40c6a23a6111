"""A wrong gradient by the person's own code: whether only the dtype is at fault, and what mistake it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.methods.gradients import Estimate
from gradcheck_cli.suite.budget import Rounding, allowances_of, coarsest_dtype
from gradcheck_cli.suite.own.findings import METHOD, MILD, place
from gradcheck_cli.suite.precision import excused
from gradcheck_cli.verdict.compare import compare
from gradcheck_cli.verdict.judge import judge
from gradcheck_cli.verdict.outcome import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array, Gradients
    from gradcheck_cli.verdict.compare import Allowances
    from gradcheck_cli.verdict.judge import Verdict


class Accused:
    """The code of a case whose gradients are wrong, in the check's dtype and, where it can be, in float64."""

    def __init__(self, case: Case, results: Sequence[Gradients], rounding: Rounding) -> None:
        self._case, self._results, self._rounding = case, results, rounding
        self._dtype = coarsest_dtype(case.check)
        self._fine: Gradients | None = None
        self._asked = self._dtype == "float64"
        if self._asked:
            self._fine = next(r for r in results if r.method == METHOD)

    @property
    def fine(self) -> Gradients | None:
        """Its result in float64, which is run once; None where it doesn't take that."""
        if not self._asked:
            from gradcheck_cli.methods.implementation_method import in_float64

            self._fine, self._asked = in_float64(self._case), True
        return self._fine

    def softened(self, verdict: Verdict, results: Sequence[Gradients], position: int) -> Verdict:
        """The verdict, or that nobody is wrong: the code loses little more in its dtype than must be lost.

        `results` are those that the verdict was made from.
        """
        outcome = verdict.outcome
        if self._dtype == "float64" or METHOD not in outcome.outliers or self.fine is None:
            return verdict
        rows = {row.method: row for row in outcome.methods}
        ratio = rows[METHOD].error_over_allowance
        torch_too = "torch" in rows and rows["torch"].status in ("disagrees", "undecided")
        if not torch_too and (ratio is None or ratio > MILD):
            return verdict
        again = [self.fine if r.method == METHOD else r for r in results]
        allowed = self._allowances(position, again)
        shape = outcome.shape
        fine = judge(outcome.input, shape, again, allowed, order=outcome.order)
        if METHOD in fine.outcome.outliers:
            return verdict
        # What was said of PyTorch's own loss stays.
        mild = replace(verdict, status=fine.status)
        return excused(verdict, mild, results, self._dtype, METHOD)

    def _allowances(self, position: int, results: Sequence[Gradients]) -> Allowances:
        """With the code's result in float64."""
        case, dtype = self._case, self._dtype
        return allowances_of(case.check, self._rounding, position, dtype, results, "float64")

    def explained(self, verdict: Verdict, reference: Estimate, position: int) -> Diagnosis:
        """What mistake it is."""
        from gradcheck_cli.verdict.diagnosis import Suspect
        from gradcheck_cli.verdict.own_code import diagnose_code, without_numbers

        outcome, name = verdict.outcome, verdict.outcome.input
        fine = self.fine
        result = fine or next(r for r in self._results if r.method == METHOD)
        allowed = self._allowances(position, self._results)
        if fine is None:
            allowed = allowances_of(self._case.check, self._rounding, position, self._dtype)

        def right(array: Array) -> bool:
            pair = (Estimate(np.asarray(array, np.float64)), reference)
            return compare((METHOD, outcome.reference or ""), pair, allowed).agree

        gradient = result.estimates[name].gradient
        if fine is not None and right(gradient):
            return self._in_this_dtype(verdict)
        suspect = Suspect(
            input=name,
            method=METHOD,
            gradient=gradient,
            reference=reference.gradient,
            right=right,
            case=self._case,
            where=place(self._case),
            rerun=None if self._case.second else lambda case: _rerun(case, name),
        )
        diagnosis = without_numbers(suspect) if fine is None else diagnose_code(suspect)
        return _with_worst(diagnosis, verdict)

    def _in_this_dtype(self, verdict: Verdict) -> Diagnosis:
        outcome = verdict.outcome
        row = next(row for row in outcome.methods if row.method == METHOD)
        times = row.error_over_allowance
        much = "" if times is None or not np.isfinite(times) else f", {times:.2g} times as much"
        message = (
            f"the implementation's gradient of `{outcome.input}` is right in float64, and in {self._dtype} "
            f"off by more than rounding explains{much}"
        )
        found = Diagnosis("GC231", message, outcome.input, METHOD, where=place(self._case))
        return _with_worst(found, verdict)


def _with_worst(diagnosis: Diagnosis, verdict: Verdict) -> Diagnosis:
    """The message with the element that is furthest off."""
    row = next(row for row in verdict.outcome.methods if row.method == METHOD)
    if row.value is None or row.expected is None:
        return diagnosis
    at = f" at {list(row.worst_index)}" if row.worst_index else ""
    worst = f"`{verdict.outcome.input}`{at} gets {row.value:.6g}, where {row.expected:.6g} is right"
    return replace(diagnosis, message=f"{diagnosis.message} ({worst})")


def _rerun(case: Case, name: str) -> Array | None:
    """The code's gradient for another case's inputs, in float64; None where it has none."""
    from gradcheck_cli.methods.implementation_method import in_float64

    try:
        found = in_float64(case)
    except GradcheckError:
        return None
    return None if found is None else found.estimates[name].gradient
