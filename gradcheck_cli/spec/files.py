"""Arrays from files: the header is read, and held against the file's size, before any data is.

Never unpickles. A problem is a `FileError`, which the caller places at the input in the spec.
"""

from __future__ import annotations

import math
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.errors import ExitCode, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_NAMES = {
    **{f"f{size}": f"float{8 * size}" for size in (2, 4, 8)},
    **{f"i{size}": f"int{8 * size}" for size in (1, 2, 4, 8)},
    "u1": "uint8",
    "b1": "bool",
}
_SAFE_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BOOL": "bool"}
_SAFE_NAMES |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"}
_LISTED = 8


class FileError(Exception):
    """Why a file can't be used: a sentence, a hint, and the exit code."""

    def __init__(
        self, message: str, hint: str | None = None, exit_code: ExitCode = ExitCode.USAGE
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Stored:
    """What a file's header says of an array."""

    shape: tuple[int, ...]
    dtype: str


def locate(base: Path | None, name: str) -> Path:
    """The path of a spec's file `name`, which lies under `base`, the folder of the spec.

    Raises FileError for an absolute path, one that leads out of the folder (through a link too),
    and one where no regular file is.
    """
    if base is None:
        raise FileError("a spec that isn't in a file itself has no folder to look for files in")
    if not name.isprintable() or name.startswith(("/", "\\", "~")) or name[1:2] == ":":
        raise FileError(f"`{name}` is no path relative to the spec file")
    try:
        folder = base.resolve()
        path = (folder / name).resolve()
    except (OSError, RuntimeError) as error:
        raise FileError(f"`{name}` can't be followed: a loop of links") from error
    if not path.is_relative_to(folder):
        raise FileError(f"`{name}` lies outside of the spec's folder", "move or copy it there")
    if path.suffix not in {".npy", ".npz", ".safetensors"}:
        raise FileError(f"`{name}` is no .npy, .npz or .safetensors file")
    if not path.is_file():
        raise FileError(
            f"there is no file `{name}` in the spec's folder", None, ExitCode.CANNOT_RUN
        )
    return path


def inspect(path: Path, key: str | None) -> Stored:
    """Shape and dtype of the array, from the header alone. Raises FileError."""
    with _readable(path):
        if path.suffix == ".safetensors":
            return _inspect_safetensors(path, key)
        with _numpy_stream(path, key) as (stream, size):
            return _numpy_header(stream, size)


def read(path: Path, key: str | None) -> NDArray[np.generic]:
    """The array itself. Raises FileError."""
    with _readable(path):
        if path.suffix == ".safetensors":
            _inspect_safetensors(path, key)
            with _safetensors(path) as opened:
                return np.asarray(opened.get_tensor(_choose(key, list(opened.keys()), path)))
        with _numpy_stream(path, key) as (stream, size):
            _numpy_header(stream, size)
        with _numpy_stream(path, key) as (stream, _):
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What the operating system, NumPy and zipfile say of a bad file, as a FileError."""
    try:
        yield
    except PermissionError as error:
        message = f"no permission to read `{path.name}`"
        raise FileError(message, None, ExitCode.CANNOT_RUN) from error
    except (ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        # RuntimeError is zipfile's for an encrypted member, NotImplementedError for a compression.
        raise FileError(f"`{path.name}` is no readable {path.suffix} file") from error
    except OSError as error:
        message = f"`{path.name}` can't be read: {error.strerror or error}"
        raise FileError(message, None, ExitCode.CANNOT_RUN) from error


def _choose(key: str | None, keys: list[str], path: Path) -> str:
    if key in keys:
        assert key is not None
        return key
    if key is None and len(keys) == 1:
        return keys[0]
    listed = ", ".join(sorted(keys)[:_LISTED]) + (", ..." if len(keys) > _LISTED else "")
    if key is None:
        raise FileError(f"`{path.name}` holds {len(keys)} arrays", f"add a `key`, one of: {listed}")
    hint = did_you_mean(key, keys) or f"there are: {listed}"
    raise FileError(f"`{path.name}` holds no array `{key}`", hint)


@contextmanager
def _numpy_stream(path: Path, key: str | None) -> Iterator[tuple[IO[bytes], int]]:
    """A stream of the .npy format, and how many bytes it has."""
    if path.suffix == ".npy":
        if key is not None:
            raise FileError(f"`{path.name}` is one array, so that `key` has no meaning")
        with path.open("rb") as stream:
            yield stream, path.stat().st_size
        return
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        member = archive.getinfo(_choose(key, names, path) + ".npy")
        with archive.open(member) as stream:
            yield stream, member.file_size


def _numpy_header(stream: IO[bytes], size: int) -> Stored:
    version = np.lib.format.read_magic(stream)
    if version != (1, 0):
        # Later versions exist for headers beyond 64 KiB, which only arrays of records have.
        raise FileError(f"version {version[0]}.{version[1]} of the .npy format is not read")
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise FileError("the array holds Python objects, which would need pickle")
    name = _NAMES.get(dtype.str[1:])
    if name is None:
        raise FileError(f"the array's dtype {str(dtype)[:60]} is none that a spec can hold")
    claimed, held = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if claimed != held or any(length < 0 for length in shape):
        raise FileError(f"the header says {claimed} bytes of data, and the file has {held}")
    return Stored(tuple(shape), name)


@contextmanager
def _safetensors(path: Path) -> Iterator[Any]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        hint = "pip install 'gradcheck-cli[safetensors]'"
        message = "reading .safetensors needs the package safetensors"
        raise FileError(message, hint, ExitCode.CANNOT_RUN) from error
    try:
        with safe_open(path, framework="numpy") as opened:
            yield opened
    except SafetensorError as error:
        raise FileError(f"`{path.name}` is no readable .safetensors file") from error


def _inspect_safetensors(path: Path, key: str | None) -> Stored:
    # The library holds the header against the file's size when it opens one.
    with _safetensors(path) as opened:
        part = opened.get_slice(_choose(key, list(opened.keys()), path))
        name = _SAFE_NAMES.get(part.get_dtype())
        if name is None:
            message = f"the array's dtype {part.get_dtype()} is none that NumPy can hold"
            raise FileError(message, "save it as float32")
        return Stored(tuple(part.get_shape()), name)
