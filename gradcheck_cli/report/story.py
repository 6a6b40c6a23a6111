"""The full story of one check: its table per input, who is wrong, what kind of mistake, how to reproduce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from gradcheck_cli.errors import cells, excerpt, printable
from gradcheck_cli.report.heatmap import show_errors
from gradcheck_cli.report.numbers import listing, pair, ratio, short

if TYPE_CHECKING:
    from gradcheck_cli.errors import Where
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.verdict.outcome import (
        CheckOutcome,
        Diagnosis,
        GradientOutcome,
        MethodOutcome,
    )

_INDENT, _GAP = 2, 3
_SHARED_RULES = frozenset({"engine", "derived"})
_ONE_WITNESS = "engine and derived share rules: together they are one witness."
# The columns of numbers, the first that fit. Where the worst element has none, it has a sentence.
_LAYOUTS = (
    ("error/allowance", "max abs", "max rel", "mismatched", "worst at", "value", "expected"),
    ("error/allowance", "max abs", "max rel", "mismatched"),
    ("error/allowance", "mismatched"),
    ("error/allowance",),
)
_STYLES = {
    "agrees": "green",
    "disagrees": "bold red",
    "undecided": "yellow",
    "unavailable": "dim",
}


def tell(
    terminal: Terminal,
    outcome: CheckOutcome,
    title: Text,
    *,
    full: bool,
    whole: bool = False,
    pictures: bool = True,
) -> None:
    """Everything that is known of a check, under its title.

    Unless `full`, inputs on which all methods agree have one line in a check that has others. Unless `whole`,
    derived formulas lose their middle where they don't fit the width. With `pictures`, where a gradient is
    wrong is drawn.
    """
    terminal.paragraph(title, hanging=_INDENT)
    for line in _place(outcome, terminal.width - _INDENT):
        terminal.line((line, "dim"), indent=_INDENT)
    if outcome.expression and (outcome.error is None or outcome.error.where is None):
        terminal.blank()
        terminal.verbatim(outcome.expression, "bold", indent=2 * _INDENT)
    if outcome.implementation and (outcome.error is None or outcome.error.where is None):
        terminal.blank()
        terminal.line(
            "implementation ", (printable(outcome.implementation), "bold"), indent=2 * _INDENT
        )
    for problem in (outcome.error, *outcome.also):
        if problem is not None:
            terminal.blank()
            terminal.problem(problem, indent=_INDENT)
    told: set[str] = set()
    right = [] if full else [g for g in outcome.gradients if _unanimous(g)]
    if len(right) == len(outcome.gradients):
        right = []
    for gradient in outcome.gradients:
        if gradient not in right:
            _gradient(terminal, outcome, gradient, told, whole=whole, pictures=pictures)
    if right:
        terminal.blank()
        mark = (f"{terminal.glyphs.passed} ", "green")
        names = listing([printable(gradient.input) for gradient in right])
        terminal.paragraph(
            Text.assemble(mark, "no disagreement on ", (names, "bold")), indent=_INDENT, hanging=2
        )
    for diagnosis in outcome.diagnoses:
        _diagnosis(terminal, diagnosis)
    _undiagnosed(terminal, outcome)
    if outcome.reproduce and outcome.status in ("failed", "inconclusive"):
        terminal.blank()
        terminal.line(("reproduce with", "dim"), indent=_INDENT)
        terminal.verbatim(outcome.reproduce, "cyan", indent=2 * _INDENT)
    terminal.blank()


def _place(outcome: CheckOutcome, columns: int) -> list[str]:
    """Where it stands and what it was run with: on one line, if there is room."""
    where = printable(outcome.file or "<expression>")
    if outcome.line is not None:
        where += f":{outcome.line}"
    how = f"{outcome.dtype} on {outcome.device}, seed {outcome.seed}"
    line = f"{where}   {how}"
    return [line] if cells(line) <= columns else [where, how]


def _gradient(
    terminal: Terminal,
    outcome: CheckOutcome,
    gradient: GradientOutcome,
    told: set[str],
    *,
    whole: bool,
    pictures: bool,
) -> None:
    """One input's gradient; `told` are the sentences that hold for the whole check and are said once."""
    terminal.blank()
    shape = "a number" if gradient.shape == () else "x".join(map(str, gradient.shape))
    second = ", second derivative" if gradient.order != 1 else ""
    what = f"   {shape}{second}"
    name = terminal.cut(printable(gradient.input), terminal.width - _INDENT - len(what))
    terminal.line((name, "bold"), (what, "dim"), indent=_INDENT)
    columns = _table(terminal, gradient)
    for method in gradient.methods:
        _remark(terminal, method, wide="worst at" in columns)
    for sentence in votes(gradient, passed=outcome.status == "passed"):
        if sentence not in told:
            terminal.paragraph(sentence, indent=2 * _INDENT, hanging=2)
        if sentence == _ONE_WITNESS:
            told.add(sentence)
    if gradient.equal:
        pairs = ", ".join(" = ".join(names) for names in equal_classes(gradient.equal))
        terminal.paragraph(f"bitwise equal: {pairs}", indent=2 * _INDENT, hanging=2)
    if gradient.smallest_visible_error is not None and len(gradient.groups) == 1:
        terminal.paragraph(visible(gradient), indent=2 * _INDENT, hanging=2)
    if pictures:
        show_errors(terminal, gradient, 2 * _INDENT)
    if gradient.derived:
        _derived(terminal, gradient, whole=whole)


def visible(gradient: GradientOutcome) -> str:
    """What the agreement is worth: the error that would have broken it."""
    error = short(gradient.smallest_visible_error)
    relative = gradient.smallest_visible_relative_error
    aside = ", rounding aside" if gradient.rounding_aside else ""
    if not gradient.shape:
        return f"an error above {error} would show{aside}"
    share = f" ({short(relative)} of the largest)" if relative else ""
    return f"an error above {error} in any one element would show{share}{aside}"


def _unanimous(gradient: GradientOutcome) -> bool:
    """Whether nothing speaks against it; a method that gave no gradient says nothing."""
    return all(method.status in ("agrees", "unavailable") for method in gradient.methods)


def _table(terminal: Terminal, gradient: GradientOutcome) -> tuple[str, ...]:
    """Write a row for each method, with the first layout that fits; the columns of its numbers."""
    header = {name: (name, "dim") for name in ("verdict", *_LAYOUTS[0])}
    header["method"] = (" " * 2 * _INDENT + "method", "dim")
    rows = [header, *(_row(terminal, gradient, method) for method in gradient.methods)]
    widths = {name: max(cells(row[name][0]) for row in rows) for name in header}
    for layout in _LAYOUTS:
        shown, gap = ("method", "verdict", *layout), _GAP
        if sum(widths[name] + gap for name in shown) - gap <= terminal.width:
            break
    else:
        gap = 1
    for row in rows:
        parts = []
        for name in shown:
            text, style = row[name]
            room = " " * (widths[name] - cells(text))
            cell = f"{room}{text}" if name in layout else f"{text}{room}"
            parts += [(cell, style), (" " * gap, style if row is header else "")]
        terminal.line(*parts[:-1])
    return layout


def _row(
    terminal: Terminal, gradient: GradientOutcome, method: MethodOutcome
) -> dict[str, tuple[str, str]]:
    """A method's texts with their styles, by column."""
    mark = {
        "agrees": terminal.glyphs.passed,
        "disagrees": terminal.glyphs.failed,
        "undecided": terminal.glyphs.undecided,
        "unavailable": terminal.glyphs.absent,
    }[method.status]
    is_reference = method.method == gradient.reference and method.status == "agrees"
    style = _STYLES["disagrees"] if method.status == "disagrees" else ""
    row = {name: (text, style) for name, text in _numbers(method).items()}
    row["method"] = (" " * 2 * _INDENT + method.method, "")
    verdict = "reference" if is_reference else method.status
    row["verdict"] = (f"{mark} {verdict}", _STYLES[method.status])
    return row


def _numbers(method: MethodOutcome) -> dict[str, str]:
    """What the table can show of a method, by column."""
    value, expected = pair(method.value, method.expected, exact=method.status != "agrees")
    mismatched = f"{method.mismatched}/{method.elements}" if method.elements else "-"
    row = (
        ratio(method.error_over_allowance),
        short(method.max_abs_error),
        short(method.max_rel_error),
        mismatched,
        _index(method),
        value,
        expected,
    )
    return dict(zip(_LAYOUTS[0], row, strict=True))


def _index(method: MethodOutcome) -> str:
    return "-" if method.worst_index is None else str(list(method.worst_index))


def _remark(terminal: Terminal, method: MethodOutcome, *, wide: bool) -> None:
    """What the row couldn't hold: the worst element of what disagrees, and why something is missing."""
    sentence = ""
    if method.status in ("disagrees", "undecided") and method.worst_index is not None and not wide:
        value, expected = pair(method.value, method.expected)
        at = f"at {_index(method)} " if method.worst_index else ""
        sentence = f"{at}it is {value} where {expected} is expected"
    if method.reason:
        sentence += ("; " if sentence else "") + printable(method.reason)
    if sentence:
        text = Text.assemble((method.method, "bold"), ": ", sentence)
        terminal.paragraph(text, indent=2 * _INDENT, hanging=2)


def votes(gradient: GradientOutcome, *, passed: bool) -> list[str]:
    """Who is the outlier, what agrees with what, and what that is worth."""
    split = len(gradient.groups) > 1
    if not split and not gradient.outliers and (passed or _unanimous(gradient)):
        return []
    sentences = []
    together = [group for group in gradient.groups if len(group) > 1]
    witnesses = f"{listing(together[0])} agree" if together else ""
    if gradient.outliers:
        noun = "is the outlier" if len(gradient.outliers) == 1 else "are the outliers"
        sentence = f"{listing(gradient.outliers)} {noun}"
        sentences.append(f"{sentence}; {witnesses}." if witnesses else f"{sentence}.")
    elif witnesses:
        others = [group for group in gradient.groups if group != together[0]]
        more = "".join(f"; {listing(group)} {_against(group)}" for group in others)
        sentences.append(f"{witnesses}{more}.")
    if any(group and {*group} >= _SHARED_RULES for group in (*gradient.groups, gradient.outliers)):
        sentences.append(_ONE_WITNESS)
    return sentences


def _against(group: tuple[str, ...]) -> str:
    return "stands alone" if len(group) == 1 else "agree, but not with those"


def equal_classes(pairs: tuple[tuple[str, str], ...]) -> list[list[str]]:
    """Pairs joined into classes: a = b and b = c is a = b = c."""
    classes: list[list[str]] = []
    for a, b in pairs:
        joined = [found for found in classes if a in found or b in found]
        rest = [found for found in classes if found not in joined]
        names = [name for found in joined for name in found]
        classes = [*rest, [*names, *(name for name in (a, b) if name not in names)]]
    return classes


def _derived(terminal: Terminal, gradient: GradientOutcome, *, whole: bool) -> None:
    """The closed form, within the width unless it is to be `whole`; what it assumes stands before it."""
    lines = (gradient.derived or "").splitlines()
    label = "derived formula"
    if gradient.assuming:
        assuming = f"{label}, assuming {printable(', '.join(gradient.assuming))}"
        terminal.paragraph(f"{assuming}:", indent=2 * _INDENT, hanging=2)
    indent = 2 * _INDENT
    if len(lines) == 1 and not gradient.assuming:
        text = printable(lines[0])
        if whole or cells(text) <= terminal.width - indent - len(label) - 2:
            terminal.line((f"{label}: ", ""), (text, "cyan"), indent=indent)
            return
    if not gradient.assuming:
        terminal.line(f"{label}:", indent=indent)
    indent += _INDENT
    room = terminal.width - indent
    shortened = False
    for line in map(printable, lines):
        shown = line if whole else terminal.cut(line, room)
        shortened |= shown != line
        terminal.line((shown, "cyan"), indent=indent)
    if shortened:
        terminal.line(("--full shows all of it", "dim"), indent=indent)


def _diagnosis(terminal: Terminal, diagnosis: Diagnosis) -> None:
    terminal.blank()
    about = " of ".join(filter(None, (diagnosis.method, diagnosis.input)))
    text = Text.assemble((diagnosis.code, "bold yellow"), " ", printable(diagnosis.message))
    if about and (diagnosis.method or "") not in diagnosis.message:
        text.append(f" ({printable(about)})", "dim")
    terminal.paragraph(text, indent=_INDENT, hanging=6)
    if diagnosis.where is not None:
        _caret(terminal, diagnosis.where)
    if diagnosis.fix:
        terminal.line(("   = fix: ", "green"), (printable(diagnosis.fix), "green"), indent=_INDENT)
    if diagnosis.difference:
        terminal.line(
            "   = right - yours: ", (printable(diagnosis.difference), "cyan"), indent=_INDENT
        )
    if diagnosis.operator and diagnosis.operator not in diagnosis.message:
        terminal.line("   = operator: ", (printable(diagnosis.operator), "bold"), indent=_INDENT)
    for other in diagnosis.also:
        words = Text.assemble("   = or ", (other.code, "yellow"), f" {printable(other.message)}")
        if other.fix:
            words.append(f"; fix: {printable(other.fix)}")
        terminal.paragraph(words, indent=_INDENT, hanging=5)


def _undiagnosed(terminal: Terminal, outcome: CheckOutcome) -> None:
    """A caret at the manual formulas that are wrong, where no diagnosis has drawn one."""
    shown = {d.input for d in outcome.diagnoses if d.where is not None}
    for gradient in outcome.gradients:
        wrong = any(m.method == "manual" and m.status == "disagrees" for m in gradient.methods)
        where = outcome.manual.get(gradient.input)
        if wrong and where is not None and gradient.input not in shown:
            terminal.blank()
            terminal.paragraph(
                f"the manual formula for {printable(gradient.input)} disagrees", indent=_INDENT
            )
            _caret(terminal, where)
            shown.add(gradient.input)


def _caret(terminal: Terminal, where: Where) -> None:
    terminal.line((f"  --> {printable(str(where))}", "dim"), indent=_INDENT)
    shown = excerpt(where, max(40, min(terminal.width, 120) - 8))
    if shown is not None:
        line, carets = shown
        terminal.line(("   | ", "dim"), line, indent=_INDENT)
        terminal.line(("   | ", "dim"), (carets, "bold red"), indent=_INDENT)
