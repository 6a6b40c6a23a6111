from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from gradcheck_cli.codes import CODES
from gradcheck_cli.report import words
from gradcheck_cli.report.formats import gitlab, sarif
from gradcheck_cli.spec.load import load_text

if TYPE_CHECKING:
    from tests.report.formats.conftest import Consumer, Document


def run_of(document: Document) -> Any:
    return json.loads(sarif.render(document))["runs"][0]


def test_the_schema_takes_it(document: Document, consumers: dict[str, Consumer]) -> None:
    consumers["sarif"](sarif.render(document), document)
    consumers["gitlab"](gitlab.render(document), document)


def test_the_schema_refuses_what_it_should(
    document: Document, consumers: dict[str, Consumer]
) -> None:
    log = json.loads(sarif.render(document))
    log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"] = 0
    with pytest.raises(jsonschema.ValidationError, match="less than the minimum"):
        consumers["sarif"](json.dumps(log), document)


def test_a_result_stands_at_the_formula_and_repairs_it(document: Document) -> None:
    check = document["checks"][1]
    check["manual"]["predicted"]["formula"] = "predicted - real"
    result = run_of(document)["results"][0]
    place = result["locations"][0]["physicalLocation"]
    region = {"startLine": 8, "startColumn": 14, "endLine": 8, "endColumn": 30}
    assert place == {"artifactLocation": {"uri": "specs/sse.yaml"}, "region": region}
    (change,) = result["fixes"][0]["artifactChanges"]
    assert change["replacements"] == [
        {"deletedRegion": region, "insertedContent": {"text": "2 * (predicted - real)"}}
    ]


def test_rules_are_the_catalogues(document: Document) -> None:
    rules = run_of(document)["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["GC012", "GC101", "GC205", "GC302"]
    for rule in rules:
        assert rule["shortDescription"]["text"] == CODES[rule["id"]].title
        assert rule["help"]["text"].startswith(CODES[rule["id"]].text)


def test_a_run_that_could_not_look_was_no_success(document: Document) -> None:
    assert run_of(document)["invocations"] == [{"executionSuccessful": False, "exitCode": 2}]
    document["summary"]["exit_code"] = 1
    assert run_of(document)["invocations"] == [{"executionSuccessful": True, "exitCode": 1}]


def fingerprints(document: Document) -> list[list[str]]:
    results = run_of(document)["results"]
    issues = json.loads(gitlab.render(document))
    return [
        [result["partialFingerprints"]["gradcheck/v1"] for result in results],
        [issue["fingerprint"] for issue in issues],
    ]


def test_fingerprints_stay_when_lines_move_and_numbers_change(document: Document) -> None:
    before = fingerprints(document)
    for check in document["checks"]:
        check["line"] += 5
        check["seconds"] *= 2
        for one in check["diagnoses"]:
            one["message"] = "said otherwise"
            one["line"] = None if one["line"] is None else one["line"] + 5
    assert fingerprints(document) == before
    document["checks"][1]["id"] += " renamed"
    assert fingerprints(document) != before


def test_the_same_finding_twice_has_two_fingerprints(document: Document) -> None:
    document["checks"] = [document["checks"][1]] * 3
    for found in fingerprints(document):
        assert len(set(found)) == 3


def test_severities(document: Document) -> None:
    issues = json.loads(gitlab.render(document))
    found = {issue["check_name"]: issue["severity"] for issue in issues}
    assert found == {"GC101": "critical", "GC012": "major", "GC302": "major", "GC205": "minor"}


SPEC = """\
version: 1
inputs: {{x: {{shape: [3, 4]}}, y: {{shape: [3, 4]}}}}
expression: (x * y).sum()
manual: {manual}
"""


@pytest.mark.parametrize(
    ("manual", "fix"),
    [
        ("{x: y + y}", "y"),
        ("{x: y + y}", "torch.where(x > 0, y, y)"),
        ("{x: y + y}", "-y + 2 * y"),
        ("{x: y + y}", "2 * (y - 0.5 * y)"),
        ("{x: y + y}", "2e5"),
        ("{x: y + y}", "(2.0)"),
        ("{x: y + y}", "x[:, 0] * 0 + y"),
        ("{x: 'y + y'}", "2 * y - y"),
        ('{x: "y + y"}', "2 * y - y"),
        ("\n  x: y + y   # the wrong one", "y.sum(dim=1, keepdim=True) * 0 + y"),
        ("\n  x: y + y", "2.0"),
        ("\n  x: 'y + y'", "y # no comment"),
    ],
)
def test_the_file_with_the_fix_in_it_holds_the_fix(manual: str, fix: str) -> None:
    """Applied as an editor would, and read again."""
    text = SPEC.format(manual=manual)
    fixed = applied(text, fix)
    assert fixed is not None
    (check,) = load_text(fixed, "a.yaml", Path.cwd())
    assert check.manual["x"].text == fix
    assert fixed.count("\n") == text.count("\n")


@pytest.mark.parametrize(
    ("manual", "fix"),
    [
        ("\n  x: |\n    y + y", "2 * y - y"),
        ("\n  x:\n    y + y", "2 * y - y"),
        ("\n  x: >-\n    y +\n    y", "2 * y - y"),
        ('{x: "y\\x20+ y"}', "2 * y - y"),
        ("{x: y + y}", "t1 = y\nt1"),
        ("{x: y + y}", None),
    ],
)
def test_no_fix_where_it_could_break_the_file(manual: str, fix: str | None) -> None:
    assert applied(SPEC.format(manual=manual), fix) is None


def applied(text: str, fix: str | None) -> str | None:
    (check,) = load_text(text, "a.yaml", Path.cwd())
    source = check.manual["x"]
    where = source.where(0, len(source.text))
    assert where.column is not None
    finding = words.Finding(
        "error",
        "GC101",
        "wrong",
        {},
        "a.yaml",
        where.line,
        where.column,
        where.column + where.width,
        where.source,
        fix=fix,
        replaced=source.text,
    )
    found = words.replacement(finding)
    if found is None:
        return None
    lines = text.split("\n")
    assert where.line is not None
    line = lines[where.line - 1]
    start, end = where.column - 1, where.column - 1 + where.width
    lines[where.line - 1] = line[:start] + found + line[end:]
    return "\n".join(lines)
