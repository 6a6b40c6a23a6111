from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING

from gradcheck_cli.report import progress
from gradcheck_cli.report.terminal import Terminal

if TYPE_CHECKING:
    import pytest


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_a_terminal_nothing_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    with progress.Bar(3, Terminal(io.StringIO())) as bar:
        time.sleep(0.05)
        bar.advance()
    assert stderr.getvalue() == ""


def test_a_short_run_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    stderr = Tty()
    monkeypatch.setattr(sys, "stderr", stderr)
    with progress.Bar(3, Terminal(io.StringIO())) as bar:
        bar.advance()
    assert stderr.getvalue() == ""


def test_a_long_run_draws_on_stderr_and_cleans_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stdout, stderr = io.StringIO(), Tty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", stderr)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    with progress.Bar(3, Terminal(stdout)) as bar:
        deadline = time.monotonic() + 10
        while "of 3" not in stderr.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        bar.advance()
    assert "of 3" in stderr.getvalue()
    assert stderr.getvalue().rstrip("\n").endswith("\x1b[2K")
    assert stdout.getvalue() == ""
