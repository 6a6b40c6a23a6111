"""What kind of mistake a gradient by the person's own code holds, of which nobody has a formula.

It is looked at in two ways. As a name for numbers, `backward`, which a formula may hold: then what must be
done to it to make it right says what is wrong with it (a sign, a factor, a term, a mask). And as one of the
wrong formulas that `verdict.mutants` makes of the right one: if one of them gives the same numbers, at other
inputs too, the code computes that, and it is explained as a person's formula would be.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.calculus.derive import with_names
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.schema import Invalid
from gradcheck_cli.verdict.diagnosis import Suspect, explanations, told
from gradcheck_cli.verdict.diagnosis.ingredients import short_truth
from gradcheck_cli.verdict.diagnosis.resized import is_large, shrunk
from gradcheck_cli.verdict.mutants import candidates
from gradcheck_cli.verdict.mutants.evaluate import evaluate

if TYPE_CHECKING:
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.verdict.mutants import Mutant
    from gradcheck_cli.verdict.outcome import Diagnosis

# How the code's gradient is called in a repair.
NAME = "backward"
# Two results are the same up to this part of the largest element: code adds up in an order of its own.
_SAME = 1e-9
# The formula that backward should compute is shown up to this length, what it does compute up to that.
_LONGEST_FIX, _LONGEST_SHOWN = 240, 80
# As many wrong formulas that give the same numbers are looked at, the shortest first.
_MOST_READINGS = 3
# A formula that nobody wrote must explain the mistake so much more plainly than the numbers do.
_PLAINER = 0.25


def diagnose_code(suspect: Suspect) -> Diagnosis:
    """The simplest explanation of a wrong gradient by code; `suspect.rerun` runs that on other inputs.

    The repair is the formula that backward should compute, as it was evaluated, where that isn't too long.
    """
    opaque = _named(suspect)
    found, mutant = explanations(opaque), None
    best: Suspect = opaque
    for reading, made in _readings(opaque):
        others = explanations(reading)
        if others and (not found or others[0].cost + _PLAINER < found[0].cost):
            found, best, mutant = others, reading, made
        if others:
            break  # it says the same as longer ones
    diagnosis = told(best, found)
    message = diagnosis.message
    if mutant is not None and len(mutant.text) <= _LONGEST_SHOWN:
        message += f"; backward computes `{mutant.text}`"
    return replace(
        diagnosis,
        message=message,
        fix=short_truth(opaque, _LONGEST_FIX) or diagnosis.fix,
        difference=None,
        also=tuple(replace(other, fix=None) for other in diagnosis.also),
    )


def _named(suspect: Suspect) -> Suspect:
    """The same with a formula that is nothing but a name for the code's gradient."""
    case = suspect.case
    assert case is not None
    name = NAME
    while name in case.scope:
        name += "_"
    given = {**case.arrays, name: suspect.gradient}
    return replace(
        suspect, case=replace(case, given=given), formula=parse(Source(name)), opaque=name
    )


def _readings(opaque: Suspect) -> list[tuple[Suspect, Mutant]]:
    """The wrong formulas that give the code's numbers, each as a suspect of its own."""
    suspect: Suspect | None = opaque
    if is_large(opaque):
        suspect = shrunk(opaque)
    if suspect is None or suspect.case is None or suspect.again is None:
        return []
    case, name, again = suspect.case, suspect.input, suspect.again
    try:
        text = to_text(with_names([suspect.truth], case.named)[0])
        made = candidates(replace(case, given=None), name, text)
    except (GradcheckError, Invalid):
        return []
    shape = case.variables[name].shape
    values = evaluate([one.node for one in made], case.arrays, shape)
    here = [one for one, v in zip(made, values, strict=True) if _same(v, suspect.gradient)]
    there = evaluate([one.node for one in here], again.arrays, shape)
    found = [one.mutant for one, v in zip(here, there, strict=True) if _same(v, again.gradient)]
    found.sort(key=lambda mutant: len(mutant.text))
    plain = replace(suspect, opaque=None)
    return [(_read(plain, mutant.text), mutant) for mutant in found[:_MOST_READINGS]]


def _read(suspect: Suspect, text: str) -> Suspect:
    known = suspect.input, suspect.method, suspect.gradient, suspect.reference, suspect.right
    return Suspect(*known, suspect.case, parse(Source(text)), rerun=suspect.rerun)


def _same(value: Array | None, gradient: Array | None) -> bool:
    if value is None or gradient is None:
        return False
    with np.errstate(all="ignore"):
        finite = np.isfinite(gradient)
        if not np.array_equal(finite, np.isfinite(value)):
            return False
        apart = np.abs(value - gradient)[finite].max(initial=0.0)
        return bool(apart <= _SAME * np.abs(gradient[finite]).max(initial=0.0))


def without_numbers(suspect: Suspect) -> Diagnosis:
    """The same of code that can't be run in float64: only what rounding leaves to be seen is said."""
    plain = replace(suspect, case=None, formula=None)
    diagnosis = told(plain, explanations(plain))
    if diagnosis.fix is not None or suspect.case is None:
        return diagnosis
    fix = short_truth(replace(suspect, rerun=None), _LONGEST_FIX)
    return replace(diagnosis, fix=fix)
