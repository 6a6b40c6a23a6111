"""The gradient without any derivative rule: complex step where the graph is analytic, else differences.

Complex step: Squire and Trapp, SIAM Review 40 (1998): Im f(x + ih) / h has no cancellation. Differences:
central, at three step sizes, extrapolated (Richardson), each with an estimate of its error from the tableau
and from the function's rounding; where that stays large, smaller steps, and at last the two one-sided slopes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import INPUT, Expr, topological
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.gradients import Array, Estimate, Gradients
from gradcheck_cli.limits import memory_limit

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case

_EPS = 2.0**-52
# The imaginary step relative to the input: so small that its square vanishes beside 1.
_COMPLEX_STEP = 2.0**-100
# First steps of the three tableaus tried, relative to the input's magnitude.
_FIRST_STEPS = (2.0**-6, 2.0**-13, 2.0**-20)
# An estimate this good, relative to the gradient's size, needs no smaller step.
_GOOD = 1e-8
_SIDE_STEPS = (2.0**-22, 2.0**-26)
# Rounding of a kernel's result, in units of its last place.
_KERNEL_ROUNDING = 4.0
# Inputs with more elements than this are checked at a seeded sample of as many.
MAX_ELEMENTS = 1024

Function = Callable[[Array], Array]


def run(case: Case) -> Gradients:
    """Differentiate along every element of every checked input."""
    start = perf_counter()
    output, weight = _before_reduction(case)
    analytic = all(node.op.analytic or not node.args for node in topological([output]))
    plan = Plan([output], limit=memory_limit())
    estimates = {}
    for name in case.wrt:
        function = plan.partial(case.arrays, name)
        path = _diagonal(output, case.variables[name])
        problem = _Direction(function, case.arrays[name], weight, diagonal=path)
        picked = _picked(case, name, diagonal=path)
        estimates[name] = _complex_step(problem, picked) if analytic else _differences(problem, picked)
    value = Plan([case.output])(case.arrays)[0] if case.check.methods == ("numeric",) else None
    return Gradients("numeric", estimates, value, seconds=perf_counter() - start)


def _before_reduction(case: Case) -> tuple[Expr, Array]:
    """The expression without a final full sum or mean, and the weight of each of its elements.

    Differences taken before the sum keep the rounding of the other terms out of them.
    """
    output, weight = case.output, case.arrays[UPSTREAM]
    while output.op.name in ("sum", "mean") and output.ndim == 0 and output.inputs[0].dtype.is_floating:
        inner = output.inputs[0]
        if output.op.name == "mean" and not inner.elements:
            break
        scale = 1.0 if output.op.name == "sum" else 1.0 / inner.elements
        output, weight = inner, np.broadcast_to(weight * scale, inner.shape)
    return output, np.asarray(weight)


def _diagonal(output: Expr, x: Expr) -> bool:
    """Whether element i of the output depends on element i of the input alone.

    True where all between them works element by element on arrays of one shape: then one evaluation
    serves all elements at once.
    """
    if output.shape != x.shape:
        return False
    depends = {x}
    for node in topological([output]):
        if node.op is not INPUT and any(arg in depends for arg in node.inputs):
            if not node.op.elementwise or any(
                arg in depends and arg.shape != x.shape for arg in (node, *node.inputs)
            ):
                return False
            depends.add(node)
    return True


def _picked(case: Case, name: str, *, diagonal: bool) -> Array | None:
    """The flat indices to differentiate along; None for all at once."""
    count = case.variables[name].elements
    if diagonal:
        return None
    if count <= MAX_ELEMENTS:
        return np.arange(count)
    rng = np.random.default_rng(case.check.seed)
    return np.sort(rng.choice(count, MAX_ELEMENTS, replace=False))


@dataclass(frozen=True)
class _Direction:
    """A function of one input, its point, and the weights that its outputs are contracted with."""

    function: Function
    point: Array
    weight: Array
    diagonal: bool

    def steps(self) -> Array:
        """The magnitude of a step in each element: its own, or a typical one's where it is zero."""
        size = np.abs(self.point)
        finite = size[np.isfinite(size) & (size > 0)]
        typical = float(np.median(finite)) if finite.size else 1.0
        return np.where(size > typical * 1e-3, size, typical)

    def contract(self, values: Array) -> Array:
        """Output changes to gradient: summed, or one by one where the Jacobian is diagonal."""
        product = self.weight * values
        return product if self.diagonal else np.asarray(product.sum())

    def contract_sizes(self, values: Array) -> Array:
        """The same of absolute values: what rounding of every term may add up to."""
        product = np.abs(self.weight) * np.abs(values)
        return product if self.diagonal else np.asarray(product.sum())

    def at(self, index: int | None, step: Any) -> Array:
        """The outputs at the point moved by `step` in one element, or in all at once."""
        if index is None:
            return self.function(self.point + step)
        moved = self.point.astype(np.result_type(self.point, type(step)), copy=True)
        moved.reshape(-1)[index] += step
        return self.function(moved)


def _targets(problem: _Direction, picked: Array | None) -> list[tuple[int | None, Any]]:
    """Each differentiation to do: which element, and its magnitude."""
    steps = problem.steps()
    if picked is None:
        return [(None, steps)]
    flat = steps.reshape(-1)
    return [(int(index), float(flat[index])) for index in picked]


def _collect(
    problem: _Direction, picked: Array | None, results: list[tuple[Any, ...]]
) -> list[Array]:
    """Results of all differentiations, as arrays in the input's shape."""
    shape = problem.point.shape
    width = len(results[0]) if results else 2
    columns = []
    for column in range(width):
        if picked is None:
            columns.append(np.broadcast_to(results[0][column], shape).astype(np.float64))
            continue
        whole = np.zeros(problem.point.size)
        whole[picked] = [float(result[column]) for result in results]
        columns.append(whole.reshape(shape))
    return columns


def _mask(problem: _Direction, picked: Array | None) -> Array | None:
    if picked is None or picked.size == problem.point.size:
        return None
    mask = np.zeros(problem.point.size, bool)
    mask[picked] = True
    return mask.reshape(problem.point.shape)


def _note(problem: _Direction, picked: Array | None) -> str | None:
    if _mask(problem, picked) is None:
        return None
    assert picked is not None
    return f"{picked.size} of {problem.point.size} elements, drawn by the seed"


def _complex_step(problem: _Direction, picked: Array | None) -> Estimate:
    results = []
    with np.errstate(all="ignore"):
        for index, size in _targets(problem, picked):
            step = size * _COMPLEX_STEP
            slopes = problem.at(index, 1j * step).imag / step
            rounding = _EPS * _KERNEL_ROUNDING * problem.contract_sizes(slopes)
            results.append((problem.contract(slopes), rounding))
    gradient, error = _collect(problem, picked, results)
    return Estimate(gradient, error, sampled=_mask(problem, picked), note=_note(problem, picked))


def _differences(problem: _Direction, picked: Array | None) -> Estimate:
    results = []
    with np.errstate(all="ignore"):
        base = problem.function(problem.point)
        for index, size in _targets(problem, picked):
            results.append(_element(problem, base, index, size))
    gradient, error, low, high, kinks = _collect(problem, picked, results)
    return Estimate(
        gradient,
        error,
        low,
        high,
        int(kinks.sum()),
        sampled=_mask(problem, picked),
        note=_note(problem, picked),
    )


def _element(problem: _Direction, base: Array, index: int | None, size: Any) -> tuple[Any, ...]:
    """Gradient, error, one-sided bounds and whether it is a kink, for one element or all at once."""
    gradient = error = None
    for first in _FIRST_STEPS:
        slope, doubt = _tableau(problem, index, first * size)
        if gradient is None or error is None:
            gradient, error = slope, doubt
        else:
            better = doubt < error
            gradient, error = np.where(better, slope, gradient), np.where(better, doubt, error)
        if np.all(error <= _GOOD * np.abs(gradient)):
            break
    low, high, kink = gradient, gradient, np.zeros_like(gradient, bool)
    unsure = ~(error <= 1e-5 * np.maximum(np.abs(gradient), 1e-8))
    if np.any(unsure):
        sides = _sides(problem, base, index, size)
        kink = unsure & sides[2]
        low, high = np.where(kink, sides[0], gradient), np.where(kink, sides[1], gradient)
        gradient = np.where(kink, (low + high) / 2, gradient)
        error = np.where(kink, sides[3], error)
    return gradient, error, low, high, kink


def _tableau(problem: _Direction, index: int | None, step: Any) -> tuple[Array, Array]:
    """Richardson's extrapolation of three central differences, and its error estimate."""
    slopes, noise = [], np.asarray(0.0)
    for halving in range(3):
        # The step actually taken: what addition rounds away must not enter the quotient.
        wide = _exact(problem, index, step / 2**halving)
        above, below = problem.at(index, wide), problem.at(index, -wide)
        slopes.append(problem.contract((above - below) / (2 * wide)))
        size = (np.abs(above) + np.abs(below)) * (above != below)
        noise = _EPS * _KERNEL_ROUNDING * problem.contract_sizes(size / (2 * wide))
    once = [(4 * slopes[k + 1] - slopes[k]) / 3 for k in range(2)]
    twice = (16 * once[1] - once[0]) / 15
    return twice, np.abs(twice - once[1]) + noise


def _exact(problem: _Direction, index: int | None, step: Any) -> Any:
    point = problem.point if index is None else problem.point.reshape(-1)[index]
    return (point + step) - point


def _sides(
    problem: _Direction, base: Array, index: int | None, size: Any
) -> tuple[Array, Array, Array, Array]:
    """The lower and upper one-sided slope, whether they make a kink, and their uncertainty.

    A kink has one-sided slopes that no longer depend on the step, and that differ from one another; a jump
    has slopes that grow as the step shrinks.
    """
    ahead, behind = [], []
    for step in _SIDE_STEPS:
        wide = _exact(problem, index, step * size)
        ahead.append(problem.contract((problem.at(index, wide) - base) / wide))
        behind.append(problem.contract((base - problem.at(index, -wide)) / wide))
    drift = np.maximum(np.abs(ahead[1] - ahead[0]), np.abs(behind[1] - behind[0]))
    gap = np.abs(ahead[1] - behind[1])
    scale = np.maximum(np.abs(ahead[1]), np.abs(behind[1]))
    low, high = np.minimum(ahead[1], behind[1]), np.maximum(ahead[1], behind[1])
    return low, high, (drift <= 1e-3 * scale) & (gap > 1e-3 * scale), drift + 1e-6 * scale
