"""The gamma function's kin: against sums and differences, and where there is no derivative."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.array([1.6, 2.5, 7.0])


@pytest.mark.parametrize(
    "text",
    [
        "torch.mvlgamma(x, 3)",
        "torch.polygamma(1, x)",
        "torch.special.zeta(2.5, x)",
        "torch.igamma(torch.tensor(1.7), x)",
        "torch.igammac(torch.tensor(1.7), x)",
    ],
)
def test_slopes(text: str, assert_slope: Callable[..., None]) -> None:
    assert_slope(text, X)


def test_the_multivariate_one_is_the_sum_of_its_definition(value_of: Callable[..., Any]) -> None:
    expected = [
        1.5 * math.log(math.pi) + sum(math.lgamma(x - shift / 2) for shift in range(3)) for x in X
    ]
    np.testing.assert_allclose(value_of("torch.mvlgamma(x, 3)", x=X), expected, rtol=1e-14)


def test_both_incomplete_ones_make_one(value_of: Callable[..., Any]) -> None:
    text = "torch.igamma(x, y) + torch.igammac(x, y)"
    np.testing.assert_allclose(value_of(text, x=X, y=X[::-1]), 1, rtol=1e-14)


@pytest.mark.parametrize("name", ["igamma", "igammac", "special.zeta"])
def test_nobody_takes_a_missing_derivative_for_0(name: str, slope_of: Callable[..., Any]) -> None:
    with pytest.raises(Invalid, match="no derivative in its first argument"):
        slope_of(f"torch.{name}(x, y)", x=X, y=X)
    assert np.isfinite(slope_of(f"torch.{name}(y + 2, x)", x=X, y=X)).all()


@pytest.mark.parametrize("text", ["torch.mvlgamma(x, 0)", "torch.polygamma(-1, x)"])
def test_orders_below_the_first_are_refused(text: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError, match="or more"):
        value_of(text, x=X)
