"""Checks on a cluster, through `distributed` (Dask): its executor, and what runs on the cluster's workers.

A cluster's worker runs each check in a process of its own beside it, the same as a local run's. So a check's
time limit and its crash are there what they are here, and never the end of a worker that others use too.
"""

from __future__ import annotations

import math
import socket
from concurrent.futures import CancelledError, Executor, Future
from dataclasses import replace
from threading import Lock, Thread, local
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, TypeVar
from uuid import uuid4

import gradcheck_cli
from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.suite.workers import lost
from gradcheck_cli.suite.workers.pool import WorkerPool

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.suite.settings import Settings
    from gradcheck_cli.suite.workers.worker import Setup
    from gradcheck_cli.verdict.outcome import CheckOutcome

P = ParamSpec("P")
T = TypeVar("T")

_REACHING = 8.0  # seconds until a scheduler that doesn't answer counts as absent
_ENDING = 5.0  # seconds that the cluster's workers may take to end what runs
_SHOWN = 3  # workers named in a message


class ClusterExecutor(Executor):
    """The executor of a client, with what a run leaves on the workers ended together with it."""

    def __init__(self, client: Any, run: str) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False)
        self._run = run

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn(*args, **kwargs)` on the cluster."""
        future: Future[T] = self._executor.submit(fn, *args, **kwargs)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the run on the cluster; what has not begun or not ended is dropped, unless waited for."""
        client = self._client
        try:
            if client.status == "running":
                self._executor.shutdown(wait=wait and not cancel_futures)
                # Like its `run`, which has no time limit.
                client.sync(
                    client._run,  # noqa: SLF001
                    _end_run,
                    self._run,
                    on_error="ignore",
                    callback_timeout=_ENDING,
                )
        except (OSError, TimeoutError):
            pass  # the scheduler is gone, and the run with it
        finally:
            client.close(timeout=_ENDING)


def connect(
    address: str, timeout: float | None, setup: Setup
) -> tuple[Executor, Callable[[Check, Settings], CheckOutcome], int]:
    """The executor of the cluster at `address`, what to submit to it, and how many checks run at once.

    `setup` is the workers' but for their part of a machine, which they know best.

    Raises GradcheckError (GC311): no `distributed`, no scheduler there, no workers, or not with this
    version of gradcheck.
    """
    try:
        import distributed  # noqa: F401 -- whether it is there
    except ModuleNotFoundError:
        _refuse("--cluster needs the package `distributed`", "pip install 'gradcheck-cli[cluster]'")
    try:
        _knock(address)
        client = _client(address)
    except (OSError, TimeoutError, ValueError, ImportError) as error:
        why = str(error).partition("\n")[0]
        hint = "give the address that the scheduler tells, as in `--cluster tcp://host:8786`"
        _refuse(f"there is no scheduler at {address}: {why}", hint)
    try:
        at_once = sum(client.nthreads().values())
        if not at_once:
            _refuse(f"the cluster at {address} has no workers", "start some: `dask worker ADDRESS`")
        _same_version(client)
    except BaseException:
        client.close()
        raise
    run = uuid4().hex
    return ClusterExecutor(client, run), _Isolated(run, timeout, setup), at_once


def _knock(address: str) -> None:
    """Where nobody listens, that is known at once. Raises OSError."""
    scheme, _, rest = address.rpartition("://")
    host, _, port = rest.rpartition(":")
    if scheme in ("", "tcp", "tls") and host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _REACHING).close()


def _client(address: str) -> Any:
    """A client of the scheduler. Raises TimeoutError, OSError, ValueError or ImportError.

    Its own time limit is for the connection alone: it would wait for ever for one who listens and is silent.
    """
    import distributed

    base: Any = distributed.Client

    class Client(base):  # type: ignore[misc]
        """One that never reached its scheduler has nothing to close, and can't."""

        def __del__(self) -> None:
            if self.status == "running":
                super().__del__()

    found: Future[Any] = Future()

    def reach() -> None:
        try:
            found.set_result(Client(address, timeout=_REACHING, set_as_default=False))
        except (OSError, TimeoutError, ValueError, ImportError) as error:
            found.set_exception(error)

    Thread(target=reach, daemon=True).start()
    try:
        return found.result(_REACHING + 1)
    except TimeoutError:
        raise TimeoutError(f"no answer within {_REACHING:g} s") from None


def _same_version(client: Any) -> None:
    """Reports of different versions are not of the same checks."""
    ours = gradcheck_cli.__version__
    hint = f"install gradcheck-cli {ours} on the workers"
    try:
        found = client.run(_version)
    except ModuleNotFoundError as error:
        _refuse(f"a worker of the cluster has no gradcheck: {error}", hint)
    others = {worker: version for worker, version in found.items() if version != ours}
    if others:
        named = ", ".join(f"{worker} has {v}" for worker, v in list(others.items())[:_SHOWN])
        _refuse(f"the cluster has another version of gradcheck than {ours}: {named}", hint)


def settled(check: Check, future: Future[CheckOutcome]) -> CheckOutcome:
    """What the future holds, or the outcome of a check whose workers were lost.

    Raises GradcheckError (GC311) where the scheduler was.
    """
    from distributed import KilledWorker

    try:
        return lost.settled(check, future)
    except KilledWorker as error:
        message = f"the cluster's workers that ran the check were lost, at last {error.last_worker.address}"
        return lost.ended(check, "GC310", message, "look into the logs of the cluster's workers")
    except CancelledError:
        _refuse("the connection to the cluster's scheduler was lost", "start the run again")


def _refuse(message: str, hint: str) -> NoReturn:
    raise GradcheckError(Problem("GC311", message, None, hint, ExitCode.CANNOT_RUN)) from None


# What follows runs on the cluster's workers.


class _Runs:
    """The processes beside this worker, by run: a worker has a thread for each check that it runs at once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._thread = local()
        self._pools: dict[str, list[WorkerPool]] = {}
        self._over: set[str] = set()

    def pool(self, run: str, timeout: float | None, setup: Setup) -> WorkerPool:
        """This thread's own process for the run."""
        with self._lock:
            if run in self._over:
                raise CancelledError
            if getattr(self._thread, "run", None) != run:
                self._thread.run = run
                self._thread.pool = WorkerPool(1, _on_this(setup), timeout=timeout)
                self._pools.setdefault(run, []).append(self._thread.pool)
            pool: WorkerPool = self._thread.pool
            return pool

    def end(self, run: str) -> None:
        """End all of a run, and let nothing of it begin any more."""
        with self._lock:
            self._over.add(run)
            pools = self._pools.pop(run, [])
        for pool in pools:
            pool.shutdown(cancel_futures=True)


_runs = _Runs()


class _Isolated:
    """Runs a check in the process beside the cluster's worker; a part of one run."""

    def __init__(self, run: str, timeout: float | None, setup: Setup) -> None:
        self.run = run
        self.timeout = timeout
        self.setup = setup

    def __call__(self, check: Check, settings: Settings) -> CheckOutcome:
        from gradcheck_cli.suite.workers.execute import run_one

        pool = _runs.pool(self.run, self.timeout, self.setup)
        return lost.settled(check, pool.submit(run_one, check, settings))


def _end_run(run: str) -> None:
    _runs.end(run)


def _version() -> str:
    return gradcheck_cli.__version__


def _on_this(setup: Setup) -> Setup:
    """Of the machine, what a thread of this cluster's worker may take: a core, and its share of memory."""
    from distributed import get_worker

    from gradcheck_cli.cores import cores
    from gradcheck_cli.limits import physical_memory

    worker = get_worker()
    limit = worker.memory_manager.memory_limit or physical_memory()
    among = max(1, math.ceil(physical_memory() / limit * worker.state.nthreads))
    return replace(setup, cores_among=cores(), memory_among=among)
