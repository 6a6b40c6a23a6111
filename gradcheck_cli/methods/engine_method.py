"""The gradient by the own engine: the graph differentiated, planned and run in float64."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.engine.rounding import written_out
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods.gradients import Estimate, Gradients

if TYPE_CHECKING:
    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.case import Case


def run(case: Case) -> Gradients:
    """Value and gradients, from one plan that shares what both need."""
    start = perf_counter()
    plan = Plan(_outputs(case), limit=memory_limit())
    value, *gradients = plan(case.arrays)
    estimates = {name: Estimate(g) for name, g in zip(case.wrt, gradients, strict=True)}
    return Gradients("engine", estimates, value, seconds=perf_counter() - start, plan=plan)


def rounding_plan(case: Case) -> Plan:
    """The plan of the value and all gradients on which `engine.rounding` measures."""
    return Plan(written_out(_outputs(case)), limit=memory_limit())


def _outputs(case: Case) -> tuple[Expr, ...]:
    wrt = [case.variables[name] for name in case.wrt]
    return (case.output, *differentiate(case.output, wrt, case.upstream))
