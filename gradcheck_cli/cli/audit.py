"""`gradcheck audit`: how good is the check?"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.report.audit import AuditReport
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.suite.audit import CheckAudit


def audit(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help="Spec files, folders, globs, FILE::NAME for one check, or - for stdin.",
            show_default=False,
        ),
    ],
    dtype: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Of float64, float32, float16, bfloat16."),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of the samples.")] = None,
    json: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Write the JSON report; - for stdout (what people read then goes to stderr).",
        ),
    ] = None,
    keyword: Annotated[
        str | None,
        typer.Option("-k", metavar="TEXT", help="Only checks with TEXT in their id or tags."),
    ] = None,
    verbose: Annotated[
        bool,
        typer.Option("-v", "--verbose", help="Every kind of mistake, and every wrong formula."),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Only checks with blind spots, and the summary.")
    ] = False,
) -> int:
    """Find the mistakes that a check's inputs can't show, and inputs that would."""
    from time import perf_counter

    from gradcheck_cli.cli.options import Overrides, misused
    from gradcheck_cli.cli.running import show_notes, tell_broken
    from gradcheck_cli.report.audit import AuditReport, document
    from gradcheck_cli.report.json_report import ReportFile, to_text
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.suite.audit import exit_code
    from gradcheck_cli.suite.collect import collect

    if verbose and quiet:
        misused("-v and -q contradict each other", "give one of them")
    start = perf_counter()
    overrides = Overrides.of(None, None, dtype, seed, None, None)
    target = None if json is None else ReportFile(json)
    found = collect(files, keyword=keyword)
    show_notes(found.notes)
    checks = [check for check, _ in overrides.apply(found.checks)]
    terminal = Terminal(sys.stderr if target is not None and target.is_stdout else sys.stdout)
    report = AuditReport(terminal, verbosity=verbose - quiet)
    tell_broken(found)
    audits = list(_audited(checks, report, terminal))
    elapsed = perf_counter() - start
    code = exit_code(audits, found.problems)
    report.finish(audits, elapsed)
    if target is not None:
        target.write(to_text(document(audits, found.problems, elapsed, code)))
    return code


def _audited(
    checks: Sequence[Check], report: AuditReport, terminal: Terminal
) -> Iterator[CheckAudit]:
    from gradcheck_cli.cli.collector import settle
    from gradcheck_cli.report.progress import Bar
    from gradcheck_cli.suite.audit import audit_check

    with Bar(len(checks), terminal) as bar:
        for check in checks:
            result = audit_check(check)
            settle()
            report.add(result)
            bar.advance()
            yield result
