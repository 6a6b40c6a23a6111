"""The pytest plugin, in pytest runs of its own; without PyTorch, where a check need not have it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from junitparser import Error, Failure, JUnitXml, TestSuite

from gradcheck_cli import compare, pytest_plugin

pytest_plugins = ["pytester"]

PLUGIN = "gradcheck_cli.pytest_plugin"
METHODS = "methods: [engine, manual, numeric]"
RIGHT = f"""\
version: 1
name: right
inputs: {{x: {{shape: [3]}}}}
expression: x.square().sum()
manual: {{x: 2 * x}}
{METHODS}
"""
WRONG = RIGHT.replace("name: right", "name: wrong").replace("2 * x", "3 * x")
UNDECIDED = RIGHT.replace("name: right", "name: undecided").replace(", manual, numeric", "")
MANY = f"""\
version: 1
defaults: {{inputs: {{x: {{shape: [3]}}}}, expression: x.square().sum(), {METHODS}}}
checks:
- name: first
  manual: {{x: 2 * x}}
  dtype: [float64, float32]
  tags: [fast, needs gpu, skip]
- name: second
  manual: {{x: 3 * x}}
- name: second
  manual: {{x: 3 * x}}
  expect: fail GC101
- name: third
  expression: x.squar().sum()
"""

Run = Callable[..., pytest.RunResult]


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """A run within this process forgets what it has imported, so that it is imported before."""
    report = compare(WRONG)
    assert report.document["summary"]["failed"] == 1
    assert "FAILED" in str(report)
    pytest_plugin._headline(report.checks[0])


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs pytest in this process, with the plugin and markers strict."""
    for name in ("FORCE_COLOR", "PY_COLORS", "PYTEST_ADDOPTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def go(*arguments: str) -> pytest.RunResult:
        # Without -W, warnings would be errors here, as they are in the run that this is a part of.
        given = ("--strict-markers", "-W", "default", *arguments)
        return pytester.runpytest_inprocess(*given, plugins=[pytest_plugin])

    return go


def names(result: pytest.RunResult) -> list[str]:
    """The node ids that a quiet collection lists."""
    return [line for line in result.outlines if "::" in line]


def test_files_that_say_so_are_collected_always_and_others_when_asked(
    run: Run, pytester: pytest.Pytester
) -> None:
    for name in ("a.gradcheck.yaml", "b.gradcheck.YML", "plain.yaml", "sub/deep.yml"):
        path = pytester.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(RIGHT)
    (pytester.path / "c.gradcheck.json").write_text(
        '{"version": 1, "inputs": {"x": {"shape": [2]}}, "expression": "x.sum()"}'
    )
    (pytester.path / "other.yaml").write_text("services: [a, b]\n")
    (pytester.path / "logging.yaml").write_text("version: 1\nformatters: {}\n")
    always = ["a.gradcheck.yaml::right", "b.gradcheck.YML::right", "c.gradcheck.json::c.gradcheck"]
    assert names(run("--co", "-q")) == always
    assert names(run("--co", "-q", "plain.yaml")) == ["plain.yaml::right"]
    every = [*always, "plain.yaml::right", "sub/deep.yml::right"]
    assert names(run("--co", "-q", "--gradcheck")) == every


def test_a_file_named_directly_is_left_to_other_plugins_unless_it_has_to_be_a_spec(
    run: Run, pytester: pytest.Pytester
) -> None:
    (pytester.path / "other.yaml").write_text("services: [a, b]\n")
    assert run("other.yaml").ret == pytest.ExitCode.USAGE_ERROR  # nothing wants it
    run("other.yaml", "--gradcheck").stdout.fnmatch_lines(["error[[]GC00[35]]: *"])


def test_each_check_is_an_item_with_an_id_of_its_own(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "many.gradcheck.yaml").write_text(MANY)
    result = run("-rA")
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines_random(
        [
            "PASSED many.gradcheck.yaml::first[[]float64]",
            "PASSED many.gradcheck.yaml::first[[]float32]",
            "FAILED many.gradcheck.yaml::second - GC101 *",
            "PASSED many.gradcheck.yaml::second#2",
            "FAILED many.gradcheck.yaml::third - GC013 *",
        ]
    )
    one = run("-q", "many.gradcheck.yaml::first[float32]")
    one.assert_outcomes(passed=1)


def test_an_id_is_what_pytest_makes_of_it_again(run: Run, pytester: pytest.Pytester) -> None:
    for number, name in enumerate(["a::b", "x [1/2] y", "[x", "x [1] [y]", "C:\\\\x", "x"]):
        text = RIGHT.replace("name: right", f'name: "{name}"')
        (pytester.path / f"{number}.gradcheck.yaml").write_text(text)
    ids = names(run("--co", "-q"))
    assert [one.partition("::")[2] for one in ids] == [
        *("a:b", "x (1/2) y", "(x", "x [1] [y]", "C:\\x", "x"),
    ]
    assert names(run("--co", "-q", *ids)) == ids


def test_our_modules_are_not_rewritten(run: Run, pytester: pytest.Pytester) -> None:
    # What pytest marks of an installed wheel that has a plugin is its whole package.
    pytester.makeconftest("""
        def pytest_configure(config):
            config.pluginmanager.rewrite_hook.mark_rewrite("gradcheck_cli", "helpers")
    """)
    pytester.makepyfile(helpers="", test_it="""
        import importlib.util, sys
        from importlib.machinery import SourceFileLoader

        def loader(name):
            sys.modules.pop(name, None)
            return type(importlib.util.find_spec(name).loader)

        def test_it():
            assert loader("gradcheck_cli.errors") is SourceFileLoader
            assert loader("helpers") is not SourceFileLoader
    """)  # fmt: skip
    before = [*sys.meta_path]
    run().assert_outcomes(passed=1)
    assert sys.meta_path == before


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("-m", "fast"), 2),
        (("-m", "needs_gpu and gradcheck"), 2),
        (("-m", "tag_skip"), 2),  # pytest's own mark of that name would skip it
        (("-m", "not fast"), 3),
        (("-k", "second"), 2),
        (("-k", "float32"), 1),
        (("-k", "gpu and not float32"), 1),
    ],
)
def test_tags_are_marks_and_keywords_select(
    run: Run, pytester: pytest.Pytester, arguments: tuple[str, ...], found: int
) -> None:
    (pytester.path / "many.gradcheck.yaml").write_text(MANY)
    assert len(names(run("--co", "-q", *arguments))) == found


def test_a_failure_is_told_in_the_words_of_the_command(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "a.gradcheck.yaml").write_text(WRONG)
    result = run()
    result.stdout.fnmatch_lines(
        [
            "*FAILED wrong",
            "  a.gradcheck.yaml:1   float64 on cpu, seed 0",
            "    manual * disagrees *3/3",
            "  GC101 the constant `3` should be `2` (manual of x)",
            "    --> a.gradcheck.yaml:5:13",
            "     = fix: 2 [*] x",
            "    gradcheck compare a.gradcheck.yaml::wrong",
            "FAILED a.gradcheck.yaml::wrong - GC101 the constant *",
        ]
    )
    text = result.stdout.str()
    assert "Traceback" not in text
    assert "\x1b" not in text
    coloured = run("--color=yes").stdout.str()
    assert "\x1b[1;31mFAILED\x1b[0m \x1b[1mwrong\x1b[0m" in coloured


def test_a_broken_file_is_an_error_of_the_collection_in_our_words(
    run: Run, pytester: pytest.Pytester
) -> None:
    (pytester.path / "a.gradcheck.yaml").write_text(RIGHT.replace("inputs", "inpts"))
    (pytester.path / "b.gradcheck.yaml").write_text(RIGHT)
    result = run()
    result.stdout.fnmatch_lines(
        [
            "error[[]GC003]: unknown key `inpts`",
            "  --> a.gradcheck.yaml:3:1",
            "   = help: did you mean `inputs`?",
        ]
    )
    assert "Traceback" not in result.stdout.str()
    run("--continue-on-collection-errors").assert_outcomes(passed=1, errors=1)


def test_what_cannot_be_decided_warns_or_fails_where_that_is_asked_for(
    run: Run, pytester: pytest.Pytester
) -> None:
    (pytester.path / "a.gradcheck.yaml").write_text(UNDECIDED)
    result = run()
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*GradcheckWarning: undecided: inconclusive: GC205 *"])
    for arguments in (("--gradcheck-strict",), ("-o", "gradcheck_strict=true"), ("-W", "error")):
        result = run(*arguments)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines(["*INCONCLUSIVE undecided"])


def test_options_come_before_variables_before_the_projects_defaults(
    run: Run, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pytester.path / "a.gradcheck.yaml").write_text(UNDECIDED)
    (pytester.path / "pyproject.toml").write_text("[tool.gradcheck]\nstrict = true\nseed = 7\n")
    result = run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*float64 on cpu, seed 7", "*gradcheck compare * --seed 7"])
    monkeypatch.setenv("GRADCHECK_STRICT", "no")
    run().assert_outcomes(passed=1, warnings=1)
    run("--gradcheck-strict").assert_outcomes(failed=1)


def test_a_wrong_configuration_is_told(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "a.gradcheck.yaml").write_text(RIGHT)
    result = run("--gradcheck-device=gpu")
    result.stdout.fnmatch_lines(["*--gradcheck-device: there is no `gpu`"])
    result.assert_outcomes(errors=1)


def test_the_device_can_be_chosen(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "a.gradcheck.yaml").write_text(WRONG)
    result = run("--gradcheck-device", "cuda")
    result.stdout.fnmatch_lines(["*float64 on cuda, seed 0", "*compare * --device cuda"])
    (pytester.path / "pytest.ini").write_text("[pytest]\ngradcheck_device = mps\n")
    run().stdout.fnmatch_lines(["*float64 on mps, seed 0"])
    (pytester.path / "a.gradcheck.yaml").write_text(WRONG + "device: cpu\n")
    run().stdout.fnmatch_lines(["*float64 on cpu, seed 0"])


def test_first_failures_and_last_failures(run: Run, pytester: pytest.Pytester) -> None:
    (pytester.path / "many.gradcheck.yaml").write_text(MANY)
    run("-x").assert_outcomes(passed=2, failed=1)
    run("--lf").assert_outcomes(failed=1)


def test_junit_holds_what_a_check_was_and_no_control_characters(
    run: Run, pytester: pytest.Pytester
) -> None:
    (pytester.path / "many.gradcheck.yaml").write_text(MANY)
    run("--color=yes", "--junitxml=out.xml", "-o", "junit_family=xunit1")
    (suite,) = JUnitXml.fromfile(str(pytester.path / "out.xml"))
    assert isinstance(suite, TestSuite)
    cases = {case.name: case for case in suite}
    assert [*cases] == ["first[float64]", "first[float32]", "second", "second#2", "third"]
    (failure,) = cases["second"].result
    assert isinstance(failure, Failure | Error)
    assert failure.message == "GC101 the constant `3` should be `2` (manual of x)"
    assert "fix: 2 * x" in (failure.text or "")
    assert "\x1b" not in (failure.text or "")
    assert "#x1B" not in (failure.text or "")
    kept = {one.get("name"): one.get("value") for one in cases["second"]._elem.iter("property")}
    assert kept == {"seed": "0", "dtype": "float64", "device": "cpu", "code": "GC101"}
    assert (cases["second"]._elem.get("file"), cases["second"]._elem.get("line")) == (
        "many.gradcheck.yaml",
        "7",  # it counts from 0
    )


def test_it_works_with_xdist(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xdist")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    (pytester.path / "many.gradcheck.yaml").write_text(MANY)
    (pytester.path / "a.gradcheck.yaml").write_text(UNDECIDED)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    plugins = ("-p", "xdist.plugin", "-p", PLUGIN)
    result = pytester.runpytest_subprocess(*plugins, "-n", "2", "--strict-markers")
    result.assert_outcomes(passed=4, failed=2, warnings=1)
    result.stdout.fnmatch_lines_random(
        ["*FAILED second", "     = fix: 2 [*] x", "FAILED many.gradcheck.yaml::second - GC101 *"]
    )


def test_it_costs_other_projects_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "test_other.py").write_text("def test_it(): pass\n")
    (tmp_path / "data.yaml").write_text("version: 1\n")
    # As for an installed wheel: it would warn of a package that is imported already.
    (tmp_path / "conftest.py").write_text("""\
def pytest_configure(config):
    config.pluginmanager.rewrite_hook.mark_rewrite("gradcheck_cli")
""")
    code = """\
import sys, gradcheck_cli, pytest
options = ["-p", "gradcheck_cli.pytest_plugin", "-q", "-W", "error"]
assert pytest.main([*options, *sys.argv[1:]]) == 0
print("loaded:", *sorted(m for m in sys.modules if m.split(".")[0] in ("gradcheck_cli", "torch")))
"""

    def loaded(*arguments: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.partition("loaded:")[2].split()

    assert loaded() == ["gradcheck_cli", PLUGIN]
    (tmp_path / "a.gradcheck.yaml").write_text(RIGHT)
    collected = loaded("--co")
    assert "gradcheck_cli.spec.load" in collected
    assert "torch" not in collected


def test_the_entry_point_names_the_plugin() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {"gradcheck": PLUGIN}
    assert pytest_plugin.__name__ == PLUGIN
