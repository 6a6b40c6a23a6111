"""`gradcheck derive`: the closed form of a gradient."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from gradcheck_cli.cli.arguments import CheckName, InputShapes  # noqa: TC001 -- typer reads them

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.lang.printer import Printed


def derive(
    what: Annotated[
        str,
        typer.Argument(
            metavar="EXPR|FILE",
            help="An expression, or a spec file (FILE::NAME).",
            show_default=False,
        ),
    ],
    inputs: InputShapes = None,
    check: CheckName = None,
    wrt: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only the gradient of this input.")
    ] = None,
) -> int:
    """Print the gradient as a formula, ready to paste under `manual:`."""
    from gradcheck_cli.cli.target import names_a_file
    from gradcheck_cli.errors import ExitCode

    if names_a_file(what, inputs, check):
        _of_file(what, check, wrt or ())
    else:
        _of_expression(what, inputs or (), wrt or ())
    return ExitCode.PASSED


def _of_file(what: str, check: str | None, wrt: Sequence[str]) -> None:
    from gradcheck_cli.calculus.derive import derive as closed_form
    from gradcheck_cli.cli.target import checks_of
    from gradcheck_cli.methods.case import prepare

    checks = checks_of(what, check)
    _chosen(wrt, [name for one in checks for name in one.wrt])
    for one in checks:
        names = [name for name in one.wrt if not wrt or name in wrt]
        if not names:
            continue
        case = prepare(one)
        let = {case.scope[name]: name for name in case.let}
        nodes = [case.variables[name] for name in names]
        formulas = closed_form(case.output, nodes, case.upstream, let, taken=case.scope)
        title = one.name if len(checks) > 1 else None
        _show(title, dict(zip(names, formulas, strict=True)), case.output)


def _of_expression(text: str, inputs: Sequence[str], wrt: Sequence[str]) -> None:
    from gradcheck_cli.calculus.derive import derive as closed_form
    from gradcheck_cli.cli.target import asking_for_shapes, no_floating_input, variables
    from gradcheck_cli.errors import GradcheckError, Source
    from gradcheck_cli.graph import INPUT, topological, variable
    from gradcheck_cli.lang.build import build
    from gradcheck_cli.lang.parse import parse

    source = Source(text)
    scope = variables(inputs)
    try:
        output = build(parse(source), scope)
    except GradcheckError as error:
        raise asking_for_shapes(error) from error
    used = [n.attributes["name"] for n in topological([output], sizes=True) if n.op is INPUT]
    floating = [name for name in scope if name in used and scope[name].dtype.is_floating]
    names = _chosen(wrt, floating)
    if not names:
        raise no_floating_input(text)
    upstream = variable("grad", output.shape)
    formulas = closed_form(output, [scope[name] for name in names], upstream, taken=scope)
    _show(None, dict(zip(names, formulas, strict=True)), output)


def _chosen(wrt: Sequence[str], names: Sequence[str]) -> list[str]:
    from gradcheck_cli.cli.options import misused
    from gradcheck_cli.errors import did_you_mean

    for name in wrt:
        if name not in names:
            listed = f"choose from {', '.join(dict.fromkeys(names))}" if names else None
            misused(f"--wrt: no gradient flows to `{name}`", did_you_mean(name, names) or listed)
    return [name for name in names if not wrt or name in wrt]


def _show(title: str | None, formulas: dict[str, Printed], output: Expr) -> None:
    from gradcheck_cli.report.formulas import show_formulas
    from gradcheck_cli.report.terminal import Terminal

    show_formulas(
        Terminal(sys.stdout), title, {n: str(f) for n, f in formulas.items()}, output.shape
    )
