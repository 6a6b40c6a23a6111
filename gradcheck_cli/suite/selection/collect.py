"""From what a person names on the command line to checks: files, folders, globs, stdin, `FILE::NAME`."""

from __future__ import annotations

import glob
import os
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, Where, did_you_mean
from gradcheck_cli.suite.selection.select import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.verdict.outcome import CheckOutcome

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "-"
STDIN_NAME = "<stdin>"


def reproduce(check: Check, options: str = "") -> str:
    """The command line that runs `check` alone; none for a spec from stdin."""
    if check.file is None or check.file == STDIN_NAME:
        return ""
    # A file whose name begins as an option does is no option from its folder.
    name = f"./{check.id}" if check.id.startswith("-") else check.id
    return f"gradcheck compare {shlex.quote(name)} {options}".rstrip()


@dataclass(frozen=True, slots=True)
class Broken:
    """A file that gave no checks, and everything that is wrong with it."""

    file: str
    problems: tuple[Problem, ...]

    @property
    def outcome(self) -> CheckOutcome:
        """The file as a check that could not run, so that the totals are honest."""
        from gradcheck_cli.verdict.outcome import CheckOutcome

        first, *others = self.problems
        line = None if first.where is None else first.where.line
        return CheckOutcome(
            self.file, self.file, "error", self.file, line, error=first, also=tuple(others)
        )


@dataclass
class Collection:
    """What was found. `notes` are for a person: files passed over, and folders without a spec.

    `known` are the file and the name of every check in the files that were read, wanted or not.
    """

    checks: list[Check] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    files: int = 0
    deselected: int = 0
    known: set[tuple[str, str]] = field(default_factory=set)

    @property
    def problems(self) -> list[Problem]:
        """What is wrong with all files."""
        return [problem for broken in self.broken for problem in broken.problems]


def collect(
    arguments: Sequence[str], *, keyword: str | None = None, tags: Sequence[str] = ()
) -> Collection:
    """All checks that `arguments` name, each once, in the order of the arguments.

    A file that can't be read doesn't stop the others: its problems are in the result. `keyword` and `tags`
    keep some of the checks: see `select`.

    Raises GradcheckError: GC025 (exit 5) where nothing is left to check and nothing is wrong either, GC028
    for a `keyword` that can't be read.
    """
    found = Collection()
    seen: set[str] = set()
    loaded: dict[Path, tuple[Check, ...]] = {}
    for argument in arguments:
        for path, name in _paths(argument, found):
            try:
                chosen = _named(_load(path, loaded, found), name, path)
            except GradcheckError as error:
                found.broken.append(Broken(_shown(path), error.problems))
                continue
            found.checks += [check for check in chosen if check.id not in seen]
            seen.update(check.id for check in chosen)
    selection = Selection(keyword, tuple(tags))
    kept = selection.of(found.checks)
    found.deselected = len(found.checks) - len(kept)
    found.checks = kept
    if not found.checks and not found.broken:
        raise GradcheckError(_nothing(arguments, found, selection))
    return found


def _shown(path: Path) -> str:
    return STDIN_NAME if str(path) == STDIN else str(path)


def _nothing(arguments: Sequence[str], found: Collection, selection: Selection) -> Problem:
    if found.deselected:
        wanted = [f"`{selection.keyword}`"] * bool(selection.keyword)
        wanted += [f"the tag {' or '.join(f'`{tag}`' for tag in selection.tags)}"] * bool(
            selection.tags
        )
        message = f"of {found.deselected:,} checks none has {' and '.join(wanted)}"
        hint = "`gradcheck compare FILES --collect-only` lists the checks; -k looks at ids and tags"
    else:
        message = f"no spec found in {', '.join(arguments)}"
        hint = (
            "a spec is a .yaml, .yml or .json file with a top-level `version`; "
            "`gradcheck init` writes a first one"
        )
        if found.notes:
            message += "; " + "; ".join(found.notes[:3])
    return Problem("GC025", message, None, hint, ExitCode.NOTHING_SELECTED)


def _paths(argument: str, found: Collection) -> Iterator[tuple[Path, str | None]]:
    """The files that an argument stands for, each with the name of the check selected in it."""
    if argument == STDIN:
        yield Path(STDIN), None
        return
    text, name = split(argument)
    path = Path(text)
    if os.path.isdir(text):  # noqa: PTH112 -- Path.is_dir raises on names that can't be a path
        yield from ((file, name) for file in _in_folder(path, found))
    elif os.path.exists(text) or not glob.has_magic(text):  # noqa: PTH110 -- as above
        yield path, name
    else:
        matches = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 -- takes absolute patterns
        if not matches:
            found.notes.append(f"nothing matches {text}")
        for match in map(Path, matches):
            if match.is_dir():
                yield from ((file, name) for file in _in_folder(match, found))
            elif match.exists() and not match.is_file():  # a pipe, which nobody may ever write to
                found.notes.append(f"{match} is passed over: it is no file")
            else:
                yield match, name


def split(argument: str) -> tuple[str, str | None]:
    """`FILE::NAME` taken apart; a file whose own name holds `::` is found too."""
    if os.path.exists(argument):  # noqa: PTH110 -- as in `_paths`
        return argument, None
    for found in re.finditer("::", argument):
        if os.path.exists(argument[: found.start()]):  # noqa: PTH110 -- as above
            return argument[: found.start()], argument[found.end() :] or None
    text, _, name = argument.partition("::")
    return text, name or None


def _in_folder(folder: Path, found: Collection) -> Iterator[Path]:
    """The specs below a folder in sorted order; what is hidden is left alone."""
    from gradcheck_cli.spec.load import is_spec

    empty = True
    for path in _walk(folder, found):
        if is_spec(path):
            empty = False
            yield path
        else:
            found.notes.append(f"{path} is passed over: it is no spec")
    if empty and not any(Path(broken.file).is_relative_to(folder) for broken in found.broken):
        found.notes.append(f"{folder} holds no spec")


def _walk(folder: Path, found: Collection) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        """Checks may be in there: to pass it over would be to call them right."""
        name = str(Path(error.filename))  # without `./`
        if all(broken.file != name for broken in found.broken):  # a folder may be named twice
            message = f"can't read the folder: {error.strerror or error}"
            hint = "make it readable, or name the files that are to be checked"
            problem = Problem("GC027", message, Where(name), hint, ExitCode.CANNOT_RUN)
            found.broken.append(Broken(name, (problem,)))

    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield Path(root) / name


def _load(
    path: Path, loaded: dict[Path, tuple[Check, ...]], found: Collection
) -> tuple[Check, ...]:
    """The checks of a file, read once however often it is named; of a broken one, the second time none."""
    from gradcheck_cli.spec.load import load_file, load_text

    key = path if str(path) == STDIN else Path(os.path.realpath(path))
    if key not in loaded:
        loaded[key] = ()
        if str(path) == STDIN:
            loaded[key] = load_text(_standard_input(), STDIN_NAME, Path.cwd())
        else:
            _require(path)
            loaded[key] = load_file(path)
        found.files += 1
        found.known.update((check.file, check.name) for check in loaded[key] if check.file)
    return loaded[key]


def _require(path: Path) -> None:
    """Refuse a path where nothing is, naming what is near."""
    if os.path.lexists(path):
        return
    try:
        beside = [entry.name for entry in path.parent.iterdir()]
    except (OSError, ValueError):
        beside = []
    near = did_you_mean(path.name, beside)
    hint = near.replace(f"`{path.name}`", str(path)) if near else "check the path"
    message = f"there is no file or folder {path}"
    raise GradcheckError(Problem("GC027", message, None, hint, ExitCode.CANNOT_RUN))


def _standard_input() -> str:
    from gradcheck_cli.spec.nodes import MAX_BYTES

    content = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        message = f"the spec on stdin is larger than {MAX_BYTES // 2**20} MiB"
        raise GradcheckError(Problem("GC008", message, Where(STDIN_NAME), "split it"))
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        message = f"the spec on stdin is not UTF-8: byte 0x{content[error.start]:02x}"
        problem = Problem("GC001", message, Where(STDIN_NAME), "send it as UTF-8")
        raise GradcheckError(problem) from error


def _named(checks: Iterable[Check], name: str | None, path: Path) -> list[Check]:
    """The checks called `name`: all that one entry expands to, or one of them by the end of its id."""
    checks = list(checks)
    if name is None or not checks:
        return checks
    chosen = [c for c in checks if name in (c.name, c.id, c.id.removeprefix(f"{c.file}::"))]
    if not chosen:
        names = [check.name for check in checks]
        listed = ", ".join(f"`{n}`" for n in dict.fromkeys(names[:8]))
        hint = did_you_mean(name, names) or f"it has {listed}{', ...' * (len(names) > 8)}"
        message = f"{path} has no check named `{name}`"
        raise GradcheckError(Problem("GC025", message, None, hint, ExitCode.NOTHING_SELECTED))
    return chosen
