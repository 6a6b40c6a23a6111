"""A project's configuration: `[tool.gradcheck]` of its pyproject.toml, and the variables `GRADCHECK_*`.

Keys are the long options of `gradcheck compare`. What the command line says comes before a variable, that
before the spec, and the spec before pyproject.toml.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import GradcheckError, Problem, Where, did_you_mean
from gradcheck_cli.suite.selection import values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

FILE = "pyproject.toml"
PREFIX = "GRADCHECK_"
_MOST_BYTES = 4 << 20
# Enough to repeat and few enough to list.
MOST_REPEATS = 100_000


@dataclass(frozen=True, slots=True)
class Config:
    """What one place says: the command line, the variables or pyproject.toml. None where it says nothing.

    `timeout` is in seconds and 0 for no limit, as `maxfail` is 0 for none.
    """

    files: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    device: str | None = None
    dtype: tuple[str, ...] | None = None
    seed: int | None = None
    rtol: float | None = None
    atol: float | None = None
    strict: bool | None = None
    jobs: int | None = None
    timeout: float | None = None
    cluster: str | None = None
    report: tuple[str, ...] | None = None
    allow_imports: tuple[str, ...] | None = None
    cache_dir: str | None = None
    durations: int | None = None
    maxfail: int | None = None
    repeat: int | None = None
    keyword: str | None = None
    tag: tuple[str, ...] | None = None

    def over(self, other: Config) -> Config:
        """This one, and where it says nothing the other."""
        return Config(*(
            getattr(other if getattr(self, key) is None else self, key) for key in _FIELDS
        ))  # fmt: skip


_FIELDS = tuple(field.name for field in fields(Config))
_NUMBER = partial(values.whole, least=0)
# What judges a key's value; see `values`.
_READERS: Mapping[str, Callable[[str, Any], Any]] = {
    "files": values.texts,
    "methods": values.methods,
    "device": values.device,
    "dtype": values.dtypes,
    "seed": values.seed,
    "rtol": values.tolerance,
    "atol": values.tolerance,
    "strict": values.flag,
    "jobs": values.jobs,
    "timeout": values.duration,
    "cluster": values.text,
    "report": values.texts,
    "allow-imports": values.packages,
    "cache-dir": values.text,
    "durations": _NUMBER,
    "maxfail": _NUMBER,
    "repeat": partial(values.whole, least=1, most=MOST_REPEATS),
    "keyword": values.text,
    "tag": values.texts,
}
KEYS = tuple(_READERS)
# A variable has no lists: there, commas part these.
_LISTS = ("files", "report", "tag")


def read(given: Mapping[str, Any], name: Callable[[str], str]) -> Config:
    """Values by key as a configuration; `name` is what a key is called where it was given.

    Keys whose value is None are as good as absent. Raises GradcheckError (GC028).
    """
    return Config(**{
        key.replace("-", "_"): _READERS[key](name(key), value)
        for key, value in given.items()
        if value is not None
    })  # fmt: skip


def from_environment(environment: Mapping[str, str]) -> Config:
    """What the variables say: GRADCHECK_JOBS=2, GRADCHECK_ALLOW_IMPORTS=a,b. Empty ones say nothing.

    Raises GradcheckError (GC028).
    """

    def variable(key: str) -> str:
        return PREFIX + key.replace("-", "_").upper()

    given: dict[str, Any] = {key: environment.get(variable(key)) or None for key in KEYS}
    for key in _LISTS:
        if given[key] is not None:
            given[key] = given[key].split(",")
    return read(given, variable)


@dataclass(frozen=True, slots=True)
class Project:
    """The nearest pyproject.toml and what it says.

    `folder` is where it lies, or where the search began if there is none; `file` is its path where it has
    a section of ours. Its paths hold from its own folder, and `config` has them from the present one.
    """

    folder: Path
    file: Path | None
    config: Config


def find_project(start: Path) -> Project:
    """The configuration of the project that the folder `start` belongs to.

    Raises GradcheckError (GC028; GC027 where the file can't be read).
    """
    start = start.absolute()
    for folder in (start, *start.parents):
        path = folder / FILE
        if path.is_file():
            return _project(path)
    return Project(start, None, Config())


def _project(path: Path) -> Project:
    import tomllib

    shown = os.path.relpath(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except OSError as error:
        message = f"{shown} can't be read: {error.strerror or error}"
        problem = Problem("GC027", message, Where(shown), "make it readable")
        raise GradcheckError(problem) from error
    if len(content) > _MOST_BYTES:
        message = f"{shown} is larger than {_MOST_BYTES >> 20} MiB"
        raise GradcheckError(Problem("GC028", message, Where(shown)))
    try:
        document = content.decode("utf-8")
        whole = tomllib.loads(document)
    except (ValueError, RecursionError) as error:
        message = f"{shown} is no TOML: {str(error)[:200]}"
        raise GradcheckError(Problem("GC028", message, Where(shown))) from error
    tools = whole.get("tool")
    section = tools.get("gradcheck") if isinstance(tools, dict) else None
    if section is None:
        return Project(path.parent, None, Config())
    if not isinstance(section, dict):
        message = "`tool.gradcheck` is no table"
        raise GradcheckError(Problem("GC028", message, Where(shown), "write [tool.gradcheck]"))
    config = _config(section, _Places(shown, document))
    return Project(path.parent, path, _from_here(config, path.parent))


def _config(section: Mapping[str, Any], places: _Places) -> Config:
    """The section's keys; all that are wrong are told at once."""
    config, problems = Config(), []
    for key, value in section.items():
        try:
            if key not in _READERS:
                near = did_you_mean(key.replace("_", "-"), KEYS)
                values.misused(
                    f"[tool.gradcheck] has no key `{key[:60]}`",
                    near or f"it has {', '.join(KEYS)}",
                )
            config = read({key: value}, lambda key: f"[tool.gradcheck] {key}").over(config)
        except GradcheckError as error:
            problems += [replace(p, where=places.of(key)) for p in error.problems]
    if problems:
        raise GradcheckError(*problems)
    return config


@dataclass(frozen=True, slots=True)
class _Places:
    """Where keys stand. The library that reads TOML doesn't say, so the text is looked through."""

    file: str
    document: str

    def of(self, key: str) -> Where:
        """The line that sets `key`; only the file where it is written in a form of its own."""
        inside = False
        plain = re.escape(key)
        written = re.compile(rf"""\s*(?:{plain}|"{plain}"|'{plain}')\s*[=.]""")
        for number, line in enumerate(self.document.splitlines(), 1):
            if line.lstrip().startswith("["):
                inside = re.match(r"\s*\[\s*tool\s*\.\s*gradcheck\s*\]", line) is not None
            elif inside and written.match(line):
                column = len(line) - len(line.lstrip()) + 1
                return Where(self.file, number, column, line, len(line.strip()))
        return Where(self.file)


def _from_here(config: Config, folder: Path) -> Config:
    """Paths that hold from the project's folder, as they are from the present one."""

    def moved(path: str) -> str:
        if path == "-" or os.path.isabs(path):  # noqa: PTH117 -- no path, but text that becomes one
            return path
        return os.path.relpath(folder / path)

    def report(request: str) -> str:
        named = re.match(r"[A-Za-z][\w-]*=", request)
        start = named[0] if named else ""
        path = request[len(start) :]
        # A format may be turned off: `github=off`.
        return request if start and path == "off" else f"{start}{moved(path)}"

    return replace(
        config,
        files=config.files and tuple(moved(file) for file in config.files),
        report=config.report and tuple(report(request) for request in config.report),
        cache_dir=config.cache_dir and moved(config.cache_dir),
    )
