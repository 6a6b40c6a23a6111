"""Running many checks: in this process, in several workers, or on a cluster, by one path.

Each of the three is an executor of `concurrent.futures`. What goes wrong with a worker is the outcome of the
check that it ran, and of no other.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from gradcheck_cli.errors import GradcheckError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.suite.settings import Settings
    from gradcheck_cli.verdict.outcome import CheckOutcome

P = ParamSpec("P")
T = TypeVar("T")

MOST_JOBS = 1024
# Checks that an executor has at a time, for each that it can run at once: enough that it never waits.
_IN_HAND = 4


@dataclass(frozen=True, slots=True)
class Execution:
    """How checks are run: `jobs` at a time, each for `timeout` seconds at most, on a `cluster`'s address.

    With `isolated`, never in this process: code that a check imports is then read anew by every run.
    """

    jobs: int = 1
    timeout: float | None = None
    cluster: str | None = None
    isolated: bool = False

    @property
    def here(self) -> bool:
        """Whether the checks run in this very process."""
        alone = self.jobs == 1 and self.timeout is None and self.cluster is None
        return alone and not self.isolated


def parse_jobs(text: str) -> int:
    """The number of workers that `N` or `auto` asks for. Raises GradcheckError (GC028).

    >>> parse_jobs("3")
    3
    """
    if text.strip() == "auto":
        from gradcheck_cli.cores import cores

        return min(cores(), MOST_JOBS)
    if re.fullmatch(r"\s*0*[0-9]{1,4}\s*", text, re.ASCII) and 1 <= int(text) <= MOST_JOBS:
        return int(text)
    message = f"`{text}` is no number of workers"
    hint = f"give a whole number from 1 to {MOST_JOBS}, or `auto` for one for each core"
    raise GradcheckError(Problem("GC028", message, None, hint))


def warm_up(how: Execution, *, torch: bool = True) -> None:
    """Start what local workers are made from, so that PyTorch is imported while spec files are read.

    Not needed: `execute` does it too. `torch` is whether the methods that will run include it.
    """
    if not how.here and how.cluster is None:
        from gradcheck_cli.suite.workers.processes import Context

        Context().warm_up(modules(torch=torch))


def execute(
    checks: Sequence[Check], how: Execution, settings: Settings
) -> Generator[tuple[int, CheckOutcome], None, None]:
    """Run the checks, and give the position and outcome of each as soon as it is there.

    One worker gives them in order. To close the generator ends all that runs. Raises GradcheckError where
    no worker can be had (GC310) or the cluster not be reached (GC311), and what is a bug of ours as it is.
    """
    executor, run, at_once = _executor(checks, how)
    most = 1 if how.here else _IN_HAND * at_once
    done: SimpleQueue[Future[CheckOutcome]] = SimpleQueue()
    running: dict[Future[CheckOutcome], int] = {}
    waiting = iter(enumerate(checks))
    try:
        while True:
            for position, check in islice(waiting, most - len(running)):
                future = executor.submit(run, check, settings)
                running[future] = position
                future.add_done_callback(done.put)
            if not running:
                return
            future = done.get()
            position = running.pop(future)
            yield position, _outcome(checks[position], future, how)
            del future
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


class Here(Executor):
    """Runs a task in this process when it is submitted. What it raises is raised at once."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run it now."""
        future: Future[T] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def modules(*, torch: bool) -> tuple[str, ...]:
    """What a worker imports before its first check, as far as it is there."""
    methods = ("engine", "manual", "derived", "numeric", *(("torch",) if torch else ()))
    return (
        *(f"gradcheck_cli.methods.{method}_method" for method in methods),
        "gradcheck_cli.suite.run",
        "gradcheck_cli.verdict.diagnosis",
        "scipy.special",
        # The first torch.autograd.grad imports it, and SymPy with it: half a second.
        *(("torch.fx.experimental.symbolic_shapes",) if torch else ()),
    )


def need_torch(checks: Sequence[Check]) -> bool:
    """Whether any of the checks is run by PyTorch."""
    return any(
        check.methods is None or "torch" in check.methods or check.implementation is not None
        for check in checks
    )


def _executor(
    checks: Sequence[Check], how: Execution
) -> tuple[Executor, Callable[[Check, Settings], CheckOutcome], int]:
    """What runs the checks, what is submitted to it for each, and how many it runs at once."""
    if how.here:
        return Here(), run_one, 1
    from gradcheck_cli.suite.workers.worker import Setup

    needed = modules(torch=need_torch(checks))
    only_cpu = all(check.device == "cpu" for check in checks)
    if how.cluster is not None:
        from gradcheck_cli.suite.workers.cluster import connect

        setup = Setup(modules=needed, memory_limit=only_cpu, folder=_folder())
        return connect(how.cluster, how.timeout, setup)
    from gradcheck_cli.suite.workers.pool import WorkerPool

    workers = max(1, min(how.jobs, len(checks)))
    setup = Setup(workers, workers, needed, only_cpu, _folder())
    return WorkerPool(workers, setup, timeout=how.timeout), run_one, workers


def _folder() -> str | None:
    """Where this process works; None where that is no more."""
    try:
        return os.getcwd()  # noqa: PTH109 -- a text, that goes to other processes
    except OSError:
        return None


def run_one(check: Check, settings: Settings) -> CheckOutcome:
    """Run a check; what this needs is imported by who runs it, not by who only waits for it."""
    from gradcheck_cli.suite.run import run_check

    return run_check(check, settings)


def _outcome(check: Check, future: Future[CheckOutcome], how: Execution) -> CheckOutcome:
    """The check's outcome, also where what it ran in has come to an end first."""
    if how.here:
        return future.result()
    if how.cluster is not None:
        from gradcheck_cli.suite.workers.cluster import settled
    else:
        from gradcheck_cli.suite.workers.lost import settled
    return settled(check, future)
