"""Formulas in LaTeX, for amsmath and for MathJax or KaTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.lang.typeset.names import GREEK
from gradcheck_cli.lang.typeset.style import Style

if TYPE_CHECKING:
    from collections.abc import Sequence

# Functions that LaTeX sets by itself.
_KNOWN = frozenset(
    "arccos arcsin arctan cos cosh det exp log max min sin sinh tan tanh".split()  # noqa: SIM905
)
# Control words end at the next character that is no letter: the space after them makes no space.
_GLYPHS = {
    "−": "-", "·": "\\cdot", "⊙": "\\odot", "⊗": "\\otimes", "×": "\\times", "≤": "\\le",
    "≥": "\\ge", "≠": "\\ne", "<": "<", ">": ">", "=": "=", "+": "+", "∧": "\\land", "∨": "\\lor",
    "¬": "\\lnot", "∞": "\\infty", "π": "\\pi", "⊤": "\\top", "∑": "\\sum", "∏": "\\prod",
    "𝟏": "\\mathbf{1}", "𝟎": "\\mathbf{0}", "…": "\\ldots", "†": "\\dagger", "∗": "\\ast",
    "H": "\\mathsf{H}", "mod": "\\bmod", ":": "{:}", "→": "\\to", "σ": "\\sigma", "Γ": "\\Gamma",
    "ψ": "\\psi", "Φ": "\\Phi", "ℜ": "\\Re", "ℑ": "\\Im", "I": "I", "N": "N",
}  # fmt: skip
_LETTERS = {letter: f"\\{name}" for name, letter in GREEK.items() if name not in ("eps", "lamda")}
_LETTERS.update({"ε": "\\varepsilon"})
_ESCAPES = {
    **{character: f"\\{character}" for character in "_#%&${}"},
    "\\": "\\backslash{}",
    "^": "\\hat{\\ }",
    "~": "\\sim{}",
}
_FENCES = {"|": ("\\lvert", "\\rvert"), "‖": ("\\lVert", "\\rVert")}
_ROUNDED = {"⌊": "\\lfloor", "⌋": "\\rfloor", "⌈": "\\lceil", "⌉": "\\rceil"}
# What is higher than a line of text, so that brackets around it have to grow.
_HIGH = ("\\frac", "\\begin", "\\sum", "\\prod", "\\sqrt", "\\left")


class Latex(Style):
    """LaTeX."""

    def identifier(self, text: str) -> str:
        if text in _LETTERS:
            return _LETTERS[text]
        return text if len(text) == 1 else self.upright(text)

    def upright(self, text: str) -> str:
        return f"\\mathrm{{{escaped(text)}}}"

    def verbatim(self, text: str) -> str:
        return f"\\mathtt{{{escaped(text)}}}"

    def head(self, text: str) -> str:
        if text in _KNOWN:
            return f"\\{text}"
        return _GLYPHS.get(text) or f"\\operatorname{{{escaped(text)}}}"

    def glyph(self, symbol: str) -> str:
        return _GLYPHS[symbol]

    def row(self, *items: str) -> str:
        text = ""
        for item in items:
            joint = " " if _is_word_end(text) and item[:1].isalpha() else ""
            text += joint + item
        return text

    def infix(self, left: str, symbol: str, right: str) -> str:
        return f"{left} {self.glyph(symbol) if symbol in _GLYPHS else symbol} {right}"

    def beside(self, left: str, right: str) -> str:
        """Words side by side need a space between them, which symbols don't."""
        words = left.endswith("}") and right.startswith(("\\mathrm", "\\operatorname", "\\mathtt"))
        return f"{left} \\, {right}" if words else f"{left} {right}"

    def enclosed(self, left: str, inside: str, right: str) -> str:
        opening = _FENCES[left][0] if left in _FENCES else _ROUNDED.get(left, left)
        closing = _FENCES[right][1] if right in _FENCES else _ROUNDED.get(right, right)
        if any(mark in inside for mark in _HIGH):
            return f"\\left{opening} {inside} \\right{closing}"
        return self.row(self.row(opening, inside), closing)

    def listed(self, items: Sequence[str]) -> str:
        return ", ".join(items)

    def over(self, top: str, bottom: str) -> str:
        return f"\\frac{{{top}}}{{{bottom}}}"

    def raised(self, base: str, exponent: str) -> str:
        return f"{base}^{{{exponent}}}"

    def lowered(self, base: str, subscript: str) -> str:
        return f"{base}_{{{subscript}}}"

    def grouped(self, text: str, head: str) -> str:
        return (
            f"{{{text}}}" if head in ("script", "item", "field", "call", "mark", "power") else text
        )

    def radical(self, inside: str) -> str:
        return f"\\sqrt{{{inside}}}"

    def barred(self, inside: str) -> str:
        letter = len(inside) == 1 or (inside[:1] == "\\" and inside[1:].isalpha())
        return f"\\bar{{{inside}}}" if letter else f"\\overline{{{inside}}}"

    def choice(self, value: str, condition: str, other: str) -> str:
        rows = f"{value} & {condition} \\\\ {other} & \\text{{otherwise}}"
        return f"\\begin{{cases}} {rows} \\end{{cases}}"


def escaped(text: str) -> str:
    r"""Text without characters that LaTeX takes for commands.

    >>> print(escaped("x_1 & 50%"))
    x\_1 \& 50\%
    """
    return "".join(_ESCAPES.get(character, character) for character in text)


def _is_word_end(text: str) -> bool:
    """Whether text ends with a control word, to which a letter would be added."""
    name = text.rpartition("\\")[2]
    return "\\" in text and name.isalpha()
