"""Formulas in MathML Core, which browsers show without a script."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from gradcheck_cli.lang.typeset.style import Style

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.lang.typeset.parts import Part

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
_IDENTIFIERS = frozenset("∞π𝟏𝟎…HσΓψΦℜℑI")
_SPACE = '<mspace width="0.17em"/>'


class MathML(Style):
    """MathML: a formula is a `math` element."""

    def render(self, part: Part) -> str:
        """The element."""
        return f'<math xmlns="{NAMESPACE}">{super().render(part)}</math>'

    def identifier(self, text: str) -> str:
        return f"<mi>{escape(text)}</mi>"

    def upright(self, text: str) -> str:
        return f"<mtext>{escape(text)}</mtext>"

    def head(self, text: str) -> str:
        return f"<mi>{escape(text)}</mi>"

    def digits(self, text: str) -> str:
        return f"<mn>{escape(text)}</mn>"

    def glyph(self, symbol: str) -> str:
        kind = "mi" if symbol in _IDENTIFIERS else "mo"
        return f"<{kind}>{escape(symbol)}</{kind}>"

    def row(self, *items: str) -> str:
        return f"<mrow>{''.join(items)}</mrow>"

    def beside(self, left: str, right: str) -> str:
        return self.row(left, _SPACE, right)

    def enclosed(self, left: str, inside: str, right: str) -> str:
        return self.row(f"<mo>{left}</mo>", inside, f"<mo>{right}</mo>")

    def listed(self, items: Sequence[str]) -> str:
        return items[0] if len(items) == 1 else self.row("<mo>,</mo>".join(items))

    def over(self, top: str, bottom: str) -> str:
        return f"<mfrac>{top}{bottom}</mfrac>"

    def raised(self, base: str, exponent: str) -> str:
        return f"<msup>{base}{exponent}</msup>"

    def lowered(self, base: str, subscript: str) -> str:
        return f"<msub>{base}{subscript}</msub>"

    def radical(self, inside: str) -> str:
        return f"<msqrt>{inside}</msqrt>"

    def barred(self, inside: str) -> str:
        return f'<mover accent="true">{inside}<mo>¯</mo></mover>'

    def choice(self, value: str, condition: str, other: str) -> str:
        rows = "".join(
            f"<mtr><mtd>{cell}</mtd><mtd>{where}</mtd></mtr>"
            for cell, where in ((value, condition), (other, "<mtext>otherwise</mtext>"))
        )
        return self.row("<mo>{</mo>", f"<mtable>{rows}</mtable>")
