"""Which checks run, in which order, and when a run ends early."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_cli.errors import ExitCode

if TYPE_CHECKING:
    from tests.cli.conftest import Command

OWN = "--methods=engine,manual,numeric"
SUITE = """\
version: 1
defaults:
  inputs: {x: {shape: [3, 4]}}
  expression: x.pow(2).sum()
checks:
  - {name: first, tags: [quick], manual: {x: 2 * x}}
  - {name: wrong one, tags: [quick, slow], manual: {x: x}}
  - {name: third, tags: [slow], manual: {x: 2 * x}}
  - {name: wrong two, manual: {x: 3 * x}}
  - {name: fifth, manual: {x: 2 * x}}
"""


@pytest.fixture(autouse=True)
def suite(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    Path("suite.yaml").write_text(SUITE)


def names(gradcheck: Command, *options: str) -> list[str]:
    """The checks that would run, by name."""
    result = gradcheck("compare", ".", "--collect-only", "-q", *options)
    return [line.removeprefix("suite.yaml::") for line in result.out.splitlines()]


def report(path: str = "out.json") -> Any:
    return json.loads(Path(path).read_text())


def test_keyword_and_tag(gradcheck: Command) -> None:
    assert names(gradcheck, "-k", "wrong and not slow") == ["wrong two"]
    assert names(gradcheck, "-k", "wrong one") == ["wrong one"]
    assert names(gradcheck, "--tag", "quick") == ["first", "wrong one"]
    assert names(gradcheck, "--tag", "quick", "--tag", "slow", "-k", "not wrong") == [
        "first",
        "third",
    ]
    result = gradcheck("compare", ".", "-q", OWN, "--tag", "quick", "-k", "first")
    assert result.code == ExitCode.PASSED
    assert "4 checks not selected by -k and --tag" in result.out


def test_a_selection_of_nothing(gradcheck: Command) -> None:
    result = gradcheck("compare", ".", "-k", "zzz", "--tag", "a", "--tag", "b")
    assert result.code == ExitCode.NOTHING_SELECTED
    assert "of 5 checks none has `zzz` and the tag `a` or `b`" in result.err


def test_a_mistake_in_an_expression_has_a_caret(gradcheck: Command) -> None:
    result = gradcheck("compare", ".", "-k", "first and")
    assert result.code == ExitCode.USAGE
    assert result.err.splitlines() == [
        "error[GC028]: -k: a word is missing at the end",
        "  --> -k:1:10",
        "   | first and",
        "   |          ^",
        "   = help: an expression is made of words, `and`, `or`, `not` and parentheses;",
        "           quotes keep text whole",
    ]


def test_collect_only(gradcheck: Command) -> None:
    Path("broken.yaml").write_text("version: 1\n")
    result = gradcheck("compare", "suite.yaml", "--collect-only", "-k", "wrong")
    assert result == (
        ExitCode.PASSED,
        "suite.yaml::wrong one\nsuite.yaml::wrong two\n",
        "2 checks\n3 checks not selected by -k\n",
    )
    result = gradcheck("compare", ".", "--collect-only", "-q")
    assert result.code == ExitCode.USAGE
    assert len(result.out.splitlines()) == 5
    assert "broken.yaml" in result.err
    assert not Path(".gradcheck_cache").exists()


def test_maxfail_and_exitfirst(gradcheck: Command) -> None:
    result = gradcheck("compare", ".", OWN, "--maxfail", "2", "--json", "out.json", "-q")
    assert result.code == ExitCode.FAILED
    assert "2 passed, 2 failed" in result.out
    assert "stopped after 2 that are not right; 1 check not run" in result.out
    summary = report()["summary"]
    assert (summary["total"], summary["not_run"], summary["interrupted"]) == (4, 1, False)
    result = gradcheck("compare", ".", OWN, "-x", "-q")
    assert "stopped at the first that is not right; 3 checks not run" in result.out
    assert "1 passed, 1 failed" in result.out
    assert "not run" not in gradcheck("compare", ".", OWN, "--maxfail", "0", "-q").out


def test_a_broken_file_is_a_failure_that_counts(gradcheck: Command) -> None:
    Path("broken.yaml").write_text("version: 1\n")
    result = gradcheck("compare", ".", OWN, "-x")
    assert result.code == ExitCode.USAGE
    assert "5 checks not run" in result.out
    result = gradcheck("compare", ".", OWN, "--maxfail", "2", "-q")
    assert "1 passed, 1 failed, 1 error" in result.out


def test_last_failed_and_failed_first(gradcheck: Command) -> None:
    result = gradcheck("compare", ".", OWN, "-q", "--lf")
    assert "--last-failed: no check is on record as not right; all run" in result.out
    assert "3 passed, 2 failed" in result.out
    assert names(gradcheck, "--lf") == ["wrong one", "wrong two"]
    assert names(gradcheck, "--ff") == ["wrong one", "wrong two", "first", "third", "fifth"]
    assert names(gradcheck, "--lf", "-k", "one") == ["wrong one"]
    # What is repaired is no failure any more, and what was not run still is one.
    Path("suite.yaml").write_text(SUITE.replace("manual: {x: x}", "manual: {x: 2 * x}"))
    result = gradcheck("compare", ".", OWN, "--lf", "-k", "one", "-q")
    assert result.code == ExitCode.PASSED
    assert names(gradcheck, "--last-failed") == ["wrong two"]
    result = gradcheck("compare", ".", OWN, "--lf", "-q")
    assert "--last-failed: 4 checks left out" in result.out
    assert names(gradcheck, "--lf", "-k", "first or third") == ["first", "third"]


def test_a_file_that_was_broken_counts_as_failed(gradcheck: Command) -> None:
    Path("broken.yaml").write_text("version: 1\n")
    gradcheck("compare", ".", OWN, "-k", "first", "-q")
    Path("broken.yaml").write_text(SUITE)
    result = gradcheck("compare", ".", "--lf", "--collect-only", "-q", "-k", "first or third")
    assert result.out.splitlines() == ["broken.yaml::first", "broken.yaml::third"]


def test_inconclusive_is_failed_where_it_counts_so(gradcheck: Command) -> None:
    arguments = ("compare", ".", "--methods=engine,derived", "-q", "-k", "first")
    gradcheck(*arguments)
    assert names(gradcheck, "--ff", "-k", "first or third") == ["first", "third"]
    gradcheck(*arguments, "--strict")
    assert names(gradcheck, "--lf", "-k", "first or third") == ["first"]


def test_the_cache_can_be_left_out_or_put_elsewhere(gradcheck: Command) -> None:
    gradcheck("compare", ".", OWN, "-q", "--no-cache")
    assert not Path(".gradcheck_cache").exists()
    gradcheck("compare", ".", OWN, "-q", "--cache-dir", "elsewhere/deeper")
    assert Path("elsewhere/deeper/record.json").exists()
    assert names(gradcheck, "--lf", "--cache-dir", "elsewhere/deeper") == ["wrong one", "wrong two"]
    result = gradcheck("compare", ".", "--no-cache", "--cache-dir", "x")
    assert result.code == ExitCode.USAGE


def test_a_cache_that_cannot_be_written_is_a_note_to_those_who_want_to_know(
    gradcheck: Command,
) -> None:
    Path("file").write_text("")
    arguments = ("compare", ".", OWN, "-k", "first", "--cache-dir", "file/below")
    assert gradcheck(*arguments).err == ""
    result = gradcheck(*arguments, "-v")
    assert result.code == ExitCode.PASSED
    assert (
        result.err == "note: the record of this run can't be kept in file/below: Not a directory\n"
    )


def test_shards_are_the_whole(gradcheck: Command) -> None:
    everything = names(gradcheck)
    parts = [names(gradcheck, "--shard", f"{part}/3") for part in (1, 2, 3)]
    assert sorted(map(len, parts)) == [1, 2, 2]
    assert sorted(sum(parts, [])) == sorted(everything)  # noqa: RUF017 -- three lists
    result = gradcheck("compare", ".", OWN, "--shard", "2/3", "--json", "out.json", "-q")
    assert f"part 2 of 3: {len(parts[1])} of 5 checks" in result.out
    indices = {check["name"]: check["index"] for check in report()["checks"]}
    assert indices == {name: everything.index(name) for name in parts[1]}


def test_a_shard_without_a_check_is_no_failure(gradcheck: Command) -> None:
    result = gradcheck("compare", ".", OWN, "-k", "first", "--shard", "2/2", "--json", "out.json")
    assert result.code == ExitCode.PASSED
    assert report()["summary"]["exit_code"] == 0


def test_shards_by_recorded_durations(gradcheck: Command) -> None:
    seconds = {"first": 9.0, "wrong one": 2.0, "third": 2.0, "wrong two": 2.0, "fifth": 2.0}
    checks = [{"id": f"suite.yaml::{name}", "seconds": s} for name, s in seconds.items()]
    Path("old.txt").write_text(json.dumps({"checks": checks}))
    options = ("--shard-durations", "old.txt", "--shard")
    assert names(gradcheck, *options, "1/2") == ["first"]
    assert names(gradcheck, *options, "2/2") == ["wrong one", "third", "wrong two", "fifth"]
    result = gradcheck("compare", ".", *options, "1/2", "--shard-durations", "nowhere.json")
    assert result.code == ExitCode.CANNOT_RUN


def test_the_record_of_failures_moves_no_check_to_another_shard(gradcheck: Command) -> None:
    parts = [names(gradcheck, "--shard", f"{part}/2") for part in (1, 2)]
    gradcheck("compare", ".", OWN, "-q")
    for number, part in enumerate(parts, 1):
        shard = ("--shard", f"{number}/2")
        assert sorted(names(gradcheck, *shard, "--ff")) == sorted(part)
        wrong = [name for name in part if name.startswith("wrong")]
        assert names(gradcheck, *shard, "--lf") == (wrong or part)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "-1/3", "a/b", "1/3/5"])
def test_a_shard_that_is_none(gradcheck: Command, text: str) -> None:
    result = gradcheck("compare", ".", "--shard", text)
    assert result.code == ExitCode.USAGE
    assert f"--shard is `{text}`" in result.err


def test_repeat(gradcheck: Command) -> None:
    result = gradcheck(
        "compare", ".", OWN, "-k", "first or one", "--repeat", "2", "--seed", "3", "--json", "-"
    )
    assert result.code == ExitCode.FAILED
    checks = json.loads(result.out)["checks"]
    assert [check["id"] for check in checks] == [
        f"suite.yaml::{name}[seed={seed}]" for name in ("first", "wrong one") for seed in (3, 4)
    ]
    assert [check["seed"] for check in checks] == [3, 4, 3, 4]
    assert checks[1]["reproduce"] == (
        "gradcheck compare suite.yaml::first --methods engine,manual,numeric --seed 4"
    )
    # Only the seeds that failed run again.
    assert len(names(gradcheck, "--repeat", "3", "--seed", "2", "--lf", "-k", "one")) == 2


def test_the_order_in_files_is_the_selections(gradcheck: Command) -> None:
    gradcheck("compare", ".", OWN, "-q")
    gradcheck("compare", ".", OWN, "-q", "--ff", "--json", "out.json")
    assert [check["index"] for check in report()["checks"]] == [0, 1, 2, 3, 4]


def test_a_checks_that_shows_nothing_on_stdout_reports_there(gradcheck: Command) -> None:
    result = gradcheck("compare", ".", OWN, "--report", "json=-", "-k", "first")
    assert json.loads(result.out)["summary"]["passed"] == 1
    assert "1 passed" in result.err


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_costs_its_report_and_no_other(gradcheck: Command) -> None:
    result = gradcheck(
        "compare", ".", OWN, "-k", "first", "--report", "junit=/dev/full", "--json", "out.json"
    )
    assert result.code == ExitCode.CANNOT_RUN
    assert "error[GC305]" in result.err
    assert report()["summary"]["passed"] == 1
    result = gradcheck("compare", ".", OWN, "--json", "/dev/full", "-q")
    assert result.code == ExitCode.FAILED  # what is wrong weighs more


def without_times(document: Any) -> Any:
    """The document without what differs from run to run."""
    if isinstance(document, dict):
        return {
            key: without_times(value)
            for key, value in document.items()
            if key not in ("seconds", "environment")
        }
    return [without_times(part) for part in document] if isinstance(document, list) else document


def test_shards_that_are_merged_equal_the_whole(gradcheck: Command) -> None:
    Path("broken.yaml").write_text("version: 1\n")
    whole = gradcheck("compare", ".", OWN, "--json", "whole.txt", "-q")
    for part in "123":
        gradcheck("compare", ".", OWN, "--shard", f"{part}/3", "--json", f"{part}.txt", "-q")
    merged = gradcheck("merge", "3.txt", "1.txt", "2.txt", "--json", "merged.txt", "-q")
    assert merged.code == whole.code == ExitCode.USAGE
    assert without_times(report("merged.txt")) == without_times(report("whole.txt"))


def test_watch_runs_again_with_the_same_options(
    gradcheck: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradcheck_cli.cli import watching

    def twice(paths: list[str], run: Any, packages: tuple[str, ...]) -> int:
        assert packages == ()
        assert paths == ["suite.yaml::first", "."]
        assert run() == ExitCode.FAILED
        Path("suite.yaml").write_text(SUITE.replace("manual: {x: x}", "manual: {x: 2 * x}"))
        return int(run())

    monkeypatch.setattr(watching, "watch", twice)
    result = gradcheck("compare", "suite.yaml::first", ".", OWN, "-k", "not two", "-q", "--watch")
    assert result.code == ExitCode.PASSED
    assert "4 passed" in result.out
