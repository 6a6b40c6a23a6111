"""A check's walk with its numbers: every value on the way there, every gradient on the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.calculus.derive import derive
from gradcheck_cli.calculus.trace import Step, Trace, outline, trace
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods.case import UPSTREAM, Case

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_cli.methods.gradients import Array

# Up to so many elements, all are kept.
_MOST_NUMBERS = 6


@dataclass(frozen=True, slots=True)
class Summary:
    """An array in few numbers: all of them where they are few, else what they have in common.

    `low`, `mean` and `high` are of the finite elements, None where there is none. `true` counts those of a
    mask.
    """

    shape: tuple[int, ...]
    dtype: str
    elements: int
    numbers: tuple[float, ...] | None = None
    low: float | None = None
    mean: float | None = None
    high: float | None = None
    nan: int = 0
    infinite: int = 0
    true: int | None = None


@dataclass(frozen=True, slots=True)
class Walk:
    """A trace with its numbers, by the names of its steps.

    `formulas` are the closed forms of the inputs' gradients as `gradcheck derive` prints them, `cotangent`
    the gradient that the sweep starts with (None where that is 1).
    """

    trace: Trace
    values: Mapping[str, Summary]
    gradients: Mapping[str, Summary]
    formulas: Mapping[str, str]
    cotangent: Summary | None


def walk(case: Case) -> Walk:
    """Evaluate the check's expression and its gradient with all that lies between, in float64.

    Raises GradcheckError (GC303) where that needs more memory than a check may take.
    """
    wrt = [case.variables[name] for name in case.wrt]
    names = case.named
    found = trace(case.output, wrt, case.upstream, names)
    steps, arrivals = found.forward, found.backward
    plan = Plan(
        [*(step.node for step in steps), *(arrival.gradient for arrival in arrivals)],
        limit=memory_limit(),
    )
    arrays = plan(case.arrays)
    values, gradients = arrays[: len(steps)], arrays[len(steps) :]
    # A definition in a formula is never called as a step is.
    taken = (*case.scope, *(step.name for step in steps))
    printed = derive(case.output, wrt, case.upstream, names, taken=taken)
    return Walk(
        found,
        {s.name: summary(a, s.node.dtype.name) for s, a in zip(steps, values, strict=True)},
        {
            a.step.name: summary(np.broadcast_to(g, a.step.node.shape), a.step.node.dtype.name)
            for a, g in zip(arrivals, gradients, strict=True)
        },
        {name: str(formula) for name, formula in zip(case.wrt, printed, strict=True)},
        summary(case.arrays[UPSTREAM], "float64") if case.output.ndim else None,
    )


def steps_of(case: Case) -> tuple[Step, ...]:
    """The forward steps of a check; nothing is computed."""
    return outline(case.output, [case.variables[name] for name in case.wrt], case.named)


def summary(array: Array, dtype: str) -> Summary:
    """What `array`, of a type called `dtype`, is in few numbers: of complex ones, their absolute values."""
    shape, elements = array.shape, array.size
    if array.dtype.kind == "c":
        array = np.abs(array)
    if array.dtype.kind == "b":
        count = int(np.count_nonzero(array))
        return Summary(shape, dtype, elements, _numbers(array), true=count)
    nan = infinite = 0
    if array.dtype.kind == "f":
        finite = np.isfinite(array)
        if not finite.all():
            nan = int(np.count_nonzero(np.isnan(array)))
            infinite = elements - int(np.count_nonzero(finite)) - nan
            low, mean, high = _spread(array[finite])
            return Summary(shape, dtype, elements, _numbers(array), low, mean, high, nan, infinite)
    return Summary(shape, dtype, elements, _numbers(array), *_spread(array))


def _numbers(array: Array) -> tuple[float, ...] | None:
    return tuple(array.ravel().tolist()) if array.size <= _MOST_NUMBERS else None


def _spread(array: Array) -> tuple[float | None, float | None, float | None]:
    """The smallest, the mean and the largest."""
    if not array.size:
        return None, None, None
    with np.errstate(all="ignore"):
        return float(array.min()), float(array.mean(dtype=np.float64)), float(array.max())
