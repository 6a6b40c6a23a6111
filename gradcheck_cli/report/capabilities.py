"""What a stream can show: whether it is a terminal, may be redrawn, and how wide it is.

The variables that people know decide, in this order, each counting as unset where it is empty:

| variable | meaning |
|---|---|
| `TTY_COMPATIBLE` | `0`: no control sequences; `1`: the stream understands them, whatever it is |
| `FORCE_COLOR`, `CLICOLOR_FORCE` | colours, whatever the stream is (`CLICOLOR_FORCE=0` says nothing) |
| `CI` and those of CI services | a log: no control sequences, also where the service gives a terminal |
| none | as the stream is |

`NO_COLOR` takes the colours away in each case, and `TERM=dumb` all styles. `TTY_INTERACTIVE` (`0`, `1`)
decides on the progress bar, which otherwise is drawn on a terminal outside of CI. `COLUMNS` is the width.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

# Most services set the first; Jenkins, Azure Pipelines, TeamCity and CodeBuild only their own.
_CI = (
    "CI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "JENKINS_URL",
    "TF_BUILD",
    "TEAMCITY_VERSION",
    "CODEBUILD_BUILD_ID",
    "BUILDKITE",
    "CIRCLECI",
    "TRAVIS",
)
_NO = ("", "0", "false", "no")
# What services take for commands in a log: GitHub a line that begins so, whatever its indentation; it, Azure
# Pipelines and TeamCity `##[..]`, `##vso[..]` and `##teamcity[..]` wherever they stand.
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\w*\[)")
_USUAL_COLUMNS = 80
# Less than that would only be a heap of single words.
_LEAST_COLUMNS = 40


def on_ci() -> bool:
    """Whether the output is a CI service's log."""
    return any(os.environ.get(name, "").lower() not in _NO for name in _CI)


def no_command(line: str) -> str:
    r"""A line that the service whose log it goes to doesn't take for a command: names come from spec files.

    >>> no_command("  ::error::")
    '  \\x3a:error::'
    """
    return _COMMAND.sub(lambda found: f"{found[1]}\\x3a" if found[0] != "#" else "\\x23", line)


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is to have colours and the like."""
    compatible = os.environ.get("TTY_COMPATIBLE")
    if compatible in ("0", "1"):
        return compatible == "1"
    if os.environ.get("FORCE_COLOR") or os.environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return is_tty(stream) and not on_ci()


def is_interactive(stream: TextIO) -> bool:
    """Whether a line of a stream may be drawn again and again."""
    interactive = os.environ.get("TTY_INTERACTIVE")
    if interactive == "0" or not is_tty(stream) or is_dumb():
        return False
    return is_terminal(stream) and (interactive == "1" or not on_ci())


def is_dumb() -> bool:
    """Whether the terminal says that it knows no control sequences."""
    return os.environ.get("TERM", "").lower() in ("dumb", "unknown")


def is_tty(stream: TextIO) -> bool:
    """Whether a stream is a terminal."""
    try:
        return stream.isatty()
    except ValueError:  # it is closed
        return False


def columns() -> int:
    """How wide text is to be: `COLUMNS`; in a log 80; else the terminal, even if a pager is between."""
    wanted = os.environ.get("COLUMNS", "")
    if wanted.isdecimal() and int(wanted):
        return max(int(wanted), _LEAST_COLUMNS)
    return _USUAL_COLUMNS if on_ci() or is_dumb() else max(_terminal_columns(), _LEAST_COLUMNS)


def _terminal_columns() -> int:
    for descriptor in (1, 2, 0):
        try:
            width = os.get_terminal_size(descriptor).columns
        except OSError:
            continue
        if width:
            return width
    return _USUAL_COLUMNS
