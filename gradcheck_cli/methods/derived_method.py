"""The gradient by the closed form that the tool derives: what is printed is parsed again and evaluated."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.calculus.derive import read_back
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.lang.printer import print_formulas
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods.assumptions import facts_of, nodes
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.closed_form import derive
from gradcheck_cli.methods.gradients import Estimate, Gradients

if TYPE_CHECKING:
    from gradcheck_cli.methods.assumptions import Assumption
    from gradcheck_cli.methods.case import Case


def run(case: Case) -> Gradients:
    """Derive, print, parse, build and evaluate."""
    start = perf_counter()
    form = derive(case, case.wrt, facts=_facts(case))
    taken = frozenset(case.scope)
    printed = [print_formulas([node], None, taken) for node in form.nodes]
    scope = {**case.scope, UPSTREAM: case.upstream}
    formulas = {name: str(formula) for name, formula in zip(case.wrt, printed, strict=True)}
    facts = tuple(assumption.text for assumption in form.assumptions)
    assumptions = {name: facts for name in case.wrt if name in form.assuming}
    try:
        read = [read_back(formula, scope) for formula in printed]
    except GradcheckError as error:
        return Gradients(
            "derived",
            formulas=formulas,
            assumptions=assumptions,
            unavailable=f"the derived formula can't be read back, a bug in gradcheck: {error.summary}",
            seconds=perf_counter() - start,
        )
    values = Plan(read, limit=memory_limit())(case.arrays)
    estimates = {}
    for name, value in zip(case.wrt, values, strict=True):
        shape = case.variables[name].shape
        estimates[name] = Estimate(np.broadcast_to(np.asarray(value, np.float64), shape))
    seconds = perf_counter() - start
    return Gradients(
        "derived", estimates, formulas=formulas, assumptions=assumptions, seconds=seconds
    )


def _facts(case: Case) -> tuple[Assumption, ...]:
    """What holds of the inputs as they are drawn; where a case has other numbers, what holds of these."""
    facts = facts_of(case.check, case.scope)
    if not facts or case.given is None:
        return facts
    masks = Plan(nodes(facts), limit=memory_limit())(case.arrays)
    return tuple(fact for fact, mask in zip(facts, masks, strict=True) if bool(np.all(mask)))
