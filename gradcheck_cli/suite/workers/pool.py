"""Local worker processes as an executor of `concurrent.futures`, in which a task can cost only itself.

`concurrent.futures.ProcessPoolExecutor` has no time limit and gives up when a worker dies. pebble has both,
but all its workers share one pipe under one lock: a worker that is killed while it is idle ends the pool, one
that exits with status 0 leaves its task pending for ever, and one killed while it sends takes the lock along.
So here every worker has a connection of its own, whose end tells of the worker's.
"""

from __future__ import annotations

import pickle
from collections import deque
from concurrent.futures import CancelledError, Executor, Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from multiprocessing import connection
from threading import Thread
from time import monotonic
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from gradcheck_cli.suite.workers.processes import Context, end, ending, without_interrupts

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.suite.workers.worker import Setup

P = ParamSpec("P")
T = TypeVar("T")

# A worker whose tasks take less gets the next one before it asks, so that it never waits for this process,
# which may be busy with a report. One that has run for longer gives it to a worker that is free.
_QUICK = 0.05  # seconds
# What surely fits into the connection's buffer while the worker is at work: else both could wait forever.
_AHEAD = 16 * 1024  # bytes
_GIVEN = 3  # times, at most, that a task goes to workers that end before they begin it
_FAILED_STARTS = 3  # in a row, until no worker can be had
_JOINING = 10.0  # seconds that the thread may take to end its workers


class TimeLimitError(Exception):
    """The task took longer than it may, and its worker was ended."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"took longer than {limit:g} s")
        self.limit = limit


class WorkerEndedError(Exception):
    """The worker that ran the task ended in the middle, by itself or killed."""

    def __init__(self, code: int | None, seconds: float) -> None:
        super().__init__(f"the worker {ending(code)}")
        self.code = code
        self.seconds = seconds


class WorkerError(Exception):
    """What the task raised, with the worker's traceback as text: the exception itself may not travel."""


class NoWorkersError(Exception):
    """No worker process could be started."""


class _Task:
    """A task as bytes, the future that waits for it, and how often a worker was given it."""

    __slots__ = ("data", "future", "given")

    def __init__(self, data: bytes, future: Future[Any]) -> None:
        self.data = data
        self.future = future
        self.given = 0


class _Worker:
    """A worker process; on the first of `tasks` it works since `since`, if it has `begun`."""

    def __init__(self, process: Any, connection: Any) -> None:
        self.process = process
        self.connection = connection
        self.tasks: deque[_Task] = deque()
        self.since = monotonic()
        self.ready = False
        self.begun = False
        self.quick = False

    def running(self) -> float:
        """Seconds since it began what it works on."""
        return monotonic() - self.since if self.begun else 0.0


class WorkerPool(Executor):
    """At most `workers` processes; a task that takes longer than `timeout` seconds is ended.

    A future raises TimeLimitError or WorkerEndedError where that happened to its task, WorkerError with what
    the task itself raised (MemoryError as it is), and NoWorkersError where no process can be started. Only
    the pool's own thread touches the workers.
    """

    def __init__(self, workers: int, setup: Setup, *, timeout: float | None = None) -> None:
        self._most = workers
        self._setup = setup
        self._timeout = timeout
        self._context = Context()
        self._context.warm_up(setup.modules)
        self._workers: list[_Worker] = []
        self._pending: deque[_Task] = deque()
        self._unfinished: set[Future[Any]] = set()
        self._failed_starts = 0
        self._broken: BaseException | None = None
        self._stopping = False
        self._woken, self._waker = connection.Pipe(duplex=False)
        self._thread = Thread(target=self._run, name="gradcheck workers", daemon=True)
        self._thread.start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run `fn(*args, **kwargs)` in a worker."""
        if self._stopping:
            raise RuntimeError("the pool has been shut down")
        future: Future[T] = Future()
        data = pickle.dumps((fn, args, kwargs), pickle.HIGHEST_PROTOCOL)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        self._pending.append(_Task(data, future))
        if self._broken is not None:
            self._break(self._broken)
        self._waker.send_bytes(b"")
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the workers: after all tasks, or at once with `cancel_futures` or without `wait`."""
        if wait and not cancel_futures and not self._stopping:
            wait_for({*self._unfinished})
        if not self._stopping:
            self._stopping = True
            self._waker.send_bytes(b"")
        # Where the thread hangs in the start of a process, that process ends with this one.
        self._thread.join(_JOINING if wait else 0.5)

    def _run(self) -> None:
        without_interrupts()
        try:
            while not self._stopping:
                self._start_workers()
                self._hand_out()
                self._hear(self._patience())
        except BaseException as error:  # noqa: BLE001 -- whoever waits for a result is told
            self._break(error)
        finally:
            for worker in self._workers:
                end(worker.process)
            self._break(CancelledError())

    def _start_workers(self) -> None:
        """As many workers as there are tasks, up to the most."""
        tasks = len(self._pending) + sum(len(worker.tasks) for worker in self._workers)
        while len(self._workers) < min(self._most, tasks) and not self._stopping:
            try:
                self._workers.append(_Worker(*self._context.start(self._setup)))
            except (OSError, EOFError) as error:
                self._not_started(f"{type(error).__name__}: {error}")
                if self._workers or self._broken is not None:
                    return

    def _not_started(self, why: str) -> None:
        """Try again later, with fewer workers at need; after several times without any, give up."""
        self._failed_starts += 1
        if self._failed_starts >= _FAILED_STARTS:
            self._most = len(self._workers)
            if not self._workers:
                self._break(NoWorkersError(why))

    def _break(self, error: BaseException) -> None:
        """End all tasks in `error`, those too that come later."""
        self._broken = error
        for worker in self._workers:
            self._pending += worker.tasks
            worker.tasks.clear()
        while self._pending:
            future = self._pending.popleft().future
            if not future.done():
                future.set_exception(error)

    def _hand_out(self) -> None:
        """Tasks to those who have none; then one in advance to those who are quick."""
        for ahead in (0, 1):
            for worker in self._workers:
                if worker.ready and len(worker.tasks) == ahead and (not ahead or worker.quick):
                    task = self._next(_AHEAD) if ahead else self._next() or self._in_line()
                    if task is None:
                        return
                    self._give(worker, task)

    def _next(self, most: int | None = None) -> _Task | None:
        """The next task that somebody still wants, if it has no more than `most` bytes."""
        while self._pending and (most is None or len(self._pending[0].data) <= most):
            task = self._pending.popleft()
            if task.given:
                if not task.future.done():
                    return task
            elif task.future.set_running_or_notify_cancel():
                return task
        return None

    def _in_line(self) -> _Task | None:
        """A task that stands in line behind one that takes long."""
        for worker in self._workers:
            if len(worker.tasks) > 1 and worker.running() > _QUICK:
                task = worker.tasks[1]
                # Both may run it: the first result counts, and both are the same.
                if not task.future.done() and sum(task in w.tasks for w in self._workers) == 1:
                    return task
        return None

    def _give(self, worker: _Worker, task: _Task) -> None:
        task.given += 1
        worker.tasks.append(task)
        with suppress(OSError):  # it has just ended, which its sentinel tells
            worker.connection.send_bytes(task.data)

    def _patience(self) -> float | None:
        """Seconds until something has to be done that nobody tells: a time limit, a task to hand on."""
        times = []
        for worker in self._workers:
            running = worker.running()
            if worker.begun and self._timeout is not None:
                times.append(max(0.0, self._timeout - running))
            if worker.begun and len(worker.tasks) > 1 and running < _QUICK:
                times.append(_QUICK - running)
        return min(times, default=None)

    def _hear(self, patience: float | None) -> None:
        """Wait for answers, ends and wishes, and see to them."""
        by_connection = {worker.connection: worker for worker in self._workers}
        by_sentinel = {worker.process.sentinel: worker for worker in self._workers}
        heard = connection.wait([self._woken, *by_connection, *by_sentinel], patience)
        if self._woken in heard:
            while self._woken.poll():
                self._woken.recv_bytes()
        for worker in [by_connection[c] for c in heard if c in by_connection]:
            self._receive(worker)
        for worker in [by_sentinel[s] for s in heard if s in by_sentinel]:
            if worker in self._workers:
                self._ended(worker)
        for worker in [*self._workers]:
            if self._is_late(worker):
                self._receive(worker)  # it may have come to an end this very moment
                if self._is_late(worker):
                    self._drop(worker, lambda _: TimeLimitError(self._timeout or 0.0))

    def _is_late(self, worker: _Worker) -> bool:
        return (
            self._timeout is not None
            and worker in self._workers
            and worker.running() > self._timeout
        )

    def _receive(self, worker: _Worker) -> None:
        """All answers of a worker that are there."""
        try:
            while worker.connection.poll():
                self._take(worker, pickle.loads(worker.connection.recv_bytes()))  # noqa: S301 -- our own worker
        except (EOFError, OSError):
            self._ended(worker)

    def _take(self, worker: _Worker, answer: Any) -> None:
        kind, value = answer
        if kind == "ready":
            worker.ready = True
            self._failed_starts = 0
            return
        if kind == "begun":
            worker.begun = True
            worker.since = monotonic()
            return
        worker.quick = worker.running() < _QUICK
        worker.begun = False
        future = worker.tasks.popleft().future
        if future.done():
            return
        if kind == "done":
            future.set_result(value)
        elif kind == "memory":
            future.set_exception(MemoryError())
        else:
            name, message, lines = value
            future.set_exception(WorkerError(f"{name}: {message}\n{lines}"))

    def _ended(self, worker: _Worker) -> None:
        """A worker is no more: by itself, killed by somebody, or never quite there."""
        try:
            while worker.connection.poll():
                self._take(worker, pickle.loads(worker.connection.recv_bytes()))  # noqa: S301 -- our own worker
        except (EOFError, OSError):
            pass  # nothing more of it will come, or only half an answer
        seconds = worker.running()
        self._drop(worker, lambda code: WorkerEndedError(code, seconds))

    def _drop(self, worker: _Worker, error: Callable[[int | None], Exception]) -> None:
        """End a worker; the task that it worked on ends in the error, the others go to another worker."""
        if worker not in self._workers:
            return
        self._workers.remove(worker)
        code = end(worker.process)
        worker.connection.close()
        if not worker.ready:
            self._not_started(f"a worker process {ending(code)} as it started")
        elif worker.tasks and (worker.begun or worker.tasks[0].given >= _GIVEN):
            task = worker.tasks.popleft()
            if not task.future.done():
                task.future.set_exception(error(code))
        self._pending.extendleft(reversed(worker.tasks))
