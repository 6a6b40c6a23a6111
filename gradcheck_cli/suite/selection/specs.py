"""Which of the files that a command line names are specs: for programs that hand over files of any kind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck_cli.suite.selection.collect import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Sequence


def without_others(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments without files that are no specs, and a note on each of those.

    A spec is a .yaml, .yml or .json file with a top-level `version` and another key of ours beside it. What
    is no file, a folder or a glob for instance, stays; so does a file that can't be read.
    """
    kept, notes = [], []
    for argument in arguments:
        if not os.path.isfile(argument) or is_ours(Path(argument)):  # noqa: PTH113 -- Path's raises
            kept.append(argument)
        else:
            notes.append(f"{argument} is passed over: it is no spec")
    return kept, notes


def is_ours(path: Path) -> bool:
    """Whether a file has the name of a spec, a `version` and another key of ours; it isn't parsed."""
    from gradcheck_cli.spec.load import is_spec

    return path.name.lower().endswith(SUFFIXES) and is_spec(path, surely=True)
