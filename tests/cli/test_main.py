"""The handler at the top: every kind of failure becomes a message and an exit code."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gradcheck_cli
from gradcheck_cli.cli import explain
from gradcheck_cli.errors import ExitCode, GradcheckError, Problem

if TYPE_CHECKING:
    from tests.cli.conftest import Command


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Make a command fail with `error`."""

    def fail() -> int:
        raise error

    monkeypatch.setattr(explain, "explain", fail)


def test_version(gradcheck: Command) -> None:
    assert gradcheck("--version") == (0, f"gradcheck {gradcheck_cli.__version__}\n", "")


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_commands_and_exit_codes(gradcheck: Command, option: str) -> None:
    result = gradcheck(option)
    assert result.code == ExitCode.PASSED
    for word in (
        "compare",
        "derive",
        "trace",
        "validate",
        "init",
        "ops",
        "explain",
        "schema",
        "doctor",
        "completion",
    ):
        assert f"  {word} " in result.out
    assert "4 a check could not run" in result.out


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["comparr"], "no such command 'comparr'", "did you mean `compare`?"),
        (["compare"], "missing argument 'FILES'", "set `files` under [tool.gradcheck]"),
        (["validate"], "missing argument 'FILES'", "`gradcheck validate --help` lists the rest"),
        (["compare", "x", "--metods", "a"], "no option --metods", "did you mean `--methods`?"),
        (["compare", "x", "--seed", "many"], "invalid value for '--seed'", "--help"),
        (["compare", "x", "--seed"], "'--seed' requires an argument", "--help"),
        (["compare", "x", "--seed", "-1"], "--seed is -1", "from 0"),
        (["compare", "x", "--methods", "tourch"], "no `tourch`", "did you mean `torch`?"),
        (["compare", "x", "--methods", ","], "--methods is empty", "numeric"),
        (["compare", "x", "--dtype", "float31"], "no `float31`", "did you mean `float32`?"),
        (["compare", "x", "--device", "gpu"], "no `gpu`", "cuda:1"),
        (["compare", "x", "--device", "cuda:x"], "no `cuda:x`", "cuda:1"),
        (["compare", "x", "--rtol", "nan"], "--rtol is nan", "1e-5"),
        (["compare", "x", "--atol", "-1"], "--atol is -1.0", "1e-5"),
        (["compare", "x", "-q", "-v"], "contradict", "one of them"),
        (["explain", "GC2O6"], "no code `GC2O6`", "did you mean `GC206`?"),
        (["ops", "softmx"], "no operator `softmx`", "did you mean `softmax`?"),
    ],
)
def test_wrong_usage(gradcheck: Command, arguments: list[str], message: str, hint: str) -> None:
    result = gradcheck(*arguments)
    assert result.code == ExitCode.USAGE
    assert result.out == ""
    first, last = " ".join(result.err.split()).split(" = help: ")
    assert first.startswith("error[GC028]: ")
    assert message in first
    assert hint in last


def test_no_arguments_show_the_help(gradcheck: Command) -> None:
    result = gradcheck()
    assert result.code == ExitCode.USAGE
    assert "Usage: gradcheck" in result.out


def test_text_from_the_command_line_cannot_steer_the_terminal(gradcheck: Command) -> None:
    for arguments in (["\x1b[31mx"], ["ops", "\x1b]0;x\x07"], ["compare", "\x1b[2J.yaml"]):
        result = gradcheck(*arguments)
        assert result.code != ExitCode.PASSED
        assert "\x1b" not in result.err
        assert "\\x1b" in result.err


def test_expected_errors(gradcheck: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = Problem("GC302", "no such device", None, "use cpu", ExitCode.CANNOT_RUN)
    raising(monkeypatch, GradcheckError(problem))
    expected = "error[GC302]: no such device\n   = help: use cpu\n"
    assert gradcheck("explain") == (ExitCode.CANNOT_RUN, "", expected)


def test_interrupted(gradcheck: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyboardInterrupt())
    assert gradcheck("explain") == (ExitCode.INTERRUPTED, "", "interrupted\n")


def test_memory(gradcheck: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, MemoryError())
    result = gradcheck("explain")
    assert result.code == ExitCode.CANNOT_RUN
    assert "error[GC303]" in result.err


@pytest.mark.parametrize("error", [RecursionError("too deep"), ZeroDivisionError("\x1b[31mx")])
def test_a_bug_goes_to_a_log(
    gradcheck: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    raising(monkeypatch, error)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = gradcheck("explain")
    assert result.code == ExitCode.INTERNAL
    assert "this is a bug in gradcheck" in result.err
    assert "\x1b" not in result.err
    path = re.search(r"this file: (.+\.log)$", result.err, re.MULTILINE)
    assert path is not None
    log = Path(path[1]).read_text()
    assert "Traceback" in log
    assert type(error).__name__ in log
    assert gradcheck_cli.__version__ in log


def test_a_bug_where_no_log_can_be_written(
    gradcheck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    raising(monkeypatch, ZeroDivisionError())
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    result = gradcheck("explain")
    assert result.code == ExitCode.INTERNAL
    assert "no log could be written" in result.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps a folder that somebody is in")
def test_a_folder_that_was_removed(
    gradcheck: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = folder / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = gradcheck("compare", "a.yaml")
    assert result.code == ExitCode.CANNOT_RUN
    assert result.err.startswith("error[GC027]: the folder that this runs in was removed")
    right = str(folder / "right.yaml")
    assert gradcheck("compare", right, "--methods=engine,manual").code == ExitCode.PASSED
