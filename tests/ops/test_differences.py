"""Slopes that are exact for parabolas, and calls that PyTorch refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("y", [np.arange(5.0), np.array([0.0, 1.0, 3.0, 3.5, 7.0])], ids=str)
def test_slopes_of_second_order_are_exact_for_parabolas(
    y: Any, value_of: Callable[..., Any]
) -> None:
    text = "torch.gradient(y ** 2 - 3 * y, spacing=[y], edge_order=2)[0]"
    np.testing.assert_allclose(value_of(text, y=y), 2 * y - 3, rtol=1e-12)


@pytest.mark.parametrize("text", ["torch.trapezoid(y, x)", "torch.trapz(y, x)"])
def test_no_elements_have_the_integral_zero(text: str, value_of: Callable[..., Any]) -> None:
    np.testing.assert_array_equal(value_of(text, y=np.zeros((2, 0)), x=np.zeros(0)), [0.0, 0.0])


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("x.diff(-1)", "-1 differences"),
        ("x[0, 0].diff()", "at least one dimension"),
        ("x.diff(prepend=x[0])", "doesn't fit"),
        ("x.diff(append=x.T)", "doesn't fit"),
        ("torch.gradient(x, edge_order=3)[0]", "edge_order is 1 or 2"),
        ("torch.gradient(x, edge_order=2)[0]", "too small for edge_order=2"),
        ("torch.gradient(x, spacing=[1.0])[0]", "1 spacings are given for 2 dimensions"),
        ("torch.gradient(x, spacing=[x[0]], dim=0)[0]", "the coordinates have shape"),
        ("torch.gradient(x > 0)[0]", "masks"),
        ("torch.trapezoid(x, x[0, :2])", "2 coordinates are given"),
        ("torch.trapezoid(x, x[0, 0])", "dx="),
        ("torch.trapezoid(x > 0)", "masks"),
        ("torch.trapezoid(x, x > 0)", "mask"),
        ("torch.cumulative_trapezoid(x[0, 0])", "no dimension to integrate over"),
    ],
)
def test_refused_as_in_pytorch(text: str, fragment: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError, match=fragment):
        value_of(text, x=[[1.0, 2.0, 4.0], [3.0, 4.0, 5.0]])
