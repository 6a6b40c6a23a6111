"""How an input is moved to differentiate along it: one element at a time, or together where none meet.

Two elements meet if one output depends on both. Where no two of a set meet, one evaluation differentiates
along all of them at once: the elements of an elementwise expression, the rows of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.gradients import Array

EPS = 2.0**-52
# Fewer elements than this are not worth the evaluations that look for rows which don't meet.
_FEW = 16
# An element this much smaller than a typical one is moved by a typical one's step.
_TINY = 1e-3
# Operators that work element by element though their records don't say so: their tests draw otherwise.
_ELEMENTWISE = frozenset({"where", "clamp", "masked_fill"})
# Outputs of elements moved one by one that are held at once.
_STACKED = 2**20
# A typical magnitude is seen in this many elements.
_SAMPLE = 1 << 12
# No step is so small that its differences vanish.
_LEAST, _MOST = 2.0**-900, 2.0**900
_EXPONENT = 0x7FF << 52


@dataclass(frozen=True, slots=True)
class Sweep:
    """Elements that are differentiated along together.

    `moved` are their flat indices. Either they move at once, and `labels` tells for each output which of
    them (by position) it depends on; None where output i depends on element i of the input alone. Or they
    move one by one (`apart`), and their outputs are stacked.
    """

    moved: Any
    count: int
    labels: Array | None = None
    apart: bool = False

    @property
    def is_diagonal(self) -> bool:
        """Whether output i depends on element i alone."""
        return not self.apart and self.labels is None

    @property
    def evaluations(self) -> int:
        """How often the function is evaluated for one step of all."""
        return self.count if self.apart else 1

    def gather(self, outputs: Array) -> Array:
        """Sum the outputs' contributions to each moved element; `count` numbers."""
        if self.apart:
            return np.asarray(outputs.reshape(self.count, -1).sum(axis=1))
        if self.labels is not None:
            return np.asarray(np.bincount(self.labels, outputs.reshape(-1), self.count))
        return outputs.reshape(-1) if self.count > 1 else outputs.sum().reshape(1)

    def part(self, chosen: Array) -> tuple[Any, Sweep]:
        """Those of `chosen` that can be moved without the others: their positions, and their sweep."""
        if not self.apart:
            return slice(None), self
        positions = np.flatnonzero(chosen)
        return positions, Sweep(self.moved[positions], positions.size, apart=True)


@dataclass(frozen=True)
class Problem:
    """A function of one input, the point, and the cotangent that its outputs are contracted with.

    `typical` is the magnitude of a typical element, where the point alone doesn't show it.
    """

    function: Callable[..., Array]
    point: Array
    weight: Array
    typical: float | None = None

    @cached_property
    def scale(self) -> float:
        """The magnitude of a typical element."""
        return typical_size(self.point) if self.typical is None else self.typical

    @cached_property
    def sizes(self) -> Array:
        """The magnitude of a step in each element, flat: powers of two, so that x + h - x is h.

        An element's own magnitude, or a typical one's where it is zero or tiny.
        """
        size = np.abs(self.point.reshape(-1), dtype=np.float64)
        usable = size > self.scale * _TINY
        usable &= size < np.inf
        np.copyto(size, self.scale, where=~usable)
        return power_of_two(size)

    @cached_property
    def base(self) -> Array:
        """The outputs at the point. Raises Invalid where a kernel refuses it."""
        return self.function(self.point)

    def evaluate(self, x: Array) -> Array:
        """The outputs; all NaN where a kernel refuses the numbers, such as a matrix not definite."""
        try:
            return self.function(x)
        except (Invalid, ArithmeticError, ValueError):
            return np.full(self.weight.shape, np.nan)

    def at(self, sweep: Sweep, step: Array) -> Array:
        """The outputs with the elements of `sweep` moved by `step`."""
        point = self.point.astype(np.result_type(self.point, step), order="C")
        flat = point.reshape(-1)
        if not sweep.apart:
            flat[sweep.moved] += step
            return self.evaluate(point)
        outputs = []
        for index, by in zip(sweep.moved.tolist(), step.tolist(), strict=True):
            # A copy: the outputs may be views of the input.
            moved = point.copy()
            moved.reshape(-1)[index] += by
            outputs.append(self.evaluate(moved))
        return np.stack(outputs)


def typical_size(point: Array) -> float:
    """The median magnitude of the elements that are neither zero nor infinite, by a sample where many."""
    flat = point.reshape(-1)
    size = np.abs(flat[:: max(1, flat.size // _SAMPLE)])
    known = size[(size > 0) & np.isfinite(size)]
    if not known.size:
        return 1.0
    # As np.median, which imports masked arrays for its care of NaN.
    known.sort()
    return float(known[(known.size - 1) // 2] + known[known.size // 2]) / 2


def power_of_two(size: Array) -> Array:
    """The largest power of two that isn't above each number, but at least what differences need."""
    # A number without its mantissa: the exponent alone.
    bits = np.clip(size, _LEAST, _MOST).view(np.int64)
    return np.asarray((bits & _EXPONENT).view(np.float64))


def sweeps_of(
    problem: Problem, output: Expr, x: Expr, between: Sequence[Expr], *, group: bool = True
) -> list[Sweep] | None:
    """Sweeps that together move every element of `x` once, few; None where they have to move one by one.

    `between` are the nodes from `x` to `output` that depend on `x`. With `group`, the function is evaluated
    to find elements that don't meet.
    """
    count = x.elements
    if is_diagonal(output, x, between):
        return [Sweep(slice(None), count)]
    # A mask or a sorted order stops NaN, which is to show what depends on what.
    traceable = all(node.dtype.is_floating and not node.op.outputs for node in between)
    if group and count >= _FEW and traceable:
        return _grouped(problem, x.shape)
    return None


def one_by_one(count: int, outputs: int = 1) -> list[Sweep]:
    """Sweeps that move `count` elements apart, as many in each as have outputs that fit into memory."""
    each = max(1, _STACKED // max(1, outputs))
    return [
        Sweep(np.arange(start, min(start + each, count)), min(each, count - start), apart=True)
        for start in range(0, count, each)
    ]


def is_diagonal(output: Expr, x: Expr, between: Sequence[Expr]) -> bool:
    """Whether all between works element by element on arrays of the input's shape."""
    if output.shape != x.shape:
        return False
    depends = {x, *between}
    return all(
        (node.op.elementwise or node.op.name in _ELEMENTWISE)
        and all(arg.shape == x.shape for arg in (node, *node.inputs) if arg in depends)
        for node in between
    )


def _grouped(problem: Problem, shape: tuple[int, ...]) -> list[Sweep] | None:
    """Sweeps that move together what differs along axes whose positions never meet."""
    found = {
        axis: labels for axis in range(len(shape)) if (labels := _labels(problem, axis)) is not None
    }
    if not found:
        return None
    lengths = [shape[axis] for axis in found]
    labels = np.ravel_multi_index(tuple(found.values()), lengths)
    order = np.arange(problem.point.size).reshape(shape)
    together = np.moveaxis(order, tuple(found), range(-len(found), 0))
    count = int(np.prod(lengths))
    return [Sweep(row, count, labels) for row in together.reshape(-1, count)]


def _labels(problem: Problem, axis: int) -> Array | None:
    """For each output the position along `axis` that it depends on; None if it depends on several.

    Found by what NaN reaches: any two positions differ in a bit of their number, so if no output sees NaN
    both from those with the bit and from those without it, whichever the bit, then none sees two positions.
    """
    length = problem.point.shape[axis]
    if length < 2:
        return None
    labels = np.zeros(problem.weight.size, np.intp)
    reached: Array | None = None
    for bit in range((length - 1).bit_length()):
        has_bit = (np.arange(length) >> bit & 1).astype(bool)
        seen = []
        for chosen in (~has_bit, has_bit):
            mask = np.expand_dims(chosen, tuple(range(1, problem.point.ndim - axis)))
            outputs = problem.evaluate(np.where(mask, np.nan, problem.point))
            seen.append(np.isnan(outputs).reshape(-1))
        either = seen[0] | seen[1]
        if (seen[0] & seen[1]).any() or (reached is not None and (either != reached).any()):
            return None
        reached = either
        labels |= seen[1].astype(np.intp) << bit
    return labels
