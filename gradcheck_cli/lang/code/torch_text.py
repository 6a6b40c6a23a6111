"""Nodes as PyTorch code that runs as it stands, outside of a check.

The expression language is PyTorch's but for three things: functions may stand without their module; what is
made from no floating-point tensor (`torch.eye(4)`, `torch.where(mask, 1.0, 0.1)`, whole numbers divided)
is of the check's dtype; and no tensor has a device. Code says all three, so that it is right in any dtype,
on any device, whatever PyTorch's defaults are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from gradcheck_cli.dtypes import DType, complex128, float64
from gradcheck_cli.errors import GradcheckError, Problem
from gradcheck_cli.graph import BARE, CONST, INPUT, TABLE, Expr, Op, topological
from gradcheck_cli.lang.code.cost import is_view
from gradcheck_cli.lang.printer import ATOM, Printer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.lang.printer import Printed
    from gradcheck_cli.schema import Parameter

# A longer piece of a formula gets a line of its own.
LINE = 72
# Of a tensor, these read only the shape; with the method that makes the same from another tensor.
_FROM_SHAPE = {"zeros_like": "new_zeros", "ones_like": "new_ones", "full_like": "new_full"}


@dataclass(frozen=True, slots=True)
class _Text:
    """An attribute that is code already."""

    text: str


@cache
def full_name(name: str) -> str:
    """Where PyTorch has the function that `name` without a module means: `torch.softmax`.

    Of several places torch itself, which what is common is written with; F where only F takes its
    arguments.
    """
    place = next(place for place in BARE if f"{place}.{name}" in TABLE.functions)
    meant = TABLE.functions[f"{place}.{name}"]
    if TABLE.functions.get(f"torch.{name}") == meant:
        return f"torch.{name}"
    return f"{place}.{name}"


def adopts(node: Expr) -> bool:
    """Whether a node is of the default dtype because nothing it is made from has a floating one."""
    if node.value is not None or node.op in (INPUT, CONST) or node.dtype.kind not in "fz":
        return False
    if any(arg.value is None and arg.dtype.kind in "fz" for arg in node.inputs):
        return False
    return node.attributes.get("dtype") is None


class TorchPrinter(Printer):
    """Writes nodes as PyTorch code.

    `like` is the name of a tensor whose dtype and device are the function's. Of the inputs in `shapes` only
    the shape is at hand, under that name. With `relative`, float64 means the dtype of `like`.
    """

    def __init__(
        self,
        names: Mapping[Expr, str],
        *,
        like: str,
        define: Mapping[Expr, str] | None = None,
        shapes: Mapping[Expr, str] | None = None,
        relative: bool = True,
    ) -> None:
        super().__init__(names, share=True, define=define)
        self.like = like
        self.shapes = shapes or {}
        self.relative = relative
        self.taken |= {like, *self.shapes.values()}
        self.siblings: Counter[Any] = Counter()
        self.calls: dict[Any, str] = {}

    def print(self, nodes: Sequence[Expr]) -> Printed:
        """As the printer of the language does; a call with several results is made once."""
        order = topological(nodes, sizes=True, given=self.done)
        self.siblings = Counter(_call(node) for node in order if node.op.outputs)
        return super().print(nodes)

    def repeats(self, node: Expr, text: str, uses: int) -> bool:
        """Code runs: what takes time is done once, and a line stays short."""
        return len(text) > LINE or (uses > 1 and not is_view(node))

    def field(self, node: Expr, call: str) -> str:
        """One of several results."""
        key = _call(node)
        if self.siblings[key] > 1:
            name = self.calls.get(key)
            if name is None:
                name = self.calls[key] = self.fresh()
                self.let.append((name, call))
            call = name
        return super().field(node, call)

    def write(self, node: Expr) -> tuple[str, int]:
        """A node's text, of the dtype that the graph has for it."""
        if node.op.name in _FROM_SHAPE and node.inputs[0] in self.shapes:
            return self.from_shape(node), ATOM
        if node.op.name.startswith("_"):
            raise unavailable(node)
        if node.op.name == "view_as_real":
            # A conjugate is lazy in PyTorch, and has no real view before it is computed.
            return self.rewritten(
                node, {node.inputs[0]: f"{self.atom(node.inputs[0])}.resolve_conj()"}
            )
        if not adopts(node) or not any(arg.value is None for arg in node.inputs):
            return super().write(node)
        if any(p.name == "dtype" for p in node.op.signature.parameters):
            return super().write(node)
        return self.rewritten(node, self.converted(node))

    def rewritten(self, node: Expr, arguments: Mapping[Expr, str]) -> tuple[str, int]:
        """A node's text with other texts for some of its arguments."""
        before = {arg: self.done[arg] for arg in arguments}
        self.done.update({arg: (text, ATOM) for arg, text in arguments.items()})
        try:
            return super().write(node)
        finally:
            self.done.update(before)

    def atom(self, node: Expr) -> str:
        """The text of an argument, ready for a method."""
        return self.text(node, ATOM)

    def converted(self, node: Expr) -> dict[Expr, str]:
        """The arguments of a node that adopts the default dtype, brought to the dtype of `like`."""
        args = [arg for arg in node.args if arg is not None]
        if node.op.python_name == "where":
            args = [arg for arg in args if arg is not _condition(node)]
        tensors = [arg for arg in args if arg.value is None]
        if tensors:
            return {arg: f"{self.atom(arg)}.to({self.like}.dtype)" for arg in tensors}
        return {args[0]: f"{self.like}.new_tensor({self.text(args[0])})"}

    def from_shape(self, node: Expr) -> str:
        """Zeros, ones or another number, of a shape alone."""
        name, attributes = node.op.name, node.attributes
        arguments = [self.shapes[node.inputs[0]]]
        if name == "full_like":
            arguments.append(self.literal_or_size(attributes["fill_value"]))
        wanted = node.inputs[0].dtype if attributes["dtype"] is None else attributes["dtype"]
        if wanted is not float64:
            arguments.append(f"dtype={self.literal(wanted)}")
        return f"{self.like}.{_FROM_SHAPE[name]}({', '.join(arguments)})"

    def literal_or_size(self, value: Any) -> str:
        """A number, symbolic or not."""
        return self.text(value) if isinstance(value, Expr) else self.literal(value)

    def call(self, node: Expr) -> str:
        """A call; of what is made from nothing, with the device."""
        if node.op.name == "numel" and node.inputs[0] in self.shapes:
            return f"{self.shape_of(node.inputs[0])}.numel()"
        text = super().call(node)
        if any(p.is_tensor for p in node.op.signature.parameters):
            return text
        return f"{text[:-1]}, device={self.like}.device)"

    def values(self, node: Expr) -> list[Any]:
        """The arguments, with the dtype said where the language leaves it to the check."""
        values = super().values(node)
        for position, parameter in enumerate(node.op.signature.parameters):
            if parameter.name != "dtype":
                continue
            value = values[position]
            # Between tensors, too, torch.linspace is of PyTorch's default dtype.
            unsaid = node.op.name == "linspace.tensors" and value is None
            if adopts(node) or unsaid or (value is float64 and self.relative):
                values[position] = _Text(f"{self.like}.dtype")
            elif value is complex128 and self.relative:
                values[position] = _Text(f"{self.like}.dtype.to_complex()")
        return values

    def argument(self, parameter: Parameter, value: Any) -> str:
        """The text of one argument."""
        return value.text if isinstance(value, _Text) else super().argument(parameter, value)

    def arguments(self, parameters: Sequence[Parameter], values: Sequence[Any]) -> list[str]:
        """As in the language; PyTorch's sums keep dims only where `dim` is said, too."""
        parts = super().arguments(parameters, values)
        given = {parameter.name: value for parameter, value in zip(parameters, values, strict=True)}
        if given.get("keepdim") is True and given.get("dim", ()) is None:
            parts.insert(parts.index("keepdim=True"), "dim=None")
        return parts

    def function_name(self, op: Op) -> str:
        """The place in PyTorch, with its module."""
        found = [path for path in op.spellings if not path.startswith("Tensor.")]
        return min(found, key=lambda path: not path.startswith("torch."), default="")

    def shape_of(self, owner: Expr) -> str:
        """The whole shape of a tensor, also of an input of which there is nothing else."""
        return self.shapes.get(owner) or super().shape_of(owner)

    def literal(self, value: Any) -> str:
        """An attribute's text."""
        return f"torch.{value.name}" if isinstance(value, DType) else super().literal(value)


def unavailable(node: Expr) -> GradcheckError:
    """The error of an operator that is PyTorch's own business."""
    message = f"torch.{node.op.python_name}() is internal to PyTorch: no code can rest on it"
    return GradcheckError(Problem("GC029", message))


def _call(node: Expr) -> Any:
    return node.op, node.args, node.attrs


def _condition(node: Expr) -> Expr | None:
    """The mask among the arguments of `where`."""
    place = [p.name for p in node.op.signature.parameters].index("condition")
    return node.args[place]
