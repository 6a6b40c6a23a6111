"""Whole numbers: shifts past the last bit, and what is no whole number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("torch.bitwise_left_shift(n, k)", [0, -12, 0]),
        ("torch.bitwise_right_shift(n, k)", [0, -1, 0]),
    ],
)
def test_shifts_by_too_many_bits_or_too_few(
    text: str, expected: list[int], value_of: Callable[..., Any]
) -> None:
    assert value_of(text, n=[1, -3, 5], k=[64, 2, -1]).tolist() == expected


def test_a_shift_out_of_a_small_type_wraps_around(value_of: Callable[..., Any]) -> None:
    found = value_of("torch.bitwise_left_shift(n, 2)", n=np.array([100], np.int8))
    assert (found.dtype, found.tolist()) == (np.int8, [-112])


@pytest.mark.parametrize("name", ["gcd", "lcm", "bitwise_left_shift", "bitwise_right_shift"])
@pytest.mark.parametrize("other", ["x", "x > 0"])
def test_only_whole_numbers_are_taken(name: str, other: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError, match="is for whole numbers"):
        value_of(f"torch.{name}({other}, {other})", x=[1.0])
