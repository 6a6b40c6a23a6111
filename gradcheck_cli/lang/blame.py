"""Whom an error of a call or an operator names: the place of the caret, and the operands in words."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import did_you_mean
from gradcheck_cli.graph import Expr
from gradcheck_cli.lang.names import MODULES
from gradcheck_cli.schema import NUMPY_NAMES, Invalid, describe

if TYPE_CHECKING:
    from collections.abc import Sequence, Set  # noqa: PYI025 -- the abstract one

    from gradcheck_cli.graph import Op
    from gradcheck_cli.lang.parse import Formula

Place = ast.AST | tuple[int, int]


@dataclass(frozen=True, slots=True)
class Module:
    """What a module's name evaluates to."""

    path: str


@dataclass(frozen=True, slots=True)
class Function:
    """What an operator's name evaluates to; with a receiver it is a method."""

    name: str
    overloads: list[Op]
    receiver: Expr | None = None


def nearest(function: Function, failures: Sequence[tuple[Op, Invalid]]) -> tuple[Op, Invalid]:
    """Of overloads that all refuse a call the one that came nearest, with a hint."""
    op, error = max(failures, key=lambda failure: failure[1].rank)
    equals = [failure for failure in failures if failure[1].rank == error.rank]
    if len({failure.message for _, failure in equals}) > 1:
        message = f"{function.name}() can't be called with these arguments"
        signatures = dict.fromkeys(str(other.signature) for other, _ in equals)
        return op, Invalid(error.code, message, f"it is {' or '.join(signatures)}")
    if error.hint is None:
        unknown = error.argument if error.argument not in op.signature.names else None
        near = unknown and did_you_mean(unknown, op.signature.names)
        error.hint = near or f"its signature is {op.signature}"
    return op, error


def end_of(formula: Formula, node: ast.expr) -> tuple[int, int]:
    """The place of a function's or attribute's own name."""
    start, end = formula.span(node)
    return (end - len(node.attr), end) if isinstance(node, ast.Attribute) else (start, end)


def blamed(formula: Formula, hidden: Set[str], node: ast.Call, op: Op, error: Invalid) -> Place:
    """The argument that is wrong if it is known and was given, else the function's name.

    `hidden` are the check's own names, which hide those of modules.
    """
    named, function = error.argument, end_of(formula, node.func)
    if named is None:
        return function
    for keyword in node.keywords:
        if keyword.arg is not None and named in (keyword.arg, NUMPY_NAMES.get(keyword.arg)):
            if keyword.arg in op.signature.names:
                return keyword.value
            start = formula.span(keyword)[0]
            return start, start + len(keyword.arg)
    positional = [p for p in op.signature.parameters if not p.keyword_only]
    index = next((i for i, p in enumerate(positional) if p.name == named), None)
    if index is None or (error.code == "GC015" and positional[index].is_tensor):
        return function
    parameter = positional[index]
    if isinstance(node.func, ast.Attribute) and not _is_module(node.func.value, hidden):
        index -= 1  # the receiver is the first argument
    if not 0 <= index < len(node.args):
        return function
    last = len(node.args) - 1 if parameter.variadic else index
    return formula.span(node.args[index])[0], formula.span(node.args[last])[1]


def _is_module(node: ast.expr, hidden: Set[str]) -> bool:
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in MODULES and node.id not in hidden


def with_shapes(
    formula: Formula, hint: str | None, operands: Sequence[tuple[ast.expr, Any]]
) -> str | None:
    """The hint after each tensor's own shape, called what its text calls it."""
    told = [
        f"`{formula.text(node)}` has shape {value.shape}"
        for node, value in operands
        if isinstance(value, Expr) and value.value is None
    ]
    parts = [", ".join(told), hint or ""]
    return "; ".join(part for part in parts if part) or None


def kind(value: Any) -> str:
    """What a person would call `value`, modules and functions included."""
    if isinstance(value, Function):
        return f"the {'function' if value.receiver is None else 'method'} `{value.name}`"
    if isinstance(value, Module):
        return f"the module `{value.path}`"
    return describe(value)


def remedy(value: Any) -> str | None:
    """What makes a tensor of a value that is none."""
    if isinstance(value, Function):
        receiver = "" if value.receiver is None else "x."
        return f"call it: {receiver}{value.name}(...)"
    fields = getattr(value, "_fields", None)
    if fields:
        return f"take one of its fields: {' or '.join(f'`.{field}`' for field in fields)}"
    return "take its items with a subscript" if isinstance(value, tuple) else None
