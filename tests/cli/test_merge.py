"""`gradcheck merge`: shards' reports as the report of the whole run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Command

SPEC = """\
version: 1
defaults: {inputs: {x: {shape: [3]}}, methods: [engine, manual, numeric]}
checks:
- {name: a, expression: x.pow(2).sum(), manual: {x: 2 * x}}
- {name: b, expression: x.pow(3).sum(), manual: {x: 3 * x**2}}
- {name: c, expression: x.pow(2).sum(), manual: {x: x}}
- {name: d, expression: x.exp().sum()}
- {name: e, expression: x.sin().sum()}
"""
TIMES = {"seconds", "date", "command"}


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in TIMES}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def document(path: str) -> Any:
    return json.loads(Path(path).read_text())


@pytest.fixture
def shards(folder: Path, gradcheck: Command, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Reports of three shards; `whole.json` is that of the whole run, which ended in 2."""
    monkeypatch.setenv("GITHUB_WORKSPACE", str(folder))
    Path("specs").mkdir()
    Path("specs/all.yaml").write_text(SPEC)
    Path("specs/broken.yaml").write_text("version: 1\nexpression: x +\n")
    assert gradcheck("compare", "specs", "--json", "whole.json").code == 2
    names = []
    for number in (1, 2, 3):
        names.append(f"part{number}.json")
        result = gradcheck("compare", "specs", "--shard", f"{number}/3", "--json", names[-1])
        assert result.code == 2
    return names


def test_shards_are_the_whole_but_for_times(shards: list[str], gradcheck: Command) -> None:
    result = gradcheck("merge", *shards, "--json", "merged.json")
    assert result.code == 2
    assert without_times(document("merged.json")) == without_times(document("whole.json"))
    assert "1 failed" in result.out
    assert "1 error" in result.out
    assert "3 reports put together" in result.out
    assert "in none of them" not in result.out


def test_a_part_without_a_report_is_missed(shards: list[str], gradcheck: Command) -> None:
    result = gradcheck("merge", shards[1], shards[2])
    assert "at least 2 checks in none of them: is a part's report missing?" in result.out


def test_every_format_is_written_of_the_whole(shards: list[str], gradcheck: Command) -> None:
    names = ("a.xml", "a.md", "a.sarif", "a.tap", "a.html", "a.jsonl", "gitlab=a.gitlab")
    requests = [part for name in names for part in ("--report", name)]
    assert gradcheck("merge", *shards, *requests, "-q").code == 2
    assert 'tests="6" failures="1" errors="1"' in Path("a.xml").read_text()
    assert len(Path("a.jsonl").read_text().splitlines()) == 8
    assert all(Path(name.removeprefix("gitlab=")).stat().st_size for name in names)


def test_the_report_on_stdout_stands_alone(shards: list[str], gradcheck: Command) -> None:
    result = gradcheck("merge", *shards, "--json", "-")
    assert json.loads(result.out)["summary"]["total"] == 6
    assert "1 failed" in result.err


def test_the_whole_may_take_a_parts_place(shards: list[str], gradcheck: Command) -> None:
    gradcheck("merge", *shards, "--json", shards[0])
    assert document(shards[0])["summary"]["total"] == 6


def test_what_cannot_be_merged(shards: list[str], gradcheck: Command, folder: Path) -> None:
    other = document(shards[0])
    other["checks"][1]["expression"] = "another"
    Path("other.json").write_text(json.dumps(other))
    result = gradcheck("merge", shards[0], "other.json")
    assert result.code == 2
    assert result.err.startswith("error[GC033]: other.json: specs/all.yaml::")
    assert gradcheck("merge", "missing.json").code == 4
    assert gradcheck("merge", "specs/all.yaml").err.startswith(
        "error[GC033]: specs/all.yaml: it is"
    )
    Path("bytes.json").write_bytes(b"\xff{}")
    assert "it is not UTF-8" in gradcheck("merge", "bytes.json").err
    assert gradcheck("merge", str(folder)).code == 4
    assert gradcheck("merge", shards[0], "--report", "x.unknown").code == 2
    assert gradcheck("merge").code == 2


def test_a_report_that_is_too_large(gradcheck: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcheck_cli.report.reading.MAX_BYTES", 100)
    Path("large.json").write_text(" " * 101)
    result = gradcheck("merge", "large.json")
    assert result.code == 2
    assert "it is larger than" in result.err


def test_annotations_were_made_by_the_parts(
    shards: list[str], gradcheck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    assert "::error" not in gradcheck("merge", *shards).out
    assert Path("summary.md").read_text().startswith("### gradcheck\n")
    assert "::error" in gradcheck("merge", *shards, "--report", "github=-").out
