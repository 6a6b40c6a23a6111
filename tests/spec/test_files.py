from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.spec import files
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.spec.sample import sample

if TYPE_CHECKING:
    from pathlib import Path

Problems = Callable[..., tuple[Problem, ...]]
HEADER = b"\x93NUMPY\x01\x00v\x00"


def load(folder: Path, body: str) -> Any:
    text = f"version: 1\ninputs: {{x: {{{body}}}, other: {{shape: []}}}}\nexpression: other"
    (check,) = load_text(text, str(folder / "a.yaml"), folder)
    return check


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header(description: str) -> bytes:
    return HEADER + description.encode().ljust(117) + b"\n"


def test_arrays_are_read(tmp_path: Path) -> None:
    array = np.array([[1.0, np.nan], [np.inf, 0.1]])
    (tmp_path / "sub").mkdir()
    np.save(tmp_path / "sub" / "a.npy", np.asfortranarray(array))
    np.savez(tmp_path / "b.npz", first=array.astype(">f4"), second=np.arange(3))
    np.savez_compressed(tmp_path / "c.npz", only=array > 0)
    check = load(tmp_path, "file: sub/a.npy")
    assert (check.inputs[0].shape, check.inputs[0].dtype) == ((2, 2), None)
    assert np.array_equal(sample(check)["x"], array, equal_nan=True)
    check = load(tmp_path, "file: b.npz, key: first, shape: [2, 2]")
    assert np.array_equal(sample(check)["x"], array.astype(np.float32), equal_nan=True)
    check = load(tmp_path, "file: b.npz, key: second")
    assert check.inputs[0].dtype == "int64"
    assert sample(check)["x"].tolist() == [0, 1, 2]
    assert check.wrt == ("other",)
    check = load(tmp_path, "file: c.npz")
    assert sample(check)["x"].dtype == bool
    check = load(tmp_path, "file: b.npz, key: second, dtype: float32")
    assert check.wrt == ("x", "other")
    assert sample(check)["x"].dtype == "float64"


def test_empty_and_zero_dimensional(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((0, 3)))
    np.save(tmp_path / "b.npy", np.float64(2.0))
    assert sample(load(tmp_path, "file: a.npy"))["x"].shape == (0, 3)
    assert sample(load(tmp_path, "file: b.npy"))["x"].tolist() == 2.0


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return sys.exit, (99,)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no readable"),
        (b"not an array at all, but long enough", "is no readable"),
        (npy(np.arange(9.0))[:-1], "the header says 72 bytes of data, and the file has 71"),
        (npy(np.arange(9.0)) + b"x", "and the file has 73"),
        (
            header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"),
            "the header says 8000000000000 bytes of data, and the file has 0",
        ),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 0), }"), "header"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"), "pickle"),
        (header("{'descr': '<c16', 'fortran_order': False, 'shape': (0,), }"), "dtype complex128"),
        (header("{'descr': '<U3', 'fortran_order': False, 'shape': (0,), }"), "dtype <U3"),
        (header("{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (0,), }"), "dtype"),
        (header("__import__('os').abort()"), "is no readable"),
        (b"\x93NUMPY\x03\x00\x00\x00\x00\x00", "version 3.0"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "version 2.0"),
    ],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_broken_arrays(
    tmp_path: Path, content: bytes, words: str, kind: str, problems: Problems
) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        path.write_bytes(content)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    text = f"version: 1\ninputs: {{x: {{file: a.{kind}}}}}\nexpression: x"
    (problem,) = problems(text, "a.yaml", tmp_path)
    assert (problem.code, problem.exit_code) == ("GC009", ExitCode.USAGE)
    assert words in problem.message
    assert problem.where is not None
    assert problem.where.column == 20


def test_pickles_are_never_run(tmp_path: Path, problems: Problems) -> None:
    np.save(tmp_path / "a.npy", np.array([Bomb()], dtype=object), allow_pickle=True)
    (problem,) = problems("version: 1\ninputs: {x: {file: a.npy}}\nexpression: x", None, tmp_path)
    assert "pickle" in problem.message


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    head = header("{'descr': '|b1', 'fortran_order': False, 'shape': (200000000,), }")
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w") as stream,
    ):
        stream.write(head)
        for _ in range(200):
            stream.write(bytes(1_000_000))
    check = load(tmp_path, "file: a.npz")
    assert check.inputs[0].shape == (200_000_000,)
    with pytest.raises(GradcheckError) as caught:
        sample(check, limit=10**8)
    assert caught.value.problems[0].code == "GC303"


@pytest.mark.parametrize(
    ("name", "words", "code"),
    [
        ("absent.npy", "there is no file `absent.npy`", ExitCode.CANNOT_RUN),
        ("../outside.npy", "lies outside", ExitCode.USAGE),
        ("sub/../../outside.npy", "lies outside", ExitCode.USAGE),
        ("link.npy", "lies outside", ExitCode.USAGE),
        ("linked/outside.npy", "lies outside", ExitCode.USAGE),
        ("/etc/hostname.npy", "no path relative", ExitCode.USAGE),
        ("C:/a.npy", "no path relative", ExitCode.USAGE),
        ("~/a.npy", "no path relative", ExitCode.USAGE),
        ('"a\\0.npy"', "no path relative", ExitCode.USAGE),
        ("a.pickle", "is no .npy, .npz or .safetensors file", ExitCode.USAGE),
        ("folder.npy", "there is no file", ExitCode.CANNOT_RUN),
    ],
)
def test_where_files_may_lie(
    tmp_path: Path, name: str, words: str, code: ExitCode, problems: Problems
) -> None:
    folder = tmp_path / "specs"
    (folder / "folder.npy").mkdir(parents=True)
    np.save(tmp_path / "outside.npy", np.zeros(1))
    (folder / "link.npy").symlink_to(tmp_path / "outside.npy")
    (folder / "linked").symlink_to(tmp_path)
    text = f"version: 1\ninputs: {{x: {{file: {name}}}}}\nexpression: x"
    (problem,) = problems(text, "a.yaml", folder)
    assert (problem.code, problem.exit_code) == ("GC009", code)
    assert words in problem.message


def test_a_link_that_stays_inside_is_followed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(1))
    (tmp_path / "b.npy").symlink_to("a.npy")
    assert load(tmp_path, "file: b.npy").inputs[0].shape == (1,)


def test_keys(tmp_path: Path, problems: Problems) -> None:
    np.savez(tmp_path / "a.npz", weights=np.zeros(1), bias=np.zeros(1))
    text = "version: 1\ninputs: {x: {file: a.npz}}\nexpression: x"
    assert problems(text, None, tmp_path)[0].hint == "add a `key`, one of: bias, weights"
    text = text.replace("a.npz", "a.npz, key: weigths")
    assert problems(text, None, tmp_path)[0].hint == "did you mean `weights`?"
    np.save(tmp_path / "b.npy", np.zeros(1))
    text = text.replace("a.npz", "b.npy")
    assert "`key` has no meaning" in problems(text, None, tmp_path)[0].message


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("file: a.npy, shape: [3]", "the file has shape [2], and `shape` says [3]"),
        ("file: a.npy, dtype: int64", "the file holds float64, which int64 can't hold"),
    ],
)
def test_what_does_not_fit(tmp_path: Path, body: str, words: str, problems: Problems) -> None:
    np.save(tmp_path / "a.npy", np.zeros(2))
    text = f"version: 1\ninputs: {{x: {{{body}}}}}\nexpression: x"
    (problem,) = problems(text, None, tmp_path)
    assert problem.code == "GC002"
    assert words in problem.message


def test_a_file_that_changes_after_loading(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros(2))
    check = load(tmp_path, "file: a.npy")
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(GradcheckError, match="has changed"):
        sample(check)
    (tmp_path / "a.npy").unlink()
    with pytest.raises(GradcheckError) as caught:
        sample(check)
    assert caught.value.exit_code == ExitCode.CANNOT_RUN


def test_safetensors(tmp_path: Path, problems: Problems) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    tensors = {"a": np.array([1.5, 2.5], np.float32), "i": np.array([1], np.int32)}
    safetensors.save_file(tensors, tmp_path / "a.safetensors")
    assert sample(load(tmp_path, "file: a.safetensors, key: a"))["x"].tolist() == [1.5, 2.5]
    assert load(tmp_path, "file: a.safetensors, key: i").inputs[0].dtype == "int32"
    (tmp_path / "b.safetensors").write_bytes(b"\xff" * 100)
    text = "version: 1\ninputs: {x: {file: b.safetensors}}\nexpression: x"
    assert "is no readable" in problems(text, None, tmp_path)[0].message
    bfloat = b'{"a":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    content = len(bfloat).to_bytes(8, "little") + bfloat + b"\0\0"
    (tmp_path / "b.safetensors").write_bytes(content)
    assert "BF16" in problems(text, None, tmp_path)[0].message


def test_safetensors_without_the_package(
    tmp_path: Path, problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    text = "version: 1\ninputs: {x: {file: a.safetensors}}\nexpression: x"
    (problem,) = problems(text, None, tmp_path)
    assert (problem.code, problem.exit_code) == ("GC009", ExitCode.CANNOT_RUN)
    assert problem.hint == "pip install 'gradcheck-cli[safetensors]'"


def test_headers_alone_are_read_when_a_spec_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "a.npy", np.zeros(2))
    monkeypatch.setattr(files, "read", None)
    assert load(tmp_path, "file: a.npy").inputs[0].shape == (2,)
