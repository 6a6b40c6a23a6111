"""Which checks of those found are wanted: `-k EXPR` and `--tag`.

An expression is made of words, `and`, `or`, `not` and parentheses, as in pytest. A word, or several side by
side as in `sum of squares`, is looked for in the id and in every tag, whatever the case; quotes keep anything
together, `"not a number"`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypeAlias

from gradcheck_cli.errors import GradcheckError, Problem, Where

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck_cli.spec.check import Check

# Whether something holds of a check's texts, all of them without case.
Wanted: TypeAlias = "Callable[[Sequence[str]], bool]"

_TOKEN = re.compile(r"""\s*(?:([()])|"([^"]*)"|'([^']*)'|([^\s()"']+))""")
_KEYWORDS = ("and", "or", "not")
_MOST_TEXT = 10_000
# Parentheses and `not`s within one another: no person needs more, and Python's stack holds as many.
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Selection:
    """What of all checks is wanted. No keyword and no tag want everything; of several tags one is enough."""

    keyword: str | None = None
    tags: tuple[str, ...] = ()

    def of(self, checks: Sequence[Check]) -> list[Check]:
        """Those that are wanted, in their order.

        A text that can't be read as an expression is looked for as it stands; only where it is found nowhere
        is it an error. Raises GradcheckError (GC028).
        """
        if self.tags:
            checks = [check for check in checks if not set(self.tags).isdisjoint(check.tags)]
        text = (self.keyword or "").strip()
        if not text:
            return list(checks)
        try:
            wanted = expression(text)
        except GradcheckError:
            literal = [check for check in checks if _found(text.casefold(), _texts(check))]
            if not literal:
                raise
            return literal
        return [check for check in checks if wanted(_texts(check))]

    def __str__(self) -> str:
        """The options that say so."""
        return " and ".join(["-k"] * bool(self.keyword) + ["--tag"] * bool(self.tags))


def _texts(check: Check) -> list[str]:
    return [text.casefold() for text in (check.id, *check.tags)]


def _found(text: str, texts: Sequence[str]) -> bool:
    return any(text in one for one in texts)


def expression(text: str) -> Wanted:
    """An expression as a function of texts without case.

    >>> expression("loss and not (slow or cuda)")(["l1_loss"])
    True

    Raises GradcheckError (GC028) with the place of the mistake.
    """
    if len(text) > _MOST_TEXT:
        raise GradcheckError(Problem("GC028", f"-k has more than {_MOST_TEXT:,} characters"))
    return _Parser(text).whole()


class _Token(NamedTuple):
    """`kind` is a parenthesis, a keyword, "word", "quoted" or "" for the end."""

    kind: str
    text: str
    start: int
    end: int


class _Parser:
    """Recursive descent: `or` binds less than `and`, and that less than `not`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._tokenized())
        self._next = 0
        self._depth = 0

    def _tokenized(self) -> Sequence[_Token]:
        found, position = [], 0
        rest = self._text.rstrip()
        while position < len(rest):
            match = _TOKEN.match(rest, position)
            if match is None:
                start = position + len(rest[position:]) - len(rest[position:].lstrip())
                self._wrong(_Token("", "", start, len(rest)), "this quote is never closed")
            parenthesis, double, single, word = match.groups()
            position = match.end()
            if parenthesis or word in _KEYWORDS:
                kind = value = parenthesis or word
            elif word is not None:
                kind, value = "word", word
            else:
                kind, value = "quoted", double if single is None else single
            found.append(_Token(kind, value, position - len(match[0].lstrip()), position))
        found.append(_Token("", "", len(rest), len(rest)))
        return found

    def whole(self) -> Wanted:
        """The expression from end to end."""
        found = self._either()
        if self._tokens[self._next].kind:
            self._wrong(self._tokens[self._next], "nothing is expected here but `and` or `or`")
        return found

    def _either(self) -> Wanted:
        parts = [self._both()]
        while self._takes("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else lambda texts: any(part(texts) for part in parts)

    def _both(self) -> Wanted:
        parts = [self._one()]
        while self._takes("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else lambda texts: all(part(texts) for part in parts)

    def _one(self) -> Wanted:
        token = self._tokens[self._next]
        self._depth += 1
        if self._depth > _DEEPEST:
            self._wrong(token, "this is nested too deeply")
        found = self._inner(token)
        self._depth -= 1
        return found

    def _inner(self, token: _Token) -> Wanted:
        if self._takes("not"):
            negated = self._one()
            return lambda texts: not negated(texts)
        if self._takes("("):
            found = self._either()
            if not self._takes(")"):
                self._wrong(token, "this parenthesis is never closed")
            return found
        if self._takes("quoted"):
            return self._term(token.text)
        if not self._takes("word"):
            what = f"before `{token.text}`" if token.kind else "at the end"
            self._wrong(token, f"a word is missing {what}")
        # Words side by side are one text, with what stands between them.
        while self._takes("word"):
            pass
        return self._term(self._text[token.start : self._tokens[self._next - 1].end])

    def _term(self, text: str) -> Wanted:
        sought = text.casefold()
        return lambda texts: _found(sought, texts)

    def _takes(self, kind: str) -> bool:
        if self._tokens[self._next].kind != kind:
            return False
        self._next += 1
        return True

    def _wrong(self, token: _Token, message: str) -> NoReturn:
        where = Where("-k", 1, token.start + 1, self._text, max(1, token.end - token.start))
        hint = "an expression is made of words, `and`, `or`, `not` and parentheses; quotes keep text whole"
        raise GradcheckError(Problem("GC028", f"-k: {message}", where, hint))
