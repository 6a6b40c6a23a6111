from __future__ import annotations

import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gradcheck_cli.errors import ExitCode, GradcheckError, format_problem
from gradcheck_cli.spec import nodes
from gradcheck_cli.spec.load import is_spec, load_file, load_text

GOLDEN = Path(__file__).parent / "golden"
FIRST = """\
version: 1
name: sum of squared errors
inputs:
  predicted: {shape: [3, 8], sample: uniform, requires_grad: true}
  real: {shape: [3, 8], sample: uniform}
expression: (predicted - real).pow(2).sum()
manual:
  predicted: 2.0 * (predicted - real)
"""


def test_the_first_spec() -> None:
    (check,) = load_text(FIRST, "specs/sse.yaml")
    assert check.id == "specs/sse.yaml::sum of squared errors"
    assert (check.line, check.wrt, check.dtype, check.device) == (
        1,
        ("predicted",),
        "float64",
        "cpu",
    )
    assert check.expression.text == "(predicted - real).pow(2).sum()"
    where = check.expression.where(1, 10)
    assert (where.line, where.column, where.width) == (6, 14, 9)
    assert str(check.manual_sources["predicted"].where()) == "specs/sse.yaml:8:3"
    assert [spec.shape for spec in check.inputs] == [(3, 8), (3, 8)]


def test_a_check_sent_elsewhere_knows_its_places() -> None:
    """It goes with the lines that its texts stand on, not with the whole file."""
    comment = "# a comment\n" * 1000
    (check,) = load_text(comment + FIRST, "specs/sse.yaml")
    sent = pickle.dumps(check)
    again = pickle.loads(sent)
    assert len(sent) < 5000
    assert again.expression.where(1, 10) == check.expression.where(1, 10)
    assert again.manual["predicted"].where() == check.manual["predicted"].where()
    assert again.inputs[0].source.where() == check.inputs[0].source.where()
    assert (again.id, again.line, again.wrt, again.dims) == (check.id, 1001, check.wrt, check.dims)


def test_json_means_the_same() -> None:
    text = """{"version": 1, "inputs": {"x": {"shape": [2]}}, "expression": "x.sum()"}"""
    (with_name,) = load_text(text, "a.json")
    (without,) = load_text(text)
    assert with_name.inputs[0].shape == without.inputs[0].shape == (2,)
    assert with_name.id == "a.json::a"


def test_a_yaml_flow_mapping_without_a_name_is_read_too() -> None:
    assert load_text("{version: 1, inputs: {x: {shape: []}}, expression: x}")


@pytest.mark.parametrize("golden", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_messages(golden: Path) -> None:
    """Everything that is wrong with a file, as a person reads it."""
    with pytest.raises(GradcheckError) as caught:
        load_text(golden.read_text("utf-8"), golden.name, GOLDEN)
    shown = "\n".join(format_problem(problem) for problem in caught.value.problems) + "\n"
    expected = golden.with_suffix(".txt")
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(shown, "utf-8")
    assert shown == expected.read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        (b"version: 1\nname: \xff", "GC001", "byte 0xff"),
        ("version: 1".encode("utf-16"), "GC001", "UTF-16"),
        (b"version: 1\nname: \0", "GC001", "NUL"),
        (b"x" * (nodes.MAX_BYTES + 1), "GC008", "MiB"),
        (b"", "GC005", "empty"),
        (b"\n---\n# nothing\n", "GC005", "empty"),
        (b"just text", "GC002", "mapping"),
    ],
)
def test_hostile_files(tmp_path: Path, content: bytes, code: str, words: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(content)
    with pytest.raises(GradcheckError) as caught:
        load_file(path)
    (problem,) = caught.value.problems
    assert problem.code == code
    assert words in problem.message
    assert problem.where is not None
    assert problem.where.file == str(path)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + FIRST.replace("\n", "\r\n").encode())
    (check,) = load_file(path)
    assert check.expression.where().column == 13


@pytest.mark.parametrize("name", ["absent.yaml", ""])
def test_files_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        load_file(tmp_path / name)
    assert caught.value.problems[0].code == "GC027"
    assert caught.value.exit_code == ExitCode.CANNOT_RUN


def test_wrong_files_outweigh_missing_ones(tmp_path: Path) -> None:
    text = "version: 1\nseed: x\ninputs: {x: {file: absent.npy}}\nexpression: x"
    with pytest.raises(GradcheckError) as caught:
        load_text(text, "a.yaml", tmp_path)
    assert caught.value.exit_code == ExitCode.USAGE
    with pytest.raises(GradcheckError) as caught:
        load_text(text.replace("seed: x\n", ""), "a.yaml", tmp_path)
    assert caught.value.exit_code == ExitCode.CANNOT_RUN


def test_a_flood_of_problems_is_cut() -> None:
    text = "version: 1\n" + "".join(f"k{i}: 1\n" for i in range(3000))
    with pytest.raises(GradcheckError) as caught:
        load_text(text, "a.yaml")
    problems = caught.value.problems
    assert len(problems) == nodes.MAX_PROBLEMS + 1
    assert "more problems" in problems[-1].message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("version: 1\n", True),
        ("inputs: a\nversion: 1", True),
        ("expresion: 1\n---\n'version' : 1\n", True),
        ('"version":\n  1', True),
        ("{version: 1}", True),
        ('{"input": {"version": 1}, "version": 1}', True),
        ("version: 1\nformatters: {}\nhandlers: {}\n", False),
        ('{"version": 2, "models": [{"inputs": 1}]}', False),
        ("services:\n  version: 1\n", False),
        ('{"a": {"version": 1}}', False),
        ('{"a": "version: 1", "b": ["version"]}', False),
        ('{"a": "\\"version", "x": 1}', False),
        ("versions: 1\nversion_of: 2\n# version: 1", False),
        ("", False),
        ("\ufeffversion: 1", True),
        ("version: 2  # newer\r\nexpression: a\r\n", True),
        ("version: '1'\nchecks: []\n", True),
        ('{"version": "1", "expression": "x"}', True),
        ("version: '3'\nservices:\n  inputs: 1\n", False),
        ("version: 1.0.0\n", False),
        ("version:\nname: a\n", False),
        ('{"name": "version", "version": "1.0.0", "x": {"inputs": 1}}', False),
        ('{"x": ["inputs"], "version": 1.5}', False),
    ],
)
def test_what_counts_as_a_spec(tmp_path: Path, text: str, expected: bool) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text, "utf-8")
    assert is_spec(path) is expected


def test_folders_and_binary_files_are_no_specs(tmp_path: Path) -> None:
    assert not is_spec(tmp_path)
    path = tmp_path / "a.yaml"
    path.write_bytes(bytes(range(256)))
    assert not is_spec(path)


def test_pydantic_is_imported_only_to_validate() -> None:
    code = textwrap.dedent("""
        import sys
        from gradcheck_cli.spec import load, sample, check
        assert "pydantic" not in sys.modules and "yaml" not in sys.modules
        load.load_text("version: 1\\ninputs: {x: {shape: []}}\\nexpression: x")
        assert "pydantic" in sys.modules
        assert not {"torch", "scipy", "rich", "numpy.typing"} & set(sys.modules)
    """)
    subprocess.run([sys.executable, "-c", code], check=True)
