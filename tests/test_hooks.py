"""The pre-commit hooks, run by pre-commit itself in a repository of their own.

pre-commit would install gradcheck and PyTorch anew for `language: python`; here the hooks of the manifest
run in this environment (`language: system`), all else as the manifest has it. The slow
test has pre-commit install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
MANIFEST = ROOT / ".pre-commit-hooks.yaml"
RIGHT = """\
version: 1
name: right
inputs: {x: {shape: [3, 4]}}
expression: x.pow(2).sum()
manual: {x: 2 * x}
methods: [engine, manual, numeric]
"""
OTHERS = {
    "package.json": '{"name": "x", "version": "1.0.0"}\n',
    "compose.yml": "version: '3'\nservices: {}\n",
    "dependabot.yml": "version: 2\nupdates: []\n",
    "values.yaml": "a: [1, 2]\n",
}

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gradcheck"
    program.write_text(
        f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m gradcheck_cli "$@"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]]))
    monkeypatch.setenv("PRE_COMMIT_HOME", str(tmp_path / "cache"))
    home = tmp_path / "repository"
    home.mkdir()
    monkeypatch.chdir(home)
    git("init", "-q")
    hooks = [{**hook, "language": "system"} for hook in yaml.safe_load(MANIFEST.read_text())]
    config = {"repos": [{"repo": "local", "hooks": hooks}]}
    Path(".pre-commit-config.yaml").write_text(yaml.safe_dump(config))
    return home


def git(*arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], check=True, capture_output=True)


def pre_commit(*arguments: str) -> tuple[int, str]:
    result = subprocess.run(
        [sys.executable, "-m", "pre_commit", *arguments, "--color=never"],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    return result.returncode, result.stdout + result.stderr


def add(**files: str) -> None:
    for name, text in files.items():
        Path(name).write_text(text)
    git("add", "-A")


def test_the_manifest_is_valid() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-manifest", str(MANIFEST)]
    assert subprocess.run(command, check=False).returncode == 0


def test_right_specs_among_other_files_pass() -> None:
    add(**OTHERS, **{"right.yaml": RIGHT})
    code, out = pre_commit("run", "--verbose")
    assert code == 0, out
    assert out.count("Passed") == 2
    assert "error" not in out


def test_nothing_but_other_files_passes() -> None:
    add(**OTHERS)
    code, out = pre_commit("run")
    assert code == 0, out
    assert out.count("Passed") == 2


def test_a_wrong_gradient_stops_the_commit() -> None:
    add(**{"wrong.yaml": RIGHT.replace("2 * x", "x")})
    code, out = pre_commit("run")
    assert code == 1
    assert out.count("Passed") == 1
    assert "GC101" in out
    code, out = pre_commit("run", "gradcheck-validate")
    assert code == 0


def test_a_broken_spec_stops_the_commit() -> None:
    add(**{"broken.yaml": RIGHT.replace("pow(2)", "pwo(2)")})
    code, out = pre_commit("run", "gradcheck-validate")
    assert code == 1
    assert "did you mean `pow`?" in out


@pytest.mark.slow
def test_pre_commit_installs_the_hooks() -> None:
    """The real thing: pre-commit clones this repository and installs it, with PyTorch, for minutes."""
    add(**OTHERS, **{"right.yaml": RIGHT})
    code, out = pre_commit("try-repo", str(ROOT), "gradcheck-validate", "--all-files")
    assert code == 0, out
    assert "Passed" in out
