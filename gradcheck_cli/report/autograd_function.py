"""A derived gradient as a `torch.autograd.Function`: a module that runs as it stands, with its own test."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradcheck_cli.graph import INPUT, Expr, symbolic_sizes, topological
from gradcheck_cli.lang.code.cost import heavy, is_cheap
from gradcheck_cli.lang.code.torch_text import TorchPrinter
from gradcheck_cli.lang.code.written import Written, spoken
from gradcheck_cli.report.example_inputs import example_inputs, seeded
from gradcheck_cli.report.function import RESERVED, docstring_lines, fresh, names_read, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gradcheck_cli.report.function import Function

_SHAPE_ONLY = frozenset(["size", "numel"])
_MADE_LIKE = frozenset(["zeros_like", "ones_like", "full_like"])
# Of complex numbers PyTorch has no derivative of these.
_REAL_ONLY = frozenset(["slice_scatter", "select_scatter"])
_WIDTH = 96
# PyTorch's test runs the function twice for each element of the inputs, moved one by one.
_MOST_FOR_ALL = 128


def autograd_function(function: Function, *, twice: bool = False) -> str:
    """A Python module with a `torch.autograd.Function`, a function that applies it, and its own test.

    What the forward pass has computed at a cost is kept for the backward pass, which computes it again only
    where it is differentiated itself; with `twice`, made for that, it always does.
    """
    return _Module(function, twice=twice).text()


class _Module:
    """The parts of the module's text."""

    def __init__(self, function: Function, *, twice: bool) -> None:
        self.function = function
        names = function.names
        self.inputs = {node: names[name] for name, node in function.inputs.items()}
        self.let = {
            function.scope[name]: names[name]
            for name in reversed([*function.let])
            if function.scope[name].op is not INPUT and function.scope[name].value is None
        }
        self.output = self.let.get(function.output) or fresh("output", names.values())
        self.gradients = tuple(function.upstream_gradients.values())
        self.heavy = heavy(topological([function.output, *self.gradients]))
        self.forward = set(topological([function.output]))
        read = names_read([function.expression], function.let)
        self.read = {name: formula for name, formula in function.let.items() if name in read}
        self.read_nodes = {function.scope[name] for name in self.read}
        formulas = (function.expression, *self.read.values())
        self.spoken = set[Expr]().union(*(spoken(f, function.scope) for f in formulas))
        self.kept, by_value, by_shape = self.needed(twice=twice)
        # What is made again for a second derivative is made from the inputs.
        self.again = [node for node in self.kept if node is not function.output]
        by_value |= {node for node in topological(self.again) if node.op is INPUT}
        self.saved = {
            **{node: name for node, name in self.inputs.items() if node in by_value},
            **self.named(self.kept),
        }
        taken = {*names.values(), *self.saved.values()}
        self.shapes = {
            node: fresh(f"{name}_shape", taken)
            for node, name in self.inputs.items()
            if node in by_shape and node not in by_value
        }

    def why_once(self) -> str | None:
        """Why the backward pass can't be differentiated in its turn, where it can't."""
        if self.function.equations:
            return "moving an input breaks an equation that is assumed"
        for node in topological(self.gradients, given=self.saved):
            if node.dtype.kind == "z" and node.op.name in _REAL_ONLY:
                return f"PyTorch doesn't differentiate {node.op.name}() of complex numbers"
        return None

    def needed(self, *, twice: bool) -> tuple[list[Expr], set[Expr], set[Expr]]:
        """What the backward pass reads: results of the forward pass, inputs, and inputs' shapes."""
        function = self.function
        kept: dict[Expr, None] = {}
        by_value: set[Expr] = set()
        by_shape: set[Expr] = set()
        pending = list(self.gradients)
        seen: set[Expr] = set()
        while pending:
            node = pending.pop()
            if node in seen:
                continue
            seen.add(node)
            if node.op is INPUT:
                by_value.add(node)
            elif node in self.forward and self.worth_keeping(node, twice=twice):
                kept[node] = None
            else:
                below = [*node.inputs, *symbolic_sizes(node)]
                owner = node.args[0] if node.args else None
                shape_only = node.op.name in _SHAPE_ONLY or node.op.name in _MADE_LIKE
                if shape_only and owner is not None and owner.op is INPUT:
                    by_shape.add(owner)
                    below.remove(owner)
                pending += below
        order = [node for node in topological([function.output]) if node in kept]
        by_value.discard(function.upstream)
        return order, by_value, by_shape

    def worth_keeping(self, node: Expr, *, twice: bool) -> bool:
        """Whether a result of the forward pass is kept rather than computed again."""
        if node not in self.heavy or node.value is not None:
            return False
        if node is self.function.output:
            return True
        said = node in self.read_nodes or (node in self.spoken and not is_cheap(node))
        return said and not twice

    def named(self, nodes: Iterable[Expr]) -> dict[Expr, str]:
        """Names for what is kept: those of `let`, the output's, and new ones."""
        taken = {*self.function.names.values(), *RESERVED}
        named: dict[Expr, str] = {}
        for node in nodes:
            if node is self.function.output:
                named[node] = self.output
            else:
                named[node] = self.let.get(node) or fresh("s", taken, number=1)
                taken.add(named[node])
        return named

    def text(self) -> str:
        """The whole module."""
        body = "\n".join(
            [
                *self.class_lines(),
                "",
                "",
                *self.function_lines(),
                "",
                "",
                *self.test_lines(),
            ]
        )
        return "\n".join([*self.header_lines(body), "", "", body, ""])

    def header_lines(self, body: str) -> Iterator[str]:
        """The module's docstring and its imports."""
        name = self.function.class_name
        yield f'"""{name}, an operation of PyTorch with a backward pass that gradcheck derived."""'
        yield ""
        if "math." in body:
            yield "import math"
        yield "from typing import Any"
        yield ""
        yield "import torch"
        if re.search(r"\bF\.", body):
            yield "import torch.nn.functional as F"

    def class_lines(self) -> Iterator[str]:
        """The class."""
        yield f"class {self.function.class_name}(torch.autograd.Function):"
        yield from _indented(self.docstring())
        yield ""
        yield from _indented(self.forward_lines())
        yield ""
        yield from _indented(self.backward_lines())

    def docstring(self) -> Iterator[str]:
        """What the class computes, what its gradient rests on, and how often it can be taken."""
        yield from docstring_lines(self.function)
        reason = self.why_once()
        if reason is not None:
            yield f"It can't be differentiated twice: {reason}."
        yield '"""'

    def forward_lines(self) -> Iterator[str]:
        """The forward pass: as the person wrote it, where that gives all that is kept."""
        yield "@staticmethod"
        yield from self.signature("forward", "ctx: Any")
        let, output = self.written() or self.printed()
        saved = [*self.saved.values()]
        lines = [f"{name} = {text}" for name, text in let]
        if self.output in saved and output != self.output:
            lines.append(f"{self.output} = {output}")
            output = self.output
        if saved:
            lines.append(f"ctx.save_for_backward({', '.join(saved)})")
        lines += [f"ctx.{name} = {self.inputs[node]}.shape" for node, name in self.shapes.items()]
        yield from _indented([*lines, f"return {output}"])

    def signature(self, name: str, *first: str) -> Iterator[str]:
        """The line, or lines, that a function of the inputs begins with."""
        parameters = [*first, *(f"{name}: torch.Tensor" for name in self.inputs.values())]
        line = f"def {name}({', '.join(parameters)}) -> torch.Tensor:"
        if len(line) <= _WIDTH:
            yield line
            return
        yield f"def {name}("
        yield from (f"    {parameter}," for parameter in parameters)
        yield ") -> torch.Tensor:"

    def written(self) -> tuple[list[tuple[str, str]], str] | None:
        """The forward pass in the person's own words; None where that wouldn't be right, or keep all."""
        function = self.function
        kept = {node: name for node, name in self.named(self.kept).items() if name != self.output}
        new = {node: name for node, name in kept.items() if node not in self.read_nodes}
        written = Written(function.scope, function.names, function.like, new)
        for name, formula in self.read.items():
            written.add(function.names[name], formula)
        written.add("", function.expression)
        made = {name for name, _ in written.lines}
        if written.refused or not made.issuperset(kept.values()):
            return None
        return written.lines[:-1], written.lines[-1][1]

    def printed(self) -> tuple[list[tuple[str, str]], str]:
        """The forward pass from the graph, with a line for each result that is kept."""
        function = self.function
        lets = {n: name for n, name in self.let.items() if n in self.forward}
        define = {
            node: name
            for node, name in {**lets, **self.named(self.kept)}.items()
            if name in {function.names[n] for n in self.read} or node in self.kept
        }
        texts = [f.source.text for f in (function.expression, *function.let.values())]
        said = any(re.search(r"float64|double", text) for text in texts)
        printer = TorchPrinter(self.inputs, like=function.like, define=define, relative=not said)
        printer.taken.update(function.names.values(), RESERVED)
        printed = printer.print([function.output])
        return list(printed.let), printed.texts[0]

    def backward_lines(self) -> Iterator[str]:
        """The backward pass: lines that several gradients use, then each gradient that is asked for."""
        function = self.function
        yield "@staticmethod"
        one = len(function.inputs) == 1
        results = "torch.Tensor" if one else "tuple[torch.Tensor | None, ...]"
        yield f"def backward(ctx: Any, grad: torch.Tensor) -> {results}:"
        lines: list[str] = []
        if self.saved:
            names = ", ".join(self.saved.values())
            lines.append(f"{names if len(self.saved) > 1 else f'({names},)'} = ctx.saved_tensors")
        lines += [f"{name} = ctx.{name}" for name in self.shapes.values()]
        lines += self.second_lines()
        lines += self.gradient_lines()
        position = {name: i for i, name in enumerate(function.inputs)}
        results_of = ["None"] * len(position)
        for name in function.gradients:
            results_of[position[name]] = self.result(name)
        lines.append(f"return {', '.join(results_of)}")
        yield from _indented(lines)

    def second_lines(self) -> Iterator[str]:
        """What is done where the backward pass is to be differentiated, with `create_graph=True`.

        Results of the forward pass that are neither input nor output come back without their history, so
        that a derivative through them would be missing in silence (PyTorch's notes on double backward).
        """
        reason = self.why_once()
        if reason is not None:
            message = f"{self.function.class_name} can't be differentiated twice: {reason}"
            yield "if torch.is_grad_enabled():"
            yield f'    raise RuntimeError("{message}")'
        elif self.again:
            define = {node: self.saved[node] for node in self.again}
            printer = self.printer(self.inputs, define)
            yield "if torch.is_grad_enabled():  # what was kept, again, for a second derivative"
            for name, text in printer.print(self.again).let:
                yield f"    {name} = {text}"

    def printer(self, names: Mapping[Expr, str], define: Mapping[Expr, str]) -> TorchPrinter:
        """A printer for the backward pass, where the upstream gradient is at hand in any case."""
        printer = TorchPrinter(names, like="grad", define=define, shapes=self.shapes)
        printer.taken.update(self.function.names.values(), RESERVED)
        return printer

    def result(self, name: str) -> str:
        """The local variable that holds a gradient."""
        return fresh(f"grad_{name}", {*self.function.names.values(), *self.saved.values()})

    def gradient_lines(self) -> list[str]:
        """The computation of the gradients, each line under the condition that something needs it."""
        function = self.function
        define = {n: name for n, name in self.let.items() if n not in self.saved}
        printer = self.printer({**self.inputs, **self.saved}, define)
        printed = printer.print(self.gradients)
        position = {name: i for i, name in enumerate(function.inputs)}
        texts = dict(zip(function.gradients, printed.texts, strict=True))
        users = {name: set[str]() for name, _ in printed.let}
        reads = {name: _words_of(text) & users.keys() for name, text in printed.let}
        for wanted, text in texts.items():
            pending = list(_words_of(text) & users.keys())
            while pending:
                name = pending.pop()
                if wanted not in users[name]:
                    users[name].add(wanted)
                    pending += reads[name]
        differentiable = [n for n, node in function.inputs.items() if node.dtype.kind in "fz"]
        everything = set(differentiable)
        lines: list[str] = []
        condition: tuple[str, ...] = ()

        def add(line: str, wanted: set[str]) -> None:
            nonlocal condition
            if wanted >= everything:
                condition = ()
                lines.append(line)
                return
            chosen = tuple(name for name in function.gradients if name in wanted)
            if chosen != condition:
                tests = [f"ctx.needs_input_grad[{position[name]}]" for name in chosen]
                lines.append(f"if {' or '.join(tests)}:")
                condition = chosen
            lines.append(f"    {line}")

        results = [self.result(name) for name in function.gradients]
        if everything - {*function.gradients} or len(results) > 1:
            lines.append(f"{' = '.join(results)} = None")
        shared = [(name, text) for name, text in printed.let if len(users[name]) > 1]
        for name, text in shared:
            add(f"{name} = {text}", users[name])
        for wanted, text in texts.items():
            for name, line in printed.let:
                if users[name] == {wanted}:
                    add(f"{name} = {line}", {wanted})
            add(f"{self.result(wanted)} = {text}", {wanted})
        return lines

    def function_lines(self) -> Iterator[str]:
        """The function to call."""
        function = self.function
        yield from self.signature(function.function_name)
        yield f'    """{quoted(function.title)}, differentiated by its closed form."""'
        yield f"    return {function.class_name}.apply({', '.join(self.inputs.values())})"

    def test_lines(self) -> Iterator[str]:
        """What runs when the module is run: PyTorch's own test of the gradient."""
        function = self.function
        names = [function.names[name] for name in function.inputs]
        draws = example_inputs(function.inputs, function.examples, function.names)
        yield 'if __name__ == "__main__":'
        lines = [seeded(function.seed)]
        lines += [line for name in function.inputs for line in draws[name].lines]
        lines += [
            f"{function.names[name]}.requires_grad_()"
            for name in function.gradients
            if function.inputs[name].dtype.is_floating
        ]
        structured = {
            function.names[name]: draws[name].structured
            for name in function.inputs
            if draws[name].structured
        }
        call = function.function_name
        if structured:
            # An element that structure ties to another, or holds at zero, can't be moved alone.
            lines.append("# Only inputs of their structure are asked for, so none other is tried.")
            arguments = ", ".join(structured.get(name, name) for name in names)
            call = f"lambda {', '.join(names)}: {call}({arguments})"
        tested = f"({', '.join(names)}{',' if len(names) == 1 else ''})"
        if sum(node.elements for node in function.inputs.values()) > _MOST_FOR_ALL:
            lines.append(
                "# Along one random direction: there are many elements to move one by one."
            )
            tested += ", fast_mode=True"
        lines.append(f"torch.autograd.gradcheck({call}, {tested})")
        lines.append('print("torch.autograd.gradcheck agrees")')
        yield from _indented(lines)


def _words_of(text: str) -> set[str]:
    return set(re.findall(r"\b[^\W\d]\w*", text))


def _indented(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        yield f"    {line}" if line else ""
