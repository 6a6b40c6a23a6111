"""`gradcheck compare`: the main job."""

from typing import Annotated

import typer

from gradcheck_cli.cli.arguments import Dtypes, Files, Json, Keyword, Seed


def compare(
    files: Files,
    methods: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Of torch, engine, manual, derived, numeric."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="cpu, cuda, cuda:1 or mps, for torch.")
    ] = None,
    dtype: Dtypes = None,
    seed: Seed = None,
    rtol: Annotated[float | None, typer.Option(metavar="X", help="Relative tolerance.")] = None,
    atol: Annotated[float | None, typer.Option(metavar="X", help="Absolute tolerance.")] = None,
    json: Json = None,
    keyword: Keyword = None,
    exitfirst: Annotated[
        bool, typer.Option("-x", "--exitfirst", help="Stop at the first check that is not right.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Count an inconclusive check as failed.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="The full story of every check.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Derived formulas whole, however long.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Only what is not right, and the summary.")
    ] = False,
) -> int:
    """Check gradients: every method's against every other's."""
    from gradcheck_cli.cli.options import Overrides, misused
    from gradcheck_cli.cli.running import Run

    if verbose and quiet:
        misused("-v and -q contradict each other", "give one of them")
    overrides = Overrides.of(methods, device, dtype, seed, rtol, atol)
    run = Run(json=json, strict=strict, exitfirst=exitfirst, verbosity=verbose - quiet, whole=full)
    return run(files, overrides, keyword)
