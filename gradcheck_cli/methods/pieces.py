"""Elementwise expressions on large arrays, gone through in pieces that stay in the cache.

Output i depends on element i alone, so that the expression can be evaluated on any choice of elements: on
one block after the other by complex steps, and again, by differences, on the few that these don't fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import Expr, rebuild, variable
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods.branches import written
from gradcheck_cli.methods.gradients import KINK, Array, Estimate
from gradcheck_cli.methods.probes import CHECK_SHARE, CHECK_STEP, COMPLEX_STEP, KERNEL_ROUNDING
from gradcheck_cli.methods.sweep import EPS, Problem, typical_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck_cli.methods.sides import Slopes

# So many elements at once.
_PIECE = 1 << 15
# Where elements are tiny, steps are those of one this much smaller than a typical one.
_LEAST_SIZE = 2.0**-10


class Pieces:
    """An elementwise expression of `x` at any choice of elements.

    `between` are the nodes from `x` to `output` that depend on `x`, all of its shape; `arrays` the values of
    all inputs, and `weight` the outputs' cotangent.
    """

    def __init__(
        self,
        output: Expr,
        x: Expr,
        between: Sequence[Expr],
        arrays: Mapping[str, Array],
        weight: Array,
    ) -> None:
        self._output, self._x, self._between = output, x, between
        self.count = x.elements
        self._point = arrays[x.attributes["name"]].reshape(-1)
        self._typical = typical_size(self._point)
        depends = {x, *between}
        self._fixed = [
            arg
            for arg in dict.fromkeys(arg for node in between for arg in node.inputs)
            if arg not in depends and arg.value is None
        ]
        values = Plan(self._fixed, limit=memory_limit())(arrays) if self._fixed else []
        self._values = [_flat(value, x.shape) for value in values]
        self._weight = _flat(weight, x.shape)
        self._plans: dict[int, _Planned] = {}

    def at(self, where: Any, count: int) -> tuple[Problem, Callable[..., Array] | None]:
        """The problem of these `count` elements, and its function at complex points if there is one.

        `where` is a slice or flat indices.
        """
        if count not in self._plans:
            self._plans[count] = self._planned(count)
        weight = self._weight if self._weight.ndim == 0 else self._weight[where]
        function, continued = self._plans[count].functions(
            [value if value.ndim == 0 else value[where] for value in self._values]
        )
        point = self._point[where]
        return Problem(function, point, np.broadcast_to(weight, count), self._typical), continued

    def _planned(self, count: int) -> _Planned:
        names = [f"{_FIXED}{k}" for k in range(len(self._fixed))]
        start = {self._x: variable(_POINT, (count,), self._x.dtype)}
        for node, value, name in zip(self._fixed, self._values, names, strict=True):
            start[node] = variable(name, () if value.ndim == 0 else (count,), node.dtype)
        real, complex_ = dict(start), dict(start)
        for node in self._between:
            real[node] = rebuild(node, lambda arg: real.get(arg, arg))
        plans = [Plan([real[self._output]])]
        if written(self._between, complex_, elementwise=True):
            plans.append(Plan([complex_[self._output]]))
        numbers = all(value.ndim == 0 for value in self._values)
        return _Planned(plans, [*names, _POINT], numbers, self._point[:1])

    def estimate(self, differences: Callable[[Problem], Slopes]) -> Estimate:
        """The gradient: by complex steps where a difference confirms them, else by `differences`."""
        gradient = np.empty(self.count)
        left: list[Array] = []
        steps = _ComplexSteps(self._typical)
        for start in range(0, self.count, _PIECE):
            part = slice(start, min(start + _PIECE, self.count))
            problem, continued = self.at(part, part.stop - part.start)
            if continued is None:
                left.append(np.arange(part.start, part.stop))
                continue
            good = steps(problem, continued, gradient[part])
            if good is not None:
                left.append(start + np.flatnonzero(~good))
        if not left:
            # No element is off by more than the largest one's rounding: one number for all.
            error = np.broadcast_to(EPS * KERNEL_ROUNDING * steps.largest, self._x.shape)
            return Estimate(gradient.reshape(self._x.shape), error)
        return self._with_differences(differences, gradient, np.concatenate(left))

    def _with_differences(
        self, differences: Callable[[Problem], Slopes], gradient: Array, left: Array
    ) -> Estimate:
        """The elements `left` are differentiated by differences."""
        error = EPS * KERNEL_ROUNDING * np.abs(gradient)
        low, high = gradient.copy(), gradient.copy()
        place = np.zeros(self.count, np.int8)
        kept: tuple[Array, ...] = (gradient, error, low, high, place)
        for start in range(0, left.size, _PIECE):
            where = left[start : start + _PIECE]
            problem, _ = self.at(where, where.size)
            found = differences(problem)
            known = (found.slope, found.error, found.low, found.high, found.place)
            for ours, theirs in zip(kept, known, strict=True):
                ours[where] = theirs
        shape = self._x.shape
        return Estimate(
            gradient.reshape(shape),
            error.reshape(shape),
            low.reshape(shape),
            high.reshape(shape),
            int(np.count_nonzero(place == KINK)),
            places=place.reshape(shape) if place.any() else None,
        )


class _Planned:
    """The plans for one number of elements: on real numbers and, if there is one, on complex ones."""

    def __init__(
        self, plans: Sequence[Plan], names: Sequence[str], numbers: bool, point: Array
    ) -> None:
        self._plans, self._names = plans, names
        # Where nothing but the point is an array all pieces share the functions.
        self._numbers = numbers
        self._point = point
        self._made: list[Callable[..., Array]] = []

    def functions(
        self, values: Sequence[Array]
    ) -> tuple[Callable[..., Array], Callable[..., Array] | None]:
        """The functions of the point, with these values of what is fixed."""
        if not (self._made and self._numbers):
            arrays = dict(zip(self._names, [*values, self._point], strict=True))
            self._made = [plan.partial(arrays, _POINT) for plan in self._plans]
        return self._made[0], self._made[1] if len(self._made) > 1 else None


# No input's name has a space.
_POINT, _FIXED = "the point", "fixed "


def _flat(value: Array, shape: tuple[int, ...]) -> Array:
    """The elements in a row; a single one as a number."""
    value = np.asarray(value)
    if value.size == 1 or not any(value.strides):
        return value.reshape(-1)[:1].reshape(())
    return np.broadcast_to(value, shape).reshape(-1)


class _ComplexSteps:
    """Slopes by complex steps, piece by piece; `largest` is the largest absolute one so far.

    One step for all: it is far smaller than any element that isn't as good as zero, and where one is, a
    difference that is not confirmed shows that it matters.
    """

    def __init__(self, typical: float) -> None:
        self.largest = 0.0
        self._step = typical * COMPLEX_STEP
        self._least = typical * _LEAST_SIZE * CHECK_STEP
        self._moved = np.empty(0, np.complex128)

    def __call__(
        self, problem: Problem, continued: Callable[..., Array], slope: Array
    ) -> Array | None:
        """Slopes into the array given; which of them central differences confirm, None if all.

        `continued` is the function at complex points.
        """
        point, weight = problem.point, problem.weight
        if self._moved.size != point.size:
            self._moved = np.full(point.size, 1j * self._step)
        self._moved.real = point
        np.multiply(continued(self._moved).imag, 1 / self._step, out=slope)
        step = np.abs(point)
        step *= CHECK_STEP
        np.maximum(step, self._least, out=step)
        above = problem.evaluate(point + step)
        change = above - problem.evaluate(point - step)
        good = self._confirmed(change, np.multiply(step, slope, out=step), above)
        if any(weight.strides) or weight[0] != 1.0:
            slope *= weight
        self.largest = max(self.largest, float(slope.max()), -float(slope.min()))
        return good

    def _confirmed(self, change: Array, half: Array, above: Array) -> Array | None:
        """Which changes are twice what is expected, as far as can be told; None if all are."""
        ratio = change / half
        if ratio.max() <= 2 * (1 + CHECK_SHARE) and ratio.min() >= 2 * (1 - CHECK_SHARE):
            return None
        half *= 2
        half -= change
        allowed = CHECK_SHARE * np.abs(change) + 2 * EPS * KERNEL_ROUNDING * np.abs(above)
        good = np.abs(half, out=half) <= allowed
        return None if good.all() else np.asarray(good)
