"""How a worker process is started and ended, and what its end is called."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from gradcheck_cli.suite.workers.worker import Setup, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_NAME = "gradcheck worker"
_REAPING = 5.0  # seconds that the system may take to end a killed process


class Context:
    """Processes of the kind that suits the platform.

    Where there is a fork server, PyTorch is imported once, in the server, and each worker is a copy of it,
    there in milliseconds. The server runs no check: it has started no threads, which a copy would not
    have, and has not touched CUDA, which doesn't survive the copying. macOS has fork servers too, but its
    own libraries (Accelerate among them) may not be used after a fork; there, and on Windows, every
    worker is a new Python.
    """

    def __init__(self) -> None:
        methods = multiprocessing.get_all_start_methods()
        forks = "forkserver" in methods and sys.platform != "darwin"
        self.method = "forkserver" if forks else "spawn"
        self._context: Any = multiprocessing.get_context(self.method)

    def warm_up(self, modules: tuple[str, ...]) -> None:
        """Let the server import `modules` while this process does something else. At once back."""
        if self.method != "forkserver":
            return
        from multiprocessing import forkserver, resource_tracker

        resource_tracker.ensure_running()  # by itself, as it lets Ctrl-C in again
        with _interrupts_held(), _single_threaded():
            server = forkserver._forkserver  # noqa: SLF001 -- nothing public tells its number
            before = server._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001
            self._context.set_forkserver_preload([*modules])
            forkserver.ensure_running()
            number = server._forkserver_pid  # type: ignore[attr-defined]  # noqa: SLF001
        if number != before:
            # By itself it ends with this process too, but not before it has imported everything.
            atexit.register(_kill, number)

    def start(self, setup: Setup) -> tuple[Any, Connection]:
        """A new worker process, and the connection to it. Raises OSError or EOFError."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, setup), name=_NAME, daemon=True)
        try:
            with _interrupts_held(), _without_main(), _may_have_children():
                process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            # The worker's is then the only one, and its end is the end of the connection.
            theirs.close()
        return process, ours


def end(process: Any) -> int | None:
    """End a worker with all that it has started, at once. Its exit code, its own if it was over before."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        process.kill()  # it has not become the leader of a group yet, or all are gone
    process.join(_REAPING)
    code: int | None = process.exitcode
    return code


def _kill(number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


def ending(code: int | None) -> str:
    """An exit code in words.

    >>> ending(-9), ending(3)
    ('was ended by SIGKILL', 'ended with exit status 3')
    """
    if code is None:
        return "closed its connection"
    if code >= 0:
        return f"ended with exit status {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def without_interrupts() -> None:
    """Let another thread than this one see to Ctrl-C."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C is for this process: what is started meanwhile never sees one, from its first instruction."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """OpenBLAS starts its threads as soon as it is loaded; a fork server must not have any."""
    name = "OPENBLAS_NUM_THREADS"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


@contextmanager
def _without_main() -> Iterator[None]:
    """Nothing of `__main__` is used in a worker, which else would run a person's script once more."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _may_have_children() -> Iterator[None]:
    """A cluster's worker is a daemon, and those may not start processes, lest they be left behind.

    Ours are not: they end when the connection to their parent does.
    """
    config: dict[str, Any] = multiprocessing.current_process()._config  # type: ignore[attr-defined]  # noqa: SLF001
    before = config.get("daemon")
    config["daemon"] = False
    try:
        yield
    finally:
        if before is None:
            del config["daemon"]
        else:
            config["daemon"] = before
