"""`gradcheck derive`: the closed form of a gradient."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.errors import Problem
    from gradcheck_cli.graph import Expr
    from gradcheck_cli.lang.printer import Printed
    from gradcheck_cli.spec.check import Check

_MOST_DIGITS = 18


def derive(
    what: Annotated[
        str,
        typer.Argument(
            metavar="EXPR|FILE",
            help="An expression, or a spec file (FILE::NAME).",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "-i",
            "--input",
            metavar="NAME=SHAPE",
            help="As in x=3,8; x= is a number; target=8:int64.",
        ),
    ] = None,
    check: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which check of the file.")
    ] = None,
    wrt: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only the gradient of this input.")
    ] = None,
) -> int:
    """Print the gradient as a formula, ready to paste under `manual:`."""
    from gradcheck_cli.cli.options import misused
    from gradcheck_cli.errors import ExitCode

    if _is_file(what):
        if inputs:
            misused("-i goes with an expression; a spec file has its own inputs", "leave -i out")
        _of_file(f"{what}::{check}" if check is not None else what, wrt or ())
    else:
        if check is not None:
            misused("--check goes with a spec file, and this is an expression", "leave it out")
        _of_expression(what, inputs or (), wrt or ())
    return ExitCode.PASSED


def _is_file(what: str) -> bool:
    from gradcheck_cli.suite.collect import STDIN, SUFFIXES

    path = what.partition("::")[0]
    return what == STDIN or path.lower().endswith(SUFFIXES) or os.path.exists(path)  # noqa: PTH110


def _of_file(what: str, wrt: Sequence[str]) -> None:
    from gradcheck_cli.calculus.derive import derive as closed_form
    from gradcheck_cli.cli.running import show_notes
    from gradcheck_cli.errors import GradcheckError
    from gradcheck_cli.methods.case import prepare
    from gradcheck_cli.suite.collect import collect

    found = collect([what])
    show_notes(found.notes)
    if found.problems:
        raise GradcheckError(*found.problems)
    checks = _distinct(found.checks)
    _chosen(wrt, [name for check in checks for name in check.wrt])
    for check in checks:
        names = [name for name in check.wrt if not wrt or name in wrt]
        if not names:
            continue
        case = prepare(check)
        let = {case.scope[name]: name for name in case.let}
        nodes = [case.variables[name] for name in names]
        formulas = closed_form(case.output, nodes, case.upstream, let, taken=case.scope)
        title = check.name if len(checks) > 1 else None
        _show(title, dict(zip(names, formulas, strict=True)), case.output)


def _distinct(checks: Sequence[Check]) -> list[Check]:
    """Checks without their siblings in other dtypes and sizes: formulas hold for any."""
    return list({(check.file, check.line): check for check in reversed(checks)}.values())[::-1]


def _of_expression(text: str, inputs: Sequence[str], wrt: Sequence[str]) -> None:
    from dataclasses import replace

    from gradcheck_cli.calculus.derive import derive as closed_form
    from gradcheck_cli.errors import GradcheckError, Problem, Source
    from gradcheck_cli.graph import INPUT, topological, variable
    from gradcheck_cli.lang.build import build
    from gradcheck_cli.lang.parse import parse

    source = Source(text)
    scope = _variables(inputs)
    try:
        output = build(parse(source), scope)
    except GradcheckError as error:
        hint = "every input needs its shape, as in -i x=3,8"
        raise GradcheckError(
            *(replace(p, hint=hint) if _is_unknown(p) else p for p in error.problems)
        ) from error
    used = [n.attributes["name"] for n in topological([output], sizes=True) if n.op is INPUT]
    floating = [name for name in scope if name in used and scope[name].dtype.is_floating]
    names = _chosen(wrt, floating)
    if not names:
        message = "the expression has no floating-point input"
        raise GradcheckError(Problem("GC024", message, source.where(), "give one, as in -i x=3,8"))
    upstream = variable("grad", output.shape)
    formulas = closed_form(output, [scope[name] for name in names], upstream, taken=scope)
    _show(None, dict(zip(names, formulas, strict=True)), output)


def _is_unknown(problem: Problem) -> bool:
    """Whether an input without a shape is to blame, and not a slip of the pen."""
    return problem.code == "GC012" and not (problem.hint or "").startswith("did you mean")


def _variables(inputs: Sequence[str]) -> dict[str, Expr]:
    """The inputs that `-i` describes."""
    from gradcheck_cli.cli.options import misused
    from gradcheck_cli.dtypes import BY_NAME
    from gradcheck_cli.errors import did_you_mean
    from gradcheck_cli.graph import variable

    scope: dict[str, Expr] = {}
    for given in inputs:
        name, equals, rest = given.partition("=")
        sizes, _, dtype = rest.partition(":")
        parts = [part.strip() for part in sizes.strip(" ()[]").split(",") if part.strip()]
        right = equals and name.isidentifier() and name != "grad" and name not in scope
        if not right or not all(_is_size(part) for part in parts):
            misused(f"-i {given}: not an input", "write NAME=SHAPE with each name once: -i x=3,8")
        if dtype and dtype not in BY_NAME:
            listed = f"choose from {', '.join(BY_NAME)}"
            misused(
                f"-i {given}: there is no dtype `{dtype}`", did_you_mean(dtype, BY_NAME) or listed
            )
        scope[name] = variable(name, [int(part) for part in parts], BY_NAME[dtype or "float64"])
    return scope


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS


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
