"""What a CI service's log holds: the whole of `compare` as a process, without a terminal and with one."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from gradcheck_cli.errors import cells
from gradcheck_cli.report import capabilities

LONG = "a long name that goes on and on " * 5
WIDE = " + ".join(f"{k}.5 * x.pow({k})" for k in range(2, 12))
SPECS = {
    "right.yaml": "inputs: {x: {shape: [3, 4]}}\nexpression: x.pow(2).sum()\nmanual: {x: 2 * x}\n",
    "wide.yaml": f"name: {LONG}\ninputs: {{x: {{shape: [3]}}}}\nexpression: ({WIDE}).sum()\n"
    f"manual: {{x: {WIDE}}}\n",
    "picture.yaml": "inputs: {x: {shape: [30, 40]}}\nexpression: x.pow(2).sum()\n"
    "manual: {x: 2 * x.triu()}\n",
    "kink.yaml": "inputs: {x: {value: [0.0, 1.0, -1.0]}}\nexpression: x.abs().sum()\n",
    "alone.yaml": "inputs: {x: {shape: [3]}}\nexpression: x.sin().sum()\nmethods: [engine]\n",
    "unknown.yaml": "inputs: {x: {shape: [3]}}\nexpression: (x * unknwon).sum() + x.sin().sum() "
    "+ x.cos().sum() + x.exp().sum()\n",
    "value.yaml": "inputs: {x: {shape: [3], sample: nowhere_to_be_found_in_the_documentation}}\n"
    "expression: x.sum()\n",
    "identifiers.yaml": f"inputs: {{{'x' * 100}: {{shape: [3]}}}}\nexpression: {'x' * 100}.sum()\n"
    f"manual: {{{'x' * 100}: {'x' * 100}}}\n",
}
OWN = "[engine, manual, derived, numeric]"  # PyTorch takes longer to import than all of this
# What must stay whole when it is copied: commands, formulas, paths; and lines that a service reads.
WHOLE = (
    "gradcheck compare ",
    "= fix: ",
    "= right - yours: ",
    "-->",
    "::",
    f"({WIDE[:40]}",
    "x" * 100,
)
COMMAND = [sys.executable, "-m", "gradcheck_cli", "compare", ".", "-k", "", "--durations", "3"]


class Log(NamedTuple):
    code: int
    text: str


@pytest.fixture(autouse=True)
def _specs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in (*capabilities._CI, "COLUMNS", "NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE"):
        monkeypatch.delenv(name, raising=False)
    for path in folder.glob("*.yaml"):
        path.unlink()
    for name, text in SPECS.items():
        own = "" if "methods:" in text else f"methods: {OWN}\n"
        (folder / name).write_text(f"version: 1\n{own}{text}")


def piped(**variables: str) -> Log:
    environment = {**os.environ, **variables}
    result = subprocess.run(COMMAND, capture_output=True, env=environment, timeout=120, check=False)
    return Log(result.returncode, (result.stdout + result.stderr).decode())


def on_a_terminal(**variables: str) -> Log:
    """The same where both streams and the input are a terminal of 200 columns."""
    ours, theirs = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST  # so that a carriage return is one that we wrote
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    running = subprocess.Popen(
        COMMAND,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, **variables},
    )
    os.close(theirs)
    text, deadline = b"", time.monotonic() + 120
    with suppress(OSError):  # what Linux says at the end
        while select.select([ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
            piece = os.read(ours, 1 << 16)
            if not piece:
                break
            text += piece
    os.close(ours)
    return Log(running.wait(timeout=60), text.decode())


def assert_plain(log: Log, columns: int = 80) -> None:
    assert log.code == 2
    assert "\x1b" not in log.text
    assert "\r" not in log.text
    wide = [line for line in log.text.splitlines() if cells(line) > columns]
    assert [line for line in wide if not line.lstrip().startswith(WHOLE)] == []
    # All kinds are there, so that nothing is plain for being absent.
    for word in (
        "✓ right",
        "✗ FAILED",
        "? INCONCLUSIVE",
        "error[GC",
        "error/allowance of",
        "slowest",
    ):
        assert word in log.text
    assert "2 passed, 3 failed, 1 inconclusive, 2 errors in" in log.text


@pytest.mark.parametrize("variables", [{"GITHUB_ACTIONS": "true"}, {}], ids=["github", "none"])
def test_a_pipe_is_plain_and_80_columns_wide(variables: dict[str, str]) -> None:
    assert_plain(piped(**variables))


@pytest.mark.parametrize(
    "variables", [{"GITLAB_CI": "true"}, {"TF_BUILD": "True", "TERM": "dumb"}], ids=["gitlab", "tf"]
)
def test_a_terminal_of_a_service_is_a_log_too(variables: dict[str, str]) -> None:
    assert_plain(on_a_terminal(**variables))


def test_columns_are_heeded() -> None:
    log = piped(CI="1", COLUMNS="60")
    assert_plain(log, 60)


def test_forced_colours_are_only_colours() -> None:
    log = piped(CI="true", FORCE_COLOR="1")
    assert "\x1b[1;31m" in log.text
    assert "\r" not in log.text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log.text)
    assert_plain(Log(log.code, plain))


def test_a_terminal_elsewhere_has_colours_and_its_own_width() -> None:
    log = on_a_terminal()
    assert "\x1b[1;31m" in log.text
    assert "worst at" in log.text  # the wide table
