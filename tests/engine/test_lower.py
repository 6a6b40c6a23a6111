"""Lowering keeps values, awkward ones included, and leaves the operators that run fast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.lower import lower
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import to_text

AWKWARD = [0.0, -0.0, 1.0, -2.5, 1e-310, 1e300, -1e300, np.inf, -np.inf, np.nan]

# text, and the operators that are left of it, without inputs and numbers
LOWERED = {
    "torch.ones_like(x) * y": [],
    "1.0 * x": [],
    "2 * (3 * x)": ["mul"],
    "-(2 * x)": ["mul"],
    "2 * -x": ["mul"],
    "x.pow(2)": ["mul"],
    "x.pow(3)": ["mul", "mul"],
    "x ** -1": ["div"],
    "x ** -2": ["mul", "div"],
    "x ** 1.0": [],
    "torch.add(x, y, alpha=2)": ["mul", "add"],
    "torch.sub(x, y, alpha=2)": ["mul", "sub"],
    "x.expand(4, 10) * y": ["mul", "expand"],
    "torch.where(x > 0, torch.ones_like(x), 0.0)": ["gt", "where"],
    "(3 * x).sum()": ["sum", "mul"],
    "(-x).sum(0)": ["sum", "neg"],
    "x.mean()": ["sum", "div"],
    "torch.full_like(x, 2.0).sum()": [],
    "x.sum_to_size(1)": ["sum"],
    "1 + torch.erf(x)": ["neg", "erfc"],
    "torch.softmax(x, 0)": ["amax", "sub", "exp", "sum", "div", "mul"],
    "torch.log_softmax(x, 0).exp()": ["amax", "sub", "exp", "sum", "div", "mul"],
}


def built(text: str, *names: str) -> Any:
    scope = {name: variable(name, (10,)) for name in names}
    return build(parse(Source(text)), scope)


@pytest.mark.parametrize("text", LOWERED)
def test_what_is_left(text: str) -> None:
    names = [name for name in "xy" if f"{name}" in text.replace("exp", "").replace("max", "")]
    (lowered,) = lower([built(text, *names)])
    left = [node.op.name for node in topological([lowered]) if node.inputs]
    wanted = LOWERED[text]
    assert [name for name in left if name not in ("expand", "full")] == [
        name for name in wanted if name != "expand"
    ], to_text(lowered)


@pytest.mark.parametrize("text", [*LOWERED, "torch.logsumexp(x, 0)", "F.gelu(x)", "x.std()"])
def test_awkward_values_stay(text: str) -> None:
    node = built(text, "x", "y")
    (lowered,) = lower([node])
    rng = np.random.default_rng(0)
    for position in range(len(AWKWARD)):
        x = rng.standard_normal(10)
        x[3] = AWKWARD[position]
        arrays = {"x": x, "y": rng.permutation(AWKWARD)}
        expected, found = Plan([node, lowered])(arrays)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-300, err_msg=str(x[3]))


@pytest.mark.parametrize("dims", ["0", "1", "(0, 1)"])
def test_the_gradient_of_logsumexp_uses_the_exponentials_that_are_there(dims: str) -> None:
    x = variable("x", (4, 5))
    value = build(parse(Source(f"torch.logsumexp(x, {dims}).sum()")), {"x": x})
    lowered = lower([value, *differentiate(value, [x])])
    assert [node.op.name for node in topological(lowered)].count("exp") == 1
    array = np.random.default_rng(0).standard_normal((4, 5))
    array[1] = -np.inf
    for found, expected in zip(
        Plan(lowered)({"x": array}),
        Plan([value, *differentiate(value, [x])])({"x": array}),
        strict=True,
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
