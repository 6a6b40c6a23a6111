"""The gradient without any derivative rule: complex step where the graph is analytic, else differences.

Complex step: Squire and Trapp, SIAM Review 40 (1998): Im f(x + ih) / h has no cancellation. It is held to a
central difference, so that a kernel which isn't analytic after all can't mislead it. Elementwise expressions
are gone through in pieces however large; other inputs too large to go through element by element are
measured along a few random directions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.engine.rounding import disturbance
from gradcheck_cli.graph import Expr, rebuild, topological, variable
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods.branches import passes_complex, written
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.differences import noise_of, slopes_of
from gradcheck_cli.methods.gradients import KINK, Array, Estimate, Gradients
from gradcheck_cli.methods.probes import (
    CHECK_SHARE,
    CHECK_STEP,
    COMPLEX_STEP,
    KERNEL_ROUNDING,
    PROBES,
    probe,
)
from gradcheck_cli.methods.sides import Slopes
from gradcheck_cli.methods.sweep import EPS, Problem, Sweep, is_diagonal, one_by_one, sweeps_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck_cli.methods.case import Case

# What going through all elements may cost, in elements computed; beyond it, probes. About a second.
AFFORDABLE = 2e8
# A kernel call costs as much as this many elements; a multiply-add of BLAS is this much cheaper than one.
_CALL = 1000
_BLAS = 8
_DIFFERENCES_EVALUATIONS = 6
_NOISE_DRAWS = 2
# Elementwise expressions of so many elements are gone through in pieces.
LARGE = 1 << 16
_EVERYTHING = Sweep(slice(None), 1)


def run(case: Case, affordable: float = AFFORDABLE) -> Gradients:
    """Differentiate along every element of every checked input, or along random directions.

    Every element is tried where that costs no more than `affordable`, in elements computed.
    """
    start = perf_counter()
    output, weight = _before_reduction(case)
    output, arrays = _frozen(output, case.arrays)
    plan = Plan([output], limit=memory_limit())
    order = topological([output])
    estimates = {}
    with np.errstate(all="ignore"):
        for name in case.wrt:
            x = case.variables[name]
            problem = Problem(plan.partial(arrays, name), arrays[name], weight)
            task = _Task(
                problem, output, x, _between(order, x), case.check.seed, arrays, affordable
            )
            estimates[name] = task.estimate()
    value = Plan([case.output])(case.arrays)[0] if case.check.methods == ("numeric",) else None
    return Gradients("numeric", estimates, value, seconds=perf_counter() - start)


def _before_reduction(case: Case) -> tuple[Expr, Array]:
    """The expression without a final full sum or mean, and the weight of each of its elements.

    Differences taken before the sum keep the rounding of the other terms out of them. Numbers that the sum
    is multiplied with, and its sign, go to the weights.
    """
    output, weight = case.output, case.arrays[UPSTREAM]
    while output.ndim == 0:
        inner, factor = _linear(output)
        if inner is None or not (inner.dtype.is_floating and inner.elements):
            break
        output, weight = inner, np.broadcast_to(weight * factor, inner.shape)
    return output, np.asarray(weight)


def _linear(output: Expr) -> tuple[Expr | None, float]:
    """What a number is the sum of but for a factor, and the factor; None for what is no such sum."""
    name, args = output.op.name, output.args
    if name in ("sum", "mean"):
        inner = output.inputs[0]
        return inner, 1.0 / max(1, inner.elements) if name == "mean" else 1.0
    if name == "neg":
        return args[0], -1.0
    if name not in ("mul", "div"):
        return None, 1.0
    first, second = (None if arg is None else arg.value for arg in args)
    if second is not None:
        return args[0], float(second) if name == "mul" else 1.0 / float(
            second
        ) if second else np.inf
    return (args[1], float(first)) if first is not None and name == "mul" else (None, 1.0)


def _frozen(output: Expr, arrays: Mapping[str, Array]) -> tuple[Expr, Mapping[str, Array]]:
    """The expression with what is detached made an input of its own, at the value that it has here."""
    order = topological([output])
    detached = [node for node in order if node.op.name == "detach"]
    if not detached:
        return output, arrays
    names = [f"detached {k}" for k in range(len(detached))]
    values = Plan(detached, limit=memory_limit())(arrays)
    replaced = {
        node: variable(name, node.shape, node.dtype)
        for node, name in zip(detached, names, strict=True)
    }
    for node in order:
        if node not in replaced:
            replaced[node] = rebuild(node, lambda below: replaced.get(below, below))
    return replaced[output], {**arrays, **dict(zip(names, values, strict=True))}


def _between(order: Sequence[Expr], x: Expr) -> list[Expr]:
    """The nodes that depend on `x`: on its values, not on its size alone."""
    depends = {x}
    found = []
    for node in order:
        if node.value is None and any(arg in depends for arg in node.inputs):
            depends.add(node)
            found.append(node)
    return found


def _work(node: Expr) -> float:
    """What a kernel call costs, in elements computed."""
    touched = node.elements + sum(arg.elements for arg in node.inputs)
    return _CALL + (touched**1.5 / _BLAS if node.op.cubic else touched)


@dataclass(frozen=True)
class _Task:
    """The gradient of one input. `between` are the nodes between it and the output."""

    problem: Problem
    output: Expr
    x: Expr
    between: Sequence[Expr]
    seed: int
    arrays: Mapping[str, Array]
    affordable: float

    @property
    def analytic(self) -> bool:
        """Whether a complex number passes through."""
        return all(map(passes_complex, self.between))

    def estimate(self) -> Estimate:
        """By a complex step if that is confirmed, else by differences."""
        if not self.x.elements or not (self.between or self.output is self.x):
            return Estimate(np.zeros(self.x.shape))
        if self.x.elements >= LARGE and is_diagonal(self.output, self.x, self.between):
            return self._in_pieces()
        work = sum(_work(node) for node in self.between)
        times = 1 if self.analytic else _DIFFERENCES_EVALUATIONS
        few = work * times * 2 * self.x.elements <= self.affordable
        sweeps = sweeps_of(self.problem, self.output, self.x, self.between, group=few)
        evaluations = sum(s.evaluations for s in sweeps) if sweeps else self.x.elements
        if work * times * evaluations > self.affordable and evaluations > PROBES:
            noise = partial(_noise, self.problem, self.seed)
            return probe(self.problem, self.seed, continued=self._continued(), noise=noise)
        sweeps = sweeps or one_by_one(self.x.elements, self.problem.weight.size)
        if self.analytic:
            slopes = _together(sweeps, [_complex_step(self.problem, s) for s in sweeps])
            if self._confirmed(sweeps, slopes).all():
                return self._made(slopes, exact=True)
        return self._by_differences(sweeps)

    def _continued(self) -> Callable[..., Array] | None:
        """The function at complex points; None where there is none."""
        if self.analytic:
            return self.problem.evaluate
        made: dict[Expr, Expr] = {}
        if not written(self.between, made, elementwise=False):
            return None
        plan = Plan([made[self.output]], limit=memory_limit())
        return plan.partial(self.arrays, self.x.attributes["name"])

    def _in_pieces(self) -> Estimate:
        from gradcheck_cli.methods.pieces import Pieces

        pieces = Pieces(self.output, self.x, self.between, self.arrays, self.problem.weight)
        return pieces.estimate(self._differences)

    def _differences(self, problem: Problem) -> Slopes:
        return slopes_of(
            problem, Sweep(slice(None), problem.point.size), _noise(problem, self.seed)
        )

    def _by_differences(self, sweeps: Sequence[Sweep]) -> Estimate:
        noise = _noise(self.problem, self.seed)
        slopes = _together(sweeps, [slopes_of(self.problem, s, noise) for s in sweeps])
        if sweeps[0].is_diagonal:
            return self._made(slopes, exact=False)
        smooth = self._confirmed(sweeps, slopes).all()
        if sweeps[0].labels is not None and not smooth:
            # Elements that seemed not to meet do so after all, or some are at a kink.
            sweeps = one_by_one(self.x.elements, self.problem.weight.size)
            slopes = _together(sweeps, [slopes_of(self.problem, s, noise) for s in sweeps])
            smooth = self._confirmed(sweeps, slopes).all()
        if smooth and not (slopes.place == KINK).any():
            return self._made(slopes, exact=False)
        # It takes longer to import than a check without kinks takes to run.
        from gradcheck_cli.methods.ties import look

        slopes, ties = look(self.problem, sweeps, slopes, noise, self.seed)
        return replace(self._made(slopes, exact=False), ties=ties)

    def _made(self, slopes: Slopes, *, exact: bool) -> Estimate:
        slope, error, low, high, scale, place = (array.reshape(self.x.shape) for array in slopes)
        if exact:
            return Estimate(slope, error, scale=scale)
        kinks = int(np.count_nonzero(place == KINK))
        places = place.astype(np.int8) if place.any() else None
        return Estimate(slope, error, low, high, kinks, scale, places=places)

    def _confirmed(self, sweeps: Sequence[Sweep], slopes: Slopes) -> Array:
        """Whether a difference along a random direction is what the slopes say, for each label."""
        first, problem = sweeps[0], self.problem
        away = problem.sizes * CHECK_STEP
        if first.apart or len(sweeps) > 1:
            # Of all lengths: an even kink at which signs alone cancel must not look smooth.
            rng = np.random.default_rng(self.seed)
            away = away * rng.choice((-1.0, 1.0), away.size) * rng.uniform(1.0, 2.0, away.size)
        above, below = problem.at(_EVERYTHING, away), problem.at(_EVERYTHING, -away)
        change = problem.weight * (above - below) / 2
        products, doubts = slopes.slope * away, slopes.error * np.abs(away)
        products[np.isinf(doubts)] = 0.0
        if first.apart:
            first = _EVERYTHING
            expected, doubt = first.gather(products), first.gather(doubts)
        else:
            expected = np.sum([products[s.moved] for s in sweeps], axis=0)
            doubt = np.sum([doubts[s.moved] for s in sweeps], axis=0)
        rounding = EPS * KERNEL_ROUNDING * np.abs(problem.weight) * np.abs(above)
        allowed = CHECK_SHARE * first.gather(np.abs(change)) + first.gather(rounding) + doubt
        return np.asarray(np.abs(first.gather(change) - expected) <= allowed)


def _noise(problem: Problem, seed: int) -> Array:
    disturbed = [
        problem.function(problem.point, disturbance("float64", seed, draw, opposite=opposite))
        for draw in range(_NOISE_DRAWS)
        for opposite in (False, True)
    ]
    return noise_of(problem, disturbed)


def _together(sweeps: Sequence[Sweep], results: Sequence[Slopes]) -> Slopes:
    """The sweeps' results put in the input's order, flat."""
    if len(sweeps) == 1:
        return results[0]
    rows = np.concatenate([np.stack(result) for result in results], axis=1)
    ordered = np.empty_like(rows)
    ordered[:, np.concatenate([sweep.moved for sweep in sweeps])] = rows
    return Slopes(*ordered)


def _complex_step(problem: Problem, sweep: Sweep) -> Slopes:
    step = problem.sizes[sweep.moved] * COMPLEX_STEP
    change = problem.weight * problem.at(sweep, 1j * step).imag
    slope = sweep.gather(change) / step
    scale = sweep.gather(np.abs(change)) / step
    place = np.zeros(slope.shape, np.int8)
    return Slopes(slope, EPS * KERNEL_ROUNDING * scale, slope, slope, scale, place)
