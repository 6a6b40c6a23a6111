"""A value of a document from elsewhere, and the ways to take it for something that it has to be."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, Where, printable

if TYPE_CHECKING:
    from collections.abc import Callable

Read = TypeVar("Read")

MOST_QUOTED = 60
# Sizes, lines and indices beyond it are those of no tensor and no file.
_LARGEST = 2**63 - 1
_MOST_IN_WORD = 100
_LARGEST_NUMBER = sys.float_info.max
# Seconds: three hundred years.
_LONGEST = 1e10
_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True)
class Field:
    """A value of the document with its path, and the ways to take it for something."""

    value: Any
    path: str
    source: str

    def wrong(self, wanted: str) -> NoReturn:
        """Refuse it."""
        shown = printable(json.dumps(self.value, default=str))
        if len(shown) > MOST_QUOTED:
            shown = f"{shown[:MOST_QUOTED]}..."
        what = f"{self.path or 'the document'} is {shown}, not {wanted}"
        refuse(self.source, what)

    def get(self, key: str) -> Field:
        """An entry of a mapping; None where it is missing."""
        if not isinstance(self.value, dict):
            self.wrong("a mapping")
        return Field(self.value.get(key), f"{self.path}.{key}" if self.path else key, self.source)

    def each(
        self, read_one: Callable[[Field], Read], *, required: bool = False
    ) -> tuple[Read, ...]:
        """The items of a list, each read; none where it is missing."""
        if self.value is None and not required:
            return ()
        if not isinstance(self.value, list):
            self.wrong("a list")
        return tuple(
            read_one(Field(item, f"{self.path}[{number}]", self.source))
            for number, item in enumerate(self.value)
        )

    def mapping(self, read_one: Callable[[Field], Read]) -> dict[str, Read]:
        """The entries of a mapping, each read; none where it is missing."""
        if self.value is None:
            return {}
        if not isinstance(self.value, dict):
            self.wrong("a mapping")
        return {
            key: read_one(Field(item, f"{self.path}.{printable(key[:MOST_QUOTED])}", self.source))
            for key, item in self.value.items()
        }

    def by_method(self, read_one: Callable[[Field], Read]) -> dict[str, Read]:
        """As `mapping`, the keys being methods."""
        found = self.mapping(read_one)
        for name in found:
            Field(name, f"a key of {self.path}", self.source).word()
        return found

    def maybe(self, read_one: Callable[[Field], Read]) -> Read | None:
        """None, or the value read."""
        return None if self.value is None else read_one(self)

    def text(self) -> str:
        """A string."""
        if not isinstance(self.value, str):
            self.wrong("a text")
        return self.value

    def word(self) -> str:
        """A short text that stands in tables and on terminals as it is: a method, a dtype, a device."""
        text = self.text()
        if not text.isprintable() or len(text) > _MOST_IN_WORD:
            self.wrong(f"a printable text of at most {_MOST_IN_WORD} characters")
        return text

    def choice(self, *known: str) -> str:
        """One of `known`."""
        if self.value not in known or not isinstance(self.value, str):
            self.wrong(f"one of {', '.join(known)}")
        return self.value

    def code(self) -> str:
        """A GC code."""
        text = self.text()
        if len(text) != 5 or not text.startswith("GC") or not text[2:].isdecimal():
            self.wrong("a code such as GC101")
        return text

    def boolean(self) -> bool:
        """True or false; false where it is missing."""
        if self.value is not None and not isinstance(self.value, bool):
            self.wrong("true or false")
        return bool(self.value)

    def whole(self, low: int = 0) -> int:
        """A whole number of at least `low`; `low` where it is missing."""
        if self.value is None:
            return low
        if type(self.value) is not int or not low <= self.value <= _LARGEST:
            self.wrong(f"a whole number of {low} or more")
        return self.value

    def place(self) -> int:
        """A line or a column: they count from 1."""
        return self.whole(1)

    def number(self) -> float:
        """A number, or one of the strings for those that JSON lacks."""
        found = _number(self.value)
        if found is None:
            self.wrong("a number")
        return found

    def numbers(self, count: int) -> tuple[float, ...]:
        """So many numbers; a picture has thousands, so none gets a field of its own unless it is wrong."""
        if not isinstance(self.value, list) or len(self.value) != count:
            self.wrong(f"a list of {count} numbers")
        found = [_number(item) for item in self.value]
        if None in found:
            self.each(Field.number)
        return tuple(number for number in found if number is not None)

    def seconds(self) -> float:
        """A duration; none where it is missing."""
        number = 0.0 if self.value is None else self.number()
        if not 0 <= number <= _LONGEST:
            self.wrong("a duration in seconds")
        return number

    def exit_code(self) -> ExitCode:
        """What a run ended in."""
        if type(self.value) is not int or self.value not in set(ExitCode):
            self.wrong(f"one of {', '.join(str(int(code)) for code in ExitCode)}")
        return ExitCode(self.value)


def refuse(source: str, message: str, hint: str | None = None) -> NoReturn:
    """Say that a report can't be used."""
    usual = "give reports that `gradcheck compare --json FILE` wrote"
    raise GradcheckError(
        Problem("GC033", f"{printable(source)}: {message}", Where(source), hint or usual)
    )


def _number(value: Any) -> float | None:
    """A number of the document, None for what is none."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is int:
        return float(value) if abs(value) <= _LARGEST_NUMBER else None
    return _SPECIAL.get(value) if isinstance(value, str) else None
