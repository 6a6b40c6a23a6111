"""Writing files: whole or not at all, line by line with each line whole, or at the end of a file."""

from __future__ import annotations

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, Where, printable

# Text from a spec may hold half of a character (a path that is no UTF-8): it is written as its escape.
_ERRORS = "backslashreplace"


class ReportFile:
    """Where a report goes: a path, or `-` for stdout.

    It is made before the checks run, so that a path that can't be written is known before the work.

    Raises GradcheckError (GC305).
    """

    def __init__(self, target: str) -> None:
        self.is_stdout = target == "-"
        self._target = target
        # Through a link, the file that it leads to is replaced, not the link.
        self._path = Path(os.path.realpath(target))
        # The target's name may be as long as a name can be, so it is not repeated here.
        self._temporary = self._path.with_name(f".gradcheck-{os.urandom(8).hex()}.tmp")
        self._in_place = False
        self._mode: int | None = None
        if self.is_stdout:
            return
        mode = self._mode = _mode(self._path, target)
        # A device or a pipe is written to; only a file of its own can be replaced by another.
        self._in_place = mode is not None and not stat.S_ISREG(mode)
        if not self._in_place:
            try:
                os.close(self._open_temporary())
                self._temporary.unlink()
            except (OSError, ValueError) as error:
                raise refused(target, error) from error

    def _open_temporary(self) -> int:
        return os.open(self._temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)

    def write(self, text: str) -> None:
        """Put `text` there. Raises GradcheckError (GC305); then an earlier report is still whole."""
        if self.is_stdout:
            to_stdout(text)
            return
        try:
            if self._in_place:
                self._path.write_text(text, encoding="utf-8", errors=_ERRORS)
                return
            try:
                with os.fdopen(
                    self._open_temporary(), "w", encoding="utf-8", errors=_ERRORS
                ) as stream:
                    if self._mode is not None:  # who may read the one before may read this one
                        with suppress(OSError):  # not every file system has modes
                            self._temporary.chmod(stat.S_IMODE(self._mode))
                    stream.write(text)
                    stream.flush()
                    # Some file systems tell only now that the disk is full.
                    os.fsync(stream.fileno())
                self._temporary.replace(self._path)
            except BaseException:
                self._temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise refused(self._target, error) from error


class LineFile:
    """A file that holds whole lines at any time, also when the process is ended in the middle of one.

    After a line that can't be written the file stays as it was, and no further line is tried: the failure
    is told by `close`, because checks go on meanwhile.

    Raises GradcheckError (GC305).
    """

    def __init__(self, target: str) -> None:
        self.is_stdout = target == "-"
        self._target = target
        self._failure: GradcheckError | None = None
        self._length = 0
        self._number = -1
        if self.is_stdout:
            return
        path = Path(os.path.realpath(target))
        _mode(path, target)
        try:
            self._number = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o666)
        except (OSError, ValueError) as error:
            raise refused(target, error) from error

    def line(self, text: str) -> None:
        """Write `text` as a line, at once. It holds no line break itself."""
        if self._failure is not None:
            return
        if self.is_stdout:
            try:
                to_stdout(f"{text}\n")
            except GradcheckError as error:
                self._failure = error
            return
        rest = memoryview(f"{text}\n".encode(errors=_ERRORS))
        length = len(rest)
        try:
            while rest:
                rest = rest[os.write(self._number, rest) :]
        except OSError as error:
            self._failure = refused(self._target, error)
            if stat.S_ISREG(os.fstat(self._number).st_mode):
                os.ftruncate(self._number, self._length)
        else:
            self._length += length

    def close(self) -> None:
        """No more lines. Raises GradcheckError (GC305) where one could not be written."""
        if self._number >= 0:
            number, self._number = self._number, -1
            try:
                if stat.S_ISREG(os.fstat(number).st_mode):
                    os.fsync(number)
                os.close(number)
            except OSError as error:
                self._failure = self._failure or refused(self._target, error)
        if self._failure is not None:
            raise self._failure


def append(target: str, text: str) -> None:
    """Put `text` at the end of a file, whole or not at all. Raises OSError."""
    number = os.open(target, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o666)
    try:
        length = os.fstat(number).st_size
        rest = memoryview(text.encode(errors=_ERRORS))
        try:
            while rest:
                rest = rest[os.write(number, rest) :]
        except OSError:
            if stat.S_ISREG(os.fstat(number).st_mode):
                os.ftruncate(number, length)
            raise
    finally:
        os.close(number)


def to_stdout(text: str) -> None:
    """Write to stdout. Raises GradcheckError (GC305), and BrokenPipeError where nobody reads."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise refused("-", error) from error


def refused(target: str, error: Exception | str) -> GradcheckError:
    """The error for a report that can't be written to `target`."""
    reason = error if isinstance(error, str) else getattr(error, "strerror", None) or str(error)
    name = "stdout" if target == "-" else printable(target)
    message = f"the report can't be written to {name}: {reason}"
    hint = "give a path in a folder that exists and may be written to, or - for stdout"
    where = None if target == "-" else Where(target)
    return GradcheckError(Problem("GC305", message, where, hint, ExitCode.CANNOT_RUN))


def _mode(path: Path, target: str) -> int | None:
    """What is there, None for nothing. Raises GradcheckError where it can't be written."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise refused(target, error) from error
    if stat.S_ISDIR(mode) or not os.access(path, os.W_OK):
        raise refused(target, "it is a folder" if stat.S_ISDIR(mode) else "permission denied")
    return mode
