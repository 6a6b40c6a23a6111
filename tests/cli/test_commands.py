"""Every command but `compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.codes import CODES
from gradcheck_cli.errors import ExitCode

if TYPE_CHECKING:
    from tests.cli.conftest import Command


def test_validate(gradcheck: Command) -> None:
    result = gradcheck("validate", "right.yaml", "wrong.yaml")
    assert result == (ExitCode.PASSED, "2 checks in 2 files: valid\n", "")
    assert gradcheck("validate", "right.yaml", "-q").out == ""
    assert "right.yaml::right\n" in gradcheck("validate", "right.yaml", "-v").out


def test_validate_tells_all_problems_of_all_files(gradcheck: Command) -> None:
    Path("a.yaml").write_text(
        "version: 1\ninputs: {x: {shape: [3]}, y: {shape: [4]}}\n"
        "expression: (x + y).sum() + z + x.smu()\n"
    )
    Path("b.yaml").write_text("version: 1\nexpresion: x\n")
    result = gradcheck("validate", ".")
    assert result.code == ExitCode.USAGE
    for code in ("GC003", "GC012", "GC013", "GC015"):
        assert f"error[{code}]" in result.err
    assert result.err.rstrip().endswith("problems found")


def test_validate_says_what_expanded_checks_share_once(gradcheck: Command) -> None:
    Path("a.yaml").write_text(
        "version: 1\ninputs: {x: {shape: [3]}}\nexpression: x.smu()\ndtype: [float64, float32]\n"
    )
    assert gradcheck("validate", "a.yaml").err.count("error[") == 1


def test_explain_every_code(gradcheck: Command) -> None:
    listed = gradcheck("explain").out
    for code in CODES:
        assert f"  {code}  " in listed
        assert gradcheck("explain", code).out.startswith(f"{code} ")


@pytest.mark.parametrize("code", ["gc101", "101", " GC101 "])
def test_explain_is_lenient(gradcheck: Command, code: str) -> None:
    assert gradcheck("explain", code).out.startswith("GC101 off by a constant factor")


def test_schema_is_json(gradcheck: Command) -> None:
    assert json.loads(gradcheck("schema").out)["$schema"].startswith("https://json-schema.org/")


def test_init_writes_a_spec_that_passes(gradcheck: Command) -> None:
    result = gradcheck("init", "new/folder")
    assert result.code == ExitCode.PASSED
    path = Path("new/folder/gradient.yaml")
    assert f"next: gradcheck compare {path}" in result.out
    assert gradcheck("validate", str(path)).code == ExitCode.PASSED
    assert gradcheck("compare", str(path)).code == ExitCode.PASSED


def test_init_takes_a_name(gradcheck: Command) -> None:
    assert gradcheck("init", "mine.yml").code == ExitCode.PASSED
    assert "gradcheck compare mine.yml" in Path("mine.yml").read_text()


def test_init_never_overwrites(gradcheck: Command) -> None:
    before = Path("right.yaml").read_text()
    result = gradcheck("init", "right.yaml")
    assert result.code == ExitCode.USAGE
    assert "exists already" in result.err
    assert Path("right.yaml").read_text() == before


def test_init_where_nothing_can_be_written(gradcheck: Command) -> None:
    result = gradcheck("init", "right.yaml/new.yaml")
    assert result.code == ExitCode.CANNOT_RUN
    assert "error[GC305]" in result.err
    assert gradcheck("init", "spec.txt").code == ExitCode.USAGE


def test_doctor(gradcheck: Command) -> None:
    result = gradcheck("doctor")
    assert result.code == ExitCode.PASSED
    for word in ("gradcheck", "python", "numpy", "torch", "device cpu"):
        assert f" {word} " in result.out
