"""What a call may mean while nothing is known of its arguments, and what samples say of them."""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_cli.dtypes import BY_NAME
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import TABLE, Expr, variable
from gradcheck_cli.lang.build import calls
from gradcheck_cli.lang.names import MODULES
from gradcheck_cli.lang.parse import parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from gradcheck_cli.dtypes import DType
    from gradcheck_cli.graph import In, Op, Shape

# Samples of one overload that are looked at.
_MOST_SAMPLES = 12


class Pattern(NamedTuple):
    """What one sample gives an operator, by parameter."""

    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, DType]


def overloads(node: ast.Call, own: Collection[str]) -> list[Op]:
    """The operators that a call may mean; `own` names hide functions and modules."""
    func = node.func
    found: list[Op] | None = None
    if isinstance(func, ast.Name):
        found = None if func.id in own else TABLE.bare(func.id)
    elif isinstance(func, ast.Attribute):
        path = _module(func.value, own)
        found = TABLE.methods.get(func.attr)
        if path is not None:
            found = TABLE.functions.get(f"{path}.{func.attr}")
    return found or []


def operands(node: ast.Call, own: Collection[str]) -> list[ast.expr]:
    """What a call is given, the receiver of a method first."""
    func = node.func
    is_method = isinstance(func, ast.Attribute) and _module(func.value, own) is None
    receiver = [func.value] if is_method and isinstance(func, ast.Attribute) else []
    return [*receiver, *node.args, *(keyword.value for keyword in node.keywords)]


def arguments(node: ast.Call, op: Op, own: Collection[str]) -> Iterator[tuple[str, ast.expr]]:
    """The parameters of `op` with what a call gives for them."""
    given = operands(node, own)
    plain = given[: len(given) - len(node.keywords)]
    parameters = op.signature.parameters
    for place, (parameter, value) in enumerate(zip(parameters, plain, strict=False)):
        if parameter.keyword_only:
            break
        yield parameter.name, value
        after = parameters[place + 1 : place + 2]
        if parameter.variadic and all(p.keyword_only for p in after):
            yield from ((parameter.name, more) for more in plain[place + 1 :])
            break
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg in op.signature.names:
            yield keyword.arg, keyword.value


def _module(node: ast.expr, own: Collection[str]) -> str | None:
    """The module that a dotted name means, as the table of operators calls it."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id in own:
        return None
    return MODULES.get(".".join([node.id, *parts]))


@cache
def patterns(op: Op) -> tuple[Pattern, ...]:
    """What the samples of an operator give it; nothing for one that takes lists of tensors."""
    parameters = [p for p in op.signature.parameters if p.is_tensor]
    if any(p.type == "Tensor[]" for p in parameters):
        return ()
    found = []
    for sample in op.samples[:_MOST_SAMPLES]:
        scope = {name: _variable(name, drawn) for name, drawn in sample.inputs.items()}
        for call in calls(parse(Source(sample.expression)), scope):
            if call.op is op:
                given = {
                    p.name: arg
                    for p, arg in zip(parameters, call.args, strict=True)
                    if isinstance(arg, Expr) and arg.value is None
                }
                shapes = {name: arg.shape for name, arg in given.items()}
                found.append(Pattern(shapes, {name: arg.dtype for name, arg in given.items()}))
                break
    return tuple(found)


def _variable(name: str, drawn: In) -> Expr:
    shape = list(drawn.shape)
    value = drawn.value
    while isinstance(value, (list, tuple)):
        shape.append(len(value))
        value = value[0] if value else None
    return variable(name, shape, BY_NAME[drawn.dtype])
