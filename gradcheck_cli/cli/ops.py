"""`gradcheck ops`: the operators that an expression can use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.ops.domains import Entry
    from gradcheck_cli.report.operators import Form


def ops(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="One operator: softmax, torch.linalg.det, Tensor.T."),
    ] = None,
    search: Annotated[
        str | None,
        typer.Option(
            "-s",
            "--search",
            metavar="TEXT",
            help="Those that have each word of TEXT in a name, a signature or a sentence.",
        ),
    ] = None,
    domain: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="Those of some domains: linalg,fft.")
    ] = None,
    kinks: Annotated[
        bool, typer.Option("--kinks", help="Those that are not differentiable somewhere.")
    ] = False,
    no_gradient: Annotated[
        bool, typer.Option("--no-gradient", help="Those through which no gradient flows.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs, to stdout.")] = False,
) -> int:
    """List the operators, or document one of them."""
    import gradcheck_cli.ops  # noqa: F401 -- fills the table
    from gradcheck_cli.errors import ExitCode
    from gradcheck_cli.ops.domains import entries
    from gradcheck_cli.suite.selection.values import misused

    known = entries()
    if name is None:
        listed = [
            entry
            for entry in _of_domains(known, domain)
            if (search is None or entry.mentions(search))
            and (not no_gradient or not _has_gradient(entry))
            and (not kinks or _has_kinks(entry))
        ]
        _list(listed, len(known), as_json=as_json)
        return ExitCode.PASSED if listed else ExitCode.NOTHING_SELECTED
    if search is not None or domain is not None or kinks or no_gradient:
        misused("a NAME goes without filters", f"leave {name} out, or search for it: -s {name}")
    found, also = _called(known, name)
    _document(found, also, as_json=as_json)
    return ExitCode.PASSED


def _of_domains(known: Sequence[Entry], domain: str | None) -> Sequence[Entry]:
    from gradcheck_cli.ops.domains import DOMAINS
    from gradcheck_cli.suite.selection.values import separated

    if domain is None:
        return known
    wanted = separated("--domain", domain, [one.name for one in DOMAINS])
    return [entry for entry in known if entry.domain.name in wanted]


def _called(known: Sequence[Entry], name: str) -> tuple[list[Entry], list[Entry]]:
    """The operators that a name means, and others whose names end in it.

    Raises GradcheckError (GC028) where there is none.
    """
    from gradcheck_cli.errors import did_you_mean
    from gradcheck_cli.suite.selection.values import misused

    wanted = name.strip().removesuffix("()")
    found = [entry for entry in known if entry.answers_to(wanted)]
    if not found:
        names = {entry.name for entry in known}
        names |= {spelling for entry in known for spelling in entry.spellings}
        names |= {spelling.rpartition(".")[2] for spelling in names}
        hint = did_you_mean(wanted, names) or "`gradcheck ops` lists all operators"
        misused(f"there is no operator `{name}`", hint)
    exact = [entry for entry in found if entry.name == wanted] or found
    return exact, [entry for entry in found if entry not in exact]


def _list(listed: Sequence[Entry], known: int, *, as_json: bool) -> None:
    import gradcheck_cli.report.operators as report
    from gradcheck_cli.report.terminal import Terminal

    if as_json:
        _print([_as_json(entry) for entry in listed])
    elif listed:
        report.op_list(Terminal(sys.stdout), listed, known)
    else:
        text = f"none of the {known} operators is like that; `gradcheck ops` lists them"
        print(text, file=sys.stderr)  # noqa: T201 -- for people


def _document(found: Sequence[Entry], also: Sequence[Entry], *, as_json: bool) -> None:
    import gradcheck_cli.report.operators as report
    from gradcheck_cli.report.terminal import Terminal

    if as_json:
        _print([_as_json(entry, _forms(entry)) for entry in found])
        return
    terminal = Terminal(sys.stdout)
    for number, entry in enumerate(found):
        if number:
            terminal.blank()
        report.op_page(terminal, entry, _forms(entry))
    report.see_also(terminal, also)


def _has_kinks(entry: Entry) -> bool:
    from gradcheck_cli.calculus.document import has_kinks

    return any(map(has_kinks, entry.records))


def _has_gradient(entry: Entry) -> bool:
    from gradcheck_cli.calculus.document import has_gradient

    return any(map(has_gradient, entry.records))


def _forms(entry: Entry) -> list[Form]:
    from gradcheck_cli.calculus.document import document, example
    from gradcheck_cli.report.operators import Form

    return [Form(op, document(op), example(op)) for op in entry.records]


def _as_json(entry: Entry, forms: Sequence[Form] | None = None) -> dict[str, Any]:
    from gradcheck_cli.report.operators import as_json

    return as_json(entry, gradient=_has_gradient(entry), kinks=_has_kinks(entry), forms=forms)


def _print(value: object) -> None:
    import json

    print(json.dumps(value, indent=2, ensure_ascii=False))  # noqa: T201 -- the answer itself
