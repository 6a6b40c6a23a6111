"""Sums by index are those of np.add.at, above and below the sizes at which the way changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.ops import accumulate
from gradcheck_cli.ops.accumulate import add_at, sum_rows


def drawn(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> Any:
    if dtype.startswith(("int", "uint")):
        return rng.integers(0, 9, shape).astype(dtype)
    values = rng.standard_normal(shape)
    return (values + 1j * values[::-1] if dtype.startswith("complex") else values).astype(dtype)


@pytest.mark.parametrize("many", [1, 1 << 30])
@pytest.mark.parametrize(
    "dtype", ["float32", "float64", "float16", "complex128", "int64", "int32", "uint8"]
)
@pytest.mark.parametrize("rest", [(), (1,), (3,), (2, 3), (0,)])
def test_as_numpy_adds(
    monkeypatch: pytest.MonkeyPatch, many: int, dtype: str, rest: tuple[int, ...]
) -> None:
    monkeypatch.setattr(accumulate, "_MANY", many)
    rng = np.random.default_rng(0)
    key = (rng.integers(0, 4, (5, 1)), rng.integers(-3, 3, (1, 6)))
    start, values = drawn(rng, (4, 3, *rest), dtype), drawn(rng, (5, 6, *rest), dtype)
    found, expected = start.copy(), start.copy()
    add_at(found, key, values)
    np.add.at(expected, key, values)
    rounding = 5e-2 if dtype == "float16" else 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(found, expected, rtol=rounding, atol=rounding)
    assert found.dtype == start.dtype


def test_values_are_broadcast() -> None:
    found = np.zeros((3, 2))
    add_at(found, (np.array([1, 1, 0]),), np.array([1.0, 2.0]))
    np.testing.assert_array_equal(found, [[1, 2], [2, 4], [0, 0]])


@pytest.mark.parametrize("count", [0, 5, 40_000])
def test_rows_into_zeros(count: int) -> None:
    rng = np.random.default_rng(1)
    places, rows = rng.integers(0, 7, count), rng.standard_normal((count, 2, 3))
    expected = np.zeros((7, 2, 3))
    np.add.at(expected, places, rows)
    np.testing.assert_allclose(sum_rows(places, rows, 7), expected, atol=1e-10)
