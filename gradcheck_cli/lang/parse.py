"""Text to a validated syntax tree: which part of Python's grammar is in the language.

The tree is the standard library's `ast`, checked against an allow-list, so that it can be compiled and
evaluated with nothing but tensors and PyTorch's functions in reach. What names mean is `build`'s business.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import GradcheckError, Problem, Source
from gradcheck_cli.graph import MAX_BITS
from gradcheck_cli.lang.scan import MAX_DEPTH, flatten, too_deep, too_large

if TYPE_CHECKING:
    from collections.abc import Mapping, Set  # noqa: PYI025 -- the abstract one
    from types import CodeType

MAX_NODES = 20_000

# The allow-list: each kind of node with its fields that hold nodes.
_PARTS: dict[type[ast.AST], tuple[str, ...]] = {
    ast.Name: (),
    ast.Constant: (),
    ast.Attribute: ("value",),
    ast.Call: ("func", "args", "keywords"),
    ast.keyword: ("value",),
    ast.Subscript: ("value", "slice"),
    ast.Slice: ("lower", "upper", "step"),
    ast.Tuple: ("elts",),
    ast.List: ("elts",),
    ast.BinOp: ("left", "right"),
    ast.UnaryOp: ("operand",),
    ast.Compare: ("left", "comparators"),
}
OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
    ast.BitAnd: "&",
    ast.BitOr: "|",
    ast.BitXor: "^",
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.USub: "-",
    ast.UAdd: "+",
    ast.Invert: "~",
}
# What people try: what it is called, what to write instead, and the parts that are read all the same.
_TENSORS = "write it with tensor operations: `x * 2`, `x.sum()`"
_REFUSED: dict[type[ast.AST], tuple[str, str | None, tuple[str, ...]]] = {
    ast.Lambda: ("a lambda", _TENSORS, ()),
    ast.ListComp: ("a comprehension", _TENSORS, ()),
    ast.SetComp: ("a comprehension", _TENSORS, ()),
    ast.DictComp: ("a comprehension", _TENSORS, ()),
    ast.GeneratorExp: ("a generator", _TENSORS, ()),
    ast.IfExp: (
        "a conditional expression",
        "use torch.where(condition, a, b)",
        ("body", "test", "orelse"),
    ),
    ast.BoolOp: (
        "`and` or `or`",
        "use `&` and `|` on masks, each side in parentheses",
        ("values",),
    ),
    ast.NamedExpr: ("an assignment", "name intermediate values under `let:`", ("value",)),
    ast.Starred: ("`*` before an argument", "write the arguments one by one", ("value",)),
    ast.JoinedStr: ("an f-string", None, ()),
    ast.Dict: ("a dictionary", None, ("values",)),
    ast.Set: ("a set", "write a list, in square brackets", ("elts",)),
    ast.Await: ("`await`", None, ("value",)),
    ast.Yield: ("`yield`", None, ()),
    ast.YieldFrom: ("`yield`", None, ()),
}
REFUSED_PARTS = _PARTS | {kind: parts for kind, (_, _, parts) in _REFUSED.items()}
_REFUSED_OPERATORS: dict[type[ast.AST], tuple[str, str | None]] = {
    ast.Not: ("not", "use `~` on a mask"),
    ast.Is: ("is", "use `==`"),
    ast.IsNot: ("is not", "use `!=`"),
    ast.In: ("in", "spell it out: `(x == a) | (x == b)`"),
    ast.NotIn: ("not in", "spell it out: `(x != a) & (x != b)`"),
    ast.LShift: ("<<", "multiply by a power of two"),
    ast.RShift: (">>", "divide by a power of two"),
}


@dataclass(frozen=True)
class Formula:
    """An expression's syntax tree with its positions in the text.

    `refused` holds the nodes that are not in the language, each with its problem; `build` reports them
    together with what else is wrong, and `code` is only to be had where there are none. `names` are all
    plain names in it, modules and functions included.
    """

    source: Source
    tree: ast.expr
    names: Set[str]
    refused: Mapping[ast.AST, Problem]
    flat: str = field(repr=False)
    lead: int = 0

    @cached_property
    def code(self) -> CodeType:
        """The tree compiled, for evaluation with names bound to tensors.

        Raises GradcheckError where a part of it isn't in the language.
        """
        if self.refused:
            raise GradcheckError(*self.refused.values())
        with warnings.catch_warnings():
            # Python warns of what `build` has refused already, such as a number that is called.
            warnings.simplefilter("ignore")
            try:
                return compile(ast.Expression(self.tree), "<expression>", "eval")
            except (RecursionError, MemoryError):
                raise GradcheckError(too_deep(self.source, self.lead)) from None

    @cached_property
    def _characters(self) -> list[int] | None:
        """Byte offset to character offset (`ast` counts bytes); None where they are the same."""
        if self.flat.isascii():
            return None
        table: list[int] = []
        for index, char in enumerate(self.flat):
            table.extend([index] * len(char.encode("utf-8")))
        return [*table, len(self.flat)]

    def span(self, node: ast.AST) -> tuple[int, int]:
        """Where `node` stands in the text, in characters."""
        first: int = getattr(node, "col_offset", 0) + self.lead
        last: int = getattr(node, "end_col_offset", first + 1 - self.lead) + self.lead
        table = self._characters
        return (first, last) if table is None else (table[first], table[last])

    def between(self, left: ast.AST, right: ast.AST, symbol: str) -> tuple[int, int]:
        """Where the operator between two operands stands."""
        after = self.span(left)[1]
        found = max(self.flat.find(symbol, after, self.span(right)[0]), after)
        return found, found + len(symbol)

    def text(self, node: ast.AST) -> str:
        """The text of `node`."""
        return shortened(self.flat[slice(*self.span(node))])

    def problem(
        self, code: str, message: str, node: ast.AST | tuple[int, int], hint: str | None = None
    ) -> Problem:
        """A problem with the place of `node`."""
        start, end = node if isinstance(node, tuple) else self.span(node)
        return Problem(code, message, self.source.where(start, end), hint)


def shortened(text: str) -> str:
    """A piece of an expression for use in a message, on one line and not long."""
    piece = " ".join(text.split())
    return piece if len(piece) <= 40 else piece[:37] + "..."


def parse(source: Source) -> Formula:
    """Read an expression. Raises GradcheckError where the text isn't one of Python's.

    >>> parse(Source("(x - y).pow(2).sum()")).names == {"x", "y"}
    True
    """
    code, skeleton = flatten(source)
    # Leading blanks would be an indentation error, parentheses around would shift positions.
    bare = code.lstrip(" \t\f")
    lead = len(code) - len(bare)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(bare, mode="eval").body
    except SyntaxError as error:
        from gradcheck_cli.lang.syntax import explain

        raise GradcheckError(explain(source, skeleton, error, lead)) from None
    except (RecursionError, MemoryError):
        raise GradcheckError(too_deep(source, lead)) from None
    names: set[str] = set()
    refused: dict[ast.AST, Problem] = {}
    formula = Formula(source, tree, names, refused, code, lead)
    _validate(formula, names, refused)
    return formula


def _validate(formula: Formula, names: set[str], refused: dict[ast.AST, Problem]) -> None:
    """Collect the names in the tree, and what in it isn't in the language.

    Level by level, so that no depth is a problem. Raises GradcheckError for a tree too large.
    """
    level: list[Any] = [formula.tree]
    depth = count = 0
    while level:
        depth += 1
        count += len(level)
        if depth > MAX_DEPTH:
            raise GradcheckError(too_deep(formula.source, formula.span(level[0])[0]))
        if count > MAX_NODES:
            msg = f"the expression has more than {MAX_NODES} parts"
            where = formula.source.where(formula.lead)
            raise GradcheckError(Problem("GC019", msg, where, "name parts of it under `let:`"))
        below: list[Any] = []
        for node in level:
            kind = type(node)
            parts = _PARTS.get(kind)
            if kind is ast.Name:
                names.add(node.id)
            problem = _refusal(formula, node) if parts is None or kind in _LOOKED_AT else None
            if problem is not None:
                refused[node] = problem
            for part in REFUSED_PARTS.get(kind, ()) if parts is None else parts:
                child = getattr(node, part)
                if type(child) is list:
                    below += child
                elif child is not None:
                    below.append(child)
        level = below


# Kinds of the allow-list of which not every node is in the language.
_LOOKED_AT = frozenset(
    {ast.Name, ast.Constant, ast.Attribute, ast.Call, ast.keyword}
    | {ast.BinOp, ast.UnaryOp, ast.Compare}
)


def _refusal(formula: Formula, node: Any) -> Problem | None:
    match node:
        case ast.Constant(value=value):
            return _constant(formula, node, value)
        case ast.Name(id=name) | ast.Attribute(attr=name) if name.startswith("__"):
            end = formula.span(node)[1]
            message = f"`{shortened(name)}` is not part of the expression language"
            return formula.problem("GC011", message, (end - len(name), end))
        case ast.BinOp(left=left, op=op, right=right) if type(op) not in OPERATORS:
            return _operator(formula, op, left, right)
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) not in OPERATORS:
            return _operator(formula, op, left, right)
        case ast.Compare(ops=ops) if len(ops) > 1:
            hint = "write `(a < b) & (b < c)`"
            return formula.problem("GC011", "comparisons of tensors can't be chained", node, hint)
        case ast.UnaryOp(op=op) if type(op) not in OPERATORS:
            return _operator(formula, op, node, node)
        case ast.Call(func=func) if not isinstance(func, (ast.Name, ast.Attribute)):
            return formula.problem("GC011", "only functions and methods can be called", func)
        case ast.Call(keywords=keywords) if len(keywords) > 1:
            return _repeated(formula, keywords)
        case ast.keyword(arg=str(name)) if name.startswith("__"):
            start = formula.span(node)[0]
            message = f"`{shortened(name)}` is not part of the expression language"
            return formula.problem("GC011", message, (start, start + len(name)))
        case ast.keyword(arg=None, value=value):
            start = formula.span(value)[0]
            message = "`**` before an argument is not part of the expression language"
            return formula.problem("GC011", message, (max(0, start - 2), start))
        case _ if type(node) not in _PARTS:
            what, instead, _ = _REFUSED.get(type(node), ("this", None, ()))
            message = f"{what} is not part of the expression language"
            return formula.problem("GC011", message, node, instead)
    return None


def _repeated(formula: Formula, keywords: list[ast.keyword]) -> Problem | None:
    """The first argument that is given by name twice."""
    seen: set[str] = set()
    for keyword in keywords:
        name = keyword.arg
        if name is not None and name in seen:
            start = formula.span(keyword)[0]
            message = f"the argument `{shortened(name)}` is given twice"
            return formula.problem("GC014", message, (start, start + len(name)), "remove one")
        seen.add(name or "")
    return None


def _operator(formula: Formula, op: ast.AST, left: ast.AST, right: ast.AST) -> Problem:
    symbol, hint = _REFUSED_OPERATORS[type(op)]
    start = formula.span(left)[0]
    place = (
        (start, start + len(symbol))
        if left is right
        else formula.between(left, right, symbol.partition(" ")[0])
    )
    message = f"`{symbol}` is not part of the expression language"
    return formula.problem("GC011", message, place, hint)


def _constant(formula: Formula, node: ast.AST, value: object) -> Problem | None:
    if isinstance(value, bytes):
        message = "bytes are not part of the expression language"
        return formula.problem("GC011", message, node)
    if isinstance(value, complex):
        message = "complex numbers are not part of the expression language"
        return formula.problem("GC011", message, node, "only real tensors are checked")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        return too_large(formula.source, *formula.span(node))
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        message = "this number is too large for a float"
        return formula.problem("GC019", message, node, "write math.inf if that is meant")
    return None
