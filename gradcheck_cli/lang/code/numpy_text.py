"""Nodes as code for NumPy and SciPy."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import GradcheckError, Problem
from gradcheck_cli.graph import CONST, INPUT, Expr, rebuild, symbolic_sizes, topological
from gradcheck_cli.lang.code.cost import is_view
from gradcheck_cli.lang.code.numpy_table import TABLE, refuse_unlike
from gradcheck_cli.lang.code.numpy_templates import PRODUCTS, Unspelled
from gradcheck_cli.lang.code.torch_text import LINE, adopts
from gradcheck_cli.lang.printer import ATOM, PRODUCT, SPECIAL, Printer
from gradcheck_cli.ops._common import dims_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Definitions stand on each other, but not deeper than this.
_DEEPEST = 8
_FORMATTER = string.Formatter()


class NumpyPrinter(Printer):
    """Writes nodes as code for NumPy. Raises GradcheckError (GC029) for an operator without a spelling."""

    def __init__(self, names: Mapping[Expr, str], define: Mapping[Expr, str]) -> None:
        super().__init__(names, share=True, define=define)

    def write(self, node: Expr) -> tuple[str, int]:
        """A node's text."""
        try:
            return self.written(node)
        except Unspelled:
            raise unavailable(node) from None

    def written(self, node: Expr) -> tuple[str, int]:
        """The same. Raises Unspelled where the table has no text for it."""
        refuse_unlike(node)
        if _is_python(node):
            return super().write(node)
        before: dict[Expr, tuple[str, int]] = {}
        if adopts(node):
            # Functions of real numbers: NumPy has them round to the size of small integers and masks.
            args = node.inputs[1:] if node.op.name == "where" else node.inputs
            before = {arg: self.done[arg] for arg in args if arg.value is None}
            self.done.update({arg: (f"{self.atom(arg)}.astype(float)", ATOM) for arg in before})
        try:
            return spelled(self, node), PRODUCT if node.op.name in PRODUCTS else ATOM
        finally:
            self.done.update(before)

    def repeats(self, node: Expr, text: str, uses: int) -> bool:
        """As in other code that runs."""
        return len(text) > LINE or (uses > 1 and not is_view(node))

    def atom(self, node: Expr) -> str:
        """The text of an argument, ready for a method."""
        return self.text(node, ATOM)

    def axis(self, node: Expr) -> str:
        """The dims of a reduction; nothing where it goes over all."""
        x = node.inputs[0]
        dim = node.attributes.get("dim")
        if dim is None or dim == ():
            return ""
        dims = dims_of(dim, x.ndim)
        if not x.ndim:
            return ""
        return self.literal(dims[0] if len(dims) == 1 else dims)

    def keepdims(self, node: Expr) -> str:
        """The argument that keeps reduced dims."""
        return ", keepdims=True" if node.attributes.get("keepdim") else ""

    def literal(self, value: Any) -> str:
        """An attribute's text; tuples as NumPy wants axes."""
        if isinstance(value, tuple):
            return f"({', '.join(map(self.literal, value))}{',' if len(value) == 1 else ''})"
        return super().literal(value)

    @staticmethod
    def number(value: Any) -> tuple[str, int]:
        """A number; NumPy has its own infinity."""
        text, strength = Printer.number(value)
        return text.replace("math.", "np."), strength

    @staticmethod
    def dtype(node: Expr) -> str:
        """NumPy's name of the node's dtype."""
        name = node.dtype.name
        return f"np.{name}" if name != "bool" else "bool"


def spelled(printer: NumpyPrinter, node: Expr) -> str:
    """The text of a node by the table. Raises Unspelled where the table has none."""
    spelling = TABLE.get(node.op.name)
    if spelling is None:
        raise Unspelled
    if not isinstance(spelling, str):
        return spelling(printer, node)
    parts: list[str] = []
    for literal, name, _, _ in _FORMATTER.parse(spelling):
        parts.append(literal)
        if name is not None:
            parts.append(_part(printer, node, name))
    return "".join(parts)


def _part(printer: NumpyPrinter, node: Expr, name: str) -> str:
    if name == "*":
        return ", ".join("None" if arg is None else printer.text(arg) for arg in node.args)
    if name == "x":
        return printer.atom(node.inputs[0])
    if name.isdecimal():
        return printer.text(node.inputs[int(name)])
    value = node.attributes[name]
    return printer.number_text(value) if isinstance(value, Expr) else printer.literal(value)


def with_spellings(nodes: Sequence[Expr]) -> tuple[Expr, ...]:
    """The nodes with operators that the table lacks replaced by their definitions, where they have one.

    Raises GradcheckError (GC029) for one that has neither.
    """
    current = tuple(nodes)
    for _ in range(_DEEPEST):
        made: dict[Expr, Expr] = {}
        for node in topological(current, sizes=True):
            after = rebuild(node, made.__getitem__)
            if not _has_spelling(after):
                after = _defined(after)
            made[node] = after
        found = tuple(made[node] for node in current)
        if found == current:
            break
        current = found
    return current


def _is_python(node: Expr) -> bool:
    """Whether the syntax of Python says it, and means the same of arrays."""
    op = node.op
    if op in (INPUT, CONST) or op.name in SPECIAL or (op.infix and Printer.plain(node)):
        return True
    return op.name == "unsqueeze" and node.attributes["dim"] >= 0


def _has_spelling(node: Expr) -> bool:
    try:
        NumpyPrinter(dict.fromkeys(_read_by(node), "x"), {}).written(node)
    except Unspelled:
        return False
    return True


def _read_by(node: Expr) -> set[Expr]:
    """What the text of a node names: its arguments, its sizes, and what these are sizes of."""
    found: set[Expr] = set()
    pending = [*node.inputs, *symbolic_sizes(node)]
    while pending:
        other = pending.pop()
        if other not in found:
            found.add(other)
            pending += other.inputs if other.value is not None else ()
    return found


def _defined(node: Expr) -> Expr:
    """A node's definition in smaller operators."""
    op = node.op
    if op.define is None or op.outputs:
        raise unavailable(node)
    found = op.define(*node.args, **node.attributes)
    if not isinstance(found, Expr) or found is node:
        raise unavailable(node)
    return found


def unavailable(node: Expr) -> GradcheckError:
    """The error of an operator without a spelling."""
    message = f"{node.op.python_name}() has no short form in NumPy or SciPy"
    return GradcheckError(Problem("GC029", message, hint="take the PyTorch code: --python"))
