"""Gradients as pictures: few enough cells to be looked at, each the worst of its elements."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.verdict.compare import ratios
from gradcheck_cli.verdict.outcome import Grid
from gradcheck_cli.verdict.tiling import row_step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gradcheck_cli.methods.gradients import Array, Estimate, Gradients
    from gradcheck_cli.verdict.compare import Allowances
    from gradcheck_cli.verdict.outcome import GradientOutcome, MethodOutcome

# What fits a terminal, and what an eye takes in at a glance.
MOST_ROWS = 24
MOST_COLUMNS = 48


def pictured(
    outcome: GradientOutcome,
    results: Sequence[Gradients],
    allowances: Allowances,
    *,
    always: bool = False,
) -> GradientOutcome:
    """`outcome` with its picture, where a method disagrees or one is wanted `always`.

    `results` and `allowances` are those that it was judged by. A gradient known along probes only has no
    elements to show: it is left out, and as the reference another that agrees with it takes its place.
    """
    wrong = {row.method: row for row in outcome.methods if row.status == "disagrees"}
    if outcome.reference is None or not (wrong or always):
        return outcome
    estimates = {
        result.method: result.estimates[outcome.input]
        for result in results
        if outcome.input in result.estimates
    }
    allowances = allowances.at_kinks_of(estimates.values())
    shown = {method: e for method, e in estimates.items() if e.probes is None}
    agreeing = (outcome.reference, *(outcome.groups[0] if outcome.groups else ()))
    against = next((method for method in agreeing if method in shown), None)
    if against is None:
        return outcome
    grid = grid_of(
        shown[against].gradient,
        {method: e.gradient for method, e in shown.items() if method != against},
        {
            method: partial(_ratios, (method, against), shown, allowances, row)
            for method, row in wrong.items()
            if method in shown
        },
    )
    return replace(outcome, grid=grid)


def _ratios(
    names: tuple[str, str],
    estimates: Mapping[str, Estimate],
    allowances: Allowances,
    row: MethodOutcome,
) -> Array:
    """Error / allowance by element; the number that decided stands at the worst, wherever it is from."""
    found = ratios(names, (estimates[names[0]], estimates[names[1]]), allowances)
    if row.worst_index is not None and row.error_over_allowance is not None:
        found[row.worst_index] = max(found[row.worst_index], row.error_over_allowance)
    return found


def grid_of(
    reference: Array,
    gradients: Mapping[str, Array],
    ratios: Mapping[str, Callable[[], Array]],
) -> Grid | None:
    """The picture of `reference` and of what each of `gradients`, of its shape, differs from it by.

    The last dimension lies along the columns and all others along the rows. `ratios` give the error over the
    allowance by element, of those that disagree; each is asked for when it is drawn, because large ones
    need not be there together. NaN is larger than anything. None where there are no elements.
    """
    if not reference.size:
        return None
    columns = reference.shape[-1] if reference.ndim else 1
    rows = reference.size // columns
    steps = row_step(reference.shape, MOST_ROWS), -(-columns // MOST_COLUMNS)
    every = steps == (1, 1)
    cells = [(slice(0, rows), slice(0, columns))]
    if not every:
        cells = [
            (slice(row, row + steps[0]), slice(column, column + steps[1]))
            for row in range(0, rows, steps[0])
            for column in range(0, columns, steps[1])
        ]

    def worst(part: Array) -> list[float]:
        flat = part.reshape(-1)
        return list(flat.tolist() if every else flat[[np.abs(flat).argmax()]].tolist())

    def drawn(parts: Iterable[Array]) -> tuple[float, ...]:
        return tuple(chain.from_iterable(map(worst, parts)))

    expected = reference.reshape(rows, columns)
    errors = {}
    for method, gradient in gradients.items():
        found = gradient.reshape(rows, columns)
        errors[method] = drawn(_difference(found[cell], expected[cell]) for cell in cells)
    return Grid(
        rows=-(-rows // steps[0]),
        columns=-(-columns // steps[1]),
        row_step=steps[0],
        column_step=steps[1],
        reference=drawn(expected[cell] for cell in cells),
        errors=errors,
        ratios={
            method: drawn(map(ratio().reshape(rows, columns).__getitem__, cells))
            for method, ratio in ratios.items()
        },
    )


def _difference(a: Array, b: Array) -> Array:
    """A - b; equal infinities, and NaN on both sides, are no difference."""
    with np.errstate(all="ignore"):
        found = a - b
        found[(a == b) | (np.isnan(a) & np.isnan(b))] = 0.0
    return found
