"""The way in, for `gradcheck` and `python -m gradcheck_cli`, and the one handler at the top.

It turns every failure into a message and an exit code: no traceback reaches a person.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from gradcheck_cli.cli import collector
from gradcheck_cli.errors import (
    ExitCode,
    GradcheckError,
    Problem,
    did_you_mean,
    printable,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# What a shell reports for a program that a closed pipe ended: `gradcheck ops | head`.
_BROKEN_PIPE = 141
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def main() -> NoReturn:
    """Run the command line of this process and end the process."""
    _open_streams()
    collector.relax()
    # To find plugins for pydantic all installed packages are looked through, and none is for spec files.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    _finish(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code. Nothing is raised."""
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks is shown as an escape.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = _invoke(arguments)
        sys.stdout.flush()
    except GradcheckError as error:
        _tell(*error.problems)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201 -- the top handler talks to people
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _drop_stdout()
        return _BROKEN_PIPE
    except OSError as error:
        if error.errno == errno.ENOENT and not _has_folder():
            hint = "change to one that exists"
            message = "the folder that this runs in was removed"
            _tell(Problem("GC027", message, None, hint, ExitCode.CANNOT_RUN))
            return ExitCode.CANNOT_RUN
        if error.errno not in _NO_ROOM:
            return _bug(error, arguments)
        _drop_stdout()
        hint = "make room there, or send the output elsewhere"
        message = f"the output can't be written: {error.strerror}"
        _tell(Problem("GC305", message, None, hint, ExitCode.CANNOT_RUN))
        return ExitCode.CANNOT_RUN
    except MemoryError:
        hint = "use smaller shapes, or fewer checks at a time"
        _tell(Problem("GC303", "there is not enough memory", None, hint))
        return ExitCode.CANNOT_RUN
    except Exception as error:  # noqa: BLE001 -- whatever is left is a bug; see `_bug`
        return _bug(error, arguments)
    return code


def _invoke(arguments: Sequence[str]) -> int:
    import typer

    from gradcheck_cli.cli.app import build

    # typer carries click inside itself since 0.2x and imported it before; the class is alike in both.
    base: Any = next(k for k in typer.BadParameter.__mro__ if k.__name__ == "ClickException")
    command = typer.main.get_command(build(arguments))
    try:
        with command.make_context("gradcheck", list(arguments)) as context:
            return int(command.invoke(context) or 0)
    except typer.Exit as stop:
        return stop.exit_code
    except typer.Abort:
        raise KeyboardInterrupt from None
    except base as error:
        if error.__class__.__name__ == "NoArgsIsHelpError":
            print(error.format_message())  # noqa: T201 -- the help itself
            return ExitCode.USAGE
        raise GradcheckError(_usage_problem(error)) from None


def _usage_problem(error: Any) -> Problem:
    """A usage error of typer's in our own form: what is wrong, and how to fix it."""
    message: str = error.format_message().partition(" Did you mean")[0]
    context: Any = getattr(error, "ctx", None)
    path = "gradcheck" if context is None else context.command_path
    near = None
    option = getattr(error, "option_name", None)
    if context is None:
        pass
    elif option is not None:
        message = f"{path} has no option {option}"
        near = did_you_mean(option, [o for p in context.command.params for o in p.opts])
    elif message.startswith("No such command"):
        near = did_you_mean(message.split("'")[1], context.command.commands)
    sentence = " ".join(message.split()).rstrip(".")
    sentence = sentence[:1].lower() + sentence[1:]
    return Problem("GC028", sentence, None, near or f"`{path} --help` lists what it takes")


def _tell(*problems: Problem) -> None:
    """Problems on stderr."""
    from gradcheck_cli.report.terminal import Terminal

    try:
        terminal = Terminal(sys.stderr)
        for problem in problems:
            terminal.problem(problem)
    except BrokenPipeError:
        _drop_stdout()


def _bug(error: Exception, arguments: Sequence[str]) -> int:
    """Our own mistake: the traceback goes to a file, and its path to the person."""
    import platform
    import tempfile
    import traceback

    import gradcheck_cli

    summary = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
    print(f"this is a bug in gradcheck: {printable(summary)}", file=sys.stderr)  # noqa: T201
    lines = [
        f"gradcheck {gradcheck_cli.__version__}, Python {sys.version}, {platform.platform()}",
        f"arguments: {list(arguments)!r}",
        "".join(traceback.format_exception(error)),
    ]
    try:
        number, path = tempfile.mkstemp(prefix="gradcheck-bug-", suffix=".log")
        with os.fdopen(number, "w", encoding="utf-8", errors="backslashreplace") as log:
            log.write("\n".join(lines))
    except OSError as failure:
        print(f"  (no log could be written: {failure})", file=sys.stderr)  # noqa: T201
    else:
        print(f"  please report it with this file: {path}", file=sys.stderr)  # noqa: T201
    return ExitCode.INTERNAL


def _drop_stdout() -> None:
    """Let what is still buffered go nowhere, so that the interpreter's last flush is quiet."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(nowhere, stream.fileno())


def _has_folder() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 -- no more than the question
    except OSError:
        return False
    return True


def _open_streams() -> None:
    """Let a standard stream that the process was started without (`>&-`) lead nowhere.

    Else the next file that is opened, a report even, would take its number, and a library's output with it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)  # workers have the same three
            mode = "w" if number else "r"
            setattr(sys, name, os.fdopen(nowhere, mode, encoding="utf-8"))


def _finish(code: int) -> NoReturn:
    """End the process; where PyTorch is loaded, without tearing it down.

    Unloading it takes as long as a third of a second, which nobody who waits for a verdict needs. What
    teardown does that matters is done here: exit handlers run, and output is flushed. Tests call `run`,
    so a test process never ends this way.
    """
    if "torch" not in sys.modules:
        sys.exit(code)
    import atexit

    atexit._run_exitfuncs()  # noqa: SLF001 -- there is no public name for it
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = _BROKEN_PIPE
    os._exit(code)


if __name__ == "__main__":
    main()
