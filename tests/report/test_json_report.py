from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.report.json_report import ReportFile, report, to_text

if TYPE_CHECKING:
    from tests.report.conftest import Outcomes


def test_the_format_has_every_field_of_version_1(outcomes: Outcomes) -> None:
    document = json.loads(to_text(report(list(outcomes.values()), 1.5, 2)))
    assert document["format_version"] == "1.0"
    assert {"version", "python", "numpy", "torch"} <= document["tool"].keys()
    assert document["summary"] == {
        "total": 6,
        "passed": 2,
        "failed": 1,
        "inconclusive": 1,
        "errors": 1,
        "skipped": 1,
        "seconds": 1.5,
        "exit_code": 2,
    }
    check = document["checks"][1]
    wanted = "id file line name status device dtype seed seconds value gradients diagnoses error"
    assert set(wanted.split()) <= check.keys()
    gradient = check["gradients"][0]
    assert {"input", "shape", "derived", "methods"} <= gradient.keys()
    assert gradient["shape"] == [3, 8]
    method = gradient["methods"][2]
    assert method == {
        "method": "manual",
        "status": "disagrees",
        "error_over_allowance": 5e12,
        "allowance": None,
        "max_abs_error": 3.79086,
        "max_rel_error": 0.5,
        "worst_index": [0, 2],
        "value": 3.79086,
        "expected": 7.58172,
        "mismatched": 24,
        "elements": 24,
        "seconds": 0.001,
        "reason": None,
    }
    assert check["diagnoses"][0] == {
        "code": "GC101",
        "input": "predicted",
        "method": "manual",
        "message": "off by a constant factor: multiply by 2",
        "fix": "2 * (predicted - real)",
        "difference": "predicted - real",
        "operator": "torch.pow",
        "also": [
            {"code": "GC105", "message": "a term is missing: predicted - real", "fix": None},
            {"code": "GC111", "message": "nearly right", "fix": "2.0 * (predicted - real)"},
        ],
        "line": 8,
        "column": 14,
    }
    assert document["checks"][3]["error"] == {
        "code": "GC012",
        "message": "unknown name `predictd`",
        "line": 7,
        "column": 13,
        "hint": "did you mean `predicted`?",
    }
    assert [e["code"] for e in document["checks"][3]["more_errors"]] == ["GC302"]


def test_what_the_check_could_have_seen(outcomes: Outcomes) -> None:
    document = report([outcomes["sum of squared errors"]], 0.1, 0)
    gradient = document["checks"][0]["gradients"][0]
    assert gradient["smallest_visible_error"] == 3.1e-9
    assert gradient["smallest_visible_relative_error"] == 1e-9


def test_numbers_that_json_lacks_are_strings(outcomes: Outcomes) -> None:
    values = {"a": float("nan"), "b": float("inf"), "c": float("-inf")}
    outcome = replace(outcomes["sum of squared errors"], value=values)
    document = json.loads(to_text(report([outcome], 0.1, 0)))
    assert document["checks"][0]["value"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}


def test_an_existing_report_is_replaced_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    ReportFile(str(path)).write("new")
    assert path.read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_making_a_report_file_leaves_an_old_report_alone(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    ReportFile(str(path))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_a_failed_write_keeps_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    target = ReportFile(str(path))

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(GradcheckError, match="No space left"):
        target.write("new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.json"]


def test_a_link_keeps_pointing(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("old")
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    ReportFile(str(link)).write("new")
    assert link.is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"


def test_a_device_is_written_to_and_stays_one() -> None:
    ReportFile(os.devnull).write("gone")
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


@pytest.mark.parametrize("name", ["missing/report.json", ".", "a" * 300])
def test_a_path_that_cannot_be_written_is_refused_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(GradcheckError) as caught:
        ReportFile(str(tmp_path / name))
    assert caught.value.problems[0].code == "GC305"
    assert caught.value.exit_code == ExitCode.CANNOT_RUN
    assert [p.name for p in tmp_path.iterdir()] == []


def test_the_usual_permissions_hold(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    ReportFile(str(tmp_path / "report.json")).write("x")
    modes = {stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("plain", "report.json")}
    assert len(modes) == 1
