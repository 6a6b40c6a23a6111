"""One entry under `inputs` -> `InputSpec`: what needs several of its keys to be judged."""

from __future__ import annotations

import keyword
import unicodedata
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import did_you_mean
from gradcheck_cli.spec import files
from gradcheck_cli.spec.check import FLOATING, WHOLE, Avoid, InputSpec, Value
from gradcheck_cli.spec.nodes import Document, Entries, Items, Node, Scalar
from gradcheck_cli.spec.samplers import SAMPLERS, Sampler, bounds_problem, shape_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

_RESERVED = {"grad": "the upstream gradient", "torch": "PyTorch", "F": "torch.nn.functional"}
_RESERVED |= {"math": "Python's math module"}
_PARAMETERS = frozenset(name for sampler in SAMPLERS.values() for name in sampler.parameters)
_NOT_FINITE = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
RANGES = {
    **{f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    "uint8": (0, 255),
    "bool": (0, 1),
}


class _BadError(Exception):
    """The input is wrong, and the problem is noted already."""


def check_name(made: Document, key: Scalar, what: str) -> bool:
    """Whether a key can be a name in an expression; notes the problem where it can't."""
    name = key.text
    hint = None
    if not name.isidentifier() or len(name) > 100:
        problem, hint = "is no name", "letters, digits and `_`, not beginning with a digit"
    elif keyword.iskeyword(name):
        problem = "is a word of Python's grammar"
    elif name in _RESERVED:
        problem = f"stands for {_RESERVED[name]} in an expression"
    elif name.startswith("__"):
        problem = "begins with two underscores, which is reserved"
    elif unicodedata.normalize("NFKC", name) != name:
        # Python's grammar normalises names, so the expression would hold another one.
        problem = "holds characters that Python replaces in names"
        hint = f"write `{unicodedata.normalize('NFKC', name)}`"
    else:
        return True
    made.add("GC002", f"`{name[:60]}` can't name {what}: it {problem}", key, hint)
    return False


def read_input(
    made: Document, base: Path | None, key: Scalar, node: Entries, dims: Mapping[str, int]
) -> InputSpec | None:
    """The input called `key`; None where something is wrong with it, which is noted."""
    try:
        return _Reader(made, base, key, node, dims).read()
    except _BadError:
        return None


class _Reader:
    def __init__(
        self,
        made: Document,
        base: Path | None,
        key: Scalar,
        node: Entries,
        dims: Mapping[str, int],
    ) -> None:
        self.made = made
        self.base = base
        self.key = key
        self.node = node
        self.given: Mapping[str, Any] = node.value
        self.dims = dims

    def bad(self, code: str, message: str, at: str | Node, hint: str | None = None) -> _BadError:
        node = self.node.keys[at] if isinstance(at, str) else at
        self.made.add(code, message, node, hint)
        return _BadError()

    def read(self) -> InputSpec:
        given = self.given
        origins = [name for name in ("sample", "value", "file") if name in given]
        if len(origins) > 1:
            message = f"`{origins[0]}` and `{origins[1]}` both say what the input is"
            raise self.bad("GC002", message, origins[1], "keep one of them")
        if "key" in given and "file" not in given:
            raise self.bad("GC002", "`key` chooses from a `file`, and there is none", "key")
        source: Callable[[], InputSpec] = self.sampled
        if origins and origins[0] != "sample":
            for name in sorted(_PARAMETERS | {"avoid"}):
                if name in given:
                    message = f"`{name}` belongs to a sampler, and here is a `{origins[0]}`"
                    raise self.bad("GC002", message, name)
            source = self.valued if origins[0] == "value" else self.filed
        spec = source()
        self.check_structure(spec)
        if spec.requires_grad and not spec.is_floating:
            message = (
                f"`{spec.name}` is {spec.dtype}, and only floating-point inputs have a gradient"
            )
            hint = "write the numbers with a decimal point" if "value" in given else None
            self.made.add("GC020", message, self.node.keys["requires_grad"], hint)
        return spec

    def shape(self) -> tuple[int, ...] | None:
        node = self.node.entries.get("shape")
        if not isinstance(node, Items):
            return None
        sizes: list[int] = []
        for index, item in enumerate(node.items):
            size: Any = item.value
            if isinstance(size, str):
                if size not in self.dims:
                    known = did_you_mean(size, self.dims)
                    message = f'`shape[{index}]` must be a whole number >= 0, not "{size[:60]}"'
                    raise self.bad(
                        "GC002", message, item, known or "a name must stand under `dims`"
                    )
                size = self.dims[size]
            sizes.append(size)
        return tuple(sizes)

    def made_from(self, shape: tuple[int, ...], **more: Any) -> InputSpec:
        return InputSpec(
            name=self.key.text,
            shape=shape,
            source=self.made.source(self.key),
            requires_grad=self.given.get("requires_grad"),
            structure=self.given.get("structure"),
            **more,
        )

    def sampled(self) -> InputSpec:
        given = self.given
        shape = self.shape()
        if shape is None:
            hint = "as in {shape: [3, 8]}; `[]` is a single number"
            message = f"input `{self.key.text}` has no `shape`"
            raise self.bad("GC004", message, self.key, hint)
        sampler = SAMPLERS[given.get("sample", "normal")]
        parameters = dict(sampler.parameters)
        for name in given:
            if name in parameters:
                parameters[name] = given[name]
            elif name in _PARAMETERS:
                takes = ", ".join(f"`{p}`" for p in parameters)
                message = f"`{name}` is no parameter of {sampler.name}"
                raise self.bad("GC003", message, name, f"it takes {takes or 'none'}")
        problem = bounds_problem(sampler, parameters) or shape_problem(sampler, shape)
        if problem is not None:
            place = self.node.entries.get("sample") or self.key
            first = next((self.node.keys[name] for name in given if name in parameters), place)
            raise self.bad("GC002", problem, first)
        dtype = given.get("dtype", sampler.dtype)
        self.check_sampled_dtype(sampler, dtype, parameters)
        return self.made_from(
            shape,
            dtype=dtype,
            sampler=sampler.name,
            parameters=parameters,
            avoid=self.avoid(sampler),
        )

    def check_sampled_dtype(
        self, sampler: Sampler, dtype: str | None, parameters: Mapping[str, float]
    ) -> None:
        if dtype is None or dtype not in WHOLE:
            return
        if not sampler.whole:
            message = f"{sampler.name} draws fractions, which {dtype} can't hold"
            whole = ", ".join(s.name for s in SAMPLERS.values() if s.whole)
            raise self.bad("GC002", message, "dtype", f"of whole numbers are: {whole}")
        least, most = RANGES[dtype]
        if (
            sampler.name == "integers"
            and not least <= parameters["low"] <= parameters["high"] - 1 <= most
        ):
            message = f"{dtype} holds {least} to {most}, and `low` and `high` go beyond"
            raise self.bad("GC002", message, self.key)

    def avoid(self, sampler: Sampler) -> Avoid | None:
        node = self.given.get("avoid")
        if node is None:
            return None
        if not sampler.avoidable:
            able = ", ".join(s.name for s in SAMPLERS.values() if s.avoidable)
            raise self.bad("GC002", f"`avoid` works with {able}, not with {sampler.name}", "avoid")
        return Avoid(tuple(float(point) for point in node["near"]), float(node.get("margin", 1e-3)))

    def valued(self) -> InputSpec:
        node = self.node.entries["value"]
        kinds: set[type] = set()
        value, shape = self.value(node, kinds)
        stated = self.shape()
        if stated is not None and stated != shape:
            message = f"`value` has shape {list(shape)}, and `shape` says {list(stated)}"
            raise self.bad("GC002", message, node)
        dtype = self.given.get("dtype")
        if dtype is None and kinds and float not in kinds:
            # As of torch.tensor: [1, 2] is int64, [true, false] is bool.
            dtype = "int64" if int in kinds else "bool"
        if dtype in WHOLE:
            self.check_whole(node, dtype)
        return self.made_from(shape, dtype=dtype, value=value)

    def value(self, node: Node, kinds: set[type]) -> tuple[Value, tuple[int, ...]]:
        """The nested lists and their shape; every list of one level must have the same length."""
        if isinstance(node, Items):
            values, first = [], None
            for index, item in enumerate(node.items):
                value, shape = self.value(item, kinds)
                if first is None:
                    first = shape
                elif shape != first:
                    message = (
                        f"`value` is ragged: element {index} of this list has shape "
                        f"{list(shape)}, the first one {list(first)}"
                    )
                    raise self.bad("GC002", message, item)
                values.append(value)
            return values, (len(values), *(first or ()))
        number = node.value
        if isinstance(number, str) and number in _NOT_FINITE:
            # JSON has no other way to write them; the report writes them like this too.
            number = float(_NOT_FINITE[number])
        if not isinstance(number, bool | int | float):
            hint = "as in [[1.0, 2.0], [3.0, .nan]]"
            raise self.bad("GC002", "`value` must hold numbers, in nested lists", node, hint)
        kinds.add(type(number))
        return number, ()

    def check_whole(self, node: Node, dtype: str) -> None:
        if isinstance(node, Items):
            for item in node.items:
                self.check_whole(item, dtype)
            return
        least, most = RANGES[dtype]
        if not isinstance(node.value, int) or not least <= node.value <= most:
            text = node.text[:40] if isinstance(node, Scalar) else ""
            message = f"{dtype} can't hold {text}"
            raise self.bad("GC002", message, node)

    def filed(self) -> InputSpec:
        node = self.node.entries["file"]
        key = self.given.get("key")
        try:
            path = files.locate(self.base, self.given["file"])
            stored = files.inspect(path, key)
        except files.FileError as error:
            self.made.add("GC009", error.message, node, error.hint, error.exit_code)
            raise _BadError from error
        stated = self.shape()
        if stated is not None and stated != stored.shape:
            message = f"the file has shape {list(stored.shape)}, and `shape` says {list(stated)}"
            raise self.bad("GC002", message, "shape")
        dtype = self.given.get("dtype")
        if dtype in WHOLE and stored.dtype in FLOATING:
            message = f"the file holds {stored.dtype}, which {dtype} can't hold"
            raise self.bad("GC002", message, "dtype")
        if dtype is None and stored.dtype in WHOLE:
            dtype = stored.dtype
        return self.made_from(stored.shape, dtype=dtype, file=path, key=key)

    def check_structure(self, spec: InputSpec) -> None:
        structure, shape = spec.structure, spec.shape
        if structure is None:
            return
        if len(shape) < 2 or shape[-1] != shape[-2]:
            message = (
                f"`{structure}` is a structure of square matrices: the last two sizes must be equal"
            )
            raise self.bad("GC002", message, "structure")
        sampler = SAMPLERS[spec.sampler]
        alike = {("spd", "symmetric"), ("lower_triangular", "lower_triangular")}
        if (sampler.square or sampler.dims) and (sampler.name, structure) not in alike:
            message = f"{sampler.name} can't be brought into the structure `{structure}`"
            raise self.bad("GC002", message, "structure")
