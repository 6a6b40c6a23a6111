"""Comparisons that take tolerances or sets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable


def test_tolerances_stand_for_the_second_tensor(value_of: Callable[..., Any]) -> None:
    """`|x - y| <= atol + rtol * |y|` is not symmetric."""
    far = {"x": [10.0, 11.0], "y": [11.0, 10.0]}
    assert value_of("torch.isclose(x, y, rtol=0.095, atol=0)", **far).tolist() == [True, False]


def test_nan_is_close_to_nothing_unless_asked(value_of: Callable[..., Any]) -> None:
    x = [math.nan, math.inf, -math.inf]
    assert value_of("torch.isclose(x, x)", x=x).tolist() == [False, True, True]
    assert value_of("torch.allclose(x, x, equal_nan=True)", x=x)


def test_tensors_of_other_shapes_are_not_equal(value_of: Callable[..., Any]) -> None:
    assert not value_of("x.equal(y)", x=[[1.0]], y=[1.0])
    assert not value_of("n.equal(k)", n=[[1]], k=[1])
    assert value_of("x.equal(y)", x=[1.0], y=[1.0])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("torch.isclose(x, n)", "input is float64 and other int64"),
        ("torch.isclose(x, x, rtol=-1)", "rtol can't be -1"),
        ("torch.isclose(x, x, atol=math.nan)", "atol can't be nan"),
        ("torch.isin(1, 2)", "wants at least one tensor"),
        ("torch.isin(x > 0, x)", "isn't defined for masks"),
    ],
)
def test_what_is_refused(text: str, says: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError) as caught:
        value_of(text, x=[1.0], n=[1])
    assert says in caught.value.problems[0].message
