"""The gradient by the person's own formula, evaluated untracked by the engine's kernels in float64."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods.gradients import Estimate, Gradients

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case


def run(case: Case) -> Gradients:
    """Evaluate the formulas there are; an input without one has no estimate."""
    start = perf_counter()
    names = [name for name in case.wrt if name in case.manual]
    values = Plan([case.manual[name] for name in names], limit=memory_limit())(case.arrays)
    estimates = {
        name: Estimate(np.asarray(value, np.float64))
        for name, value in zip(names, values, strict=True)
    }
    return Gradients("manual", estimates, seconds=perf_counter() - start)
