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
from gradcheck_cli.engine.kernels import prepared, ufunc_of
from gradcheck_cli.engine.lower import lower
from gradcheck_cli.engine.memory import bytes_of, too_large
from gradcheck_cli.engine.regions import Region
from gradcheck_cli.graph import INPUT, Expr, concrete, topological

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

# Results of constant expressions up to this many elements are computed once and kept.
_FOLDED = 1 << 12


class Program:
    """Outputs as a function of input arrays, ready to run any number of times, from any thread.

    `run(*arrays)` takes the arrays of `names` in their order and returns the outputs as a tuple. They may
    share memory with each other and with the inputs.
    """

    def __init__(
        self, outputs: Sequence[Expr], names: Sequence[str], *, limit: int | None = None
    ) -> None:
        roots = lower(outputs)
        buffers = Buffers()
        order = topological(roots)
        folded = _folded(order)
        # Nothing below a number that is known needs to run: no `x` for the size of x.
        done = {*folded, *(node for node in order if node.value is not None)}
        order = [node for node in topological(roots, given=done) if node not in done]
        scratch: dict[Expr | Region, int] = {}
        lines: list[str] = []
        space: dict[str, Any] = {}
        variables: dict[Expr, str] = {}
        inputs = {name: f"x{i}" for i, name in enumerate(names)}

        def of(node: Expr | None) -> str:
            if node is None:
                return "None"
            if node.value is not None or node in folded:
                name = f"c{len(space)}"
                space[name] = folded[node] if node.value is None else node.value
                variables[node] = name
            return variables[node]

        joint: dict[Any, str] = {}
        small = all(node.elements < regions.BIG for node in order)
        items = list(order) if small else partition(order, set(roots))
        last = _last_uses(items, roots)
        for item in items:
            if isinstance(item, Region):
                blocks = Blocks(item, buffers)
                scratch[item] = blocks.scratch_bytes
                space[f"r{len(lines)}"] = blocks
                for node in item.outputs:
                    variables[node] = f"v{len(variables)}"
                targets = ", ".join(variables[node] for node in item.outputs)
                args = ", ".join(of(arg) for arg in blocks.args)
                lines.append(f"{targets}, = r{len(lines)}({args})")
            elif item.op is INPUT:
                variables[item] = inputs[item.attributes["name"]]
            elif item.op.outputs:
                key = (item.op, item.args, item.attrs)
                if key not in joint:
                    joint[key] = f"j{len(lines)}"
                    space[f"k{len(lines)}"] = prepared(item)
                    args = ", ".join(of(arg) for arg in item.args)
                    lines.append(f"{joint[key]} = k{len(lines)}({args})")
                variables[item] = f"v{len(variables)}"
                lines.append(f"{variables[item]} = {joint[key]}[{item.output}]")
            else:
                space[f"k{len(lines)}"] = prepared(item)
                args = ", ".join(of(arg) for arg in item.args)
                variables[item] = f"v{len(variables)}"
                lines.append(f"{variables[item]} = k{len(lines)}({args})")
            gone = [variables[node] for node in last.get(item, ()) if node in variables]
            if gone:
                lines.append(f"{' = '.join(gone)} = None")
        self.peak_bytes = _peak(items, last, scratch)
        if limit is not None and self.peak_bytes > limit:
            raise too_large(self.peak_bytes, limit, order)
        results = "".join(f"{of(root)}, " for root in roots)
        text = "\n".join(
            [
                f"def run({', '.join(inputs[name] for name in names)}):",
                *(f"    {line}" for line in lines),
                f"    return ({results})",
            ]
        )
        self._numbers = [i for i, root in enumerate(roots) if not root.ndim]
        fresh = {
            node
            for item in items
            for node in (item.outputs if isinstance(item, Region) else (item,))
            if isinstance(item, Region)
            or ufunc_of(node) is not None
            or node.op.reduction is not None
            or node.op.cubic
        }
        # Outputs that may be, or look into, another array: an input, a constant, another output.
        self._shared = [i for i, root in enumerate(roots) if root not in fresh or root in roots[:i]]
        self._constants = list(folded.values())
        # The text is made of numbered names alone; nothing that a user wrote is in it.
        exec(text, space)  # noqa: S102 -- see above
        self._run: Callable[..., tuple[Any, ...]] = space["run"]

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
                result = node.op.kernel(*args, **concrete(node.attrs))
            value = result[node.output] if node.op.outputs else result
            value = np.asarray(value, node.dtype.numpy)
            value.setflags(write=False)
            values[node] = constant[node] = value
    return values


def _last_uses(
    items: Sequence[Expr | Region], roots: Sequence[Expr]
) -> dict[Expr | Region, list[Expr]]:
    """The large arrays whose last use is at an item."""
    last: dict[Expr, Expr | Region] = {}
    for item in items:
        nodes = item.nodes if isinstance(item, Region) else (item,)
        for node in nodes:
            for arg in node.inputs:
                last[arg] = item
    kept = set(roots)
    result: dict[Expr | Region, list[Expr]] = {}
    for node, item in last.items():
        if (
            node not in kept
            and node.op is not INPUT
            and node.value is None
            and node.elements > 4096
        ):
            result.setdefault(item, []).append(node)
    return result


def _peak(
    items: Sequence[Expr | Region],
    last: Mapping[Expr | Region, Sequence[Expr]],
    scratch: Mapping[Expr | Region, int],
) -> int:
    """An upper estimate of the bytes alive at once: every array owns its memory, views too."""
    alive = peak = 0
    for item in items:
        made = item.outputs if isinstance(item, Region) else (item,)
        alive += sum(bytes_of(node) for node in made)
        peak = max(peak, alive + scratch.get(item, 0))
        alive -= sum(bytes_of(node) for node in last.get(item, ()))
    return peak
