"""The README is true: its examples print what it shows, its commands are those that CI runs."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```console\n\$ (.+?)\n(.*?)```", README, re.DOTALL)
INSTALLS = re.findall(r"```sh\n(.+?)\n```", README, re.DOTALL)


def shell(command: str) -> subprocess.CompletedProcess[str]:
    """Run a command line of the README with `gradcheck` being this interpreter's."""
    function = "".join(
        f'{name}() {{ "{sys.executable}" -m {module} "$@"; }}\n'
        for name, module in (("gradcheck", "gradcheck_cli"), ("pytest", "pytest"))
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "NO_COLOR")}
    return subprocess.run(
        ["bash", "-c", function + command],
        cwd=ROOT,
        env={**environment, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def normalised(text: str) -> str:
    """Without what differs from run to run: times, and trailing blanks."""
    text = re.sub(r"\d+(\.\d+)? ?m?s\b", "TIME", text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


@pytest.mark.parametrize(("command", "output"), EXAMPLES, ids=[c[:40] for c, _ in EXAMPLES])
def test_an_example_prints_what_the_readme_shows(command: str, output: str) -> None:
    done = shell(command)
    assert "Traceback" not in done.stderr
    assert normalised(done.stdout + done.stderr) == normalised(output)


def test_the_python_examples_print_what_the_readme_shows() -> None:
    found = doctest.testfile(str(ROOT / "README.md"), module_relative=False)
    assert found.attempted >= 15
    assert not found.failed


def test_the_readme_has_its_examples() -> None:
    assert len(EXAMPLES) >= 4
    assert len(INSTALLS) == 2


def test_the_first_spec_is_shown_as_it_is() -> None:
    assert (ROOT / "specs" / "sum_of_squared_errors.yaml").read_text() in README


def test_the_install_commands_are_single_lines_and_ci_runs_the_second() -> None:
    first, second = INSTALLS
    assert "\n" not in first
    assert "\n" not in second
    assert second in (ROOT / ".ci" / "run").read_text().splitlines()
    command = first.rpartition("&& .venv/bin/")[2]
    assert shell(command).returncode == 0


def test_every_command_is_listed() -> None:
    listed = shell("gradcheck --help").stdout
    for name in re.findall(r"^  (\w+)  +\S", listed.partition("Commands:")[2], re.MULTILINE):
        assert f"gradcheck {name}" in README or f"`{name}`" in README
