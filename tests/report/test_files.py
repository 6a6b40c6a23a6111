from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.report.files import LineFile, ReportFile, append


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


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.touch(0o600)
    path.chmod(0o640 | stat.S_IXUSR)
    ReportFile(str(path)).write("x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o740


def test_half_a_character_is_written_as_its_escape(tmp_path: Path) -> None:
    ReportFile(str(tmp_path / "report.md")).write("a\udc80b")
    assert (tmp_path / "report.md").read_bytes() == b"a\\udc80b"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_device_is_told_and_nothing_else_is_lost() -> None:
    with pytest.raises(GradcheckError, match="No space left"):
        ReportFile("/dev/full").write("x")
    lines = LineFile("/dev/full")
    lines.line("x")
    with pytest.raises(GradcheckError, match="No space left"):
        lines.close()


def test_a_disk_that_is_full_only_when_it_is_told_to_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    target = ReportFile(str(tmp_path / "report.json"))
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GradcheckError) as caught:
        target.write("x")
    assert caught.value.problems[0].code == "GC305"
    assert list(tmp_path.iterdir()) == []


class Disk:
    """`os.write` on a disk with so much room left; what fits is written, as a file system does."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.real = os.write

    def write(self, number: int, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = bytes(data)[: self.room]
        self.room -= len(part)
        return self.real(number, part)


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    lines = LineFile(str(path))
    lines.line("one")
    assert path.read_text() == "one\n"
    lines.line("two")
    assert path.read_text() == "one\ntwo\n"
    lines.close()


@pytest.mark.parametrize("room", range(4, 12))
def test_there_is_never_half_a_line(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.jsonl"
    lines = LineFile(str(path))
    disk = Disk(room)
    monkeypatch.setattr(os, "write", disk.write)
    for text in ("one", "two", "six", "ten"):
        lines.line(text)
    assert path.read_text() == "one\ntwo\nsix\nten\n"[: room // 4 * 4]
    disk.room = 100
    lines.line("more")  # a gap between lines would say that there was none
    assert path.read_text() == "one\ntwo\nsix\nten\n"[: room // 4 * 4]
    with pytest.raises(GradcheckError, match="No space left"):
        lines.close()


@pytest.mark.parametrize("name", ["missing/report.jsonl", "."])
def test_lines_that_cannot_be_written_are_refused_at_once(name: str, tmp_path: Path) -> None:
    with pytest.raises(GradcheckError) as caught:
        LineFile(str(tmp_path / name))
    assert caught.value.problems[0].code == "GC305"


def test_appending_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "summary.md"
    append(str(path), "first\n")
    append(str(path), "second\n")
    monkeypatch.setattr(os, "write", Disk(3).write)
    with pytest.raises(OSError, match="No space left"):
        append(str(path), "third\n")
    assert path.read_text() == "first\nsecond\n"
