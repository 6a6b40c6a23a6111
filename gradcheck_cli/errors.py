"""What a failure is to a user: *where* it is, *what* is wrong, *how to fix* it, and the exit code.

Only plain data and text live here; colours belong to `report/`, the handler at the top to `cli/`.
"""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class ExitCode(IntEnum):
    """What the process ends with; stable, CI depends on it."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    INTERNAL = 3
    CANNOT_RUN = 4
    NOTHING_SELECTED = 5
    INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a file or in text from the command line; `line` and `column` count from 1."""

    file: str | None = None
    line: int | None = None
    column: int | None = None
    source: str | None = None
    width: int = 1

    def __str__(self) -> str:
        parts = [self.file or "<expression>"]
        if self.line is not None:
            parts.append(str(self.line))
            if self.column is not None:
                parts.append(str(self.column))
        return ":".join(parts)


@dataclass(frozen=True)
class Source:
    """A piece of text together with where each of its characters stands in a document.

    `offsets[i]` is the index in `document` of `text[i]`, with one more entry for the end. None means
    that the text is the document. So a caret is right in plain, quoted, folded and block scalars.
    `lines_above` is how many lines of the file come before `document`.
    """

    text: str
    file: str | None = None
    document: str | None = None
    offsets: Sequence[int] | None = None
    lines_above: int = 0

    def __reduce__(self) -> tuple[type[Source], tuple[object, ...]]:
        """Another process gets the lines that the text stands on, not the whole file with every check."""
        document, offsets, above = self.document, self.offsets, self.lines_above
        cut = getattr(offsets, "cut", None)
        if cut is not None:
            document, offsets, more = cut()
            above += more
        elif document is not None and isinstance(offsets, range):
            document, first, more = lines_of(document, offsets.start, offsets.stop)
            offsets = range(offsets.start - first, offsets.stop - first)
            above += more
        return Source, (self.text, self.file, document, offsets, above)

    def where(self, start: int = 0, end: int | None = None) -> Where:
        """The place of `text[start:end]`; a span over several lines is cut at the end of its first."""
        document = self.text if self.document is None else self.document
        end = start + 1 if end is None else max(end, start + 1)
        first, last = start, end - 1
        if self.offsets is not None:
            top = len(self.offsets) - 1
            first, last = self.offsets[min(first, top)], self.offsets[min(last, top)]
        line = document.count("\n", 0, first) + 1
        line_start = document.rfind("\n", 0, first) + 1
        line_end = document.find("\n", line_start)
        line_end = len(document) if line_end < 0 else line_end
        width = max(1, min(last + 1, line_end) - first)
        column, source = first - line_start + 1, document[line_start:line_end]
        return Where(self.file, self.lines_above + line, column, source, width)


def lines_of(document: str, start: int, end: int) -> tuple[str, int, int]:
    r"""The whole lines that hold `document[start:end + 1]`, where they start, and how many come before.

    >>> lines_of("a\nbc\nd\n", 3, 4)
    ('bc', 2, 1)
    """
    first = document.rfind("\n", 0, start) + 1
    last = document.find("\n", end)
    lines = document[first : len(document) if last < 0 else last]
    return lines, first, document.count("\n", 0, first)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: a GC code, a sentence, the place, and how to fix it."""

    code: str
    message: str
    where: Where | None = None
    hint: str | None = None
    exit_code: ExitCode = ExitCode.USAGE


class GradcheckError(Exception):
    """Every expected failure. Holds all problems found, so that a file's errors are told at once."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        """As a person reads it: what is wrong, where, and how to fix it."""
        return "\n".join(format_problem(problem) for problem in self.problems)

    @property
    def summary(self) -> str:
        """The sentences alone, for a message that they become part of."""
        return "; ".join(problem.message for problem in self.problems)

    @property
    def exit_code(self) -> ExitCode:
        """The gravest of the problems' codes: a wrong file (2) before one that could not run (4)."""
        return min(problem.exit_code for problem in self.problems)


def printable(text: str) -> str:
    r"""`text` with everything that could steer a terminal or reorder a line shown as an escape.

    >>> printable("a\x1b[31m")
    'a\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def cells(text: str) -> int:
    """Width of `text` on a terminal, in columns: wide characters take two, combining ones none.

    >>> cells("aé"), cells("漢")
    (2, 2)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def excerpt(where: Where, width: int = 76) -> tuple[str, str] | None:
    """The source line and, under it, the carets; a long line is cut around the place."""
    if where.source is None or where.column is None:
        return None
    line, start = where.source, where.column - 1
    end = min(len(line), start + where.width)
    if len(line) > width:
        first = max(0, min(start - width // 3, len(line) - width))
        last = min(len(line), first + width)
        head, tail = "..." if first else "", "..." if last < len(line) else ""
        shown = head + line[first + len(head) : last - len(tail)] + tail
        start, end = start - first, min(end, last) - first
    else:
        shown = line
    before = printable(shown[:start].replace("\t", " "))
    under = printable(shown[start:end])
    return (
        before + printable(shown[start:].replace("\t", " ")),
        " " * cells(before) + "^" * max(1, cells(under)),
    )


def folded(text: str, columns: int, hanging: int = 0) -> Iterator[str]:
    """`text` in lines of at most so many columns, broken at spaces; a longer word stays whole.

    All lines but the first begin with `hanging` spaces.

    >>> list(folded("one two three", 9, 2))
    ['one two', '  three']
    """
    first, *words = text.lstrip(" ").split(" ")
    line = " " * (len(text) - len(text.lstrip(" "))) + first
    for word in words:
        if cells(line) + 1 + cells(word) > columns:
            yield line.rstrip()
            line = " " * hanging + word
        else:
            line += f" {word}"
    yield line


def format_problem(problem: Problem, columns: int | None = None) -> str:
    """The problem as a person reads it: place and sentence, line with caret, hint.

    With `columns`, sentences are folded into so many and the source line is cut to them; the path never is.
    """
    lines = [f"error[{problem.code}]: {printable(problem.message)}"]
    if columns is not None:
        lines = list(folded(lines[0], columns, 4))
    if problem.where is not None:
        lines.append(f"  --> {printable(str(problem.where))}")
        shown = excerpt(problem.where, 76 if columns is None else columns - len("   | "))
        if shown is not None:
            lines += ["   | " + shown[0], "   | " + shown[1]]
    if problem.hint:
        hint = f"   = help: {printable(problem.hint)}"
        lines += [hint] if columns is None else folded(hint, columns, len("   = help: "))
    return "\n".join(lines)


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """A hint that names the nearest candidate, or None where none is near.

    >>> did_you_mean("maen", ["mean", "sum"])
    'did you mean `mean`?'
    """
    near = difflib.get_close_matches(name[:64], list(candidates), n=1, cutoff=0.6)
    return f"did you mean `{near[0]}`?" if near else None
