"""A check's expression in pieces: each operation by itself, over operands at the values that they have there.

The pieces are cut from the syntax tree that the person wrote, not from the graph, so that PyTorch takes part
in checking them.
"""

from __future__ import annotations

import ast
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import TABLE, Expr, topological
from gradcheck_cli.lang.build import values
from gradcheck_cli.lang.parse import OPERATORS
from gradcheck_cli.methods.case import UPSTREAM, Case, prepare
from gradcheck_cli.spec.check import FLOATING, WHOLE, Check, InputSpec
from gradcheck_cli.spec.sample import cotangent, rounded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_cli.errors import Where
    from gradcheck_cli.lang.parse import Formula
    from gradcheck_cli.methods.gradients import Array


@dataclass(frozen=True)
class Piece:
    """One operation: `text` is it over the names of its `operands`, which stand for nodes of the graph.

    `operator` is called as PyTorch's documentation calls it, `place` is where the person wrote it, and `node`
    is its value. `moving` are the operands through which a gradient flows, `written` how operands without a
    name of their own are written in the expression.
    """

    operator: str
    text: str
    node: Expr
    operands: Mapping[str, Expr]
    moving: frozenset[str]
    place: Where
    written: Mapping[str, str]


def pieces(case: Case) -> list[Piece]:
    """The operations that a gradient flows through, in the order in which they are evaluated."""
    cutter = _Cutter(case)
    for formula in (*case.let.values(), case.expression):
        cutter.cut(formula)
    return cutter.found


class _Cutter:
    def __init__(self, case: Case) -> None:
        self.scope = case.scope
        self.found: list[Piece] = []
        self.names: dict[Expr, str] = {}
        for name, node in case.scope.items():
            self.names.setdefault(node, name)
        self.depends = {case.variables[name] for name in case.wrt}
        self.still: set[Expr] = set()
        self.cuts: set[tuple[Expr, str]] = set()
        self.written: dict[str, str] = {}
        self.formula = case.expression
        self.values: dict[ast.AST, Any] = {}

    def cut(self, formula: Formula) -> None:
        self.formula, self.values = formula, values(formula, self.scope)
        self.stand_in(formula.tree)

    def stand_in(self, node: ast.AST) -> Any:
        """What stands for a part of the tree in the piece around it: a name for a tensor, else itself."""
        # A keyword has the value of what stands behind it, but stays.
        value = self.values.get(node) if isinstance(node, ast.expr) else None
        if _is_tensor(value):
            if not isinstance(node, ast.Name):
                self.operation(node, self.within(node), value)
                self.written.setdefault(self.name(value), self.formula.text(node))
            return ast.Name(self.name(value))
        if isinstance(value, (tuple, list)) and isinstance(node, ast.Call):
            whole = self.within(node)
            if all(map(_is_tensor, value)):
                # Several results that are used together: each is a piece, and stands for itself.
                for position, one in enumerate(value):
                    self.operation(node, ast.Subscript(whole, ast.Constant(position)), one)
                return ast.Tuple([ast.Name(self.name(one)) for one in value])
            return whole
        return self.within(node)

    def within(self, node: ast.AST) -> Any:
        """A copy of a part of the tree, with what is below it replaced."""
        result: Any = copy(node)
        if _picks(node, self.values):
            # Of several results one is picked: the call and the choice are one operation.
            result.value = self.within(result.value)
            return result
        for field, below in ast.iter_fields(node):
            if isinstance(below, list):
                setattr(result, field, [self.stand_in(one) for one in below])
            elif isinstance(below, ast.AST):
                setattr(result, field, self.stand_in(below))
        return result

    def name(self, node: Expr) -> str:
        """A name for a node: the person's where it has one."""
        if node not in self.names:
            taken = {*self.names.values(), *self.scope}
            number = len(self.names)
            while f"t{number}" in taken or TABLE.bare(f"t{number}"):
                number += 1
            self.names[node] = f"t{number}"
        return self.names[node]

    def operation(self, node: ast.AST, whole: ast.AST, value: Expr) -> None:
        text = ast.unparse(whole)
        if (value, text) in self.cuts:
            return
        self.cuts.add((value, text))
        used = {n.id for n in ast.walk(whole) if isinstance(n, ast.Name)}
        operands = {self.names[e]: e for e in list(self.names) if self.names[e] in used}
        moving = frozenset(name for name, operand in operands.items() if self.moves(operand))
        if moving and self.moves(value) and value not in operands.values():
            place = self.formula.source.where(*_place(self.formula, node, self.values))
            written = {name: self.written.get(name, name) for name in operands}
            operator = operator_of(node, self.values)
            self.found.append(Piece(operator, text, value, operands, moving, place, written))

    def moves(self, node: Expr) -> bool:
        """Whether it depends on a checked input; whether a rule lets the gradient flow is another matter."""
        for below in topological([node], given=self.depends | self.still):
            if below in self.depends or below in self.still:
                continue
            moved = (
                below.dtype.kind in "fz"
                and below.op.name != "detach"
                and any(arg in self.depends for arg in below.inputs)
            )
            (self.depends if moved else self.still).add(below)
        return node in self.depends


def _is_tensor(value: Any) -> TypeGuard[Expr]:
    return isinstance(value, Expr) and value.value is None


def _picks(node: ast.AST, known: Mapping[ast.AST, Any]) -> TypeGuard[ast.Attribute | ast.Subscript]:
    """Whether it is `.values` of `x.max(0).values`, or another choice of one of a call's results."""
    return (
        isinstance(node, (ast.Attribute, ast.Subscript))
        and isinstance(node.value, ast.Call)
        and isinstance(known.get(node.value), (tuple, list))
    )


def operator_of(node: ast.AST, known: Mapping[ast.AST, Any]) -> str:
    """What an operation is called: `torch.sinc`, `F.relu`, `Tensor.sum`, `@`."""
    if isinstance(node, (ast.BinOp, ast.UnaryOp)):
        return OPERATORS[type(node.op)]
    if isinstance(node, ast.Compare):
        return OPERATORS[type(node.ops[0])]
    if _picks(node, known):
        return operator_of(node.value, known)
    if isinstance(node, ast.Subscript):
        return "Tensor.__getitem__"
    if isinstance(node, ast.Attribute):
        return f"Tensor.{node.attr}"
    assert isinstance(node, ast.Call)
    function = node.func
    if isinstance(function, ast.Attribute) and _is_tensor(known.get(function.value)):
        return f"Tensor.{function.attr}"
    return ast.unparse(function)


def _place(formula: Formula, node: ast.AST, known: Mapping[ast.AST, Any]) -> tuple[int, int]:
    """Where an operation stands, without its operands if they stand before it."""
    start, end = formula.span(node)
    if isinstance(node, ast.BinOp):
        return formula.between(node.left, node.right, OPERATORS[type(node.op)])
    if isinstance(node, ast.UnaryOp):
        return start, start + 1
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if _is_tensor(known.get(node.func.value)):
            return formula.span(node.func)[1] - len(node.func.attr), end
    elif isinstance(node, (ast.Attribute, ast.Subscript)):
        if _picks(node, known):
            return _place(formula, node.value, known)
        return formula.span(node.value)[1], end
    return start, end


def case_of(
    piece: Piece,
    check: Check,
    arrays: Mapping[Expr, Array],
    methods: tuple[str, ...],
    upstream: Array | None = None,
) -> Case | None:
    """The piece as a check of its own, its operands' numbers given; None where no check can hold it.

    The cotangent is `upstream`, else random. Complex numbers go in and come out as pairs of real ones.
    """
    reached = set(topological([piece.node], given=set(piece.operands.values())))
    own = {spec.name: spec.dtype for spec in check.inputs}
    specs: list[InputSpec] = []
    numbers: dict[str, Array] = {}
    pairs: dict[str, str] = {}
    wrt: list[str] = []
    for name, node in piece.operands.items():
        dtype = own.get(name, _SPECIFIED.get(node.dtype.name, node.dtype.name))
        if dtype is not None and dtype not in (*FLOATING, *WHOLE):
            return None
        parts = {name: np.asarray(arrays[node])}
        if node.dtype.kind == "z":
            pairs[name] = f"torch.complex({name}_re, {name}_im)"
            parts = {f"{name}_re": parts[name].real, f"{name}_im": parts[name].imag}
        for part, array in parts.items():
            if array.dtype.kind == "f":
                # PyTorch gets the operand as it would have computed it, in the check's precision.
                array = rounded(array, dtype or check.dtype)  # noqa: PLW2901
            # Not a view: what PyTorch's `view` takes depends on strides.
            numbers[part] = np.array(array, order="C")
            specs.append(InputSpec(part, node.shape, Source(part), dtype))
            if name in piece.moving and node in reached:
                wrt.append(part)
    if not wrt:
        return None
    text = piece.text
    if pairs:
        text = ast.unparse(_Paired(pairs).visit(ast.parse(text, mode="eval").body))
    if piece.node.dtype.kind == "z":
        text, upstream = f"torch.view_as_real({text})", None
    alone = replace(
        check,
        inputs=tuple(specs),
        let=(),
        expression=Source(text),
        wrt=tuple(wrt),
        cotangent="random",
        manual={},
        manual_sources={},
        computed={},
        methods=methods,
    )
    try:
        case = prepare(alone, numbers)
    except GradcheckError:
        return None
    shape = case.output.shape
    if not shape:
        upstream = np.ones(())  # the derived formula of a scalar takes nothing else
    elif upstream is None:
        upstream = cotangent(alone, shape)
    return replace(case, given={**numbers, UPSTREAM: upstream})


# What an input of these types has as its dtype: the check's own, and that of pairs.
_SPECIFIED = {"float64": None, "complex128": None, "complex64": "float32"}


class _Paired(ast.NodeTransformer):
    """Names replaced by the complex numbers that are made of two inputs."""

    def __init__(self, pairs: Mapping[str, str]) -> None:
        self.pairs = pairs

    def visit_Name(self, node: ast.Name) -> ast.AST:
        text = self.pairs.get(node.id)
        return node if text is None else ast.parse(text, mode="eval").body
