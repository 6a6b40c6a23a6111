"""The gradient by the own engine: the graph differentiated, planned and run in float64."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.methods.gradients import Estimate, Gradients
from gradcheck_cli.limits import memory_limit

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case


def run(case: Case) -> Gradients:
    """Value and gradients, from one plan that shares what both need."""
    start = perf_counter()
    plan = plan_of(case)
    value, *gradients = plan(case.arrays)
    estimates = {name: Estimate(g) for name, g in zip(case.wrt, gradients, strict=True)}
    return Gradients("engine", estimates, value, seconds=perf_counter() - start)


def plan_of(case: Case) -> Plan:
    """The plan of the value and all gradients."""
    wrt = [case.variables[name] for name in case.wrt]
    gradients = differentiate(case.output, wrt, case.upstream)
    return Plan([case.output, *gradients], limit=memory_limit())
