"""The command line as a process of its own: what can't be seen from inside."""

from __future__ import annotations

import os
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


def test_no_torch_where_none_is_needed() -> None:
    code = (
        "import sys; from gradcheck_cli.__main__ import run; code = run(sys.argv[1:]); "
        "assert not {'torch', 'scipy'} & sys.modules.keys(); sys.exit(code)"
    )
    for arguments in (
        ["compare", "right.yaml", OWN],
        ["validate", "right.yaml"],
        ["ops"],
        ["ops", "layer_norm"],
        ["explain", "GC101"],
        ["derive", "right.yaml"],
        ["trace", "right.yaml"],
        ["trace", "right.yaml", "--graph", "tree"],
        ["init", "new.yaml"],
        ["schema"],
    ):
        result = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, check=False
        )
        assert (result.returncode, result.stderr) == (0, b""), arguments


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from gradcheck_cli.__main__ import run; run(['--help']); "
        "assert not {'numpy', 'pydantic', 'rich', 'yaml', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_derive_imports_what_it_needs() -> None:
    """Each of these takes a part of the half second in which an answer is to be there."""
    code = (
        "import sys; from gradcheck_cli.__main__ import run; code = run(sys.argv[1:]); "
        "unused = {'torch', 'scipy', 'rich', 'numpy.ma', 'gradcheck_cli.cli.compare', "
        "'gradcheck_cli.verdict.outcome', 'gradcheck_cli.lang.syntax', 'gradcheck_cli.engine.eager'}; "
        "print(*sorted(unused & sys.modules.keys()), file=sys.stderr); sys.exit(code)"
    )
    for arguments in (["right.yaml"], ["x.sum()", "-i", "x=3"], ["(predicted - real).pow(2)"]):
        result = subprocess.run(
            [sys.executable, "-c", code, "derive", *arguments], capture_output=True, check=False
        )
        assert (result.returncode, result.stderr) == (0, b"\n"), arguments


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


def test_ctrl_c_leaves_no_report(folder: Path) -> None:
    sizes = ", ".join(map(str, range(1, 3000)))
    Path("many.yaml").write_text(
        f"version: 1\ndims: {{N: [{sizes}]}}\ninputs: {{x: {{shape: [N]}}}}\nexpression: x.exp().sum()\n"
    )
    with subprocess.Popen(
        [*COMMAND, "compare", "many.yaml", "--methods=engine,numeric", "--json", "report.json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline()
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err == "interrupted\n"
    assert sorted(p.name for p in folder.iterdir()) == ["many.yaml", "right.yaml", "wrong.yaml"]
