"""The gradient by the person's own formula, evaluated untracked by the engine's kernels in float64.

From Python, numbers that their own code computed may stand in its place.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Problem
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods.gradients import Estimate, Gradients

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case


def run(case: Case) -> Gradients:
    """Evaluate the formulas there are; an input without one has no estimate.

    Raises GradcheckError (GC022) where a gradient that was computed has another shape than its input.
    """
    start = perf_counter()
    names = [name for name in case.wrt if name in case.manual]
    values = Plan([case.manual[name] for name in names], limit=memory_limit())(case.arrays)
    estimates = {
        name: Estimate(np.asarray(value, np.float64))
        for name, value in zip(names, values, strict=True)
    }
    for name, computed in case.check.computed.items():
        shape = case.variables[name].shape
        if computed.array.shape != shape:
            message = (
                f"the gradient given for `{name}` has shape {computed.array.shape}, "
                f"but `{name}` has shape {shape}"
            )
            hint = "a gradient has its input's shape: sum over what was broadcast"
            raise GradcheckError(Problem("GC022", message, None, hint))
        estimates[name] = Estimate(computed.array)
    return Gradients("manual", estimates, seconds=perf_counter() - start)
