from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import Problem
from gradcheck_cli.suite.selection.cache import Cache, Record, not_right
from gradcheck_cli.verdict.outcome import CheckOutcome

if TYPE_CHECKING:
    from gradcheck_cli.verdict.outcome import Status


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.yaml", "b.yaml"):
        Path(name).write_text("version: 1\n")
    return tmp_path


@pytest.fixture
def cache(folder: Path) -> Cache:
    return Cache.of(folder / ".gradcheck_cache")


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def outcome(name: str, status: Status = "failed", file: str = "a.yaml") -> CheckOutcome:
    return CheckOutcome(f"{file}::{name}", name, status, file, 1, seconds=0.5)


def test_nothing_is_known_at_first(cache: Cache) -> None:
    assert cache.read() == Record()
    assert not cache.folder.exists()


def test_what_failed_and_how_long_it_took(cache: Cache) -> None:
    unreadable = Problem("GC001", "broken")
    outcomes = [
        outcome("wrong"),
        outcome("right", "passed"),
        outcome("unsure", "inconclusive"),
        outcome("left", "skipped"),
        CheckOutcome("b.yaml", "b.yaml", "error", "b.yaml", error=unreadable),
    ]
    names = [("a.yaml", name) for name in ("wrong", "right", "unsure", "left")]
    assert cache.update(outcomes, names, strict=False) is None
    record = cache.read()
    assert record.failed == {"a.yaml::wrong", "b.yaml"}
    assert record.durations["a.yaml::right"] == 0.5
    cache.update(outcomes, names, strict=True)
    assert cache.read().failed == {"a.yaml::wrong", "b.yaml", "a.yaml::unsure"}
    assert (cache.folder / ".gitignore").read_text() == "*\n"
    assert (cache.folder / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d17")
    assert listed(cache.folder) == [".gitignore", "CACHEDIR.TAG", "record.json"]


def test_what_did_not_run_keeps_its_record_and_what_is_gone_loses_it(cache: Cache) -> None:
    before = [
        outcome("x[float32]"),
        outcome("y#2[N=3]"),
        outcome("old"),
        outcome("z", file="b.yaml"),
    ]
    cache.update(before, [("a.yaml", n) for n in ("x", "y", "old")], strict=False)
    # `old` was renamed, `y` was not selected, and b.yaml was not looked at.
    cache.update([outcome("x", "passed")], [("a.yaml", "x"), ("a.yaml", "y")], strict=False)
    assert cache.read().failed == {"a.yaml::x[float32]", "a.yaml::y#2[N=3]", "b.yaml::z"}
    Path("b.yaml").unlink()
    cache.update([], [], strict=False)
    assert cache.read().failed == {"a.yaml::x[float32]", "a.yaml::y#2[N=3]"}


def test_a_file_that_can_be_read_again_is_no_failure(cache: Cache) -> None:
    broken = CheckOutcome("a.yaml", "a.yaml", "error", "a.yaml", error=Problem("GC001", "broken"))
    cache.update([broken], [], strict=False)
    assert not_right(cache.read(), cache, [("a.yaml::x", "a.yaml"), ("b.yaml::x", "b.yaml")]) == {0}
    cache.update([outcome("x", "passed")], [("a.yaml", "x")], strict=False)
    assert cache.read().failed == set()


def test_another_folder_means_the_same_checks(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.update([outcome("x")], [("a.yaml", "x")], strict=False)
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    record = cache.read()
    assert not_right(record, cache, [("../a.yaml::x", "../a.yaml")]) == {0}
    assert not_right(record, cache, [("a.yaml::x", "a.yaml")]) == set()


def test_stdin_is_not_remembered(cache: Cache) -> None:
    cache.update([outcome("x", file="<stdin>")], [], strict=False)
    assert cache.read() == Record()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["version", "failed", "durations", "x"]), inner, max_size=4
                )
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_a_damaged_record_is_as_good_as_none(cache: Cache, content: bytes) -> None:
    cache.folder.mkdir(exist_ok=True)
    (cache.folder / "record.json").write_bytes(content)
    record = cache.read()
    assert all(isinstance(name, str) for name in record.failed)
    assert cache.update([outcome("x")], [("a.yaml", "x")], strict=False) is None
    assert "a.yaml::x" in cache.read().failed


def test_parts_of_a_damaged_record_that_are_sound_are_kept(cache: Cache) -> None:
    cache.folder.mkdir()
    text = '{"version": 1, "failed": ["a", 3, null], "durations": {"a": 1, "b": "x", "c": NaN}}'
    (cache.folder / "record.json").write_text(text)
    assert cache.read() == Record({"a"}, {"a": 1.0})
    (cache.folder / "record.json").write_text('{"version": 2, "failed": ["a"]}')
    assert cache.read() == Record()


def test_a_place_that_cannot_be_written_fails_nothing(folder: Path) -> None:
    Path("file").write_text("")
    for place in (folder / "file", folder / "file" / "below", Path("/proc/nowhere")):
        failure = Cache.of(place).update([outcome("x")], [], strict=False)
        assert isinstance(failure, OSError)
        assert Cache.of(place).read() == Record()
    assert listed(folder) == ["a.yaml", "b.yaml", "file"]


def test_runs_at_once_leave_a_whole_record(cache: Cache) -> None:
    def work(number: int) -> None:
        outcomes = [outcome(f"{number}-{k}") for k in range(200)]
        assert cache.update(outcomes, [], strict=False) is None

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = cache.read().failed
    assert found
    # Every run's failures are there whole, or not at all.
    numbers = {name.split("::")[1].split("-")[0] for name in found}
    assert found == {f"a.yaml::{number}-{k}" for number in numbers for k in range(200)}
    assert listed(cache.folder) == [".gitignore", "CACHEDIR.TAG", "record.json"]


def test_names_that_can_be_no_path_are_forgotten(cache: Cache) -> None:
    cache.folder.mkdir()
    failed = ["x" * 5000 + "::a", "a\0b::c", "..::d", "b.yaml::e"]
    document = {"version": 1, "failed": failed, "durations": {}}
    (cache.folder / "record.json").write_text(json.dumps(document))
    assert cache.update([outcome("wrong")], [("a.yaml", "wrong")], strict=False) is None
    assert cache.read().failed == {"a.yaml::wrong", "b.yaml::e"}
