"""The text of a region's loop: which arrays come in, what is computed where, what may be written over.

It is Python text of numbered names (nothing of a user's text enters it), so that an operation costs one
NumPy call and no bookkeeping.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.engine.kernels import identity_of, number_type, prepared, ufunc_of, writer_of
from gradcheck_cli.engine.memory import bytes_of
from gradcheck_cli.engine.regions import Region, is_sliced, is_total, place_in_rows, reduced_dims

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from gradcheck_cli.graph import Expr

    Array = npt.NDArray[Any]

# Seconds a byte of the result takes in a ufunc: cheap arithmetic, and transcendental functions.
_CHEAP, _DEAR = 0.05e-9, 0.8e-9


class Loop:
    """A region's loop as a function.

    `function(start, stop, step, *arrays, *outputs, *scratch)` goes over `length` slices, or a part of them,
    and returns the totals. `args` are the nodes whose arrays it wants, `shapes` what those are brought to
    before (None: as they are), `by_row` which have a part for each row of a wide region. `scratch` are
    shape and dtype of each scratch array, without its first dim, `widest` the bytes of the widest slice,
    `seconds` about how long it all takes one thread, `call` how long a call takes for one slice.
    """

    def __init__(self, region: Region) -> None:
        self.length = region.lead[-1] if region.wide else prod(region.lead)
        self.totals = [node for node in region.nodes if region.is_total(node)]
        self.outputs = [node for node in region.outputs if not region.is_total(node)]
        self.args: list[Expr] = []
        self.shapes: list[tuple[int, ...] | None] = []
        self.by_row: list[bool] = []
        self.scratch: list[tuple[tuple[int, ...], Any]] = []
        self.seconds = 0.0
        self._region = region
        self._depth = region.depth
        self._names: dict[Any, str] = {}
        self._space: dict[str, Any] = {"minimum": min, "full": np.full}
        self._inside = set(region.nodes)
        self._free: dict[Any, list[int]] = {}
        self._held: dict[Expr, int] = {}
        self._uses: dict[Expr, int] = {}
        for node in region.nodes:
            for arg in node.inputs:
                self._uses[arg] = self._uses.get(arg, 0) + 1
        self._kept = set(region.outputs)
        self._dotted = self._dots()
        self.function = self._written()
        self.widest = self._widest()
        self.call = (
            self.seconds / max(1, self.length) / max(1, len(region.nodes) - len(self._dotted))
        )

    def _widest(self) -> int:
        sizes = [prod(shape) * int(dtype.itemsize) for shape, dtype in self.scratch]
        slices = prod(self._region.lead)
        sizes += [
            node.elements // slices * node.dtype.numpy.itemsize
            for node in (*self.args, *self.outputs)
            if node.elements >= slices > 0
        ]
        return max(sizes, default=1) or 1

    def _written(self) -> Callable[..., Any]:
        body: list[str] = []
        for node in self._region.nodes:
            self._statement(node, body)
        names = [self._names[key] for key in self._argument_keys()]
        head = [f"A{i}" for i in range(len(self.args))]
        head += [f"O{i}" for i in range(len(self.outputs))]
        head += [f"S{i}" for i in range(len(self.scratch))]
        lines = [f"def loop(start, stop, step, {', '.join(head)}):"]
        lines += [f"    t{i} = {self._start(node, i)}" for i, node in enumerate(self.totals)]
        lines += ["    for i in range(start, stop, step):", "        j = minimum(i + step, stop)"]
        for i, (name, (_, sliced)) in enumerate(zip(names, self._argument_keys(), strict=True)):
            lines.append(f"        {name} = A{i}[i:j]" if sliced else f"        {name} = A{i}")
        lines += [f"        o{i} = O{i}[i:j]" for i in range(len(self.outputs))]
        lines += [f"        s{i} = S{i}[:j - i]" for i in range(len(self.scratch))]
        lines += [f"        {line}" for line in body]
        lines.append(f"    return ({''.join(f't{i}, ' for i in range(len(self.totals)))})")
        exec("\n".join(lines), self._space)  # noqa: S102 -- text of numbered names, see the module
        loop: Callable[..., Any] = self._space["loop"]
        return loop

    def _argument_keys(self) -> list[tuple[Expr, bool]]:
        return [key for key in self._names if isinstance(key, tuple)]

    def _start(self, node: Expr, i: int) -> str:
        """A total of no blocks. Sums of everything are kept as Python floats, in double precision."""
        identity = identity_of(node.op.reduction)
        if node.elements == 1 or self._region.wide:
            return repr(identity) if np.isfinite(identity) else f"float('{identity}')"
        self._space[f"d{i}"] = node.dtype.numpy
        shape = self._inner(node)
        return (
            f"full({shape}, {identity!r}, d{i})"
            if np.isfinite(identity)
            else (f"full({shape}, float('{identity}'), d{i})")
        )

    def _inner(self, node: Expr) -> tuple[int, ...]:
        """The shape of a total without the leading dims that keepdim leaves."""
        (x,) = node.inputs
        dims = set(reduced_dims(node))
        keepdim = bool(node.attributes.get("keepdim"))
        return tuple(
            1 if d in dims else size
            for d, size in enumerate(x.shape)
            if d >= self._depth and (keepdim or d not in dims)
        )

    def _argument(self, arg: Expr, node: Expr) -> str:
        """What stands for an argument in the loop's text."""
        if arg.value is not None:
            number = number_type(node)
            return self._constant(arg.value if number is None else np.array(arg.value, number))
        if arg in self._inside:
            return self._names[arg]
        place = place_in_rows(arg, self._region.lead) if self._region.wide else None
        sliced = place in ("element", "column") if place else is_sliced(arg, node, self._depth)
        key = (arg, sliced)
        if key not in self._names:
            self._names[key] = f"a{len(self.args)}"
            self.args.append(arg)
            self.by_row.append(place in ("element", "row"))
            if place:
                rows, columns = prod(self._region.lead[:-1]), self.length
                self.shapes.append(
                    {"element": (rows, columns), "row": (rows,), "column": (columns,)}.get(
                        place, ()
                    )
                )
            else:
                self.shapes.append(self._argument_shape(arg, node, sliced=sliced))
        return self._names[key]

    def _constant(self, value: Any) -> str:
        name = f"c{len(self._space)}"
        self._space[name] = value
        return name

    def _argument_shape(self, arg: Expr, node: Expr, *, sliced: bool) -> tuple[int, ...] | None:
        """The shape an array is brought to before the loop; None where it has it already."""
        if sliced:
            shape = (self.length, *arg.shape[self._depth :])
        else:
            shape = arg.shape[max(0, self._depth - (node.ndim - arg.ndim)) :]
        return None if shape == arg.shape else shape

    def _factors(self, node: Expr) -> tuple[str, str] | None:
        """The factors of a product that is only summed up, where one dot product does both."""
        (x,) = node.inputs
        if x not in self._dotted:
            return None
        left, right = x.inputs
        return self._argument(left, x), self._argument(right, x)

    def _dots(self) -> set[Expr]:
        """The products of equal shapes that nothing but one sum over whole slices, or their rows, uses."""
        found = set()
        for node in self._region.nodes:
            if node.op.reduction is not np.add or not node.inputs[0].ndim:
                continue
            (x,) = node.inputs
            if x not in self._inside or self._uses[x] > 1 or x in self._kept:
                continue
            dims = reduced_dims(node)
            rows = dims == (x.ndim - 1,) and not is_total(node) and x.shape[-1] <= 2 * _PIECE
            if (
                (len(dims) == x.ndim or rows or self._region.wide)
                and ufunc_of(x) is np.multiply
                and all(arg.shape == x.shape and arg.value is None for arg in x.inputs)
            ):
                found.add(x)
        return found

    def _statement(self, node: Expr, body: list[str]) -> None:
        number = len(self._space)
        if node in self._dotted:
            return
        if self._region.is_total(node):
            self._total(node, number, body)
            return
        work = max(bytes_of(node), max(map(bytes_of, node.inputs), default=0))
        factors = self._factors(node) if node.op.reduction is np.add else None
        if factors is not None:
            (product,) = node.inputs
            self._space[f"k{number}"] = np.vecdot
            keep = "[..., None]" if node.attributes.get("keepdim") else ""
            body.append(f"n{number} = k{number}({', '.join(factors)}){keep}")
            self._names[node] = f"n{number}"
            self.seconds += work * _CHEAP
            self._keep(node, body)
            self._release(product)
            return
        args = ", ".join("None" if arg is None else self._argument(arg, node) for arg in node.args)
        if node.op.reduction is not None and node.inputs[0].ndim:
            dims = tuple(d - node.inputs[0].ndim for d in reduced_dims(node))
            self._space[f"k{number}"] = node.op.reduction.reduce
            dim = dims[0] if len(dims) == 1 else dims
            keepdims = bool(node.attributes.get("keepdim"))
            body.append(f"n{number} = k{number}({args}, {dim}, None, None, {keepdims})")
            self._names[node] = f"n{number}"
            self.seconds += work * _CHEAP
            self._keep(node, body)
            self._release(node)
            return
        write = writer_of(node)
        if write is not None:
            self.seconds += work * (_DEAR if write in _SLOW else _CHEAP)
            self._space[f"k{number}"] = write
            self._release(node)
            target = self._target(node)
            body.append(f"k{number}({args}, {_out(write)}{target})")
            self._names[node] = target
            return
        self.seconds += work * _DEAR
        self._space[f"k{number}"] = prepared(node)
        # Its result may be a view of an argument, whose scratch therefore stays as it is.
        body.append(f"n{number} = k{number}({args})")
        self._names[node] = f"n{number}"
        self._keep(node, body)

    def _keep(self, node: Expr, body: list[str]) -> None:
        """Copy what was not written in place to where the region's output lies."""
        if node in self._kept:
            body.append(f"o{self.outputs.index(node)}[...] = {self._names[node]}")

    def _target(self, node: Expr) -> str:
        if node in self._kept:
            return f"o{self.outputs.index(node)}"
        kind = (node.shape[self._depth :], node.dtype.numpy)
        free = self._free.get(kind)
        if free:
            number = free.pop()
        else:
            number = len(self.scratch)
            self.scratch.append(kind)
        self._held[node] = number
        return f"s{number}"

    def _release(self, node: Expr) -> None:
        """Count the uses of a node's arguments; after the last, its scratch may be written over."""
        for arg in node.inputs:
            self._uses[arg] -= 1
            if not self._uses[arg] and arg in self._held:
                number = self._held.pop(arg)
                self._free.setdefault(self.scratch[number], []).append(number)

    def _total(self, node: Expr, number: int, body: list[str]) -> None:
        position = self.totals.index(node)
        (x,) = node.inputs
        reduction = node.op.reduction
        self.seconds += bytes_of(x) * _CHEAP
        factors = self._factors(node) if reduction is np.add else None
        if factors is not None:
            self._space[f"k{number}"] = _dot
            body.append(f"t{position} = t{position} + k{number}({', '.join(factors)})")
            self._release(x)
            return
        arg = self._argument(x, node)
        axes = (0, *(d - self._depth + 1 for d in reduced_dims(node) if d >= self._depth))
        self._space[f"k{number}"] = reduction.reduce
        if node.elements == 1 or self._region.wide:
            whole = f"float(k{number}({arg}, None))"
            body.append(
                f"t{position} = t{position} + {whole}"
                if reduction is np.add
                else f"t{position} = float(r{number}(t{position}, {whole}))"
            )
            self._space[f"r{number}"] = reduction
        else:
            kept = "keepdims" if node.attributes.get("keepdim") else ""
            axis = axes[0] if len(axes) == 1 else axes
            text = f"k{number}({arg}, {axis})"
            if kept:
                text = f"{text}.reshape({self._inner(node)})"
            self._space[f"r{number}"] = reduction
            body.append(f"r{number}(t{position}, {text}, {_out(reduction)}t{position})")
        self._release(node)


# BLAS spreads a dot product of more than 10,000 numbers over threads of its own, beside ours.
_PIECE = 1 << 12


def _dot(a: Array, b: Array) -> float:
    """The sum of all products, piece by piece."""
    a, b = a.reshape(-1), b.reshape(-1)
    even = a.size - a.size % _PIECE
    total = float(np.vecdot(a[even:], b[even:]))
    if even:
        pieces = np.vecdot(a[:even].reshape(-1, _PIECE), b[:even].reshape(-1, _PIECE))
        total += float(np.add.reduce(pieces))
    return total


def _out(function: Any) -> str:
    """NumPy wants these two to be told which argument is the output; the rest is quicker without."""
    return "out=" if function in (np.maximum, np.minimum) else ""


# Ufuncs that take many times as long as arithmetic.
_SLOW = {
    *(np.exp, np.exp2, np.expm1, np.log, np.log2, np.log10, np.log1p, np.power),
    *(np.sin, np.cos, np.tan, np.arcsin, np.arccos, np.arctan, np.arctan2, np.hypot),
    *(np.sinh, np.cosh, np.tanh, np.arcsinh, np.arccosh, np.arctanh),
}
