"""Distances at zero and at ties, and second derivatives, which PyTorch doesn't have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pytest
import torch

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.ops import distance

if TYPE_CHECKING:
    from collections.abc import Callable

# Two equal rows, and two elements that are equally far away.
X = np.array([[1.0, 2.0, 0.0], [3.0, 3.0, 3.0]])
Y = np.array([[0.0, 1.0, 0.0], [3.0, 3.0, 3.0], [1.0, 2.0, -1.0]])


@pytest.mark.parametrize("p", ["0", "0.5", "1", "1.5", "2", "3", "math.inf"])
@pytest.mark.parametrize("text", ["torch.cdist(x, y, {p})", "torch.pdist(y, {p})"])
def test_conventions_are_pytorchs(text: str, p: str, slope_of: Callable[..., Any]) -> None:
    x, y = (torch.tensor(a, requires_grad=True) for a in (X, Y))
    eval(text.format(p=p), {"torch": torch, "x": x, "y": y, "math": np}).sum().backward()
    for name, leaf in (("x", x), ("y", y)):
        if leaf.grad is not None:
            others = {"x": X, "y": Y}
            first = {name: others.pop(name)}
            found = slope_of(text.format(p=p), **first, **(others if "cdist" in text else {}))
            np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 3.0])
def test_second_derivatives_are_those_of_the_norm(p: float) -> None:
    rng = np.random.default_rng(0)
    values = {"x": rng.standard_normal((3, 2)), "y": rng.standard_normal((4, 2))}
    x, y = variable("x", (3, 2)), variable("y", (4, 2))
    weight = np.arange(12.0).reshape(3, 4)
    node = build(parse(Source(f"torch.cdist(x, y, {p})")), {"x": x, "y": y})
    gradient = differentiate((node * variable("w", (3, 4))).sum(), [x])[0]
    second = differentiate((gradient**2).sum(), [x, y])
    found = Plan(second)({**values, "w": weight})
    leaves = [torch.tensor(a, requires_grad=True) for a in values.values()]
    norm = (leaves[0].unsqueeze(1) - leaves[1]).norm(p, dim=-1)
    (first,) = torch.autograd.grad(
        (norm * torch.tensor(weight)).sum(), leaves[0], create_graph=True
    )
    for ours, theirs in zip(found, torch.autograd.grad((first**2).sum(), leaves), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-10)


def test_many_rows_are_taken_in_blocks(value_of: Callable[..., Any]) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 7, 3)), rng.standard_normal((5, 3))
    with mock.patch.object(distance, "_BLOCK", 60):
        found = value_of("torch.cdist(x, y)", x=x, y=y)
    expected = torch.cdist(torch.tensor(x), torch.tensor(y)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("torch.cdist(x, y[:, :2])", "differ in length"),
        ("torch.cdist(x[0], y)", "rows of matrices"),
        ("torch.cdist(x, y, -1.0)", "order -1.0"),
        ("torch.cdist(x, y.float())", "float32"),
        ("torch.cdist(x.long(), y)", "int64"),
        ("torch.cdist(x, y, 2.0, 'fast')", "compute_mode"),
        ("torch.pdist(x.reshape(1, 2, 3) + y[:2])", "rows of a matrix"),
        ("torch.renorm(x + y[:2], 0, 0, 1.0)", "order 0"),
        ("torch.renorm(x + y[:2], 2, 0, -1.0)", "can't be -1.0"),
        ("torch.renorm(x[0] + y[0], 2, 0, 1.0)", "two dimensions"),
    ],
)
def test_refused_as_in_pytorch(text: str, fragment: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError, match=fragment):
        value_of(text, x=X, y=Y)
