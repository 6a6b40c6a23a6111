"""Arrays, tensors and nested lists from Python, as the float64 and whole numbers that checks are made of."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from gradcheck_cli.errors import GradcheckError, Problem
from gradcheck_cli.spec.check import FLOATING, WHOLE

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What converting an object of another library, or a ragged list, may raise.
_REFUSALS = (TypeError, ValueError, RuntimeError, OverflowError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class Numbers:
    """An array of float64 or of a whole dtype: a copy. `dtype` is what it came in.

    `typed` says that it had a dtype of its own, as Python's numbers don't; `requires_grad` is a tensor's.
    """

    array: NDArray[Any]
    dtype: str
    typed: bool = True
    requires_grad: bool = False


def numbers(what: str, value: Any) -> Numbers:
    """A number, nested lists, a NumPy array, a tensor, or what NumPy can read, called `what` in messages.

    PyTorch is not imported: whoever has a tensor has done so.

    Raises GradcheckError (GC002) where it holds no real or whole numbers of a known dtype.

    >>> numbers("x", [[1, 2], [3, 4]]).dtype
    'int64'
    """
    if is_tensor(value):
        return _of_tensor(what, value)
    if isinstance(value, np.ma.MaskedArray):
        _refuse(f"{what} is a masked array", "fill it first, with `.filled(...)`")
    if value is None or isinstance(value, str | bytes):
        _refuse(f"{what} is {'None' if value is None else 'text'}", "give numbers")
    typed = hasattr(value, "dtype")
    try:
        array = np.asarray(value)
    except _REFUSALS as error:
        _refuse(f"{what} is no array: {_first_line(error)}")
    dtype = array.dtype.name
    if not typed and not array.size:
        dtype = "float64"  # an empty list holds whole numbers no more than others
    if dtype not in FLOATING and dtype not in WHOLE:
        _refuse_dtype(what, "Python objects" if dtype == "object" else f"dtype {dtype}")
    made = np.array(array, np.float64 if dtype in FLOATING else dtype, order="C", copy=True)
    return Numbers(made, dtype, typed)


def is_tensor(value: Any) -> bool:
    """Whether it is one of PyTorch's tensors."""
    kind = getattr(sys.modules.get("torch"), "Tensor", None)
    return kind is not None and isinstance(value, kind)


def _of_tensor(what: str, tensor: Any) -> Numbers:
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in FLOATING and dtype not in WHOLE:
        _refuse_dtype(what, f"dtype {dtype}")
    plain = tensor.detach()
    try:
        # NumPy has no bfloat16, and MPS no float64.
        plain = plain.cpu().double() if dtype in FLOATING else plain
        array = np.array(plain.numpy(force=True), order="C", copy=True)
    except _REFUSALS as error:
        _refuse(f"{what} is a tensor that NumPy can't hold: {_first_line(error)}")
    return Numbers(array, dtype, requires_grad=bool(tensor.requires_grad))


def dtype_name(value: Any) -> Any:
    """The name of a dtype that is given as PyTorch's, NumPy's or Python's object; None as it is.

    >>> dtype_name(np.float32), dtype_name("bfloat16")
    ('float32', 'bfloat16')
    """
    if value is None:
        return None  # which NumPy takes for float64
    if isinstance(value, list | tuple):
        return [dtype_name(item) for item in value]
    text = str(value)
    if isinstance(value, str) or text.startswith("torch."):
        return text.removeprefix("torch.")
    try:
        return np.dtype(value).name
    except TypeError:
        return text


def _refuse(message: str, hint: str | None = None) -> NoReturn:
    raise GradcheckError(Problem("GC002", message, None, hint))


def _refuse_dtype(what: str, found: str) -> NoReturn:
    _refuse(f"{what} holds {found}", f"a check takes {', '.join((*FLOATING, *WHOLE))}")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
