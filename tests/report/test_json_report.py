from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from gradcheck_cli.report.json_report import environment, report, to_text

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

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
        "interrupted": False,
        "not_run": 0,
        "strict": False,
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
        "end_column": 30,
        "source": "  predicted: predicted - real",
    }
    assert document["checks"][3]["error"] == {
        "code": "GC012",
        "message": "unknown name `predictd`",
        "file": "specs/sse.yaml",
        "line": 7,
        "column": 13,
        "end_column": 21,
        "source": "expression: (predictd - real).pow(2).sum()",
        "hint": "did you mean `predicted`?",
        "exit_code": 2,
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


def test_the_environment_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/gradcheck", "compare", "a b.yaml"])
    found = environment()
    assert found["command"] == "gradcheck compare 'a b.yaml'"
    assert found["folder"] == "sub"
    assert found["cores"] >= 1
    assert str(tmp_path) not in json.dumps(found)


def test_outside_of_a_repository_there_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert environment()["folder"] is None
    (tmp_path / ".git").mkdir()
    assert environment()["folder"] == "."


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    )
)
def test_the_text_is_the_document(value: object) -> None:
    text = to_text({"value": value})
    assert json.loads(text) == {"value": value}
    assert text.isascii()


def test_lists_of_numbers_are_one_line() -> None:
    text = to_text({"a": {"b": [1, 2.5], "c": [[1], []], "d": {}}})
    assert text == (
        '{\n  "a": {\n    "b": [1, 2.5],\n    "c": [\n      [1],\n      []\n    ],\n    "d": {}\n  }\n}\n'
    )
