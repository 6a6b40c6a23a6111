"""Building an expression over inputs of supposed shapes, up to the first part that refuses its operands."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import TABLE, Expr
from gradcheck_cli.lang.blame import Function
from gradcheck_cli.lang.build import _INFIX, _Recorder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradcheck_cli.graph import Op

_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class Refusal:
    """Where an attempt ended: the part, what it was given, and the message."""

    node: ast.AST
    operands: tuple[Expr, ...]
    ops: tuple[Op, ...]
    code: str
    message: str

    @property
    def may_be_guessed(self) -> bool:
        """Whether other inputs might do: an unknown function stays unknown.

        A loss whose target is not of its input's shape says that it wants class indices: dtypes (GC016)
        hang on sizes as well.
        """
        return self.code in ("GC014", "GC015", "GC016")

    @property
    def what(self) -> tuple[ast.AST, str]:
        """To tell whether a change helped: the same of other sizes is no progress."""
        return self.node, _DIGITS.sub("", self.message)


class _Refused(Exception):  # noqa: N818 -- caught where the attempt began
    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.node: ast.AST | None = None


class Attempt(_Recorder):
    """Builds an expression up to the first part that refuses what it is given."""

    def wrong(self, code: str, message: str, *_: object) -> Any:
        """End here."""
        raise _Refused(code, message)

    def visit(self, node: ast.AST) -> Any:
        """As always, and note where it ended."""
        try:
            return super().visit(node)
        except _Refused as refused:
            refused.node = refused.node or node
            raise

    def run(self) -> Expr | Refusal:
        """The graph, or what refused."""
        try:
            value = self.visit(self.formula.tree)
            if isinstance(value, (int, float)) or not isinstance(value, Expr):
                self.not_a_tensor(value)
        except _Refused as refused:
            node = refused.node or self.formula.tree
            return Refusal(
                node,
                tuple(self._tensors(node)),
                tuple(self._ops(node)),
                refused.code,
                refused.message,
            )
        result: Expr = value
        return result

    def _tensors(self, node: ast.AST) -> Iterator[Expr]:
        for child in ast.iter_child_nodes(node):
            yield from _flat(self.values.get(child))
            if isinstance(child, ast.keyword):
                yield from _flat(self.values.get(child.value))

    def _ops(self, node: ast.AST) -> Iterable[Op]:
        if isinstance(node, ast.Call):
            function = self.values.get(node.func)
            return function.overloads if isinstance(function, Function) else ()
        if isinstance(node, ast.BinOp):
            return (TABLE.by_name[_INFIX[type(node.op)]],)
        if isinstance(node, ast.Compare):
            return (TABLE.by_name[_INFIX[type(node.ops[0])]],)
        return ()


def _flat(value: Any) -> Iterator[Expr]:
    if isinstance(value, Expr):
        if value.value is None:
            yield value
    elif isinstance(value, Function):
        if value.receiver is not None:
            yield value.receiver
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _flat(item)
