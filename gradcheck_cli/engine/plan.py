"""The planner: which kernels run, in which order, and when each array is let go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from gradcheck_cli.engine.memory import bytes_of, too_large
from gradcheck_cli.graph import (
    CONST,
    INPUT,
    Expr,
    concrete,
    kernel_of,
    rebuild,
    topological,
    variable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck_cli.engine.program import Program

    class Disturb(Protocol):
        """What has a value off as by rounding: of so many terms, `mixed` as by orthogonal transformations."""

        def __call__(self, value: Any, terms: float, mixed: bool = False) -> Any:
            """The value, off."""


Array = npt.NDArray[Any]

# From this many elements on, an array is worth planning for: blocks, all cores, buffers used again.
_LARGE = 1 << 15


class Plan:
    """A graph made ready to run any number of times: a flat list of kernel calls on numbered slots.

    Common subexpressions run once (nodes are interned), operators with several outputs once for all
    of them, and every array is released after its last use. Where arrays are large, a `Program` runs.
    """

    def __init__(
        self, outputs: Sequence[Expr], *, limit: int | None = None, given: Sequence[Expr] = ()
    ) -> None:
        known = {node: position for position, node in enumerate(given)}
        order = topological(outputs, given=known)
        self._given: list[tuple[int, int]] = []
        slots: dict[Expr, int] = {}
        self._initial: list[Any] = [None]
        self._inputs: list[tuple[int, str]] = []
        steps: list[_Step] = []
        joint: dict[Any, list[tuple[int, int]]] = {}
        for node in order:
            slot = len(self._initial)
            slots[node] = slot
            self._initial.append(node.value)
            if node in known:
                self._given.append((slot, known[node]))
                continue
            if node.value is not None or node.op is CONST:
                continue
            if node.op is INPUT:
                self._inputs.append((slot, node.attributes["name"]))
                continue
            args = [0 if arg is None else slots[arg] for arg in node.args]
            if node.op.outputs:
                key = (node.op, node.args, node.attrs)
                if key in joint:
                    joint[key].append((node.output, slot))
                    continue
                joint[key] = results = [(node.output, slot)]
            else:
                results = [(-1, slot)]
            attrs = concrete(node.attrs)
            kernel = kernel_of(node.op, node.inputs)
            steps.append(_Step(kernel, args, attrs, results, _terms(node), node.op.orthogonal))
        self._outputs = [slots[node] for node in outputs]
        self._nodes, self._known = tuple(outputs), tuple(given)
        real = all(node.dtype.kind != "z" for node in order)
        self._large = real and max((node.elements for node in order), default=0) >= _LARGE
        self._program: Program | None = None
        self._steps = _with_releases(steps, {*self._outputs, 0})
        self.peak_bytes = _peak(self._steps, order, slots)
        if limit is not None and self.peak_bytes > limit:
            raise too_large(self.peak_bytes, limit, order)

    def __call__(
        self,
        inputs: Mapping[str, Array],
        disturb: Disturb | None = None,
        *,
        given: Sequence[Array] = (),
    ) -> list[Array]:
        """Run it. The results may share memory with the inputs.

        `given` are the values of the nodes that were declared given, in the same order.

        `disturb(value, terms, mixed)` is applied to every kernel's result (to study rounding), and to the
        arguments of kernels that round on the way to it, as a sum of so many terms does.
        """
        if disturb is None and self._large:
            arrays = [*(inputs[name] for _, name in self._inputs), *given]
            if not any(np.iscomplexobj(array) for array in arrays):
                return [np.asarray(result) for result in self._planned()(*arrays)]
        values = self._initial.copy()
        for slot, name in self._inputs:
            values[slot] = inputs[name]
        for slot, position in self._given:
            values[slot] = given[position]
        with np.errstate(all="ignore"):
            _run(self._steps, values, disturb)
        return [np.asarray(values[slot]) for slot in self._outputs]

    def _planned(self) -> Program:
        """The same for large arrays, made at the first run that has a use for it."""
        if self._program is None:
            # It takes longer to import than most graphs take to run.
            from gradcheck_cli.engine.program import Program

            names = [f"{_GIVEN}{position}" for position in range(len(self._known))]
            made: dict[Expr, Expr] = {
                node: variable(name, node.shape, node.dtype)
                for node, name in zip(self._known, names, strict=True)
            }
            for node in topological(self._nodes, sizes=True, given=made):
                if node not in made:
                    made[node] = rebuild(node, made.__getitem__)
            outputs = [made[node] for node in self._nodes]
            self._program = Program(outputs, [*(name for _, name in self._inputs), *names])
        return self._program

    def partial(self, inputs: Mapping[str, Array], varying: str) -> Callable[..., Array]:
        """The first output as a function of one input (and `disturb`, as above).

        What doesn't depend on that input is computed once, here.
        """
        starts = [slot for slot, name in self._inputs if name == varying]
        moving = set(starts)
        fixed, later = [], []
        for step in self._steps:
            if moving.isdisjoint(step.args):
                fixed.append(step._replace(releases=()))
            else:
                moving.update(slot for _, slot in step.results)
                later.append(step)
        values = self._initial.copy()
        for slot, name in self._inputs:
            values[slot] = inputs[name]
        with np.errstate(all="ignore"):
            _run(fixed, values, None)
        target = self._outputs[0]
        needed = {target, *(slot for step in later for slot in step.args)}
        values = [value if slot in needed else None for slot, value in enumerate(values)]
        steps = _with_releases(later, {target, 0})

        def function(x: Array, disturb: Disturb | None = None) -> Array:
            current = values.copy()
            for slot in starts:
                current[slot] = x
            _run(steps, current, disturb)
            return np.asarray(current[target])

        return function


# The terms of what picks an element: nothing is rounded, and what was tied stays tied.
_EXACT = -1.0
# How stand-ins for given nodes are named; no input's name has a space.
_GIVEN = "given "


class _Step(NamedTuple):
    """One kernel call. Slot 0 stands for an argument that is left out.

    `results` are pairs of the kernel's output (-1: its only one) and the slot it goes to; `terms` is how
    many numbers are summed up for an element, 0 where only the result is rounded; `mixed` says that
    rounding is relative to the largest element; `releases` are the slots let go afterwards.
    """

    kernel: Callable[..., Any]
    args: list[int]
    attrs: dict[str, Any]
    results: list[tuple[int, int]]
    terms: float
    mixed: bool
    releases: tuple[int, ...] = ()


def _run(steps: Sequence[_Step], values: list[Any], disturb: Disturb | None) -> None:
    for kernel, slots, attrs, results, terms, mixed, releases in steps:
        args = [values[slot] for slot in slots]
        if disturb is not None and terms > 0:
            args = [disturb(arg, terms, mixed) for arg in args]
        result = kernel(*args, **attrs)
        for output, slot in results:
            one = result if output < 0 else result[output]
            values[slot] = one if disturb is None or terms == _EXACT else disturb(one, terms, mixed)
        for slot in releases:
            values[slot] = None


def _terms(node: Expr) -> float:
    """How many numbers an element of the result sums up, from the sizes alone: n for (m, n) @ (n, k)."""
    if node.op.reduction in (np.maximum, np.minimum):
        return _EXACT
    if node.op.elementwise:
        return 0.0
    sizes = sorted(arg.elements for arg in node.inputs if arg.dtype.is_floating)[-2:]
    if not sizes or not node.elements:
        return 1.0
    together = float(sizes[0] * sizes[-1]) ** 0.5 if len(sizes) > 1 else sizes[0]
    return max(1.0, float(together / node.elements ** (0.5 if len(sizes) > 1 else 1.0)))


def _with_releases(steps: Sequence[_Step], kept: set[int]) -> list[_Step]:
    last: dict[int, int] = {}
    for index, step in enumerate(steps):
        for slot in (*step.args, *(slot for _, slot in step.results)):
            last[slot] = index
    releases: list[list[int]] = [[] for _ in steps]
    for slot, index in last.items():
        if slot not in kept:
            releases[index].append(slot)
    return [
        step._replace(releases=tuple(released))
        for step, released in zip(steps, releases, strict=True)
    ]


def _peak(steps: Sequence[_Step], order: Sequence[Expr], slots: Mapping[Expr, int]) -> int:
    """An upper estimate of the bytes alive at once: every array owns its memory, views too."""
    size = {slots[node]: bytes_of(node) for node in order}
    alive = sum(size[slots[node]] for node in order if node.op is INPUT)
    peak = alive
    for step in steps:
        alive += sum(size[slot] for _, slot in step.results)
        peak = max(peak, alive)
        alive -= sum(size.get(slot, 0) for slot in step.releases)
    return peak
