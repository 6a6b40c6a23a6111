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
    list[str],
    typer.Argument(
        metavar="FILES",
        help="Spec files, folders, globs, FILE::NAME for one check, or - for stdin.",
        show_default=False,
    ),
]
Dtypes = Annotated[
    str | None, typer.Option(metavar="A,B", help="Of float64, float32, float16, bfloat16.")
]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Seed of the samples.")]
Json = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="Write the JSON report; - for stdout (what people read then goes to stderr).",
    ),
]
Keyword = Annotated[
    str | None,
    typer.Option("-k", metavar="TEXT", help="Only checks with TEXT in their id or tags."),
]
