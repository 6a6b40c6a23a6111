"""Running extremes at ties and NaN, and running logarithms of sums where exponentials overflow."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.graph import variable

if TYPE_CHECKING:
    from collections.abc import Callable

INF, NAN = math.inf, math.nan
AWKWARD = [
    [1.0, 3.0, 3.0, 2.0, 3.0],
    [1.0, NAN, 2.0, NAN, 5.0],
    [INF, 1.0, INF],
    [-INF, -INF, 0.0],
    [-1000.0, 0.0, 1000.0, -1000.0],
]


@pytest.mark.parametrize("value", AWKWARD, ids=str)
@pytest.mark.parametrize("text", ["x.cummax(0)[0]", "x.cummin(0)[0]", "x.logcumsumexp(0)"])
def test_pytorchs_value_and_gradient(
    text: str, value: list[float], value_of: Callable[..., Any], slope_of: Callable[..., Any]
) -> None:
    leaf = torch.tensor(value, dtype=torch.float64, requires_grad=True)
    result = eval(text, {"x": leaf})
    result.sum().backward()
    assert leaf.grad is not None
    np.testing.assert_allclose(value_of(text, x=value), result.detach().numpy())
    np.testing.assert_allclose(slope_of(text, x=value), leaf.grad.numpy(), atol=1e-15)


def test_the_rule_of_logcumsumexp_is_linear_in_the_upstream_gradient() -> None:
    """PyTorch's goes by the logarithm of that gradient: differentiated where it is 0, it gives 0."""
    x, g, w = (variable(name, (3,)) for name in "xgw")
    (gradient,) = differentiate(x.logcumsumexp(0), [x], g)
    (along,) = differentiate((gradient * w).sum(), [g])
    values = {"x": np.array([0.5, -1.0, 2.0]), "g": np.zeros(3), "w": np.array([1.0, -2.0, 3.0])}
    step = 1e-6
    moved = [np.logaddexp.accumulate(values["x"] + s * values["w"]) for s in (step, -step)]
    np.testing.assert_allclose(Plan([along])(values)[0], (moved[0] - moved[1]) / (2 * step), 1e-7)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [("x.long().logcumsumexp(0)", "int64"), ("x.cummax(1)", "out of range")],
)
def test_refused_as_in_pytorch(text: str, fragment: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError, match=fragment):
        value_of(text, x=[1.0, 2.0])
