"""Colours, redrawing and width: which variable decides, alone and against others."""

from __future__ import annotations

import io
import os

import pytest

from gradcheck_cli.report import capabilities
from gradcheck_cli.report.capabilities import columns, is_interactive, is_terminal, on_ci
from gradcheck_cli.report.terminal import Terminal

_KNOWN = (
    *capabilities._CI,
    "NO_COLOR",
    "FORCE_COLOR",
    "CLICOLOR_FORCE",
    "TTY_COMPATIBLE",
    "TTY_INTERACTIVE",
    "COLUMNS",
)


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _KNOWN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


# The variables; then whether a pipe, and whether a terminal, has colours; and whether the latter has a bar.
@pytest.mark.parametrize(
    ("variables", "pipe", "tty", "bar"),
    [
        ("", False, True, True),
        ("CI=true", False, False, False),
        ("CI=1", False, False, False),
        ("CI=false", False, True, True),
        ("CI=", False, True, True),
        ("GITHUB_ACTIONS=true", False, False, False),
        ("JENKINS_URL=https://ci.example", False, False, False),
        ("TF_BUILD=True", False, False, False),
        ("FORCE_COLOR=1", True, True, True),
        ("FORCE_COLOR=", False, True, True),
        ("CLICOLOR_FORCE=1", True, True, True),
        ("CLICOLOR_FORCE=0", False, True, True),
        ("CI=true FORCE_COLOR=1", True, True, False),
        ("CI=true CLICOLOR_FORCE=1", True, True, False),
        ("CI=true TTY_COMPATIBLE=1", True, True, False),
        ("CI=true TTY_COMPATIBLE=1 TTY_INTERACTIVE=1", True, True, True),
        ("CI=true TTY_INTERACTIVE=1", False, False, False),
        ("TTY_COMPATIBLE=0", False, False, False),
        ("TTY_COMPATIBLE=0 FORCE_COLOR=1", False, False, False),
        ("TTY_INTERACTIVE=0", False, True, False),
        ("TERM=dumb", False, True, False),
    ],
)
def test_who_decides(
    variables: str, *, pipe: bool, tty: bool, bar: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in variables.split():
        monkeypatch.setenv(*variable.split("="))
    assert is_terminal(io.StringIO()) is pipe
    assert is_terminal(Tty()) is tty
    assert is_interactive(Tty()) is bar
    assert not is_interactive(io.StringIO())


@pytest.mark.parametrize("name", capabilities._CI)
def test_every_service_is_known(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not on_ci()
    monkeypatch.setenv(name, "something")
    assert on_ci()


def test_a_closed_stream_is_no_terminal() -> None:
    stream = io.StringIO()
    stream.close()
    assert not is_terminal(stream)


def test_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((200, 50)))
    assert columns() == 200
    monkeypatch.setenv("CI", "true")
    assert columns() == 80
    monkeypatch.setenv("COLUMNS", "120")
    assert columns() == 120
    monkeypatch.setenv("COLUMNS", "7")
    assert columns() == 40
    for nonsense in ("", "0", "wide", "-3", "²"):
        monkeypatch.setenv("COLUMNS", nonsense)
        assert columns() == 80


def test_without_any_terminal_it_is_80(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: int) -> os.terminal_size:
        raise OSError

    monkeypatch.setattr(os, "get_terminal_size", refused)
    assert columns() == 80
    monkeypatch.setattr(os, "get_terminal_size", lambda _: os.terminal_size((0, 0)))
    assert columns() == 80


def written(terminal: Terminal, stream: io.StringIO) -> str:
    terminal.line(("word", "bold red"))
    terminal.console.print("[b]table[/b]", style="red")
    return stream.getvalue()


def test_what_is_written_is_as_was_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = "word\n[b]table[/b]\n"
    stream = Tty()
    assert (
        written(Terminal(stream), stream) == "\x1b[1;31mword\x1b[0m\n\x1b[31m[b]table[/b]\x1b[0m\n"
    )
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Tty()
    assert written(Terminal(stream), stream) == "\x1b[1mword\x1b[0m\n[b]table[/b]\n"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    stream = Tty()
    assert written(Terminal(stream), stream) == plain
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("GITLAB_CI", "true")
    stream = Tty()
    assert written(Terminal(stream), stream) == plain


def test_a_page_is_the_same_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "50")
    stream = io.StringIO()
    page = Terminal(stream, columns=100, colour=False)
    assert written(page, stream) == "word\n[b]table[/b]\n"
    assert page.width == page.console.width == 100


@pytest.mark.parametrize("colour", ["", "1"])
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::add-mask::x", "\\x3a:add-mask::x"),
        ("a ##[error] and ##vso[task.x]", "a \\x23#[error] and \\x23#vso[task.x]"),
        ("a::b # c [d]", "a::b # c [d]"),
    ],
)
def test_a_log_gets_no_command_of_a_spec(
    monkeypatch: pytest.MonkeyPatch, text: str, shown: str, colour: str
) -> None:
    monkeypatch.setenv("CI", "true")
    monkeypatch.setenv("FORCE_COLOR", colour)
    stream = io.StringIO()
    Terminal(stream).line(text, indent=4)
    assert stream.getvalue() == f"    {shown}\n"
    monkeypatch.delenv("CI")
    Terminal(stream := io.StringIO()).line(text, indent=4)
    assert stream.getvalue() == f"    {text}\n"
