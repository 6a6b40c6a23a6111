"""The planner: which kernels run, in which order, and when each array is let go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.limits import readable_bytes
from gradcheck_cli.graph import CONST, INPUT, Expr, concrete, topological

Array = npt.NDArray[Any]


class Plan:
    """A graph made ready to run any number of times: a flat list of kernel calls on numbered slots.

    Common subexpressions run once (nodes are interned), operators with several outputs once for all
    of them, and every array is released after its last use.
    """

    def __init__(self, outputs: Sequence[Expr], *, limit: int | None = None) -> None:
        order = topological(outputs)
        slots: dict[Expr, int] = {}
        self._initial: list[Any] = [None]
        self._inputs: list[tuple[int, str]] = []
        steps: list[tuple[Any, list[int], dict[str, Any], list[tuple[int, int]]]] = []
        joint: dict[Any, list[tuple[int, int]]] = {}
        for node in order:
            slot = len(self._initial)
            slots[node] = slot
            self._initial.append(node.value)
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
            steps.append((node.op.kernel, args, concrete(node.attrs), results))
        self._outputs = [slots[node] for node in outputs]
        self._steps = _with_releases(steps, {*self._outputs, 0})
        self.peak_bytes = _peak(steps, self._steps, order, slots)
        if limit is not None and self.peak_bytes > limit:
            largest = max(order, key=lambda node: node.elements)
            msg = (
                f"the check needs about {readable_bytes(self.peak_bytes)} of memory, more than the limit "
                f"of {readable_bytes(limit)}; its largest array has the shape {largest.shape}"
            )
            raise GradcheckError(
                Problem("GC303", msg, hint="use smaller shapes", exit_code=ExitCode.CANNOT_RUN)
            )

    def __call__(
        self, inputs: Mapping[str, Array], after: Callable[[Any], Any] | None = None
    ) -> list[Array]:
        """Run it. The results may share memory with the inputs.

        `after` is applied to every input and every kernel's result (to study rounding).
        """
        values = self._initial.copy()
        for slot, name in self._inputs:
            values[slot] = inputs[name] if after is None else after(inputs[name])
        with np.errstate(all="ignore"):
            for kernel, args, attrs, results, releases in self._steps:
                _store(values, results, kernel(*[values[i] for i in args], **attrs))
                if after is not None:
                    for _, slot in results:
                        values[slot] = after(values[slot])
                for slot in releases:
                    values[slot] = None
        return [np.asarray(values[slot]) for slot in self._outputs]


    def partial(self, inputs: Mapping[str, Array], varying: str) -> Callable[[Array], Array]:
        """The first output as a function of one input, all that doesn't depend on it computed once."""
        moving = {slot for slot, name in self._inputs if name == varying}
        values = self._initial.copy()
        for slot, name in self._inputs:
            values[slot] = inputs[name]
        later = []
        with np.errstate(all="ignore"):
            for kernel, args, attrs, results, _ in self._steps:
                if moving.isdisjoint(args):
                    _store(values, results, kernel(*[values[i] for i in args], **attrs))
                else:
                    moving.update(slot for _, slot in results)
                    later.append((kernel, args, attrs, results))
        starts = [slot for slot, name in self._inputs if name == varying]
        target = self._outputs[0]

        def function(x: Array) -> Array:
            current = values.copy()
            for slot in starts:
                current[slot] = x
            for kernel, args, attrs, results in later:
                _store(current, results, kernel(*[current[i] for i in args], **attrs))
            return np.asarray(current[target])

        return function


def _store(values: list[Any], results: Sequence[tuple[int, int]], result: Any) -> None:
    for output, slot in results:
        values[slot] = result if output < 0 else result[output]


def _with_releases(steps: Sequence[Any], kept: set[int]) -> list[Any]:
    last: dict[int, int] = {}
    for index, (_, args, _, results) in enumerate(steps):
        for slot in (*args, *(slot for _, slot in results)):
            last[slot] = index
    releases: list[list[int]] = [[] for _ in steps]
    for slot, index in last.items():
        if slot not in kept:
            releases[index].append(slot)
    return [(*step, tuple(released)) for step, released in zip(steps, releases, strict=True)]


def _peak(
    steps: Sequence[Any], released: Sequence[Any], order: Sequence[Expr], slots: Mapping[Expr, int]
) -> int:
    """An upper estimate of the bytes alive at once: every array owns its memory, views too."""
    size = {slots[node]: node.elements * node.dtype.numpy.itemsize for node in order}
    alive = sum(size[slots[node]] for node in order if node.op is INPUT)
    peak = alive
    for step, whole in zip(steps, released, strict=True):
        alive += sum(size[slot] for _, slot in step[3])
        peak = max(peak, alive)
        alive -= sum(size.get(slot, 0) for slot in whole[4])
    return peak

