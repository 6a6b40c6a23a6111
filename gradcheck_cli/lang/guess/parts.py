"""What a part of an expression is by its form: a matrix product, a transpose, a sum over everything."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

TRANSPOSES = frozenset(["T", "mT", "H", "mH", "t", "transpose", "swapaxes", "adjoint"])
_RESHAPES = frozenset(["unsqueeze", "squeeze", "view", "reshape", "flatten", "expand", "long"])
_REDUCTIONS = frozenset(["sum", "mean", "norm", "prod", "logsumexp", "trace", "logdet", "det"])


def is_total(node: ast.expr) -> bool:
    """Whether a node is a sum over everything or another reduction, or several of them."""
    match node:
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
            return is_total(left) and is_total(right)
        case (
            ast.Call(func=ast.Attribute(attr=name), args=[], keywords=[])
            | ast.Call(func=ast.Name(id=name), args=[_], keywords=[])
            | ast.Call(
                func=ast.Attribute(value=ast.Name(id="torch" | "F"), attr=name),
                args=[_],
                keywords=[],
            )
        ):
            return name in _REDUCTIONS
    return False


def factors(node: ast.expr) -> list[ast.expr]:
    """What a product is made of, quotients and signs included."""
    match node:
        case ast.BinOp(left=left, op=ast.Mult() | ast.Div(), right=right):
            return [*factors(left), *factors(right)]
        case ast.UnaryOp(operand=operand):
            return factors(operand)
    return [node]


def product_in(node: ast.expr) -> ast.BinOp | None:
    """The matrix product that a node begins with."""
    while isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.MatMult):
            return node
        node = node.left
    return None


def is_vector(node: ast.expr) -> bool:
    """Whether a node looks like a vector: a lower-case name, a product with one, or these elementwise."""
    match node:
        case ast.Name(id=name):
            return not name[0].isupper()
        case ast.BinOp(op=ast.MatMult(), right=right):
            return is_vector(right)
        case ast.BinOp(left=left, right=right):
            parts = [part for part in (left, right) if not isinstance(part, ast.Constant)]
            return bool(parts) and all(map(is_vector, parts))
        case ast.UnaryOp(operand=operand):
            return is_vector(operand)
        case ast.Call(args=[one], keywords=[]):
            return is_vector(one)
    return False


def names_in(node: ast.AST) -> set[str]:
    """The names in a part."""
    return {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}


def same(first: ast.expr, second: ast.expr) -> bool:
    """Whether two nodes are the same text."""
    return ast.dump(first) == ast.dump(second)


def untransposed(node: ast.expr) -> ast.expr:
    """What a node is without transposes around it."""
    return _without(node, TRANSPOSES, attributes=True)


def unshaped(node: ast.expr) -> ast.expr:
    """What a node is before its shape was changed: `t` of `t[:, None]` and of `t.unsqueeze(1)`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return _without(node, _RESHAPES, attributes=False)


def _without(node: ast.expr, names: Collection[str], *, attributes: bool) -> ast.expr:
    """`node` below methods (and attributes) called by one of `names`."""
    while True:
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr=attr)) if attr in names:
                node = value
            case ast.Attribute(value=value, attr=attr) if attributes and attr in names:
                node = value
            case _:
                return node
