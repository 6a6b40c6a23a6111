"""The gradient without any derivative rule: complex step where the graph is analytic, else differences.

Complex step: Squire and Trapp, SIAM Review 40 (1998): Im f(x + ih) / h has no cancellation. It is held to a
central difference, so that a kernel which isn't analytic after all can't mislead it. Inputs too large to go
through element by element are measured along a few random directions.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.engine.rounding import disturbance
from gradcheck_cli.graph import Expr, rebuild, topological, variable
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.differences import Slopes, noise_of, slopes_of
from gradcheck_cli.methods.gradients import Array, Estimate, Gradients, Probes
from gradcheck_cli.methods.sweep import EPS, Problem, Sweep, one_by_one, sweeps_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.methods.case import Case

# The imaginary step relative to the input: so small that its square vanishes beside 1.
_COMPLEX_STEP = 2.0**-100
# Rounding of a result that several kernels had a part in, in units of its last place.
_KERNEL_ROUNDING = 4.0
# The step of the difference that a complex step is held to, and how far they may lie apart: that step's
# truncation is far below, a kink or a wrong kernel far above.
_CHECK_STEP, _CHECK_SHARE = 2.0**-20, 2.0**-12
# What going through all elements may cost, in elements computed; beyond it, probes. About a second.
_AFFORDABLE = 2e8
# A kernel call costs as much as this many elements; a multiply-add of BLAS is this much cheaper than one.
_CALL = 1000
_BLAS = 8
_DIFFERENCES_EVALUATIONS = 6
_NOISE_DRAWS = 2
PROBES = 8
_EVERYTHING = Sweep(slice(None), 1)


def run(case: Case) -> Gradients:
    """Differentiate along every element of every checked input, or along random directions."""
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
            task = _Task(problem, output, x, _between(order, x), case.check.seed)
            estimates[name] = task.estimate()
    value = Plan([case.output])(case.arrays)[0] if case.check.methods == ("numeric",) else None
    return Gradients("numeric", estimates, value, seconds=perf_counter() - start)


def _before_reduction(case: Case) -> tuple[Expr, Array]:
    """The expression without a final full sum or mean, and the weight of each of its elements.

    Differences taken before the sum keep the rounding of the other terms out of them.
    """
    output, weight = case.output, case.arrays[UPSTREAM]
    while (
        output.op.name in ("sum", "mean")
        and output.ndim == 0
        and output.inputs[0].dtype.is_floating
        and output.inputs[0].elements
    ):
        inner = output.inputs[0]
        scale = 1.0 if output.op.name == "sum" else 1.0 / inner.elements
        output, weight = inner, np.broadcast_to(weight * scale, inner.shape)
    return output, np.asarray(weight)


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
    """The nodes that depend on `x`."""
    depends = {x}
    found = []
    for node in order:
        if any(arg in depends for arg in node.inputs):
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

    @property
    def analytic(self) -> bool:
        """Whether a complex number passes through: a mask decides by the real part."""
        return all(node.op.analytic or node.dtype.kind == "b" for node in self.between)

    def estimate(self) -> Estimate:
        """By a complex step if that is confirmed, else by differences."""
        if not self.x.elements or not (self.between or self.output is self.x):
            return Estimate(np.zeros(self.x.shape))
        work = sum(_work(node) for node in self.between)
        times = 1 if self.analytic else _DIFFERENCES_EVALUATIONS
        few = work * times * 2 * self.x.elements <= _AFFORDABLE
        sweeps = sweeps_of(self.problem, self.output, self.x, self.between, group=few)
        evaluations = sum(sweep.evaluations for sweep in sweeps)
        if work * times * evaluations > _AFFORDABLE and evaluations > PROBES:
            return self._probes()
        if self.analytic:
            slopes = _together(sweeps, [_complex_step(self.problem, s) for s in sweeps])
            if self._confirmed(sweeps, slopes).all():
                return self._made(slopes, exact=True)
        noise = self._noise()
        slopes = _together(sweeps, [slopes_of(self.problem, s, noise) for s in sweeps])
        if sweeps[0].labels is not None and not self._confirmed(sweeps, slopes).all():
            # Elements that seemed not to meet do so after all, or some are at a kink.
            sweeps = one_by_one(self.x.elements, self.problem.weight.size)
            slopes = _together(sweeps, [slopes_of(self.problem, s, noise) for s in sweeps])
        return self._made(slopes, exact=False)

    def _noise(self) -> Array:
        function, point = self.problem.function, self.problem.point
        disturbed = [
            function(point, disturbance("float64", self.seed, draw, opposite=opposite))
            for draw in range(_NOISE_DRAWS)
            for opposite in (False, True)
        ]
        return noise_of(self.problem, disturbed)

    def _made(self, slopes: Slopes, *, exact: bool) -> Estimate:
        slope, error, low, high, scale = (array.reshape(self.x.shape) for array in slopes)
        if exact:
            return Estimate(slope, error, scale=scale)
        kinks = int(np.count_nonzero(low < high))
        return Estimate(slope, error, low, high, kinks, scale)

    def _confirmed(self, sweeps: Sequence[Sweep], slopes: Slopes) -> Array:
        """Whether a difference along a random direction is what the slopes say, for each label."""
        first, problem = sweeps[0], self.problem
        away = problem.sizes * _CHECK_STEP
        if first.apart or len(sweeps) > 1:
            away = away * np.random.default_rng(self.seed).choice((-1.0, 1.0), away.size)
        above, below = problem.at(_EVERYTHING, away), problem.at(_EVERYTHING, -away)
        change = problem.weight * (above - below) / 2
        products, doubts = slopes.slope * away, slopes.error * np.abs(away)
        if first.apart:
            first = _EVERYTHING
            expected, doubt = first.gather(products), first.gather(doubts)
        else:
            expected = np.sum([products[s.moved] for s in sweeps], axis=0)
            doubt = np.sum([doubts[s.moved] for s in sweeps], axis=0)
        rounding = EPS * _KERNEL_ROUNDING * np.abs(problem.weight) * np.abs(above)
        allowed = _CHECK_SHARE * first.gather(np.abs(change)) + first.gather(rounding) + doubt
        return np.asarray(np.abs(first.gather(change) - expected) <= allowed)

    def _probes(self) -> Estimate:
        count, shape = self.x.elements, self.x.shape

        def direction(k: int) -> Array:
            signs = np.random.default_rng((self.seed, k)).integers(0, 2, count, np.int8)
            return np.asarray((signs * 2.0 - 1.0) * self.problem.sizes).reshape(shape)

        along = self._along()
        measured = [along(direction(k)) for k in range(PROBES)]
        slopes, errors = (np.array(column) for column in zip(*measured, strict=True))
        return Estimate(
            np.broadcast_to(np.nan, shape),
            probes=Probes(slopes, errors, direction, along),
            note=f"{PROBES} probes of {count} elements",
        )

    def _along(self) -> _Along:
        along = _Along(self.problem, None)
        if self.analytic:
            everything = np.random.default_rng(self.seed).choice((-1.0, 1.0), self.x.elements)
            line = along.line((everything * self.problem.sizes).reshape(self.x.shape))
            task = _Task(line, self.output, self.x, self.between, self.seed)
            sweeps = one_by_one(1)
            if task._confirmed(sweeps, _complex_step(line, sweeps[0])).all():
                return along
        return _Along(self.problem, self._noise())


@dataclass(frozen=True)
class _Along:
    """The derivative along any direction, and its error: by a complex step where there is no `noise`."""

    problem: Problem
    noise: Array | None

    def line(self, direction: Array) -> Problem:
        """The function of the one number t at 0, on the line through the point."""
        point, function = self.problem.point, self.problem.evaluate
        return Problem(lambda t: function(point + t * direction), np.zeros(1), self.problem.weight)

    def __call__(self, direction: Array) -> tuple[float, float]:
        line, sweep = self.line(direction), one_by_one(1)[0]
        with np.errstate(all="ignore"):
            found = (
                _complex_step(line, sweep)
                if self.noise is None
                else slopes_of(line, sweep, self.noise)
            )
        # At a kink along a direction its elements can't be told apart.
        kink = found.low[0] < found.high[0]
        return float(found.slope[0]), np.inf if kink else float(found.error[0])


def _together(sweeps: Sequence[Sweep], results: Sequence[Slopes]) -> Slopes:
    """The sweeps' results put in the input's order, flat."""
    if len(sweeps) == 1:
        return results[0]
    rows = np.concatenate([np.stack(result) for result in results], axis=1)
    ordered = np.empty_like(rows)
    ordered[:, np.concatenate([sweep.moved for sweep in sweeps])] = rows
    return Slopes(*ordered)


def _complex_step(problem: Problem, sweep: Sweep) -> Slopes:
    step = problem.sizes[sweep.moved] * _COMPLEX_STEP
    change = problem.weight * problem.at(sweep, 1j * step).imag
    slope = sweep.gather(change) / step
    scale = sweep.gather(np.abs(change)) / step
    return Slopes(slope, EPS * _KERNEL_ROUNDING * scale, slope, slope, scale)
