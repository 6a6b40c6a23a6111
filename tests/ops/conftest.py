"""What tests of operators share: an expression's value and its gradient at given inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.dtypes import BY_NAME
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import Expr, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse

if TYPE_CHECKING:
    from collections.abc import Callable


def expression_of(text: str, arrays: dict[str, Any]) -> tuple[Expr, dict[str, Expr]]:
    scope = {n: variable(n, a.shape, BY_NAME[a.dtype.name]) for n, a in arrays.items()}
    return build(parse(Source(text)), scope), scope


@pytest.fixture
def value_of() -> Callable[..., Any]:
    """`value_of("x + 1", x=[1.0])`: the value. Raises GradcheckError where the expression is refused."""

    def evaluate(text: str, **inputs: Any) -> Any:
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        return Plan([expression_of(text, arrays)[0]])(arrays)[0]

    return evaluate


@pytest.fixture
def slope_of() -> Callable[..., Any]:
    """`slope_of("x ** 2", x=[1.0])`: the gradient of the sum with respect to the first input."""

    def evaluate(text: str, **inputs: Any) -> Any:
        arrays = {name: np.asarray(value) for name, value in inputs.items()}
        node, scope = expression_of(text, arrays)
        upstream = variable("grad", node.shape, node.dtype)
        (gradient,) = differentiate(node, [next(iter(scope.values()))], upstream)
        return Plan([gradient])({**arrays, "grad": np.ones(node.shape, node.dtype.numpy)})[0]

    return evaluate


@pytest.fixture
def assert_slope(value_of: Callable[..., Any], slope_of: Callable[..., Any]) -> Callable[..., None]:
    """The gradient of an elementwise expression in `x` against central differences."""

    def check(text: str, x: Any, rtol: float = 1e-7) -> None:
        step = 1e-5
        difference = value_of(text, x=x + step) - value_of(text, x=x - step)
        expected = difference / (2 * step)
        np.testing.assert_allclose(slope_of(text, x=x), expected, rtol=rtol, atol=1e-9)

    return check
