"""`gradcheck schema --install`: the schema where editors find it.

The schema is written once for a project, as `.gradcheck/spec.schema.json` in its root, and the first line of
every YAML spec names it relative to the spec: a modeline of the YAML language server, which VS Code, Neovim,
Helix, Emacs, Zed and JetBrains' editors read. So it works for everybody who has the project, without a
setting; both belong into version control. JSON has no comments, and a spec no key for it: what a person has
to set for JSON specs is printed.

A file of several documents has them completed in the first: the language server reads a document's own
comments.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, printable
from gradcheck_cli.suite.selection.collect import SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCHEMA = Path(".gradcheck/spec.schema.json")
_BOM = b"\xef\xbb\xbf"
# What marks the root of a project.
_ROOTS = ("pyproject.toml", ".git", ".hg")
# A comment line before the first line that is none, as the language server and JetBrains read it.
_MODELINE = re.compile(rb"^#\s*(?:yaml-language-server\s*:.*?\$schema=|\$schema:\s*)(\S+)[^\r\n]*")
_NAMED = 3


def install(arguments: Sequence[str]) -> int:
    """Write the schema, and its modeline into the specs that are named or lie in a folder named.

    Files are changed in their first line only, and not at all where that is right; a modeline that names
    another schema is left. Raises GradcheckError for what is no spec or can't be read or written.
    """
    specs = list(dict.fromkeys(_specs(arguments)))
    added, right, others, of_json = [], [], [], []
    for root in dict.fromkeys(_root(spec) for spec in specs):
        _write_schema(root)
    for spec in specs:
        if spec.name.lower().endswith(".json"):
            of_json.append(spec)
            continue
        target = Path(os.path.relpath(_root(spec) / SCHEMA, os.path.realpath(spec.parent)))
        before = _read(spec)
        after = with_modeline(before, target.as_posix())
        if after is None:
            others.append(spec)
        elif after == before:
            right.append(spec)
        else:
            _replace(spec, after)
            added.append(spec)
    _tell("the modeline is now the first line of", added)
    _tell("it was there already in", right)
    _tell("another schema is named, and left as it is, in", others)
    if of_json:
        _tell("JSON has no comments; for VS Code, add this to .vscode/settings.json for", of_json)
        _say(json.dumps({"json.schemas": _associations(of_json)}, indent=2))
    return ExitCode.PASSED


def with_modeline(content: bytes, schema: str) -> bytes | None:
    r"""A YAML text that begins with the modeline for `schema`; None where it names another one.

    >>> with_modeline(b"version: 1\r\n", "s.json")
    b'# yaml-language-server: $schema=s.json\r\nversion: 1\r\n'
    """
    bom = _BOM if content.startswith(_BOM) else b""
    rest = content[len(bom) :]
    start = 0
    for line in rest.splitlines(keepends=True):
        if line.strip() and not line.startswith(b"#"):
            break
        found = _MODELINE.match(line)
        if found is not None:
            named = found[1].decode("utf-8", "replace")
            if named == schema:
                return content
            if not named.endswith(f"/{SCHEMA.name}"):
                return None
            # Ours, from before the spec or the project's root was moved.
            first, last = start + found.start(1), start + found.end(1)
            return bom + rest[:first] + schema.encode() + rest[last:]
        start += len(line)
    ending = b"\r\n" if rest.partition(b"\n")[0].endswith(b"\r") else b"\n"
    return bom + f"# yaml-language-server: $schema={schema}".encode() + ending + rest


def _specs(arguments: Sequence[str]) -> Iterator[Path]:
    from gradcheck_cli.spec.load import is_spec

    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            yield from _in_folder(path)
            continue
        if not path.exists():
            message = f"there is no file or folder {argument}"
            raise GradcheckError(
                Problem("GC027", message, None, "check the path", ExitCode.CANNOT_RUN)
            )
        if not path.name.lower().endswith(SUFFIXES) or not is_spec(path):
            hint = "a spec is a .yaml, .yml or .json file with a top-level `version`"
            raise GradcheckError(Problem("GC025", f"{argument} is no spec", None, hint))
        yield path


def _in_folder(folder: Path) -> Iterator[Path]:
    from gradcheck_cli.suite.selection.specs import is_ours

    found = False
    for top, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        for name in sorted(names):
            # A file that only has a `version` may be anybody's, and isn't touched.
            if not name.startswith(".") and is_ours(Path(top, name)):
                found = True
                yield Path(top, name)
    if not found:
        message, hint = f"there is no spec in {folder}", "`gradcheck init` writes a first one"
        raise GradcheckError(Problem("GC025", message, None, hint, ExitCode.NOTHING_SELECTED))


def _root(spec: Path) -> Path:
    """The project of a spec: the nearest folder above it with one of `_ROOTS`, or its own folder."""
    folder = Path(os.path.realpath(spec.parent))
    for above in (folder, *folder.parents):
        if any((above / name).exists() for name in _ROOTS):
            return above
    return folder


def _write_schema(root: Path) -> None:
    from gradcheck_cli.spec.editor import editor_schema

    path = root / SCHEMA
    text = json.dumps(editor_schema(), indent=1) + "\n"
    try:
        path.parent.mkdir(exist_ok=True)
        if path.exists() and path.read_bytes() == text.encode():
            return
        path_shown = os.path.relpath(path)
        _replace(path, text.encode())
    except OSError as error:
        raise _refused(path, error) from error
    _say(f"wrote {printable(path_shown)}")


def _read(path: Path) -> bytes:
    from gradcheck_cli.spec.load import text_of

    return text_of(path).encode()


def _replace(path: Path, content: bytes) -> None:
    """Put `content` in the place of a file, whole or not at all; a link and its target's mode stay."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".gradcheck-{os.urandom(8).hex()}.tmp")
    try:
        try:
            temporary.write_bytes(content)
            if target.exists():
                shutil.copymode(target, temporary)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> GradcheckError:
    message = f"{path} can't be written: {error.strerror or error}"
    hint = "allow the file and its folder to be written to"
    return GradcheckError(Problem("GC305", message, None, hint, ExitCode.CANNOT_RUN))


def _associations(specs: Sequence[Path]) -> list[dict[str, object]]:
    """What VS Code has to be told of JSON specs, relative to the project that is open."""
    of_root: dict[Path, list[str]] = {}
    for spec in specs:
        root, place = _root(spec), Path(os.path.realpath(spec.parent), spec.name)
        of_root.setdefault(root, []).append(f"/{place.relative_to(root).as_posix()}")
    return [{"fileMatch": names, "url": f"./{SCHEMA.as_posix()}"} for names in of_root.values()]


def _tell(what: str, specs: Sequence[Path]) -> None:
    if specs:
        names = ", ".join(printable(str(spec)) for spec in specs[:_NAMED])
        more = f" and {len(specs) - _NAMED:,} more" if len(specs) > _NAMED else ""
        _say(f"{what} {names}{more}")


def _say(text: str) -> None:
    print(text)  # noqa: T201 -- the answer itself
