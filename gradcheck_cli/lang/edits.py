"""One part of an expression's text replaced by another, the rest left as the person wrote it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_cli.errors import Source
from gradcheck_cli.lang.parse import Formula, parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
# How the holes of a template are named where it is read as a formula.
HOLE = "_hole_"
_HOLE = re.compile(r"\{(\d+)\}")


class Change(NamedTuple):
    """A node to be replaced by a template, in which `{0}`, `{1}` ... stand for `parts` of the same text.

    A template is of the person who writes rules: it must be an expression, and each hole stand alone.
    """

    node: ast.AST
    template: str
    parts: tuple[ast.AST, ...] = ()


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
            if isinstance(node, ast.expr) and self.is_part(node):
                yield node

    def is_part(self, node: ast.AST) -> bool:
        """Whether it stands for a value: not what a call calls."""
        return not self._is_name_of_call(node)

    def segment(self, node: ast.AST) -> str:
        """The text of a node, without parentheses around it."""
        start, end = self.formula.span(node)
        return self.text[start:end]

    def renamed(self, call: ast.Call, name: str) -> tuple[str, tuple[ast.expr, ...]]:
        """The template and the parts of a call with another function or method in its place.

        >>> edits = Edits.of("torch.sin(x, out=y)")
        >>> edits.renamed(edits.tree, "cos")[0]
        'torch.cos({0}, out={1})'
        """
        parts: list[ast.expr] = []

        def hole(node: ast.expr) -> str:
            parts.append(node)
            return f"{{{len(parts) - 1}}}"

        func = call.func
        if isinstance(func, ast.Attribute) and self.is_part(func.value):
            start = f"{hole(func.value)}.{name}"
        elif isinstance(func, ast.Attribute):
            start = f"{self.segment(func.value)}.{name}"
        else:
            start = name
        arguments = [hole(arg) for arg in call.args]
        arguments += [f"{keyword.arg}={hole(keyword.value)}" for keyword in call.keywords]
        return f"{start}({', '.join(arguments)})", tuple(parts)

    def with_slice(
        self, subscript: ast.Subscript, part: ast.Slice, text: str
    ) -> tuple[str, ast.expr]:
        """The template and its part for a subscript with one of its slices replaced.

        >>> edits = Edits.of("x[1:, i]")
        >>> edits.with_slice(edits.tree, edits.tree.slice.elts[0], "2:")[0]
        '{0}[2:, i]'
        """
        items = (
            subscript.slice.elts if isinstance(subscript.slice, ast.Tuple) else [subscript.slice]
        )
        texts = [text if item is part else self.segment(item) for item in items]
        return f"{{0}}[{', '.join(texts)}]", subscript.value

    def parent(self, node: ast.AST) -> ast.AST | None:
        """What a node is a part of; None for the whole."""
        return self._parents[node][0] if node in self._parents else None

    def replaced(self, node: ast.AST, text: str) -> str:
        """The whole text with `node` replaced by `text`, in parentheses where they are needed."""
        return self._spliced([(node, text, binding_of(text))])

    def changed(self, changes: Sequence[Change]) -> str:
        """The whole text with several nodes replaced, of which none is a part of another.

        >>> edits = Edits.of("(a + b) * c")
        >>> edits.changed([Change(edits.tree, "{1} @ {0}.T", (edits.tree.left, edits.tree.right))])
        'c @ (a + b).T'
        """
        return self._spliced(
            [(change.node, self.filled(change), self._binding_of(change)) for change in changes]
        )

    @staticmethod
    def _binding_of(change: Change) -> int:
        """How tightly what a change puts in place binds; a part that stands alone, as it did."""
        template = _template(change.template)
        if isinstance(template.formula.tree, ast.Name) and len(template.pieces) > 1:
            part = change.parts[template.pieces[0][1] or 0]
            return _binding_of(part) if isinstance(part, ast.expr) else _ATOM
        return template.binding

    def filled(self, change: Change) -> str:
        """The text that a change puts in its node's place."""
        texts = []
        template = _template(change.template)
        for piece, hole, needed in template.pieces:
            texts.append(piece)
            if hole is not None:
                part = change.parts[hole]
                text = self.segment(part)
                loose = isinstance(part, ast.expr) and _binding_of(part) < needed
                texts.append(f"({text})" if loose else text)
        return "".join(texts)

    def _spliced(self, parts: Sequence[tuple[ast.AST, str, int]]) -> str:
        whole = self.text
        for node, plain, binding in sorted(
            parts, key=lambda part: self.formula.span(part[0]), reverse=True
        ):
            start, end = self.formula.span(node)
            text, before, after = plain, whole[:start], whole[end:]
            bare = before.rstrip().endswith("(") and after.lstrip().startswith(")")
            if bare and self._is_grouped(node, start):
                if binding == _ATOM:
                    # The node's own parentheses are needed no longer.
                    before, after = before.rstrip()[:-1], after.lstrip()[1:]
            elif binding < self._needed(node):
                text = f"({plain})"
            whole = before + text + after
        return whole

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


@dataclass(frozen=True, slots=True)
class _Template:
    """A template read: its text before each hole with the hole's number and what it must bind at least."""

    formula: Formula
    pieces: tuple[tuple[str, int | None, int], ...]
    binding: int


@lru_cache(maxsize=2048)
def _template(text: str) -> _Template:
    pieces = _HOLE.split(text)
    edits = Edits.of(_HOLE.sub(rf"{HOLE}\1", text))
    holes = [
        node
        for node in ast.walk(edits.tree)
        if isinstance(node, ast.Name) and node.id.startswith(HOLE)
    ]
    holes.sort(key=lambda node: node.col_offset)
    read: list[tuple[str, int | None, int]] = [
        (piece, int(hole), edits._needed(node))  # noqa: SLF001 -- its own
        for piece, hole, node in zip(pieces[:-1:2], pieces[1::2], holes, strict=True)
    ]
    return _Template(edits.formula, (*read, (pieces[-1], None, 0)), _binding_of(edits.tree))


def template_formula(template: str) -> Formula:
    """A template as a formula in which the holes are names: `HOLE` and the hole's number."""
    return _template(template).formula


def binding_of(text: str) -> int:
    """How tightly the outermost operation of an expression binds.

    >>> binding_of("a + b") < binding_of("a * b") < binding_of("-a") < binding_of("a.T")
    True
    """
    return _binding_of(parse(Source(text)).tree)


def _binding_of(tree: ast.expr) -> int:
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
