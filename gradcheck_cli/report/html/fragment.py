"""A report as a piece of HTML for a notebook's cell: no script, no style sheet, colours for light and dark.

The page that `--report html` writes is another thing: this one shows a few checks, and unfolds by `details`.
"""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import TYPE_CHECKING

from gradcheck_cli.errors import printable
from gradcheck_cli.report.html.data import worst_of
from gradcheck_cli.report.html.formulas import ELEMENTS, TOKENS, Formulas, Scope, Tree
from gradcheck_cli.report.numbers import count, pair, ratio, short
from gradcheck_cli.report.numbers import seconds as duration
from gradcheck_cli.report.story import equal_classes, visible, votes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.errors import Problem, Where
    from gradcheck_cli.verdict.outcome import (
        CheckOutcome,
        Diagnosis,
        GradientOutcome,
        MethodOutcome,
    )

# Of more checks only so many are listed, those that are not right first, and fewer are told in full.
_MOST_ROWS, _MOST_STORIES = 200, 20
_LONGEST = 2_000
_QUIET = ("passed", "skipped")
_TITLES = {
    "passed": ("✓", "passed", "#1d8348"),
    "failed": ("✗", "failed", "#d43a3a"),
    "inconclusive": ("?", "inconclusive", "#a76b00"),
    "error": ("✗", "error", "#b04ac4"),
    "skipped": ("–", "skipped", "#7d7d7d"),  # noqa: RUF001 -- the dash is meant
}
_MARKS = {"agrees": "passed", "disagrees": "failed", "undecided": "inconclusive"}
_LINE = "1px solid rgba(128,128,128,.35)"
_CELL = f"padding:.15em .7em;border:0;border-bottom:{_LINE};background:none;vertical-align:top"
_MONO = "font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace"
_TAGS = {letter: tag for tag, letter in (TOKENS | ELEMENTS).items()}


def fragment(outcomes: Sequence[CheckOutcome], seconds: float) -> str:
    """The checks, with their totals. No text of theirs becomes markup."""
    ranked = sorted(outcomes, key=lambda outcome: outcome.status in _QUIET)
    stories = [o for o in ranked if len(outcomes) == 1 or o.status not in _QUIET]
    writer = _Writer()
    parts = [_summary(outcomes, seconds)]
    if len(outcomes) > 1:
        parts.append(_overview(ranked[:_MOST_ROWS], len(outcomes)))
    parts += (writer.story(outcome) for outcome in stories[:_MOST_STORIES])
    if len(stories) > _MOST_STORIES:
        parts.append(_line(f"... and {count(len(stories) - _MOST_STORIES, 'more check')}"))
    style = "font-size:.95em;line-height:1.5;max-width:64em;text-align:left"
    return f'<div class="gradcheck-report" style="{style}">{"".join(parts)}</div>'


def _text(value: object, longest: int = _LONGEST) -> str:
    text = "" if value is None else str(value)
    text = text if len(text) <= longest else f"{text[: longest - 3]}..."
    return escape("\n".join(map(printable, text.split("\n"))))


def _line(text: str, style: str = "opacity:.75") -> str:
    return f'<div style="{style}">{_text(text)}</div>'


def _code(text: object) -> str:
    style = f"{_MONO};white-space:pre-wrap;background:none;color:inherit;padding:0"
    return f'<code style="{style}">{_text(text)}</code>'


def _badge(status: str, *, word: str | None = None) -> str:
    glyph, title, colour = _TITLES[status]
    return f'<b style="color:{colour};white-space:nowrap">{glyph} {_text(word or title)}</b>'


def _summary(outcomes: Sequence[CheckOutcome], seconds: float) -> str:
    numbers = Counter(outcome.status for outcome in outcomes)
    parts = []
    for status, (_, word, _) in _TITLES.items():
        number = numbers[status]  # type: ignore[index]
        if number:
            words = "errors" if status == "error" and number > 1 else word
            parts.append(_badge(status, word=f"{number:,} {words}"))
    said = ", ".join(parts) or "no checks"
    return f'<div>{said} <span style="opacity:.75">in {duration(seconds)}</span></div>'


def _row(cells: Sequence[str], *, head: bool = False) -> str:
    tag, scope = ("th", ' scope="col"') if head else ("td", "")
    aligned = ("left", "left", *["right;white-space:nowrap"] * 4, *["left"] * (len(cells) - 6))
    return "".join([
        "<tr>",
        *(
            f'<{tag}{scope} style="{_CELL};text-align:{align}">{cell}</{tag}>'
            for cell, align in zip(cells, aligned, strict=False)
        ),
        "</tr>",
    ])  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    style = "border-collapse:collapse;margin:.3em 0;font-variant-numeric:tabular-nums"
    body = "".join(map(_row, rows))
    return (
        f'<div style="overflow-x:auto"><table style="{style}"><thead>'
        f"{_row(head, head=True)}</thead><tbody>{body}</tbody></table></div>"
    )


def _overview(outcomes: Sequence[CheckOutcome], total: int) -> str:
    rows = [
        [
            _badge(outcome.status),
            _text(outcome.short_name, 200) + _expected(outcome),
            _text(outcome.dtype),
            _text(outcome.device),
            "" if outcome.expected_failure else ratio(worst_of(outcome)),
            duration(outcome.seconds),
        ]
        for outcome in outcomes
    ]
    table = _table(["status", "check", "dtype", "device", "error/allowance", "time"], rows)
    left = total - len(outcomes)
    return table + (_line(f"... and {count(left, 'more check')}") if left else "")


def _expected(outcome: CheckOutcome) -> str:
    if not outcome.expected_failure:
        return ""
    return ", fails as expected" if outcome.status == "passed" else ", was to fail"


class _Writer:
    """The stories of checks; formulas that several of them share are typeset once."""

    def __init__(self) -> None:
        self._formulas = Formulas()

    def story(self, outcome: CheckOutcome) -> str:
        """One check, unfolded."""
        known = tuple((given.name, given.shape, given.dtype) for given in outcome.inputs)
        scope = self._formulas.scope(known, tuple(outcome.let.items()), outcome.expression)
        title = f"{_badge(outcome.status)} <b>{_text(outcome.short_name, 200)}</b>"
        place = f"{outcome.file}:{outcome.line}, " if outcome.file else ""
        facts = f"{outcome.dtype} on {outcome.device}, seed {outcome.seed}{_expected(outcome)}"
        parts = [_line(place + facts)]
        for name, text in outcome.let.items():
            parts.append(self._shown(text, self._formulas.definition(scope, name), f"let {name}"))
        if outcome.expression:
            numbers = self._formulas.value(scope, outcome.expression)
            parts.append(self._shown(outcome.expression, numbers))
        problems = (outcome.error, *outcome.also)
        parts += (_problem(problem) for problem in problems if problem is not None)
        parts += (self._gradient(outcome, scope, gradient) for gradient in outcome.gradients)
        parts += (self._diagnosis(scope, diagnosis) for diagnosis in outcome.diagnoses)
        if outcome.reproduce:
            parts.append(f"<div>reproduce with {_code(outcome.reproduce)}</div>")
        body = "".join(parts)
        style = f"margin:.6em 0;padding-left:.8em;border-left:{_LINE.replace('1px', '3px')}"
        return (
            f'<details open style="{style}"><summary style="cursor:pointer">{title}</summary>'
            f"{body}</details>"
        )

    def _shown(self, text: str, numbers: tuple[int, ...], label: str = "") -> str:
        """A text as a formula, with the text below it; alone where it can't be typeset."""
        formulas = ("".join(_markup(self._formulas.trees[number])) for number in numbers)
        lines = "".join(
            f'<div style="margin:.25em 0"><math>{formula}</math></div>' for formula in formulas
        )
        begin = f"{_text(label)}: " if label else ""
        style = "margin:.4em 0;overflow-x:auto"
        small = f'<div style="font-size:.9em">{begin}{_code(text)}</div>'
        return f'<div style="{style}">{lines}{small}</div>'

    def _gradient(self, outcome: CheckOutcome, scope: Scope, gradient: GradientOutcome) -> str:
        shape = "x".join(map(str, gradient.shape)) or "a number"
        second = ", second derivative" if gradient.order != 1 else ""
        title = f'<div style="margin-top:.5em"><b>{_text(gradient.input)}</b>'
        title += f'<span style="opacity:.75">, {_text(shape)}{second}</span></div>'
        head = ["method", "verdict", "error/allowance", "max abs", "max rel", "mismatched", "worst"]
        rows = [_method(method, gradient.reference) for method in gradient.methods]
        if not any(row[-1] for row in rows):
            head, rows = head[:-1], [row[:-1] for row in rows]
        parts = [title, _table(head, rows)]
        parts += map(_line, votes(gradient, passed=outcome.status == "passed"))
        if gradient.equal:
            pairs = ", ".join(" = ".join(names) for names in equal_classes(gradient.equal))
            parts.append(_line(f"bitwise equal: {pairs}"))
        if gradient.smallest_visible_error is not None and len(gradient.groups) == 1:
            parts.append(_line(visible(gradient)))
        if gradient.derived:
            names = [given.name for given in outcome.inputs if given.checked]
            order = gradient.order
            known = scope if order == 1 else self._formulas.second(scope, names)
            numbers = self._formulas.gradient(known, gradient.input, gradient.derived, order)
            label = "derived formula"
            if gradient.assuming:
                label += f", assuming {', '.join(gradient.assuming)}"
            parts.append(self._shown(gradient.derived, numbers, label))
        return "".join(parts)

    def _diagnosis(self, scope: Scope, diagnosis: Diagnosis) -> str:
        about = " of ".join(filter(None, (diagnosis.method, diagnosis.input)))
        known = not about or (diagnosis.method or "") in diagnosis.message
        message = diagnosis.message if known else f"{diagnosis.message} ({about})"
        parts = [_heading(diagnosis.code, message, "inconclusive"), _caret(diagnosis.where)]
        if diagnosis.fix:
            numbers = self._formulas.alone(scope, diagnosis.fix)
            parts.append(self._shown(diagnosis.fix, numbers, "fix"))
        for other in diagnosis.also:
            fix = f"; fix: {other.fix}" if other.fix else ""
            parts.append(_line(f"or {other.code} {other.message}{fix}"))
        return "".join(parts)


def _method(method: MethodOutcome, reference: str | None) -> list[str]:
    is_reference = method.method == reference and method.status == "agrees"
    worst = ""
    if method.worst_index is not None and method.status in ("disagrees", "undecided"):
        value, expected = pair(method.value, method.expected)
        at = f"at {list(method.worst_index)}: " if method.worst_index else ""
        worst = f"{at}{value}, expected {expected}"
    if method.reason:
        worst += ("; " if worst else "") + method.reason
    return [
        _text(method.method),
        _badge(
            _MARKS.get(method.status, "skipped"),
            word="reference" if is_reference else method.status,
        ),
        ratio(method.error_over_allowance),
        short(method.max_abs_error),
        short(method.max_rel_error),
        f"{method.mismatched}/{method.elements}" if method.elements else "-",
        _text(worst),
    ]


def _problem(problem: Problem) -> str:
    hint = _line(f"help: {problem.hint}") if problem.hint else ""
    return _heading(problem.code, problem.message, "error") + _caret(problem.where) + hint


def _heading(code: str, message: str, kind: str) -> str:
    colour = _TITLES[kind][2]
    label = f'<b style="color:{colour}">{_text(code)}</b>'
    return f'<div style="margin-top:.4em">{label} {_text(message)}</div>'


def _caret(where: Where | None) -> str:
    """The line of text, with what is wrong in it underlined."""
    if where is None or where.source is None or where.column is None:
        return ""
    start = where.column - 1
    before, under = where.source[:start], where.source[start : start + where.width]
    after = where.source[start + where.width :]
    style = f"{_MONO};white-space:pre-wrap;background:none;color:inherit;padding:0 0 0 1em"
    wavy = f"text-decoration:underline wavy {_TITLES['failed'][2]}"
    marked = f'<span style="{wavy}">{_text(under)}</span>'
    return f'<div><code style="{style}">{_text(before)}{marked}{_text(after)}</code></div>'


def _markup(tree: Tree) -> Iterator[str]:
    """A formula of `Formulas` as MathML."""
    if isinstance(tree, str):
        tag = _TAGS[tree[0]]
        yield f"<{tag}>{escape(tree[1:])}</{tag}>"
        return
    tag = _TAGS[tree[0]]
    yield '<mspace width="0.17em">' if tag == "mspace" else f"<{tag}>"
    for child in tree[1:]:
        yield from _markup(child)
    yield f"</{tag}>"
