"""YAML 1.2's core schema over PyYAML's event stream, with positions.

PyYAML's own composer and constructor follow YAML 1.1 (`no` is false, `1e-5` is text), build aliases
and objects, and keep the last of two equal keys; so only its parser is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

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

if TYPE_CHECKING:
    from collections.abc import Callable

_QUOTE = "put the text in quotes, or after `>-` on a line of its own"
# libyaml's and PyYAML's words, and ours: what it means in a spec file, and how to mend it.
_SENTENCES = (
    ("mapping values are not allowed", "a `: ` stands where no key can", _QUOTE),
    ("cannot start any token", "no text can start with this character", _QUOTE),
    ("that cannot start", "no text can start with this character", _QUOTE),
    (
        "could not find expected ':'",
        "this line is neither `key: value` nor the rest of a text",
        None,
    ),
    ("did not find expected ',' or '}'", "a `{` is not closed, or a comma is missing", None),
    ("did not find expected ',' or ']'", "a `[` is not closed, or a comma is missing", None),
    ("expected ',' or '}'", "a `{` is not closed, or a comma is missing", None),
    ("expected ',' or ']'", "a `[` is not closed, or a comma is missing", None),
    ("unexpected end of stream", "a quoted text is not closed", None),
    ("unknown escape character", "unknown escape in a double-quoted text", r"a backslash is `\\`"),
    ("did not find expected '-'", "this line's indentation fits no list above it", None),
    ("did not find expected key", "this line's indentation fits no mapping above it", None),
    ("expected <block end>", "this line's indentation fits nothing above it", None),
    ("did not find expected node content", "a value is missing here", None),
    ("expected the node content", "a value is missing here", None),
)


def read_yaml(made: Document) -> list[Node]:
    """The root of every document in the stream; problems of duplicate keys and the like are noted.

    Raises GradcheckError where the text is no YAML, or too deep or large.
    """
    reader = _Reader(made)
    try:
        return reader.stream()
    except yaml.YAMLError as error:
        _explain(made, error)
        made.raise_problems()


def _parser(text: str) -> Callable[[], Any]:
    """The function that gives the next event; libyaml's is many times faster."""
    if yaml.__with_libyaml__:
        from yaml._yaml import CParser

        return CParser(text).get_event
    return yaml.SafeLoader(text).get_event


def _explain(made: Document, error: yaml.YAMLError) -> None:
    problem = str(getattr(error, "problem", None) or error).partition("\n")[0]
    context = getattr(error, "context", None)
    mark = getattr(error, "problem_mark", None)
    at = min(mark.index, len(made.text)) if mark is not None else 0
    message, hint = f"not readable as YAML: {printable(problem)}", None
    for words, sentence, help_ in _SENTENCES:
        if words in problem:
            message, hint = f"not readable as YAML: {sentence}", help_
            break
    else:
        message += f" ({printable(context)})" if context else ""
    opened = getattr(error, "context_mark", None)
    if "is not closed" in message and opened is not None:
        hint = f"it opens on line {opened.line + 1}, column {opened.column + 1}"
    if made.text[at : at + 1] == "\t":
        message, hint = "not readable as YAML: a tab can't indent", "indent with spaces"
    place = Scalar(None, "", at, at + 1, "")
    made.add("GC001", message, place, hint)


class _Reader:
    """Composes events into nodes. The depth is bounded, so recursion is safe."""

    def __init__(self, made: Document) -> None:
        self.made = made
        self.text = made.text
        self.next = _parser(made.text)
        self.nodes = 0

    def stream(self) -> list[Node]:
        roots = []
        while True:
            event = self.next()
            if isinstance(event, DocumentStartEvent):
                if event.tags:
                    self.made.fail("GC007", "spec files take no %TAG", _place(event).start)
                roots.append(self.node(self.next(), 1))
            elif event is None or type(event) is StreamEndEvent:
                return roots

    def count(self, event: Any, depth: int) -> None:
        """Keep nesting and size within bounds; note anchors and tags."""
        self.nodes += 1
        start = event.start_mark.index
        if self.nodes > MAX_NODES:
            self.made.fail(
                "GC008", f"the file holds more than {MAX_NODES} values", start, "split it"
            )
        if depth > MAX_DEPTH:
            self.made.fail("GC008", f"nested more than {MAX_DEPTH} levels deep", start)
        if event.anchor is not None:
            sign = "*" if type(event) is AliasEvent else "&"
            kind = "an alias" if sign == "*" else "an anchor"
            message = f"`{sign}{event.anchor[:60]}` is {kind}, and spec files take none"
            self.made.add("GC007", message, _place(event), f"for an expression, {_QUOTE}")
        elif event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")[:60]
            message = f"`{tag}` is a tag, and spec files take none"
            self.made.add("GC007", message, _place(event), f"for an expression, {_QUOTE}")

    def node(self, event: Any, depth: int) -> Node:
        kind = type(event)
        if kind is ScalarEvent:
            return self.scalar(event, depth)
        self.count(event, depth)
        if kind is MappingStartEvent:
            return self.mapping(event, depth + 1)
        if kind is SequenceStartEvent:
            return self.sequence(event, depth + 1)
        return _place(event)

    def scalar(self, event: Any, depth: int) -> Scalar:
        self.nodes += 1
        if event.anchor is not None or event.tag is not None or self.nodes > MAX_NODES:
            self.count(event, depth)
        text, style, start = event.value, event.style or "", event.start_mark.index
        value = text if style else resolve(self.made, text, start)
        return Scalar(value, text, start, event.end_mark.index, style)

    def sequence(self, event: Any, depth: int) -> Items:
        values: list[Any] = []
        items: list[Node] = []
        start = event.start_mark.index
        while not isinstance(part := self.next(), SequenceEndEvent):
            node = self.node(part, depth)
            items.append(node)
            values.append(node.value)
        return Items(values, items, start, _end(part))

    def mapping(self, event: Any, depth: int) -> Entries:
        values: dict[str, Any] = {}
        entries: dict[str, Node] = {}
        keys: dict[str, Scalar] = {}
        start = event.start_mark.index
        while not isinstance(part := self.next(), MappingEndEvent):
            key = self.key(part, depth)
            node = self.node(self.next(), depth)
            name = key.text
            if name in entries:
                first = self.made.line(keys[name])
                message = f"the key `{name[:60]}` stands here twice"
                self.made.add("GC006", message, key, f"it is first on line {first}")
                continue
            keys[name] = key
            entries[name] = node
            values[name] = node.value
        return Entries(values, entries, keys, start, _end(part))

    def key(self, event: Any, depth: int) -> Scalar:
        """A key is its text, so that `N`, `1` and `null` are all names."""
        kind = type(event)
        if kind is not ScalarEvent:
            self.count(event, depth)
            self.made.fail("GC001", "a key must be text", event.start_mark.index, _QUOTE)
        self.nodes += 1
        if event.anchor is not None or event.tag is not None:
            self.count(event, depth)
        text, style = event.value, event.style or ""
        return Scalar(text, text, event.start_mark.index, event.end_mark.index, style)


def _end(event: Any) -> int:
    index: int = event.end_mark.index
    return index


def _place(event: Any) -> Scalar:
    """A node without content, for what is refused."""
    return Scalar(None, "", event.start_mark.index, max(event.end_mark.index, 1), "")
