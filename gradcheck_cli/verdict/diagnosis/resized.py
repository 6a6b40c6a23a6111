"""The same check with other sizes: tells a 2 from a size that happens to be 2, rows from as many columns."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import Expr, t
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.case import UPSTREAM, prepare, values_of
from gradcheck_cli.methods.sizes import groupings, size_at, with_sizes
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.sizes import Slot
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

# An input with more elements is large; sizes of its smaller version begin here.
_LARGE, _SMALL = 2**14, 5
# What right formulas may differ by, relative to the largest element: their rounding.
_RELATIVE = 1e-6

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Resized:
    """The check with every size that can differ made different, and the right gradient there."""

    case: Case
    scope: Mapping[str, Expr]
    variable: Expr
    truth: Array
    _held: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, suspect: Suspect) -> Resized | None:
        """Sizes that must be equal stay equal. None where the expression holds for its own sizes only."""
        case = suspect.case
        if case is None or is_large(suspect) or (case.given is not None and suspect.rerun is None):
            return None
        check = replace(case.check, manual={}, manual_sources={})
        for groups in groupings(check):
            sizes: dict[Slot, int] = {}
            for more, group in enumerate(groups, start=1):
                sizes |= {slot: size_at(check, slot) + more for slot in group}
            found = _made(suspect, with_sizes(check, sizes)) if sizes else None
            if found is not None:
                made, truth = found
                if suspect.opaque is not None:
                    measured = suspect.measured(made)
                    if measured is None:
                        return None
                    made = measured[0]
                scope = {**suspect.scope_of(made), UPSTREAM: made.upstream}
                return cls(made, scope, made.variables[suspect.input], truth)
        return None

    def holds(self, text: str) -> bool:
        """Whether a formula is right for these sizes too."""
        if text not in self._held:
            self._held[text] = self._holds(text)
        return self._held[text]

    def _holds(self, text: str) -> bool:
        try:
            with values_of(self.case.check):
                node = build(parse(Source(text)), self.scope)
                if node.value is not None:
                    node = t.full_like(self.variable, node)
                if node.shape != self.variable.shape:
                    return False
                value = Plan([node])(self.case.arrays)[0]
        except (GradcheckError, Invalid, ArithmeticError, ValueError, IndexError):
            return False
        return _near(value, self.truth)


def is_large(suspect: Suspect) -> bool:
    """Whether evaluating hundreds of changed formulas would take long."""
    case = suspect.case
    return case is not None and any(v.elements > _LARGE for v in case.variables.values())


def shrunk(suspect: Suspect) -> Suspect | None:
    """The same mistake in the same formula on small inputs; None where there it can't be, or isn't, seen."""
    case = suspect.case
    if case is None or suspect.formula is None:
        return None
    coded = suspect.rerun is not None
    if case.given is not None and not coded:
        return None
    manual = {} if coded else {suspect.input: case.check.manual[suspect.input]}
    bare = replace(case.check, manual={}, manual_sources={})
    for groups in groupings(bare):
        sizes: dict[Slot, int] = {}
        for position, group in enumerate(groups):
            small = _SMALL + position
            sizes |= {slot: small for slot in group if size_at(bare, slot) > small}
        changed = replace(with_sizes(bare, sizes), manual=manual)
        found = _made(suspect, changed) if sizes else None
        if found is None:
            continue
        made, truth = found
        if coded:
            measured = suspect.measured(made)
            if measured is None:
                continue
            made, gradient = measured
        else:
            gradient = np.asarray(Plan([made.manual[suspect.input]])(made.arrays)[0], np.float64)
        smaller = replace(
            suspect,
            gradient=gradient,
            reference=truth,
            right=partial(_near, truth=truth),
            case=made,
            formula=suspect.formula if coded else made.formulas[suspect.input],
            attempts=[],
            found=[],
            deferred=[],
            _known={},
            _made={},
        )
        if not is_large(smaller) and not smaller.right(smaller.gradient):
            return smaller
    return None


def _made(suspect: Suspect, check: Check) -> tuple[Case, Array] | None:
    """A changed check with the right gradient there; None where something doesn't fit."""
    try:
        with values_of(check):
            made = prepare(check)
            truth = Plan([suspect.derivative(made)])(made.arrays)[0]
    except (GradcheckError, Invalid, ArithmeticError, ValueError, IndexError):
        return None
    return (made, np.asarray(truth, np.float64)) if np.isfinite(truth).all() else None


def _near(array: Array, truth: Array) -> bool:
    error = np.abs(array - truth)
    return bool((error <= _RELATIVE * np.abs(truth).max(initial=0.0)).all())
