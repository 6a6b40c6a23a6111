"""Text before its grammar: length, characters, strings, comments, line ends and brackets.

What is refused here could exhaust or confuse Python's parser; all of it is found without that parser, so
that messages are the same for every version of Python.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NamedTuple

from gradcheck_cli.errors import GradcheckError, Problem, Source

MAX_LENGTH = 100_000
MAX_DEPTH = 200

_LEXEME = re.compile(
    r"""
    (?P<string>'''(?:\\.|[^\\])*?''' | \"""(?:\\.|[^\\])*?\"""
             | '(?:\\.|[^'\\\n\r])*' | "(?:\\.|[^"\\\n\r])*")
  | (?P<comment>\#[^\n\r]*)
  | (?P<line>\\?(?:\r\n|\r|\n))
  | (?P<quote>['"])
    """,
    re.VERBOSE | re.DOTALL,
)
_NEEDS_LEXING = re.compile(r"""['"#\n\r]""")
_BRACKET = re.compile(r"[()\[\]{}]")
_CLOSING = {"(": ")", "[": "]", "{": "}"}
# More digits than any number needs; Python itself refuses to read some thousands.
_ENDLESS_NUMBER = re.compile(r"[0-9][0-9_]{999}")
_MOST_CHARACTERS = 8

# What looks like an operator of ASCII and is none.
_INSTEAD = {
    **dict.fromkeys("×⋅·∙∗⊙", "write `*`"),  # noqa: RUF001
    **dict.fromkeys("÷∕⁄", "write `/`"),  # noqa: RUF001
    **dict.fromkeys("−–—‐‑", "write `-`"),  # noqa: RUF001
    **dict.fromkeys("’‘“”„′″«»", "write a plain quote, ' or \""),  # noqa: RUF001
    "²": "write `** 2`",
    "³": "write `** 3`",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "√": "write torch.sqrt(x)",
    "∑": "write x.sum()",
    "∏": "write x.prod()",
    "∞": "write math.inf",
    "∧": "write `&`",
    "∨": "write `|`",  # noqa: RUF001
    "¬": "write `~`",
}


class Flat(NamedTuple):
    """A text made one line, every character at its place.

    code      line ends and comments blanked out
    skeleton  the insides of strings blanked out as well
    """

    code: str
    skeleton: str


def flatten(source: Source) -> Flat:
    """Look over a text and lay it flat. Raises GradcheckError for what no expression holds."""
    text = source.text
    if len(text) > MAX_LENGTH:
        msg = f"the expression has {len(text)} characters; at most {MAX_LENGTH} are read"
        raise GradcheckError(Problem("GC019", msg, source.where(0), "name parts under `let:`"))
    flat = _lexed(source) if _NEEDS_LEXING.search(text) else Flat(text, text)
    if not flat.code.strip():
        hint = "write a tensor expression, such as x.sum()"
        raise GradcheckError(Problem("GC010", "the expression is empty", source.where(0), hint))
    if not (text.isascii() and text.isprintable()):
        _refuse_characters(source, flat)
    _match_brackets(source, flat.skeleton)
    if endless := _ENDLESS_NUMBER.search(flat.skeleton):
        raise GradcheckError(too_large(source, endless.start(), endless.end()))
    return flat


def too_large(source: Source, start: int, end: int) -> Problem:
    """A whole number beyond PyTorch's int64."""
    hint = "write it as a float: 1e30"
    return Problem("GC019", "this number does not fit into 64 bits", source.where(start, end), hint)


def too_deep(source: Source, position: int) -> Problem:
    """Nesting beyond what is read."""
    message = f"the expression nests deeper than {MAX_DEPTH} levels"
    return Problem("GC019", message, source.where(position), "name parts of it under `let:`")


def _lexed(source: Source) -> Flat:
    code: list[str] = []
    skeleton: list[str] = []
    end = 0
    for match in _LEXEME.finditer(source.text):
        plain, found = source.text[end : match.start()], match.group()
        end = match.end()
        blank = " " * len(found)
        if match["quote"]:
            message = "a string begins here and is never closed"
            hint = f"add the closing {found}, or remove this one"
            raise GradcheckError(Problem("GC010", message, source.where(match.start()), hint))
        string = match["string"]
        code += (plain, string.replace("\n", " ").replace("\r", " ") if string else blank)
        skeleton += (plain, f"{found[0]}{blank[2:]}{found[0]}" if string else blank)
    rest = source.text[end:]
    return Flat("".join(code) + rest, "".join(skeleton) + rest)


def _refuse_characters(source: Source, flat: Flat) -> None:
    problems = []
    for position, (char, bare) in enumerate(zip(flat.code, flat.skeleton, strict=True)):
        if char in " \t\f" or (char.isascii() and char.isprintable()):
            continue
        if char.isprintable() and (bare == " " or _names(char)):
            continue  # inside of a string, or of a name
        problems.append(_character(source, position, char))
        if len(problems) == _MOST_CHARACTERS:
            break
    if problems:
        raise GradcheckError(*problems)


def _names(char: str) -> bool:
    """Whether `char` can stand in a name; the middle dot can in Python, but is meant as a product."""
    return f"a{char}".isidentifier() and char not in _INSTEAD


def _character(source: Source, position: int, char: str) -> Problem:
    name = unicodedata.name(char, "a control character" if ord(char) < 0xA0 else "unnamed").lower()
    shown = f"`{char}` " if char.isprintable() else ""
    message = f"the character {shown}(U+{ord(char):04X}, {name}) can't stand in an expression"
    hint = _INSTEAD.get(char)
    if char.isspace():
        hint = "write an ordinary space"
    elif hint is None:
        hint = "remove it" if not char.isprintable() else "use ASCII operators: * - / **"
    return Problem("GC010", message, source.where(position), hint)


def _match_brackets(source: Source, skeleton: str) -> None:
    still_open: list[tuple[str, int]] = []
    for match in _BRACKET.finditer(skeleton):
        char, position = match.group(), match.start()
        if char in _CLOSING:
            still_open.append((char, position))
            if len(still_open) > MAX_DEPTH:
                raise GradcheckError(too_deep(source, position))
            continue
        if not still_open:
            problem = f"`{char}` closes nothing", "remove it, or add the bracket that opens"
        elif char != _CLOSING[still_open[-1][0]]:
            opened = still_open[-1][0]
            problem = (
                f"`{char}` can't close `{opened}`",
                f"close it with `{_CLOSING[opened]}` first",
            )
        else:
            still_open.pop()
            continue
        message, hint = problem
        raise GradcheckError(Problem("GC010", message, source.where(position), hint))
    if still_open:
        char, position = still_open[-1]
        hint = f"add the missing `{_CLOSING[char]}`"
        message = f"`{char}` is never closed"
        raise GradcheckError(Problem("GC010", message, source.where(position), hint))
