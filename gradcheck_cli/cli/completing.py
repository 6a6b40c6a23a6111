"""What can stand at the end of a command line: for `gradcheck completion`, and for no other command."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# Of bash's COMP_WORDBREAKS those that are no syntax: within a word they are bare.
_BREAKS = ":=@"
# More help nobody, and a folder or a spec may hold any number.
MOST = 1000
_HELP = 60
# What bash reads as something else than itself in a word without quotes.
_SPECIAL = re.compile(r"([\s\\\"'`$&|;<>()\[\]{}*?!#^])")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A whole word that can stand there, and a few words on what it is."""

    text: str
    help: str = ""


def candidates(words: Sequence[str]) -> list[Candidate]:
    """What the last of `words` can become; the first is gradcheck itself.

    Never raises for what a person types: what can't be read has no candidates.
    """
    before, current = list(words[1:-1]), words[-1] if len(words) > 1 else ""
    try:
        found = _candidates(before, current)
        fitting = (one for one in found if one.text.startswith(current) and one.text.isprintable())
        return list({one.text: one for one in islice(fitting, MOST)}.values())
    except (GradcheckError, OSError, ValueError):
        return []


def candidates_of_line(line: str, breaks: str) -> list[str]:
    """As bash wants them: for a line up to the cursor, what replaces its last piece.

    A piece ends at a character of `breaks`, its COMP_WORDBREAKS; within quotes it is the whole word.
    """
    words, quote = _split(line)
    found = [candidate.text for candidate in candidates(words)]
    if quote:
        return found
    current = words[-1]
    # Blanks and quotes are escaped within a word; of the others, those that separate pieces are left.
    cut = max((current.rfind(mark) for mark in breaks if mark in _BREAKS), default=-1) + 1
    return [_SPECIAL.sub(r"\\\1", text[cut:]) for text in found]


def _split(line: str) -> tuple[list[str], str]:
    """The words of a line whose last may be unfinished, and the quote in which it ends, if in one."""
    for quote in ("", '"', "'"):
        lexer = shlex.shlex(line + quote, posix=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        try:
            words = list(lexer)
        except ValueError:  # no closing quote, or nothing after a backslash
            continue
        if not quote and (not words or line[-1:].isspace()):
            words.append("")
        return words or [""], quote
    return [*line.split(), ""], ""


def _candidates(before: Sequence[str], current: str) -> Iterable[Candidate]:
    import typer

    from gradcheck_cli.cli.app import build

    if not before:
        group: Any = typer.main.get_command(build())
        commands = (Candidate(name, _short(one.help)) for name, one in group.commands.items())
        return (*commands, *_options(group))
    group = typer.main.get_command(build(before))
    command = group.commands.get(before[0])
    if command is None:
        return ()
    words = before[1:]
    option = None if "--" in words else _waiting(command, words)
    if option is not None:
        return _values(before[0], option, words, current)
    if current.startswith("-") and "--" not in words:
        name, equals, value = current.partition("=")
        if not equals:
            return _options(command)
        known = next((p for p in command.params if name in p.opts), None)
        found = () if known is None else _values(before[0], known, words, value)
        return (Candidate(f"{name}={one.text}", one.help) for one in found)
    return _arguments(before[0], command, current)


def _options(command: Any) -> Iterator[Candidate]:
    for parameter in command.params:
        if parameter.param_type_name == "option" and not parameter.hidden:
            for name in (*parameter.opts, *parameter.secondary_opts):
                yield Candidate(name, _short(parameter.help))
    yield Candidate("--help", "What it does and takes.")


def _waiting(command: Any, words: Sequence[str]) -> Any:
    """The option whose value comes next."""
    last = words[-1] if words else ""
    return next(
        (
            parameter
            for parameter in command.params
            if parameter.param_type_name == "option"
            and not parameter.is_flag
            and last in parameter.opts
        ),
        None,
    )


def _values(command: str, option: Any, words: Sequence[str], current: str) -> Iterable[Candidate]:
    names = {
        "methods": _methods,
        "dtype": _dtypes,
        "domain": _domains,
    }
    if option.name in names:
        return _listed(names[option.name](), current)
    if option.name == "check":
        return _checks_of(words)
    if option.name == "report":
        return _reports(current)
    if option.name == "ci":
        from gradcheck_cli.cli.pipelines import PIPELINES

        return map(Candidate, PIPELINES)
    fixed = {
        "device": ("cpu", "cuda", "mps"),
        "jobs": ("auto",),
        "graph": ("tree", "mermaid", "dot"),
    }
    if option.name in fixed:
        return map(Candidate, fixed[option.name])
    if option.name in {"json", "output", "shard_durations", "cache_dir"} or command == "merge":
        return _files(current, ())
    return ()


def _arguments(name: str, command: Any, current: str) -> Iterable[Candidate]:
    argument = next((p.name for p in command.params if p.param_type_name == "argument"), None)
    of_command: dict[str, Callable[[], Iterable[Candidate]]] = {
        "explain": _codes,
        "ops": _operators,
        "completion": _shells,
        "merge": lambda: _files(current, (".json", ".jsonl")),
        "init": lambda: _files(current, (".yaml", ".yml")),
    }
    if argument is None:
        return ()
    return of_command[name]() if name in of_command else _specs(current)


def _short(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= _HELP else line[: _HELP - 3] + "..."


def _listed(names: Iterable[str], current: str) -> Iterator[Candidate]:
    """The rest of `a,b`: names that aren't there yet."""
    done, _, _ = current.rpartition(",")
    start = f"{done}," if done else ""
    return (Candidate(start + name) for name in names if name not in done.split(","))


def _methods() -> Iterable[str]:
    from gradcheck_cli.methods import METHODS

    return METHODS


def _dtypes() -> Iterable[str]:
    from gradcheck_cli.spec.check import FLOATING

    return FLOATING


def _domains() -> Iterable[str]:
    from gradcheck_cli.ops.domains import DOMAINS

    return (domain.name for domain in DOMAINS)


def _codes() -> Iterator[Candidate]:
    from gradcheck_cli.codes import CODES

    return (Candidate(code.code, code.title) for code in CODES.values())


def _shells() -> Iterator[Candidate]:
    from gradcheck_cli.cli.completion import SCRIPTS

    return map(Candidate, SCRIPTS)


def _operators() -> Iterator[Candidate]:
    import gradcheck_cli.ops  # noqa: F401 -- fills the table
    from gradcheck_cli.ops.domains import entries

    known = entries()
    yield from (Candidate(entry.name, entry.domain.title) for entry in known)
    for entry in known:
        yield from (Candidate(spelling, entry.domain.title) for spelling in entry.spellings)


def _reports(current: str) -> Iterator[Candidate]:
    from gradcheck_cli.report.formats import FORMATS

    name, equals, path = current.partition("=")
    if equals:
        yield from (Candidate(f"{name}={one.text}") for one in _files(path, ()))
        return
    yield from (Candidate(f"{one.name}=", one.help) for one in FORMATS.values())
    yield from _files(current, ())


def _specs(current: str) -> Iterator[Candidate]:
    """Spec files and folders; after `FILE::`, the checks of the file."""
    from gradcheck_cli.suite.selection.collect import SUFFIXES

    file, colons, _ = current.partition("::")
    if not colons:
        return _files(current, SUFFIXES)
    return (Candidate(f"{file}::{name}") for name in _names(file))


def _checks_of(words: Sequence[str]) -> Iterator[Candidate]:
    """The names for `--check`: those of the first spec file among the words."""
    from gradcheck_cli.suite.selection.collect import SUFFIXES

    file = next((word for word in words if word.lower().endswith(SUFFIXES)), None)
    return map(Candidate, () if file is None else _names(file))


def _names(file: str) -> Iterator[str]:
    from gradcheck_cli.spec.load import load_file

    checks = load_file(Path(file).expanduser())
    return iter(dict.fromkeys(check.name for check in checks))


def _files(current: str, suffixes: tuple[str, ...]) -> Iterator[Candidate]:
    """Folders, and files with one of `suffixes` (all where there is none); hidden ones when asked for."""
    folder, _, start = current.rpartition("/")
    shown = current[: len(current) - len(start)]
    with os.scandir(Path(f"{folder}/" if shown else ".").expanduser()) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(".") and not start.startswith("."):
                continue
            if entry.is_dir():
                yield Candidate(f"{shown}{entry.name}/")
            elif not suffixes or entry.name.lower().endswith(suffixes):
                yield Candidate(f"{shown}{entry.name}")
