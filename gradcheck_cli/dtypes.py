"""Data types and PyTorch's type promotion, without PyTorch."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, eq=False, slots=True)
class DType:
    """A data type; `weak` ones are those of Python's numbers, which never raise a tensor's precision."""

    name: str
    kind: str
    rank: int
    weak: bool = False

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    @property
    def is_floating(self) -> bool:
        """Whether a gradient can exist in this type."""
        return self.kind == "f"

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The NumPy type that holds it; bfloat16, which NumPy lacks, is held in float32."""
        return np.dtype(_HELD_IN.get(self.name, self.name))


_HELD_IN = {"bfloat16": "float32", "pybool": "bool", "pyint": "int64", "pyfloat": "float64"}

# `kind` orders the categories of promotion: bool < integer < floating < complex.
bool_ = DType("bool", "b", 0)
uint8 = DType("uint8", "i", 1)
int8 = DType("int8", "i", 2)
int16 = DType("int16", "i", 3)
int32 = DType("int32", "i", 4)
int64 = DType("int64", "i", 5)
float16 = DType("float16", "f", 6)
bfloat16 = DType("bfloat16", "f", 7)
float32 = DType("float32", "f", 8)
float64 = DType("float64", "f", 9)
complex64 = DType("complex64", "z", 10)
complex128 = DType("complex128", "z", 11)
pybool = DType("pybool", "b", 0, weak=True)
pyint = DType("pyint", "i", 5, weak=True)
pyfloat = DType("pyfloat", "f", 9, weak=True)

BY_NAME = {
    dtype.name: dtype
    for dtype in (
        *(bool_, uint8, int8, int16, int32, int64),
        *(float16, bfloat16, float32, float64, complex64, complex128),
    )
}
# PyTorch's other names for the same types.
ALIASES = {
    "half": float16,
    "float": float32,
    "double": float64,
    "short": int16,
    "int": int32,
    "long": int64,
    "cfloat": complex64,
    "cdouble": complex128,
}
_CATEGORY = "bifz"

default_dtype: ContextVar[DType] = ContextVar("default_dtype", default=float64)


REAL_OF = {complex64: float32, complex128: float64}
COMPLEX_OF = {real: complex_ for complex_, real in REAL_OF.items()}


def to_default_floating(dtype: DType) -> DType:
    """`dtype`, or the default floating type where an operation turns integers into real numbers."""
    if dtype.weak:
        return default_dtype.get()
    return default_dtype.get() if dtype.kind in "bi" else dtype


def _join(a: DType, b: DType) -> DType:
    """The smallest type that holds both of two tensors' types."""
    if a is b:
        return a
    if a.kind == b.kind == "i" and uint8 in (a, b):
        other = b if a is uint8 else a
        return int16 if other is int8 else other
    if {a, b} == {float16, bfloat16}:
        return float32
    if "z" in (a.kind, b.kind) and float64 in (a, b):
        return complex128
    return a if a.rank > b.rank else b


@lru_cache(maxsize=4096)
def _promote(operands: tuple[tuple[DType, bool], ...], default: DType) -> DType:
    groups: list[DType | None] = [None, None, None]
    for dtype, zero_dim in operands:
        level = 2 if dtype.weak else 1 if zero_dim else 0
        strong = {"b": bool_, "i": int64, "f": default}[dtype.kind] if dtype.weak else dtype
        current = groups[level]
        groups[level] = strong if current is None else _join(current, strong)
    result: DType | None = None
    for lower in groups:
        if result is None or lower is None:
            result = result or lower
        elif _CATEGORY.index(lower.kind) > _CATEGORY.index(result.kind):
            if lower.kind == "z" and result.kind == "f":
                result = COMPLEX_OF.get(result, complex64)
            else:
                result = _join(result, lower)
    assert result is not None
    return result


def promote(operands: Sequence[tuple[DType, bool]]) -> DType:
    """The type of a result, from each operand's type and whether it is zero-dimensional.

    PyTorch's rule (documentation, "Tensor Attributes", type promotion): tensors with dimensions decide;
    zero-dimensional ones, then Python numbers, only raise the category (bool, integer, floating).

    >>> promote([(float32, False), (pyfloat, True)])
    torch.float32
    >>> promote([(int64, False), (float32, True)])
    torch.float32
    """
    return _promote(tuple(operands), default_dtype.get())
