"""A graph back to text in PyTorch's syntax: the parser's inverse.

Parsing the text of a node over the same names gives the same node. Operators print as their records say;
an expression that a formula would repeat at length gets a name of its own (`let` lines).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli.dtypes import DType
from gradcheck_cli.graph import CONST, INPUT, TABLE, Expr, Op, symbolic_sizes, topological

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gradcheck_cli.schema import Parameter

# Binding strength in Python's grammar, weakest first.
_COMPARE, _OR, _XOR, _AND, _SUM, PRODUCT, _UNARY, _POWER, ATOM = range(9)
_BINARY = {
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">="), _COMPARE),
    "|": _OR,
    "^": _XOR,
    "&": _AND,
    **dict.fromkeys(("+", "-"), _SUM),
    **dict.fromkeys(("*", "/", "//", "%", "@"), PRODUCT),
    "**": _POWER,
}
# A shared expression is named once repeating it would add more characters than this.
_REPEAT = 32
# Without definitions, text can double with every node that is used twice.
_MOST_CHARACTERS = 100_000
# Below these, text stays readable and within what the parser accepts.
_MAX_DEPTH = 40
_MAX_TEXT = 400


@dataclass(frozen=True, slots=True)
class Printed:
    """Formulas as text: definitions in order, then one text per node asked for."""

    let: tuple[tuple[str, str], ...]
    texts: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([*(f"{name} = {text}" for name, text in self.let), *self.texts])


def to_text(node: Expr, names: Mapping[Expr, str] | None = None) -> str:
    """A node as one expression, without definitions; `names` are nodes that print as a name.

    What would exceed a hundred thousand characters is cut, with `...` in its place.

    >>> from gradcheck_cli.graph import variable
    >>> x = variable("x", (3, 4))
    >>> to_text(2 * (x - 1.5).sum(1, keepdim=True))
    '2 * (x - 1.5).sum(1, keepdim=True)'
    """
    return Printer(names or {}, share=False).print([node]).texts[0]


def print_formulas(
    nodes: Sequence[Expr], names: Mapping[Expr, str] | None = None, taken: Iterable[str] = ()
) -> Printed:
    """Nodes as formulas, with `let` definitions for what they would repeat.

    `taken` are names that mean something where the formulas will be read; none is used for anything else.
    """
    printer = Printer(names or {}, share=True)
    printer.taken.update(taken)
    return printer.print(nodes)


class Printer:
    """Writes nodes in the expression language; subclasses spell it for other readers.

    `names` are nodes that print as a name, `define` those that get a `let` line of this name. With `share`,
    what would be repeated gets one too.
    """

    def __init__(
        self, names: Mapping[Expr, str], *, share: bool, define: Mapping[Expr, str] | None = None
    ) -> None:
        self.share = share
        self.define = define or {}
        self.done: dict[Expr, tuple[str, int]] = {n: (name, ATOM) for n, name in names.items()}
        self.depth: dict[Expr, int] = dict.fromkeys(names, 0)
        self.taken: set[str] = {*names.values(), *self.define.values()}
        self.let: list[tuple[str, str]] = []

    def print(self, nodes: Sequence[Expr]) -> Printed:
        """The texts of `nodes`, and the lines that they need before them."""
        order = topological(nodes, sizes=True)
        uses: dict[Expr, int] = dict.fromkeys(nodes, 1)
        for node in order:
            if node.op is INPUT:
                self.taken.add(node.attributes["name"])
        # Users before arguments, so that what stands only below a name counts for nothing.
        for node in reversed(order):
            if node in uses and node not in self.done:
                for child in (*node.inputs, *set(symbolic_sizes(node))):
                    uses[child] = uses.get(child, 0) + 1
        for node in order:
            if node in self.done or node not in uses:
                continue
            text, strength = self.write(node)
            below = (*node.inputs, *symbolic_sizes(node))
            depth = 1 + max((self.depth[child] for child in below), default=0)
            if node in self.define:
                self.let.append((self.define[node], text))
                text, strength, depth = self.define[node], ATOM, 0
            elif self.share and node.op not in (INPUT, CONST) and node not in nodes:
                if self.repeats(node, text, uses[node]) or depth > _MAX_DEPTH:
                    name = self.fresh()
                    self.let.append((name, text))
                    text, strength, depth = name, ATOM, 0
            elif len(text) > _MOST_CHARACTERS:
                text, strength = "...", ATOM
            self.done[node], self.depth[node] = (text, strength), depth
        return Printed(tuple(self.let), tuple(self.done[node][0] for node in nodes))

    def repeats(self, node: Expr, text: str, uses: int) -> bool:
        """Whether a node of so many users is too much to repeat, or to write in one line."""
        repeated = (uses - 1) * len(text) > _REPEAT and node.value is None
        return repeated or len(text) > _MAX_TEXT

    def fresh(self) -> str:
        """A name for a `let` line that nothing else has."""
        number = len(self.let) + 1 - sum(name in self.define.values() for name, _ in self.let)
        while f"t{number}" in self.taken:
            number += 1
        self.taken.add(f"t{number}")
        return f"t{number}"

    def text(self, node: Expr, least: int = _COMPARE) -> str:
        """The text of a node already printed, in parentheses where its binding is weaker."""
        text, strength = self.done[node]
        return f"({text})" if strength < least else text

    def write(self, node: Expr) -> tuple[str, int]:
        """The text of a node whose arguments are printed, and how strongly it binds."""
        op = node.op
        if op is INPUT:
            return node.attributes["name"], ATOM
        if op is CONST:
            return self.number(node.value)
        special = SPECIAL.get(op.name)
        if special is not None:
            return getattr(self, special)(node), ATOM
        if op.name == "unsqueeze" and node.attributes["dim"] >= 0:
            return self.write_subscript(node), ATOM
        if op.attribute:
            return f"{self.text(node.inputs[0], ATOM)}.{op.attribute}", ATOM
        if op.infix and self.plain(node):
            return self.infix(node, op.infix)
        text = self.call(node)
        return (self.field(node, text) if op.outputs else text), ATOM

    def field(self, node: Expr, call: str) -> str:
        """One of several outputs; what functions of F return, and PyTorch's own ones, is a plain tuple."""
        op = node.op
        named = op.on != ("F",) and not op.name.startswith("_")
        return f"{call}.{op.outputs[node.output]}" if named else f"{call}[{node.output}]"

    @staticmethod
    def number(value: Any) -> tuple[str, int]:
        """A literal, and how strongly it binds."""
        if isinstance(value, float) and not math.isfinite(value):
            if value != value:
                return "math.nan", ATOM
            return ("math.inf", ATOM) if value > 0 else ("-math.inf", _UNARY)
        negative = not isinstance(value, bool) and math.copysign(1, value) < 0
        return repr(value), _UNARY if negative else ATOM

    @staticmethod
    def plain(node: Expr) -> bool:
        """Whether all attributes have their defaults, so that an infix form says everything."""
        attributes = node.attributes
        return all(
            p.is_tensor or same(attributes[p.name], p.default) for p in node.op.signature.parameters
        )

    def infix(self, node: Expr, symbol: str) -> tuple[str, int]:
        """An operator between its arguments, or before its only one."""
        if len(node.inputs) == 1:
            return f"{symbol}{self.text(node.inputs[0], _UNARY)}", _UNARY
        left, right = node.inputs
        strength = _BINARY[symbol]
        if symbol == "**":
            return f"{self.text(left, ATOM)} ** {self.text(right, _UNARY)}", strength
        first = strength + 1 if strength == _COMPARE else strength
        return f"{self.text(left, first)} {symbol} {self.text(right, strength + 1)}", strength

    def call(self, node: Expr) -> str:
        """A call of a method or a function."""
        op = node.op
        parameters = list(op.signature.parameters)
        values = self.values(node)
        receiver = ""
        first = node.args[0] if node.args else None
        method = "Tensor" in op.on and parameters and parameters[0].type.startswith("Tensor")
        named = self.function_name(op)
        if method and first is not None and first.value is None and (op.method or not named):
            receiver = self.text(first, ATOM) + "."
            named = op.python_name
            parameters, values = parameters[1:], values[1:]
        assert named, f"{op} has no spelling to print"
        return f"{receiver}{named}({', '.join(self.arguments(parameters, values))})"

    def function_name(self, op: Op) -> str:
        """The shortest spelling that means this operator and no input's name hides."""
        name = op.python_name
        if name not in self.taken and op in (TABLE.bare(name) or ()):
            return name
        for spelling in op.spellings:
            if not spelling.startswith("Tensor."):
                return spelling
        return ""

    def values(self, node: Expr) -> list[Any]:
        """One value per parameter: nodes, lists of nodes, or attributes."""
        attributes = node.attributes
        args = list(node.args)
        tensors = [p for p in node.op.signature.parameters if p.is_tensor]
        spare = len(args) - sum(p.type != "Tensor[]" for p in tensors)
        values: list[Any] = []
        for parameter in node.op.signature.parameters:
            if not parameter.is_tensor:
                values.append(attributes[parameter.name])
            elif parameter.type == "Tensor[]":
                values.append(list(args[:spare]))
                del args[:spare]
            else:
                values.append(args.pop(0))
        return values

    def arguments(self, parameters: Sequence[Parameter], values: Sequence[Any]) -> list[str]:
        """The texts of a call's arguments, without those that have their defaults."""
        parts: list[str] = []
        skipped = False
        for parameter, value in zip(parameters, values, strict=True):
            if parameter.has_default and same(value, parameter.default):
                skipped = True
                continue
            text = self.argument(parameter, value)
            positional = not (skipped or parameter.keyword_only or isinstance(value, (bool, DType)))
            if positional and parameter.variadic and parameter.type == "Tensor[]":
                parts.extend(self.text(v) for v in value)
            elif positional:
                parts.append(text)
            else:
                skipped = True
                parts.append(f"{parameter.name}={text}")
        return parts

    def argument(self, parameter: Parameter, value: Any) -> str:
        """The text of one argument."""
        if isinstance(value, Expr):
            return self.text(value)
        if isinstance(value, list):
            return f"[{', '.join('None' if v is None else self.text(v) for v in value)}]"
        if parameter.type == "size":
            return self.shape(value)
        if parameter.type in ("int[]", "int?[]") and isinstance(value, tuple):
            return str(value[0]) if len(value) == 1 else str(value)
        return self.literal(value)

    def shape_of(self, owner: Expr) -> str:
        """The whole shape of a tensor."""
        return f"{self.text(owner, ATOM)}.shape"

    def shape(self, value: tuple[Any, ...]) -> str:
        """A shape; `x.shape` where it is the whole of one tensor's."""
        owners = {s.inputs[0] for s in value if isinstance(s, Expr) and s.op.name == "size"}
        if len(owners) == 1:
            owner = owners.pop()
            whole = tuple(owner.size(d) for d in range(owner.ndim))
            if value == whole:
                return self.shape_of(owner)
            if len(value) > 1 and value == whole[-len(value) :]:
                return f"{self.shape_of(owner)}[{owner.ndim - len(value)}:]"
            if len(value) > 1 and value == whole[: len(value)]:
                return f"{self.shape_of(owner)}[:{len(value)}]"
        parts = [self.text(s) if isinstance(s, Expr) else str(s) for s in value]
        return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"

    def literal(self, value: Any) -> str:
        """An attribute that is no node."""
        if isinstance(value, tuple):
            parts = [self.literal(item) for item in value]
            return f"[{', '.join(parts)}]"
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self.number(value)[0]
        return repr(value)

    def write_subscript(self, node: Expr) -> str:
        """`x[:, 1:3, None]`: what one subscript does from left to right is written as one."""
        chain, x = [node], node.inputs[0]
        while x.op.name in _CUTS and not self.done[x][0].isidentifier():
            if not 0 <= x.attributes["dim"] <= _place(chain[-1]) - (x.op.name != "select"):
                break
            chain.append(x)
            x = x.inputs[0]
        items: list[str] = []
        place = 0
        for step in reversed(chain):
            dim = _place(step)
            items += [*[":"] * (dim - place), self.item(step)]
            place = dim + (step.op.name != "select")
        new = items.count("None")
        if x.ndim > 1 and items == [":"] * x.ndim + ["None"] * new:
            items = ["...", *["None"] * new]
        return f"{self.text(x, ATOM)}[{', '.join(items)}]"

    def item(self, step: Expr) -> str:
        """What stands in a subscript for one step: `None`, `1`, `1:3`."""
        attributes = step.attributes
        if step.op.name == "unsqueeze":
            return "None"
        if step.op.name == "select":
            return self.number_text(attributes["index"])
        start = attributes["start"]
        bounds = [None if same(start, 0) else start, attributes["end"]]
        if not same(attributes["step"], 1):
            bounds.append(attributes["step"])
        return ":".join("" if bound is None else self.number_text(bound) for bound in bounds)

    def number_text(self, value: Any) -> str:
        """A whole number, symbolic or not."""
        return self.text(value) if isinstance(value, Expr) else str(value)

    def write_index(self, node: Expr) -> str:
        """`x[:, index]`."""
        indices = [":" if i is None else self.text(i) for i in node.args[1:]]
        return f"{self.text(node.inputs[0], ATOM)}[{', '.join(indices)}]"

    def write_size(self, node: Expr) -> str:
        """`x.shape[1]`."""
        return f"{self.shape_of(node.inputs[0])}[{node.attributes['dim']}]"

    def write_real(self, node: Expr) -> str:
        """`x.real`."""
        return f"{self.text(node.inputs[0], ATOM)}.real"


SPECIAL = {
    "real.complex": "write_real",
    "select": "write_subscript",
    "slice": "write_subscript",
    "index": "write_index",
    "size": "write_size",
}


# What subscripts are made of, beside index tensors.
_CUTS = frozenset(["select", "slice", "unsqueeze"])


def _place(step: Expr) -> int:
    """The dimension that a step of a subscript is about, counted from the front."""
    ndim = step.ndim if step.op.name == "unsqueeze" else step.inputs[0].ndim
    dim: int = step.attributes["dim"]
    return dim % ndim


def same(a: Any, b: Any) -> bool:
    """Equality that tells 1, 1.0 and True apart, and 0.0 and -0.0, also inside tuples."""
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a.hex() == b.hex()
    return type(a) is type(b) and a == b
