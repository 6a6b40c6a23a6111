"""Checks in workers: the same outcomes, and nothing that goes wrong costs more than its own check."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.limits import physical_memory
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.ending import ending, exit_code
from gradcheck_cli.suite.settings import Settings
from gradcheck_cli.suite.workers import processes
from gradcheck_cli.suite.workers.execute import Execution, execute, parse_jobs
from gradcheck_cli.suite.workers.pool import WorkerEndedError, WorkerError, WorkerPool
from gradcheck_cli.suite.workers.worker import Setup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.verdict.outcome import CheckOutcome

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

# Without PyTorch, whose import takes longer than all of these tests.
OWN = "methods: [engine, numeric, manual]"
SMALL = f"version: 1\n{OWN}\ndims: {{N: [1, 2, 3, 4, 5, 6]}}\ninputs: {{x: {{shape: [N]}}}}\n"
RIGHT = SMALL + "name: right\nexpression: x.exp().sum()\nmanual: {x: x.exp()}\n"
WRONG = SMALL + "name: wrong\nexpression: x.exp().sum()\nmanual: {x: 2 * x.exp()}\n"
# Real work, in LAPACK, which heeds no signal that Python handles. Minutes on these machines.
ENDLESS = f"""\
version: 1
{OWN}
name: endless
inputs: {{x: {{shape: [4000, 4000]}}}}
expression: torch.linalg.svd(x).S.sum()
"""


def checks_of(*texts: str) -> list[Check]:
    return [
        replace(check, id=f"{number}::{check.id}")
        for number, text in enumerate(texts)
        for check in load_text(text, f"{number}.yaml")
    ]


def ran(checks: list[Check], how: Execution) -> dict[int, CheckOutcome]:
    return dict(execute(checks, how, Settings()))


def workers() -> list[Any]:
    return [p for p in multiprocessing.active_children() if p.name == "gradcheck worker"]


def wait_until(holds: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    made = WorkerPool(2, Setup(2, 2))
    yield made
    made.shutdown(cancel_futures=True)
    assert not workers()


@pytest.mark.parametrize(("text", "jobs"), [("1", 1), (" 12 ", 12), ("1024", 1024)])
def test_jobs(text: str, jobs: int) -> None:
    assert parse_jobs(text) == jobs
    assert 1 <= parse_jobs("auto") <= 1024


@pytest.mark.parametrize("text", ["0", "-1", "many", "", "1.5", "1025", "٣", "9" * 5000])
def test_no_jobs(text: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        parse_jobs(text)
    assert caught.value.exit_code is ExitCode.USAGE


def test_in_this_process_in_order_and_one_at_a_time() -> None:
    checks = checks_of(RIGHT)
    results = execute(checks, Execution(), Settings())
    assert next(results)[0] == 0
    assert [position for position, _ in results] == [1, 2, 3, 4, 5]
    assert not workers()


def test_workers_find_what_this_process_finds(timeless: Callable[..., Any]) -> None:
    checks = checks_of(RIGHT, WRONG)
    here, there = ran(checks, Execution()), ran(checks, Execution(jobs=2))
    assert [here[n].status for n in range(12)] == ["passed"] * 6 + ["failed"] * 6
    assert timeless(there) == timeless(here)
    assert not workers()


def test_no_checks() -> None:
    assert ran([], Execution(jobs=2)) == {}


def test_what_takes_too_long_is_ended_and_costs_nothing_else() -> None:
    checks = checks_of(ENDLESS, RIGHT, ENDLESS)
    start = time.monotonic()
    found = ran(checks, Execution(jobs=2, timeout=2))
    assert time.monotonic() - start < 20
    assert [found[n].status for n in range(8)] == ["error", *["passed"] * 6, "error"]
    slow = found[0]
    assert slow.error is not None
    assert (slow.error.code, slow.error.exit_code) == ("GC309", ExitCode.CANNOT_RUN)
    assert slow.error.message == "the check took longer than 2 s and was ended"
    assert slow.error.hint is not None
    assert "--timeout 4" in slow.error.hint
    assert (slow.id, slow.file, slow.line, slow.seconds) == ("0::0.yaml::endless", "0.yaml", 1, 2)
    assert slow.expression == "torch.linalg.svd(x).S.sum()"
    assert slow.reproduce.startswith("gradcheck compare ")
    assert [i.shape for i in slow.inputs] == [(4000, 4000)]
    assert slow.error.where is not None
    assert slow.error.where.line == 5
    assert exit_code(found.values()) is ExitCode.CANNOT_RUN


def test_one_worker_with_a_limit_is_a_process_too() -> None:
    found = ran(checks_of(ENDLESS, RIGHT), Execution(timeout=1))
    assert [found[n].status for n in range(7)] == ["error", *["passed"] * 6]


def test_a_killed_worker_costs_its_check_and_an_idle_one_nothing() -> None:
    checks = checks_of(ENDLESS, RIGHT)
    found = {}
    for position, outcome in execute(checks, Execution(jobs=2), Settings()):
        found[position] = outcome
        if len(found) == 6:  # what is left is endless
            for worker in workers():
                os.kill(worker.pid, signal.SIGKILL)
    lost = found[0]
    assert [found[n].status for n in range(7)] == ["error", *["passed"] * 6]
    assert lost.error is not None
    assert (lost.error.code, ending(lost)) == ("GC310", ExitCode.CANNOT_RUN)
    assert lost.error.message == "the process that ran the check was ended by SIGKILL"
    assert "memory" in str(lost.error.hint)


def test_closing_the_generator_ends_everything_at_once() -> None:
    start = time.monotonic()
    with closing(execute(checks_of(RIGHT, ENDLESS), Execution(jobs=2), Settings())) as results:
        for _ in range(6):
            next(results)
        assert workers()
        start = time.monotonic()
    assert time.monotonic() - start < 5
    assert not workers()


def test_a_worker_may_end_in_any_way(pool: WorkerPool) -> None:
    assert pool.submit(len, "abc").result(20) == 3
    for idle in workers():
        os.kill(idle.pid, signal.SIGKILL)
    for code in (0, 3):
        with pytest.raises(WorkerEndedError, match=f"exit status {code}"):
            pool.submit(os._exit, code).result(20)
    with pytest.raises(WorkerEndedError, match="SIGSEGV"):
        pool.submit(signal.raise_signal, signal.SIGSEGV).result(20)
    assert pool.submit(len, "abcd").result(20) == 4


def test_a_worker_that_is_killed_while_it_sends_takes_nobody_along(pool: WorkerPool) -> None:
    """Half of an answer of 200 MB has come when its sender is gone."""
    large = pool.submit(bytes, 200_000_000)
    wait_until(workers)
    time.sleep(0.15)
    for worker in workers():
        os.kill(worker.pid, signal.SIGKILL)
    assert large.exception(20) is None or isinstance(large.exception(), WorkerEndedError)
    assert pool.submit(len, "abc").result(20) == 3


def test_what_a_task_raises_comes_with_its_traceback(pool: WorkerPool) -> None:
    with pytest.raises(WorkerError, match=r"^ValueError: invalid literal(.|\n)*Traceback"):
        pool.submit(int, "x").result(20)
    with pytest.raises(WorkerError, match=r"PicklingError|AttributeError|TypeError"):
        pool.submit(eval, "lambda: 0").result(20)
    with pytest.raises(WorkerError, match="SystemExit"):
        pool.submit(sys.exit, 0).result(20)
    assert pool.submit(len, "abc").result(20) == 3


@pytest.mark.parametrize("how", [Execution(), Execution(jobs=2)], ids=["here", "workers"])
def test_a_bug_is_raised_as_one(how: Execution) -> None:
    broken: Any = None
    checks = [replace(check, inputs=broken) for check in checks_of(RIGHT)]
    with pytest.raises((TypeError, WorkerError), match="not iterable"):
        ran(checks, how)
    assert not workers()


@linux
def test_memory_runs_out_in_the_check_alone() -> None:
    pool = WorkerPool(1, Setup(1, 64))
    part = physical_memory() // 64
    before = pool.submit(os.getpid).result(20)
    with pytest.raises(MemoryError):
        pool.submit(bytearray, 2 * part).result(20)
    assert len(pool.submit(bytearray, part // 4).result(20)) == part // 4
    assert pool.submit(os.getpid).result(20) == before
    pool.shutdown()


def test_many_tasks_end_each_in_its_own_result(pool: WorkerPool) -> None:
    futures = [pool.submit(pow, n, 2) for n in range(500)]
    assert [future.result(20) for future in futures] == [n * n for n in range(500)]


def test_nothing_waits_behind_what_is_slow(pool: WorkerPool) -> None:
    quick = [pool.submit(len, "a") for _ in range(20)]
    slow = pool.submit(time.sleep, 30)
    quick += [pool.submit(len, "a") for _ in range(20)]
    assert sum(future.result(20) for future in quick) == 40
    assert not slow.done()


def test_large_tasks_and_large_results_do_not_wait_for_each_other(pool: WorkerPool) -> None:
    block = bytes(1_000_000)
    futures = [pool.submit(block.__add__, b"x") for _ in range(12)]
    assert {len(future.result(20)) for future in futures} == {1_000_001}


def test_a_waiting_shutdown_ends_what_was_asked_for() -> None:
    with WorkerPool(1, Setup()) as pool:
        futures = [pool.submit(len, "abc") for _ in range(10)]
    assert [future.result(0) for future in futures] == [3] * 10
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(len, "abc")


def test_no_process_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(processes.Context, "start", refuse)
    with pytest.raises(GradcheckError, match="no worker process could be started") as caught:
        ran(checks_of(RIGHT), Execution(jobs=2))
    assert caught.value.problems[0].code == "GC310"
    assert caught.value.exit_code is ExitCode.CANNOT_RUN


def test_a_check_travels_without_its_file() -> None:
    one = (
        "  - {name: c%d, inputs: {x: {shape: [2]}}, expression: x.sum(), manual: {x: 1 + 0 * x}}\n"
    )
    checks = load_text("version: 1\nchecks:\n" + "".join(one % n for n in range(500)), "many.yaml")
    last = checks[-1]
    sent = pickle.dumps(last)
    assert len(sent) < 2000
    back = pickle.loads(sent)
    assert back.expression.where(0, 1) == last.expression.where(0, 1)
    assert back.expression.where(0, 1).line == 502


@pytest.mark.parametrize(
    "written",
    [
        "x.sum() + 1",
        "'x.sum() + 1'",
        '"x\\x2esum() +\n  1"',
        ">\n  x.sum()\n  + 1",
        ">-\n    x.sum()\n\n    + 1",
        "|\n  x.sum() + 1\n",
    ],
)
def test_places_are_the_same_after_the_journey(written: str) -> None:
    text = f"# a\nversion: 1\ninputs: {{x: {{shape: [2]}}}}\nexpression: {written}\n# end\n"
    (check,) = load_text(text, "a.yaml")
    source = check.expression
    back = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(source))))
    for start in range(len(source.text) + 1):
        assert back.where(start) == source.where(start)
        assert back.where(start, len(source.text)) == source.where(start, len(source.text))


# As processes of their own: signals, and what is left when one has ended.

MARK = "GRADCHECK_TEST_RUN"


def marked(mark: str) -> list[int]:
    """The processes that descend from the one that was started with the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            alive = "\nState:\tZ" not in (folder / "status").read_text()
            if alive and f"{MARK}={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # it has just ended, or isn't ours
    return found


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`gradcheck compare` on a quick and an endless spec in a session of its own."""
    (folder / "right.yaml").write_text(RIGHT)
    (folder / "endless.yaml").write_text(ENDLESS)
    root = str(Path(__file__).parents[3])
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "gradcheck_cli",
            "compare",
            "right.yaml",
            "endless.yaml",
            *arguments,
        ],
        cwd=folder,
        env={**os.environ, MARK: folder.name, "PYTHONPATH": root},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@linux
def test_ctrl_c_keeps_what_is_finished_and_leaves_no_process(tmp_path: Path) -> None:
    with command(tmp_path, "-j", "2", "--methods", "engine,numeric") as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(6)]
        # As a terminal does: to everyone of the group.
        os.killpg(running.pid, signal.SIGINT)
        start = time.monotonic()
        rest, errors = running.communicate(timeout=30)
        assert time.monotonic() - start < 10
    out = "".join(lines) + rest
    assert running.returncode == ExitCode.INTERRUPTED
    assert out.count("right") >= 6
    assert "Traceback" not in out + errors
    wait_until(lambda: not marked(tmp_path.name), 5)


@linux
def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    with command(tmp_path, "-j", "2", "--methods", "engine,numeric") as running:
        assert running.stdout is not None
        for _ in range(6):
            running.stdout.readline()
        assert len(marked(tmp_path.name)) > 2
        running.kill()
        running.communicate(timeout=30)
    wait_until(lambda: not marked(tmp_path.name), 10)


SCRIPT = """\
import os
from gradcheck_cli.suite.workers.pool import WorkerPool
from gradcheck_cli.suite.workers.worker import Setup

print("once")
pool = WorkerPool(1, Setup())
pool.submit(print, "to stderr").result()
pool.submit(os.system, "echo by a shell").result()
assert pool.submit(input).exception() is not None
pool.shutdown()
print("end")
"""


def test_a_script_without_a_guard_and_workers_that_print(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    root = str(Path(__file__).parents[3])
    result = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        input="not for workers\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "once\nend\n")
    assert result.stderr == "to stderr\nby a shell\n"


def test_a_pool_may_be_used_from_several_threads(pool: WorkerPool) -> None:
    totals = []

    def work() -> None:
        totals.append(sum(pool.submit(len, "ab").result(20) for _ in range(50)))

    threads = [Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == [100] * 4
