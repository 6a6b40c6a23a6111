"""What runs in a worker process: it keeps to its part of the machine and does one task after another."""

from __future__ import annotations

import gc
import importlib
import os
import pickle
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Literal, TypeAlias

from gradcheck_cli.limits import physical_memory, share_memory

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

# All that a worker ever says: that it is there, that it begins a task, and how the task ended.
Kind: TypeAlias = Literal["ready", "begun", "done", "memory", "raised"]

# What is left to the system and to the process that waits for the results.
_MEMORY_SHARE = 0.9
# Where memory runs out, the system ends the process with the highest score: a worker before its parent.
_OUT_OF_MEMORY_SCORE = 500
# Graphs have no cycles and go by their reference counts: looking for some rarely is enough.
_COLLECTING = (20_000, 20, 100)


@dataclass(frozen=True, slots=True)
class Setup:
    """A worker's part of the machine: one of `cores_among` processes, and of `memory_among`.

    `modules` are imported before it says that it is ready, so that no task's time pays for them. Without
    `memory_limit` the system alone ends what takes too much: a GPU's driver maps memory of the process as it
    likes, and must not be told that there is no more. `folder` is where it works, as far as it is there: a
    process that is started later than its parent would else be where that one began.
    """

    cores_among: int = 1
    memory_among: int = 1
    modules: tuple[str, ...] = ()
    memory_limit: bool = True
    folder: str | None = None


def serve(connection: Connection, setup: Setup) -> None:
    """Do the tasks that come until there are no more; a process's main function."""
    begun = _packed("begun")
    _set_up(setup)
    _send(connection, _packed("ready"))
    while True:
        try:
            task = connection.recv_bytes()
        except (EOFError, OSError):  # the parent is gone
            break
        _send(connection, begun)
        _send(connection, _answer(task))
    # PyTorch's teardown takes a third of a second and matters to nobody.
    os._exit(0)


def _answer(task: bytes) -> bytes:
    try:
        function, args, kwargs = pickle.loads(task)  # noqa: S301 -- by our own parent
        return _packed("done", function(*args, **kwargs))
    except MemoryError:
        return _packed("memory")
    except BaseException as error:  # noqa: BLE001 -- the top of this process: it is raised in the parent
        import traceback

        lines = "".join(traceback.format_exception(error))
        return _packed("raised", (type(error).__name__, str(error), lines))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _packed(kind: Kind, value: object = None) -> bytes:
    return pickle.dumps((kind, value), pickle.HIGHEST_PROTOCOL)


def _send(connection: Connection, answer: bytes) -> None:
    try:
        connection.send_bytes(answer)
    except OSError:  # the parent is gone
        os._exit(1)


def _set_up(setup: Setup) -> None:
    if hasattr(os, "setsid"):
        # A group of its own, so that it can be ended together with what a person's code has started.
        os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _redirect()
    if setup.folder is not None:
        with suppress(OSError):  # a cluster's worker may not have it
            os.chdir(setup.folder)
    Thread(target=_follow, daemon=True).start()
    from gradcheck_cli.cores import share_cores

    share_cores(setup.cores_among)
    share_memory(setup.memory_among)
    for name in setup.modules:
        with suppress(ModuleNotFoundError):  # another version may not have it; it only saves time
            importlib.import_module(name)
    _limit_threads()
    _prefer_for_ending()
    if setup.memory_limit:
        _limit_memory(setup.memory_among)
    # What was imported lives to the end: to look through it would copy memory shared with the fork server.
    gc.freeze()
    gc.set_threshold(*_COLLECTING)


def _redirect() -> None:
    """Nothing to read, and what a check's code prints stays out of the report on stdout."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)


def _follow() -> None:
    """End with the parent, however it ends: in the middle of a task too."""
    from multiprocessing import parent_process

    parent = parent_process()
    if parent is not None:
        parent.join()
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


def _limit_threads() -> None:
    """As many threads for BLAS and PyTorch as the worker has cores."""
    from gradcheck_cli.cores import blas_libraries, cores

    count = cores()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(count)  # for what is loaded later
    blas_libraries().limit(limits=count)
    if "torch" in sys.modules:
        from gradcheck_cli.methods.torch_method import use_threads

        use_threads(count)


def _prefer_for_ending() -> None:
    with suppress(
        OSError
    ):  # another system, or a container that forbids it: it is only a preference
        Path("/proc/self/oom_score_adj").write_text(str(_OUT_OF_MEMORY_SCORE))


def _limit_memory(processes: int) -> None:
    """Let a check that takes too much fail by itself, before the system ends what it finds.

    Plans are held against the memory there is beforehand; this is for what nobody plans, PyTorch's arrays
    above all. What counts is writable memory of the process's own (Linux); what there is of it at the start
    is shared with the other workers.
    """
    status = Path("/proc/self/status")
    if not sys.platform.startswith("linux") or not status.exists():
        return
    import resource

    lines = status.read_text().splitlines()
    before = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData:"))
    part = before + int(physical_memory() * _MEMORY_SHARE) // processes
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard == resource.RLIM_INFINITY or part < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (part, hard))
