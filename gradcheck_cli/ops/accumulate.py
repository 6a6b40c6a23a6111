"""Sums by index, `x[key] += values` with equal indices included: below scatter_add, index_add, index_put.

`np.add.at` on rows takes some 20 ns an element; a product with a sparse matrix of ones takes one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gradcheck_cli.ops._common import sparse
from gradcheck_cli.ops.windows import product

# From this many elements on, a sparse matrix (and at first importing what makes it) is worth it.
_MANY = 1 << 15
# Types that sparse products are compiled for.
_SPARSE = "fdFDlq"


def add_at(out: Any, key: tuple[Any, ...], values: Any) -> None:
    """`out[key] += values`, with every one of equal indices counted.

    `key` holds arrays of indices that broadcast together, one for each of the first dims of `out`, counted
    from either end and known to be within bounds; `values` broadcasts to what `out[key]` is. `out` is
    written into and must be contiguous.
    """
    places: Any = 0
    for index, size in zip(key, out.shape, strict=False):
        negative = index.size and index.min() < 0
        places = places * size + (np.where(index < 0, index + size, index) if negative else index)
    rest = out.shape[len(key) :]
    values = np.broadcast_to(values, (*np.shape(places), *rest))
    places = np.reshape(places, -1)
    width = product(rest)
    if width == 1:
        _add_numbers(out.reshape(-1), places, values.reshape(-1))
    elif values.size:
        _add_rows(out.reshape(-1, width), places, values.reshape(-1, width))


def sum_rows(places: Any, rows: Any, count: int) -> Any:
    """`add_at` on `count` rows of zeros, which needn't be made and read."""
    flat = rows.reshape(len(rows), product(rows.shape[1:]))
    if _is_worth_it(flat):
        return _product(places, flat, count).reshape(count, *rows.shape[1:])
    out = np.zeros((count, *rows.shape[1:]), rows.dtype)
    add_at(out, (places,), rows)
    return out


def few_rows(places: Any, rows: Any, count: int) -> Any:
    """`sum_rows` for a few rows of real numbers, in as few calls as there can be."""
    width = rows.shape[1]
    flat = places[:, None] * width + np.arange(width)
    found = np.bincount(flat.reshape(-1), rows.reshape(-1), count * width)
    return found.reshape(count, width).astype(rows.dtype, copy=False)


def _is_worth_it(rows: Any) -> bool:
    return rows.size >= _MANY and rows.shape[1] > 1 and rows.dtype.char in _SPARSE


def _product(places: Any, rows: Any, count: int) -> Any:
    ends = np.arange(len(places) + 1)
    ones = np.ones(len(places), rows.dtype)
    return sparse.csc_array((ones, places, ends), shape=(count, len(places))) @ rows


def _add_numbers(out: Any, places: Any, values: Any) -> None:
    if out.dtype == values.dtype == np.float64 and places.size > out.size // 4:
        out += np.bincount(places, values, out.size)
    else:
        np.add.at(out, places, values)


def _add_rows(out: Any, places: Any, rows: Any) -> None:
    if out.dtype == rows.dtype and _is_worth_it(rows):
        out += _product(places, rows, len(out))
    else:
        flat = places[:, None] * rows.shape[1] + np.arange(rows.shape[1])
        np.add.at(out.reshape(-1), flat.reshape(-1), rows.reshape(-1))
