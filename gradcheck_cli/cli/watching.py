"""`--watch`: run, and again whenever one of the files changes.

What counts is a picture of the files: their time, size and inode. The system's notifications, through
watchfiles, only say when to look again; so a change made during a run is seen, and so are an editor's
atomic rename, a new file in a folder, and a network drive that notifies of nothing.
"""

from __future__ import annotations

import glob
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, format_problem, printable
from gradcheck_cli.suite.selection.collect import STDIN, SUFFIXES, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

# What an input's `file` may be; those beside a spec are watched with it.
_DATA = (".npy", ".npz", ".safetensors")
_CODE = ".py"
# Each watched folder takes a handle of the system's, which has about as many for a user.
MAX_FOLDERS = 4096
# An editor's several writes within this time are one change.
_QUIET_MS = 100
_GROUP_MS = 800
# How often to look where no notification comes.
_LOOK_MS = 2_000
_NAMED = 3

_Stamp = tuple[int, int, int]


def watch(paths: Sequence[str], run: Callable[[], int], packages: Sequence[str] = ()) -> int:
    """Call `run`, and again after every change of a file that `paths` name, until Ctrl-C.

    The code of `packages` below the current folder counts too.

    Returns the exit code of the last run. A Ctrl-C within a run is the run's own: what it returns or
    raises ends the watching. A run that raises GradcheckError is shown, and the files are watched on
    (a spec is broken while it is written), but for the first one, whose error is the command line's.
    On a terminal the screen is cleared before a further run.

    Raises GradcheckError where watchfiles is not installed, for `-`, and for more folders than
    MAX_FOLDERS.
    """
    notified = _notifier()
    if STDIN in paths:
        hint = "name files or folders"
        raise GradcheckError(Problem("GC028", "--watch: stdin can't be watched", None, hint))
    watched = _Watched(paths, packages)
    before = watched.look()
    code = run()
    while code != ExitCode.INTERRUPTED:
        try:
            now = _changed(watched, before, notified)
        except KeyboardInterrupt:
            _say("")
            return code
        if sys.stdout.isatty():
            print("\x1b[2J\x1b[H", end="", flush=True)  # noqa: T201 -- clears the screen
        _say(f"changed: {_difference(before, now)}")
        before = now
        try:
            code = run()
        except GradcheckError as error:
            for problem in error.problems:
                _say(format_problem(problem))
            code = error.exit_code
    return code


def _changed(
    watched: _Watched,
    before: Mapping[str, _Stamp],
    notified: Callable[[set[str]], Iterator[object]],
) -> dict[str, _Stamp]:
    """Wait until the files differ from `before`; the files then."""
    now = watched.look()
    if now == before:
        _say(f"watching {len(now)} file{'s' * (len(now) != 1)}; Ctrl-C ends")
    while now == before:
        folders = watched.folders
        for _ in notified(folders):
            now = watched.look()
            # Where a folder is new or gone, the notifications are set up again.
            if now != before or watched.folders != folders:
                break
    return now


def _difference(before: Mapping[str, _Stamp], now: Mapping[str, _Stamp]) -> str:
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(printable, names[:_NAMED])) + more


def _notifier() -> Callable[[set[str]], Iterator[object]]:
    """What yields whenever something happens in folders, and now and then without."""
    try:
        import watchfiles
    except ImportError as error:
        hint = "pip install 'gradcheck-cli[watch]'"
        message = "--watch needs watchfiles, which is not installed"
        problem = Problem("GC028", message, None, hint, ExitCode.CANNOT_RUN)
        raise GradcheckError(problem) from error

    def notified(folders: set[str]) -> Iterator[object]:
        try:
            yield from watchfiles.watch(
                *sorted(folders),
                watch_filter=None,
                recursive=False,
                debounce=_GROUP_MS,
                step=_QUIET_MS,
                rust_timeout=_LOOK_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            )
        except OSError:
            # A folder that went in this moment, or more of them than the system gives handles for.
            time.sleep(_LOOK_MS / 1000)
            yield None

    return notified


class _Watched:
    """The files and folders that a command line names."""

    def __init__(self, paths: Sequence[str], packages: Sequence[str]) -> None:
        self._paths = paths
        self._packages = packages
        # Whether a file is a spec, as of its stamp: a report written into the folder is none.
        self._specs: dict[str, tuple[_Stamp, bool]] = {}
        self._files: dict[str, _Stamp] = {}
        self.folders: set[str] = set()

    def look(self) -> dict[str, _Stamp]:
        """The files that exist now, each with its stamp; `folders` is where they may appear."""
        self._files, self.folders = {}, set()
        for argument in self._paths:
            text, _ = split(argument)
            if _exists(text) or not glob.has_magic(text):
                self._add(text)
                continue
            self.folders.add(_fixed(text))
            for name in glob.iglob(text, recursive=True):  # noqa: PTH207 -- as `collect` does
                self._add(name)
        for package in self._packages:
            self._add_code(package.replace(".", os.sep))
        self.folders = {folder for folder in self.folders if _exists(folder)} or {"."}
        return self._files

    def _add(self, name: str) -> None:
        if os.path.isdir(name):  # noqa: PTH112 -- Path's raises on what can't be a path
            for folder in self._below(name):
                self._listed(folder, (*SUFFIXES, *_DATA))
            return
        stamp = _stamp(name)
        if stamp is not None:
            self._files[os.path.normpath(name)] = stamp
        # The folder is watched: a file that is replaced is another one to the system.
        folder = os.path.dirname(name) or "."  # noqa: PTH120 -- as above
        if folder not in self.folders:
            self.folders.add(folder)
            self._listed(folder, _DATA)

    def _add_code(self, name: str) -> None:
        """A module's file, or all files of a package."""
        if os.path.isdir(name):  # noqa: PTH112 -- as in `_add`
            for folder in self._below(name):
                self._listed(folder, (_CODE,))
        elif _exists(name + _CODE):
            self._add(name + _CODE)

    def _below(self, top: str) -> Iterator[str]:
        for folder, inner, _ in os.walk(top):
            inner[:] = [name for name in inner if not name.startswith(".")]
            self.folders.add(folder)
            if len(self.folders) > MAX_FOLDERS:
                message = f"--watch: there are more than {MAX_FOLDERS} folders in {top}"
                hint = "name the folders that hold the specs"
                raise GradcheckError(Problem("GC028", message, None, hint))
            yield folder

    def _listed(self, folder: str, suffixes: tuple[str, ...]) -> None:
        """Take in the files of a folder that end in one of `suffixes` and are specs, data or code."""
        try:
            names = os.listdir(folder)  # noqa: PTH208 -- as in `_add`
        except OSError:  # it is gone, or not ours to read
            return
        for name in names:
            if name.startswith(".") or not name.lower().endswith(suffixes):
                continue
            path = os.path.normpath(os.path.join(folder, name))  # noqa: PTH118 -- as in `_add`
            stamp = _stamp(path)
            if stamp is None:
                continue
            if name.lower().endswith((*_DATA, _CODE)) or self._is_spec(path, stamp):
                self._files[path] = stamp

    def _is_spec(self, path: str, stamp: _Stamp) -> bool:
        from gradcheck_cli.spec.load import is_spec

        known = self._specs.get(path)
        if known is None or known[0] != stamp:
            known = self._specs[path] = (stamp, is_spec(path))
        return known[1]


def _fixed(pattern: str) -> str:
    """The folder of a glob, as far as it has no magic."""
    folder = Path(pattern).parent
    while glob.has_magic(str(folder)):
        folder = folder.parent
    return str(folder)


def _exists(name: str) -> bool:
    return os.path.exists(name)  # noqa: PTH110 -- Path's raises on what can't be a path


def _stamp(name: str) -> _Stamp | None:
    try:
        found = os.stat(name)  # noqa: PTH116 -- as above
    except (OSError, ValueError):  # it is gone, or no path
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 -- for the person who watches
