"""Consoles, and the few ways in which all reports for people put text on them.

Text from spec files goes through `errors.printable` and `rich.text.Text`: it can neither steer the
terminal nor be taken for markup. Width, colour and non-terminals are rich's: NO_COLOR, FORCE_COLOR and
COLUMNS mean what they mean everywhere.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from gradcheck_cli.errors import cells, format_problem, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from gradcheck_cli.errors import Problem


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The marks before a line."""

    passed: str
    failed: str
    undecided: str
    absent: str
    ellipsis: str
    bar: str


_UNICODE = Glyphs("✓", "✗", "?", "–", "…", "━")  # noqa: RUF001 -- the dash is meant
_ASCII = Glyphs("+", "x", "?", "-", "...", "#")


# Prose is never squeezed into fewer columns, however deep it is indented.
_LEAST_ROOM = 20
# What has rich take a stream for a terminal that is none.
_SAYING_TERMINAL = ("FORCE_COLOR", "TTY_COMPATIBLE")


class Terminal:
    """A stream for people: a console with its glyphs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.glyphs = _ASCII
        encoding = getattr(stream, "encoding", None) or "ascii"
        try:
            "✓✗–…━".encode(encoding)  # noqa: RUF001 -- as above
        except (UnicodeEncodeError, LookupError):
            return
        self.glyphs = _UNICODE

    @cached_property
    def console(self) -> Console:
        """Rich's console; importing it takes as long as a small check, which plain lines don't pay."""
        from rich.console import Console

        return Console(file=self._stream, highlight=False, markup=False, emoji=False)

    @cached_property
    def is_terminal(self) -> bool:
        """Whether what is written is seen on a terminal, or is to look so."""
        may_be = any(name in os.environ for name in _SAYING_TERMINAL) or _is_tty(self._stream)
        return may_be and self.console.is_terminal

    @property
    def width(self) -> int:
        """Columns to write in; narrower terminals wrap by themselves."""
        return max(self.console.width, 40)

    def line(self, *parts: str | Text | tuple[str, str], indent: int = 0) -> None:
        """One line, never broken by us: what must stay whole when it is copied."""
        if not self.is_terminal:
            # Rich takes a quarter of a millisecond for a line, which counts with thousands of checks.
            texts = (part if isinstance(part, str) else _plain(part) for part in parts)
            self._stream.write(f"{' ' * indent}{''.join(texts)}\n")
            self._stream.flush()
            return
        from rich.text import Text

        self.console.print(Text(" " * indent) + Text.assemble(*parts), soft_wrap=True)

    def verbatim(self, text: str, style: str = "", indent: int = 0) -> None:
        """Text of a person's, line by line as it is."""
        for line in text.splitlines():
            self.line((printable(line.replace("\t", " ")), style), indent=indent)

    def paragraph(self, text: str | Text, indent: int = 0, hanging: int = 0) -> None:
        """Prose, broken at words; all lines but the first are indented by `hanging` more."""
        from rich.text import Text

        rest = Text(text) if isinstance(text, str) else text
        while rest:
            first = rest.wrap(self.console, max(self.width - indent, _LEAST_ROOM))[0]
            first.rstrip()
            self.line(first, indent=indent)
            after = rest.plain[len(first) :]
            rest = rest[len(rest) - len(after.lstrip()) :]
            indent, hanging = indent + hanging, 0

    def problem(self, problem: Problem, indent: int = 0) -> None:
        """A problem as `format_problem` has it, in colour."""
        for line in format_problem(problem).split("\n"):
            self.line(_coloured(line) if self.is_terminal else line, indent=indent)

    def blank(self) -> None:
        """An empty line."""
        self.line()

    def cut(self, text: str, columns: int) -> str:
        """`text` shortened to `columns`, so that a row stays one line.

        The middle goes: names that begin alike are told apart by their end.
        """
        if cells(text) <= columns:
            return text
        head, tail = text, ""
        room = columns - cells(self.glyphs.ellipsis)
        while cells(head) > room - room // 2:
            head = head[:-1]
        for char in reversed(text):
            if cells(char + tail) > room - cells(head):
                break
            tail = char + tail
        return head + self.glyphs.ellipsis + tail


def _plain(part: Text | tuple[str, str]) -> str:
    return part[0] if isinstance(part, tuple) else part.plain


def _is_tty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def _coloured(line: str) -> Text:
    from rich.text import Text

    text = Text(line)
    if line.startswith("error["):
        text.stylize("bold red", 0, line.index("]") + 1)
        text.stylize("bold", line.index("]") + 1)
    elif line.startswith("  -->"):
        text.stylize("dim")
    elif line.startswith("   | ") and line.endswith("^") and not line[5:].strip(" ^"):
        text.stylize("bold red", 5)
    elif line.startswith("   = help:"):
        text.stylize("green", 3, 10)
    return text
