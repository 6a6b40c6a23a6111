from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.errors import ExitCode

if TYPE_CHECKING:
    from tests.cli.conftest import Command

OWN = "--methods=engine,manual,derived,numeric"
UNKNOWN = "version: 1\nname: unknown\ninputs: {x: {shape: [3]}}\nexpression: x.smu()\n"


def test_passed_by_all_five_methods(gradcheck: Command) -> None:
    result = gradcheck("compare", "right.yaml")
    assert result.code == ExitCode.PASSED
    assert result.err == ""
    for method in ("torch", "engine", "manual", "derived", "numeric"):
        assert f"    {method} " in result.out
    assert "✗" not in result.out
    assert "1 passed in" in result.out


def test_failed_names_the_outlier_and_the_place(gradcheck: Command) -> None:
    result = gradcheck("compare", "wrong.yaml", OWN)
    assert result.code == ExitCode.FAILED
    assert "FAILED wrong" in result.out
    assert "manual is the outlier" in result.out
    assert "GC101" in result.out
    assert "--> wrong.yaml:5:13" in result.out
    assert f"gradcheck compare wrong.yaml::wrong {OWN.replace('=', ' ')}" in result.out


def test_every_broken_file_is_told_and_the_others_run(gradcheck: Command) -> None:
    Path("one.yaml").write_text("version: 1\nexpresion: x\n")
    Path("two.yaml").write_text("version: 2\n")
    Path("three.yaml").write_text(UNKNOWN)
    result = gradcheck("compare", ".", OWN, "--json", "out.json")
    assert result.code == ExitCode.USAGE
    assert "one.yaml" in result.err
    assert "two.yaml" in result.err
    assert "error[GC013]" in result.out
    assert "1 passed, 1 failed, 3 errors" in result.out
    summary = json.loads(Path("out.json").read_text())["summary"]
    assert (summary["total"], summary["errors"], summary["exit_code"]) == (5, 3, 2)


def test_json_on_stdout_is_alone_there(gradcheck: Command) -> None:
    result = gradcheck("compare", "wrong.yaml", OWN, "--json", "-")
    assert result.code == ExitCode.FAILED
    document = json.loads(result.out)
    assert document["checks"][0]["gradients"][0]["outliers"] == ["manual"]
    assert "FAILED wrong" in result.err


def test_json_that_cannot_be_written_is_known_before_the_checks_run(gradcheck: Command) -> None:
    result = gradcheck("compare", "right.yaml", OWN, "--json", "nowhere/out.json")
    assert result.code == ExitCode.CANNOT_RUN
    assert result.out == ""
    assert "error[GC305]" in result.err


def test_exitfirst(gradcheck: Command) -> None:
    Path("wrong2.yaml").write_text(Path("wrong.yaml").read_text())
    result = gradcheck("compare", "wrong.yaml", "wrong2.yaml", "right.yaml", "-x", OWN)
    assert result.code == ExitCode.FAILED
    assert "1 failed in" in result.out
    assert "stopped at the first that is not right; 2 checks not run" in result.out


def test_quiet_and_keyword(gradcheck: Command) -> None:
    result = gradcheck("compare", ".", "-q", "-k", "RIGHT", OWN)
    assert result.code == ExitCode.PASSED
    first, *rest = result.out.splitlines()
    assert first.startswith("1 passed in")
    assert rest == ["1 check not selected by -k"]


def test_several_dtypes_and_their_commands(gradcheck: Command) -> None:
    result = gradcheck("compare", "wrong.yaml", OWN, "--dtype", "float64,float32", "--json", "-")
    checks = json.loads(result.out)["checks"]
    assert [check["dtype"] for check in checks] == ["float64", "float32"]
    assert [check["id"] for check in checks] == [
        "wrong.yaml::wrong[float64]",
        "wrong.yaml::wrong[float32]",
    ]
    for check in checks:
        again = gradcheck(*check["reproduce"].split()[1:], "--json", "-")
        (repeated,) = json.loads(again.out)["checks"]
        assert repeated["dtype"] == check["dtype"]
        assert repeated["gradients"][0]["outliers"] == check["gradients"][0]["outliers"]


def test_a_dtype_replaces_those_of_the_spec(gradcheck: Command) -> None:
    Path("two.yaml").write_text(Path("wrong.yaml").read_text() + "dtype: [float32, bfloat16]\n")
    result = gradcheck("compare", "two.yaml", OWN, "--dtype", "float64", "--json", "-")
    (check,) = json.loads(result.out)["checks"]
    assert (check["id"], check["dtype"]) == ("two.yaml::wrong", "float64")
    again = gradcheck(*check["reproduce"].split()[1:], "--json", "-")
    assert [c["dtype"] for c in json.loads(again.out)["checks"]] == ["float64"]


def test_tolerance_and_seed_override(gradcheck: Command) -> None:
    result = gradcheck("compare", "wrong.yaml", OWN, "--rtol", "10", "--seed", "5", "--json", "-")
    (check,) = json.loads(result.out)["checks"]
    assert (check["status"], check["seed"]) == ("passed", 5)


def test_absent_device(gradcheck: Command) -> None:
    result = gradcheck("compare", "right.yaml", "--device", "cuda:99")
    assert result.code == ExitCode.CANNOT_RUN
    assert "error[GC302]" in result.out


def test_strict(gradcheck: Command) -> None:
    # The engine and the formula derived by it are one witness: that decides nothing.
    arguments = ("compare", "right.yaml", "--methods", "engine,derived")
    assert gradcheck(*arguments).code == ExitCode.PASSED
    strict = gradcheck(*arguments, "--strict")
    assert strict.code == ExitCode.FAILED
    assert "INCONCLUSIVE" in strict.out
    assert "inconclusive counts as failed (--strict)" in strict.out


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        ("empty", ExitCode.NOTHING_SELECTED),
        ("others", ExitCode.NOTHING_SELECTED),
        ("missing.yaml", ExitCode.CANNOT_RUN),
        ("right.yaml::wrong", ExitCode.NOTHING_SELECTED),
        ("others/compose.yaml", ExitCode.USAGE),
    ],
)
def test_nothing_to_check(gradcheck: Command, argument: str, code: ExitCode) -> None:
    Path("empty").mkdir()
    Path("others").mkdir()
    Path("others/compose.yaml").write_text("services: {}\n")
    result = gradcheck("compare", argument)
    assert result.code == code
    assert "error[GC0" in result.err


def test_names_with_terminal_escapes_are_shown_as_text(gradcheck: Command) -> None:
    name = "\x1b[31mred\x07.yaml"
    Path(name).write_text(Path("wrong.yaml").read_text().replace("wrong", "'[bold]x[/bold]'"))
    for arguments in ([name], [".", "-v"], [f"{name}::nothing"]):
        result = gradcheck("compare", *arguments, OWN)
        assert not {"\x1b", "\x07"} & set(result.out + result.err)
