"""What the command line asks for, and the writing of all of it."""

from __future__ import annotations

import json
import os
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.report import formats
from gradcheck_cli.report.files import ReportFile
from gradcheck_cli.report.formats import FORMATS, Reports, named_by

if TYPE_CHECKING:
    from tests.report.conftest import Outcomes
    from tests.report.formats.conftest import Document


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder, outside of any CI system."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def actions(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A step of GitHub Actions; the file of its summary."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary"))
    return folder / "summary"


def refused(*requests: str, json: str | None = None) -> str:
    with pytest.raises(GradcheckError) as caught:
        Reports.of(requests, json=json)
    (problem,) = caught.value.problems
    assert problem.code == "GC028"
    assert problem.hint
    return problem.message


def test_every_format_has_its_file() -> None:
    folder = Path(formats.__file__).parent
    assert {path.stem for path in folder.glob("[a-z]*.py")} == set(FORMATS)
    for name in FORMATS:
        module = import_module(f"{formats.__name__}.{name}")
        assert callable(module.render)
        assert module.__doc__


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a.json", "json"),
        ("a.JSON", "json"),
        ("a.jsonl", "jsonl"),
        ("out/a.xml", "junit"),
        ("a.sarif", "sarif"),
        ("a.sarif.json", "sarif"),
        ("gl-code-quality-report.json", "gitlab"),
        ("a.md", "markdown"),
        ("a.tap", "tap"),
        ("a.html", "html"),
        ("a.htm", "html"),
    ],
)
def test_the_ending_says_the_format(path: str, name: str) -> None:
    found = named_by(path)
    assert found is not None
    assert found.name == name


def test_what_is_asked_for_wrongly() -> None:
    assert refused("out.txt") == "--report out.txt: what format is it?"
    assert refused("-") == "--report -: what format is it?"
    assert refused("junitt=a.xml") == "--report: there is no format `junitt`"
    assert refused("junit=") == "--report junit= names no file"
    assert refused("a.xml", "xunit=./a.xml") == "the reports junit and xunit both go to ./a.xml"
    assert refused("tap=-", json="-") == "the reports tap and json both go to stdout"
    assert list(Path.cwd().iterdir()) == []


def test_two_names_of_one_file_are_one_file() -> None:
    Path("a.json").touch()
    Path("b.json").symlink_to("a.json")
    assert "both go to b.json" in refused("a.json", "b.json")


def test_a_path_may_hold_an_equals_sign(outcomes: Outcomes) -> None:
    Path("k=1").mkdir()
    Reports.of(["./k=1/a.xml", "json=k=1/b"]).finish(list(outcomes.values()), 1.0, 1)
    assert sorted(path.name for path in Path("k=1").iterdir()) == ["a.xml", "b"]


def test_nothing_may_be_written_twice_to_a_file_but_to_a_device() -> None:
    Reports.of([f"json={os.devnull}", f"tap={os.devnull}"])


def test_a_file_that_cannot_be_written_is_told_before_the_work() -> None:
    Path("old.jsonl").write_text("old\n")
    with pytest.raises(GradcheckError) as caught:
        Reports.of(["old.jsonl", "missing/a.xml"])
    assert caught.value.problems[0].code == "GC305"
    assert Path("old.jsonl").read_text() == "old\n"


def test_what_a_run_has_to_know() -> None:
    assert not Reports.of(["a.xml"]).stdout
    assert Reports.of(["a.xml", "tap=-"]).stdout
    assert not Reports.of(["a.xml"], json="b.json").grids
    assert Reports.of(["a.html"]).grids


def test_all_formats_at_once(
    outcomes: Outcomes, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    requests = [f"{name}=out.{name}" for name in FORMATS if name not in ("tap", "json")]
    reports = Reports.of([*requests, "tap=-"], json="out.json")
    for outcome in outcomes.values():
        reports.add(outcome)
    reports.finish(list(outcomes.values()), 1.5, 2, interrupted=True, not_run=3)
    assert capsys.readouterr().out.startswith("TAP version 14\n")
    assert {path.name for path in folder.iterdir()} == {
        f"out.{name}" for name in FORMATS if name != "tap"
    }
    document = json.loads(Path("out.json").read_text())
    assert document["summary"]["interrupted"] is True
    assert document["summary"]["not_run"] == 3
    for name in ("xunit", "sarif", "gitlab", "markdown", "github"):
        assert Path(f"out.{name}").read_text() == FORMATS[name].render(document)


def test_lines_are_there_while_the_run_goes_on(outcomes: Outcomes) -> None:
    reports = Reports.of(["out.jsonl"])
    for number, outcome in enumerate(outcomes.values(), 1):
        reports.add(outcome)
        lines = Path("out.jsonl").read_text().splitlines()
        assert len(lines) == 1 + number
        assert json.loads(lines[-1])["name"] == outcome.name
    reports.finish(list(outcomes.values()), 1.5, 2)
    kinds = [json.loads(line)["type"] for line in Path("out.jsonl").read_text().splitlines()]
    assert kinds == ["header", *["check"] * 6, "summary"]


@pytest.mark.parametrize(
    ("own", "ending"),
    [
        (ExitCode.PASSED, ExitCode.CANNOT_RUN),
        (ExitCode.FAILED, ExitCode.FAILED),
        (ExitCode.USAGE, ExitCode.USAGE),
        (ExitCode.NOTHING_SELECTED, ExitCode.CANNOT_RUN),
        (ExitCode.INTERRUPTED, ExitCode.INTERRUPTED),
    ],
)
def test_one_that_cannot_be_written_keeps_no_other_back(
    own: ExitCode,
    ending: ExitCode,
    outcomes: Outcomes,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
) -> None:
    reports = Reports.of(["a.xml", "b.tap"], json="c.json")
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        if target.name == "a.xml":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(GradcheckError) as caught:
        reports.finish(list(outcomes.values()), 1.0, own)
    assert [problem.code for problem in caught.value.problems] == ["GC305"]
    assert caught.value.exit_code == ending
    assert {path.name for path in folder.iterdir()} == {"b.tap", "c.json"}


def test_github_actions_get_annotations_and_a_summary(
    outcomes: Outcomes, actions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = Reports.of([])
    assert not reports.stdout
    reports.finish(list(outcomes.values()), 1.5, 2)
    assert "::error file=specs/sse.yaml,line=8," in capsys.readouterr().out
    assert actions.read_text().startswith("### gradcheck\n")


def test_without_them(
    outcomes: Outcomes, actions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Reports.of(["github=off"]).finish(list(outcomes.values()), 1.5, 2)
    assert capsys.readouterr() == ("", "")
    assert not actions.exists()


def test_annotations_asked_for_are_made_once(
    outcomes: Outcomes, actions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Reports.of(["github=notes.txt"]).finish(list(outcomes.values()), 1.5, 2)
    assert capsys.readouterr() == ("", "")
    assert "::error" in Path("notes.txt").read_text()
    assert actions.exists()


def test_annotations_stay_out_of_a_report_on_stdout(
    outcomes: Outcomes, actions: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Reports.of([], json="-").finish(list(outcomes.values()), 1.5, 2)
    out, err = capsys.readouterr()
    assert json.loads(out)["summary"]["total"] == 6
    assert "::error" in err
    assert actions.exists()


def test_a_summary_that_cannot_be_written_is_a_note(
    outcomes: Outcomes,
    actions: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(actions / "missing" / "file"))
    Reports.of([]).finish(list(outcomes.values()), 1.5, 2)
    out, err = capsys.readouterr()
    assert "::error" in out
    assert err == "note: the step summary can't be written: No such file or directory\n"


def test_the_steps_summaries_have_room_together(document: Document, actions: Path) -> None:
    from gradcheck_cli.report.formats.markdown import append_summary

    limit = 2**20
    actions.write_text("x" * (limit - 3000))
    append_summary(str(actions), document)
    assert limit - 3000 < actions.stat().st_size <= limit
    assert "for which there is no room here" in actions.read_text()
    actions.write_text("x" * (limit - 100))
    append_summary(str(actions), document)
    assert actions.stat().st_size == limit - 100


def test_nobody_wants_a_report(outcomes: Outcomes, capsys: pytest.CaptureFixture[str]) -> None:
    reports = Reports.of([])
    reports.add(outcomes["later"])
    reports.finish(list(outcomes.values()), 1.5, 2)
    assert capsys.readouterr() == ("", "")


def test_stdout_that_is_full(
    outcomes: Outcomes, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    class Full:
        def write(self, _: str) -> int:
            raise OSError(28, "No space left on device")

        def flush(self) -> None: ...

    monkeypatch.setattr("sys.stdout", Full())
    with pytest.raises(GradcheckError, match="stdout: No space left"):
        Reports.of(["json=-", "a.tap"]).finish(list(outcomes.values()), 1.0, 0)
    assert [path.name for path in folder.iterdir()] == ["a.tap"]
    assert not ReportFile("x.json").is_stdout
