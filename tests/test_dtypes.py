"""Type promotion, compared with PyTorch's for every pair of types and kinds of operands."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_cli import dtypes
from gradcheck_cli.dtypes import ALIASES, BY_NAME, DType, promote, to_default_floating

NUMBERS: dict[DType, Any] = {dtypes.pybool: True, dtypes.pyint: 2, dtypes.pyfloat: 2.5}


def operand(dtype: DType, *, zero_dim: bool) -> Any:
    if dtype.weak:
        return NUMBERS[dtype]
    return torch.ones(() if zero_dim else (2,), dtype=getattr(torch, dtype.name))


@pytest.mark.parametrize("default", [torch.float32, torch.float64])
def test_promotion_of_all_pairs_is_pytorch_s(default: torch.dtype) -> None:
    before = torch.get_default_dtype()
    token = dtypes.default_dtype.set(BY_NAME[str(default).removeprefix("torch.")])
    torch.set_default_dtype(default)
    try:
        # Real ones: PyTorch has a complex type of half precision, which NumPy lacks.
        kinds = [(d, z) for d in BY_NAME.values() if d.kind != "z" for z in (False, True)]
        kinds += [(d, True) for d in NUMBERS]
        for (a, a0), (b, b0) in itertools.product(kinds, kinds):
            if a.weak and b.weak:
                continue
            expected = torch.result_type(operand(a, zero_dim=a0), operand(b, zero_dim=b0))
            assert repr(promote([(a, a0), (b, b0)])) == str(expected), (a, a0, b, b0)
    finally:
        torch.set_default_dtype(before)
        dtypes.default_dtype.reset(token)


def test_three_operands_promote_in_any_order() -> None:
    operands = [(dtypes.int64, False), (dtypes.float32, True), (dtypes.pyfloat, True)]
    assert {promote(order) for order in itertools.permutations(operands)} == {dtypes.float32}


def test_integers_become_the_default_floating_type() -> None:
    assert to_default_floating(dtypes.int8) is dtypes.float64
    assert to_default_floating(dtypes.pyfloat) is dtypes.float64
    assert to_default_floating(dtypes.float16) is dtypes.float16
    token = dtypes.default_dtype.set(dtypes.float32)
    try:
        assert to_default_floating(dtypes.bool_) is dtypes.float32
    finally:
        dtypes.default_dtype.reset(token)


def test_names_are_pytorch_s() -> None:
    for name, dtype in BY_NAME.items():
        assert repr(dtype) == str(getattr(torch, name))
    for alias, dtype in ALIASES.items():
        assert repr(dtype) == str(getattr(torch, alias))


@pytest.mark.parametrize("dtype", [*BY_NAME.values(), *NUMBERS], ids=repr)
def test_numpy_holds_every_type(dtype: DType) -> None:
    held = dtype.numpy
    assert isinstance(held, np.dtype)
    assert dtype.is_floating == (held.kind == "f")
