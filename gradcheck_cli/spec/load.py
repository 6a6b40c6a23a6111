"""Text or file -> checks: the way into this room."""

from __future__ import annotations

import re
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, Where
from gradcheck_cli.spec.build import Builder
from gradcheck_cli.spec.nodes import MAX_BYTES, Document, Entries, Node, Scalar, document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.spec.check import Check

_VERSION = 1
_KEY = re.compile(r"""^(?:---[ ]+)?(["']?)(\w+)\1[ \t]*(:)(?:\s|$)""", re.MULTILINE)
_COLON = re.compile(r"\s*:")
_WHOLE = re.compile(r"\s*[0-9]+[ \t\r]*(?:[#,}\n]|$)")
# Keys that stand in every spec that could be right.
_OURS = frozenset({"inputs", "checks", "expression", "implementation"})
# How near to one of them a key is that is taken for a mistake, and how much of a file is asked for that.
_NEAR, _LONGEST, _MOST_LOOKED_AT = 0.7, 64, 100
_TOKEN = re.compile(r""""(?:[^"\\]|\\.)*"|'[^']*'|[{}\[\]]|[^\s"'{}\[\],:]+""")
_BRACKETS = {"{": 1, "[": 1, "}": -1, "]": -1}


def load_text(text: str, file: str | None = None, base: Path | None = None) -> tuple[Check, ...]:
    """The checks of a spec given as text, in the order of the file.

    `file` is what messages and ids call it; a name ending in .json is read as JSON, another as
    YAML, and text without a name as whichever it is. `base` is the folder of an input's `file`.

    Where `checks` has `defaults` beside it, `dims`, `inputs`, `let` and `manual` are merged name by
    name (an input of a check replaces the default input of that name); any other key of a
    check replaces the default's.

    Raises GradcheckError with everything that is wrong with the file.

    >>> [check.id for check in load_text('''
    ... version: 1
    ... inputs: {x: {shape: [3]}}
    ... expression: x.sum()
    ... dtype: [float64, float32]''')]
    ['check-1[float64]', 'check-1[float32]']
    """
    made, roots = read_roots(text, file)
    if made.problems:
        made.raise_problems()
    filled = [root for root in roots if not (isinstance(root, Scalar) and root.value is None)]
    if not filled:
        made.fail(
            "GC005", "the file is empty: it has no `version`", None, "begin with `version: 1`"
        )
    builder = Builder(made, base)
    for root in filled:
        _add(made, builder, root, alone=len(filled) == 1)
    if made.problems:
        made.raise_problems()
    return tuple(builder.checks)


def load_file(path: str | Path) -> tuple[Check, ...]:
    """The checks of a spec file; raises GradcheckError with everything that is wrong with it."""
    path = Path(path)
    return load_text(text_of(path), str(path), path.parent)


def text_of(path: Path) -> str:
    """The text of a spec file; raises GradcheckError where it can't be read, or is too large."""
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        where = Where(str(path))
        problem = Problem(
            "GC027", f"can't read the file: {reason}", where, None, ExitCode.CANNOT_RUN
        )
        raise GradcheckError(problem) from error
    if len(content) > MAX_BYTES:
        message = f"the file is larger than {MAX_BYTES // 2**20} MiB"
        raise GradcheckError(Problem("GC008", message, Where(str(path)), "split it"))
    return _decoded(content, str(path))


def is_spec(path: str | Path, *, surely: bool = False) -> bool:
    """Whether a file in a folder is meant as a spec: a top-level `version`, and a key of ours beside it.

    Other programs' files have a `version` too, as text (`package.json`, `compose.yml`) or as a whole number
    (Python's logging, dbt, conda-lock). With a whole number a file counts also where a key is nearly one of
    ours, or where there is no other key, so that a mistake in a spec is told; not so with `surely`.

    A cheap test that parses nothing. A file that can't be read counts as one, so that reading it
    says why.
    """
    path = Path(path)
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            text = stream.read(MAX_BYTES).decode("utf-8-sig", "replace")
    except OSError:
        return True
    if "version" not in text:
        return False
    flow = text.lstrip().startswith("{")
    keys = dict(_keys_in_flow(text) if flow else ((m[2], m.end(3)) for m in _KEY.finditer(text)))
    if "version" not in keys:
        return False
    if not _OURS.isdisjoint(keys):
        return True
    if surely or _WHOLE.match(text, keys["version"]) is None:
        return False
    others = [key[:_LONGEST] for key in islice(keys, _MOST_LOOKED_AT) if key != "version"]
    return not others or any(get_close_matches(key, _OURS, n=1, cutoff=_NEAR) for key in others)


def _keys_in_flow(text: str) -> Iterator[tuple[str, int]]:
    """The keys of the outermost mapping, each with the place of its colon's end."""
    depth = 0
    for found in _TOKEN.finditer(text):
        depth += _BRACKETS.get(found[0], 0)
        if depth == 1:
            colon = _COLON.match(text, found.end())
            if colon is not None:
                yield found[0].strip("\"'"), colon.end()


def _decoded(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            message, where = "the file is UTF-16", Where(file)
        else:
            message = f"the file is not UTF-8: byte 0x{content[error.start]:02x}"
            where = Where(file, line)
        raise GradcheckError(Problem("GC001", message, where, "save it as UTF-8")) from error


def read_roots(text: str, file: str | None) -> tuple[Document, list[Node]]:
    """A text as a document with its problems so far, and the roots that stand in it."""
    made = document(text, file)
    if file is not None and file.lower().endswith(".json"):
        return made, _json(made)
    if (file is None or not Path(file).suffix) and text.lstrip().startswith("{"):
        try:
            return made, _json(made)
        except GradcheckError:
            made = document(text, file)
    from gradcheck_cli.spec.yaml_reader import read_yaml

    return made, read_yaml(made)


def _json(made: Document) -> list[Node]:
    from gradcheck_cli.spec.json_reader import read_json

    return read_json(made)


def _add(made: Document, builder: Builder, root: Node, *, alone: bool) -> None:
    if not isinstance(root, Entries):
        made.add("GC002", "a spec is a mapping of keys to values", root, "begin with `version: 1`")
        return
    version = root.entries.get("version")
    if version is None:
        made.add("GC005", "the spec has no `version`", root, "begin with `version: 1`")
        return
    number = version.value
    if isinstance(number, int) and not isinstance(number, bool) and number != _VERSION:
        hint = "upgrade gradcheck" if number > _VERSION else f"write `version: {_VERSION}`"
        message = (
            f"version {number} of the spec format is not known; this gradcheck reads {_VERSION}"
        )
        made.add("GC005", message, version, hint)
        return
    # Pydantic costs a tenth of a second, which commands that read no spec don't pay.
    from gradcheck_cli.spec.model_errors import validate

    builder.add_document(root, validate(made, root), alone=alone)
