"""A graph as straight-line code: lowered, joined into blocks where arrays are large, one call a step.

What `Plan` runs large arrays with, and `compile` everything. For graphs that run once on few numbers,
`Plan`'s own loop is ready sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.engine import regions
from gradcheck_cli.engine.blocks import Blocks
from gradcheck_cli.engine.buffers import Buffers
from gradcheck_cli.engine.fuse import partition
from gradcheck_cli.engine.kernels import number_type, prepared, ufunc_of
from gradcheck_cli.engine.lower import lower
from gradcheck_cli.engine.memory import bytes_of, too_large
from gradcheck_cli.engine.regions import Region
from gradcheck_cli.graph import INPUT, Expr, concrete, kernel_of, topological

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Results of constant expressions up to this many elements are computed once and kept.
_FOLDED = 1 << 12
# Arrays of fewer elements are not worth a statement that lets them go.
_WORTH_RELEASING = 1 << 12


class Program:
    """Outputs as a function of input arrays, ready to run any number of times, from any thread.

    `run(*arrays)` takes the arrays of `names` in their order and returns the outputs as a tuple. They may
    share memory with each other and with the inputs. `peak_bytes` is an upper estimate of what a run takes.
    Raises GradcheckError (GC303) where that is above `limit`.
    """

    def __init__(
        self, outputs: Sequence[Expr], names: Sequence[str], *, limit: int | None = None
    ) -> None:
        roots = lower(outputs)
        order = topological(roots)
        folded = _folded(order)
        # Nothing below a number that is known needs to run: no `x` for the size of x.
        done = {*folded, *(node for node in order if node.value is not None)}
        order = [node for node in topological(roots, given=done) if node not in done]
        # Blocks are for real arrays.
        whole = all(node.elements < regions.BIG for node in order)
        whole |= any(node.dtype.kind == "z" for node in order)
        items = list(order) if whole else partition(order, set(roots))
        writer = _Writer(items, roots, names, folded)
        self.peak_bytes = writer.peak
        if limit is not None and self.peak_bytes > limit:
            raise too_large(self.peak_bytes, limit, order)
        self._run = writer.function()
        self._numbers = [i for i, root in enumerate(roots) if not root.ndim]
        fresh = set().union(*(_fresh(item) for item in items))
        # Outputs that may be, or look into, another array: an input, a constant, another output.
        self._shared = [i for i, root in enumerate(roots) if root not in fresh or root in roots[:i]]
        self._constants = list(folded.values())

    def __call__(self, *arrays: Any) -> tuple[Any, ...]:
        """Run it."""
        with np.errstate(all="ignore"):
            return self._run(*arrays)

    def owned(self, *arrays: Any) -> list[Any]:
        """The outputs as arrays that share no memory with each other, the inputs, or a later run."""
        results = list(self(*arrays))
        for position in self._numbers:
            results[position] = np.asarray(results[position])
        if self._shared:
            taken = {id(array) for array in (*arrays, *self._constants)}
            taken.update(id(results[i]) for i in range(len(results)) if i not in self._shared)
            for position in self._shared:
                array = results[position]
                if array.base is not None or id(array) in taken:
                    array = results[position] = array.copy()
                taken.add(id(array))
        return results


class _Writer:
    """Writes the program's text: numbered names alone; nothing that a user wrote is in it."""

    def __init__(
        self,
        items: Sequence[Expr | Region],
        roots: Sequence[Expr],
        names: Sequence[str],
        folded: Mapping[Expr, Any],
    ) -> None:
        self._folded = folded
        self._inputs = {name: f"x{i}" for i, name in enumerate(names)}
        self._space: dict[str, Any] = {}
        self._names: dict[Expr, str] = {}
        self._lines: list[str] = []
        self._buffers = Buffers()
        self._joint: dict[Any, dict[int, Expr]] = {}
        for item in items:
            if isinstance(item, Expr) and item.op.outputs:
                self._joint.setdefault((item.op, item.args, item.attrs), {})[item.output] = item
        self.peak = alive = 0
        last = _last_uses(items, roots)
        for item in items:
            scratch = self._item(item)
            made = item.outputs if isinstance(item, Region) else (item,)
            alive += sum(bytes_of(node) for node in made)
            self.peak = max(self.peak, alive + scratch)
            gone = last.get(item, [])
            alive -= sum(bytes_of(node) for node in gone)
            if gone:
                self._lines.append(f"{' = '.join(self._names[node] for node in gone)} = None")
        results = "".join(f"{self._name(root)}, " for root in roots)
        self._lines.append(f"return ({results})")

    def function(self) -> Callable[..., tuple[Any, ...]]:
        """The function of the input arrays."""
        lines = [f"def run({', '.join(self._inputs.values())}):"]
        lines += [f"    {line}" for line in self._lines]
        exec("\n".join(lines), self._space)  # noqa: S102 -- text of our own, see the class
        run: Callable[..., tuple[Any, ...]] = self._space["run"]
        return run

    def _item(self, item: Expr | Region) -> int:
        """Write one item; return the bytes of scratch that it works on."""
        if isinstance(item, Region):
            blocks = Blocks(item, self._buffers)
            self._call(blocks, [self._new(node) for node in item.outputs], blocks.args)
            return blocks.scratch_bytes
        if item.op is INPUT:
            self._names[item] = self._inputs[item.attributes["name"]]
        elif not item.op.outputs:
            self._call(prepared(item), self._new(item), item.args, number_type(item))
        elif item not in self._names:  # else one call has made all outputs
            there = self._joint[item.op, item.args, item.attrs]
            outputs = range(len(item.op.outputs))
            targets = [self._new(there[i]) if i in there else "_" for i in outputs]
            self._call(prepared(item), targets, item.args)
            if "_" in targets:
                self._lines.append("_ = None")
        return 0

    def _call(
        self,
        function: Any,
        targets: str | Sequence[str],
        args: Sequence[Expr | None],
        number: Any = None,
    ) -> None:
        """Write a call; Python's numbers among its arguments become arrays of the dtype `number`."""
        name = f"k{len(self._lines)}"
        self._space[name] = function
        left = targets if isinstance(targets, str) else "".join(f"{t}, " for t in targets)
        names = [self._name(arg, number) for arg in args]
        self._lines.append(f"{left} = {name}({', '.join(names)})")

    def _new(self, node: Expr) -> str:
        self._names[node] = f"v{len(self._names)}"
        return self._names[node]

    def _name(self, node: Expr | None, number: Any = None) -> str:
        """What stands for an argument in the text."""
        if node is None:
            return "None"
        if node.value is not None and number is not None:
            name = f"c{len(self._space)}"
            self._space[name] = np.array(node.value, number)
            return name
        if node not in self._names:
            name = self._names[node] = f"c{len(self._space)}"
            self._space[name] = self._folded[node] if node.value is None else node.value
        return self._names[node]


def _fresh(item: Expr | Region) -> Sequence[Expr]:
    """What an item makes that is an array of its own for sure."""
    if isinstance(item, Region):
        return item.outputs
    own = ufunc_of(item) is not None or item.op.reduction is not None or item.op.cubic
    return (item,) if own else ()


def _folded(order: Sequence[Expr]) -> dict[Expr, Any]:
    """The values of small expressions in which no input stands."""
    values: dict[Expr, Any] = {}
    constant: dict[Expr, Any] = {}
    for node in order:
        if node.value is not None:
            constant[node] = node.value
        elif (
            node.op is not INPUT
            and node.op.kernel is not None
            and node.elements <= _FOLDED
            and all(arg in constant for arg in node.inputs)
        ):
            args = [None if arg is None else constant[arg] for arg in node.args]
            with np.errstate(all="ignore"):
                result = kernel_of(node.op, node.inputs)(*args, **concrete(node.attrs))
            value = result[node.output] if node.op.outputs else result
            value = np.asarray(value, node.dtype.numpy)
            value.setflags(write=False)
            values[node] = constant[node] = value
    return values


def _last_uses(
    items: Sequence[Expr | Region], roots: Sequence[Expr]
) -> dict[Expr | Region, list[Expr]]:
    """The large arrays whose last use is at an item."""
    made = {
        node
        for item in items
        for node in (item.outputs if isinstance(item, Region) else (item,))
        if node.elements >= _WORTH_RELEASING
    }
    made -= {*roots, *(item for item in items if isinstance(item, Expr) and item.op is INPUT)}
    last: dict[Expr, Expr | Region] = {}
    for item in items:
        for node in item.nodes if isinstance(item, Region) else (item,):
            last.update((arg, item) for arg in node.inputs if arg in made)
    result: dict[Expr | Region, list[Expr]] = {}
    for node, item in last.items():
        result.setdefault(item, []).append(node)
    return result
