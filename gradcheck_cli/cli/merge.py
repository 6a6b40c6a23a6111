"""`gradcheck merge`: the reports of shards as the report of the whole run."""

from typing import TYPE_CHECKING, Annotated

import typer

from gradcheck_cli.cli.arguments import Json
from gradcheck_cli.report.formats import listed

if TYPE_CHECKING:
    from gradcheck_cli.report.reading import Run


def merge(
    reports: Annotated[
        list[str],
        typer.Argument(metavar="REPORTS", help="JSON reports or JSON lines.", show_default=False),
    ],
    report: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[FORMAT=]FILE",
            help=f"By the ending, or one of {listed()}; any number of times.",
            rich_help_panel="What is reported",
        ),
    ] = None,
    json: Json = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v",
            "--verbose",
            help="The full story of every check.",
            rich_help_panel="What is reported",
        ),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "-q",
            "--quiet",
            help="Only what is not right, and the summary.",
            rich_help_panel="What is reported",
        ),
    ] = False,
) -> int:
    """Put reports of shards together, and end as the whole run would have ended."""
    import sys

    from gradcheck_cli.report.console import ConsoleReport
    from gradcheck_cli.report.formats import Reports
    from gradcheck_cli.report.merging import absent, merged
    from gradcheck_cli.report.numbers import count
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.suite.selection.values import misused

    if verbose and quiet:
        misused("-v and -q contradict each other", "give one of them")
    runs = [_read(name) for name in reports]
    document, outcomes = merged(runs)
    # Each part has made its annotations; made again they would stand there twice.
    wanted = Reports.of(report or (), json=json, annotate=False)
    terminal = Terminal(sys.stderr if wanted.stdout else sys.stdout)
    console = ConsoleReport(terminal, total=len(outcomes), verbosity=verbose - quiet)
    for outcome in outcomes:
        console.add(outcome)
    summary = document["summary"]
    notes = [f"{count(len(runs), 'report')} put together"]
    if summary["not_run"]:
        notes.append(f"{count(summary['not_run'], 'check')} not run")
    lost = absent(document)
    if lost:
        notes.append(
            f"at least {count(lost, 'check')} in none of them: is a part's report missing?"
        )
    console.finish(outcomes, summary["seconds"], notes=notes)
    wanted.write(document)
    return int(summary["exit_code"])


def _read(name: str) -> "Run":
    """A report's file. Raises GradcheckError: GC027 where it can't be read, GC033 where it is no report."""
    from pathlib import Path

    from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, printable
    from gradcheck_cli.report.fields import refuse
    from gradcheck_cli.report.reading import MAX_BYTES, read

    try:
        with Path(name).open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"the report {printable(name)} can't be read: {reason}"
        problem = Problem("GC027", message, None, "check the path", ExitCode.CANNOT_RUN)
        raise GradcheckError(problem) from error
    if len(content) > MAX_BYTES:
        refuse(
            name, f"it is larger than {MAX_BYTES // 2**20} MiB", "merge fewer, or without pictures"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        refuse(name, "it is not UTF-8")
    return read(text, name)
