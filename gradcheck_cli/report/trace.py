"""A walk through a graph on the terminal: forward node by node, back gradient by gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rich.text import Text

from gradcheck_cli.errors import cells, printable
from gradcheck_cli.report.numbers import count, listing, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.calculus.trace import Arrival, Sent, Step
    from gradcheck_cli.methods.walk import Summary, Walk
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.spec.check import Check

_T = TypeVar("_T")

_INDENT = 2
_DETAIL = 6
_DIGITS = 4
_ROUNDING = 1e-13
# The first and the last of more steps than this are shown.
_MOST_STEPS = 200
_MOST_LINES = 20
_MOST_SENDERS = 8
_MOST_SENT = 12
# Longer formulas lose their middle.
_MOST_CHARACTERS = 400


def show_walk(terminal: Terminal, walk: Walk, check: Check) -> None:
    """The whole walk of one check."""
    where = f"values in float64, seed {check.seed}"
    if check.file is not None:
        terminal.line((printable(check.name), "bold"))
        where = f"{printable(check.file)}:{check.line}   {where}"
    terminal.line((where, "dim"), indent=_INDENT)
    terminal.blank()
    terminal.verbatim(check.expression.text, "bold", indent=2 * _INDENT)
    _forward(terminal, walk)
    origin = check.cotangent if isinstance(check.cotangent, str) else check.cotangent.text
    _backward(terminal, walk, origin)
    _gradients(terminal, walk)


def _forward(terminal: Terminal, walk: Walk) -> None:
    steps, left_out = _ends(walk.trace.forward)
    _heading(terminal, "forward", "value, grad_fn, and what it will send back to its arguments")
    for step in steps:
        if step is None:
            _gap(terminal, left_out)
            continue
        name = (printable(step.name), "bold")
        if step.text is None:
            _entry(terminal, Text.assemble(name, ("   input", "dim")))
        else:
            _entry(terminal, Text.assemble(name, " = ", (_cut(terminal, step.text), "cyan")))
        summary = walk.values[step.name]
        _detail(terminal, Text(f"{shape_text(summary.shape)} {summary.dtype}   {told(summary)}"))
        _detail(terminal, _grad_fn(step))
        _all_sent(terminal, step.rules)


def _grad_fn(step: Step) -> Text:
    if step.grad_fn is None:
        return Text("grad_fn None", "dim")
    return Text.assemble(("grad_fn ", "dim"), (step.grad_fn, "magenta"))


def _all_sent(terminal: Terminal, several: Sequence[Sent]) -> None:
    for sent in several[:_MOST_SENT]:
        _detail(terminal, _sent(terminal, sent))
    if len(several) > _MOST_SENT:
        more = (
            f"{terminal.glyphs.ellipsis} and to {count(len(several) - _MOST_SENT, 'argument')} more"
        )
        _detail(terminal, Text(more, "dim"))


def _sent(terminal: Terminal, sent: Sent) -> Text:
    text = Text.assemble(
        (f"{printable(sent.to)}.grad += ", "dim"), (_cut(terminal, sent.text), "cyan")
    )
    if sent.summed:
        dims = listing([str(dim) for dim in sent.summed])
        noun = "dim" if len(sent.summed) == 1 else "dims"
        text.append(f"   broadcast undone: summed over {noun} {dims}", "yellow")
    return text


def _backward(terminal: Terminal, walk: Walk, origin: str) -> None:
    arrivals, left_out = _ends([a for a in walk.trace.backward if a.step.text is not None])
    if not arrivals:
        return
    _heading(terminal, "backward", "each gradient once it is complete, and what its grad_fn sends")
    if walk.cotangent is not None:
        text = Text.assemble(("grad", "bold"), ("   the upstream gradient: ", "dim"))
        _entry(terminal, text.append(_cut(terminal, origin)))
        _detail(terminal, _told(walk.cotangent))
    for arrival in arrivals:
        if arrival is None:
            _gap(terminal, left_out)
            continue
        name = arrival.step.name
        _entry(terminal, _complete(terminal, arrival))
        _detail(terminal, _told(walk.gradients[name]))
        if arrival.sent:
            _detail(terminal, Text(arrival.step.grad_fn or "", "magenta"))
        _all_sent(terminal, arrival.sent)


def _complete(terminal: Terminal, arrival: Arrival) -> Text:
    """A gradient with its closed form, and whose parts make it up where they are several."""
    text = Text.assemble((f"{printable(arrival.step.name)}.grad", "bold"))
    if arrival.text is not None:
        text.append(" = ")
        text.append(_cut(terminal, arrival.text), "cyan")
    if len(arrival.senders) > 1 or arrival.text is None:
        text.append(f"   {_origin(arrival.senders)}", "yellow")
    return text


def _origin(senders: Sequence[str]) -> str:
    names = [printable(name) for name in senders]
    if len(names) > _MOST_SENDERS:
        names = [*names[:_MOST_SENDERS], f"{len(names) - _MOST_SENDERS:,} others"]
    return f"{'accumulates' if len(senders) > 1 else 'is'} what {listing(names)} sent"


def _gradients(terminal: Terminal, walk: Walk) -> None:
    _heading(terminal, "gradients", "of the inputs, in closed form")
    arrivals = {arrival.step.name: arrival for arrival in walk.trace.backward}
    for name, formula in walk.formulas.items():
        head = Text.assemble((f"{printable(name)}.grad", "bold"))
        lines = formula.splitlines()
        if len(lines) == 1:
            head.append(" = ")
            head.append(printable(formula), "cyan")
        # Not broken: it is there to be copied.
        terminal.line(head, indent=_INDENT)
        if len(lines) > 1:
            _definitions(terminal, lines)
        if name not in arrivals:
            _detail(terminal, Text("no gradient arrives: zeros", "yellow"))
            continue
        if len(arrivals[name].senders) > 1:
            _detail(terminal, Text(_origin(arrivals[name].senders), "yellow"))
        _detail(terminal, _told(walk.gradients[name]))


def _definitions(terminal: Terminal, lines: Sequence[str]) -> None:
    """A formula of several lines; of a long one the end, which says what it is."""
    left_out = max(0, len(lines) - _MOST_LINES)
    if left_out:
        text = f"{terminal.glyphs.ellipsis} {count(left_out, 'definition')}: `gradcheck derive`"
        terminal.line((f"{text} prints all", "dim"), indent=_DETAIL)
    for line in lines[left_out:]:
        terminal.line((_cut(terminal, line), "cyan"), indent=_DETAIL)


def _told(summary: Summary) -> Text:
    return Text(f"{shape_text(summary.shape)}   {told(summary)}")


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape in a sentence.

    >>> shape_text((3, 8)), shape_text(())
    ('3x8', 'number')
    """
    return "x".join(map(str, shape)) or "number"


def told(summary: Summary) -> str:
    """An array's numbers, or what they have in common.

    >>> from gradcheck_cli.methods.walk import Summary
    >>> told(Summary((2, 8), "float64", 16, low=-1.0, mean=0.25, high=2.0, nan=1))
    'mean 0.25, from -1 to 2, 1 NaN'
    """
    if not summary.elements:
        return "no elements"
    if summary.numbers is not None:
        return _nested(summary.numbers, summary.shape)
    if summary.true is not None:
        return f"{summary.true:,} of {summary.elements:,} True"
    parts = []
    if summary.low is not None and summary.low == summary.high:
        whole = not (summary.nan or summary.infinite)
        parts.append(f"{'all' if whole else 'the others'} {plain(summary.low, _DIGITS)}")
    elif summary.low is not None and summary.mean is not None and summary.high is not None:
        # A mean that is rounding alone is zero.
        noise = _ROUNDING * max(abs(summary.low), abs(summary.high))
        mean = plain(summary.mean if abs(summary.mean) > noise else 0.0, _DIGITS)
        low, high = plain(summary.low, _DIGITS), plain(summary.high, _DIGITS)
        parts.append(f"mean {mean}, from {low} to {high}")
    if summary.nan:
        parts.append(f"{summary.nan:,} NaN")
    if summary.infinite:
        parts.append(f"{summary.infinite:,} infinite")
    return ", ".join(parts)


def _nested(numbers: Sequence[float], shape: tuple[int, ...]) -> str:
    """Numbers in the brackets that PyTorch puts around them."""
    parts = [str(n) if isinstance(n, bool) else plain(n, _DIGITS) for n in numbers]
    for size in reversed(shape):
        rows = range(0, len(parts), size)
        parts = [f"[{', '.join(parts[row : row + size])}]" for row in rows]
    return parts[0]


def _ends(steps: Sequence[_T]) -> tuple[list[_T | None], int]:
    """The steps to show, None standing for those left out, and how many these are."""
    if len(steps) <= _MOST_STEPS:
        return [*steps], 0
    half = _MOST_STEPS // 2
    return [*steps[:half], None, *steps[-half:]], len(steps) - 2 * half


def _heading(terminal: Terminal, title: str, about: str) -> None:
    terminal.blank()
    _wrapped(terminal, Text.assemble((title, "bold underline"), (f"   {about}", "dim")), 0, 4)


def _gap(terminal: Terminal, left_out: int) -> None:
    text = f"{terminal.glyphs.ellipsis} {count(left_out, 'step')} left out"
    terminal.line((text, "dim"), indent=_INDENT)


def _entry(terminal: Terminal, text: Text) -> None:
    _wrapped(terminal, text, _INDENT, 8)


def _detail(terminal: Terminal, text: Text) -> None:
    _wrapped(terminal, text, _DETAIL, 4)


def _wrapped(terminal: Terminal, text: Text, indent: int, hanging: int) -> None:
    if cells(text.plain) + indent <= terminal.width:
        terminal.line(text, indent=indent)
    else:
        terminal.paragraph(text, indent=indent, hanging=hanging)


def _cut(terminal: Terminal, text: str) -> str:
    return terminal.cut(printable(text[: 4 * _MOST_CHARACTERS]), _MOST_CHARACTERS)
