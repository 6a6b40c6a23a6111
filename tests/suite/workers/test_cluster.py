"""Checks on a cluster of two workers: the same verdicts, and a lost check is lost alone there too."""

from __future__ import annotations

import importlib.util
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.settings import Settings
from gradcheck_cli.suite.workers import cluster
from gradcheck_cli.suite.workers.execute import Execution, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.verdict.outcome import CheckOutcome

needs_distributed = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None,
    reason="CLUSTER NOT TESTED: distributed is not installed (pip install 'gradcheck-cli[cluster]')",
)
# Of distributed's own, and of what it imports.
pytestmark = [needs_distributed, pytest.mark.filterwarnings("ignore")]

OWN = "version: 1\nmethods: [engine, numeric, manual]\n"
RIGHT = (
    OWN + "dims: {N: [1, 2, 3, 4]}\nname: right\ninputs: {x: {shape: [N]}}\n"
    "expression: x.exp().sum()\nmanual: {x: x.exp()}\n"
)
WRONG = RIGHT.replace("manual: {x:", "manual: {x: 2 *").replace("right", "wrong")
BROKEN = (
    OWN
    + "name: broken\ninputs: {x: {shape: [3, 3]}}\nexpression: torch.linalg.cholesky(-x @ x.T).sum()\n"
)
ENDLESS = (
    OWN
    + "name: endless\ninputs: {x: {shape: [4000, 4000]}}\nexpression: torch.linalg.svd(x).S.sum()\n"
)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from distributed import LocalCluster

    made: Any = LocalCluster
    with made(n_workers=2, threads_per_worker=1, dashboard_address=None) as local:
        yield local.scheduler_address


def checks_of(*texts: str) -> list[Check]:
    return [check for text in texts for check in load_text(text)]


def ran(checks: list[Check], how: Execution) -> dict[int, CheckOutcome]:
    return dict(execute(checks, how, Settings()))


def test_the_same_as_here_and_what_is_slow_is_ended(
    address: str, timeless: Callable[..., Any]
) -> None:
    checks = checks_of(RIGHT, WRONG, BROKEN)
    here = ran(checks, Execution())
    assert [here[n].status for n in range(9)] == ["passed"] * 4 + ["failed"] * 4 + ["error"]
    there = ran([*checks, *checks_of(ENDLESS)], Execution(cluster=address, timeout=2))
    slow = there.pop(9)
    assert timeless(there) == timeless(here)
    assert slow.error is not None
    assert (slow.status, slow.error.code) == ("error", "GC309")
    # The cluster is none the worse, and a run that is given up ends on it too.
    results = execute(checks_of(ENDLESS, RIGHT), Execution(cluster=address), Settings())
    assert {next(results)[1].status for _ in range(4)} == {"passed"}
    start = time.monotonic()
    results.close()
    assert time.monotonic() - start < 8
    assert len(ran(checks_of(RIGHT), Execution(cluster=address))) == 4


def refusal(address: str) -> str:
    start = time.monotonic()
    with pytest.raises(GradcheckError) as caught:
        ran(checks_of(RIGHT), Execution(cluster=address))
    assert time.monotonic() - start < 10
    (problem,) = caught.value.problems
    assert (problem.code, problem.exit_code) == ("GC311", ExitCode.CANNOT_RUN)
    assert problem.hint is not None
    return problem.message


@pytest.mark.parametrize("wrong", ["garbage", "tcp://", "carrier://pigeon:1", "tcp://127.0.0.1:1"])
def test_no_such_scheduler(wrong: str) -> None:
    assert f"there is no scheduler at {wrong}" in refusal(wrong)


def test_one_who_listens_and_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_REACHING", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        message = refusal(f"tcp://127.0.0.1:{silent.getsockname()[1]}")
    assert "no answer within 0.5 s" in message


def test_another_version(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcheck_cli.__version__", "99.0")
    assert "another version of gradcheck than 99.0" in refusal(address)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "needs the package `distributed`" in refusal("tcp://127.0.0.1:1")
