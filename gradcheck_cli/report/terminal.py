"""Consoles, and the few ways in which all reports for people put text on them.

Text from spec files goes through `errors.printable` and `rich.text.Text`: it can neither steer the
terminal nor be taken for markup. `capabilities` says what the stream can show.

Prose is folded into the width and names in rows are cut to it. What is copied stays whole, however wide:
formulas, commands and paths.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TextIO

from gradcheck_cli.errors import cells, format_problem, printable
from gradcheck_cli.report import capabilities

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import Console
    from rich.text import Text

    from gradcheck_cli.errors import Problem


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The marks before a line, and what pictures are made of.

    `levels` are what agrees, four levels of being wrong, infinity and NaN; `row` and `column` point at one.
    """

    passed: str
    failed: str
    undecided: str
    absent: str
    ellipsis: str
    bar: str
    levels: str
    row: str
    column: str


_UNICODE = Glyphs("✓", "✗", "?", "–", "…", "━", "·░▒▓█IN", "◄", "▲")  # noqa: RUF001 -- meant
_ASCII = Glyphs("+", "x", "?", "-", "...", "#", ".:+*#IN", "<", "^")


_HEIGHT = 25
# Prose is never squeezed into fewer columns, however deep it is indented.
_LEAST_ROOM = 20


class Terminal:
    """A stream for people: a console with its glyphs."""

    def __init__(
        self, stream: TextIO, *, columns: int | None = None, colour: bool | None = None
    ) -> None:
        """The environment decides on `columns` and `colour` where they are None."""
        self._stream = stream
        self._columns = columns
        self._colour = colour
        self._logged = colour is None and capabilities.on_ci()
        self.glyphs = _ASCII
        encoding = getattr(stream, "encoding", None) or "ascii"
        try:
            "".join(astuple(_UNICODE)).encode(encoding)
        except (UnicodeEncodeError, LookupError):
            return
        self.glyphs = _UNICODE

    @cached_property
    def console(self) -> Console:
        """Rich's console; importing it takes as long as a small check, which plain lines don't pay."""
        from rich.console import Console

        # All that rich would take from the environment by rules of its own is said here, but for NO_COLOR,
        # TERM and COLORTERM. A height is only for what is as tall as the screen, and the width needs one.
        # Where colour is asked for, the sixteen that every terminal has.
        colours: Literal["auto", "standard"] = "auto" if self._colour is None else "standard"
        return Console(
            file=self._stream,
            width=self.width,
            height=_HEIGHT,
            color_system=colours if self.is_terminal else None,
            force_terminal=self.is_terminal,
            force_interactive=self.is_terminal and capabilities.is_interactive(self._stream),
            force_jupyter=False,
            highlight=False,
            markup=False,
            emoji=False,
        )

    @cached_property
    def is_terminal(self) -> bool:
        """Whether what is written is seen on a terminal, or is to look so."""
        return capabilities.is_terminal(self._stream) if self._colour is None else self._colour

    @property
    def width(self) -> int:
        """Columns to write in; narrower terminals wrap by themselves."""
        return capabilities.columns() if self._columns is None else self._columns

    def line(self, *parts: str | Text | tuple[str, str], indent: int = 0) -> None:
        """One line, never broken by us: what must stay whole when it is copied."""
        if not self.is_terminal:
            # Rich takes a quarter of a millisecond for a line, which counts with thousands of checks.
            texts = (part if isinstance(part, str) else _plain(part) for part in parts)
            text = f"{' ' * indent}{''.join(texts)}"
            self._stream.write(f"{capabilities.no_command(text) if self._logged else text}\n")
            self._stream.flush()
            return
        from rich.text import Text

        line = Text(" " * indent) + Text.assemble(*parts)
        if self._logged and capabilities.no_command(line.plain) != line.plain:
            line = Text(capabilities.no_command(line.plain))
        self.console.print(line, soft_wrap=True)

    def verbatim(self, text: str, style: str = "", indent: int = 0) -> None:
        """Text of a person's, line by line as it is."""
        for line in text.splitlines():
            self.line((printable(line.replace("\t", " ")), style), indent=indent)

    def paragraph(self, text: str | Text, indent: int = 0, hanging: int = 0) -> None:
        """Prose, broken at words; all lines but the first are indented by `hanging` more."""
        from rich.text import Text

        whole = Text(text) if isinstance(text, str) else text
        for number, line in enumerate(self.wrapped(whole, self.width - indent, hanging)):
            self.line(line, indent=indent + hanging * bool(number))

    def wrapped(self, text: Text, columns: int, hanging: int = 0) -> Iterator[Text]:
        """The lines of prose broken at words; all but the first have `hanging` fewer columns."""
        rest = text
        while rest:
            room = max(columns, _LEAST_ROOM)
            # All of a long text wrapped for each of its lines would take the square of its length.
            first = rest[: 8 * room].wrap(self.console, room)[0]
            first.rstrip()
            yield first
            after = rest.plain[len(first) :]
            rest = rest[len(rest) - len(after.lstrip()) :]
            columns, hanging = columns - hanging, 0

    def problem(self, problem: Problem, indent: int = 0) -> None:
        """A problem as `format_problem` has it, in colour."""
        above = ""
        for line in format_problem(problem, self.width - indent).split("\n"):
            self.line(_coloured(line, above) if self.is_terminal else line, indent=indent)
            above = line

    def blank(self) -> None:
        """An empty line."""
        self.line()

    def cut(self, text: str, columns: int) -> str:
        """`text` shortened to `columns`, so that a row stays one line.

        The middle goes: names that begin alike are told apart by their end.
        """
        if cells(text) <= columns:
            return text
        room = columns - cells(self.glyphs.ellipsis)
        head = _fitting(text, room - room // 2)
        tail = _fitting(reversed(text), room - cells(head))[::-1]
        return head + self.glyphs.ellipsis + tail


def _fitting(text: Iterable[str], columns: int) -> str:
    """The first characters of `text` that have room in so many columns."""
    taken = []
    for char in text:
        columns -= cells(char)
        if columns < 0:
            break
        taken.append(char)
    return "".join(taken)


def _plain(part: Text | tuple[str, str]) -> str:
    return part[0] if isinstance(part, tuple) else part.plain


def _coloured(line: str, above: str) -> Text:
    """A line of a problem; it can be the rest of the sentence `above`."""
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
    elif above.startswith(("error[", "    ")) and line.startswith("    "):
        text.stylize("bold")
    return text
