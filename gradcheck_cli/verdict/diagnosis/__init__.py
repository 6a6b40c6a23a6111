"""What kind of mistake a wrong gradient holds: hypotheses that fit and survive re-evaluation.

A family of hypotheses is a file with `propose(suspect)`, which yields the findings that fit, the simplest
first: the repaired gradient passes, and so does the repaired formula, where one is given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.verdict.diagnosis import whole
from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect
from gradcheck_cli.verdict.outcome import Diagnosis

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Finding", "Suspect", "diagnose"]

# In the order in which they are tried.
FAMILIES: tuple[ModuleType, ...] = (whole,)
# Other explanations that are listed beside the first.
_OTHERS = 3


def diagnose(suspect: Suspect) -> Diagnosis:
    """The simplest explanation whose repair passes, with others that fit, or GC199."""
    found: list[Finding] = []
    for family in FAMILIES:
        found += family.propose(suspect)
        if found:
            break
    if not found:
        message = (
            f"the {suspect.method} gradient of `{suspect.input}` is wrong; "
            "the cause is not recognised"
        )
        return Diagnosis("GC199", message, suspect.input, suspect.method, None, suspect.where)
    found.sort(key=lambda finding: finding.cost)
    first, *others = (
        Diagnosis(f.code, f.message, suspect.input, suspect.method, f.fix, suspect.where)
        for f in found[: 1 + _OTHERS]
    )
    return first if not others else _with(first, others)


def _with(first: Diagnosis, others: list[Diagnosis]) -> Diagnosis:
    from dataclasses import replace

    return replace(first, also=tuple(others))
