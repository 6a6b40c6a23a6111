"""`gradcheck schema`: the spec format as JSON Schema, for editors and other programs."""

from typing import Annotated

import typer


def schema(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILES]...", help="With --install: specs, or folders of them."),
    ] = None,
    output: Annotated[
        str | None, typer.Option("-o", "--output", metavar="FILE", help="Write it to FILE.")
    ] = None,
    install: Annotated[
        bool,
        typer.Option(
            "--install", help="Have editors use it: a schema file, a first line in specs."
        ),
    ] = False,
) -> int:
    """Print the JSON Schema of spec files, or have editors complete and check specs with it."""
    import json

    from gradcheck_cli.errors import ExitCode
    from gradcheck_cli.spec.model import json_schema
    from gradcheck_cli.suite.selection.values import misused

    if install:
        if output is not None:
            misused("--install and -o contradict each other", "give one of them")
        from gradcheck_cli.cli.editors import install as installed

        return installed(files or ["."])
    if files:
        misused("FILES go with --install", f"gradcheck schema --install {files[0]}")
    text = json.dumps(json_schema(), indent=2) + "\n"
    if output is None:
        print(text, end="")  # noqa: T201 -- the answer itself
    else:
        from gradcheck_cli.report.files import ReportFile

        ReportFile(output).write(text)
    return ExitCode.PASSED
