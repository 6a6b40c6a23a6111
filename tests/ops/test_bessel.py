"""Bessel functions: values in closed form, and slopes that PyTorch doesn't have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

POSITIVE = np.linspace(0.3, 9.0, 30)
EVERYWHERE = np.array([-9.0, -2.5, -0.7, -1e-3, 0.0, 1e-3, 0.4, 2.5, 9.0])
SMOOTH_AT_ZERO = (
    "i0",
    "i1",
    "bessel_j0",
    "bessel_j1",
    "spherical_bessel_j0",
    "modified_bessel_i0",
    "modified_bessel_i1",
)
ONLY_POSITIVE = (
    "bessel_y0",
    "bessel_y1",
    "modified_bessel_k0",
    "modified_bessel_k1",
    "scaled_modified_bessel_k0",
    "scaled_modified_bessel_k1",
    "i0e",
    "i1e",
)


@pytest.mark.parametrize("name", SMOOTH_AT_ZERO)
def test_slopes_hold_everywhere(name: str, assert_slope: Callable[..., None]) -> None:
    assert_slope(f"torch.special.{name}(x)", EVERYWHERE)


@pytest.mark.parametrize("name", ONLY_POSITIVE)
def test_slopes_hold_beside_the_singularity(name: str, assert_slope: Callable[..., None]) -> None:
    assert_slope(f"torch.special.{name}(x)", POSITIVE)


def test_the_wronskian_is_two_over_pi_x(value_of: Callable[..., Any]) -> None:
    """NIST Handbook of Mathematical Functions, 10.5.2: four of the functions hold each other to account."""
    text = (
        "torch.special.bessel_j1(x) * torch.special.bessel_y0(x)"
        " - torch.special.bessel_j0(x) * torch.special.bessel_y1(x)"
    )
    value = value_of(text, x=POSITIVE)
    np.testing.assert_allclose(value, 2 / (np.pi * POSITIVE), rtol=1e-13)


def test_airys_function_has_its_value_at_0_and_no_slope(
    value_of: Callable[..., Any], slope_of: Callable[..., Any]
) -> None:
    value = value_of("torch.special.airy_ai(x)", x=[0.0, 200.0])
    np.testing.assert_allclose(value, [0.355028053887817239, 0.0], rtol=1e-14)
    with pytest.raises(Invalid, match="no derivative"):
        slope_of("torch.special.airy_ai(x)", x=[0.0, 200.0])
