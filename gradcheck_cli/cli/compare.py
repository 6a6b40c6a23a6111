"""`gradcheck compare`: the main job."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gradcheck_cli.cli.arguments import Dtypes, Files, Json, Keyword, Seed, SpecsOnly
from gradcheck_cli.report.formats import FORMATS

if TYPE_CHECKING:
    from gradcheck_cli.cli.config import Configuration
    from gradcheck_cli.cli.running import Run


def _selecting(*names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel="Which checks", **more)


def _running(*names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel="How they run", **more)


def _instead(*names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel="In place of the spec", **more)


def _reporting(*names: str, **more: Any) -> Any:
    return typer.Option(*names, rich_help_panel="What is reported", **more)


def compare(
    files: Files = None,
    keyword: Keyword = None,
    tag: Annotated[
        list[str] | None, _selecting("--tag", metavar="TAG", help="With one of these tags.")
    ] = None,
    last_failed: Annotated[
        bool, _selecting("--lf", "--last-failed", help="Not right when last run; if none, all.")
    ] = False,
    failed_first: Annotated[
        bool, _selecting("--ff", "--failed-first", help="All, but those first.")
    ] = False,
    shard: Annotated[
        str | None, _selecting(metavar="K/N", help="Part K of N, on N machines.")
    ] = None,
    shard_durations: Annotated[
        str | None, _selecting(metavar="FILE", help="JSON report that says how long checks take.")
    ] = None,
    collect_only: Annotated[
        bool, _selecting("--collect-only", help="List them, and run none.")
    ] = False,
    specs_only: SpecsOnly = False,
    jobs: Annotated[
        str | None, _running("-j", "--jobs", metavar="N|auto", help="So many at once.")
    ] = None,
    timeout: Annotated[
        str | None, _running(metavar="TIME", help="At most so long each: 30s, 500ms, 2m.")
    ] = None,
    cluster: Annotated[
        str | None, _running(metavar="ADDRESS", help="On Dask's scheduler tcp://host:8786.")
    ] = None,
    exitfirst: Annotated[
        bool, _running("-x", "--exitfirst", help="Stop at the first that is not right.")
    ] = False,
    maxfail: Annotated[
        int | None, _running(metavar="N", help="Stop at the N-th; 0: never.")
    ] = None,
    watch: Annotated[bool, _running("--watch", help="Again whenever a file changes.")] = False,
    allow_import: Annotated[
        list[str] | None,
        _running(metavar="PACKAGE", help="Whose code an `implementation` may be."),
    ] = None,
    cache_dir: Annotated[
        str | None, _running(metavar="FOLDER", help="In place of .gradcheck_cache.")
    ] = None,
    no_cache: Annotated[bool, _running("--no-cache", help="No record of failures.")] = False,
    methods: Annotated[
        str | None,
        _instead(metavar="A,B", help="Of torch, engine, manual, derived, numeric, implementation."),
    ] = None,
    device: Annotated[
        str | None, _instead(metavar="DEVICE", help="cpu, cuda, cuda:1 or mps, for torch.")
    ] = None,
    dtype: Dtypes = None,
    seed: Seed = None,
    repeat: Annotated[
        int | None, _instead(metavar="N", help="With N seeds, that one and those after it.")
    ] = None,
    rtol: Annotated[float | None, _instead(metavar="X", help="Relative tolerance.")] = None,
    atol: Annotated[float | None, _instead(metavar="X", help="Absolute tolerance.")] = None,
    strict: Annotated[
        bool | None,
        _reporting("--strict/--no-strict", help="An inconclusive check counts as failed."),
    ] = None,
    report: Annotated[
        list[str] | None,
        _reporting(
            metavar="[FORMAT=]FILE",
            help=f"By the ending, or one of {', '.join(FORMATS)}; any number of times.",
        ),
    ] = None,
    json: Json = None,
    durations: Annotated[
        int | None, _reporting(metavar="N", help="The N that took longest.")
    ] = None,
    verbose: Annotated[
        bool, _reporting("-v", "--verbose", help="The full story of every check.")
    ] = False,
    full: Annotated[
        bool, _reporting("--full", help="Derived formulas whole, however long.")
    ] = False,
    quiet: Annotated[
        bool, _reporting("-q", "--quiet", help="Only what is not right, and the summary.")
    ] = False,
) -> int:
    """Check gradients: every method's against every other's."""
    from dataclasses import replace

    from gradcheck_cli.cli.config import configuration, required
    from gradcheck_cli.errors import ExitCode
    from gradcheck_cli.suite.selection import values
    from gradcheck_cli.suite.selection.planning import Request
    from gradcheck_cli.suite.selection.select import Selection
    from gradcheck_cli.suite.selection.values import misused

    if verbose and quiet:
        misused("-v and -q contradict each other", "give one of them")
    if cache_dir is not None and no_cache:
        misused("--cache-dir and --no-cache contradict each other", "give one of them")
    if specs_only and files:
        from gradcheck_cli.cli.running import show_notes
        from gradcheck_cli.suite.selection.specs import without_others

        files, notes = without_others(files)
        show_notes(notes)
        if not files:
            return ExitCode.PASSED
    configured = configuration({
        "files": files or None,
        "methods": methods,
        "device": device,
        "dtype": dtype,
        "seed": seed,
        "rtol": rtol,
        "atol": atol,
        "strict": strict,
        "jobs": jobs,
        "timeout": timeout,
        "cluster": cluster,
        "report": report,
        "allow-imports": allow_import,
        "cache-dir": cache_dir,
        "durations": durations,
        "maxfail": 1 if exitfirst else maxfail,
        "repeat": repeat,
        "keyword": keyword,
        "tag": tag,
    })  # fmt: skip
    settled = configured.settled
    chosen = required(settled.files, "compare")
    request = Request(
        chosen,
        Selection(settled.keyword, settled.tag or ()),
        configured.overrides,
        configured.defaults,
        settled.repeat or 1,
        None if shard is None else values.shard("--shard", shard),
        shard_durations,
        last_failed,
        failed_first,
    )
    run = _run(configured, json, verbose - quiet, cached=not no_cache, whole=full)
    if watch and run.allow_imports:
        run = replace(run, isolated=True)
    once = run.only_list if collect_only else run
    if not watch:
        return once(request)
    from gradcheck_cli.cli.watching import watch as watched

    return watched(chosen, lambda: once(request), run.allow_imports)


def _run(
    configured: "Configuration", json: str | None, verbosity: int, *, cached: bool, whole: bool
) -> "Run":
    from gradcheck_cli.cli.running import Run
    from gradcheck_cli.suite.selection.cache import FOLDER, Cache

    settled, folder = configured.settled, configured.project.folder / FOLDER
    return Run(
        json=json,
        reports=settled.report or (),
        jobs=settled.jobs or 1,
        timeout=settled.timeout or None,
        cluster=settled.cluster,
        allow_imports=settled.allow_imports or (),
        cache=Cache.of(settled.cache_dir or folder) if cached else None,
        strict=bool(settled.strict),
        maxfail=settled.maxfail or 0,
        verbosity=verbosity,
        whole=whole,
        slowest=settled.durations or 0,
        # A check that is run again by its own seed isn't to be repeated by the project's wish.
        options="--repeat 1" if (configured.shared.repeat or 1) > 1 else "",
    )
