"""Formulas put into a spec file as a person would type them: nothing else of its text changes.

Edits are made at the positions that the readers note, so that comments, order, quotes, indentation and line
ends stay. What can't be edited safely is refused.
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck_cli.errors import GradcheckError, Problem
from gradcheck_cli.spec.load import read_roots
from gradcheck_cli.spec.nodes import Document, Entries, Items, Node, Scalar, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck_cli.spec.check import Check

# A longer line is folded, to lines of so many columns.
_LONGEST, _FOLDED = 96, 80
_STEP = 2
# What a plain scalar can't begin with, and what ends one within brackets.
_INDICATORS = frozenset("-?:,[]{}#&*!|>'\"%@`")
_IN_BRACKETS = frozenset(",[]{}")


@dataclass(frozen=True, slots=True)
class Addition:
    """Formulas for one check: under `let`, then under `manual`. An entry that is there is replaced."""

    check: Check
    let: Mapping[str, str]
    manual: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Edit:
    """`text` in place of what stands from `start` to `end`."""

    start: int
    end: int
    text: str


def rewritten(text: str, file: str, additions: Sequence[Addition]) -> str:
    """The text of a spec file with formulas added.

    Raises GradcheckError where it can't be read, and where a check is written in a way that can't be edited
    without touching anything else.

    >>> from gradcheck_cli.spec.load import load_text
    >>> text = '''version: 1
    ... inputs: {x: {shape: [3]}}  # three
    ... expression: x.sin().sum()
    ... '''
    >>> check, = load_text(text, "a.yaml")
    >>> print(rewritten(text, "a.yaml", [Addition(check, {}, {"x": "cos(x)"})]), end="")
    version: 1
    inputs: {x: {shape: [3]}}  # three
    expression: x.sin().sum()
    manual:
      x: cos(x)
    """
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    ends = "\r\n" if "\r\n" in text else "\n"
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    if "\r" in plain or (ends == "\r\n" and text.count("\r\n") != text.count("\n")):
        raise _refused("its lines end in different ways", "save it with one kind of line ends")
    made, roots = read_roots(plain, file)
    if made.problems:
        made.raise_problems()
    edits: list[_Edit] = []
    for addition in additions:
        place = _place(made, roots, addition.check)
        editor = _Json(made, place) if _is_json(place) else _Yaml(made, place)
        edits += editor.edits(addition)
    for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
        plain = plain[: edit.start] + edit.text + plain[edit.end :]
    return mark + plain.replace("\n", ends)


def _refused(why: str, hint: str | None = None) -> GradcheckError:
    return GradcheckError(Problem("GC028", f"--write can't edit the file: {why}", None, hint))


def _places(roots: Sequence[Node]) -> Iterator[Entries]:
    """The mappings that are checks, in the order of the file."""
    for root in roots:
        if not isinstance(root, Entries):
            continue
        listed = root.entries.get("checks")
        if isinstance(listed, Items):
            yield from (item for item in listed.items if isinstance(item, Entries))
        else:
            yield root


def _place(made: Document, roots: Sequence[Node], check: Check) -> Entries:
    found = [place for place in _places(roots) if made.line(place) == check.line]
    if len(found) > 1:
        found = [place for place in found if place.value.get("name") == check.name]
    if len(found) != 1:
        raise _refused(f"`{check.name}` can't be told from another check on its line")
    if "expression" not in found[0].entries:
        hint = "write the expression into the check itself"
        raise _refused(f"the expression of `{check.name}` is one of `defaults`", hint)
    return found[0]


def _is_json(place: Entries) -> bool:
    """Whether the keys are JSON's, which has one way to write a text."""
    return all(key.style == "json" for key in place.keys.values())


class _Editor:
    """Edits to one check. Sections are `let` and `manual`."""

    def __init__(self, made: Document, place: Entries) -> None:
        self.text = made.text
        self.made = made
        self.place = place

    def edits(self, addition: Addition) -> Iterator[_Edit]:
        """What has to change for the formulas to be there."""
        new = ""
        for section, formulas in (("let", addition.let), ("manual", addition.manual)):
            node = self.place.entries.get(section)
            if not formulas:
                continue
            if node is None:
                new += self.section(section, formulas)
            elif isinstance(node, Entries):
                yield from self.changed(node, formulas)
            else:
                raise _refused(f"`{section}` is no mapping")
        if new:
            at = self.after(self.place.entries["expression"])
            yield _Edit(at, at, new)

    def changed(self, node: Entries, formulas: Mapping[str, str]) -> Iterator[_Edit]:
        """Entries of a section that is there: replaced, or added at its end."""
        added = ""
        for name, formula in formulas.items():
            old = node.entries.get(name)
            if old is None:
                added += self.entry(node, name, formula)
            elif isinstance(old, Scalar):
                yield self.replaced(node, name, old, formula)
        if added:
            at = self.after(list(node.entries.values())[-1]) if node.entries else node.start + 1
            yield _Edit(at, at, added if node.entries else added.lstrip(", "))

    def after(self, node: Node) -> int:
        """Where something can be added that follows `node`."""
        raise NotImplementedError

    def section(self, name: str, formulas: Mapping[str, str]) -> str:
        """A new section, as it stands after the expression."""
        raise NotImplementedError

    def entry(self, node: Entries, name: str, formula: str) -> str:
        """A new entry at the end of a section."""
        raise NotImplementedError

    def replaced(self, node: Entries, name: str, old: Scalar, formula: str) -> _Edit:
        """Another formula in place of one that is there."""
        raise NotImplementedError

    def column(self, at: int) -> int:
        """The column of a position, from 0."""
        return at - (self.text.rfind("\n", 0, at) + 1)

    def margin(self, at: int) -> str | None:
        """What stands before a position on its line, where that is blank; else None."""
        before = self.text[self.text.rfind("\n", 0, at) + 1 : at]
        return before if not before.strip() else None


class _Json(_Editor):
    """Entries are set apart by commas; on lines of their own where those around them are."""

    def after(self, node: Node) -> int:
        return node.end

    def lead(self, key: Scalar) -> str:
        """What goes between the comma and a new entry beside `key`."""
        margin = self.margin(key.start)
        return " " if margin is None else "\n" + margin

    def section(self, name: str, formulas: Mapping[str, str]) -> str:
        lead = self.lead(self.place.keys["expression"])
        inner = ", ".join(f"{_quoted(key)}: {_quoted(text)}" for key, text in formulas.items())
        return f",{lead}{_quoted(name)}: {{{inner}}}"

    def entry(self, node: Entries, name: str, formula: str) -> str:
        keys = list(node.keys.values())
        lead = self.lead(keys[-1]) if keys else ""
        return f",{lead}{_quoted(name)}: {_quoted(formula)}"

    def replaced(self, node: Entries, name: str, old: Scalar, formula: str) -> _Edit:
        del node, name  # the text alone changes
        return _Edit(old.start, old.end, _quoted(formula))


class _Yaml(_Editor):
    """Block style on lines of their own; within brackets as in JSON, with quotes where they are needed."""

    def after(self, node: Node) -> int:
        if self.in_brackets(self.place):
            return node.end
        tail = self.tail(node)
        end = self.text.find("\n", tail)
        return len(self.text) if end < 0 else end

    def tail(self, node: Node) -> int:
        """The end of what is written of a node: a block's end mark is that of the lines after it."""
        if isinstance(node, Scalar):
            return node.start + len(self.text[node.start : node.end].rstrip())
        if self.in_brackets(node):
            return node.end
        below = list(node.entries.values()) if isinstance(node, Entries) else node.items
        return max([self.tail(part) for part in below], default=node.start)

    def in_brackets(self, node: Node) -> bool:
        return self.text[node.start] in "{[" and not isinstance(node, Scalar)

    def section(self, name: str, formulas: Mapping[str, str]) -> str:
        key = self.place.keys["expression"]
        if self.in_brackets(self.place):
            inner = ", ".join(f"{k}: {self.flow(text)}" for k, text in formulas.items())
            margin = self.margin(key.start)
            lead = " " if margin is None else "\n" + margin
            return f",{lead}{name}: {{{inner}}}"
        margin = " " * self.column(key.start)
        inside = margin + " " * self.step()
        lines = "".join(self.line(inside, k, text) for k, text in formulas.items())
        return f"\n{margin}{name}:{lines}"

    def step(self) -> int:
        """How far the file indents what is below a key."""
        for name in ("inputs", "let"):
            node = self.place.entries.get(name)
            if isinstance(node, Entries) and not self.in_brackets(node) and node.keys:
                inner = next(iter(node.keys.values()))
                return max(1, self.column(inner.start) - self.column(self.place.keys[name].start))
        return _STEP

    def entry(self, node: Entries, name: str, formula: str) -> str:
        if self.in_brackets(node):
            return f", {name}: {self.flow(formula)}"
        return self.line(" " * self.column(next(iter(node.keys.values())).start), name, formula)

    def changed(self, node: Entries, formulas: Mapping[str, str]) -> Iterator[_Edit]:
        for edit in super().changed(node, formulas):
            inside = (
                self.in_brackets(node)
                and edit.start == edit.end
                and not self.in_brackets(self.place)
            )
            if inside and node.entries:
                # After the last entry, not after the line on which the brackets close.
                last = self.tail(list(node.entries.values())[-1])
                yield _Edit(last, last, edit.text)
            else:
                yield edit

    def replaced(self, node: Entries, name: str, old: Scalar, formula: str) -> _Edit:
        written = self.text[old.start : old.end].rstrip()
        end = old.start + len(written)
        if self.in_brackets(node):
            return _Edit(old.start, end, self.flow(formula))
        # A comment may stand beside the sign of a block, or after a text on one line, which stays one then.
        header, _, _ = written.partition("\n")
        mark = header.find("#") if old.style in ("|", ">") else -1
        comment = "" if mark < 0 else f"  {header[mark:]}"
        stop = self.text.find("\n", end)
        alone = not self.text[end : stop if stop >= 0 else None].strip()
        margin = " " * self.column(node.keys[name].start)
        whole = self.line(margin, name, formula, old.style, comment, fold=alone)
        return _Edit(old.start, end, whole.partition(": ")[2])

    def line(
        self,
        margin: str,
        name: str,
        formula: str,
        style: str | None = None,
        comment: str = "",
        *,
        fold: bool = True,
    ) -> str:
        """A line break and `name: formula`, folded where it is long."""
        written = self.scalar(formula, style)
        if len(f"{margin}{name}: {written}") <= _LONGEST or not fold:
            return f"\n{margin}{name}: {written}{comment}"
        inside = margin + " " * _STEP
        width = max(20, _FOLDED - len(inside))
        lines = textwrap.wrap(formula, width, break_long_words=False, break_on_hyphens=False)
        folded = "".join(f"\n{inside}{line}" for line in lines)
        return f"\n{margin}{name}: >-{comment}{folded}"

    def scalar(self, formula: str, style: str | None = None) -> str:
        """A formula in block style: plain where that is possible, in quotes as the expression is."""
        expression = self.place.entries["expression"]
        if style is None and isinstance(expression, Scalar):
            style = expression.style
        if style == '"':
            return _quoted(formula)
        if style == "'" or not self.is_plain(formula):
            return _single(formula)
        return formula

    def is_plain(self, formula: str) -> bool:
        first, second = formula[:1], formula[1:2]
        if first in _INDICATORS and not (first == "-" and second not in (" ", "-", "")):
            return False
        if ": " in formula or " #" in formula or formula.endswith(":"):
            return False
        value = resolve(self.made, formula, 0)
        return isinstance(value, str | int | float) and not isinstance(value, bool)

    def flow(self, formula: str) -> str:
        if self.is_plain(formula) and not _IN_BRACKETS.intersection(formula):
            return formula
        return _single(formula)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _single(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"
