"""Arguments and options that several commands take."""

from __future__ import annotations

from typing import Annotated

import typer

InputShapes = Annotated[
    list[str] | None,
    typer.Option(
        "-i",
        "--input",
        metavar="NAME=SHAPE",
        help="As in x=3,8; x= is a number; target=8:int64.",
    ),
]
CheckName = Annotated[str | None, typer.Option(metavar="NAME", help="Which check of the file.")]
Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FILES",
        help="Spec files, folders, globs, FILE::NAME for one check, or - for stdin.",
        show_default=False,
    ),
]
_INSTEAD = "In place of the spec"
Dtypes = Annotated[
    str | None,
    typer.Option(
        metavar="A,B",
        help="Of float64, float32, float16, bfloat16.",
        rich_help_panel=_INSTEAD,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(metavar="N", help="Seed of the samples.", rich_help_panel=_INSTEAD),
]
Json = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Write the JSON report; - for stdout (what people read then goes to stderr).",
        rich_help_panel="What is reported",
    ),
]
Keyword = Annotated[
    str | None,
    typer.Option(
        "-k",
        metavar="EXPR",
        help="With these words in id or tags: 'loss and not slow'.",
        rich_help_panel="Which checks",
    ),
]
SpecsOnly = Annotated[
    bool,
    typer.Option(
        "--specs-only",
        help="Pass over files that are no specs; all is well where none is left.",
        rich_help_panel="Which checks",
    ),
]
