"""What reads our reports: a consumer for each format, which refuses what the real ones would refuse."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import junitparser
import pytest
from lxml import etree, html
from markdown_it import MarkdownIt
from tap.parser import Parser

from gradcheck_cli.report.json_report import report

if TYPE_CHECKING:
    from tests.report.conftest import Outcomes

Document = dict[str, Any]
Consumer = Callable[[str, Document], None]
SCHEMAS = Path(__file__).parent / "schemas"


@pytest.fixture
def document(outcomes: Outcomes) -> Document:
    """A report with a check of each status."""
    found = report(list(outcomes.values()), 1.5, 2)
    found["environment"].update(folder=".", date="2026-01-02T03:04:05+00:00")
    return found


@pytest.fixture(scope="session")
def consumers() -> dict[str, Consumer]:
    """Format -> what reads it; each raises for a text that is not of the format, or tells other facts."""
    return {
        "json": _json,
        "jsonl": _json_lines,
        "junit": _Junit("jenkins_junit.xsd"),
        "xunit": _Junit("xunit_plugin.xsd"),
        "github": _github,
        "gitlab": _gitlab,
        "sarif": _sarif,
        "tap": _tap,
        "markdown": _markdown,
    }


def _json(text: str, document: Document) -> None:
    assert json.loads(text) == document


def _json_lines(text: str, document: Document) -> None:
    assert text.endswith("\n")
    rows = [json.loads(line) for line in text.removesuffix("\n").split("\n")]
    assert [row.pop("type") for row in rows] == [
        "header",
        *["check"] * len(document["checks"]),
        "summary",
    ]
    assert rows[1:-1] == document["checks"]
    assert rows[-1] == document["summary"]


class _Junit:
    """Jenkins by its grammar, GitHub's and GitLab's readers by junitparser and their documentation."""

    def __init__(self, schema: str) -> None:
        self._schema = etree.XMLSchema(etree.parse(SCHEMAS / schema))

    def __call__(self, text: str, document: Document) -> None:
        content = text.encode()  # an XML parser takes no half characters
        root = etree.fromstring(content)
        self._schema.assertValid(root)
        cases = root.findall(".//testcase")
        checks = document["checks"]
        assert len(cases) == len(checks)
        names = Counter((case.get("classname"), case.get("name")) for case in cases)
        assert max(names.values(), default=1) == 1  # GitLab drops the second of a name
        kinds = Counter(child.tag for case in cases for child in case)
        statuses = Counter(check["status"] for check in checks)
        strict = document["summary"]["strict"]
        undecided = statuses["inconclusive"]
        assert kinds["failure"] == statuses["failed"] + undecided * strict
        assert kinds["skipped"] == statuses["skipped"] + undecided * (not strict)
        assert kinds["error"] == statuses["error"]
        assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", text)
        suites = junitparser.JUnitXml.fromstring(content)
        assert suites.tests == sum(suite.tests for suite in suites) == len(checks)
        assert suites.failures == kinds["failure"]
        assert suites.errors == kinds["error"]


_COMMAND = re.compile(r"::(error|warning) ((?:\w+=[^,:\r\n]*,)*\w+=[^,:\r\n]*)::([^\r\n]*)")
_KNOWN = {"file", "line", "endLine", "col", "endColumn", "title"}
_NUMBERS = _KNOWN - {"file", "title"}
_ESCAPE = re.compile("%(?!25|0D|0A|3A|2C)")


def _github(text: str, document: Document) -> None:
    lines = text.split("\n")
    assert lines.pop() == ""
    levels: Counter[str] = Counter()
    for line in lines:
        match = _COMMAND.fullmatch(line)
        assert match is not None, line
        level, properties, message = match.groups()
        levels[level] += 1
        given = dict(one.split("=", 1) for one in properties.split(","))
        assert given.keys() <= _KNOWN
        assert all(given[name].isdecimal() for name in _NUMBERS & given.keys())
        assert not _ESCAPE.search(properties)
        assert not _ESCAPE.search(message)
        assert line.isprintable()
        assert len(line.encode()) < 65_536
    assert max(levels.values(), default=0) <= 10
    wrong = [c for c in document["checks"] if c["status"] in ("failed", "error")]
    assert levels["error"] >= min(10, len(wrong))


def _schema(name: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((SCHEMAS / name).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


_GITLAB = _schema("gitlab_code_quality.json")
_SARIF = _schema("sarif.json")


def _gitlab(text: str, document: Document) -> None:
    issues = json.loads(text)
    _GITLAB.validate(issues)
    assert len({issue["fingerprint"] for issue in issues}) == len(issues)
    wrong = [c for c in document["checks"] if c["status"] in ("failed", "error", "inconclusive")]
    assert len(issues) >= len(wrong)


def _sarif(text: str, document: Document) -> None:
    log = json.loads(text)
    _SARIF.validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        for location in result["locations"]:
            region = location.get("physicalLocation", {}).get("region", {})
            assert region.get("endColumn", 2**63) >= region.get("startColumn", 0)
    keys = [result["partialFingerprints"]["gradcheck/v1"] for result in run["results"]]
    assert len(set(keys)) == len(keys)
    wrong = [c for c in document["checks"] if c["status"] in ("failed", "error", "inconclusive")]
    assert len(run["results"]) >= len(wrong)


_POINT = re.compile(
    r"(not )?ok (\d+) -(?: ((?:[^\\#\n]|\\[\\#])*?))?( # (?:SKIP|TODO)(?: [^\n]*)?)?"
)


def _tap(text: str, document: Document) -> None:
    """By the grammar of version 14, and by tap.py, which reads version 13."""
    lines = text.split("\n")
    assert lines.pop() == ""
    assert lines[0] == "TAP version 14"
    checks = document["checks"]
    assert lines[1] == f"1..{len(checks)}"
    points = []
    inside = False
    for line in lines[2:]:
        assert line.isprintable()
        if line.startswith("  "):
            inside = line == "  ---" or (inside and line != "  ...")
            assert inside or line == "  ..."
            continue
        match = _POINT.fullmatch(line)
        assert match is not None, line
        points.append((match[1] is None, int(match[2]), "SKIP" in (match[4] or "")))
    right = [check["status"] in ("passed", "skipped") for check in checks]
    skipped = [check["status"] == "skipped" for check in checks]
    assert points == list(zip(right, range(1, len(checks) + 1), skipped, strict=True))
    results = [line for line in Parser().parse_text(text) if line.category == "test"]
    assert [result.ok for result in results] == right
    for result, check in zip(results, checks, strict=True):
        if check["status"] not in ("passed", "skipped"):
            block = result.yaml_block
            assert block["severity"] in ("fail", "error", "todo")
            assert block["story"].startswith(check["status"].upper())


_TAGS = {
    *("h3", "p", "table", "thead", "tbody", "tr", "th", "td"),
    *("details", "summary", "code", "pre", "html", "body", "div"),
}


def _markdown(text: str, document: Document) -> None:
    """By CommonMark with GitHub's tables: nothing that comes from a spec is markup."""
    assert len(text.encode(errors="backslashreplace")) <= 65_536
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    tree = html.fromstring(f"<div>{page}</div>")
    assert {str(element.tag) for element in tree.iter()} <= _TAGS
    told = [c for c in document["checks"] if c["status"] in ("failed", "error", "inconclusive")]
    rows = tree.findall(".//tbody/tr")
    stories = tree.findall(".//details")
    if "for which there is no room" not in text:
        assert len(rows) == len(stories) == len(told)
    for row in rows:
        assert [cell.tag for cell in row] == ["td"] * 3
    for story in stories:
        assert len(story.findall(".//pre")) == 1
