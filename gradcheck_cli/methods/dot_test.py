"""Forward against backward: <v, J u> = <J^T v, u> for every cotangent v and direction u.

The left side by PyTorch's forward mode, which has formulas of its own, and by differences along u, which have
none; the right side by the backward passes of PyTorch and of the engine (Claerbout, Earth Soundings Analysis,
1992, chapter 5: the dot-product test). A mistake in one of them shows without looking at elements.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.graph import Expr, rebuild, topological, variable
from gradcheck_cli.methods import run
from gradcheck_cli.methods.second_order import fresh, second_order
from gradcheck_cli.methods.sweep import Problem
from gradcheck_cli.spec.check import InputSpec

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array

# Two products that are nearer to each other than this part of what lies between the two backward passes are
# the same; and the other is then contradicted.
_NEAR = 0.05


@dataclass(frozen=True, slots=True)
class DotTest:
    """The products along one direction: by PyTorch's and the engine's backward pass, and by two other ways.

    `forward` is PyTorch's forward mode, None where that has no formula; `error` bounds the `difference`'s.
    """

    torch: float
    engine: float
    forward: float | None
    difference: float
    error: float

    def sentence(self, wrong: str) -> str | None:
        """What the test adds to the accusation that `wrong` (torch or engine) is; None if nothing."""
        if self.forward is None:
            return None
        ours = self._near(self.forward, self.engine)
        theirs = self._near(self.forward, self.torch)
        if wrong == "torch" and ours and not theirs:
            return "PyTorch's forward mode agrees with the engine and contradicts its own backward pass"
        if wrong == "torch" and theirs and not ours:
            return "PyTorch's forward mode makes the same mistake as its backward pass"
        if wrong == "engine" and theirs and not ours:
            return "PyTorch's forward mode agrees with its backward pass"
        return None

    def sides_with(self) -> str | None:
        """Whose backward pass the differences confirm: torch, engine, or None where they can't tell."""
        ours = self._near(self.difference, self.engine, self.error)
        theirs = self._near(self.difference, self.torch, self.error)
        return None if ours == theirs else "engine" if ours else "torch"

    def _near(self, a: float, b: float, error: float = 0.0) -> bool:
        if not (np.isfinite(a) and np.isfinite(b)):
            return False
        apart = abs(self.torch - self.engine)
        if not np.isfinite(apart):
            apart = max(abs(a), abs(b))
        return abs(a - b) + error <= _NEAR * apart


def dot_test(case: Case, name: str, order: int = 1) -> DotTest:
    """The test of one input's gradient, of this order, along one seeded direction of random signs.

    Each element counts by its magnitude, or a typical one's. Imports PyTorch.
    """
    if order == 2:
        case = second_order(case)
    point = np.asarray(case.arrays[name], np.float64)
    sizes = Problem(lambda x: x, point, point).sizes.reshape(point.shape)
    rng = np.random.default_rng((case.check.seed, point.size))
    direction = np.asarray(sizes * (rng.integers(0, 2, point.shape) * 2.0 - 1.0))
    theirs, ours = (_backward(method, case, name, direction) for method in ("torch", "engine"))
    from gradcheck_cli.methods.torch_method import forward_product

    line, time = along(case, name, direction)
    found = run("numeric", line).estimates[time]
    error = 0.0 if found.error is None else float(found.error)
    difference = float(found.gradient)
    forward = forward_product(case, name, direction)
    return DotTest(theirs, ours, forward, difference, error)


def _backward(method: str, case: Case, name: str, direction: Array) -> float:
    """<J^T v, u>; NaN where the method has no gradient."""
    estimate = run(method, case).estimates.get(name)
    return float("nan") if estimate is None else float((estimate.gradient * direction).sum())


def along(case: Case, name: str, direction: Array) -> tuple[Case, str]:
    """The case of one number, 0, that moves an input by so many times a direction of its shape; its name."""
    x = case.variables[name]
    time, moving = (fresh(wanted, case.arrays) for wanted in ("t", "u"))
    t, u = variable(time, ()), variable(moving, x.shape)
    made: dict[Expr, Expr] = {x: x + t * u}
    for node in topological([case.output]):
        if node not in made:
            made[node] = rebuild(node, lambda below: made.get(below, below))
    spec = InputSpec(time, (), case.check.expression)
    line = replace(
        case,
        check=replace(case.check, inputs=(*case.check.inputs, spec), wrt=(time,)),
        variables={**case.variables, time: t},
        output=made[case.output],
        given={**case.arrays, time: np.zeros(()), moving: direction},
    )
    return line, time
