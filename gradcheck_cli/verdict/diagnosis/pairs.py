"""Two mistakes at once: a change of the formula that is right but for a constant factor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.lang.edits import grouped
from gradcheck_cli.verdict.diagnosis.constants import fitted
from gradcheck_cli.verdict.diagnosis.suspect import Finding
from gradcheck_cli.verdict.diagnosis.whole import factors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

LEAST = 4.0

# The factors that are forgotten most often: others would explain too much.
_MOST_FACTORS = 24
_NAMED = 1e-7


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Changes that were tried in vain, with a factor or the other sign."""
    edits = suspect.edits
    if edits is None:
        return
    named = [(1.0, "", "{0}"), *factors(suspect.sizes, suspect.numbers)][:_MOST_FACTORS]
    for node, made in suspect.attempts:
        (value,) = suspect.values([node])
        if value is None or not value.any():
            continue
        factor = fitted(np.asarray(value, np.float64), suspect.reference)
        if factor is None or not suspect.near(factor * value) or not suspect.right(factor * value):
            continue
        if math.isclose(factor, 1.0, rel_tol=_NAMED):
            continue  # right by itself, but not everywhere
        for number, name, template in named:
            if math.isclose(abs(factor), number, rel_tol=_NAMED):
                sign = "-" if factor < 0 else ""
                text = sign + template.format(grouped(edits.changed(made.changes)))
                rest = (
                    f"off by a constant factor: multiply by {sign}{name}"
                    if name
                    else "of the wrong sign"
                )
                if suspect.survives(text):
                    message = f"{made.message}; and the whole is {rest}"
                    yield Finding(made.code, message, text, LEAST + made.cost)
                break
