"""Derived formulas on the terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import cells, printable
from gradcheck_cli.graph import topological

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.answer import Answer
    from gradcheck_cli.methods.verify import Tried, Verification
    from gradcheck_cli.report.terminal import Terminal

FORMAT_VERSION = "1.0"
_INDENT = 4
# A line is broken within this share of its end where the brackets are not deeper than anywhere there.
_SHARE = 0.5
_OPENING, _CLOSING = "([{", ")]}"
# What stands on the line with its right operand.
_HOLDING = "*/@+-|&<>!"
_OPERATORS = tuple("*/@|&<>=!")


def show_answers(terminal: Terminal, answers: Sequence[Answer]) -> None:
    """The formulas of each answer under what is to know of them; definitions stand above."""
    for number, answer in enumerate(answers):
        if number:
            terminal.blank()
        if answer.title is not None:
            terminal.line((f"# {printable(answer.title)}", "bold"))
        for remark in answer.remarks:
            _remark(terminal, remark)
        _show_equations(terminal, answer.form.printed.let, ())
        _show_equations(
            terminal, (), zip(answer.left_sides, answer.form.printed.texts, strict=True)
        )
        if answer.matrices is not None:
            printed = answer.matrices.printed
            names = [f"H {name}" for name in answer.matrices.wrt]
            _show_equations(terminal, printed.let, zip(names, printed.texts, strict=True))


def _remark(terminal: Terminal, remark: str) -> None:
    text = f"# {printable(remark)}"
    if terminal.is_terminal:
        for line in wrapped(text, terminal.width, "#   "):
            terminal.line((line, "dim"))
    else:
        terminal.line((text, "dim"))


def _show_equations(
    terminal: Terminal,
    let: Iterable[tuple[str, str]],
    formulas: Iterable[tuple[str, str]],
) -> None:
    for name, text in let:
        _equation(terminal, printable(name), text)
    pairs = [(printable(name), text) for name, text in formulas]
    widest = max((cells(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        _equation(terminal, name + " " * (widest - cells(name)), text)


def _equation(terminal: Terminal, name: str, text: str) -> None:
    """One line where it is copied from a pipe; broken at spaces where a person reads it."""
    text = printable(text)
    if not terminal.is_terminal or cells(f"{name} = {text}") <= terminal.width:
        terminal.line((name, "bold"), " = ", (text, "cyan"))
        return
    first, *rest = wrapped(f"{name} = {text}", terminal.width, " " * _INDENT)
    terminal.line((name, "bold"), " = ", (first[len(name) + 3 :], "cyan"))
    for line in rest:
        terminal.line((line, "cyan"))


def wrapped(text: str, width: int, indent: str) -> Iterator[str]:
    """`text` in lines of at most `width` columns, broken at spaces, best where brackets are shallow.

    A line that has no such place is longer. All but the first begin with `indent`.

    >>> list(wrapped("x = a * (b + c) + d * (e + f)", 20, "  "))
    ['x = a * (b + c)', '  + d * (e + f)']
    """
    start = ""
    while cells(start + text) > width:
        at = _best_break(text, width - len(start))
        if at is None:
            break
        yield start + text[:at]
        text, start = text[at + 1 :], indent
    yield start + text


def _best_break(text: str, room: int) -> int | None:
    """The space to break a line at: in the second part of the line where there is one."""
    depth = 0
    spaces: list[tuple[int, int, int]] = []
    for position, char in enumerate(text[: room + 1]):
        depth += (char in _OPENING) - (char in _CLOSING)
        rank = _rank(text, position) if char == " " and position else None
        if rank is not None:
            spaces.append((depth, rank, -position))
    late = [space for space in spaces if -space[2] >= _SHARE * room]
    chosen = min(late or spaces, default=None)
    return None if chosen is None else -chosen[2]


def _rank(text: str, position: int) -> int | None:
    """How bad a break at a space is: before a sign, before another operator, elsewhere; None: never."""
    after, before = text[position + 1 : position + 3], text[position - 1]
    if after == "**" or before in _HOLDING:
        return None
    if before == "=":
        return 3
    if after[:1] in ("+", "-"):
        return 0
    return 1 if after[:1] in _OPERATORS else 2


def to_json(answers: Sequence[Answer]) -> dict[str, Any]:
    """The answers as plain data: the format is in the README."""
    return {"format_version": FORMAT_VERSION, "answers": [_answer(answer) for answer in answers]}


def _answer(answer: Answer) -> dict[str, Any]:
    case, form = answer.case, answer.form
    gradients = list(_formulas(answer, form.kind, form.nodes, form.printed.texts, form.wrt))
    data = {
        "name": case.check.name,
        "file": case.check.file,
        "line": case.check.line if case.check.file else None,
        "expression": case.check.expression.text,
        "shape": list(case.output.shape),
        "order": 2 if form.kind == "hessian" else 1,
        "kind": form.kind,
        "inputs": [
            {"name": name, "shape": list(node.shape), "dtype": node.dtype.name}
            for name, node in case.variables.items()
        ],
        "directions": dict(form.directions),
        "given": [{"name": name, "formula": text} for name, text in answer.let],
        "let": [{"name": name, "formula": text} for name, text in form.printed.let],
        "gradients": gradients,
        "assumptions": [{"formula": a.text, "why": a.why or "given"} for a in form.assumptions],
        "verified": _verified(answer.verified),
        "remarks": list(answer.remarks),
    }
    if answer.matrices is not None:
        more = answer.matrices
        data["hessians"] = {
            "let": [{"name": name, "formula": text} for name, text in more.printed.let],
            "formulas": list(
                _formulas(answer, more.kind, more.nodes, more.printed.texts, more.wrt)
            ),
        }
    return data


def _formulas(
    answer: Answer, kind: str, nodes: Sequence[Expr], texts: Sequence[str], wrt: Sequence[str]
) -> Iterator[dict[str, Any]]:
    from gradcheck_cli.lang.typeset import to_latex

    names = wrt if kind != "tangent" else [None]
    for name, node, text in zip(names, nodes, texts, strict=True):
        yield {
            "input": name,
            "shape": list(node.shape if name is None else answer.case.variables[name].shape),
            "formula": text,
            "latex": to_latex(node),
            "nodes": len(topological([node], sizes=True)),
        }


def _verified(verified: Verification) -> dict[str, Any]:
    return {
        "own_sizes": any(not point.other_sizes for point in verified.tried),
        "other_sizes": verified.is_general,
        "equal_sizes": verified.equal_sizes or None,
        "points": [_point(point) for point in verified.tried],
        "notes": list(verified.notes),
    }


def _point(point: Tried) -> dict[str, Any]:
    return {
        "seed": point.seed,
        "shapes": {name: list(shape) for name, shape in point.sizes.items()},
        "other_sizes": point.other_sizes,
        "rules": True,
        "numeric": point.numeric,
        "torch": point.torch,
    }
