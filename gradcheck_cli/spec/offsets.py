"""Where each character of a scalar stands in its document, worked out when an error is shown.

A scalar is written in one of YAML's five styles (the specification's chapters 7 and 8) or as JSON
text. Each function here decodes the written form while it notes the index of every character that
comes out. If what comes out is not what the parser read, every character is said to stand at the
scalar's start.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import overload

from gradcheck_cli.errors import lines_of

_BREAKS = re.compile(r"[ \t]*\n[ \t\n]*")
_HEADER = re.compile(r"[|>]([-+0-9]*)[^\n]*(?:\n|\Z)")
_ESCAPED = {"0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f"}
_ESCAPED |= {"r": "\r", "e": "\x1b", " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85"}
_ESCAPED |= {"_": "\xa0", "L": "\u2028", "P": "\u2029"}
_HEX = {"x": 2, "u": 4, "U": 8}

_Aligned = tuple[list[str], list[int]]


class ScalarOffsets(Sequence[int]):
    """`offsets[i]` is the index in `document` of `text[i]`; one more entry stands for the end."""

    __slots__ = ("_document", "_end", "_indices", "_start", "_style", "_text")

    def __init__(self, document: str, start: int, end: int, style: str, text: str) -> None:
        self._document = document
        self._start = start
        self._end = end
        self._style = style
        self._text = text
        self._indices: list[int] | None = None

    @property
    def indices(self) -> list[int]:
        """The indices themselves; computed once."""
        if self._indices is None:
            self._indices = self._align()
        return self._indices

    def _align(self) -> list[int]:
        for chars, indices in _candidates(self._document, self._start, self._end, self._style):
            if "".join(chars) == self._text:
                last = indices[-1] + 1 if indices else self._start
                quoted = self._style in {"'", '"', "json"}
                return [*indices, self._end - 1 if quoted else last]
        return [self._start] * (len(self._text) + 1)

    def cut(self) -> tuple[str, ScalarOffsets, int]:
        """The lines that the scalar stands on, its offsets in them, and how many lines come before."""
        lines, first, above = lines_of(self._document, self._start, self._end)
        start, end = self._start - first, self._end - first
        return lines, ScalarOffsets(lines, start, end, self._style, self._text), above

    def __reduce__(self) -> tuple[type[ScalarOffsets], tuple[object, ...]]:
        whole = (self._document, self._start, self._end, self._style, self._text)
        return ScalarOffsets, whole

    def __len__(self) -> int:
        return len(self._text) + 1

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> list[int]: ...
    def __getitem__(self, index: int | slice) -> int | list[int]:
        return self.indices[index]


def _candidates(document: str, start: int, end: int, style: str) -> Iterator[_Aligned]:
    if style in {"|", ">"}:
        yield from _block(document, start, end)
    elif style in {'"', "json"}:
        yield _double(document, start + 1, end - 1)
    elif style == "'":
        yield _folded(document, start + 1, end - 1, quote=True)
    else:
        yield _folded(document, start, end, quote=False)


def _fold(document: str, start: int, end: int, aligned: _Aligned, *, joined: bool = True) -> None:
    """One line break is a space, n of them are n - 1 line breaks; blanks around them vanish."""
    breaks = [i for i in range(start, end) if document[i] == "\n"]
    chars, indices = aligned
    if joined and len(breaks) == 1:
        chars.append(" ")
        indices += breaks
    elif joined:
        chars += "\n" * (len(breaks) - 1)
        indices += breaks[1:]
    else:
        chars += "\n" * len(breaks)
        indices += breaks


def _folded(document: str, start: int, end: int, *, quote: bool) -> _Aligned:
    """Plain and single-quoted scalars: folding, and '' for a quote."""
    aligned: _Aligned = ([], [])
    chars, indices = aligned
    at = start
    while at < end:
        found = _BREAKS.match(document, at, end)
        if found is not None:
            _fold(document, at, found.end(), aligned)
            at = found.end()
            continue
        chars.append(document[at])
        indices.append(at)
        at += 2 if quote and document.startswith("''", at) else 1
    return aligned


def _double(document: str, start: int, end: int) -> _Aligned:
    """Double-quoted scalars: folding, escapes, and a backslash that joins two lines."""
    aligned: _Aligned = ([], [])
    chars, indices = aligned
    at = start
    while at < end:
        found = _BREAKS.match(document, at, end)
        if found is not None:
            _fold(document, at, found.end(), aligned)
            at = found.end()
        elif document[at] != "\\" or at + 1 >= end:
            chars.append(document[at])
            indices.append(at)
            at += 1
        elif document[at + 1] == "\n":
            blank = re.compile(r"[ \t\n]*").match(document, at + 2, end)
            stop = blank.end() if blank is not None else at + 2
            _fold(document, at + 2, stop, aligned, joined=False)
            at = stop
        else:
            char, length = _unescape(document, at)
            chars.append(char)
            indices.append(at)
            at += length
    return aligned


def _unescape(document: str, at: int) -> tuple[str, int]:
    """The character that the escape at `at` means, and how long the escape is."""
    kind = document[at + 1]
    if kind not in _HEX:
        return _ESCAPED.get(kind, ""), 2
    length = 2 + _HEX[kind]
    try:
        code = int(document[at + 2 : at + length], 16)
        if 0xD800 <= code < 0xDC00 and document.startswith("\\u", at + length):
            low = int(document[at + length + 2 : at + length + 6], 16)
            return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), 2 * length
        return chr(code), length
    except (ValueError, OverflowError):
        return "", length


def _block(document: str, start: int, end: int) -> Iterator[_Aligned]:
    """Block scalars, once per possible indentation.

    The indentation is that of the first line with text, or, where the header has an indicator,
    less; what that is relative to is not known here, so that every smaller one is tried too.
    """
    header = _HEADER.match(document, start)
    if header is None:
        return
    flags = header[1]
    first = re.compile(r"(?:[ ]*\n)*([ ]*)").match(document, header.end())
    deepest = len(first[1]) if first is not None else 0
    for indent in range(deepest, -1, -1) if deepest else (1, 0):
        yield _block_lines(
            document, header.end(), end, indent, flags, folded=document[start] == ">"
        )


def _block_lines(
    document: str, at: int, end: int, indent: int, flags: str, *, folded: bool
) -> _Aligned:
    aligned: _Aligned = ([], [])
    chars, indices = aligned
    breaks, at = _empty_lines(document, at, end, indent)
    line_break: list[int] = []
    more_indented = False
    while at < end and document[at : at + indent] == " " * indent and document[at + indent :]:
        at += indent
        blank = document[at] in " \t"
        if folded and line_break and not more_indented and not blank:
            # A line break between two lines of text becomes a space, unless empty lines follow it.
            if not breaks:
                chars.append(" ")
                indices += line_break
        else:
            chars += "\n" * len(line_break)
            indices += line_break
        chars += "\n" * len(breaks)
        indices += breaks
        more_indented = blank
        stop = document.find("\n", at)
        stop = len(document) if stop < 0 else stop
        chars += document[at:stop]
        indices += range(at, stop)
        line_break = [stop] if stop < len(document) else []
        breaks, at = _empty_lines(document, stop + 1, end, indent)
    if "-" not in flags:
        chars += "\n" * len(line_break)
        indices += line_break
    if "+" in flags:
        chars += "\n" * len(breaks)
        indices += breaks
    return aligned


def _empty_lines(document: str, at: int, end: int, indent: int) -> tuple[list[int], int]:
    """The breaks of the lines from `at` on that hold at most the indentation, and their end."""
    breaks = []
    while at < end:
        stop = at
        while stop < len(document) and stop - at < indent and document[stop] == " ":
            stop += 1
        if stop >= len(document) or document[stop] != "\n":
            break
        breaks.append(stop)
        at = stop + 1
    return breaks, at
