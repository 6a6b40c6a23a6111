"""`gradcheck validate`: everything that can be wrong with a spec before anything is computed."""

import sys
from typing import Annotated

import typer

from gradcheck_cli.cli.arguments import Files


def validate(
    files: Files,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="List the checks that were found.")
    ] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only what is wrong.")] = False,
) -> int:
    """Read spec files and their expressions; compute nothing."""
    from gradcheck_cli.cli.running import show_notes
    from gradcheck_cli.errors import ExitCode, GradcheckError, format_problem, printable
    from gradcheck_cli.methods.case import prepare
    from gradcheck_cli.report.numbers import count
    from gradcheck_cli.suite.collect import collect
    from gradcheck_cli.suite.ending import exit_code

    found = collect(files)
    show_notes(found.notes)
    problems = found.problems
    wrong = len(found.broken)
    for check in found.checks:
        try:
            prepare(check)
        except GradcheckError as error:
            # Expanded checks share their text, and with it their mistakes.
            problems += [problem for problem in error.problems if problem not in problems]
            wrong += 1
        else:
            if verbose:
                print(printable(check.id))  # noqa: T201 -- the answer itself
    for problem in problems:
        print(format_problem(problem), file=sys.stderr)  # noqa: T201 -- for people
    if problems:
        print(f"{count(len(problems), 'problem')} found", file=sys.stderr)  # noqa: T201
        return exit_code((), problems)
    if not quiet:
        checks, of_files = count(len(found.checks), "check"), count(found.files, "file")
        print(f"{checks} in {of_files}: valid")  # noqa: T201 -- the answer itself
    return ExitCode.PASSED
