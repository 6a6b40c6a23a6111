"""A derivation on paper: as text in PyTorch's syntax, Unicode, LaTeX, Markdown, or HTML with MathML."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Literal

from gradcheck_cli.calculus.derive import with_names
from gradcheck_cli.errors import cells
from gradcheck_cli.graph import Expr, const, topological, variable
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.lang.typeset import STYLES, shared
from gradcheck_cli.lang.typeset.build import UPSTREAM, Writer
from gradcheck_cli.report.numbers import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck_cli.calculus.stages import Form
    from gradcheck_cli.calculus.steps import Adjoint, Definition, Derivation

DerivationStyle = Literal["text", "unicode", "latex", "markdown", "mathml"]
_WIDTH = 100
# Formulas up to this width leave room for a comment beside them, in the same column for all.
_MOST_BESIDE = 60
# A last form that is longer is written with definitions for what it repeats.
_MOST_UNSHARED = 160
# A result of more nodes is left out: the lines of the chain rule say it in less. Some of these are named.
_MOST_NODES = 150
_MOST_LEFT_OUT = 4
# Of the rewrites between two forms, so many are told.
_MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class Line:
    """What a quantity equals, and why; one without a name goes on with the line before.

    `joint` is `=`, or `+` before a further term.
    """

    name: str
    joint: str
    right: Expr
    comment: str = ""


@dataclass(frozen=True, slots=True)
class Block:
    """A heading, a sentence of words and formulas, and lines."""

    title: str
    sentence: tuple[str | Expr, ...]
    lines: tuple[Line, ...]


def write_steps(derivation: Derivation, style: DerivationStyle, width: int = _WIDTH) -> str:
    """The whole derivation; text and Unicode are wrapped to `width` columns.

    LaTeX is a part of a document's body that needs amsmath, Markdown has GitHub's `math` blocks (between
    dollar signs GitHub takes some of the backslashes for Markdown's), MathML is a part of an HTML page.
    """
    blocks = [block for block in _blocks(derivation, style) if block.lines or block.sentence]
    return {
        "text": _plain,
        "unicode": _plain,
        "latex": _latex,
        "markdown": _markdown,
        "mathml": _mathml,
    }[style](_Formulas(derivation, blocks, style), blocks, width)


# What there is to say.


def _blocks(found: Derivation, style: DerivationStyle) -> Iterator[Block]:
    yield Block("Definitions", tuple(_given(found)), _defined(found.forward))
    chain = (line for one in found.backward for line in _terms(one))
    yield Block("Chain rule", tuple(_about(found)), (*_upstream(found, style), *chain))
    if found.further:
        sentence = "Defined in the check."
        yield Block("Names", (sentence,), _defined(found.further))
    taken, told = _names(found), set[str]()
    short = [one for one in found.gradients if _is_short(one.forms[-1].node)]
    lines = tuple(line for one in short for line in _forms(one.name, one.forms, taken, told))
    long = [one.name for one in found.gradients if one not in short]
    yield Block("Result", (*_assumed(found), *_left_out(long)), lines)


def _is_short(node: Expr) -> bool:
    return len(topological([node], sizes=True)) <= _MOST_NODES


def _left_out(names: Sequence[str]) -> Iterator[str | Expr]:
    """That some results are told by the chain rule alone."""
    if not names:
        return
    yield "Longer in closed form than by the chain rule: "
    shown = names[:_MOST_LEFT_OUT]
    for index, name in enumerate(shown):
        yield from ((", " if index else ""), _symbol(name))
    others = len(names) - len(shown)
    yield f" and {count(others, 'other')}." if others else "."


def _names(found: Derivation) -> set[str]:
    names = {node.attributes["name"] for node in found.inputs}
    names.update(line.name for line in (*found.forward, *found.further))
    names.update(line.name for line in found.backward)
    return names


def _symbol(name: str) -> Expr:
    return variable(name, ())


def _given(found: Derivation) -> Iterator[str | Expr]:
    yield "Given "
    for index, node in enumerate(found.inputs):
        if index:
            yield " and " if index == len(found.inputs) - 1 else ", "
        yield _symbol(node.attributes["name"])
        yield f" of shape {node.shape}" if node.ndim else ", a number"
    yield "."


def _about(found: Derivation) -> Iterator[str | Expr]:
    output = _symbol(found.output)
    yield from (_symbol(f"{_prefix(found)}u"), " stands for the derivative of ")
    if found.upstream.node.op.name == "ones":
        yield from (output, " with respect to ", _symbol("u"), ".")
    else:
        yield from ("a loss with respect to ", _symbol("u"), "; that with respect to ", output)
        yield " is given."


def _prefix(found: Derivation) -> str:
    return found.upstream.name.removesuffix(found.output)


def _assumed(found: Derivation) -> Iterator[str | Expr]:
    for index, fact in enumerate(found.facts):
        yield ", " if index else "Assuming "
        yield fact
    if found.facts:
        yield "."


def _upstream(found: Derivation, style: DerivationStyle) -> tuple[Line, ...]:
    start: Definition = found.upstream
    if start.node.op.name == "ones":
        return (Line(start.name, "=", const(1), "where the sweep begins"),)
    if style == "text":
        return (Line(start.name, "=", start.node, "upstream gradient"),)
    return ()


def _terms(line: Adjoint) -> Iterator[Line]:
    if len(line.terms) == 1:
        yield Line(line.name, "=", line.terms[0].node, line.terms[0].rule)
        return
    for index, term in enumerate(line.terms):
        total = "" if index else f"total derivative, {len(line.terms)} uses; "
        comment = f"{total}from {term.user}: {term.rule}"
        yield Line("" if index else line.name, "+" if index else "=", term.node, comment)


def _defined(definitions: Sequence[Definition]) -> tuple[Line, ...]:
    return tuple(Line(line.name, "=", line.node) for line in definitions)


def _forms(name: str, forms: Sequence[Form], taken: set[str], told: set[str]) -> Iterator[Line]:
    """A gradient's forms; of the rewrites between them those that weren't `told` before."""
    *before, last = forms
    for index, form in enumerate(before):
        comment = _reasons(form, told) if index else "substituted"
        yield Line("" if index else name, "=", form.node, comment)
    comment = _reasons(last, told) if before else ""
    if len(to_text(last.node)) <= _MOST_UNSHARED:
        one = last.node.op.name == "ones" and last.node.ndim == 0
        yield Line("" if before else name, "=", const(1) if one else last.node, comment)
        return
    let = shared([last.node], {}, taken)
    named: dict[Expr, Expr] = {}
    for short, node in let:
        yield Line(short, "=", _with(node, named), "defined for what follows")
        named[node] = variable(short, node.shape, node.dtype)
    yield Line(name, "=", _with(last.node, named), comment)


def _with(node: Expr, named: dict[Expr, Expr]) -> Expr:
    """The node with what is named replaced by its name."""
    return with_names([node], {n: v.attributes["name"] for n, v in named.items()})[0]


def _reasons(form: Form, told: set[str]) -> str:
    new = [reason for reason in form.reasons if reason not in told]
    told.update(new)
    if not new:
        return "likewise" if form.reasons else "simplified"
    return "; ".join([*new[:_MOST_REASONS], *(["..."] if len(new) > _MOST_REASONS else [])])


# How it is written.


class _Formulas:
    """The formulas of a derivation in one style, each name written in one way throughout."""

    def __init__(self, found: Derivation, blocks: Sequence[Block], style: DerivationStyle) -> None:
        self.write: Callable[[Expr], str] = to_text
        if style != "text":
            render = STYLES["latex" if style == "markdown" else style]().render
            lines = [line for block in blocks for line in block.lines]
            said = [part for block in blocks for part in block.sentence if isinstance(part, Expr)]
            bars = {f"{_prefix(found)}u": "u", **found.bars, UPSTREAM: found.output}
            nodes = [*(line.right for line in lines), *said]
            writer = Writer(nodes, {}, bars, [line.name for line in lines if line.name])
            self.write = lambda node: render(writer.write(node))

    def rows(self, block: Block) -> list[tuple[str, str, str, str]]:
        """Name, joint, formula and comment of each line; of forms that look the same on paper the first."""
        rows: list[tuple[str, str, str, str]] = []
        for line in block.lines:
            text = self.write(line.right)
            if rows and not line.name and line.joint == "=" and text == rows[-1][2]:
                name, joint, *_ = rows.pop()
                rows.append((name, joint, text, "" if name else line.comment))
                continue
            name = self.write(_symbol(line.name)) if line.name else ""
            rows.append((name, line.joint, text, line.comment))
        return rows

    def sentence(self, block: Block, left: str, right: str, words: Callable[[str], str]) -> str:
        """The block's sentence, its formulas between `left` and `right`."""
        return "".join(
            f"{left}{self.write(part)}{right}" if isinstance(part, Expr) else words(part)
            for part in block.sentence
        )


def _plain(formulas: _Formulas, blocks: Sequence[Block], width: int) -> str:
    parts: list[str] = []
    for block in blocks:
        parts += [block.title, "-" * len(block.title)]
        if block.sentence:
            parts += textwrap.wrap(formulas.sentence(block, "", "", str), width)
        rows = formulas.rows(block)
        indent = max((cells(name) for name, *_ in rows), default=0)
        beside = [cells(text) for _, _, text, _ in rows if cells(text) <= _MOST_BESIDE]
        column = max(beside, default=0)
        for name, joint, text, comment in rows:
            head = f"  {name}{' ' * (indent - cells(name))} {joint} "
            parts += _row(head, text, comment, column, width)
        parts.append("")
    return "\n".join(parts)


def _row(head: str, text: str, comment: str, column: int, width: int) -> list[str]:
    """A formula with its comment beside it, or below where there is no room."""
    space = " " * cells(head)
    note = f"# {comment}" if comment else ""
    if cells(text) <= column and cells(head) + column + 2 + len(note) <= width:
        return [f"{head}{text}{' ' * (column - cells(text) + 2)}{note}".rstrip()]
    room = max(width - cells(head), 20)
    lines = _wrapped(text, room)
    notes = [f"{space}{line}" for line in _wrapped(note, room)] if note else []
    return [f"{head}{lines[0]}", *(f"{space}{line}" for line in lines[1:]), *notes]


def _wrapped(text: str, room: int) -> list[str]:
    wrapper = textwrap.TextWrapper(
        room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return wrapper.wrap(text) or [""]


def _latex(formulas: _Formulas, blocks: Sequence[Block], width: int) -> str:
    del width
    parts: list[str] = []
    for block in blocks:
        sentence = formulas.sentence(block, "$", "$", _latex_text)
        parts.append(f"\\paragraph{{{block.title}.}} {sentence}".rstrip())
        parts += _aligned(formulas, block, "align*", _latex_text)
    return "\n".join(parts) + "\n"


def _markdown(formulas: _Formulas, blocks: Sequence[Block], width: int) -> str:
    del width
    parts: list[str] = []
    for block in blocks:
        parts += [f"### {block.title}", ""]
        if block.sentence:
            parts += [formulas.sentence(block, "$`", "`$", str), ""]
        if block.lines:
            parts += ["```math", *_aligned(formulas, block, "aligned", _math_text), "```", ""]
    # GitHub refuses \operatorname.
    return "\n".join(parts).replace("\\operatorname{", "\\mathrm{")


def _aligned(
    formulas: _Formulas, block: Block, environment: str, words: Callable[[str], str]
) -> list[str]:
    rows: list[str] = []
    for name, joint, text, comment in formulas.rows(block):
        sign = "&=" if joint == "=" else "&\\quad +"
        note = f" && \\text{{{words(comment)}}}" if comment else ""
        rows.append(f"  {name} {sign} {text}{note}")
    if not rows:
        return []
    return [f"\\begin{{{environment}}}", " \\\\\n".join(rows), f"\\end{{{environment}}}"]


_LATEX_TEXT = {
    **{character: f"\\{character}" for character in "_#%&${}"},
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    "<": "$<$",
    ">": "$>$",
}


def _latex_text(text: str) -> str:
    return "".join(_LATEX_TEXT.get(character, character) for character in text)


def _math_text(text: str) -> str:
    """Words within a formula on a web page: MathJax knows no further escapes there."""
    return "".join(f"\\{c}" if c in "${}\\" else c for c in text)


def _mathml(formulas: _Formulas, blocks: Sequence[Block], width: int) -> str:
    del width
    parts = ['<section class="derivation">']
    for block in blocks:
        parts.append(f"<h3>{escape(block.title)}</h3>")
        if block.sentence:
            parts.append(f"<p>{formulas.sentence(block, '', '', escape)}</p>")
        if block.lines:
            parts.append("<table>")
            for name, joint, text, comment in formulas.rows(block):
                cellsof = (name, joint, text, escape(comment))
                parts.append(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cellsof)}</tr>")
            parts.append("</table>")
    return "\n".join([*parts, "</section>"]) + "\n"
