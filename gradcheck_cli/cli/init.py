"""`gradcheck init`: a first spec to start from."""

import os
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
) -> int:
    """Write a first spec with comments; nothing is ever overwritten."""
    from gradcheck_cli.cli.options import misused
    from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, printable

    path = Path(target)
    if not path.name.lower().endswith(_SUFFIXES):
        if path.suffix and not path.is_dir():
            misused(f"{target} is no YAML file", "give a name that ends in .yaml, or a folder")
        path /= _NAME
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Exclusive: a file that appears at the last moment isn't overwritten either.
        with os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666), "w") as stream:
            stream.write(_SPEC.format(name=path.name))
    except OSError as error:
        if isinstance(error, FileExistsError) and path.exists():
            misused(f"{path} exists already and is left as it is", "give another name")
        message = f"{path} can't be written: {error.strerror or error}"
        hint = "give a path in a folder that may be written to"
        problem = Problem("GC305", message, None, hint, ExitCode.CANNOT_RUN)
        raise GradcheckError(problem) from error
    print(f"wrote {printable(str(path))}", file=sys.stdout)  # noqa: T201 -- the answer itself
    print(f"next: gradcheck compare {_quoted(str(path))}")  # noqa: T201 -- as above
    return ExitCode.PASSED


def _quoted(text: str) -> str:
    import shlex

    from gradcheck_cli.errors import printable

    return printable(shlex.quote(text))
