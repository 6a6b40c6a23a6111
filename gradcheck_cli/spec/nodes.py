"""The tree that both readers build: plain values, each with the place where it stands."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, Source, Where, printable
from gradcheck_cli.spec.offsets import ScalarOffsets

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_BYTES = 8 * 2**20
MAX_DEPTH = 64
MAX_NODES = 500_000
MAX_PROBLEMS = 1_000
# Longer than any 64-bit integer in any base but two; Python's own limit is thousands of digits.
_MAX_INTEGER_DIGITS = 40

_INTEGER = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_NOT_FINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)\Z|(\.(?:nan|NaN|NAN))\Z")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_FIRST = frozenset("-+.0123456789~nNtTfF")
# What is forbidden, for what is allowed takes nine times as long to compile.
_FORBIDDEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


class Scalar:
    """Text or a number. `style` is how it is written: "", "'", '"', "|", ">", or "json"."""

    __slots__ = ("end", "start", "style", "text", "value")

    def __init__(self, value: Any, text: str, start: int, end: int, style: str) -> None:
        self.value = value
        self.text = text
        self.start = start
        self.end = end
        self.style = style


class Items:
    """A sequence; `value` is the plain list."""

    __slots__ = ("end", "items", "start", "value")

    def __init__(self, value: list[Any], items: list[Node], start: int, end: int) -> None:
        self.value = value
        self.items = items
        self.start = start
        self.end = end


class Entries:
    """A mapping by the text of its keys; `value` is the plain dictionary."""

    __slots__ = ("end", "entries", "keys", "start", "value")

    def __init__(
        self,
        value: dict[str, Any],
        entries: dict[str, Node],
        keys: dict[str, Scalar],
        start: int,
        end: int,
    ) -> None:
        self.value = value
        self.entries = entries
        self.keys = keys
        self.start = start
        self.end = end


Node = Scalar | Items | Entries


@dataclass
class Document:
    """The text of a file, and the problems found in it so far; `untold` counts those beyond a bound."""

    text: str
    file: str | None = None
    problems: list[Problem] = field(default_factory=list)
    untold: int = 0

    def __post_init__(self) -> None:
        self._whole = Source(self.text, self.file)
        self._told: set[tuple[str, str, Where | None]] = set()

    def where(self, node: Node) -> Where:
        """The place of a node, its first line only."""
        return self._whole.where(node.start, node.end)

    def source(self, node: Scalar) -> Source:
        """The scalar's text, with where each of its characters stands in the file."""
        text, start, length = node.text, node.start, len(node.text)
        offsets: Sequence[int]
        inside = bool(node.style)
        if node.style in {"|", ">"} or node.end - start != length + 2 * inside:
            offsets = ScalarOffsets(self.text, start, node.end, node.style, text)
        else:
            # Escapes and folding only ever shorten, so an unchanged length means unchanged text.
            offsets = range(start + inside, start + inside + length + 1)
        return Source(text, self.file, self.text, offsets)

    def line(self, node: Node) -> int:
        """The line on which a node starts, from 1."""
        return bisect_right(self._line_starts, node.start)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(found.end() for found in re.finditer("\n", self.text))]

    @property
    def full(self) -> bool:
        """Whether no further problem would be shown."""
        return len(self.problems) >= MAX_PROBLEMS

    def add(
        self,
        code: str,
        message: str,
        node: Node | Where | None,
        hint: str | None = None,
        exit_code: ExitCode = ExitCode.USAGE,
    ) -> None:
        """Note a problem. The same one twice, as from `defaults` or an expansion, is told once."""
        if self.full:
            self.untold += 1
            return
        where = node if node is None or isinstance(node, Where) else self.where(node)
        key = (code, message, where)
        if key in self._told:
            return
        self._told.add(key)
        self.problems.append(Problem(code, message, where, hint, exit_code))

    def fail(self, code: str, message: str, at: int | None, hint: str | None = None) -> NoReturn:
        """Stop reading: what follows index `at` can't be understood."""
        where = Where(self.file) if at is None else self._whole.where(min(at, len(self.text)))
        self.problems.append(Problem(code, message, where, hint))
        self.raise_problems()

    def raise_problems(self) -> NoReturn:
        """Raise everything that was found, in the order of the file."""
        self.problems.sort(key=_place_of)
        if self.untold:
            message = f"and {self.untold} more problems of this file are not shown"
            self.problems.append(Problem(self.problems[-1].code, message, Where(self.file)))
        raise GradcheckError(*self.problems)


def document(text: str, file: str | None) -> Document:
    """`text` as a document with plain line feeds and without a byte order mark.

    Raises GradcheckError where it is too large, or holds characters that no editor shows.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    made = Document(text, file)
    if len(text) > MAX_BYTES:
        made.fail("GC008", f"the file is longer than {MAX_BYTES // 2**20} MiB", None, "split it")
    found = _FORBIDDEN.search(text)
    if found is not None:
        char = found[0]
        name = "a NUL byte" if char == "\0" else f"the character {printable(char)}"
        real = char != "\0" and not "\ud800" <= char <= "\udfff"
        hint = f'in a quoted text, write "\\u{ord(char):04x}"' if real else None
        made.fail("GC001", f"{name} does not belong into a text file", found.start(), hint)
    return made


def resolve(made: Document, text: str, start: int) -> Any:
    """The value of a plain scalar in YAML 1.2's core schema (chapter 10.3.2 of the specification).

    `yes`, `no`, `on` and `off` are text, `1e-5` is a number, `0o17` and `0x1f` are integers.
    """
    if text and text[0] not in _FIRST:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        if len(text) > _MAX_INTEGER_DIGITS:
            made.add(
                "GC002", f"a number of {len(text)} digits is too long", _span(made, start, text)
            )
            return 0
        return int(text, 0 if text[:2] in {"0o", "0x"} else 10)
    if _FLOAT.match(text):
        number = float(text)
        if number in {float("inf"), float("-inf")}:
            message, hint = f"{text[:40]} is too large for a float64", "infinity is written `.inf`"
            made.add("GC002", message, _span(made, start, text), hint)
            return 0.0
        return number
    special = _NOT_FINITE.match(text)
    if special is not None:
        return float("nan") if special[2] else float(special[1] + "inf")
    return text


def _span(made: Document, start: int, text: str) -> Where:
    return made.where(Scalar(None, text, start, start + len(text), ""))


def _place_of(problem: Problem) -> tuple[int, int]:
    where = problem.where or Where()
    return where.line or 0, where.column or 0
