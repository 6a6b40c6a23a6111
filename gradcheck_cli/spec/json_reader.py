"""JSON (RFC 8259) with positions; duplicate keys are refused, numbers are YAML's.

Not read as YAML, of which it is nearly a subset: libyaml refuses surrogate pairs, and tabs where
JSON allows them.
"""

from __future__ import annotations

import re
from typing import Any

from gradcheck_cli.errors import printable
from gradcheck_cli.spec.nodes import (
    MAX_DEPTH,
    MAX_NODES,
    Document,
    Entries,
    Items,
    Node,
    Scalar,
    resolve,
)

_BLANK = re.compile(r"[ \t\n]*")
_STRING = re.compile(r'"([^"\\\n\t]*(?:\\.[^"\\\n\t]*)*)"')
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![0-9.+\w-])")
_WORD = re.compile(r"[^\s,:\[\]{}\"]+")
_WORDS = {"true": True, "false": False, "null": None}
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}


def read_json(made: Document) -> list[Node]:
    """The value that the text holds, as a list of one root.

    Raises GradcheckError where the text is no JSON, or too deep or large.
    """
    reader = _Reader(made)
    root = reader.value(reader.skip(0), 1)
    end = reader.skip(root.end)
    if end < len(made.text):
        reader.fail("something follows after the end of the value", end)
    return [root]


class _Reader:
    """A recursive-descent parser; the depth is bounded, so recursion is safe."""

    def __init__(self, made: Document) -> None:
        self.made = made
        self.text = made.text
        self.nodes = 0

    def fail(self, message: str, at: int, hint: str | None = None) -> Any:
        self.made.fail("GC001", f"not readable as JSON: {message}", at, hint)

    def skip(self, at: int) -> int:
        found = _BLANK.match(self.text, at)
        return found.end() if found is not None else at

    def value(self, at: int, depth: int) -> Node:
        self.nodes += 1
        if self.nodes > MAX_NODES:
            self.made.fail("GC008", f"the file holds more than {MAX_NODES} values", at, "split it")
        if depth > MAX_DEPTH:
            self.made.fail("GC008", f"nested more than {MAX_DEPTH} levels deep", at)
        char = self.text[at : at + 1]
        if char == "{":
            return self.object(at, depth + 1)
        if char == "[":
            return self.array(at, depth + 1)
        if char == '"':
            return self.string(at)
        found = _NUMBER.match(self.text, at)
        if found is not None:
            return Scalar(resolve(self.made, found[0], at), found[0], at, found.end(), "")
        word = _WORD.match(self.text, at)
        if word is None:
            return self.fail("a value is missing here", at)  # type: ignore[no-any-return]
        if word[0] not in _WORDS:
            hint = 'text stands in double quotes: "text"; infinity and NaN too: "Infinity"'
            self.fail(f"`{printable(word[0][:40])}` is no value", at, hint)
        return Scalar(_WORDS[word[0]], word[0], at, word.end(), "")

    def string(self, at: int) -> Scalar:
        found = _STRING.match(self.text, at)
        if found is None:
            self.fail(
                "a text is not closed on its line", at, "a line break is written \\n, a tab \\t"
            )
        assert found is not None
        text = found[1]
        if "\\" in text:
            text = _ESCAPE.sub(lambda match: self.unescape(match, at + 1), text)
            # A pair of surrogates is one character; a lone one is none.
            try:
                text = text.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError:
                self.fail("half of a surrogate pair in a text", at)
        return Scalar(text, text, at, found.end(), "json")

    def unescape(self, match: re.Match[str], start: int) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2] not in _ESCAPED:
            self.fail(f"unknown escape \\{match[2]}", start + match.start(), r"a backslash is `\\`")
        return _ESCAPED[match[2]]

    def after(self, at: int, closing: str) -> tuple[int, bool]:
        """Where the next item starts, and whether there is one, after `,` or the last bracket."""
        at = self.skip(at)
        char = self.text[at : at + 1]
        if char == closing:
            return at + 1, False
        if char != ",":
            self.fail(f"`,` or `{closing}` is missing here", at)
        at = self.skip(at + 1)
        if self.text[at : at + 1] == closing:
            self.fail(f"a comma before `{closing}`", at, "JSON takes no trailing comma")
        return at, True

    def array(self, start: int, depth: int) -> Items:
        values: list[Any] = []
        items: list[Node] = []
        at = self.skip(start + 1)
        more = self.text[at : at + 1] != "]"
        at += not more
        while more:
            node = self.value(at, depth)
            items.append(node)
            values.append(node.value)
            at, more = self.after(node.end, "]")
        return Items(values, items, start, at)

    def object(self, start: int, depth: int) -> Entries:
        values: dict[str, Any] = {}
        entries: dict[str, Node] = {}
        keys: dict[str, Scalar] = {}
        at = self.skip(start + 1)
        more = self.text[at : at + 1] != "}"
        at += not more
        while more:
            if self.text[at : at + 1] != '"':
                self.fail("a key in double quotes is missing here", at)
            key = self.string(at)
            at = self.skip(key.end)
            if self.text[at : at + 1] != ":":
                self.fail("`:` is missing after a key", at)
            node = self.value(self.skip(at + 1), depth)
            name = key.text
            if name in entries:
                message = f"the key `{name[:60]}` stands here twice"
                hint = f"it is first on line {self.made.line(keys[name])}"
                self.made.add("GC006", message, key, hint)
            else:
                keys[name], entries[name], values[name] = key, node, node.value
            at, more = self.after(node.end, "}")
        return Entries(values, entries, keys, start, at)
