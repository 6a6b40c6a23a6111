"""`gradcheck init`: a first spec to start from, and the pipeline that checks it."""

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

_NAME = "gradient.yaml"
_SUFFIXES = (".yaml", ".yml")
_SPEC = """\
# Is this gradient right? Ask with:  gradcheck compare {name}
version: 1
name: sum of squared errors

# Inputs are drawn at random, from a fixed seed. `sample` can also be normal (the default), positive,
# integers, one_hot, spd, ...; instead of it, `value` gives the numbers themselves.
inputs:
  predicted: {{shape: [3, 8], sample: uniform, requires_grad: true}}
  real: {{shape: [3, 8], sample: uniform}}

# What is differentiated, written as in PyTorch. `gradcheck ops` lists what can be used.
expression: (predicted - real).pow(2).sum()

# Your own derivation, one formula per input. It is compared with PyTorch's gradient, with that of an
# independent engine, with a formula that gradcheck derives, and with finite differences.
manual:
  predicted: 2.0 * (predicted - real)
"""


def init(
    target: Annotated[
        str, typer.Argument(metavar="[FILE]", help="A .yaml file, or a folder to put one into.")
    ] = ".",
    ci: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SERVICE", help="Write its pipeline file too: github, gitlab or pre-commit."
        ),
    ] = None,
) -> int:
    """Write a first spec with comments, and a pipeline that checks it; nothing is ever overwritten."""
    from gradcheck_cli.errors import ExitCode, did_you_mean
    from gradcheck_cli.suite.selection.values import misused

    if ci:
        from gradcheck_cli.cli.pipelines import PIPELINES

        for service in ci:
            if service not in PIPELINES:
                listed = f"choose from {', '.join(PIPELINES)}"
                misused(
                    f"--ci: there is no `{service}`", did_you_mean(service, PIPELINES) or listed
                )
    path = Path(target)
    is_file = path.name.lower().endswith(_SUFFIXES)
    if not is_file:
        if path.suffix and not path.is_dir():
            misused(f"{target} is no YAML file", "give a name that ends in .yaml, or a folder")
        path /= _NAME
    if ci and _holds_specs(Path(target)):
        # Who has specs already wants the pipeline alone.
        _say(f"{target} has specs already: no other is written")
    else:
        if not _write(path, _SPEC.format(name=path.name)):
            misused(f"{path} exists already and is left as it is", "give another name")
        _say(f"wrote {path}")
    for service in dict.fromkeys(ci or ()):
        _add_pipeline(service, path if is_file else path.parent)
    _say(f"next: gradcheck compare {shlex.quote(str(path if path.exists() else target))}")
    return ExitCode.PASSED


def _holds_specs(target: Path) -> bool:
    from gradcheck_cli.suite.selection.specs import is_ours

    if not target.is_dir():
        return target.exists()
    return any(
        is_ours(Path(top, name))
        for top, folders, names in os.walk(target)
        # What is hidden is cut from the walk, as where specs are collected.
        for name in _visible(folders, names)
    )


def _visible(folders: list[str], names: list[str]) -> list[str]:
    folders[:] = [name for name in folders if not name.startswith(".")]
    return [name for name in names if not name.startswith(".")]


def _add_pipeline(service: str, specs: Path) -> None:
    """Write the pipeline file of a service, or say what is to be added to the one that is there."""
    from gradcheck_cli.cli.pipelines import PIPELINES
    from gradcheck_cli.suite.selection.values import misused

    pipeline = PIPELINES[service]
    root = _root(specs)
    name = Path(os.path.relpath(os.path.realpath(specs), root)).as_posix()
    if not name.isprintable() or "${{" in name:  # no quotes keep that from steering a pipeline
        misused(f"--ci: {name} can't be named in a pipeline file", "rename it")
    text = pipeline.text(name)
    shown = Path(os.path.relpath(root))
    if _write(root / pipeline.path, text):
        _say(f"wrote {shown / pipeline.path}")
        return
    if pipeline.beside is not None and _write(root / pipeline.beside, text):
        _say(f"wrote {shown / pipeline.beside}")
    _say(f"{shown / pipeline.path} exists already and is left as it is")
    if pipeline.add:
        _say("add to it:")
        _say("")
        print(pipeline.add)  # noqa: T201 -- as in `_say`; several lines
        _say("")


def _root(specs: Path) -> Path:
    """The folder of the git repository that the specs are in; without one, the current folder."""
    place = Path(os.path.realpath(specs))
    for above in (place, *place.parents):
        if (above / ".git").exists():
            return above
    here = Path(os.path.realpath("."))
    return here if place.is_relative_to(here) else place if place.is_dir() else place.parent


def _write(path: Path, text: str) -> bool:
    """Make a file that isn't there; False where it is. Raises GradcheckError where it can't be made."""
    from gradcheck_cli.errors import ExitCode, GradcheckError, Problem

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Exclusive: a file that appears at the last moment isn't overwritten either.
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), "w") as stream:
            stream.write(text)
    except OSError as error:
        if isinstance(error, FileExistsError) and os.path.lexists(path):
            return False
        message = f"{path} can't be written: {error.strerror or error}"
        hint = "give a path in a folder that may be written to"
        problem = Problem("GC305", message, None, hint, ExitCode.CANNOT_RUN)
        raise GradcheckError(problem) from error
    return True


def _say(text: str) -> None:
    from gradcheck_cli.errors import printable

    print(printable(text), file=sys.stdout)  # noqa: T201 -- the answer itself
