"""Covariances without freedom, weights that aren't any, histograms of awkward data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.ops.known import given
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.parametrize("correction", [0, 1, 2, 5])
@pytest.mark.parametrize(
    "weights", ["", ", fweights=f", ", aweights=w", ", fweights=f, aweights=w"]
)
@pytest.mark.filterwarnings("ignore:cov")
def test_covariances_are_pytorchs(
    weights: str, correction: int, value_of: Callable[..., Any], slope_of: Callable[..., Any]
) -> None:
    text = f"torch.cov(x, correction={correction}{weights})"
    values: dict[str, Any] = {
        "x": np.array([[1.0, 2.0, 0.5], [3.0, -1.0, 2.0]]),
        "f": np.array([1, 2, 1]),
        "w": np.array([0.5, 0.2, 1.0]),
    }
    leaf = torch.tensor(values["x"], requires_grad=True)
    f, w = torch.tensor(values["f"]), torch.tensor(values["w"])
    result = eval(text, {"torch": torch, "x": leaf, "f": f, "w": w})
    result.sum().backward()
    assert leaf.grad is not None
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_allclose(value_of(text, **values), result.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(slope_of(text, **values), leaf.grad.numpy(), 1e-12, 1e-15)


def test_known_weights_below_zero_are_refused() -> None:
    scope = {"x": variable("x", (3,)), "w": variable("w", (3,))}
    formula = parse(Source("x.cov(aweights=w)"))
    assert build(formula, scope).shape == ()
    with (
        given(lambda: {"w": np.array([1.0, -1.0, 1.0])}),
        pytest.raises(GradcheckError, match="`aweights` must not be negative"),
    ):
        build(formula, scope)


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ("4", [0.1, 0.9, 0.5, 0.5]),
        ("3", [2.0, 2.0]),
        ("2, 0, 2", [0.0, 1.0, 2.0, 5.0, -1.0, math.nan]),
        ("5, -1, 1", [-1.0, -0.6, -0.2, 0.2, 0.6, 1.0]),
    ],
)
def test_histograms_are_pytorchs(
    arguments: str, values: list[float], value_of: Callable[..., Any]
) -> None:
    expected = eval(f"x.histc({arguments})", {"x": torch.tensor(values, dtype=torch.float64)})
    np.testing.assert_array_equal(value_of(f"x.histc({arguments})", x=values), expected.numpy())


def test_a_histogram_of_unbounded_data_is_refused_when_computed(
    value_of: Callable[..., Any],
) -> None:
    with pytest.raises(Invalid, match="can't make bins from 0"):
        value_of("x.histc(3)", x=[0.0, math.inf])


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("torch.cov(x.reshape(1, 2, 2))", "a row for each variable"),
        ("torch.cov(x > 0)", "masks"),
        ("torch.cov(x, fweights=x[0])", "whole numbers"),
        ("torch.cov(x, aweights=x)", "don't weigh 2 observations"),
        ("torch.corrcoef(x.reshape(1, 2, 2))", "corrcoef"),
        ("x.long().histc(2)", "int64"),
        ("x.histc(0)", "0 bins"),
        ("x.histc(2, 1, 0)", "from 1 up to 0"),
    ],
)
def test_refused_as_in_pytorch(text: str, fragment: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError, match=fragment):
        value_of(text, x=[[1.0, 2.0], [3.0, 4.0]])
