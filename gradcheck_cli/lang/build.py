"""A validated syntax tree to a graph: what each name, call and operator means."""

from __future__ import annotations

import ast
import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.errors import GradcheckError, Problem
from gradcheck_cli.graph import TABLE, Expr, Op, call, const, infix, make
from gradcheck_cli.lang.blame import (
    Function,
    Module,
    Place,
    blamed,
    end_of,
    kind,
    nearest,
    remedy,
    with_shapes,
)
from gradcheck_cli.lang.names import (
    CONSTANTS,
    MEMORY_FORMATS,
    MODULES,
    RANDOM,
    RANDOM_IN_PLACE,
    TWINS,
    hint_for_member,
    hint_for_method,
    hint_for_name,
    known_members,
)
from gradcheck_cli.lang.parse import OPERATORS, REFUSED_PARTS, Formula, shortened
from gradcheck_cli.lang.scan import too_deep
from gradcheck_cli.ops._common import random_use
from gradcheck_cli.schema import Invalid, bind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_INFIX: dict[type[ast.AST], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
    ast.FloorDiv: "floor_divide",
    ast.Mod: "remainder",
    ast.Pow: "pow",
    ast.MatMult: "matmul",
    ast.BitAnd: "bitwise_and",
    ast.BitOr: "bitwise_or",
    ast.BitXor: "bitwise_xor",
    ast.Eq: "eq",
    ast.NotEq: "ne",
    ast.Lt: "lt",
    ast.LtE: "le",
    ast.Gt: "gt",
    ast.GtE: "ge",
    ast.USub: "neg",
    ast.UAdd: "positive",
    ast.Invert: "bitwise_not",
}
# A function that a message begins with.
_FUNCTION = re.compile(r"(\w+)\(\)")
# More problems of one expression than this help nobody.
_MOST_PROBLEMS = 20


class Call(NamedTuple):
    """A call: the operator that was chosen, its arguments in the graph, and its attributes."""

    op: Op
    args: tuple[Any, ...]
    attributes: dict[str, Any]


class _Wrong:
    """What an erroneous part evaluates to, so that its users are not blamed as well."""


_WRONG = _Wrong()


def build(formula: Formula, scope: Mapping[str, Expr]) -> Expr:
    """The graph of an expression over named nodes.

    Raises GradcheckError with every problem found: what isn't in the language, unknown names, wrong
    arguments, shapes and dtypes that don't fit.
    """
    builder = _Builder(formula, scope)
    try:
        value = builder.visit(formula.tree)
    except RecursionError:
        raise GradcheckError(too_deep(formula.source, formula.lead)) from None
    if value is not _WRONG and not isinstance(value, (Expr, int, float)):
        builder.not_a_tensor(value)
    problems = [*formula.refused.values(), *builder.problems]
    if problems:
        problems.sort(key=_position)
        raise GradcheckError(*problems[:_MOST_PROBLEMS])
    return value if isinstance(value, Expr) else const(value)


def calls(formula: Formula, scope: Mapping[str, Expr]) -> list[Call]:
    """The calls in an expression as they were bound, in order; composites, too, as they were written."""
    builder = _Builder(formula, scope)
    builder.visit(formula.tree)
    return builder.calls


def values(formula: Formula, scope: Mapping[str, Expr]) -> dict[ast.AST, Any]:
    """What each part of a valid expression stands for: a node of its graph, a number, a tuple, a function."""
    recorder = _Recorder(formula, scope)
    recorder.visit(formula.tree)
    return recorder.values


def _position(problem: Problem) -> tuple[int, int]:
    where = problem.where
    return (where.line or 0, where.column or 0) if where else (0, 0)


class _Builder:
    def __init__(self, formula: Formula, scope: Mapping[str, Expr]) -> None:
        self.formula = formula
        self.scope = scope
        self.problems: list[Problem] = []
        self.unknown: set[str] = set()
        self.calls: list[Call] = []

    def wrong(self, code: str, message: str, place: Place, hint: str | None = None) -> _Wrong:
        self.problems.append(self.formula.problem(code, message, place, hint))
        return _WRONG

    def not_a_tensor(self, value: Any) -> None:
        hint = remedy(value) or "it must give a tensor"
        message = f"the expression is {kind(value)}, not a tensor"
        self.wrong("GC011", message, self.formula.tree, hint)

    def visit(self, node: ast.AST) -> Any:
        """The value of a node: an Expr, or a Python number, string, dtype, tuple, list or slice."""
        if self.formula.refused and node in self.formula.refused:
            return self.refused(node)
        return _VISIT[type(node)](self, node)

    def refused(self, node: ast.AST) -> _Wrong:
        """Look for further problems below a node that isn't in the language."""
        for part in REFUSED_PARTS.get(type(node), ()):
            below = getattr(node, part)
            for child in below if isinstance(below, list) else [below]:
                if child is not None:
                    self.visit(child)
        return _WRONG

    def constant(self, node: ast.Constant) -> Any:
        return node.value

    def keyword(self, node: ast.keyword) -> Any:
        return self.visit(node.value)

    def tuple_(self, node: ast.Tuple) -> Any:
        values = [self.visit(item) for item in node.elts]
        return _WRONG if _WRONG in values else tuple(values)

    def list_(self, node: ast.List) -> Any:
        values = [self.visit(item) for item in node.elts]
        return _WRONG if _WRONG in values else values

    def slice_(self, node: ast.Slice) -> Any:
        parts = [
            None if part is None else self.visit(part)
            for part in (node.lower, node.upper, node.step)
        ]
        return _WRONG if _WRONG in parts else slice(*parts)

    def name(self, node: ast.Name) -> Any:
        name = node.id
        if name in self.scope:
            return self.scope[name]
        if name in MODULES:
            return Module(name)
        overloads = TABLE.bare(name)
        if overloads:
            return Function(name, overloads)
        if name in RANDOM:
            return self.random(name, node)
        if name in self.unknown:
            return _WRONG
        self.unknown.add(name)
        hint = hint_for_name(name, self.scope)
        return self.wrong("GC012", f"unknown name `{shortened(name)}`", node, hint)

    def random(self, name: str, place: Place) -> _Wrong:
        refusal = random_use(name)
        return self.wrong(refusal.code, refusal.message, place, refusal.hint)

    def in_place(self, name: str, place: tuple[int, int]) -> _Wrong:
        message = f"`{name}` works in place, and an expression has no side effects"
        twin = name.rstrip("_")
        known = twin in TABLE.methods or TABLE.bare(twin)
        hint = f"use `{twin}`, which returns the result" if known else None
        if name in TWINS:
            hint = f"use {TWINS[name]}"
        return self.wrong("GC018", message, place, hint)

    def attribute(self, node: ast.Attribute) -> Any:
        base = self.visit(node.value)
        name = node.attr
        if base is _WRONG:
            if (
                not isinstance(node.value, (ast.Name, ast.Attribute))
                and name not in known_members()
            ):
                self.unknown_member(node)
            return _WRONG
        if isinstance(base, Expr) and base.value is None:
            return self.of_tensor(base, node)
        if isinstance(base, Module):
            return self.member(base.path, node)
        if isinstance(base, tuple) and name in getattr(base, "_fields", ()):
            return getattr(base, name)
        message = f"{kind(base)} has no attribute `{name}`"
        hint = remedy(base)
        if isinstance(base, tuple) and name == "numel":
            hint = "write x.numel(), for the tensor x itself"
        return self.wrong("GC013", message, end_of(self.formula, node), hint)

    def member(self, module: str, node: ast.Attribute) -> Any:
        name = node.attr
        path = f"{module}.{name}"
        if path in MODULES:
            return Module(path)
        overloads = TABLE.functions.get(f"{MODULES[module]}.{name}")
        if overloads:
            return Function(path, overloads)
        if module in ("math", "torch") and name in CONSTANTS:
            return CONSTANTS[name]
        if module == "torch":
            dtype = dtypes.BY_NAME.get(name) or dtypes.ALIASES.get(name)
            if dtype is not None:
                return dtype
            if name in MEMORY_FORMATS:
                return f"torch.{name}"
        place = end_of(self.formula, node)
        if name in RANDOM or name in RANDOM_IN_PLACE:
            return self.random(path, place)
        if name.endswith("_") and TABLE.bare(name.rstrip("_")):
            return self.in_place(name, place)
        message = f"`{shortened(path)}` is not an operator that gradcheck knows"
        return self.wrong("GC013", message, place, hint_for_member(module, name))

    def of_tensor(self, base: Expr, node: ast.Attribute) -> Any:
        name = node.attr
        overloads = TABLE.methods.get(name)
        if overloads:
            return Function(name, overloads, base)
        if name == "shape":
            return tuple([base.size(d) for d in range(base.ndim)])
        if name == "ndim":
            return base.ndim
        if name == "dtype":
            return base.dtype
        place = end_of(self.formula, node)
        if name in TABLE.attributes:
            try:
                return getattr(base, name)
            except Invalid as error:
                return self.wrong(error.code, error.message, place, error.hint)
        if name in RANDOM or name in RANDOM_IN_PLACE:
            return self.random(name, place)
        if name.endswith("_") and name != "requires_grad_":
            return self.in_place(name, place)
        return self.unknown_member(node)

    def unknown_member(self, node: ast.Attribute) -> _Wrong:
        message = f"a tensor has no method or attribute `{shortened(node.attr)}`"
        place = end_of(self.formula, node)
        return self.wrong("GC013", message, place, hint_for_method(node.attr))

    def call(self, node: ast.Call) -> Any:
        function = self.visit(node.func)
        args = [self.visit(arg) for arg in node.args]
        kwargs = {keyword.arg or "": self.visit(keyword) for keyword in node.keywords}
        values = (*args, *kwargs.values())
        if function is _WRONG or _WRONG in values:
            return _WRONG
        if not isinstance(function, Function):
            return self.not_callable(node, function)
        wants_function = any(
            p.type == "function" for op in function.overloads for p in op.signature.parameters
        )
        for value, place in zip(values, (*node.args, *node.keywords), strict=True):
            if isinstance(value, Module) or (isinstance(value, Function) and not wants_function):
                message = f"{kind(value)} can't be an argument"
                return self.wrong("GC014", message, place, remedy(value))
        if wants_function:
            args = [_applied(value) for value in args]
            kwargs = {name: _applied(value) for name, value in kwargs.items()}
        if function.receiver is not None:
            args.insert(0, function.receiver)
        return self.overloaded(node, function, args, kwargs)

    def overloaded(
        self, node: ast.Call, function: Function, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """The first overload that takes these arguments; or why the nearest doesn't."""
        failures: list[tuple[Op, Invalid]] = []
        for op in function.overloads:
            try:
                nodes, attributes = bind(op.signature, args, kwargs, Expr)
            except Invalid as error:
                failures.append((op, error))
                continue
            self.calls.append(Call(op, nodes, attributes))
            try:
                if op.infix:
                    _require_tensor(op, nodes)
                return make(op, nodes, attributes)
            except Invalid as error:
                return self.failed(node, op, error, args)
        return self.failed(node, *nearest(function, failures), args)

    def failed(self, node: ast.Call, op: Op, error: Invalid, args: list[Any]) -> _Wrong:
        hint = error.hint
        if error.code == "GC015":
            nodes: list[ast.expr] = list(node.args)
            if isinstance(node.func, ast.Attribute) and len(nodes) < len(args):
                nodes.insert(0, node.func.value)
            hint = with_shapes(self.formula, hint, list(zip(nodes, args, strict=False)))
        place = blamed(self.formula, self.scope.keys(), node, op, error)
        message = error.message
        named = _FUNCTION.match(message)
        if op.is_macro and named is not None and named[1] != op.python_name:
            message = f"{op.python_name}(): {message}"  # which is made of what refuses
        return self.wrong(error.code, message, place, hint)

    def not_callable(self, node: ast.Call, function: Any) -> _Wrong:
        text = self.formula.text(node.func)
        hint = None
        if isinstance(node.func, ast.Attribute):
            hint = f"leave the parentheses out: {text}"
        elif isinstance(function, Expr) and isinstance(node.func, ast.Name):
            hint = "a product is written with `*`"
            if TABLE.bare(text):
                hint = f"`{text}` is a name of this check; rename it, or write torch.{text}(...)"
        message = f"`{text}` is {kind(function)} and can't be called"
        return self.wrong("GC011", message, node.func, hint)

    def subscript(self, node: ast.Subscript) -> Any:
        base, index = self.visit(node.value), self.visit(node.slice)
        if base is _WRONG or index is _WRONG:
            return _WRONG
        if isinstance(base, (tuple, list)):
            return self.item(node, base, index)
        if not isinstance(base, Expr) or base.value is not None:
            message = f"only tensors and shapes take subscripts, and this is {kind(base)}"
            return self.wrong("GC011", message, node.value, remedy(base))
        try:
            return base[index]
        except Invalid as error:
            return self.wrong(error.code, error.message, node.slice, error.hint)

    def item(self, node: ast.Subscript, base: Any, index: Any) -> Any:
        if isinstance(index, slice):
            bounds = [_number(part) for part in (index.start, index.stop, index.step)]
            if all(part is None or isinstance(part, int) for part in bounds) and bounds[2] != 0:
                return base[slice(*bounds)]
        number = _number(index)
        if not isinstance(number, int):
            return self.wrong("GC014", "this takes a whole number as its subscript", node.slice)
        if not -len(base) <= number < len(base):
            count = "is 1 item" if len(base) == 1 else f"are {len(base)} items"
            message = f"subscript {number} is out of range: there {count}"
            return self.wrong("GC014", message, node.slice)
        return base[number]

    def unary(self, node: ast.UnaryOp) -> Any:
        value = self.visit(node.operand)
        if value is _WRONG:
            return _WRONG
        if type(node.op) is ast.USub and type(value) in (int, float):
            return -value
        start = self.formula.span(node)[0]
        return self.apply(type(node.op), [value], [node.operand], lambda: (start, start + 1))

    def binary(self, node: ast.BinOp) -> Any:
        return self.operate(type(node.op), node.left, node.right)

    def compare(self, node: ast.Compare) -> Any:
        return self.operate(type(node.ops[0]), node.left, node.comparators[0])

    def operate(self, op: type[ast.AST], left: ast.expr, right: ast.expr) -> Any:
        first, second = self.visit(left), self.visit(right)
        if first is _WRONG or second is _WRONG:
            return _WRONG
        if op is ast.Add and type(first) is type(second) is tuple:
            return first + second  # sizes: x.shape[:-1] + (1,)
        symbol = OPERATORS[op]
        return self.apply(
            op, [first, second], [left, right], lambda: self.formula.between(left, right, symbol)
        )

    def apply(
        self,
        op: type[ast.AST],
        values: list[Any],
        nodes: list[ast.expr],
        place: Callable[[], tuple[int, int]],
    ) -> Any:
        for value, node in zip(values, nodes, strict=True):
            if not isinstance(value, (Expr, int, float)):
                message = f"`{OPERATORS[op]}` works on tensors and numbers, not on {kind(value)}"
                return self.wrong("GC011", message, node, remedy(value))
        try:
            return infix(_INFIX[op], *values)
        except Invalid as error:
            hint = error.hint
            if error.code == "GC015":
                hint = with_shapes(self.formula, hint, list(zip(nodes, values, strict=True)))
            elif op is ast.BitXor and error.code == "GC016":
                hint = "a power is written `x ** 2`"
            return self.wrong(error.code, error.message, place(), hint)


class _Recorder(_Builder):
    """A builder that keeps what it visits."""

    def __init__(self, formula: Formula, scope: Mapping[str, Expr]) -> None:
        super().__init__(formula, scope)
        self.values: dict[ast.AST, Any] = {}

    def visit(self, node: ast.AST) -> Any:
        value = self.values[node] = super().visit(node)
        return value


_VISIT: dict[type[ast.AST], Callable[[_Builder, Any], Any]] = {
    ast.Constant: _Builder.constant,
    ast.Name: _Builder.name,
    ast.Attribute: _Builder.attribute,
    ast.Call: _Builder.call,
    ast.keyword: _Builder.keyword,
    ast.Subscript: _Builder.subscript,
    ast.Tuple: _Builder.tuple_,
    ast.List: _Builder.list_,
    ast.Slice: _Builder.slice_,
    ast.UnaryOp: _Builder.unary,
    ast.BinOp: _Builder.binary,
    ast.Compare: _Builder.compare,
}


def _applied(value: Any) -> Any:
    """A function's name as something to call with nodes."""
    if not isinstance(value, Function):
        return value
    receiver = () if value.receiver is None else (value.receiver,)
    return partial(call, value.overloads, *receiver)


def _require_tensor(op: Op, nodes: tuple[Any, ...]) -> None:
    """Refuse numbers alone: as a function, PyTorch's arithmetic wants a tensor. Raises Invalid."""
    if all(isinstance(_number(node), (int, float)) for node in nodes):
        msg = f"{op.python_name}() wants at least one tensor, not numbers alone"
        raise Invalid(
            "GC014", msg, "write it with an operator, or make a tensor: torch.tensor(2.0)"
        )


def _number(value: Any) -> Any:
    return value.value if isinstance(value, Expr) else value
