"""The GitHub action: its description by GitHub's schema, and its script as the runner calls it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "action" / "run.py"
RIGHT = """\
version: 1
name: right
inputs: {x: {shape: [3, 4]}}
expression: x.pow(2).sum()
manual: {x: 2 * x}
"""
OWN = "--methods engine,manual,derived,numeric"


class Step(NamedTuple):
    code: int
    log: str
    outputs: dict[str, str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "right.yaml").write_text(RIGHT)
    (tmp_path / "temp").mkdir()
    return tmp_path


def action() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return made


def step(name: str, path: str = "", **inputs: str) -> Step:
    """Run the script of a step outside of GitHub, with the variables that the runner and action.yml set."""
    environment = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GITHUB_", "GRADCHECK_", "RUNNER_"))
    }
    defaults = {key: value.get("default", "") for key, value in action()["inputs"].items()}
    given = {**defaults, **{key.replace("_", "-"): value for key, value in inputs.items()}}
    output = Path("outputs")
    output.write_text("")
    result = subprocess.run(
        [sys.executable, SCRIPT, name],
        env={
            **environment,
            **{f"GRADCHECK_ACTION_{k.replace('-', '_').upper()}": v for k, v in given.items()},
            "GITHUB_ACTIONS": "true",
            "GITHUB_OUTPUT": str(output.absolute()),
            "GITHUB_STEP_SUMMARY": str(Path("summary.md").absolute()),
            "RUNNER_TEMP": str(Path("temp").absolute()),
            "PYTHONPATH": os.pathsep.join(filter(None, [path, str(ROOT)])),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in result.stderr
    return Step(result.returncode, result.stdout + result.stderr, parsed(output.read_text()))


def parsed(text: str) -> dict[str, str]:
    """Outputs as the runner reads them: `name<<END`, the value, `END`."""
    outputs = {}
    lines = iter(text.splitlines())
    for line in lines:
        name, end = line.split("<<")
        outputs[name] = "\n".join(iter(lambda: next(lines), end))
    return outputs


def test_the_description_is_valid() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml"]
    result = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *command[1:]],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout


def test_no_input_stands_in_a_script() -> None:
    """What `${{ }}` puts into `run` would be read as shell."""
    described = action()
    for one in described["runs"]["steps"]:
        assert "${{" not in one.get("run", "")
    text = SCRIPT.read_text()
    used = {name.lower().replace("_", "-") for name in re.findall(r'_input\("(\w+)"\)', text)}
    handed = {
        name.removeprefix("GRADCHECK_ACTION_").lower().replace("_", "-")
        for one in described["runs"]["steps"]
        for name in one.get("env", {})
    }
    assert used <= handed <= described["inputs"].keys()


def test_every_output_is_told() -> None:
    Path("yaml.py").write_text("raise RuntimeError")  # a project may have one
    done = step("compare", files="right.yaml", args=OWN)
    assert done.code == 0, done.log
    for name, output in action()["outputs"].items():
        assert output["value"] == f"${{{{ steps.compare.outputs.{name} }}}}"
        assert done.outputs[name]
    assert {name: done.outputs[name] for name in ("exit-code", "passed", "failed", "errors", "total")} == {
        "exit-code": "0", "passed": "1", "failed": "0", "errors": "0", "total": "1",
    }  # fmt: skip
    assert json.loads(Path(done.outputs["json"]).read_text())["summary"]["passed"] == 1
    for name in ("junit", "sarif", "html"):
        assert Path(done.outputs[name]).parent == Path(done.outputs["folder"])
        assert Path(done.outputs[name]).stat().st_size > 0
    assert Path(done.outputs["folder"]).parent == Path("temp").absolute()
    assert "gradcheck" in Path("summary.md").read_text()


def test_a_wrong_gradient_fails_the_step_and_leaves_its_reports() -> None:
    Path("wrong one.yaml").write_text(RIGHT.replace("2 * x", "x").replace("right", "wrong"))
    done = step("compare", files="right.yaml\n\n  wrong one.yaml  \n", args=OWN)
    assert done.code == 1
    assert (done.outputs["exit-code"], done.outputs["failed"], done.outputs["total"]) == (
        *("1", "1", "2"),
    )
    assert "::error file=wrong one.yaml,line=5" in done.log
    assert Path(done.outputs["html"]).exists()


HOSTILE = (
    "; touch pwned",
    "$(touch pwned)",
    "`touch pwned`",
    "right.yaml & touch pwned",
    "--json=pwned",
    "-h",
    "'right.yaml",
    "::set-output name=x::y",
)


def test_hostile_names_are_names_of_files() -> None:
    done = step("compare", files="\n".join(["right.yaml", *HOSTILE]), args=OWN)
    assert done.code == 4
    assert (done.outputs["passed"], done.outputs["errors"]) == ("1", str(len(HOSTILE)))
    assert not Path("pwned").exists()
    assert not [line for line in done.log.splitlines() if line.startswith("::set-output")]


def fake(home: Path) -> Path:
    """The folder of a package that only writes down its arguments."""
    home.mkdir(parents=True)
    (home / "__init__.py").touch()
    (home / "__main__.py").write_text(
        "import json, sys\nopen('asked', 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
    )
    return home.parent


@pytest.fixture
def fake_gradcheck(tmp_path: Path) -> Path:
    return fake(tmp_path / "other" / "gradcheck_cli")


@pytest.mark.parametrize("value", [*HOSTILE, "1/1\ntouch pwned"])
def test_hostile_inputs_are_one_argument_each(fake_gradcheck: Path, value: str) -> None:
    done = step("compare", str(fake_gradcheck), device=value, shard=value, jobs=value, files=value)
    assert done.code == 0
    (arguments,) = asked()
    at = arguments.index("--device")
    assert arguments[at : at + 6] == ["--device", value, "--shard", value, "--jobs", value]
    assert arguments[at + 6 :] == ["--", *value.splitlines()]
    assert not Path("pwned").exists()
    assert len([line for line in done.log.splitlines() if line.startswith("[command]")]) == 1


def test_arguments_are_quoted_as_in_a_shell(fake_gradcheck: Path) -> None:
    step("compare", str(fake_gradcheck), args="-k 'a b' $(x) ; --timeout\n5m", files="")
    (arguments,) = asked()
    at = arguments.index("-k")
    assert arguments[at:] == ["-k", "a b", "$(x)", ";", "--timeout", "5m", "--", "."]
    broken = step("compare", str(fake_gradcheck), args="-k 'open\n::error::x")
    assert broken.code == 2
    (line,) = [line for line in broken.log.splitlines() if line.startswith("::error")]
    assert "No closing quotation" in line
    assert len(asked()) == 1


def test_a_part_of_the_checks() -> None:
    parts = [step("compare", args=OWN, shard=f"{k}/2", jobs="1") for k in (1, 2)]
    assert [part.code for part in parts] == [0, 0], parts
    assert {part.outputs["total"] for part in parts} == {"0", "1"}


@pytest.fixture
def fake_pip(tmp_path: Path) -> Path:
    return fake(tmp_path / "fake" / "pip")


def asked() -> list[list[str]]:
    return [json.loads(line) for line in Path("asked").read_text().splitlines()]


def test_install(fake_pip: Path) -> None:
    assert step("install", str(fake_pip)).code == 0
    # PyTorch is here already, whichever build it is.
    (command,) = asked()
    assert command[0] == "install"
    assert command[-1] == str(ROOT)


def test_install_of_a_version(fake_pip: Path) -> None:
    assert step("install", str(fake_pip), version="0.1.0", device="cuda").code == 0
    assert asked()[-1][-1] == "gradcheck-cli==0.1.0"


@pytest.mark.parametrize("version", ["--index-url=x", "1 --pre", "0.1.0\n--pre", "git+https://x"])
def test_a_version_is_no_option(fake_pip: Path, version: str) -> None:
    done = step("install", str(fake_pip), version=version)
    assert done.code == 2
    assert done.log.startswith("::error title=gradcheck::the input `version`")
    assert not Path("asked").exists()


@pytest.mark.parametrize("index", ["--pre", "x y", "-r requirements.txt"])
def test_an_index_is_no_option(fake_pip: Path, index: str) -> None:
    done = step("install", str(fake_pip), torch_index=index)
    assert done.code == 2
    assert done.log.startswith("::error title=gradcheck::the input `torch-index`")
    assert not Path("asked").exists()
