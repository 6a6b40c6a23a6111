"""`gradcheck trace`: a check's graph, forward and back, step by step."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gradcheck_cli.cli.arguments import CheckName, InputShapes  # noqa: TC001 -- typer reads them

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.report.terminal import Terminal


def trace(
    what: Annotated[
        str,
        typer.Argument(
            metavar="FILE|EXPR",
            help="A spec file (FILE::NAME), or an expression.",
            show_default=False,
        ),
    ],
    inputs: InputShapes = None,
    check: CheckName = None,
    graph: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Draw the graph instead: mermaid, dot or tree."),
    ] = None,
) -> int:
    """Walk the graph: each node's value, grad_fn and local derivative, then the sweep back."""
    from gradcheck_cli.cli.target import names_a_file
    from gradcheck_cli.errors import ExitCode
    from gradcheck_cli.report.terminal import Terminal

    style = None if graph is None else _style(graph)
    cases = (
        _of_file(what, check)
        if names_a_file(what, inputs, check)
        else [_of_expression(what, inputs or ())]
    )
    terminal = Terminal(sys.stdout)
    if style is None:
        _walk(terminal, cases)
    else:
        _draw(terminal, cases, style)
    return ExitCode.PASSED


def _style(graph: str) -> str:
    from gradcheck_cli.errors import did_you_mean
    from gradcheck_cli.report.drawing import FORMATS
    from gradcheck_cli.suite.selection.values import misused

    if graph not in FORMATS:
        listed = f"choose from {', '.join(FORMATS)}"
        misused(f"--graph: there is no `{graph}`", did_you_mean(graph, FORMATS) or listed)
    return graph


def _of_file(what: str, check: str | None) -> list[Case]:
    from gradcheck_cli.cli.target import checks_of
    from gradcheck_cli.methods.case import prepare

    return [prepare(one) for one in checks_of(what, check)]


def _of_expression(text: str, inputs: Sequence[str]) -> Case:
    from gradcheck_cli.cli.target import asking_for_shapes, check_of, no_floating_input
    from gradcheck_cli.errors import GradcheckError
    from gradcheck_cli.methods.case import prepare

    check = check_of(text, inputs)
    try:
        case = prepare(check)
    except GradcheckError as error:
        raise asking_for_shapes(error) from error
    if not check.wrt:
        raise no_floating_input(text)
    return case


def _walk(terminal: Terminal, cases: Sequence[Case]) -> None:
    from gradcheck_cli.methods.walk import walk
    from gradcheck_cli.report.trace import show_walk

    for number, case in enumerate(cases):
        if number:
            terminal.blank()
        show_walk(terminal, walk(case), case.check)


def _draw(terminal: Terminal, cases: Sequence[Case], style: str) -> None:
    from gradcheck_cli.methods.walk import steps_of
    from gradcheck_cli.report.drawing import Drawing, draw

    draw(terminal, [Drawing(case.check.name, steps_of(case)) for case in cases], style)
