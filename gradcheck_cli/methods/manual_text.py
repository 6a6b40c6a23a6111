"""Derived formulas as entries of a spec file: a text per input, and `let` for what is too long to repeat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.graph import INPUT, Expr, topological
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.lang.typeset import shared
from gradcheck_cli.methods.case import UPSTREAM, prepare, values_of
from gradcheck_cli.methods.witnesses import WrongError, same

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.closed_form import Form
    from gradcheck_cli.spec.check import Check

# A formula up to this length stands on its own; one above the other is nothing to put into a file.
_SHORT, _MOST_CHARACTERS = 120, 4000


def entries(case: Case, form: Form) -> tuple[dict[str, str], dict[str, str]]:
    """What to write under `let`, and under `manual`, for the gradients of `form`.

    A definition can't use the upstream gradient, so that those which do are written out. Raises
    GradcheckError where a formula becomes too long.
    """
    plain = {name: to_text(node) for name, node in zip(form.wrt, form.nodes, strict=True)}
    if all(len(text) <= _SHORT for text in plain.values()):
        return {}, plain
    let: dict[str, str] = {}
    names: dict[Expr, str] = {}
    for name, node in shared(form.nodes, {}, {*case.scope, UPSTREAM}):
        order = topological([node], sizes=True)
        if not any(n.op is INPUT and n.attributes["name"] == UPSTREAM for n in order):
            let[name] = to_text(node, names)
            names[node] = name
    manual = {name: to_text(node, names) for name, node in zip(form.wrt, form.nodes, strict=True)}
    for name, text in manual.items():
        if len(text) > _MOST_CHARACTERS:
            message = f"the formula of `{name}` is too long to be written: {len(text)} characters"
            raise GradcheckError(Problem("GC028", message, None, "leave it out with --wrt"))
    used = _used(let, manual)
    return {name: text for name, text in let.items() if name in used}, manual


def _used(let: dict[str, str], manual: dict[str, str]) -> set[str]:
    """The definitions that a formula needs, itself or by another definition."""
    from gradcheck_cli.errors import Source
    from gradcheck_cli.lang.parse import parse

    used: set[str] = set()
    for text in manual.values():
        used |= parse(Source(text)).names
    for name, text in reversed(let.items()):
        if name in used:
            used |= parse(Source(text)).names
    return used


def confirm(check: Check, names: Sequence[str]) -> None:
    """Hold the manual formulas of a check that was read back against the derivative rules.

    Raises GradcheckError (GC307, exit 3) where one is wrong.
    """
    with values_of(check):
        case = prepare(check)
        wanted = [case.variables[name] for name in names]
        number = case.output.ndim == 0
        truths = differentiate(case.output, wanted, None if number else case.upstream)
    formulas = Plan([case.manual[name] for name in names])
    rules = Plan(truths)
    try:
        same(case.arrays, formulas, rules, names)
    except WrongError as error:
        message = f"a bug in gradcheck: a formula is wrong once it is written: {error}"
        hint = "nothing was written; please report it with the file"
        raise GradcheckError(Problem("GC307", message, None, hint, ExitCode.INTERNAL)) from error
