"""Signs, exponents, neighbours: conventions where a number has none of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_frexp_takes_a_number_apart(value_of: Callable[..., Any]) -> None:
    x = np.array([-3.0, 0.0, 0.1, 8.0, 5e-324])
    mantissa = value_of("torch.frexp(x).mantissa", x=x)
    exponent = value_of("torch.frexp(x)[1]", x=x)
    assert exponent.dtype == np.int32
    assert (mantissa * 2.0**exponent == x).all()
    assert (mantissa == [-0.75, 0, 0.8, 0.5, 0.5]).all()


def test_the_mantissas_slope_is_one_over_the_power_of_two(slope_of: Callable[..., Any]) -> None:
    found = slope_of("torch.frexp(x).mantissa", x=[-3.0, 0.0, 0.1, 8.0])
    assert found.tolist() == [0.25, 1.0, 8.0, 0.0625]


@pytest.mark.parametrize(
    ("text", "x", "slope"),
    [
        ("x.nan_to_num()", [1.0, math.nan, math.inf, -math.inf], [1, 0, 0, 0]),
        ("x.copysign(-1)", [2.0, -2.0, 0.0], [-1, 1, 0]),
        ("torch.nextafter(x, torch.ones_like(x))", [0.0, 1.0, 2.0], [1, 0, 1]),
        ("torch.heaviside(x, x)", [-1.0, 0.0, 1.0], [0, 1, 0]),
    ],
)
def test_slopes_where_there_is_a_jump(
    text: str, x: list[float], slope: list[float], slope_of: Callable[..., Any]
) -> None:
    assert slope_of(text, x=x).tolist() == slope


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("torch.frexp(n).mantissa", "frexp() needs a floating-point tensor, not int64"),
        ("torch.heaviside(x, n)", "input is float64 and values int64"),
        ("torch.nextafter(n, n)", "needs a floating-point tensor"),
    ],
)
def test_what_is_refused(text: str, says: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError) as caught:
        value_of(text, x=[1.0], n=[1])
    assert says in caught.value.problems[0].message
