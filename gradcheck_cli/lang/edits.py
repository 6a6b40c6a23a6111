"""One part of an expression's text replaced by another, the rest left as the person wrote it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gradcheck_cli.errors import Source
from gradcheck_cli.lang.parse import Formula, parse

if TYPE_CHECKING:
    from collections.abc import Iterator

# How tightly an expression's outermost operation binds; what isn't listed is an atom.
_BINDING: dict[type[ast.AST], int] = {
    ast.BitOr: 2,
    ast.BitXor: 3,
    ast.BitAnd: 4,
    ast.Add: 6,
    ast.Sub: 6,
    ast.Mult: 7,
    ast.Div: 7,
    ast.FloorDiv: 7,
    ast.Mod: 7,
    ast.MatMult: 7,
    ast.Pow: 9,
}
_COMPARISON, _UNARY, _ATOM = 1, 8, 10


class Edits:
    """An expression's text and tree, and what the text is with a node of it replaced.

    Line ends and comments of the text are gone: an edited formula is one line.
    """

    def __init__(self, formula: Formula) -> None:
        self.formula = (
            formula
            if formula.lead == 0 and formula.flat == " ".join(formula.flat.split())
            else parse(Source(" ".join(formula.flat.split())))
        )
        self.text = self.formula.flat
        self.tree = self.formula.tree
        self._parents: dict[ast.AST, tuple[ast.AST, str]] = {}
        for node in ast.walk(self.tree):
            for field, value in ast.iter_fields(node):
                for child in value if isinstance(value, list) else (value,):
                    if isinstance(child, ast.AST):
                        self._parents[child] = node, field

    @classmethod
    def of(cls, text: str) -> Edits:
        """The same from text. Raises GradcheckError where it isn't an expression.

        >>> edits = Edits.of("2 * (a + b)")
        >>> edits.replaced(edits.tree.right, "c - d")
        '2 * (c - d)'
        """
        return cls(parse(Source(text)))

    def nodes(self) -> Iterator[ast.expr]:
        """All expressions in it, the outermost first; not what a call calls and no keyword's name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.expr) and not self._is_name_of_call(node):
                yield node

    def segment(self, node: ast.AST) -> str:
        """The text of a node, without parentheses around it."""
        start, end = self.formula.span(node)
        return self.text[start:end]

    def parent(self, node: ast.AST) -> ast.AST | None:
        """What a node is a part of; None for the whole."""
        return self._parents[node][0] if node in self._parents else None

    def replaced(self, node: ast.AST, text: str) -> str:
        """The whole text with `node` replaced by `text`, in parentheses where they are needed."""
        start, end = self.formula.span(node)
        before, after = self.text[:start], self.text[end:]
        bare = before.rstrip().endswith("(") and after.lstrip().startswith(")")
        grouping = bare and self._is_grouped(node, start)
        if not grouping and binding_of(text) < self._needed(node):
            text = f"({text})"
        return before + text + after

    def _is_name_of_call(self, node: ast.AST) -> bool:
        """Whether it is `f` of `f(x)`, `torch` of `torch.f(x)`, or such a chain; not `x` of `x.f()`."""
        parent, field = self._parents.get(node, (None, ""))
        if isinstance(parent, ast.Call) and field == "func":
            return True
        return (
            isinstance(parent, ast.Attribute)
            and isinstance(node, (ast.Name, ast.Attribute))
            and self._is_name_of_call(parent)
            and self._is_module(node)
        )

    def _is_module(self, node: ast.AST) -> bool:
        while isinstance(node, ast.Attribute):
            node = node.value
        return isinstance(node, ast.Name) and node.id in ("torch", "F", "math")

    def _is_grouped(self, node: ast.AST, start: int) -> bool:
        """Whether the parentheses around it are its own, not those of a call."""
        parent, field = self._parents.get(node, (None, ""))
        if isinstance(parent, ast.Call) and field in ("args", "keywords"):
            opening = self.text[:start].rstrip()[:-1].rstrip()
            return len(opening) > self.formula.span(parent.func)[1]
        return True

    def _needed(self, node: ast.AST) -> int:
        """How tightly a text must bind to stand for `node` without parentheses."""
        parent, field = self._parents.get(node, (None, ""))
        if isinstance(parent, ast.BinOp):
            binding = _BINDING[type(parent.op)]
            right = field == "right"
            if isinstance(parent.op, ast.Pow):
                return _UNARY if right else _ATOM
            return binding + right
        if isinstance(parent, ast.UnaryOp):
            return _UNARY
        if isinstance(parent, ast.Compare):
            return _COMPARISON + 1
        if isinstance(parent, (ast.Attribute, ast.Subscript)) and field == "value":
            return _ATOM
        return 0


def binding_of(text: str) -> int:
    """How tightly the outermost operation of an expression binds.

    >>> binding_of("a + b") < binding_of("a * b") < binding_of("-a") < binding_of("a.T")
    True
    """
    tree = parse(Source(text)).tree
    if isinstance(tree, ast.BinOp):
        return _BINDING[type(tree.op)]
    if isinstance(tree, ast.UnaryOp):
        return _UNARY
    if isinstance(tree, ast.Compare):
        return _COMPARISON
    # A number before a dot reads as a longer number, so it is no atom.
    return _UNARY if isinstance(tree, ast.Constant) else 0 if isinstance(tree, ast.Tuple) else _ATOM


def grouped(text: str, binding: int = _ATOM) -> str:
    """`text` in parentheses, unless it binds at least so tightly: safe to put an operator behind.

    >>> grouped("a + b"), grouped("a.T")
    ('(a + b)', 'a.T')
    """
    return text if binding_of(text) >= binding else f"({text})"
