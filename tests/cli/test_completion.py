"""Completion, asked of the shells themselves where they are installed; bash always is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.cli.completing import MOST, candidates, candidates_of_line
from gradcheck_cli.cli.completion import SCRIPTS
from gradcheck_cli.codes import CODES
from gradcheck_cli.errors import ExitCode

if TYPE_CHECKING:
    from tests.cli.conftest import Command

BREAKS = " \t\n\"'><=;|&(:"


def texts(*words: str) -> list[str]:
    return [found.text for found in candidates(["gradcheck", *words])]


def test_commands_and_options() -> None:
    assert {"compare", "derive", "completion"} <= set(texts(""))
    assert texts("va") == ["validate"]
    assert texts("--v") == ["--version"]
    assert texts("validate", "--q") == ["--quiet"]
    assert texts("validate", "--", "--q") == []
    assert texts("validate", "-") != []
    assert texts("nonsense", "") == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("compare", "--methods", "t"), ["torch"]),
        (("compare", "--methods", "torch,n"), ["torch,numeric"]),
        (("compare", "--methods=n"), ["--methods=numeric"]),
        (("compare", "--dtype", "b"), ["bfloat16"]),
        (("compare", "--device", "c"), ["cpu", "cuda"]),
        (("compare", "-j", ""), ["auto"]),
        (("compare", "--report", "ju"), ["junit="]),
        (("compare", "--report", "junit=ri"), ["junit=right.yaml"]),
        (("compare", "--seed", ""), []),
        (("ops", "--domain", "lin"), ["linalg"]),
        (("ops", "softmi"), ["softmin"]),
        (("ops", "torch.softma"), ["torch.softmax"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("explain", "GC11"), sorted(code for code in CODES if code.startswith("GC11"))),
        (("doctor", ""), []),
    ],
)
def test_values(words: tuple[str, ...], found: list[str]) -> None:
    assert texts(*words) == found


def test_files_folders_and_checks() -> None:
    Path("sub").mkdir()
    Path("sub/a b.yaml").write_text(
        "version: 1\nname: a name\ninputs: {x: {shape: [3]}}\nexpression: x\n"
    )
    Path("notes.txt").write_text("")
    Path(".hidden.yaml").write_text("")
    assert texts("compare", "") == ["right.yaml", "sub/", "wrong.yaml"]
    assert texts("compare", ".h") == [".hidden.yaml"]
    assert texts("compare", "sub/") == ["sub/a b.yaml"]
    assert texts("compare", "nowhere/") == []
    assert texts("compare", "sub/a b.yaml::a") == ["sub/a b.yaml::a name"]
    assert texts("derive", "sub/a b.yaml", "--check", "") == ["a name"]
    assert texts("compare", "notes.txt::") == []
    assert texts("init", "w") == ["wrong.yaml"]


def test_no_candidate_steers_the_terminal_or_floods_it() -> None:
    Path("a\x1b[31m\n.yaml").write_text("")
    assert texts("compare", "") == ["right.yaml", "wrong.yaml"]
    for number in range(MOST + 5):
        Path(f"{number}.yaml").touch()
    assert len(texts("compare", "")) == MOST


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("gradcheck expl", ["explain"]),
        ("gradcheck validate right.yaml::r", ["right"]),
        ("gradcheck validate 'right.yaml::r", ["right.yaml::right"]),
        ('gradcheck validate "right.yaml::r', ["right.yaml::right"]),
        ("gradcheck compare --methods=n", ["numeric"]),
        ("gradcheck validate ri", ["right.yaml"]),
        ("gradcheck validate 'ri' wr", ["wrong.yaml"]),
        ("gradcheck validate it\\'s", [r"it\'s\ \$HOME.yaml"]),
        ("gradcheck validate \"it's", ["it's $HOME.yaml"]),
        ("gradcheck validate right.yaml\\", []),
    ],
)
def test_lines_of_bash(line: str, found: list[str]) -> None:
    Path("it's $HOME.yaml").touch()
    assert candidates_of_line(line, BREAKS) == found


@settings(max_examples=60, deadline=None)
@given(st.text("gradcheck expln-='\"\\: \t.$(", max_size=40))
def test_any_line_has_an_answer(rest: str) -> None:
    assert isinstance(candidates_of_line(f"gradcheck explain {rest}", BREAKS), list)


def test_the_command(gradcheck: Command) -> None:
    for shell, script in SCRIPTS.items():
        assert gradcheck("completion", shell) == (ExitCode.PASSED, script, "")
    wrong = gradcheck("completion", "bahs")
    assert wrong.code == ExitCode.USAGE
    assert "did you mean `bash`?" in wrong.err
    assert gradcheck("completion", "fish", "--", "gradcheck", "explain", "GC101").out == (
        f"GC101\t{CODES['GC101'].title}\n"
    )
    assert gradcheck("completion", "bash", "--", "gradcheck comp", BREAKS).out == (
        "compare\ncompletion\n"
    )


@pytest.fixture
def command(tmp_path: Path) -> Path:
    """A folder for PATH in which `gradcheck` is this checkout's."""
    folder = tmp_path / ".bin"
    folder.mkdir()
    program = folder / "gradcheck"
    root = Path(__file__).parents[2]
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{root}" exec "{sys.executable}" -m gradcheck_cli "$@"\n'
    )
    program.chmod(0o755)
    return folder


def in_shell(shell: str, text: str, folder: Path) -> list[str]:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    options = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    result = subprocess.run(
        [shell, *options, "-c", text],
        env={**os.environ, "PATH": path, "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert result.stderr == ""
    return result.stdout.splitlines()


def test_bash_completes(command: Path) -> None:
    script = """
    source <(gradcheck completion bash)
    complete -p gradcheck
    for COMP_LINE in "gradcheck compl" "gradcheck validate right.yaml::ri"; do
      COMP_POINT=${#COMP_LINE}
      _gradcheck gradcheck
      printf '%s\\n' "${COMPREPLY[@]}"
    done
    """
    described, *found = in_shell("bash", script, command)
    assert "-F _gradcheck gradcheck" in described
    assert found == ["completion", "right"]


def test_zsh_completes(command: Path) -> None:
    script = """
    compdef() { print -r -- "compdef $*" }
    compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -rl -- "$@" }
    source <(gradcheck completion zsh)
    words=(gradcheck validate 'right.yaml::ri'); CURRENT=3; _gradcheck
    words=(gradcheck compare --report 'ju'); CURRENT=4; _gradcheck
    """
    found = in_shell("zsh", script, command)
    assert found == ["compdef _gradcheck gradcheck", "right.yaml::right", "junit="]
    loaded = """
    compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -rl -- "$@" }
    mkdir functions; gradcheck completion zsh > functions/_gradcheck; fpath=($PWD/functions)
    autoload -U _gradcheck
    words=(gradcheck explain GC101); CURRENT=3; _gradcheck; _gradcheck
    """
    assert in_shell("zsh", loaded, command) == ["GC101", "GC101"]


def test_fish_completes(command: Path) -> None:
    script = "gradcheck completion fish | source; complete -C 'gradcheck explain GC101'"
    assert in_shell("fish", script, command) == [f"GC101\t{CODES['GC101'].title}"]
