"""A validated syntax tree to a graph: what each name, call and operator means."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradcheck_cli.ops  # noqa: F401  -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.errors import GradcheckError, Problem, did_you_mean
from gradcheck_cli.graph import TABLE, Expr, Op, call, const, infix
from gradcheck_cli.lang.parse import Formula, slice_of
from gradcheck_cli.schema import Invalid, describe

_INFIX: dict[type[ast.AST], tuple[str, str]] = {
    ast.Add: ("add", "+"),
    ast.Sub: ("sub", "-"),
    ast.Mult: ("mul", "*"),
    ast.Div: ("div", "/"),
    ast.FloorDiv: ("floor_divide", "//"),
    ast.Mod: ("remainder", "%"),
    ast.Pow: ("pow", "**"),
    ast.MatMult: ("matmul", "@"),
    ast.BitAnd: ("bitwise_and", "&"),
    ast.BitOr: ("bitwise_or", "|"),
    ast.BitXor: ("bitwise_xor", "^"),
    ast.Eq: ("eq", "=="),
    ast.NotEq: ("ne", "!="),
    ast.Lt: ("lt", "<"),
    ast.LtE: ("le", "<="),
    ast.Gt: ("gt", ">"),
    ast.GtE: ("ge", ">="),
    ast.USub: ("neg", "-"),
    ast.UAdd: ("positive", "+"),
    ast.Invert: ("bitwise_not", "~"),
}
MODULES = {
    "torch": ("torch",),
    "F": ("F",),
    "math": ("math",),
    "torch.linalg": ("torch.linalg",),
    "torch.special": ("torch.special",),
    "torch.fft": ("torch.fft",),
    "torch.nn": ("torch.nn",),
    "torch.nn.functional": ("F",),
}
CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan}
RANDOM = frozenset(
    "rand randn randint randperm rand_like randn_like randint_like bernoulli multinomial normal poisson "
    "dropout alpha_dropout feature_alpha_dropout dropout1d dropout2d dropout3d rrelu gumbel_softmax "
    "fractional_max_pool2d fractional_max_pool3d".split()
)
RESERVED = frozenset({"torch", "F", "math", "grad"})


@dataclass(frozen=True, slots=True)
class _Module:
    path: str


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    overloads: list[Op]
    receiver: Expr | None = None


class _Wrong:
    """What an erroneous part evaluates to, so that its users are not blamed as well."""


_WRONG = _Wrong()


def build(formula: Formula, scope: Mapping[str, Expr]) -> Expr:
    """The graph of an expression over named nodes.

    Raises GradcheckError with every problem found: unknown names, wrong arguments, shapes that don't fit.
    """
    builder = _Builder(formula, scope)
    value = builder.visit(formula.tree)
    if not builder.problems and not isinstance(value, (Expr, int, float)):
        builder.not_a_tensor(value)
    if builder.problems:
        raise GradcheckError(*builder.problems)
    return value if isinstance(value, Expr) else const(value)  # type: ignore[arg-type]


def names_in(formula: Formula) -> frozenset[str]:
    """All plain names that stand in an expression, modules and functions included."""
    return frozenset(n.id for n in ast.walk(formula.tree) if isinstance(n, ast.Name))


class _Builder:
    def __init__(self, formula: Formula, scope: Mapping[str, Expr]) -> None:
        self.formula = formula
        self.scope = scope
        self.problems: list[Problem] = []

    def wrong(
        self, code: str, message: str, node: ast.AST | tuple[int, int], hint: str | None = None
    ) -> _Wrong:
        self.problems.append(self.formula.problem(code, message, node, hint))
        return _WRONG

    def not_a_tensor(self, value: Any) -> None:
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            fields = " or ".join(f"`.{field}`" for field in value._fields)
            message, hint = "this gives several tensors", f"take one of them: {fields}"
        elif isinstance(value, (_Function, _Module)):
            message, hint = "a function is not a value", "call it"
        else:
            message, hint = f"an expression must be a tensor, not {describe(value)}", None
        self.wrong("GC011", message, self.formula.tree, hint)

    def visit(self, node: ast.AST) -> Any:
        """The value of a node: an Expr, or a Python number, string, dtype, tuple, list or slice."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name():
                return self.name(node)
            case ast.Attribute():
                return self.attribute(node)
            case ast.Call():
                return self.call(node)
            case ast.Subscript():
                return self.subscript(node)
            case ast.Tuple(elts=elts):
                return self.several(tuple, elts)
            case ast.List(elts=elts):
                return self.several(list, elts)
            case ast.Slice(lower=lower, upper=upper, step=step):
                parts = [None if part is None else self.visit(part) for part in (lower, upper, step)]
                return _WRONG if _WRONG in parts else slice(*parts)
            case ast.UnaryOp(op=op, operand=operand):
                return self.unary(node, op, operand)
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(op, left, right)
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return self.binary(op, left, right)
            case _:
                raise AssertionError(ast.dump(node))

    def several(self, kind: type, elts: list[ast.expr]) -> Any:
        values = [self.visit(elt) for elt in elts]
        return _WRONG if any(v is _WRONG for v in values) else kind(values)

    def name(self, node: ast.Name) -> Any:
        if node.id in self.scope:
            return self.scope[node.id]
        if node.id in MODULES:
            return _Module(node.id)
        overloads = TABLE.bare(node.id)
        if overloads:
            return _Function(node.id, overloads)
        if node.id in RANDOM:
            return self.random(node.id, node)
        known = [*self.scope, *(f.rpartition(".")[2] for f in TABLE.functions)]
        hint = did_you_mean(node.id, self.scope) or did_you_mean(node.id, known)
        hint = hint or f"known names are {', '.join(sorted(self.scope))}"
        return self.wrong("GC012", f"unknown name `{node.id}`", node, hint)

    def random(self, name: str, node: ast.AST | tuple[int, int]) -> _Wrong:
        message = f"`{name}` is random, and a check must be repeatable"
        return self.wrong("GC017", message, node, "draw the numbers as an input: `sample: normal`")

    def attribute(self, node: ast.Attribute) -> Any:
        base = self.visit(node.value)
        if base is _WRONG:
            return _WRONG
        end = self.formula.span(node)[1]
        place = (end - len(node.attr), end)
        if isinstance(base, _Module):
            return self.member(base, node.attr, place)
        if isinstance(base, Expr) and not (base.value is not None and not base.args):
            return self.tensor_attribute(base, node.attr, place)
        if isinstance(base, tuple) and node.attr in getattr(base, "_fields", ()):
            return getattr(base, node.attr)
        if isinstance(base, tuple) and hasattr(base, "_fields"):
            hint = did_you_mean(node.attr, base._fields) or f"it has {', '.join(base._fields)}"
            return self.wrong("GC013", f"this result has no field `{node.attr}`", place, hint)
        if node.attr == "numel" and isinstance(base, tuple):
            return self.wrong("GC013", "a shape has no `numel`", place, "write x.numel()")
        kind = describe(base) if isinstance(base, (tuple, list, int, float, Expr)) else "this"
        return self.wrong("GC013", f"{kind} has no attribute `{node.attr}`", place)

    def member(self, module: _Module, name: str, place: tuple[int, int]) -> Any:
        path = f"{module.path}.{name}"
        if path in MODULES:
            return _Module(path)
        for prefix in MODULES[module.path]:
            overloads = TABLE.functions.get(f"{prefix}.{name}")
            if overloads:
                return _Function(path, overloads)
        if module.path in ("math", "torch") and name in CONSTANTS:
            return CONSTANTS[name]
        if module.path == "torch":
            dtype = dtypes.BY_NAME.get(name) or dtypes.ALIASES.get(name)
            if dtype is not None:
                return dtype
        if name in RANDOM:
            return self.random(path, place)
        if name.endswith("_") and not name.endswith("__"):
            return self.in_place(name, place)
        if module.path == "math":
            hint = f"torch.{name}() is for tensors; for a square root of a number write `n ** 0.5`"
            return self.wrong("GC013", f"`math.{name}` is not part of the language", place, hint)
        known = [
            f.rpartition(".")[2] for f in TABLE.functions if f.startswith(MODULES[module.path][0] + ".")
        ]
        hint = did_you_mean(name, known) or "`gradcheck ops` lists what can be used"
        return self.wrong("GC013", f"`{path}` is not an operator that gradcheck knows", place, hint)

    def in_place(self, name: str, place: tuple[int, int]) -> _Wrong:
        message = f"`{name}` works in place, and an expression has no side effects"
        return self.wrong("GC018", message, place, f"use `{name.rstrip('_')}`")

    def tensor_attribute(self, base: Expr, name: str, place: tuple[int, int]) -> Any:
        if name in TABLE.attributes:
            try:
                return getattr(base, name)
            except Invalid as error:
                return self.wrong(error.code, error.message, place, error.hint)
        if name == "shape":
            return tuple(base.size(d) for d in range(base.ndim))
        if name == "ndim":
            return base.ndim
        if name == "dtype":
            return base.dtype
        if name in TABLE.methods:
            return _Function(name, TABLE.methods[name], base)
        if name in RANDOM or name.rstrip("_") in RANDOM:
            return self.random(name, place)
        if name.endswith("_") and not name.endswith("__"):
            return self.in_place(name, place)
        if TABLE.bare(name):
            hint: str | None = f"it is a function: write {name}(...)"
        else:
            hint = did_you_mean(name, [*TABLE.methods, *TABLE.attributes, "shape", "ndim"])
            hint = hint or "`gradcheck ops` lists what can be used"
        return self.wrong("GC013", f"a tensor has no method or attribute `{name}`", place, hint)

    def call(self, node: ast.Call) -> Any:
        function = self.visit(node.func)
        args = [self.visit(arg) for arg in node.args]
        kwargs = {keyword.arg or "": self.visit(keyword.value) for keyword in node.keywords}
        if function is _WRONG or any(v is _WRONG for v in (*args, *kwargs.values())):
            return _WRONG
        if not isinstance(function, _Function):
            text = self.formula.text(node.func)
            hint = None
            if isinstance(function, Expr) and isinstance(node.func, ast.Name):
                hint = f"`{text}` is a name of this check; rename it, or write torch.{text}(...)"
            return self.wrong("GC011", f"`{text}` can't be called", node.func, hint)
        for value, place in zip((*args, *kwargs.values()), (*node.args, *node.keywords), strict=True):
            if isinstance(value, (_Function, _Module)):
                self.wrong("GC014", "a function can't be an argument", place)
                return _WRONG
        if function.receiver is not None:
            args.insert(0, function.receiver)
        try:
            return call(function.overloads, *args, strict=True, **kwargs)
        except Invalid as error:
            return self.wrong(error.code, error.message, self.blame(node, error), self.with_shapes(error, node, args))

    def blame(self, node: ast.Call, error: Invalid) -> ast.AST | tuple[int, int]:
        """The argument that is wrong if it is known, else the function's name."""
        for keyword in node.keywords:
            if keyword.arg == error.argument:
                return keyword.value
        start, end = self.formula.span(node.func)
        if isinstance(node.func, ast.Attribute):
            start = end - len(node.func.attr)
        return (start, end)

    def with_shapes(self, error: Invalid, node: ast.Call, args: list[Any]) -> str | None:
        """The hint; for a mismatch of shapes with each tensor's own shape."""
        if error.code != "GC015":
            return error.hint
        texts = [self.formula.text(arg) for arg in node.args]
        if isinstance(node.func, ast.Attribute) and len(texts) < len(args):
            texts.insert(0, self.formula.text(node.func.value))
        return _shapes(error.hint, list(zip(texts, args, strict=False)))

    def subscript(self, node: ast.Subscript) -> Any:
        base, index = self.visit(node.value), self.visit(node.slice)
        if base is _WRONG or index is _WRONG:
            return _WRONG
        if isinstance(base, (tuple, list)):
            return self.item(node, base, index)
        if not isinstance(base, Expr) or base.dtype.weak:
            return self.wrong("GC011", "only tensors and shapes take subscripts", node.value)
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
            message = f"subscript {number} is out of range: there are {len(base)} items"
            return self.wrong("GC014", message, node.slice)
        return base[number]

    def unary(self, node: ast.UnaryOp, op: ast.unaryop, operand: ast.expr) -> Any:
        value = self.visit(operand)
        if value is _WRONG:
            return _WRONG
        if isinstance(op, ast.USub) and type(value) in (int, float):
            return -value
        start = self.formula.span(node)[0]
        return self.apply(op, [value], [operand], (start, start + 1))

    def binary(self, op: ast.AST, left: ast.expr, right: ast.expr) -> Any:
        values = [self.visit(left), self.visit(right)]
        if any(v is _WRONG for v in values):
            return _WRONG
        symbol = _INFIX[type(op)][1]
        after = self.formula.span(left)[1]
        found = self.formula.source.text.find(symbol, after, self.formula.span(right)[0])
        found = max(found, after)
        return self.apply(op, values, [left, right], (found, found + len(symbol)))

    def apply(
        self, op: ast.AST, values: list[Any], nodes: list[ast.expr], place: tuple[int, int]
    ) -> Any:
        name, symbol = _INFIX[type(op)]
        for value, node in zip(values, nodes, strict=True):
            if not isinstance(value, (Expr, int, float)):
                message = f"`{symbol}` works on tensors and numbers, not on {_kind(value)}"
                return self.wrong("GC011", message, node)
        try:
            return infix(name, *values)
        except Invalid as error:
            hint = error.hint
            if error.code == "GC015":
                texts = [self.formula.text(node) for node in nodes]
                hint = _shapes(hint, list(zip(texts, values, strict=True)))
            return self.wrong(error.code, error.message, place, hint)


def _shapes(hint: str | None, operands: list[tuple[str, Any]]) -> str:
    told = [
        f"`{slice_of(text, 0, len(text))}` has shape {value.shape}"
        for text, value in operands
        if isinstance(value, Expr) and value.value is None
    ]
    return ", ".join(told) + (f"; {hint}" if hint else "")


def _number(value: Any) -> Any:
    return value.value if isinstance(value, Expr) else value


def _kind(value: Any) -> str:
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return f"a result with the fields {', '.join(value._fields)}"
    if isinstance(value, (_Function, _Module)):
        return "a function"
    return "a dtype" if isinstance(value, dtypes.DType) else describe(value)
