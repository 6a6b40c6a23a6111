"""What the styles have in common: where brackets are needed, and what kinds of parts there are to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gradcheck_cli.lang.typeset.names import split
from gradcheck_cli.lang.typeset.parts import Part, fold

if TYPE_CHECKING:
    from collections.abc import Sequence

# Binding strength on paper, weakest first. BIG is a sum sign with its body, which ends where the next term
# begins; NEG is a product that begins with a minus sign.
ANY, OR, AND, RELATION, SUM, BIG, NEG, HADAMARD, PRODUCT, FRACTION, POWER, ATOM = range(12)
# Text can double with every node that is used twice: what is longer is cut.
MOST_CHARACTERS = 100_000
_BRACKETS = {"(": ")", "[": "]", "|": "|", "‖": "‖", "⌊": "⌋", "⌈": "⌉"}


class Box(NamedTuple):
    """A part as it is written. `head` is what kind it is, of what stands first in a product."""

    text: str
    strength: int = ATOM
    head: str = ""


class Style:
    """A way to write formulas. A subclass says how the pieces are spelled; this one says where they go."""

    # The strength of a fraction: a line between top and bottom is as good as brackets.
    fraction = FRACTION
    # Whether a fraction's top and bottom, exponents and subscripts are set apart by their place.
    placed = True

    def render(self, part: Part) -> str:
        """The text of a formula."""
        return fold(part, self._box).text

    def _box(self, part: Part, below: tuple[Box, ...]) -> Box:
        kind = part.kind
        made = getattr(self, f"write_{_METHODS.get(kind, kind)}")(part, below)
        box: Box = made if isinstance(made, Box) else Box(made)
        if len(box.text) > MOST_CHARACTERS:
            return Box(self.glyph("…"), ATOM)
        return box if box.head else box._replace(head=kind)

    # What a subclass spells.

    def identifier(self, text: str) -> str:
        """A name's base: italic where it is one letter."""
        raise NotImplementedError

    def upright(self, text: str) -> str:
        """A word among symbols."""
        raise NotImplementedError

    def head(self, text: str) -> str:
        """The name of a function that is applied to something."""
        return self.upright(text)

    def verbatim(self, text: str) -> str:
        """A name as it is spelled."""
        return self.upright(text)

    def digits(self, text: str) -> str:
        """A number without sign or exponent."""
        return text

    def glyph(self, symbol: str) -> str:
        """A single symbol, given by its Unicode character."""
        raise NotImplementedError

    def row(self, *items: str) -> str:
        """Items side by side."""
        raise NotImplementedError

    def infix(self, left: str, symbol: str, right: str) -> str:
        """A symbol between two operands, with the space that belongs there."""
        return self.row(left, self.glyph(symbol), right)

    def beside(self, left: str, right: str) -> str:
        """Two factors without a sign between them."""
        return self.row(left, right)

    def enclosed(self, left: str, inside: str, right: str) -> str:
        """Brackets as high as what they enclose."""
        raise NotImplementedError

    def listed(self, items: Sequence[str]) -> str:
        """Items with commas between them."""
        raise NotImplementedError

    def over(self, top: str, bottom: str) -> str:
        """A fraction."""
        raise NotImplementedError

    def raised(self, base: str, exponent: str) -> str:
        """A superscript."""
        raise NotImplementedError

    def lowered(self, base: str, subscript: str) -> str:
        """A subscript."""
        raise NotImplementedError

    def radical(self, inside: str) -> str:
        """A square root."""
        raise NotImplementedError

    def barred(self, inside: str) -> str:
        """A bar over a symbol."""
        raise NotImplementedError

    def choice(self, value: str, condition: str, other: str) -> str:
        """One value where a condition holds, another elsewhere."""
        raise NotImplementedError

    # Where the pieces go.

    def bracketed(self, box: Box, least: int, *also: int) -> str:
        """A part in brackets, unless it binds at least as strongly as its place asks for."""
        if box.strength >= least or box.strength in also:
            return box.text
        return self.enclosed("(", box.text, ")")

    def write_name(self, part: Part, _: Sequence[Box]) -> Box:
        base, subscripts = split(part.text)
        return self.named(self.identifier(base), subscripts, "name")

    def named(self, text: str, subscripts: Sequence[str], head: str) -> Box:
        """A name from its base and subscripts."""
        if not subscripts:
            return Box(text, ATOM, head)
        listed = self.listed([self.subscript(one) for one in subscripts])
        return Box(self.lowered(text, listed), ATOM, "script")

    def subscript(self, text: str) -> str:
        """A name's subscript."""
        if text.isdecimal():
            return self.digits(text)
        return self.identifier(text) if len(text) == 1 else self.upright(text)

    def write_verbatim(self, part: Part, _: Sequence[Box]) -> str:
        return self.verbatim(part.text)

    def write_number(self, part: Part, _: Sequence[Box]) -> Box:
        mantissa, e, exponent = part.text.partition("e")
        if not e:
            return Box(self.digits(mantissa))
        sign = self.glyph("−") if exponent.startswith("-") else ""
        power = self.digits(exponent.lstrip("+-0") or "0")
        text = self.raised(self.digits("10"), self.row(sign, power) if sign else power)
        if mantissa == "1":
            return Box(text, POWER)
        return Box(self.infix(self.digits(mantissa), "·", text), PRODUCT)

    def write_word(self, part: Part, _: Sequence[Box]) -> str:
        return self.upright(part.text)

    def write_function(self, part: Part, _: Sequence[Box]) -> str:
        return self.head(part.text)

    def write_symbol(self, part: Part, _: Sequence[Box]) -> str:
        return self.glyph(part.text)

    def write_bar(self, part: Part, below: Sequence[Box]) -> Box:
        """The bar goes over the letter and not over its subscripts."""
        named = part.below[0]
        if named.kind != "name":
            return Box(self.barred(below[0].text))
        base, subscripts = split(named.text)
        text = self.barred(self.identifier(base))
        return self.named(text, subscripts, "bar")

    def write_plus(self, _: Part, below: Sequence[Box]) -> Box:
        left, right = below
        return Box(
            self.infix(self.bracketed(left, SUM), "+", self.bracketed(right, HADAMARD, BIG)), SUM
        )

    def write_minus(self, _: Part, below: Sequence[Box]) -> Box:
        left, right = below
        return Box(
            self.infix(self.bracketed(left, SUM), "−", self.bracketed(right, HADAMARD, BIG)), SUM
        )

    def write_neg(self, _: Part, below: Sequence[Box]) -> Box:
        inner = below[0]
        text = self.row(self.glyph("−"), self.bracketed(inner, HADAMARD, BIG))
        return Box(text, SUM if inner.strength == BIG else NEG, inner.head)

    def write_hadamard(self, part: Part, below: Sequence[Box]) -> Box:
        left, right = below
        text = self.infix(
            self.bracketed(left, HADAMARD, NEG), part.text, self.bracketed(right, PRODUCT, BIG)
        )
        return Box(text, _ends(left, HADAMARD, right))

    def write_scale(self, _: Part, below: Sequence[Box]) -> Box:
        """A scalar and what it multiplies; a number needs no sign before what doesn't begin with one."""
        left, right = below
        first = self.bracketed(left, PRODUCT, NEG)
        second = self.bracketed(right, HADAMARD, BIG)
        plain = left.head == "number" and right.head not in _LIKE_NUMBERS
        quiet = right.head in _QUIET and right.strength > HADAMARD and self.placed
        text = self.beside(first, second) if plain or quiet else self.infix(first, "·", second)
        # In brackets it is an atom.
        strength = min(PRODUCT, right.strength) if right.strength >= HADAMARD else PRODUCT
        return Box(text, _ends(left, strength, right), left.head)

    def write_matmul(self, _: Part, below: Sequence[Box]) -> Box:
        left, right = below
        first, second = self.bracketed(left, PRODUCT, NEG), self.bracketed(right, POWER)
        return Box(self.beside(first, second), _ends(left, PRODUCT, right), left.head)

    def write_fraction(self, _: Part, below: Sequence[Box]) -> Box:
        top, bottom = below
        if self.placed:
            return Box(self.over(top.text, bottom.text), self.fraction)
        first, second = self.bracketed(top, HADAMARD, NEG), self.bracketed(bottom, POWER)
        return Box(self.over(first, second), _ends(top, self.fraction, bottom))

    def write_power(self, _: Part, below: Sequence[Box]) -> Box:
        base, exponent = below
        second = exponent.text if self.placed else self.bracketed(exponent, ATOM)
        head = "power of a number" if base.head == "number" else ""
        return Box(self.raised(self.bracketed(base, ATOM), second), POWER, head)

    def write_mark(self, part: Part, below: Sequence[Box]) -> Box:
        marks = [self.glyph(mark) if mark != "1" else self.digits(mark) for mark in part.text]
        exponent = self.row(*marks) if len(marks) > 1 else marks[0]
        return Box(self.raised(self.bracketed(below[0], ATOM), exponent), POWER)

    def write_root(self, _: Part, below: Sequence[Box]) -> Box:
        text = below[0].text if self.placed else self.bracketed(below[0], ATOM)
        return Box(self.radical(text))

    def write_script(self, _: Part, below: Sequence[Box]) -> str:
        base, *subscripts = below
        text = self.bracketed(base, ATOM)
        return self.lowered(
            self.grouped(text, base.head), self.listed([s.text for s in subscripts])
        )

    def write_item(self, part: Part, below: Sequence[Box]) -> str:
        base, *subscripts = below
        inside = self.listed([s.text for s in subscripts])
        if part.text or not self.placed:
            return self.row(self.bracketed(base, ATOM), self.enclosed("[", inside, "]"))
        return self.lowered(self.grouped(self.bracketed(base, ATOM), base.head), inside)

    def write_field(self, part: Part, below: Sequence[Box]) -> str:
        text = self.bracketed(below[0], ATOM)
        return self.lowered(self.grouped(text, below[0].head), self.upright(part.text))

    def grouped(self, text: str, head: str) -> str:
        """A base that can take a subscript, though it has one already."""
        del head
        return text

    def write_fence(self, part: Part, below: Sequence[Box]) -> str:
        inside = self.listed([box.text for box in below])
        return self.enclosed(part.text, inside, _BRACKETS[part.text])

    def write_list(self, _: Part, below: Sequence[Box]) -> Box:
        return Box(self.listed([box.text for box in below]), ANY)

    def write_call(self, _: Part, below: Sequence[Box]) -> str:
        head, *args = below
        inside = self.listed([box.text for box in args])
        return self.row(head.text, self.enclosed("(", inside, ")"))

    def write_big(self, part: Part, below: Sequence[Box]) -> Box:
        body, *subscripts = below
        sign = self.glyph(part.text)
        if subscripts:
            sign = self.lowered(sign, self.listed([box.text for box in subscripts]))
        return Box(self.beside(sign, self.bracketed(body, HADAMARD)), BIG)

    def write_cases(self, _: Part, below: Sequence[Box]) -> Box:
        value, condition, other = (box.text for box in below)
        return Box(self.choice(value, condition, other), ANY)

    def write_relation(self, part: Part, below: Sequence[Box]) -> Box:
        left, right = below
        text = self.infix(self.bracketed(left, SUM), part.text, self.bracketed(right, SUM))
        return Box(text, RELATION)

    def write_and(self, _: Part, below: Sequence[Box]) -> Box:
        left, right = below
        text = self.infix(self.bracketed(left, AND), "∧", self.bracketed(right, AND))
        return Box(text, AND)

    def write_or(self, _: Part, below: Sequence[Box]) -> Box:
        left, right = below
        return Box(self.infix(self.bracketed(left, OR), "∨", self.bracketed(right, OR)), OR)

    def write_not(self, _: Part, below: Sequence[Box]) -> Box:
        return Box(self.row(self.glyph("¬"), self.bracketed(below[0], POWER)), POWER)

    def write_iverson(self, _: Part, below: Sequence[Box]) -> str:
        return self.indicator(self.enclosed("[", below[0].text, "]"))

    def indicator(self, brackets: str) -> str:
        """Iverson's brackets, with the one that often stands before them."""
        return self.row(self.glyph("𝟏"), brackets)

    def write_range(self, _: Part, below: Sequence[Box]) -> str:
        first, *rest = (box.text for box in below)
        for text in rest:
            first = self.row(first, self.glyph(":"), text)
        return first

    def write_keyword(self, part: Part, below: Sequence[Box]) -> Box:
        return Box(self.infix(self.upright(part.text), "=", below[0].text), ANY)


# Kinds whose names are no Python names.
_METHODS = {"+": "plus", "-": "minus"}
_LIKE_NUMBERS = frozenset({"number", "power of a number", "fraction"})
# What can stand beside a scalar without a sign between, as nothing begins with a bracket or a digit.
_QUIET = frozenset({"name", "script", "item", "bar", "fraction", "mark", "root", "symbol", "big"})


def _ends(left: Box, strength: int, right: Box) -> int:
    """The strength of a product, which a minus sign in front or a sum sign at the end weakens."""
    first, last = left.strength == NEG, right.strength == BIG
    if first and last:
        return SUM
    return NEG if first else BIG if last else strength
