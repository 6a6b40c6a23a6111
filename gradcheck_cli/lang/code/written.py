"""A formula as the person wrote it, made code that runs by itself."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import TABLE, Expr
from gradcheck_cli.lang.build import values
from gradcheck_cli.lang.code.torch_text import full_name
from gradcheck_cli.lang.names import MODULES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gradcheck_cli.lang.parse import Formula

# These make a tensor from numbers alone.
_CREATED = frozenset(
    [
        *("zeros", "ones", "full", "eye", "tensor", "scalar_tensor", "arange", "linspace"),
        *("logspace", "tril_indices", "triu_indices"),
    ]
)
# These say themselves which dtype they give.
_CASTS = frozenset(["to", "type", "double", "float", "half", "bfloat16", "cdouble", "cfloat"])


class Written:
    """Formulas' texts with every function's module, as code for real PyTorch, line by line.

    `names` are the scope's names in the code. What is made from numbers alone takes dtype and device from
    the tensor named `like`. Parts that stand for a node of `kept` get a line of their own, of that name.

    >>> from gradcheck_cli.errors import Source
    >>> from gradcheck_cli.graph import variable
    >>> from gradcheck_cli.lang.parse import parse
    >>> written = Written({"x": variable("x", (3,))}, {"x": "x"}, "x")
    >>> written.add("y", parse(Source("sigmoid(x)  @ torch.eye(3)")))
    >>> written.lines
    [('y', 'torch.sigmoid(x) @ torch.eye(3, dtype=x.dtype, device=x.device)')]
    """

    def __init__(
        self,
        scope: Mapping[str, Expr],
        names: Mapping[str, str],
        like: str,
        kept: Mapping[Expr, str] | None = None,
    ) -> None:
        self.scope = scope
        self.names = names
        self.like = like
        self.kept = kept or {}
        self.lines: list[tuple[str, str]] = []
        self.refused = False

    def add(self, name: str, formula: Formula) -> None:
        """Write one more formula under its name.

        `refused` is set where part of it is of the check's dtype only because a check has one, and real
        PyTorch would have its own default there: `torch.where(mask, 1.0, 0.1)`, `index / 2`.
        """
        writer = _Writer(values(formula, self.scope), self)
        self.lines.append((name, ast.unparse(writer.visit(formula.tree))))
        self.refused |= writer.refused


def spoken(formula: Formula, scope: Mapping[str, Expr]) -> set[Expr]:
    """The nodes that parts of the formula stand for."""
    return {node for value in values(formula, scope).values() for node in _nodes(value)}


class _Writer(ast.NodeTransformer):
    """Makes a new tree: that of the formula stays as it is."""

    def __init__(self, values: Mapping[ast.AST, Any], written: Written) -> None:
        self.values = values
        self.written = written
        self.refused = False

    def visit(self, node: ast.AST) -> Any:
        """A node's code; a name for one that is kept."""
        value = self.values.get(node)
        name = self.written.kept.get(value) if isinstance(value, Expr) else None
        if name is None or isinstance(node, ast.Name):
            return super().visit(node)
        lines = self.written.lines
        if all(name != other for other, _ in lines):
            text = ast.unparse(super().visit(node))
            lines.append((name, text))
        return ast.Name(name, ast.Load())

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """A copy with its parts made code."""
        if isinstance(node, (ast.BinOp, ast.UnaryOp, ast.Subscript, ast.Attribute)):
            self.refused |= self.adopts(node)
        # The lists too are copied, since those of the copy are changed in place.
        fields = {name: getattr(node, name, None) for name in node._fields}
        parts = {name: value[:] if type(value) is list else value for name, value in fields.items()}
        return super().generic_visit(type(node)(**parts))

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """A name of the scope, a module, or a function."""
        if node.id in self.written.scope:
            return ast.Name(self.written.names.get(node.id, node.id), node.ctx)
        if node.id in MODULES or not TABLE.bare(node.id):
            return ast.Name(node.id, node.ctx)
        return ast.Name(full_name(node.id), node.ctx)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """A call; of what makes a tensor from numbers, with the dtype and device of `like`."""
        made = self.generic_visit(node)
        assert isinstance(made, ast.Call)
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        given = {keyword.arg for keyword in node.keywords}
        if name in _CREATED and self.receiver(node) is None:
            floating = any(_is_floating(value) for value in _nodes(self.values.get(node)))
            said = ("dtype",) if floating and "dtype" not in given else ()
            made.keywords += [
                ast.keyword(key, ast.parse(f"{self.written.like}.{key}", mode="eval").body)
                for key in (*said, "device")
            ]
        elif name not in _CASTS and "dtype" not in given:
            self.refused |= self.adopts(node)
        return made

    def adopts(self, node: ast.expr) -> bool:
        """Whether the node is of the check's dtype, and nothing it is made from is floating-point."""
        found = list(_nodes(self.values.get(node)))
        if not any(_is_floating(value) for value in found):
            return False
        below = [value for part in self.parts(node) for value in _nodes(self.values.get(part))]
        return not any(_is_floating(value) for value in below)

    def parts(self, node: ast.expr) -> Iterator[ast.AST]:
        """What a node is computed from."""
        if not isinstance(node, ast.Call):
            yield from ast.iter_child_nodes(node)
            return
        receiver = self.receiver(node)
        if receiver is not None:
            yield receiver
        yield from node.args
        yield from (keyword.value for keyword in node.keywords)

    def receiver(self, node: ast.Call) -> ast.expr | None:
        """The tensor whose method is called."""
        if not isinstance(node.func, ast.Attribute):
            return None
        base = node.func.value
        return base if isinstance(self.values.get(base), Expr) else None


def _nodes(value: Any) -> Iterator[Expr]:
    if isinstance(value, Expr):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _nodes(item)


def _is_floating(node: Expr) -> bool:
    return node.value is None and node.dtype.kind in "fz"
