"""From a graph to the parts of a formula: names, numbers, calls; what is special stands in `table`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from gradcheck_cli.dtypes import DType
from gradcheck_cli.graph import CONST, INPUT, Expr, topological
from gradcheck_cli.lang.printer import Printer, same
from gradcheck_cli.lang.typeset.names import split
from gradcheck_cli.lang.typeset.parts import Part, call, part, word
from gradcheck_cli.lang.typeset.table import TABLE
from gradcheck_cli.schema import Options

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

UPSTREAM = "grad"
# What the output may be called of which the upstream gradient is the adjoint: the first that is free.
_OUTPUTS = ("y", "z", "o", "u", "output")
# Nested numbers of a literal tensor beyond so many are left out.
_MOST_NUMBERS = 12
# Types whose values stand in square brackets.
_LISTS = ("data", "Tensor[]", "float[]")


class Names:
    """How names are written, each in a way of its own: where two would look the same, one is verbatim.

    `bars` are names that stand for the adjoint of something: `grad` for that of the output.
    """

    def __init__(self, names: Iterable[str], bars: Mapping[str, str] | None = None) -> None:
        self.written: dict[str, Part] = {}
        self.taken: dict[tuple[str, tuple[str, ...]], str] = {}
        self.bars = dict(bars or {})
        listed = sorted(set(names), key=lambda name: ("_" in name, name))
        for name in listed:
            if name not in self.bars and name != UPSTREAM:
                self.written[name] = self._plain(name)
        if UPSTREAM not in self.bars:
            self.bars[UPSTREAM] = next((o for o in _OUTPUTS if o not in self.written), UPSTREAM)

    def part(self, name: str) -> Part:
        """A name as a part."""
        if name not in self.written:
            below = self.bars.get(name)
            plain = below is None or below == name
            self.written[name] = self._plain(name) if plain else part("bar", self.part(below or ""))
        return self.written[name]

    def has(self, name: str) -> bool:
        """Whether a symbol already means something else."""
        return split(name) in self.taken

    def has_subscripts(self, base: Part) -> bool:
        """Whether another name looks like this one with a subscript: `A_0` like an element of `A`."""
        if base.kind != "name":
            return False
        letter, subscripts = split(base.text)
        length = len(subscripts)
        return any(
            other == letter and more[:length] == subscripts and len(more) > length
            for other, more in self.taken
        )

    def _plain(self, name: str) -> Part:
        owner = self.taken.setdefault(split(name), name)
        return part("name" if owner == name else "verbatim", text=name)


class Writer:
    """Nodes to parts, each once."""

    def __init__(
        self,
        nodes: Sequence[Expr],
        names: Mapping[Expr, str],
        bars: Mapping[str, str] | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        order = topological(nodes, sizes=True)
        inputs = [node.attributes["name"] for node in order if node.op is INPUT]
        self.names = Names([*inputs, *names.values(), *taken], bars)
        self.printer = Printer({}, share=False)
        self.done: dict[Expr, Part] = {n: self.names.part(name) for n, name in names.items()}

    def add(self, nodes: Sequence[Expr]) -> None:
        """Write `nodes` and everything below them."""
        for node in topological(nodes, sizes=True, given=self.done):
            if node not in self.done:
                self.done[node] = self._write(node)

    def write(self, node: Expr) -> Part:
        """A node as parts."""
        self.add([node])
        return self.done[node]

    def define(self, node: Expr, name: str) -> Part:
        """What a node is; from here on it is written as `name`."""
        written = self.write(node)
        self.done[node] = self.names.part(name)
        return written

    def _write(self, node: Expr) -> Part:
        if node.op is INPUT:
            return self.names.part(node.attributes["name"])
        if node.op is CONST:
            return number(node.value)
        special = TABLE.get(node.op.name)
        written = special(self, node) if special is not None else None
        return self.plain(node) if written is None else written

    def bare(self, node: Expr) -> Part:
        """A node where a condition is expected."""
        return self.done[node]

    def __call__(self, node: Expr) -> Part:
        """A node as a tensor of numbers: a condition is 1 where it holds, in Iverson's brackets."""
        written = self.done[node]
        if node.dtype.kind == "b" and written.kind in ("relation", "and", "or", "not"):
            return part("iverson", written)
        return written

    def item(self, base: Part, subscripts: Sequence[Part]) -> Part:
        """Elements of a tensor: subscripts, or brackets where these would look like a name's."""
        like_name = self.names.has_subscripts(base)
        return part("item", base, *subscripts, text="[" if like_name else "")

    def whole(self, value: Any) -> Part:
        """A whole number, symbolic or not."""
        return self.done[value] if isinstance(value, Expr) else number(value)

    def plain(self, node: Expr) -> Part:
        """A call as PyTorch has it."""
        op = node.op
        args: list[Part] = []
        named = False
        for parameter, value in zip(
            op.signature.parameters, self.printer.values(node), strict=True
        ):
            if parameter.has_default and same(value, parameter.default):
                named = True
                continue
            written = self.value(value, "[" if parameter.type in _LISTS else "(")
            if named or parameter.keyword_only or isinstance(value, (bool, str)):
                named = True
                written = part("keyword", written, text=parameter.name)
            args.append(written)
        made = call(op.python_name, *args)
        return part("field", made, text=op.outputs[node.output]) if op.outputs else made

    def value(self, value: Any, bracket: str = "(") -> Part:
        """An argument of any kind, a sequence in brackets; of long ones the beginning."""
        if isinstance(value, Expr):
            return self.done[value]
        if isinstance(value, (list, tuple)):
            shown = [self.value(item, bracket) for item in value[:_MOST_NUMBERS]]
            if len(value) > _MOST_NUMBERS:
                shown.append(part("symbol", text="…"))
            return part("fence", *shown, text=bracket)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return word(_spelled(value))
        return number(value)


def _spelled(value: Any) -> str:
    if isinstance(value, DType):
        return value.name
    if isinstance(value, Options):
        return value.name
    return "none" if value is None else str(getattr(value, "__name__", value))


def number(value: Any) -> Part:
    """A number as it is written: `2.0` as 2, `1e-05` as a power of ten."""
    if isinstance(value, bool):
        return word(str(value).lower())
    if isinstance(value, float) and not math.isfinite(value):
        if value != value:
            return word("NaN")
        infinity = part("symbol", text="∞")
        return infinity if value > 0 else part("neg", infinity)
    if math.copysign(1, value) < 0:
        return part("neg", number(-value))
    if value in (math.pi, 2 * math.pi):
        pi = part("symbol", text="π")
        return pi if value == math.pi else part("scale", number(2), pi)
    return part("number", text=repr(value).removesuffix(".0"))
