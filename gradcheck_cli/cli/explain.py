"""`gradcheck explain`: what a code means, with an example."""

import sys
from typing import Annotated

import typer


def explain(
    code: Annotated[
        str | None,
        typer.Argument(metavar="[CODE]", help="As printed: GC101. None lists all."),
    ] = None,
) -> int:
    """Explain a code of a problem or a diagnosis."""
    from gradcheck_cli.codes import CODES
    from gradcheck_cli.errors import ExitCode, did_you_mean
    from gradcheck_cli.report.catalogue import code_list, code_page
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.suite.selection.values import misused

    terminal = Terminal(sys.stdout)
    if code is None:
        code_list(terminal, CODES.values())
        return ExitCode.PASSED
    wanted = code.strip().upper()
    wanted = f"GC{wanted}" if wanted.isdecimal() else wanted
    if wanted not in CODES:
        hint = (
            did_you_mean(wanted.replace("O", "0"), CODES) or "`gradcheck explain` lists all codes"
        )
        misused(f"there is no code `{code}`", hint)
    code_page(terminal, CODES[wanted])
    return ExitCode.PASSED
