"""The command line as a process of its own: what can't be seen from inside."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

OWN = "--methods=engine,manual,derived,numeric"
COMMAND = [sys.executable, "-m", "gradcheck_cli"]


@pytest.fixture(autouse=True)
def importable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = str(Path(__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([root, os.environ.get("PYTHONPATH", "")]))
    return folder


def process(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, **more},
        timeout=120,
        check=False,
    )


def test_exit_codes_and_whole_output_with_torch_loaded() -> None:
    result = process("compare", "right.yaml", "wrong.yaml", "--json", "-")
    assert result.returncode == 1
    assert result.stdout.endswith("}\n")
    assert "1 passed, 1 failed" in result.stderr


def none_imports(unused: set[str], *lines: list[str]) -> None:
    """Run command lines, one after another in a process of their own; none may import what is `unused`."""
    code = (
        "import ast, sys; from gradcheck_cli.__main__ import run\n"
        "lines, unused = map(ast.literal_eval, sys.argv[1:])\n"
        "for line in lines: assert (run(line), unused & sys.modules.keys()) == (0, set()), line\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, repr(lines), repr(unused)], capture_output=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, b"")


def test_no_torch_where_none_is_needed() -> None:
    none_imports(
        {"torch", "scipy"},
        ["compare", "right.yaml", OWN],
        ["compare", "right.yaml", "--collect-only", "-q"],
        ["validate", "right.yaml"],
        ["ops"],
        ["ops", "layer_norm"],
        ["explain", "GC101"],
        ["derive", "right.yaml"],
        ["trace", "right.yaml"],
        ["trace", "right.yaml", "--graph", "tree"],
        ["init", "new.yaml"],
        ["schema"],
        ["schema", "--install", "right.yaml"],
        ["completion", "bash"],
        ["completion", "fish", "--", "gradcheck", "ops", "softm"],
    )


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from gradcheck_cli.__main__ import run; run(sys.argv[1:]); "
        "assert not {'numpy', 'rich', 'yaml', 'torch'} & sys.modules.keys(); "
        # Typer itself reads a command's options by it.
        "assert sys.argv[1] == 'compare' or 'pydantic' not in sys.modules"
    )
    for arguments in (["--help"], ["compare", "--help"]):
        subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, check=True)


def test_derive_imports_what_it_needs() -> None:
    """Each of these takes a part of the half second in which an answer is to be there."""
    none_imports(
        {
            *("torch", "scipy", "rich", "numpy.ma", "gradcheck_cli.cli.compare"),
            *("gradcheck_cli.verdict.outcome", "gradcheck_cli.lang.syntax"),
            "gradcheck_cli.engine.eager",
        },
        ["derive", "right.yaml"],
        ["derive", "x.sum()", "-i", "x=3"],
        ["derive", "(predicted - real).pow(2)"],
    )


def test_stdin() -> None:
    result = subprocess.run(
        [*COMMAND, "compare", "-", OWN],
        input=Path("right.yaml").read_text(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0
    assert "1 passed" in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="it is closed by a POSIX shell")
def test_streams_that_are_closed() -> None:
    command = shlex.join([*COMMAND, "compare", "-", "right.yaml", OWN, "--json", "report.json"])
    result = subprocess.run(["sh", "-c", f"{command} <&- >&- 2>&-"], check=False)
    assert result.returncode == 2  # the spec on stdin is empty
    summary = json.loads(Path("report.json").read_text())["summary"]
    assert (summary["passed"], summary["errors"]) == (1, 1)


def test_an_encoding_that_lacks_the_marks() -> None:
    text = Path("right.yaml").read_text().replace("name: right\n", "")
    Path("right.yaml").write_text("name: größe\n" + text, encoding="utf-8")
    result = process("compare", "right.yaml", OWN, PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert "PASSED gr\\xf6\\xdfe" in result.stdout


def test_a_reader_that_goes_away() -> None:
    with subprocess.Popen(
        [*COMMAND, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=60) == 141


def many(number: int = 3000) -> None:
    """A spec of so many checks, each a few milliseconds."""
    sizes = ", ".join(map(str, range(1, number)))
    Path("many.yaml").write_text(
        f"version: 1\ndims: {{N: [{sizes}]}}\ninputs: {{x: {{shape: [N]}}}}\nexpression: x.exp().sum()\n"
    )


MANY = ("compare", "many.yaml", "--methods=engine,numeric")


@pytest.mark.parametrize(("jobs", "number"), [("1", signal.SIGTERM), ("2", signal.SIGINT)])
def test_what_finished_is_reported(folder: Path, jobs: str, number: int) -> None:
    """By Ctrl-C and by what pipelines cancel with."""
    many()
    with subprocess.Popen(
        [*COMMAND, *MANY, "-j", jobs, "--json", "report.json", "--report", "lines.jsonl"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        for _ in range(5):
            assert running.stdout.readline()
        running.send_signal(number)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, err) == (130, "")
    report = json.loads(Path("report.json").read_text())
    summary = report["summary"]
    assert summary["interrupted"]
    assert summary["exit_code"] == 130
    assert summary["passed"] == len(report["checks"]) >= 5
    assert summary["passed"] + summary["not_run"] == 2999
    lines = [json.loads(line) for line in Path("lines.jsonl").read_text().splitlines()]
    assert sorted(line["id"] for line in lines if "id" in line) == sorted(
        check["id"] for check in report["checks"]
    )
    assert f"interrupted; {summary['not_run']:,} checks not run" in out
    # Nothing half-written is left.
    assert {path.name for path in folder.iterdir()} == {
        *("many.yaml", "right.yaml", "wrong.yaml", "report.json", "lines.jsonl"),
        ".gradcheck_cache",
    }


def test_a_reader_that_goes_away_costs_no_report() -> None:
    many(200)
    with subprocess.Popen(
        [*COMMAND, *MANY, "--json", "report.json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=60) == 141
    summary = json.loads(Path("report.json").read_text())["summary"]
    assert summary["interrupted"]
    assert summary["passed"] >= 1


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_under_the_output_costs_no_report() -> None:
    with Path("/dev/full").open("wb") as full:
        result = subprocess.run(
            [*COMMAND, "compare", ".", OWN, "--json", "report.json"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert result.returncode == 4
    assert result.stderr.startswith("error[GC305]: the output can't be written: No space left")
    assert json.loads(Path("report.json").read_text())["summary"]["interrupted"]


def test_two_workers_report_what_one_does() -> None:
    reports = []
    for more in (["-j", "1"], ["-j", "2", "--timeout", "30s", "--maxfail", "9"]):
        result = process("compare", ".", OWN, *more, "--json", "-")
        assert result.returncode == 1
        checks = json.loads(result.stdout)["checks"]
        reports.append([(c["id"], c["index"], c["status"], c["reproduce"]) for c in checks])
    assert reports[0] == reports[1]
    assert [status for _, _, status, _ in reports[0]] == ["passed", "failed"]
