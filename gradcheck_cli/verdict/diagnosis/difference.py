"""The right gradient minus the person's formula, as a formula, where that is short."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.calculus.derive import with_names
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.schema import Invalid
from gradcheck_cli.verdict.diagnosis.gaps import target
from gradcheck_cli.verdict.diagnosis.ingredients import naming
from gradcheck_cli.verdict.diagnosis.material import terms

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

# Longer ones say less than the two formulas themselves.
_LONGEST = 80
# The difference of two rounded gradients is the formula's value up to this.
_FITS = 1e-6


def of(suspect: Suspect) -> str | None:
    """`simplify(truth - person)` as text; None where that is long, or not the numbers' difference.

    It is what must be added to the person's formula. No longer than the two formulas, so that it says more.
    """
    own = suspect.own if suspect.edits is not None else None
    if own is None or suspect.case is None or not np.isfinite(suspect.gradient).all():
        return None
    named = {n: name for name, n in suspect.case.scope.items() if n.args and n.value is None}
    best: str | None = None
    for difference in _differences(suspect.truth, own):
        (plain,) = simplify(with_names([difference], named))
        text = to_text(plain)
        if len(text) <= _LONGEST and (best is None or len(text) < len(best)):
            node = suspect.node(text)
            if node is not None and _is_difference(suspect, node):
                best = text
    assert suspect.edits is not None
    longest = max(len(suspect.edits.text), len(naming(suspect)(suspect.truth)))
    return best if best is not None and len(best) <= longest else None


def _differences(truth: Expr, own: Expr) -> Iterable[Expr]:
    """As it is, and with the terms that both have left out."""
    try:
        yield truth - own
        ours, theirs = terms(truth), terms(own)
        same = [pair for pair in ours if pair in theirs]
        left = [pair for pair in ours if pair not in same]
        right = [(-sign, node) for sign, node in theirs if (sign, node) not in same]
        signed = [node if sign > 0 else -node for sign, node in (*left, *right)]
        if same and signed:
            total = signed[0]
            for node in signed[1:]:
                total = total + node
            yield total
    except Invalid:
        return


def _is_difference(suspect: Suspect, node: Expr) -> bool:
    (value,) = suspect.values([node])
    gap = target(suspect) - suspect.gradient
    if value is None or not gap.size:
        return False
    with np.errstate(all="ignore"):
        return bool((np.abs(value - gap) <= _FITS * np.abs(gap).max()).all())
