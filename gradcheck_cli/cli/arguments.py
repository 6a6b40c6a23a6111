"""Arguments that `derive` and `trace` have in common."""

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
