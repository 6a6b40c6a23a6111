"""Runs that follow changes of files; every wait ends by itself."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Timer

import pytest

from gradcheck_cli.cli import watching
from gradcheck_cli.cli.watching import watch
from gradcheck_cli.errors import ExitCode, GradcheckError, Problem

pytest.importorskip("watchfiles")
# Longer than any of these takes on a loaded machine; Ctrl-C then ends the waiting, and the test fails.
LIMIT = 30.0
SPEC = "version: 1\ninputs: {x: {shape: [3]}}\nexpression: x.sum()\n"

Step = Callable[[], None]


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    timer = Timer(LIMIT, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    yield
    timer.cancel()


def pressed() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def runs(*steps: Step, seconds: float = 0.3) -> tuple[Callable[[], int], list[int]]:
    """A run that has one of `steps` done while the files are watched after it; the last returns 130."""
    codes: list[int] = []
    left = list(steps)

    def run() -> int:
        codes.append(len(codes))
        if not left:
            return ExitCode.INTERRUPTED
        Timer(seconds, left.pop(0)).start()
        return ExitCode.PASSED

    return run, codes


def edit(name: str) -> Step:
    def step() -> None:
        Path(name).write_text(f"{SPEC}# edited: {name}\n")

    return step


def replaced(name: str) -> None:
    """As editors save: a new file takes the place of the old one, of the same size and time."""
    path = Path(name)
    times = path.stat()
    new = Path(f".{name}.swp")
    new.write_text(path.read_text())
    os.utime(new, ns=(times.st_atime_ns, times.st_mtime_ns))
    new.replace(path)


def test_a_change_runs_again(capsys: pytest.CaptureFixture[str]) -> None:
    run, seen = runs(edit("right.yaml"), edit("wrong.yaml"))
    assert watch(["right.yaml", "wrong.yaml"], run) == ExitCode.INTERRUPTED
    assert len(seen) == 3
    out, err = capsys.readouterr()
    assert out == ""
    watching_line = "watching 2 files; Ctrl-C ends"
    assert err.splitlines() == [
        *(watching_line, "changed: right.yaml", watching_line, "changed: wrong.yaml"),
    ]


def test_an_editor_that_replaces_the_file() -> None:
    run, seen = runs(lambda: replaced("right.yaml"), lambda: replaced("right.yaml"))
    watch(["right.yaml::right"], run)
    assert len(seen) == 3


def test_files_that_come_and_go_in_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    def folder() -> None:
        Path("new").mkdir()
        Timer(0.3, edit("new/a.yaml")).start()

    run, seen = runs(folder, edit("new/a.yml"), Path("new/a.yaml").unlink)
    watch(["."], run)
    assert len(seen) == 4
    changed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("changed")]
    assert changed == [
        f"changed: {Path(name)}" for name in ("new/a.yaml", "new/a.yml", "new/a.yaml")
    ]


def test_globs_see_new_files() -> None:
    Path("deep").mkdir()
    run, seen = runs(edit("deep/b.yaml"))
    watch(["**/*.yaml"], run)
    assert len(seen) == 2


def test_data_beside_the_spec_counts_and_other_files_do_not() -> None:
    def others() -> None:
        Path("notes.txt").write_text("x")
        Path("report.json").write_text('{"format_version": "1.0", "tool": {"version": "1"}}')
        Path(".hidden.yaml").write_text(SPEC)
        Timer(0.6, Path("x.npy").write_bytes, (b"",)).start()

    run, seen = runs(others)
    watch(["."], run)
    assert len(seen) == 2


@pytest.mark.parametrize("package", ["fused", "fused.kernels", "single"])
def test_code_that_checks_import_counts(package: str) -> None:
    Path("fused").mkdir()
    changed = Path("single.py" if package == "single" else "fused/kernels.py")
    changed.touch()

    def change() -> None:
        Path("unrelated.py").touch()
        changed.write_text("x = 1")

    run, seen = runs(change)
    watch(["right.yaml"], run, [package])
    assert len(seen) == 2


def test_a_change_during_the_run_is_not_lost() -> None:
    codes: list[int] = []

    def run() -> int:
        codes.append(1)
        if len(codes) > 1:
            return ExitCode.INTERRUPTED
        edit("right.yaml")()
        return ExitCode.FAILED

    watch(["right.yaml"], run)
    assert len(codes) == 2


def test_ctrl_c_ends_with_the_code_of_the_last_run(capsys: pytest.CaptureFixture[str]) -> None:
    run, seen = runs(pressed)
    assert watch(["right.yaml"], lambda: run() or ExitCode.FAILED) == ExitCode.FAILED
    assert len(seen) == 1
    assert capsys.readouterr().err == "watching 1 file; Ctrl-C ends\n\n"


def test_an_error_of_a_later_run_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    run, seen = runs(edit("right.yaml"), pressed)

    def broken() -> int:
        run()
        if len(seen) == 2:
            raise GradcheckError(Problem("GC005", "no version"))
        return ExitCode.PASSED

    assert watch(["right.yaml"], broken) == ExitCode.USAGE
    assert "error[GC005]: no version" in capsys.readouterr().err


def test_an_error_of_the_first_run_ends_it() -> None:
    def missing() -> int:
        raise GradcheckError(Problem("GC027", "no such file"))

    with pytest.raises(GradcheckError, match="no such file"):
        watch(["nowhere.yaml"], missing)


def test_the_screen_is_cleared_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    run, _ = runs(edit("right.yaml"))
    watch(["right.yaml"], run)
    assert capsys.readouterr().out == "\x1b[2J\x1b[H"


def test_what_cannot_be_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GradcheckError, match="stdin") as caught:
        watch(["right.yaml", "-"], lambda: 0)
    assert caught.value.exit_code == ExitCode.USAGE
    monkeypatch.setattr(watching, "MAX_FOLDERS", 0)
    with pytest.raises(GradcheckError, match="more than 0 folders"):
        watch(["."], lambda: 0)
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(GradcheckError, match="not installed") as caught:
        watch(["right.yaml"], lambda: 0)
    assert caught.value.exit_code == ExitCode.CANNOT_RUN
    assert caught.value.problems[0].hint == "pip install 'gradcheck-cli[watch]'"
