from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.suite.selection.config import KEYS, Config, find_project, from_environment, read

ALL = """\
[build-system]
jobs = 9

[tool.gradcheck]
files = ["specs", "more/*.yaml"]
methods = ["engine", "numeric"]
device = "cuda:1"
dtype = "float32, bfloat16"
seed = 3
rtol = 1e-4
atol = 0
strict = true
timeout = "1.5m"
cluster = "tcp://host:8786"
report = ["out/junit.xml", "html=-", "github=off", "/abs.md"]
allow-imports = ["kernels", "team.losses"]
cache-dir = ".cache/gradcheck"
durations = 5
maxfail = 2
repeat = 4
keyword = "loss and not slow"
tag = "quick"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def project(text: str) -> Config:
    Path("pyproject.toml").write_text(text)
    return find_project(Path()).config


def test_every_key(folder: Path) -> None:
    expected = Config(
        files=("specs", "more/*.yaml"),
        methods=("engine", "numeric"),
        device="cuda:1",
        dtype=("float32", "bfloat16"),
        seed=3,
        rtol=1e-4,
        atol=0.0,
        strict=True,
        timeout=90.0,
        cluster="tcp://host:8786",
        report=("out/junit.xml", "html=-", "github=off", "/abs.md"),
        allow_imports=("kernels", "team.losses"),
        cache_dir=".cache/gradcheck",
        durations=5,
        maxfail=2,
        repeat=4,
        keyword="loss and not slow",
        tag=("quick",),
    )
    assert project(ALL) == expected
    found = find_project(Path())
    assert (found.folder, found.file) == (folder, folder / "pyproject.toml")


def test_paths_hold_from_the_file_that_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("pyproject.toml").write_text(ALL)
    Path("sub/deeper").mkdir(parents=True)
    monkeypatch.chdir("sub/deeper")
    config = find_project(Path()).config
    up = os.path.join("..", "..", "")  # noqa: PTH118 -- text
    assert config.files == (f"{up}specs", f"{up}more/*.yaml")
    assert config.report == (f"{up}out/junit.xml", "html=-", "github=off", "/abs.md")
    assert config.cache_dir == f"{up}.cache/gradcheck"


def test_the_nearest_file_counts_whether_or_not_it_has_a_section(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("pyproject.toml").write_text(ALL)
    Path("sub").mkdir()
    Path("sub/pyproject.toml").write_text('[project]\nname = "x"\n')
    monkeypatch.chdir("sub")
    found = find_project(Path())
    assert (found.folder, found.file, found.config) == (folder / "sub", None, Config())


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("job = 2", "has no key `job`", "did you mean `jobs`?"),
        ("allow_imports = []", "has no key `allow_imports`", "did you mean `allow-imports`?"),
        ('methods = ["tourch"]', "there is no `tourch`", "did you mean `torch`?"),
        ("methods = []", "is empty", "torch"),
        ("methods = 3", "methods is 3", "list of texts"),
        ('device = "gpu"', "there is no `gpu`", "cuda:1"),
        ("seed = -1", "seed is -1", "from 0"),
        ("seed = true", "seed is True", "whole number"),
        ("seed = 1.5", "seed is 1.5", "whole number"),
        ("rtol = nan", "rtol is nan", "1e-5"),
        ('strict = "maybe"', "strict is `maybe`", "true or false"),
        ('timeout = "30 parsecs"', "timeout is `30 parsecs`", "30s"),
        ("timeout = -1", "timeout is -1", "30s"),
        ("durations = -1", "durations is -1", "0 or more"),
        ("repeat = 0", "repeat is 0", "1 or more"),
        ("repeat = 1_000_000_000", "repeat is 1000000000", "at most 100,000"),
        ("files = [3]", "files is [3]", "list of texts"),
        ('allow-imports = ["a-b"]', "`a-b` is no package's name", "import"),
    ],
)
def test_a_wrong_key_is_shown_at_its_line(line: str, message: str, hint: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        project(f"[tool.ruff]\n{line}\n\n[tool.gradcheck]\n# a comment\n{line}\n")
    (problem,) = caught.value.problems
    assert (problem.code, problem.exit_code) == ("GC028", ExitCode.USAGE)
    assert message in problem.message
    assert hint in str(problem.hint)
    assert problem.where is not None
    assert (problem.where.file, problem.where.line) == ("pyproject.toml", 6)


def test_all_wrong_keys_are_told_at_once() -> None:
    with pytest.raises(GradcheckError) as caught:
        project("[tool.gradcheck]\njob = 2\nseed = -1\n")
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("text", ["[tool", "tool.gradcheck = 3", "\x00", "a = '''"])
def test_a_file_that_is_no_toml_or_no_table(text: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        project(text)
    (problem,) = caught.value.problems
    assert problem.where is not None
    assert problem.where.file == "pyproject.toml"


def test_a_tool_that_is_no_table_is_none_of_ours() -> None:
    assert project("tool = 3") == Config()


def test_variables() -> None:
    config = from_environment({
        "GRADCHECK_FILES": "a.yaml,b.yaml",
        "GRADCHECK_ALLOW_IMPORTS": "a, b",
        "GRADCHECK_REPORT": "out.html,junit=x.xml",
        "GRADCHECK_STRICT": "yes",
        "GRADCHECK_SEED": "7",
        "GRADCHECK_RTOL": "1e-3",
        "GRADCHECK_TIMEOUT": "500ms",
        "GRADCHECK_TAG": "",
        "GRADCHECK_GOLDEN": "write",
        "SEED": "1",
    })  # fmt: skip
    assert config == Config(
        files=("a.yaml", "b.yaml"),
        allow_imports=("a", "b"),
        report=("out.html", "junit=x.xml"),
        strict=True,
        seed=7,
        rtol=1e-3,
        timeout=0.5,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("GRADCHECK_SEED", "many"), ("GRADCHECK_STRICT", "2"), ("GRADCHECK_DTYPE", "float31")],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        from_environment({name: value})
    assert name in caught.value.problems[0].message


def test_every_key_can_be_a_variable_and_goes_over_another() -> None:
    assert {key.replace("-", "_") for key in KEYS} == set(Config.__slots__)
    above = read({"seed": 0, "strict": False, "tag": None}, str)
    below = read({"seed": 1, "strict": True, "tag": "x"}, str)
    assert above.over(below) == Config(seed=0, strict=False, tag=("x",))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("45", 45), (".5", 0.5), ("0", 0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert read({"timeout": text}, str).timeout == seconds
