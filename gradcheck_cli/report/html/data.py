"""The data block of the page: what it shows of the checks, and nothing else.

Numbers stand here as text, rounded as the console rounds them, and texts with what could steer a reader's
screen as escapes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

from gradcheck_cli.codes import CODES
from gradcheck_cli.errors import excerpt, printable
from gradcheck_cli.report.html.formulas import Formulas
from gradcheck_cli.report.numbers import pair, plain, ratio, seconds, short
from gradcheck_cli.report.story import equal_classes, visible, votes
from gradcheck_cli.report.words import ASIDE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.errors import Problem, Where
    from gradcheck_cli.report.html.formulas import Scope
    from gradcheck_cli.verdict.outcome import (
        CheckOutcome,
        Diagnosis,
        GradientOutcome,
        Grid,
        MethodOutcome,
        Status,
    )

Data: TypeAlias = dict[str, Any]

# What a reader wants to see first.
SEVERITY: tuple[Status, ...] = ("failed", "error", "inconclusive", "passed", "skipped")
# Cells of all pictures together: a few megabytes.
MOST_CELLS = 400_000
# Digits of a picture's numbers: they are looked at.
_DIGITS = 4
# Whole numbers below it are written without a point.
_LARGEST_WHOLE = 1e6
_WIDTH = 100


def page_data(outcomes: Sequence[CheckOutcome]) -> Data:
    """What the page shows of the checks of a report."""
    writer = _Writer()
    # What the page has room for, formulas and pictures, goes to problems first.
    order = sorted(range(len(outcomes)), key=lambda at: SEVERITY.index(outcomes[at].status))
    made = {at: writer.check(outcomes[at]) for at in order}
    return {
        "checks": [made[at] for at in range(len(outcomes))],
        "math": writer.formulas.trees,
        "codes": {code: CODES[code].title for code in sorted(writer.codes) if code in CODES},
    }


def _lines(text: str) -> str:
    """A text of several lines as it may be shown."""
    return "\n".join(map(printable, text.splitlines()))


def _kept(data: Mapping[str, Any]) -> Data:
    """Without what is empty, which the page takes for that; zeros stay."""
    return {name: value for name, value in data.items() if value or type(value) is int}


class _Writer:
    """Makes the data of checks, one after the other; formulas and room for pictures are shared."""

    def __init__(self) -> None:
        self.formulas = Formulas()
        self.codes: set[str] = set()
        self.cells = 0

    def check(self, outcome: CheckOutcome) -> Data:
        """One check."""
        scope = self.formulas.scope(
            tuple((given.name, given.shape, given.dtype) for given in outcome.inputs),
            tuple(outcome.let.items()),
            outcome.expression,
        )
        worst = worst_of(outcome)
        return _kept(
            {
                "id": printable(outcome.id),
                "name": printable(outcome.short_name),
                "file": printable(outcome.file or ""),
                "line": outcome.line,
                "about": printable(outcome.description),
                "tags": [printable(tag) for tag in outcome.tags],
                "status": outcome.status,
                "expected": outcome.expected_failure,
                "device": printable(outcome.device),
                "dtype": printable(outcome.dtype),
                "seed": outcome.seed,
                "order": outcome.order if outcome.order != 1 else None,
                "worst": "" if worst is None else ratio(worst),
                "seconds": float(f"{outcome.seconds:.4g}"),
                "time": seconds(outcome.seconds),
                "inputs": [
                    [printable(given.name), list(given.shape), given.dtype, int(given.checked)]
                    for given in outcome.inputs
                ],
                "let": [
                    [printable(name), *self._formula(text, self.formulas.definition(scope, name))]
                    for name, text in outcome.let.items()
                ],
                "expression": self._formula(
                    outcome.expression, self.formulas.value(scope, outcome.expression)
                ),
                "implementation": printable(outcome.implementation),
                "gradients": [self._gradient(one, outcome, scope) for one in outcome.gradients],
                "diagnoses": [self._diagnosis(one, outcome, scope) for one in outcome.diagnoses],
                "errors": [
                    self._problem(problem, outcome)
                    for problem in (outcome.error, *outcome.also)
                    if problem is not None
                ],
                "reproduce": printable(outcome.reproduce),
            }
        )

    def _formula(self, text: str | None, numbers: tuple[int, ...]) -> list[Any]:
        """A formula as code, then the numbers of its typeset lines."""
        return [_lines(text), *numbers] if text else []

    def _gradient(self, one: GradientOutcome, outcome: CheckOutcome, scope: Scope) -> Data:
        first = one.order == 1
        wrt = [given.name for given in outcome.inputs if given.checked]
        manual = outcome.formulas.get(one.input, "") if first else ""
        derived = one.derived or ""
        inner = scope if first else self.formulas.second(scope, wrt)
        return _kept(
            {
                "input": printable(one.input),
                "order": None if first else one.order,
                "shape": list(one.shape),
                "methods": [_method(method, one.reference) for method in one.methods],
                "manual": self._formula(manual, self.formulas.gradient(scope, one.input, manual)),
                "derived": self._formula(
                    derived, self.formulas.gradient(inner, one.input, derived, one.order)
                ),
                "assuming": [printable(fact) for fact in one.assuming],
                "notes": _notes(one, passed=outcome.status == "passed"),
                "grid": None if one.grid is None else self._grid(one.grid),
            }
        )

    def _grid(self, grid: Grid) -> Data:
        """A picture; where the page has no more room, a word that says so.

        A method whose gradient is the reference's own, bit for bit, has no picture of its error.
        """
        shown = {
            name: [values, grid.ratios[name]] if name in grid.ratios else [values]
            for name, values in grid.errors.items()
            if name in grid.ratios or any(values)
        }
        size = len(grid.reference) * (1 + sum(map(len, shown.values())))
        if self.cells + size > MOST_CELLS:
            return {"omitted": True}
        self.cells += size
        steps = [grid.row_step, grid.column_step]
        return _kept(
            {
                "rows": grid.rows,
                "columns": grid.columns,
                "steps": None if steps == [1, 1] else steps,
                "reference": _cells(grid.reference),
                "errors": [
                    [printable(name), *map(_cells, values)] for name, values in shown.items()
                ],
            }
        )

    def _diagnosis(self, one: Diagnosis, outcome: CheckOutcome, scope: Scope) -> Data:
        self.codes |= {one.code, *(other.code for other in one.also)}
        name, fix, difference = one.input or "", one.fix or "", one.difference or ""
        # What the repair replaces is the person's formula, where that is what is wrong.
        before = outcome.formulas.get(name, "") if one.method == "manual" and fix else ""
        return _kept(
            {
                "code": one.code,
                "warning": one.code in ASIDE or outcome.status == "inconclusive",
                "input": printable(name),
                "method": printable(one.method or ""),
                "message": printable(one.message),
                "operator": printable(one.operator or ""),
                "before": self._formula(before, self.formulas.gradient(scope, name, before)),
                "fix": self._formula(fix, self.formulas.gradient(scope, name, fix)),
                "difference": self._formula(difference, self.formulas.alone(scope, difference)),
                "also": [
                    _kept(
                        {
                            "code": other.code,
                            "message": printable(other.message),
                            "fix": _lines(other.fix or ""),
                        }
                    )
                    for other in one.also
                ],
                **_place(one.where, outcome, excerpted=not before),
            }
        )

    def _problem(self, problem: Problem, outcome: CheckOutcome) -> Data:
        self.codes.add(problem.code)
        return _kept(
            {
                "code": problem.code,
                "message": printable(problem.message),
                "hint": printable(problem.hint or ""),
                **_place(problem.where, outcome),
            }
        )


def _place(where: Where | None, outcome: CheckOutcome, *, excerpted: bool = True) -> Data:
    """Where something is, as text, and the line with carets under it."""
    if where is None or where.line is None:
        return {}
    shown = excerpt(where, _WIDTH) if excerpted else None
    column = "" if where.column is None else f":{where.column}"
    file = printable(where.file or outcome.file or "<expression>")
    return {"place": f"{file}:{where.line}{column}", "excerpt": shown and "\n".join(shown)}


def _notes(one: GradientOutcome, *, passed: bool) -> list[str]:
    """What the comparison says in words: the console's."""
    notes = votes(one, passed=passed)
    if one.equal:
        notes.append(f"Bitwise equal: {', '.join(map(' = '.join, equal_classes(one.equal)))}.")
    if one.smallest_visible_error is not None and len(one.groups) == 1:
        sentence = visible(one)
        notes.append(f"{sentence[:1].upper()}{sentence[1:]}.")
    return [printable(note) for note in notes]


def worst_of(outcome: CheckOutcome) -> float | None:
    """The largest error/allowance of any method on any input; NaN is the worst of all."""
    numbers = [
        method.error_over_allowance
        for gradient in outcome.gradients
        for method in gradient.methods
        if method.error_over_allowance is not None
    ]
    return max(numbers, key=lambda number: (math.isnan(number), number), default=None)


def _method(method: MethodOutcome, reference: str | None) -> list[str]:
    """The cells of a method's row, and what is said under the table."""
    is_reference = method.method == reference and method.status == "agrees"
    return [
        printable(method.method),
        "reference" if is_reference else method.status,
        ratio(method.error_over_allowance),
        short(method.max_abs_error),
        short(method.max_rel_error),
        f"{method.mismatched}/{method.elements}" if method.elements else "-",
        "-" if method.worst_index is None else str(list(method.worst_index)),
        *pair(method.value, method.expected, exact=method.status != "agrees"),
        seconds(method.seconds),
        *([printable(method.reason)] if method.reason else []),
    ]


def _cells(values: Sequence[float]) -> list[float | str]:
    return [_cell(value) for value in values]


def _cell(value: float) -> float | str:
    """A number of a picture; NaN and infinities as text."""
    if not math.isfinite(value):
        return plain(value, _DIGITS)
    rounded = float(f"{value:.{_DIGITS}g}")
    return int(rounded) if abs(rounded) < _LARGEST_WHOLE and rounded.is_integer() else rounded
