"""Orthogonal polynomials: their slopes, at the ends of the interval too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.polynomial import chebyshev, hermite, hermite_e, laguerre, legendre

if TYPE_CHECKING:
    from collections.abc import Callable

FAMILIES = (
    *("chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v"),
    *("chebyshev_polynomial_w", "shifted_chebyshev_polynomial_t"),
    *("shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v"),
    *("shifted_chebyshev_polynomial_w", "hermite_polynomial_h", "hermite_polynomial_he"),
    *("laguerre_polynomial_l", "legendre_polynomial_p"),
)
IN_NUMPY = {
    "chebyshev_polynomial_t": chebyshev.chebval,
    "hermite_polynomial_h": hermite.hermval,
    "hermite_polynomial_he": hermite_e.hermeval,
    "laguerre_polynomial_l": laguerre.lagval,
    "legendre_polynomial_p": legendre.legval,
}
# With the ends of the intervals, where formulas for slopes divide by zero.
X = np.array([-1.0, -0.4, 0.0, 0.3, 0.8, 1.0, 1.5])


@pytest.mark.parametrize("degree", [-2, 0, 1, 2, 5, 5.9])
@pytest.mark.parametrize("name", FAMILIES)
def test_slopes(name: str, degree: float, assert_slope: Callable[..., None]) -> None:
    assert_slope(f"torch.special.{name}(x, {degree})", X, rtol=1e-5)


@pytest.mark.parametrize("name", IN_NUMPY)
def test_values_are_numpys(name: str, value_of: Callable[..., Any]) -> None:
    for degree in range(8):
        value = value_of(f"torch.special.{name}(x, {degree})", x=X)
        unit = np.eye(8)[degree]
        np.testing.assert_allclose(value, IN_NUMPY[name](X, unit), rtol=1e-12, atol=1e-13)


def test_no_gradient_flows_to_the_degree(slope_of: Callable[..., Any]) -> None:
    slope = slope_of("torch.special.legendre_polynomial_p(0.3, x)", x=[2.0, 3.0])
    assert not slope.any()
