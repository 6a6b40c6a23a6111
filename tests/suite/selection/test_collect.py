from __future__ import annotations

import errno
import io
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.suite.selection.collect import Collection, collect, reproduce

if TYPE_CHECKING:
    from collections.abc import Iterator

SPEC = """\
version: 1
name: {name}
tags: [{tag}]
inputs: {{x: {{shape: [3]}}}}
expression: x.sum()
"""
MANY = """\
version: 1
defaults:
  inputs: {x: {shape: [3]}}
checks:
  - {name: one, expression: x.sum()}
  - {name: two, expression: x.sum(), dtype: [float64, float32]}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: str, text: str | None = None, *, tag: str = "quick") -> None:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(SPEC.format(name=file.stem, tag=tag) if text is None else text)


def names(found: Collection) -> list[str]:
    return [check.name for check in found.checks]


def test_a_folder_is_searched_in_order_and_hidden_ones_are_not() -> None:
    for path in ("d/b.yaml", "d/a.yml", "d/sub/c.yaml", "d/.hidden/x.yaml", "d/.x.yaml"):
        write(path)
    write("d/a.json", '{"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": "x.sum()"}')
    write("d/notes.txt")
    found = collect(["d"])
    assert [check.file for check in found.checks] == [
        str(Path("d") / name) for name in ("a.json", "a.yml", "b.yaml", "sub/c.yaml")
    ]
    assert found.notes == []
    assert found.files == 4


def test_a_file_without_version_is_passed_over_in_a_folder_but_wrong_by_name() -> None:
    write("d/a.yaml")
    write("d/compose.yaml", "services: {web: {image: x}}\n")
    found = collect(["d"])
    assert names(found) == ["a"]
    assert found.notes == [f"{Path('d/compose.yaml')} is passed over: it is no spec"]
    write("d/logging.yaml", "version: 1\nformatters: {}\n")
    assert collect(["d"]).problems == []
    assert "unknown key `formatters`" in collect(["d/logging.yaml"]).problems[0].message
    named = collect(["d/compose.yaml", "d"])
    assert names(named) == ["a"]
    assert named.problems[0].exit_code == ExitCode.USAGE


def test_a_glob_also_where_the_shell_leaves_it_alone() -> None:
    for path in ("d/b.yaml", "d/a.yaml", "d/sub/c.yaml"):
        write(path)
    assert names(collect(["d/*.yaml"])) == ["a", "b"]
    assert names(collect(["d/**/*.yaml"])) == ["a", "b", "c"]


def test_a_file_whose_name_looks_like_a_glob() -> None:
    write("[x]*.yaml", SPEC.format(name="odd", tag="x"))
    assert names(collect(["[x]*.yaml"])) == ["odd"]


def test_each_check_once_however_often_it_is_named(folder: Path) -> None:
    write("d/a.yaml")
    assert names(collect(["d/a.yaml", "d", str(folder / "d"), "./d/a.yaml::a"])) == ["a"]


def test_one_check_by_name() -> None:
    write("many.yaml", MANY)
    assert names(collect(["many.yaml::one"])) == ["one"]
    assert [c.dtype for c in collect(["many.yaml::two"]).checks] == ["float64", "float32"]
    assert [c.dtype for c in collect(["many.yaml::two[float32]"]).checks] == ["float32"]
    both = collect(["many.yaml::two[float32]", "many.yaml::one"])
    assert names(both) == ["two", "one"]


def test_a_wrong_name_is_met_with_the_right_one() -> None:
    write("many.yaml", MANY)
    (problem,) = collect(["many.yaml::ones"]).problems
    assert problem.code == "GC025"
    assert problem.exit_code == ExitCode.NOTHING_SELECTED
    assert problem.hint == "did you mean `one`?"
    (problem,) = collect(["many.yaml::qqq"]).problems
    assert problem.hint == "it has `one`, `two`"


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    content = SPEC.format(name="piped", tag="x").encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    found = collect(["-", "-"])
    assert names(found) == ["piped"]
    assert found.checks[0].file == "<stdin>"


def test_stdin_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe\x00")))
    (problem,) = collect(["-"]).problems
    assert problem.code == "GC001"


def test_a_broken_file_does_not_stop_the_others() -> None:
    write("a.yaml")
    write("b.yaml", "version: 1\ninputs: {x: {shape: [3}\n")
    write("c.yaml", "version: 1\nexpresion: x\nsed: 1\n")
    found = collect(["b.yaml", "a.yaml", "c.yaml", "b.yaml"])
    assert names(found) == ["a"]
    assert [broken.file for broken in found.broken] == ["b.yaml", "c.yaml"]
    assert len(found.broken[1].problems) >= 2


def test_a_missing_file_cannot_run_and_names_its_neighbour() -> None:
    write("d/losses.yaml")
    (problem,) = collect(["d/loses.yaml"]).problems
    assert (problem.code, problem.exit_code) == ("GC027", ExitCode.CANNOT_RUN)
    assert problem.hint == "did you mean `losses.yaml`?"
    (problem,) = collect(["nowhere/x.yaml"]).problems
    assert problem.exit_code == ExitCode.CANNOT_RUN


@pytest.mark.parametrize("argument", ["empty", "other", "*.none"])
def test_nothing_found(argument: str) -> None:
    Path("empty").mkdir()
    write("other/compose.yaml", "services: {}\n")
    with pytest.raises(GradcheckError) as caught:
        collect([argument])
    assert caught.value.problems[0].code == "GC025"
    assert caught.value.exit_code == ExitCode.NOTHING_SELECTED
    assert argument in str(caught.value)


def test_an_empty_folder_beside_a_full_one_is_a_note() -> None:
    write("d/a.yaml")
    Path("empty").mkdir()
    assert collect(["d", "empty"]).notes == ["empty holds no spec"]


def test_keyword_looks_at_names_and_tags() -> None:
    write("a.yaml", tag="slow")
    write("b.yaml")
    assert names(collect(["a.yaml", "b.yaml"], keyword="SLOW")) == ["a"]
    found = collect(["a.yaml", "b.yaml"], keyword="b")
    assert (names(found), found.deselected) == (["b"], 1)
    with pytest.raises(GradcheckError) as caught:
        collect(["a.yaml"], keyword="zzz")
    assert caught.value.exit_code == ExitCode.NOTHING_SELECTED


def test_a_name_that_is_too_long_for_a_path() -> None:
    (problem,) = collect(["x" * 5000]).problems
    assert problem.exit_code == ExitCode.CANNOT_RUN


@pytest.mark.parametrize("argument", ["a::b.yaml::two", "./a::b.yaml::two"])
def test_a_check_of_a_file_whose_own_name_is_parted(argument: str) -> None:
    write("a::b.yaml", MANY)
    assert names(collect([argument])) == ["two", "two"]


def test_a_file_that_could_be_an_option() -> None:
    write("-x.yaml")
    (check,) = collect(["."]).checks
    assert reproduce(check) == "gradcheck compare ./-x.yaml::-x"


def test_a_folder_that_cannot_be_read_may_hold_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    write("d/a.yaml")
    write("d/closed/b.yaml")
    scandir = os.scandir

    def refusing(path: str) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    monkeypatch.chdir("d")
    found = collect([".", "closed"])
    assert names(found) == ["a"]
    (problem,) = found.problems
    assert (problem.code, problem.exit_code) == ("GC027", ExitCode.CANNOT_RUN)
    assert str(problem.where) == "closed"
    assert found.notes == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_a_glob_waits_for_no_pipe() -> None:
    write("a.yaml")
    os.mkfifo("pipe.yaml")
    found = collect(["*.yaml"])
    assert names(found) == ["a"]
    assert found.notes == ["pipe.yaml is passed over: it is no file"]
