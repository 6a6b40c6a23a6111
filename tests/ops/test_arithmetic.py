"""Composed arithmetic: what is exact, and what is refused in PyTorch's way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_ldexp_with_whole_exponents_neither_overflows_on_the_way_nor_rounds(
    value_of: Callable[..., Any],
) -> None:
    found = value_of(
        "torch.ldexp(x, n)", x=[1e-300, 1e300, 3.0, 0.0], n=[1100, -1100, -1074, 10**9]
    )
    assert found.tolist() == [np.ldexp(1e-300, 1100), np.ldexp(1e300, -1100), 3 * 2.0**-1074, 0.0]


def test_ldexp_has_the_slope_that_pytorch_loses(slope_of: Callable[..., Any]) -> None:
    """With whole negative exponents PyTorch 2.13 takes 2 ** n in whole numbers, which is 0."""
    assert slope_of("torch.ldexp(x, n)", x=[1.0, 1.0], n=[-1, -3]).tolist() == [0.5, 0.125]


def test_alpha_wraps_around_as_whole_numbers_do(value_of: Callable[..., Any]) -> None:
    x = np.array([1, 200], np.uint8)
    assert value_of("torch.add(x, x, alpha=-3)", x=x).tolist() == [254, 112]
    assert value_of("torch.sub(x, x, alpha=-3)", x=x).tolist() == [4, 32]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("torch.addcdiv(x, n, n)", "addcdiv() can't divide int64 by int64"),
        ("torch.addcmul(n, n, n, value=0.5)", "can't take the value 0.5"),
        ("torch.addcmul(n > 0, n > 0, n > 0)", "isn't defined for masks"),
        ("torch.float_power(2, 3)", "wants a tensor for `input` or `exponent`"),
        ("torch.fill(x, n)", "fill() takes one number, not a value of shape (3,)"),
    ],
)
def test_what_is_refused(text: str, says: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError) as caught:
        value_of(text, x=[1.0, 2.0, 3.0], n=[1, 2, 3])
    assert says in caught.value.problems[0].message
