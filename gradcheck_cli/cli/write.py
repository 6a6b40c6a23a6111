"""`gradcheck derive FILE --write`: the formulas put into the file, which is replaced whole or not at all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, printable
from gradcheck_cli.suite.selection.values import misused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.methods.answer import Answer
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.spec.rewrite import Addition

# Of a check that a file expands to many, so many are tried.
_MOST_SIBLINGS = 16


def write(what: str, answers: Sequence[Answer], *, force: bool) -> None:
    """Put the formulas of `answers` into the spec file that `what` names.

    Raises GradcheckError where it can't be edited safely, and where what was written is not read back as the
    same checks with right formulas; the file is as it was then.
    """
    from gradcheck_cli.report.files import ReportFile
    from gradcheck_cli.spec.load import load_text, text_of
    from gradcheck_cli.spec.rewrite import rewritten

    path = _path(what)
    additions = [found for answer in answers if (found := _addition(answer, force=force))]
    if not additions:
        return
    target = ReportFile(str(path))
    old = _exact(path)
    new = rewritten(old, str(path), additions)
    before = load_text(text_of(path), str(path), path.parent)
    _confirm(before, load_text(new, str(path), path.parent), additions)
    target.write(new)
    for addition in additions:
        names = ", ".join(addition.manual)
        _say(f"wrote the formulas of {names} to `{addition.check.name}` in {path}")


def _path(what: str) -> Path:
    from gradcheck_cli.suite.selection.collect import STDIN

    name = what.partition("::")[0]
    path = Path(name)
    if name == STDIN or not path.is_file():
        misused("--write goes with a spec file", "name a single file")
    return path


def _exact(path: Path) -> str:
    """The text with its line ends as they are."""
    with path.open(encoding="utf-8", newline="") as stream:
        return stream.read()


def _addition(answer: Answer, *, force: bool) -> Addition | None:
    from dataclasses import replace

    from gradcheck_cli.methods.manual_text import entries
    from gradcheck_cli.spec.rewrite import Addition

    check, form = answer.case.check, answer.form
    kept = [name for name in form.wrt if force or name not in check.manual]
    for name in form.wrt:
        if name not in kept:
            _say(f"manual.{name} of `{check.name}` is there already; --force replaces it")
    if not kept:
        return None
    nodes = tuple(n for name, n in zip(form.wrt, form.nodes, strict=True) if name in kept)
    let, manual = entries(answer.case, replace(form, wrt=tuple(kept), nodes=nodes))
    return Addition(check, let, manual)


def _confirm(
    before: Sequence[Check], after: Sequence[Check], additions: Sequence[Addition]
) -> None:
    """The file holds the same checks as before but for the formulas, and these are right."""
    from dataclasses import replace

    from gradcheck_cli.methods.manual_text import confirm

    changed = {(a.check.line, a.check.name): a for a in additions}
    same = len(before) == len(after)
    for old, new in zip(before, after, strict=False):
        addition = changed.get((old.line, old.name))
        bare = [
            (c.id, c.expression.text, c.wrt, c.dims, c.seed, c.dtype, c.order, _inputs(c))
            for c in (old, new)
        ]
        let, manual = ({}, {}) if addition is None else (addition.let, addition.manual)
        wanted_let = {**{n: s.text for n, s in old.let}, **let}
        wanted = {**{n: s.text for n, s in old.manual.items()}, **manual}
        same &= bare[0] == bare[1]
        same &= {n: s.text for n, s in new.let} == wanted_let
        same &= {n: s.text for n, s in new.manual.items()} == wanted
    if not same:
        message = "--write would change more of the file than its formulas"
        hint = "nothing was written; add them by hand"
        raise GradcheckError(Problem("GC028", message, None, hint, ExitCode.USAGE))
    for addition in additions:
        place = (addition.check.line, addition.check.name)
        siblings = [
            new for old, new in zip(before, after, strict=True) if (old.line, old.name) == place
        ]
        for new in siblings[:_MOST_SIBLINGS]:
            confirm(replace(new, methods=None), tuple(addition.manual))


def _inputs(check: Check) -> list[object]:
    """The inputs without the places where they stand."""
    from dataclasses import fields

    return [
        [getattr(spec, field.name) for field in fields(spec) if field.name != "source"]
        for spec in check.inputs
    ]


def _say(text: str) -> None:
    print(f"note: {printable(text)}", file=sys.stderr)  # noqa: T201 -- for people, not a report
