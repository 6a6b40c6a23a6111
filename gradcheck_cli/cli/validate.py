"""`gradcheck validate`: everything that can be wrong with a spec before anything is computed."""

import sys
from typing import Annotated

import typer

from gradcheck_cli.cli.arguments import Files, SpecsOnly


def validate(
    files: Files = None,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="List the checks that were found.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only what is wrong.")] = False,
    specs_only: SpecsOnly = False,
) -> int:
    """Read spec files and their expressions; compute nothing."""
    from gradcheck_cli.cli.config import configured_files
    from gradcheck_cli.cli.running import show_notes
    from gradcheck_cli.errors import ExitCode, GradcheckError, printable
    from gradcheck_cli.methods.case import review
    from gradcheck_cli.report.numbers import count
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.suite.ending import exit_code
    from gradcheck_cli.suite.selection.collect import collect

    files = configured_files(files, "validate")
    if specs_only:
        from gradcheck_cli.suite.selection.specs import without_others

        files, notes = without_others(files)
        show_notes(notes)
        if not files:
            return ExitCode.PASSED
    found = collect(files)
    show_notes(found.notes)
    problems = found.problems
    wrong = len(found.broken)
    for check in found.checks:
        try:
            review(check)
        except GradcheckError as error:
            # Expanded checks share their text, and with it their mistakes.
            problems += [problem for problem in error.problems if problem not in problems]
            wrong += 1
        else:
            if verbose:
                print(printable(check.id))  # noqa: T201 -- the answer itself
    terminal = Terminal(sys.stderr)
    for problem in problems:
        terminal.problem(problem)
    if problems:
        print(f"{count(len(problems), 'problem')} found", file=sys.stderr)  # noqa: T201
        return exit_code((), problems)
    if not quiet:
        checks, of_files = count(len(found.checks), "check"), count(found.files, "file")
        print(f"{checks} in {of_files}: valid")  # noqa: T201 -- the answer itself
    return ExitCode.PASSED
