"""Formulas in one line of plain text, with the mathematical characters that Unicode has.

An adjoint, a letter with a bar elsewhere, is the name after a curly d: bars don't show well in terminals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.lang.typeset.style import HADAMARD, Style

if TYPE_CHECKING:
    from collections.abc import Sequence

_RAISED = str.maketrans("0123456789−+⊤", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺ᵀ")
_LOWERED = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
_CAN_RAISE = frozenset("0123456789−+⊤")
_GLYPHS = {"H": "ᴴ", "∗": "*"}


class Unicode(Style):
    """One line of text."""

    fraction = HADAMARD
    placed = False

    def identifier(self, text: str) -> str:
        return text

    def upright(self, text: str) -> str:
        return text

    def glyph(self, symbol: str) -> str:
        return _GLYPHS.get(symbol, symbol)

    def row(self, *items: str) -> str:
        return "".join(items)

    def infix(self, left: str, symbol: str, right: str) -> str:
        space = "" if symbol == "=" and left.isidentifier() else " "
        return f"{left}{space}{self.glyph(symbol)}{space}{right}"

    def beside(self, left: str, right: str) -> str:
        return f"{left} {right}"

    def enclosed(self, left: str, inside: str, right: str) -> str:
        return f"{left}{inside}{right}"

    def listed(self, items: Sequence[str]) -> str:
        return ", ".join(items)

    def over(self, top: str, bottom: str) -> str:
        return f"{top} / {bottom}"

    def raised(self, base: str, exponent: str) -> str:
        if exponent == "ᴴ" or _CAN_RAISE.issuperset(exponent):
            return base + exponent.translate(_RAISED)
        return f"{base}^{exponent}"

    def lowered(self, base: str, subscript: str) -> str:
        if subscript.isdecimal() and subscript.isascii():
            return base + subscript.translate(_LOWERED)
        return f"{base}_{subscript}" if subscript.isidentifier() else f"{base}[{subscript}]"

    def radical(self, inside: str) -> str:
        return f"√{inside}"

    def barred(self, inside: str) -> str:
        return f"∂{inside}"

    def indicator(self, brackets: str) -> str:
        return brackets

    def choice(self, value: str, condition: str, other: str) -> str:
        return f"{value} if {condition} else {other}"
