"""`gradcheck init --ci`: pipeline files that the services' own schemas accept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

import gradcheck_cli
from gradcheck_cli.cli.pipelines import PIPELINES
from gradcheck_cli.errors import ExitCode

if TYPE_CHECKING:
    from tests.cli.conftest import Command

ALL = [option for name in PIPELINES for option in ("--ci", name)]


def validated(*arguments: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def project(folder: Path) -> Path:
    (folder / "project").mkdir()
    (folder / "project" / ".git").mkdir()
    return folder / "project"


def test_every_pipeline_is_valid(gradcheck: Command, project: Path) -> None:
    result = gradcheck("init", "project/some specs", *ALL)
    assert (result.code, result.err) == (ExitCode.PASSED, "")
    assert result.out.splitlines() == [
        "wrote project/some specs/gradient.yaml",
        *(f"wrote project/{pipeline.path}" for pipeline in PIPELINES.values()),
        "next: gradcheck compare 'project/some specs/gradient.yaml'",
    ]
    github = str(project / PIPELINES["github"].path)
    check = ("check_jsonschema", "--builtin-schema")
    validated(*check, "vendor.github-workflows", github)
    validated(*check, "custom.github-workflows-require-timeout", github)
    validated(*check, "vendor.gitlab-ci", str(project / PIPELINES["gitlab"].path))
    validated("pre_commit", "validate-config", str(project / PIPELINES["pre-commit"].path))


def test_what_the_pipelines_run(gradcheck: Command, project: Path) -> None:
    gradcheck("init", "project/some specs", *ALL)
    github = yaml.safe_load((project / PIPELINES["github"].path).read_text())
    steps = github["jobs"]["gradients"]["steps"]
    runs = [step["run"] for step in steps if "run" in step]
    assert f"gradcheck-cli=={gradcheck_cli.__version__}" in runs[0]
    assert runs[1].startswith("gradcheck compare 'some specs' ")
    assert github["permissions"] == {"contents": "read"}
    assert steps[-1]["if"] == "${{ !cancelled() }}"
    gitlab = yaml.safe_load((project / PIPELINES["gitlab"].path).read_text())["gradcheck"]
    command = gitlab["script"][-1]
    for name in (*gitlab["artifacts"]["reports"].values(), *gitlab["artifacts"]["paths"]):
        assert f"{name}" in command
    assert gitlab["artifacts"]["when"] == "always"


@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_the_command_of_a_pipeline_runs(gradcheck: Command, project: Path, service: str) -> None:
    """What is written there is a command line that this version takes, and it does what is said."""
    gradcheck("init", "project/some specs", "--ci", service)
    text = (project / PIPELINES[service].path).read_text()
    start = text.index("gradcheck compare")
    script = text[start : text.index("gradcheck.html\n", start) + len("gradcheck.html\n")]
    program = f'gradcheck() {{ {sys.executable} -m gradcheck_cli "$@" --methods engine,manual; }}\n'
    root = Path(__file__).parents[2]
    subprocess.run(
        ["bash", "-e", "-c", program + script], cwd=project,
        env={"PYTHONPATH": str(root), "PATH": "/bin:/usr/bin"},
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert (project / "gradcheck.html").exists()
    assert (project / "gradcheck.xml").exists() == (service == "gitlab")


def test_nothing_is_overwritten(gradcheck: Command, project: Path) -> None:
    gradcheck("init", "project", *ALL)
    before = {path: path.read_text() for path in project.rglob("*") if path.is_file()}
    result = gradcheck("init", "project", *ALL)
    assert result.code == ExitCode.PASSED
    assert "project has specs already: no other is written" in result.out
    assert "wrote project/gradcheck.gitlab-ci.yml" in result.out
    assert "include:\n  - local: gradcheck.gitlab-ci.yml\n" in result.out
    assert "      - id: gradcheck-compare\n" in result.out
    assert {path: path.read_text() for path in before} == before
    third = gradcheck("init", "project", "--ci", "gitlab")
    assert third.code == ExitCode.PASSED
    assert "wrote" not in third.out
    assert gradcheck("validate", "project").code == ExitCode.PASSED


def test_for_one_file_and_outside_of_git(gradcheck: Command) -> None:
    assert gradcheck("init", "specs/mine.yaml", "--ci", "github").code == ExitCode.PASSED
    assert "gradcheck compare specs/mine.yaml " in Path(PIPELINES["github"].path).read_text()
    assert gradcheck("init", "right.yaml", "--ci", "gitlab").code == ExitCode.PASSED
    assert "gradcheck compare right.yaml " in Path(PIPELINES["gitlab"].path).read_text()


def test_wrong_use(gradcheck: Command, project: Path) -> None:
    result = gradcheck("init", "new", "--ci", "githubb")
    assert result.code == ExitCode.USAGE
    assert "did you mean `github`?" in result.err
    assert not Path("new").exists()
    hostile = gradcheck("init", "project/${{ x }}", "--ci", "github")
    assert hostile.code == ExitCode.USAGE
    assert not (project / ".github").exists()
    (project / ".github").touch()
    assert gradcheck("init", "project/a", "--ci", "github").code == ExitCode.CANNOT_RUN
