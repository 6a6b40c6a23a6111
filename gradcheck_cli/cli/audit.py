"""`gradcheck audit`: how good is the check?"""

import sys
from typing import Annotated

import typer

from gradcheck_cli.cli.arguments import Dtypes, Files, Json, Keyword, Seed


def audit(
    files: Files = None,
    dtype: Dtypes = None,
    seed: Seed = None,
    json: Json = None,
    keyword: Keyword = None,
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

    from gradcheck_cli.cli.collector import settle
    from gradcheck_cli.cli.config import configured_files, option
    from gradcheck_cli.cli.running import show_notes, tell_broken
    from gradcheck_cli.report.audit import AuditReport, document
    from gradcheck_cli.report.files import ReportFile
    from gradcheck_cli.report.json_report import to_text
    from gradcheck_cli.report.progress import Bar
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.suite.audit import audit_check, exit_code
    from gradcheck_cli.suite.selection.collect import collect
    from gradcheck_cli.suite.selection.config import read
    from gradcheck_cli.suite.selection.overrides import Overrides, plan
    from gradcheck_cli.suite.selection.values import misused

    if verbose and quiet:
        misused("-v and -q contradict each other", "give one of them")
    start = perf_counter()
    overrides = Overrides.of(read({"dtype": dtype, "seed": seed}, option))
    target = None if json is None else ReportFile(json)
    found = collect(configured_files(files, "audit"), keyword=keyword)
    show_notes(found.notes)
    checks = [planned.check for planned in plan(found.checks, overrides)]
    terminal = Terminal(sys.stderr if target is not None and target.is_stdout else sys.stdout)
    report = AuditReport(terminal, verbosity=verbose - quiet)
    tell_broken(found)
    audits = []
    with Bar(len(checks), terminal) as bar:
        for check in checks:
            audits.append(audit_check(check))
            settle()
            report.add(audits[-1])
            bar.advance()
    elapsed = perf_counter() - start
    code = exit_code(audits, found.problems)
    report.finish(audits, elapsed)
    if target is not None:
        target.write(to_text(document(audits, found.problems, elapsed, code)))
    return code
