"""The command line in this process, because a process of its own costs start-up each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gradcheck_cli.__main__ import run

RIGHT = """\
version: 1
name: right
inputs: {x: {shape: [3, 4]}}
expression: x.pow(2).sum()
manual: {x: 2 * x}
"""
WRONG = RIGHT.replace("right", "wrong").replace("2 * x", "x")


class Result(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder to work in, with a right and a wrong spec; no colours, 80 columns."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    Path("right.yaml").write_text(RIGHT)
    Path("wrong.yaml").write_text(WRONG)
    return tmp_path


@pytest.fixture
def gradcheck(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command line in this process."""

    def command(*arguments: str) -> Result:
        capsys.readouterr()
        code = run(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Result(code, out, err)

    return command
