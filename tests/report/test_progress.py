from __future__ import annotations

import io
import sys
import time
from itertools import pairwise

import pytest

from gradcheck_cli.errors import cells
from gradcheck_cli.report import capabilities, progress
from gradcheck_cli.report.terminal import Terminal


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*capabilities._CI, "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


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


@pytest.mark.parametrize(
    ("name", "value"),
    [("CI", "true"), ("JENKINS_URL", "x"), ("TERM", "dumb"), ("TTY_INTERACTIVE", "0")],
)
def test_nothing_is_drawn_in_a_log(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Tty())
    assert progress.Bar(3, Terminal(io.StringIO()))._timer is None


def drawn(bar: progress.Bar, at: float, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(progress, "monotonic", lambda: at)
    return bar._drawn().plain


@pytest.mark.parametrize("columns", ["40", "60", "80", "200"])
def test_a_line_says_done_of_total_failures_rate_and_what_is_left(
    columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr(progress, "monotonic", lambda: 100.0)
    bar = progress.Bar(2000, Terminal(io.StringIO()))
    assert drawn(bar, 100.1, monkeypatch).lstrip("#") == " 0 of 2,000"
    for number in range(120):
        bar.advance(wrong=number < 3)
    text = drawn(bar, 104.0, monkeypatch)
    assert text.lstrip("#") == " 120 of 2,000  3 not right  30/s  1 min 10 s left"
    assert cells(text) < max(int(columns), 55)
    assert ("#" in text) == (columns != "40")


def test_the_rate_is_the_average_at_first_and_then_follows() -> None:
    pace = progress.Pace(10_000, 0.0)
    for beat in range(1, 6):
        pace.done = 8 * (beat // 2)  # bursts of eight, every other second
        pace.advance(float(beat))
    assert pace.rate == pytest.approx(16 / 5, rel=0.05)
    for beat in range(6, 120):
        pace.done += 40
        pace.advance(float(beat))
    assert pace.rate == pytest.approx(40, rel=0.01)


def test_what_is_left_does_not_jump() -> None:
    pace = progress.Pace(3000, 0.0)
    said = []
    for tenth in range(1, 1000):
        if tenth % 8 == 0:
            pace.done += 24
        pace.advance(tenth / 10)
        if tenth > 100 and pace.left is not None:
            said.append(pace.left)
    changes = [b - a for a, b in pairwise(said) if a != b]
    assert max(said) == 100.0
    assert min(said) == 1.0
    # It goes down; where a burst is late, up by no more than a step.
    assert sum(change > 0 for change in changes) < len(changes) / 2
    assert max(changes) <= 10.0


def test_nothing_is_said_of_the_rest_before_anything_is_known_or_after_the_end() -> None:
    pace = progress.Pace(2, 0.0)
    pace.advance(1.0)
    assert pace.left is None
    pace.done = 2
    pace.advance(2.0)
    assert pace.left is None
