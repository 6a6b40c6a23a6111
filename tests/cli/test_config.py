"""Where a value comes from: the command line, then the environment, then the spec, then pyproject.toml."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import ExitCode

if TYPE_CHECKING:
    import pytest

    from tests.cli.conftest import Command


def configure(text: str) -> None:
    Path("pyproject.toml").write_text(f"[tool.gradcheck]\n{text}\n")


def checks(gradcheck: Command, *arguments: str) -> list[Any]:
    result = gradcheck("compare", *arguments, "--json", "-")
    found: list[Any] = json.loads(result.out)["checks"]
    return found


def test_who_comes_first(gradcheck: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    configure('seed = 1\nmethods = ["engine", "numeric"]')
    (check,) = checks(gradcheck, "right.yaml")
    assert check["seed"] == 1
    assert [m["method"] for m in check["gradients"][0]["methods"]] == ["engine", "numeric"]
    Path("seeded.yaml").write_text(f"{Path('right.yaml').read_text()}seed: 2\n")
    assert checks(gradcheck, "seeded.yaml")[0]["seed"] == 2
    monkeypatch.setenv("GRADCHECK_SEED", "3")
    assert checks(gradcheck, "seeded.yaml")[0]["seed"] == 3
    assert checks(gradcheck, "seeded.yaml", "--seed", "4")[0]["seed"] == 4


def test_the_command_that_reproduces_needs_no_configuration(gradcheck: Command) -> None:
    configure('seed = 1\nmethods = "engine,numeric"\nrepeat = 2')
    found = checks(gradcheck, "right.yaml")
    assert [check["seed"] for check in found] == [1, 2]
    command = found[1]["reproduce"]
    assert command == (
        "gradcheck compare right.yaml::right --methods engine,numeric --seed 2 --repeat 1"
    )
    (again,) = checks(gradcheck, *command.split()[2:])
    assert again["seed"] == 2
    Path("pyproject.toml").unlink()
    (again,) = checks(gradcheck, *command.split()[2:])
    assert again["seed"] == 2


def test_files_of_the_configuration(gradcheck: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    configure('files = ["right.yaml"]\nmethods = "engine,manual"')
    assert gradcheck("compare").code == ExitCode.PASSED
    assert gradcheck("compare", "wrong.yaml").code == ExitCode.FAILED
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    result = gradcheck("compare", "--collect-only", "-q")
    assert result.out == f"{Path('..') / 'right.yaml'}::right\n"
    assert gradcheck("compare", "-q").code == ExitCode.PASSED
    assert (Path("..") / ".gradcheck_cache" / "record.json").exists()


def test_no_files_anywhere(gradcheck: Command) -> None:
    result = gradcheck("compare")
    assert result.code == ExitCode.USAGE
    assert "missing argument 'FILES'" in result.err
    assert "pyproject.toml" in result.err


def test_reports_strictness_and_selection(
    gradcheck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure('methods = "engine,derived"\nstrict = true\nkeyword = "right"\nreport = "a.json"')
    assert gradcheck("compare", ".").code == ExitCode.FAILED
    (check,) = json.loads(Path("a.json").read_text())["checks"]
    assert (check["name"], check["status"]) == ("right", "inconclusive")
    assert gradcheck("compare", ".", "--no-strict").code == ExitCode.PASSED
    monkeypatch.setenv("GRADCHECK_STRICT", "0")
    monkeypatch.setenv("GRADCHECK_REPORT", "b.json")
    Path("a.json").unlink()
    assert gradcheck("compare", ".", "-k", "").code == ExitCode.PASSED
    assert len(json.loads(Path("b.json").read_text())["checks"]) == 2
    assert not Path("a.json").exists()


def test_a_wrong_key_and_a_wrong_variable(
    gradcheck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure("job = 2")
    result = gradcheck("compare", "right.yaml")
    message = (
        "error[GC028]: [tool.gradcheck] has no key `job`\n"
        "  --> pyproject.toml:2:1\n"
        "   | job = 2\n"
        "   | ^^^^^^^\n"
        "   = help: did you mean `jobs`?\n"
    )
    assert result == (ExitCode.USAGE, "", message)
    configure("")
    monkeypatch.setenv("GRADCHECK_JOBS", "many")
    result = gradcheck("compare", "right.yaml")
    assert result.code == ExitCode.USAGE
    assert "GRADCHECK_JOBS is `many`" in result.err


def test_the_doctor_says_where_it_comes_from(gradcheck: Command) -> None:
    configure("seed = 1")
    # A long path is broken where the terminal ends.
    assert str(Path("pyproject.toml").absolute()) in "".join(gradcheck("doctor").out.split())
