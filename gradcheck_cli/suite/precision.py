"""PyTorch in a coarse dtype, held against itself in float64: is it wrong, or is the dtype not enough?

What rounding costs is measured on the expression as it is written. PyTorch's kernel for a type may lose more
(a polynomial meant for float32, an intermediate result beyond float16's 65504), which is no mistake of any
formula. So where PyTorch's result in a coarse dtype is off by more than that, it is computed once more in
float64. If that agrees, nobody is wrong, but what was asked for is not shown to be right either: the check is
inconclusive, and GC306 says by how much the dtype falls short.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.methods import run
from gradcheck_cli.verdict.outcome import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array, Gradients
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.verdict.judge import Verdict


def lone(verdict: Verdict) -> bool:
    """Whether methods disagree, and PyTorch stands apart from those that are believed, or alone."""
    if verdict.status != "failed":
        return False
    believed = verdict.outcome.groups[0]
    return "torch" not in believed or believed == ("torch",)


def exact(case: Case, results: Sequence[Gradients]) -> list[Gradients] | None:
    """The results with PyTorch's computed in float64 on the CPU; None where there are none."""
    if not any(result.method == "torch" and result.unavailable is None for result in results):
        return None
    again = run("torch", replace(case, check=_widened(case.check), given=case.arrays))
    if again.unavailable is not None:
        return None
    return [again if result.method == "torch" else result for result in results]


def _widened(check: Check) -> Check:
    inputs = tuple(
        replace(spec, dtype="float64" if spec.is_floating else spec.dtype) for spec in check.inputs
    )
    return replace(check, dtype="float64", device="cpu", inputs=inputs)


def excused(
    coarse: Verdict,
    fine: Verdict,
    results: Sequence[Gradients],
    dtype: str,
    method: str = "torch",
) -> Verdict:
    """The verdict where PyTorch (or the check's own code) is off in `dtype`, `coarse`, and not in `fine`.

    It is the one in float64, with that method's row as it was, undecided, and a note; a pass is inconclusive.
    """
    name = coarse.outcome.input
    row = next(row for row in coarse.outcome.methods if row.method == method)
    gradient = next(r.estimates[name].gradient for r in results if r.method == method)
    what = _apart(gradient, row.max_rel_error)
    message = _message(f"gradient of `{name}`", dtype, what, method)
    note = Diagnosis("GC306", message, name, method)
    reason = f"{what} in {dtype}, and agrees in float64"
    row = replace(row, status="undecided", reason=reason)
    found = fine.outcome
    outcome = replace(
        found,
        methods=tuple(row if m.method == method else m for m in found.methods),
        groups=tuple(rest for group in found.groups if (rest := _without(group, method))),
        outliers=_without(found.outliers, method),
        equal=tuple(pair for pair in found.equal if method not in pair),
    )
    status = "inconclusive" if fine.status == "passed" else fine.status
    return replace(fine, outcome=outcome, status=status, notes=(*fine.notes, note))


def excused_value(value: Array, fine: Array, dtype: str) -> Diagnosis:
    """What is said where PyTorch's forward value in `dtype` isn't `fine`, though in float64 it is."""
    with np.errstate(all="ignore"):
        relative = np.nan_to_num(np.abs(value - fine) / np.abs(fine), nan=0.0, posinf=np.inf)
    what = _apart(value, float(relative.max(initial=0.0)))
    return Diagnosis("GC306", _message("value of the expression", dtype, what), method="torch")


def _without(names: tuple[str, ...], method: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != method)


def _apart(array: Array, relative: float | None) -> str:
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        return f"not finite{f' in {bad} of {array.size} elements' if array.size > 1 else ''}"
    return "off by more than rounding" + (f", by {relative:.2g} of it" if relative else "")


def _message(what: str, dtype: str, apart: str, method: str = "torch") -> str:
    whose = "PyTorch's" if method == "torch" else "the implementation's"
    return f"{whose} {what} is {apart} in {dtype}, and right in float64: the dtype is not enough"
