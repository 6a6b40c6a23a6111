"""Derived formulas as on paper: LaTeX, Markdown, Unicode in lines, HTML with MathML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Literal, TypeAlias

from gradcheck_cli.errors import printable
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.typeset import to_latex, to_mathml, to_unicode, typeset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.lang.typeset import StyleName
    from gradcheck_cli.methods.answer import Answer

PaperStyle: TypeAlias = Literal["latex", "unicode", "markdown", "mathml"]
_NOTATION: dict[PaperStyle, StyleName] = {
    "latex": "latex",
    "markdown": "latex",
    "unicode": "unicode",
    "mathml": "mathml",
}
# What means something in LaTeX's text.
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {char: f"\\{char}" for char in "&%$#_{}"}


def write_answers(answers: Sequence[Answer], style: PaperStyle) -> str:
    """All answers, each with what is to know of it.

    LaTeX is a part of a document's body that needs amsmath, Markdown has GitHub's `math` blocks, MathML is a
    part of an HTML page.
    """
    write = {"latex": _latex, "markdown": _markdown, "unicode": _unicode, "mathml": _mathml}[style]
    return "\n\n".join("\n".join(write(answer)) for answer in answers)


def _equations(answer: Answer, style: PaperStyle) -> Iterator[tuple[str, str]]:
    """Left and right side of every line, definitions first."""
    notation = _NOTATION[style]
    taken = answer.case.scope
    form = answer.form
    found = typeset(form.nodes, None, notation, taken)
    yield from found.let
    names = form.wrt if form.kind != "tangent" else ("",)
    for name, text in zip(names, found.texts, strict=True):
        yield _left(answer, name, notation), text
    if answer.matrices is not None:
        more = typeset(answer.matrices.nodes, None, notation, taken)
        yield from more.let
        for name, text in zip(answer.matrices.wrt, more.texts, strict=True):
            yield _hessian(name, notation), text


def _left(answer: Answer, name: str, notation: StyleName) -> str:
    """What a formula is equal to; the gradient of a contracted output is an adjoint, x with a bar."""
    kind, number = answer.form.kind, answer.case.output.ndim == 0
    written = _name(name or "f", notation)
    if kind == "hessian":
        product = {"latex": rf"(H v)_{{{written}}}", "unicode": f"(H v)[{written}]"}
        return product.get(notation, f"<msub><mrow><mi>H</mi><mi>v</mi></mrow>{written}</msub>")
    if kind == "tangent":
        dot = {"latex": r"\dot{f}", "unicode": "df"}
        return dot.get(notation, "<mover><mi>f</mi><mo>˙</mo></mover>")
    if number:
        fraction = {
            "latex": rf"\frac{{\partial f}}{{\partial {written}}}",
            "unicode": f"∂f/∂{written}",
        }
        above, below = "<mo>∂</mo><mi>f</mi>", f"<mo>∂</mo>{written}"
        markup = f"<mfrac><mrow>{above}</mrow><mrow>{below}</mrow></mfrac>"
        return fraction.get(notation, markup)
    bar = {"latex": rf"\bar{{{written}}}", "unicode": f"{written}\u0304"}
    return bar.get(notation, f"<mover>{written}<mo>¯</mo></mover>")


def _hessian(name: str, notation: StyleName) -> str:
    written = _name(name, notation)
    matrix = {"latex": rf"H_{{{written}}}", "unicode": f"H[{written}]"}
    return matrix.get(notation, f"<msub><mi>H</mi>{written}</msub>")


def _name(name: str, notation: StyleName) -> str:
    node = variable(name, ())
    if notation == "latex":
        return to_latex(node)
    if notation == "unicode":
        return to_unicode(node)
    return _inside(to_mathml(node))


def _inside(markup: str) -> str:
    """What stands within a `math` element."""
    return markup.partition(">")[2].removesuffix("</math>")


def _heading(answer: Answer) -> str:
    return printable(answer.title or answer.case.check.name)


def _aligned(answer: Answer, style: PaperStyle, environment: str) -> Iterator[str]:
    yield rf"\begin{{{environment}}}"
    rows = [f"{left} &= {right}" for left, right in _equations(answer, style)]
    yield from (f"{row} \\\\" for row in rows[:-1])
    yield rows[-1]
    yield rf"\end{{{environment}}}"


def _latex(answer: Answer) -> Iterator[str]:
    if answer.title is not None:
        title = "".join(_SPECIAL.get(char, char) for char in _heading(answer))
        yield rf"\paragraph{{{title}}}"
    yield from (f"% {printable(remark)}" for remark in answer.remarks)
    yield from _aligned(answer, "latex", "align*")


def _markdown(answer: Answer) -> Iterator[str]:
    if answer.title is not None:
        yield from (f"### {escape(_heading(answer))}", "")
    for remark in answer.remarks:
        yield f"- `{printable(remark).replace('`', ' ')}`"
    if answer.remarks:
        yield ""
    yield "```math"
    # GitHub refuses \\operatorname.
    for line in _aligned(answer, "markdown", "aligned"):
        yield line.replace("\\operatorname{", "\\mathrm{")
    yield "```"


def _unicode(answer: Answer) -> Iterator[str]:
    if answer.title is not None:
        yield f"# {_heading(answer)}"
    yield from (f"# {printable(remark)}" for remark in answer.remarks)
    yield from (f"{left} = {right}" for left, right in _equations(answer, "unicode"))


def _mathml(answer: Answer) -> Iterator[str]:
    if answer.title is not None:
        yield f"<h3>{escape(_heading(answer))}</h3>"
    for remark in answer.remarks:
        yield f"<p><code>{escape(printable(remark))}</code></p>"
    for left, right in _equations(answer, "mathml"):
        opening, inside = right.partition(">")[0], _inside(right)
        first = _inside(left) if left.startswith("<math") else left
        yield f"{opening}><mrow>{first}<mo>=</mo>{inside}</mrow></math>"
