"""Text to a validated syntax tree: which part of Python's grammar is in the language.

The tree is the standard library's `ast`, checked against an allow-list, so that it can be compiled and
evaluated with nothing but tensors and PyTorch's functions in reach. What names mean is `build`'s business.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property

from gradcheck_cli.errors import GradcheckError, Problem, Source

MAX_LENGTH = 100_000
MAX_DEPTH = 200
MAX_NODES = 20_000
_MAX_BITS = 63

_OPERATORS = (
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.MatMult),
    *(ast.BitAnd, ast.BitOr, ast.BitXor, ast.USub, ast.UAdd, ast.Invert),
    *(ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE),
)
_ALLOWED = (
    *(ast.Name, ast.Load, ast.Constant, ast.Attribute, ast.Call, ast.keyword, ast.Subscript, ast.Slice),
    *(ast.Tuple, ast.List, ast.BinOp, ast.UnaryOp, ast.Compare),
    *_OPERATORS,
)
# What people try, what it is called, and what to write instead.
_REFUSED: dict[type[ast.AST], tuple[str, str | None]] = {
    ast.Lambda: ("a lambda", None),
    ast.ListComp: ("a comprehension", "write it with tensor operations: `x * 2`"),
    ast.SetComp: ("a comprehension", "write it with tensor operations: `x * 2`"),
    ast.DictComp: ("a comprehension", "write it with tensor operations: `x * 2`"),
    ast.GeneratorExp: ("a generator", "write it with tensor operations: `x.sum()`"),
    ast.IfExp: ("a conditional expression", "use torch.where(condition, a, b)"),
    ast.BoolOp: ("`and` or `or`", "use `&` and `|` on masks, each side in parentheses"),
    ast.Not: ("`not`", "use `~` on a mask"),
    ast.NamedExpr: ("an assignment", "name intermediate values under `let:`"),
    ast.Starred: ("`*` before an argument", None),
    ast.JoinedStr: ("an f-string", None),
    ast.Dict: ("a dictionary", None),
    ast.Set: ("a set", None),
    ast.Is: ("`is`", "use `==`"),
    ast.IsNot: ("`is not`", "use `!=`"),
    ast.In: ("`in`", None),
    ast.NotIn: ("`not in`", None),
    ast.LShift: ("`<<`", None),
    ast.RShift: ("`>>`", None),
    ast.Await: ("`await`", None),
    ast.Yield: ("`yield`", None),
    ast.YieldFrom: ("`yield`", None),
}


@dataclass(frozen=True)
class Formula:
    """A validated expression: its text with positions, and its syntax tree."""

    source: Source
    tree: ast.expr

    @cached_property
    def _characters(self) -> list[int] | None:
        """Byte offset to character offset (`ast` counts bytes); None where they are the same."""
        text = self.source.text
        if text.isascii():
            return None
        table: list[int] = []
        for index, char in enumerate(text):
            table.extend([index] * len(char.encode("utf-8", "surrogatepass")))
        return [*table, len(text)]

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where `node` stands in the text, in characters."""
        first: int = getattr(node, "col_offset", 0)
        last: int = getattr(node, "end_col_offset", first + 1)
        table = self._characters
        return (first, last) if table is None else (table[first], table[last])

    def text(self, node: ast.AST) -> str:
        """The text of `node`."""
        return slice_of(self.source.text, *self.span(node))

    def problem(
        self,
        code: str,
        message: str,
        node: ast.AST | tuple[int, int],
        hint: str | None = None,
    ) -> Problem:
        """A problem with the place of `node`."""
        start, end = node if isinstance(node, tuple) else self.span(node)
        return Problem(code, message, self.source.where(start, end), hint)


def slice_of(text: str, start: int, end: int) -> str:
    """A piece of text on one line, shortened for use in a message."""
    piece = " ".join(text[start:end].split())
    return piece if len(piece) <= 40 else piece[:37] + "..."  # noqa: PLR2004


def parse(source: Source) -> Formula:
    """Read and validate an expression. Raises GradcheckError with everything that is wrong with it.

    >>> parse(Source("(x - y).pow(2).sum()")).tree.__class__.__name__
    'Call'
    """
    text = source.text
    if not text.strip():
        raise GradcheckError(Problem("GC010", "the expression is empty", source.where(0)))
    _bound(source)
    flat = _one_line(text)
    lead = len(flat) - len(flat.lstrip())
    try:
        # Parentheses would shift positions; leading blanks would be an indentation error.
        tree = ast.parse(flat.lstrip(), mode="eval").body
    except SyntaxError as error:
        raise GradcheckError(_syntax_problem(source, flat, lead, error)) from None
    except (RecursionError, MemoryError):
        raise GradcheckError(_too_deep(source, 0)) from None
    except ValueError as error:
        raise GradcheckError(Problem("GC010", str(error), source.where(0))) from None
    if lead:
        for node in ast.walk(tree):
            if hasattr(node, "col_offset"):
                node.col_offset += lead
                node.end_col_offset += lead  # type: ignore[attr-defined]
    formula = Formula(source, tree)
    problems = _validate(formula)
    if problems:
        raise GradcheckError(*problems)
    return formula


def _too_deep(source: Source, position: int) -> Problem:
    return Problem(
        "GC019",
        f"the expression nests deeper than {MAX_DEPTH} levels",
        source.where(position),
        "name parts of it under `let:`",
    )


def _bound(source: Source) -> None:
    """Refuse what would exhaust the parser: the text's length, and the depth of its brackets."""
    text = source.text
    if len(text) > MAX_LENGTH:
        msg = f"the expression has {len(text)} characters; at most {MAX_LENGTH} are read"
        raise GradcheckError(Problem("GC019", msg, source.where(0), "name parts under `let:`"))
    depth = 0
    for position, char in enumerate(text):
        if char in "([{":
            depth += 1
            if depth > MAX_DEPTH:
                raise GradcheckError(_too_deep(source, position))
        elif char in ")]}":
            depth -= 1


def _one_line(text: str) -> str:
    """The same characters at the same places, line ends and comments blanked out."""
    if "\n" not in text and "\r" not in text and "#" not in text:
        return text
    result, quote, comment = [], "", False
    for char in text:
        if char in "\r\n":
            comment = False
            result.append(" ")
            continue
        if comment:
            result.append(" ")
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char == "#":
            comment = True
            char = " "  # noqa: PLW2901
        result.append(char)
    return "".join(result)


_ASSIGNMENT = "assignments are no part of an expression; name intermediate values under `let:`"


def _syntax_problem(source: Source, flat: str, lead: int, error: SyntaxError) -> Problem:
    start = max(0, (error.offset or 1) - 1) + lead
    end = max(start + 1, (error.end_offset or 0) - 1 + lead)
    message = error.msg.replace(". Maybe you meant '==' or ':=' instead of '='?", "")
    message = message[0].lower() + message[1:]
    hint = None
    if "=" in flat and ("cannot assign" in message or message == "invalid syntax"):
        head = flat.lstrip()[: start - lead + 1]
        if "=" in head or "cannot assign" in message:
            hint = _ASSIGNMENT
    if "never closed" in message or "unexpected eof" in message:
        hint = "add the missing bracket"
    if "invalid character" in message or "non-printable" in message:
        hint = "use ASCII operators: * - / and plain quotes"
    if "too many nested" in message:
        return _too_deep(source, start)
    return Problem("GC010", message, source.where(min(start, len(flat) - 1), end), hint)


def _validate(formula: Formula) -> list[Problem]:
    """Everything in the tree that isn't in the language."""
    problems: list[Problem] = []
    pending: list[tuple[ast.AST, int, ast.AST]] = [(formula.tree, 1, formula.tree)]
    count = 0
    while pending:
        node, depth, place = pending.pop()
        count += 1
        if hasattr(node, "col_offset"):
            place = node
        if depth > MAX_DEPTH or count > MAX_NODES:
            return [_too_deep(formula.source, formula.span(place)[0])]
        problem = _refusal(formula, node, place)
        if problem is not None:
            problems.append(problem)
            continue
        pending.extend((child, depth + 1, place) for child in ast.iter_child_nodes(node))
    return sorted(problems, key=lambda p: (p.where.line or 0, p.where.column or 0) if p.where else (0, 0))


def _refusal(formula: Formula, node: ast.AST, place: ast.AST) -> Problem | None:
    if type(node) in _REFUSED:
        what, hint = _REFUSED[type(node)]
        return formula.problem("GC011", f"{what} is not part of the expression language", place, hint)
    if not isinstance(node, _ALLOWED):
        what = type(node).__name__
        return formula.problem("GC011", f"{what} is not part of the expression language", place)
    match node:
        case ast.Constant(value=value):
            return _constant(formula, node, value)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.startswith("__"):
            return formula.problem("GC011", f"`{name}` is not part of the language", node)
        case ast.Compare(ops=ops) if len(ops) > 1:
            hint = "write `(a < b) & (b < c)`"
            return formula.problem("GC011", "comparisons of tensors can't be chained", node, hint)
        case ast.Call(func=func) if not isinstance(func, (ast.Name, ast.Attribute)):
            return formula.problem("GC011", "only functions and methods can be called", func)
        case ast.keyword(arg=None):
            return formula.problem("GC011", "`**` before an argument is not part of the language", place)
        case _:
            return None


def _constant(formula: Formula, node: ast.AST, value: object) -> Problem | None:
    if isinstance(value, bytes):
        return formula.problem("GC011", "bytes are not part of the expression language", node)
    if isinstance(value, complex):
        return formula.problem("GC011", "complex numbers are not part of the language", node)
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        hint = "write it as a float: 1e30"
        return formula.problem("GC019", "this number does not fit into 64 bits", node, hint)
    return None
