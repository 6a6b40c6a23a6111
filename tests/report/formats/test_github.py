from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.report.formats import github

if TYPE_CHECKING:
    from pathlib import Path

    from tests.report.formats.conftest import Consumer, Document


def commands(document: Document) -> list[tuple[str, dict[str, str], str]]:
    """Level, properties and message of each annotation, as the runner reads them."""

    def plain(text: str) -> str:
        for code, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
            text = text.replace(code, char)
        return text

    found = []
    for line in github.render(document).splitlines():
        match = re.fullmatch("::([a-z]+) (.*?)::(.*)", line)
        assert match is not None
        given = dict(one.split("=", 1) for one in match[2].split(","))
        found.append((match[1], {k: plain(v) for k, v in given.items()}, plain(match[3])))
    return found


def test_the_wrong_formula_is_marked(document: Document, consumers: dict[str, Consumer]) -> None:
    consumers["github"](github.render(document), document)
    level, given, message = commands(document)[0]
    assert level == "error"
    assert given == {
        "file": "specs/sse.yaml",
        "line": "8",
        "endLine": "8",
        "col": "14",
        "endColumn": "30",
        "title": "gradcheck: forgotten factor",
    }
    assert message.split("\n") == [
        "GC101 off by a constant factor: multiply by 2 (manual of predicted)",
        "fix: 2 * (predicted - real)",
        "or GC105 a term is missing: predicted - real",
        "or GC111 nearly right; fix: 2.0 * (predicted - real)",
        "reproduce with: gradcheck compare 'specs/sse.yaml::forgotten factor'",
    ]


def test_errors_and_doubts(document: Document) -> None:
    found = [(level, given["line"], message[:5]) for level, given, message in commands(document)]
    assert found == [
        ("error", "8", "GC101"),
        ("error", "7", "GC012"),
        ("error", "2", "GC302"),
        ("warning", "2", "GC205"),
    ]


def test_a_blind_spot_of_a_check_that_passes_is_a_warning(document: Document) -> None:
    passed = document["checks"][0]
    blind = {**document["checks"][2]["diagnoses"][0], "code": "GC211", "message": "one side"}
    document["checks"] = [{**passed, "diagnoses": [blind]}]
    assert [(level, text[:14]) for level, _, text in commands(document)] == [
        ("warning", "GC211 one side")
    ]


def test_undecided_is_an_error_of_a_strict_run(document: Document) -> None:
    document["summary"]["strict"] = True
    assert "GC205" in [text[:5] for level, _, text in commands(document) if level == "error"]


def test_ten_of_a_kind_the_gravest_first(
    document: Document, consumers: dict[str, Consumer]
) -> None:
    _, failed, undecided, error, *_ = document["checks"]
    document["checks"] = [undecided] * 12 + [error] * 8 + [failed] * 4
    document["summary"]["total"] = 24
    consumers["github"](github.render(document), document)
    found = commands(document)
    assert [level for level, _, _ in found] == ["error"] * 10 + ["warning"] * 10
    assert [text[:5] for _, _, text in found[:5]] == ["GC101"] * 4 + ["GC012"]
    last = found[9][2].split("\n")[-1]
    assert last == "(10 more errors are not shown; 24 checks in all, see the log)"
    assert found[19][2].endswith("(2 more warnings are not shown; 24 checks in all, see the log)")


def test_a_spec_from_stdin_has_no_file(document: Document) -> None:
    check = document["checks"][1]
    document["checks"] = [{**check, "file": "<stdin>"}]
    assert [given.keys() for _, given, _ in commands(document)] == [{"title"}]


@pytest.mark.parametrize(
    ("folder", "file", "path"),
    [
        (".", "a.yaml", "a.yaml"),
        ("sub/x", "a.yaml", "sub/x/a.yaml"),
        ("sub/x", "../a.yaml", "sub/a.yaml"),
        (None, "./a.yaml", "a.yaml"),
        ("sub", "{top}/other/a.yaml", "other/a.yaml"),
        ("sub", "/elsewhere/a.yaml", "/elsewhere/a.yaml"),
    ],
)
def test_paths_are_those_of_the_repository(
    folder: str | None,
    file: str,
    path: str,
    document: Document,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    document["environment"]["folder"] = folder
    document["checks"] = [{**document["checks"][1], "file": file.format(top=tmp_path.resolve())}]
    assert commands(document)[0][1]["file"] == path
