"""`gradcheck schema`: what it prints, writes and puts into specs."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_cli.cli.editors import SCHEMA, with_modeline
from gradcheck_cli.errors import ExitCode
from gradcheck_cli.spec.editor import editor_schema
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.spec.model import json_schema

if TYPE_CHECKING:
    from tests.cli.conftest import Command

LINE = "# yaml-language-server: $schema="
SPEC = "version: 1\ninputs: {x: {shape: [3]}}\nexpression: x.sum()\n"


def test_it_is_printed_or_written(gradcheck: Command) -> None:
    printed = gradcheck("schema").out
    assert json.loads(printed) == json_schema()
    assert gradcheck("schema", "-o", "schema.json") == (ExitCode.PASSED, "", "")
    assert Path("schema.json").read_text() == printed
    assert gradcheck("schema", "-o", "no/folder.json").code == ExitCode.CANNOT_RUN


def test_wrong_use(gradcheck: Command) -> None:
    assert "go with --install" in gradcheck("schema", "right.yaml").err
    assert "contradict" in gradcheck("schema", "--install", "-o", "x.json").err
    assert gradcheck("schema", "--install", "nowhere").code == ExitCode.CANNOT_RUN
    Path("empty").mkdir()
    assert gradcheck("schema", "--install", "empty").code == ExitCode.NOTHING_SELECTED
    Path("notes.yaml").write_text("a: 1\n")
    assert "notes.yaml is no spec" in gradcheck("schema", "--install", "notes.yaml").err
    assert Path("notes.yaml").read_text() == "a: 1\n"


def test_install(gradcheck: Command, folder: Path) -> None:
    (folder / "pyproject.toml").touch()
    deep = folder / "specs" / "losses"
    deep.mkdir(parents=True)
    (deep / "a.yaml").write_bytes(SPEC.replace("\n", "\r\n").encode())
    (deep / "package.json").write_text('{"version": "1"}')
    (deep / "compose.yml").write_text("version: '3'\nservices: {}\n")
    result = gradcheck("schema", "--install")
    assert result.code == ExitCode.PASSED
    assert json.loads((folder / SCHEMA).read_text()) == editor_schema()
    assert result.out.splitlines() == [
        f"wrote {SCHEMA}",
        "the modeline is now the first line of right.yaml, wrong.yaml, specs/losses/a.yaml",
    ]
    first, rest = (deep / "a.yaml").read_bytes().split(b"\r\n", 1)
    assert first.decode() == f"{LINE}../../.gradcheck/spec.schema.json"
    assert rest == SPEC.replace("\n", "\r\n").encode()
    assert Path("right.yaml").read_text().startswith(f"{LINE}.gradcheck/spec.schema.json\nversion")
    assert (deep / "compose.yml").read_text() == "version: '3'\nservices: {}\n"
    assert gradcheck("validate", ".", "-q").code == ExitCode.PASSED

    def times() -> dict[Path, tuple[int, int]]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}

    before = times()
    again = gradcheck("schema", "--install")
    assert again.out == "it was there already in right.yaml, wrong.yaml, specs/losses/a.yaml\n"
    assert times() == before


def test_a_spec_that_moved_and_another_schema(gradcheck: Command, folder: Path) -> None:
    (folder / ".git").mkdir()
    Path("right.yaml").write_text(f"# Mine.\n{LINE}../../.gradcheck/spec.schema.json\n{SPEC}")
    other = f"{LINE}https://example.org/other.json\n{SPEC}"
    Path("wrong.yaml").write_text(other)
    out = gradcheck("schema", "--install", "right.yaml", "wrong.yaml").out
    assert "another schema is named, and left as it is, in wrong.yaml" in out
    assert Path("right.yaml").read_text() == (f"# Mine.\n{LINE}.gradcheck/spec.schema.json\n{SPEC}")
    assert Path("wrong.yaml").read_text() == other


def test_links_and_modes_stay(gradcheck: Command, folder: Path) -> None:
    (folder / "real").mkdir()
    real = folder / "real" / "r.yaml"
    real.write_text(SPEC)
    real.chmod(0o640)
    Path("link.yaml").symlink_to(real)
    assert gradcheck("schema", "--install", "link.yaml").code == ExitCode.PASSED
    assert Path("link.yaml").is_symlink()
    assert real.read_text() == f"{LINE}.gradcheck/spec.schema.json\n{SPEC}"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_json_specs_are_told_of(gradcheck: Command, folder: Path) -> None:
    (folder / ".git").mkdir()
    spec = folder / "sub" / "a.json"
    spec.parent.mkdir()
    text = json.dumps({"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": "x"})
    spec.write_text(text)
    out = gradcheck("schema", "--install", "sub").out
    told = json.loads(out[out.index("{\n") :])
    assert told == {
        "json.schemas": [{"fileMatch": ["/sub/a.json"], "url": "./.gradcheck/spec.schema.json"}]
    }
    assert spec.read_text() == text


def test_where_nothing_can_be_written(gradcheck: Command) -> None:
    Path(".gradcheck").touch()
    result = gradcheck("schema", "--install", "right.yaml")
    assert result.code == ExitCode.CANNOT_RUN
    assert "error[GC305]" in result.err
    assert Path("right.yaml").read_text().startswith("version")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"# yaml-language-server: $schema=s/x.json\n"),
        (
            b"\xef\xbb\xbfversion: 1\n",
            b"\xef\xbb\xbf# yaml-language-server: $schema=s/x.json\nversion: 1\n",
        ),
        (
            b"%YAML 1.2\n---\na: 1",
            b"# yaml-language-server: $schema=s/x.json\n%YAML 1.2\n---\na: 1",
        ),
        (b"# $schema: s/x.json\na: 1", b"# $schema: s/x.json\na: 1"),
        (
            b"\n#yaml-language-server : $schema=s/x.json\na: 1",
            b"\n#yaml-language-server : $schema=s/x.json\na: 1",
        ),
        # A line of text is none, and a comment after the first key is another document's business.
        (
            b"a: 1\n# $schema: y\n",
            b"# yaml-language-server: $schema=s/x.json\na: 1\n# $schema: y\n",
        ),
        (b"# $schema: other.json\na: 1", None),
    ],
)
def test_modelines(before: bytes, after: bytes | None) -> None:
    assert with_modeline(before, "s/x.json") == after


@given(st.text(st.sampled_from("ab:#\r\n -%\ufeff"), max_size=40))
def test_every_byte_stays_and_twice_is_once(text: str) -> None:
    before = text.encode()
    after = with_modeline(before, "../s.json")
    assert after is not None
    assert with_modeline(after, "../s.json") == after
    assert after.replace(b"# yaml-language-server: $schema=../s.json", b"", 1).replace(
        b"\r\n", b"\n", 1
    ).replace(b"\n", b"", 1) in (before, before.replace(b"\r\n", b"\n", 1))


def test_a_spec_with_directives_still_loads() -> None:
    made = with_modeline(f"%YAML 1.2\n---\n{SPEC}".encode(), "s.json")
    assert made is not None
    assert len(load_text(made.decode(), "a.yaml")) == 1
