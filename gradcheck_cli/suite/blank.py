"""The outcome of a check that has not run: everything that is known of it beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.suite.selection.collect import reproduce
from gradcheck_cli.verdict.outcome import CheckOutcome, InputOutcome

if TYPE_CHECKING:
    from gradcheck_cli.spec.check import Check


def blank(check: Check) -> CheckOutcome:
    """An outcome with the check's own facts and the status `error`, for the run to replace."""
    return CheckOutcome(
        id=check.id,
        name=check.name,
        status="error",
        file=check.file,
        line=check.line,
        device=check.device,
        dtype=check.dtype,
        seed=check.seed,
        expression=check.expression.text,
        implementation="" if check.implementation is None else check.implementation.target,
        manual={name: source.where(0, len(source.text)) for name, source in check.manual.items()},
        reproduce=reproduce(check),
        description=check.description,
        tags=check.tags,
        order=check.order,
        inputs=tuple(
            InputOutcome(spec.name, spec.shape, spec.dtype or check.dtype, spec.name in check.wrt)
            for spec in check.inputs
        ),
        let={name: source.text for name, source in check.let},
        formulas={name: source.text for name, source in check.manual.items()},
    )
