"""Data of any kind as an array that a tensor can hold, always copied."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.engine.eager_record import NUMPY, get_default_dtype
from gradcheck_cli.ops.cast import cast

if TYPE_CHECKING:
    from gradcheck_cli.dtypes import DType
    from gradcheck_cli.engine.eager_record import Array

_SUPPORTED = "float64, float32, float16, int64, int32, int16, int8, uint8 and bool"


def array_of(data: Any, dtype: DType | None) -> tuple[Array, DType]:
    """A copy of `data` in C order, and its dtype. Raises TypeError, ValueError."""
    array = _converted(data)
    if array.dtype.kind in "OUSVMmTc":
        what = "complex numbers" if array.dtype.kind == "c" else f"{_culprit(data)}"
        msg = f"a tensor holds real numbers, whole numbers or True and False, not {what}"
        raise TypeError(msg)
    if dtype is not None and dtype.kind == "z":
        raise TypeError("tensors of complex numbers aren't supported")
    native = array.dtype.newbyteorder("=")
    found = dtypes.BY_NAME.get(native.name)
    if not _typed(data):
        # Python's numbers: as the language has them, whatever NumPy makes of them on this system.
        found = {"f": get_default_dtype(), "i": dtypes.int64, "b": dtypes.bool_}.get(native.kind)
        if array.size == 0:
            found = get_default_dtype()
    if found is None and (dtype is None or native.kind not in "iuf"):
        if native.name == "uint64" and not _typed(data):
            raise ValueError("a number is too large for int64")
        msg = f"can't make a tensor of {native.name}; the types are {_SUPPORTED}"
        raise TypeError(msg)
    target = dtype or found
    assert target is not None
    made = np.array(cast(array, target), NUMPY[target], order="C", copy=True)
    return made, target


def _converted(data: Any) -> Array:
    from_tensors = _plain(data)
    try:
        return np.array(from_tensors)
    except ValueError as error:
        if "inhomogeneous" not in str(error):
            raise
        msg = "the nested lists differ in length: all rows need the same"
        raise ValueError(msg) from None
    except OverflowError:
        raise ValueError("a number is too large for int64") from None


def _plain(data: Any) -> Any:
    """Lists with tensors in them as lists of arrays."""
    if isinstance(data, (list, tuple)):
        if any(hasattr(item, "detach") or isinstance(item, (list, tuple)) for item in data):
            return [_plain(item) for item in data]
        return data
    return data.detach().numpy() if hasattr(data, "detach") else data


def _typed(data: Any) -> bool:
    """Whether the numbers have a dtype of their own; the first of nested lists decides."""
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return hasattr(data, "dtype") or hasattr(data, "__array__")


def _culprit(data: Any) -> str:
    """What kind of thing can't be held."""
    while isinstance(data, (list, tuple)) and data:
        data = next((item for item in data if not isinstance(item, (int, float))), data[0])
    if isinstance(data, np.ndarray):
        return f"an array of {data.dtype.name}"
    return f"{type(data).__name__}"


def dtype_of(value: Any) -> DType:
    """A dtype from ours, NumPy's, or a name. Raises TypeError."""
    if isinstance(value, dtypes.DType):
        return value
    try:
        found = dtypes.BY_NAME.get(value) if isinstance(value, str) else None
        return found or dtypes.BY_NAME[np.dtype(value).name]
    except (KeyError, TypeError):
        msg = f"{value!r} is no dtype that tensors can have"
        raise TypeError(msg) from None
