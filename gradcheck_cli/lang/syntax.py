"""What is wrong with a text that Python's grammar refuses: the caret and the sentence.

Python's own messages change from version to version; only the place of the error is taken from them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_cli.errors import Problem, Source
from gradcheck_cli.lang.scan import too_deep

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOKEN = re.compile(
    r"""
    (?P<number>(?:0[xXoObB][0-9a-fA-F_]+ | [0-9][0-9_]*\.?[0-9_]* | \.[0-9][0-9_]*)
               (?:[eE][-+]?[0-9]+)?)
  | (?P<name>[^\W\d]\w*)
  | (?P<string>'[^']*' | "[^"]*")
  | (?P<assign>(?:\*\*|//|<<|>>|[-+*/%@&|^])=(?!=) | :=)
  | (?P<binary>\*\*|//|==|!=|<=|>=|<<|>>|&&|\|\||[*/%@&|^<>])
  | (?P<sign>(?!->)[-+~])
  | (?P<other>\.\.\.|->|\S)
    """,
    re.VERBOSE,
)
_STATEMENTS = frozenset(
    [
        *("import", "from", "def", "class", "return", "for", "while", "if", "with", "try"),
        *("del", "assert", "raise", "global", "nonlocal", "pass", "break", "continue"),
        *("async",),
    ]
)
_WORDS = {
    "and": "use `&` on masks, each side in parentheses",
    "or": "use `|` on masks, each side in parentheses",
    "not": "use `~` on a mask",
    "if": "use torch.where(condition, a, b)",
    "else": "use torch.where(condition, a, b)",
    "is": "use `==`",
    "in": None,
    "for": "write it with tensor operations",
    "lambda": None,
    "yield": None,
    "await": None,
}
_SIGNS = {
    "&&": "use `&` on masks, each side in parentheses",
    "||": "use `|` on masks, each side in parentheses",
    "!": "use `~` to negate a mask",
    ";": "one expression stands alone",
    "?": "use torch.where(condition, a, b)",
    "->": None,
    "$": None,
    "`": None,
    "\\": None,
}
_LET = "name intermediate values under `let:`"


class _Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def explain(source: Source, skeleton: str, error: SyntaxError, lead: int) -> Problem:
    """The problem with a text for which Python's parser, `lead` characters on, raised `error`."""
    if "too many nested" in error.msg or "recursion" in error.msg:
        return too_deep(source, lead)
    tokens = [_Token(str(m.lastgroup), m.group(), m.start()) for m in _TOKEN.finditer(skeleton)]
    found = _whole(source, tokens) or _adjacent(source, tokens) or _word(source, tokens)
    if found is not None:
        return found
    start = min(max(0, (error.offset or 1) - 1) + lead, len(skeleton) - 1)
    at = next((token for token in tokens if token.end > start), tokens[-1])
    if "positional argument follows keyword" in error.msg:
        message = "a positional argument follows one given by name"
        return Problem(
            "GC010", message, source.where(start), "give it by name too, or put it first"
        )
    misread = "can't be read as a number" if at.kind == "number" else "does not fit here"
    message = f"`{at.text}` {misread}"
    hint = "an expression is written as in Python: x * (y + 1), x.sum(dim=1)"
    return Problem("GC010", message, source.where(at.start, at.end), hint)


def _whole(source: Source, tokens: Sequence[_Token]) -> Problem | None:
    """Statements, assignments and signs of other languages."""
    first = tokens[0]
    if first.text in _STATEMENTS:
        message = f"`{first.text}` begins a statement, and only an expression can stand here"
        return Problem("GC010", message, source.where(first.start, first.end), _LET)
    depth = 0
    for token in tokens:
        depth += (token.text in "([{") - (token.text in ")]}")
        where = source.where(token.start, token.end)
        if token.kind == "assign" or (token.text == "=" and depth == 0):
            return Problem("GC010", "an expression assigns nothing", where, _LET)
        if token.text in _SIGNS:
            message = f"`{token.text}` is not part of the expression language"
            return Problem("GC010", message, where, _SIGNS[token.text])
    return None


def _word(source: Source, tokens: Sequence[_Token]) -> Problem | None:
    for token in tokens:
        if token.text in _WORDS:
            message = f"`{token.text}` is not part of the expression language"
            where = source.where(token.start, token.end)
            return Problem("GC010", message, where, _WORDS[token.text])
    return None


def _ends_operand(token: _Token) -> bool:
    if token.kind == "name":
        return token.text not in _WORDS
    return token.kind in ("number", "string") or token.text in (")", "]", "}", "...")


def _begins_operand(token: _Token) -> bool:
    return token.kind in ("number", "string") or (token.kind == "name" and token.text not in _WORDS)


def _operates(token: _Token) -> bool:
    return token.kind in ("binary", "sign") or token.text in ("and", "or", "not")


def _adjacent(source: Source, tokens: Sequence[_Token]) -> Problem | None:
    """The first two neighbours that can't stand side by side."""
    edge = _Token("edge", "", len(source.text))
    for before, after in zip((edge, *tokens), (*tokens, edge), strict=True):
        place, message, hint = after, "", None
        closes = after is edge or after.text in (")", "]", "}", ",", ":")
        opens = before is edge or before.text in ("(", "[", "{", ",", ":", "=")
        if _ends_operand(before) and _begins_operand(after):
            message = (
                f"an operator or a comma is missing between `{before.text}` and `{after.text}`"
            )
            hint = "a product is written with `*`"
        elif _operates(before) and (closes or after.kind == "binary"):
            place, message = before, f"nothing stands to the right of `{before.text}`"
            hint = "remove it, or add its right operand"
        elif opens and after.kind == "binary":
            message = f"nothing stands to the left of `{after.text}`"
            hint = "remove it, or add its left operand"
        elif before.text == "." and after.kind != "name":
            place, message, hint = before, "a name is missing after `.`", "as in x.sum()"
        elif before.text == "=" and closes:
            place, message, hint = before, "a value is missing after `=`", "as in x.sum(dim=1)"
        elif before.text in ("(", "[", ",") and before is not edge and after.text == ",":
            message, hint = "nothing stands before this comma", "remove it"
        if message:
            return Problem("GC010", message, source.where(place.start, place.end), hint)
    return None
