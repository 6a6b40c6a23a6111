"""An error raised by the person's own code is the check's, told with its last line and place."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.spec.check import Implementation

# Frames in here are not the person's.
_OURS = str(Path(__file__).resolve().parents[2])
_LONGEST = 300


@contextmanager
def running(own: Implementation, doing: str) -> Iterator[None]:
    """Raises GradcheckError (GC308, exit 4) for whatever the code inside raises."""
    try:
        yield
    except (GradcheckError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # the code is the person's: it may raise anything
        raise GradcheckError(failure(own, doing, error)) from error


def failure(own: Implementation, doing: str, error: BaseException) -> Problem:
    """What is said of an error of the person's code: its last line, and the last of its own lines."""
    said = (traceback.format_exception_only(error) or [""])[-1].strip().partition("\n")[0]
    message = f"`{own.target}` raised an error {doing}: {said[:_LONGEST]}"
    source = own.source
    where = None if source is None else source.where(0, len(source.text))
    return Problem("GC308", message, where, _place(error), ExitCode.CANNOT_RUN)


def _place(error: BaseException) -> str | None:
    """The deepest frame that is neither gradcheck's nor PyTorch's."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith((_OURS, "<frozen"))
        and not {"torch", "importlib"} & set(Path(frame.filename).parts)
    ]
    if not frames:
        return None
    last = frames[-1]
    code = f": {last.line}" if last.line else ""
    return f"at {last.filename}:{last.lineno} in {last.name}{code}"
