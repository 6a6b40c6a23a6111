"""The gradient by the closed form that the tool derives: what is printed is parsed again and evaluated."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.calculus.derive import derive, read_back
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.gradients import Estimate, Gradients

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case


def run(case: Case) -> Gradients:
    """Derive, print, parse, build and evaluate."""
    start = perf_counter()
    names = {case.scope[name]: name for name in case.let if case.scope[name].args}
    wrt = [case.variables[name] for name in case.wrt]
    printed = derive(case.output, wrt, case.upstream, names, taken=case.scope)
    scope = {**case.scope, UPSTREAM: case.upstream}
    formulas = {name: str(formula) for name, formula in zip(case.wrt, printed, strict=True)}
    try:
        nodes = [read_back(formula, scope) for formula in printed]
    except GradcheckError as error:
        return Gradients(
            "derived",
            formulas=formulas,
            unavailable=f"the derived formula can't be read back, a bug in gradcheck: {error}",
            seconds=perf_counter() - start,
        )
    values = Plan(nodes, limit=memory_limit())(case.arrays)
    estimates = {}
    for name, value in zip(case.wrt, values, strict=True):
        shape = case.variables[name].shape
        estimates[name] = Estimate(np.broadcast_to(np.asarray(value, np.float64), shape))
    return Gradients("derived", estimates, formulas=formulas, seconds=perf_counter() - start)
