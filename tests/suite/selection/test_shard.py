from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.suite.selection.shard import durations, share

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

IDS = st.lists(st.text(max_size=5), max_size=60)
SECONDS = st.dictionaries(st.text(max_size=5), st.floats(0, 1e4), max_size=60)


@given(IDS, st.integers(1, 12), SECONDS)
def test_parts_are_a_partition_and_balanced(
    ids: list[str], parts: int, seconds: dict[str, float]
) -> None:
    shares = [share(ids, part, parts, seconds) for part in range(1, parts + 1)]
    assert sorted(chain(*shares)) == list(range(len(ids)))
    assert all(one == sorted(one) for one in shares)
    known = [seconds[name] for name in ids if name in seconds]
    if len(known) == len(ids):
        loads = [sum(seconds[ids[k]] for k in one) for one in shares]
        # Durations count in whole microseconds.
        assert max(loads) - min(loads) <= max(known, default=0) + 1e-6 * (len(ids) + 1)


@given(st.lists(st.text(max_size=5), max_size=40, unique=True), SECONDS, st.randoms())
def test_the_order_in_which_checks_are_named_changes_no_part(
    ids: list[str], seconds: dict[str, float], random: Random
) -> None:
    shuffled = ids.copy()
    random.shuffle(shuffled)
    assert {ids[k] for k in share(ids, 1, 3, seconds)} == {
        shuffled[k] for k in share(shuffled, 1, 3, seconds)
    }


@given(st.integers(0, 100), st.integers(1, 9))
def test_without_durations_parts_differ_by_one_check_at_most(number: int, parts: int) -> None:
    ids = [str(k) for k in range(number)]
    sizes = [len(share(ids, part, parts)) for part in range(1, parts + 1)]
    assert max(sizes) - min(sizes) <= 1


def test_a_long_check_gets_a_part_of_its_own() -> None:
    seconds = {"long": 10.0, **{f"short{k}": 1.0 for k in range(10)}}
    ids = ["short0", "long", *(f"short{k}" for k in range(1, 10))]
    assert share(ids, 1, 2, seconds) == [1]


def test_an_unknown_check_counts_as_the_median() -> None:
    seconds = {"a": 3.0, "b": 3.0, "c": 9.0}
    assert share(["a", "b", "c", "new"], 1, 2, seconds) == [2]
    assert share(["a", "b", "c", "new"], 2, 2, seconds) == [0, 1, 3]


def test_durations_of_a_report_and_of_a_record(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    checks = [
        {"id": "a", "seconds": 1.5},
        {"id": "b", "seconds": None},
        {"id": "c", "seconds": "Infinity"},
        {"seconds": 3},
        7,
    ]
    report.write_text(json.dumps({"format_version": "1.0", "checks": checks}))
    assert durations(str(report)) == {"a": 1.5}
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"durations": {"a": 2, "b": -1, "c": True}}))
    assert durations(str(record)) == {"a": 2.0}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"checks": 3}', "[" * 100_000, "\xff"])
def test_a_file_that_is_something_else(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(GradcheckError) as caught:
        durations(str(file))
    assert caught.value.problems[0].code == "GC028"


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(GradcheckError) as caught:
        durations(str(tmp_path / "nowhere.json"))
    assert caught.value.exit_code == ExitCode.CANNOT_RUN
