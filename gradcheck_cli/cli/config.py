"""What a command is to do, from its options, the variables `GRADCHECK_*` and the project's pyproject.toml."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_cli.suite.selection.config import (
    Config,
    Project,
    find_project,
    from_environment,
    read,
)
from gradcheck_cli.suite.selection.overrides import Overrides
from gradcheck_cli.suite.selection.values import misused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# What an option is called where its name isn't the key's.
_OPTIONS = {"keyword": "-k", "allow-imports": "--allow-import"}


@dataclass(frozen=True, slots=True)
class Configuration:
    """What holds, and where it comes from.

    `settled` is what holds in the end. Of the keys that specs have too, `overrides` hold before a spec and
    `defaults` after it. `shared` is what every run has whose options say nothing.
    """

    settled: Config
    overrides: Overrides
    defaults: Overrides
    shared: Config
    project: Project


def option(key: str) -> str:
    """What the option of a key is called."""
    return _OPTIONS.get(key, f"--{key}")


def configuration(given: Mapping[str, Any]) -> Configuration:
    """The options' values by key (None where not given) over the environment over the project.

    Raises GradcheckError (GC028) for what is wrong with any of them.
    """
    chosen = read(given, option)
    environment = from_environment(os.environ)
    try:
        project = find_project(Path.cwd())
    except FileNotFoundError:  # the folder we are in was removed
        project = Project(Path(), None, Config())
    above = chosen.over(environment)
    return Configuration(
        settled=above.over(project.config),
        overrides=Overrides.of(above),
        defaults=Overrides.of(project.config),
        shared=environment.over(project.config),
        project=project,
    )


def configured_files(files: Sequence[str] | None, command: str) -> list[str]:
    """What a command is to read: the files that it is given, or those of the configuration.

    Raises GradcheckError (GC028).
    """
    return required(configuration({"files": files or None}).settled.files, command)


def required(files: Sequence[str] | None, command: str) -> list[str]:
    """The same files, of which there must be some. Raises GradcheckError (GC028)."""
    if not files:
        hint = "name spec files or folders, or set `files` under [tool.gradcheck] in pyproject.toml"
        misused("missing argument 'FILES'", f"{hint}; `gradcheck {command} --help` lists the rest")
    return [*files]
