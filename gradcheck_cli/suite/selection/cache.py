"""What earlier runs leave for later ones: which checks were not right, and how long each took.

A folder `.gradcheck_cache` beside pyproject.toml with one JSON file. It may be deleted at any time, and
nothing depends on it but `--last-failed` and `--failed-first`: what can't be read is as good as absent, and
what can't be written is forgotten. Checks are known by their ids as seen from the folder's own place, so that
a run from another folder means the same ones.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_cli.suite.ending import is_right
from gradcheck_cli.suite.selection.collect import STDIN_NAME
from gradcheck_cli.suite.selection.shard import seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck_cli.verdict.outcome import CheckOutcome

FOLDER = ".gradcheck_cache"
RECORD = "record.json"
_VERSION = 1
_MOST_BYTES = 64 << 20
_TAG = """\
Signature: 8a477f597d28d172789f06886806bc55
# This folder is a cache of gradcheck's: it may be deleted. See https://bford.info/cachedir/
"""


@dataclass
class Record:
    """Ids of checks that were not right, and of files that could not be read; seconds by id."""

    failed: set[str] = field(default_factory=set)
    durations: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cache:
    """The folder; it is made when something is first put there."""

    folder: Path

    @classmethod
    def of(cls, folder: str | Path) -> Cache:
        """The cache in that folder."""
        return cls(Path(folder))

    def key(self, name: str, file: str | None) -> str:
        """An id, or a file's path, as the record has it: with `/`, from the folder's own place."""
        if file is None or not name.startswith(file):
            return name
        try:
            here = str(Path.cwd())
        except OSError:  # the folder we are in was removed
            return name
        return _seen_from(file, str(self.folder), here) + name[len(file) :]

    def read(self) -> Record:
        """What is known; nothing, where the record is absent or damaged."""
        path = self.folder / RECORD
        try:
            if path.stat().st_size > _MOST_BYTES:
                return Record()
            document: Any = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return Record()
        if not isinstance(document, dict) or document.get("version") != _VERSION:
            return Record()
        failed, durations = document.get("failed"), document.get("durations")
        return Record(
            {name for name in failed if isinstance(name, str)}
            if isinstance(failed, list)
            else set(),
            seconds_of(durations) if isinstance(durations, dict) else {},
        )

    def update(
        self, outcomes: Iterable[CheckOutcome], known: Iterable[tuple[str, str]], *, strict: bool
    ) -> OSError | None:
        """Put down what a run has found; what it didn't run keeps its record.

        `known` are the files that were read and the names of all checks in each: what is on record of such a
        file and is none of these checks exists no more. Returns why it could not be written, if so.
        """
        # Read again: another run may have ended meanwhile. Two that end at once leave one's record, whole.
        record = self.read()
        self._forget(record, known)
        for outcome in outcomes:
            if outcome.file == STDIN_NAME or outcome.file is None:
                continue
            name = self.key(outcome.id, outcome.file)
            if is_right(outcome, strict=strict):
                record.failed.discard(name)
            else:
                record.failed.add(name)
            if outcome.seconds > 0:
                record.durations[name] = round(outcome.seconds, 6)
        try:
            self._write(record)
        except OSError as error:
            return error
        return None

    def _forget(self, record: Record, known: Iterable[tuple[str, str]]) -> None:
        """Drop what is on record of files that were read and don't have it any more."""
        names = {self.key(f"{file}::{name}", file) for file, name in known}
        files = {name.partition("::")[0] for name in names}
        # A file that could be read is no failure itself.
        record.failed -= files

        @cache
        def is_file(file: str) -> bool:
            return os.path.isfile(self.folder.parent / file)  # noqa: PTH113 -- Path's raises

        def gone(name: str) -> bool:
            file = name.partition("::")[0]
            if file in files:
                return not any(
                    start in names
                    for start in (name, *(name[:k] for k, c in enumerate(name) if c in "[#"))
                )
            return not is_file(file)

        record.failed = {name for name in record.failed if not gone(name)}
        record.durations = {n: s for n, s in record.durations.items() if not gone(n)}

    def _write(self, record: Record) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for name, text in ((".gitignore", "*\n"), ("CACHEDIR.TAG", _TAG)):
            if not (self.folder / name).exists():
                (self.folder / name).write_text(text, encoding="utf-8")
        document = {
            "version": _VERSION,
            "failed": sorted(record.failed),
            "durations": dict(sorted(record.durations.items())),
        }
        temporary = self.folder / f".{RECORD}-{os.urandom(8).hex()}"
        try:
            temporary.write_text(json.dumps(document, indent=0) + "\n", encoding="utf-8")
            temporary.replace(self.folder / RECORD)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


@lru_cache(maxsize=256)
def _seen_from(file: str, folder: str, here: str) -> str:
    """The path of `file` from beside `folder`, both as they are from `here`."""
    start = os.path.dirname(os.path.join(here, folder))  # noqa: PTH118, PTH120 -- text, not a file
    try:
        path = os.path.relpath(os.path.join(here, file), start)  # noqa: PTH118 -- as above
    except ValueError:  # on another drive
        path = file
    return path.replace(os.sep, "/")


def not_right(record: Record, cache: Cache, checks: Iterable[tuple[str, str | None]]) -> set[int]:
    """The positions of those (id, file) that were not right before, or whose file could not be read."""
    return {
        position
        for position, (name, file) in enumerate(checks)
        if cache.key(name, file) in record.failed
        or (file is not None and cache.key(file, file) in record.failed)
    }
