"""Ties, zeros and what is left out where elements are scattered with a reduction: PyTorch's conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_cli.ops  # noqa: F401  -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse

PLACES = [0, 0, 1, 1, 2, 2]
SOURCES = {
    "equal to each other and to the input": [2.0, 2.0, 0.0, 3.0, 1.0, 1.0],
    "one zero, two zeros, none": [0.0, 4.0, 0.0, 0.0, 3.0, 2.0],
    "not numbers and infinite": [0.0, 0.0, np.nan, 1.0, np.inf, -np.inf],
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize(
    ("function", "reduce"),
    [
        *(("scatter_reduce", reduce) for reduce in ("sum", "prod", "mean", "amax", "amin")),
        *(("index_reduce", reduce) for reduce in ("prod", "mean", "amax", "amin")),
    ],
)
@pytest.mark.filterwarnings("ignore:index_reduce")
def test_conventions_are_pytorchs(
    function: str,
    reduce: str,
    include_self: bool,
    source: Any,
) -> None:
    text = f"x.{function}(0, i, y, {reduce!r}, include_self={include_self})"
    arrays = {"x": np.array([2.0, 0.0, 1.0, 5.0]), "y": np.array(source), "i": np.array(PLACES)}
    scope = {n: variable(n, a.shape, dtypes.BY_NAME[a.dtype.name]) for n, a in arrays.items()}
    node = build(parse(Source(text)), scope)
    upstream = np.array([1.0, -2.0, 3.0, 0.5])
    gradients = differentiate(node, [scope["x"], scope["y"]], variable("g", (4,)))
    found = Plan([node, *gradients])({**arrays, "g": upstream})
    x, y = (torch.tensor(arrays[name], requires_grad=True) for name in "xy")
    reduced = getattr(x, function)(0, torch.tensor(PLACES), y, reduce, include_self=include_self)
    reduced.backward(torch.tensor(upstream))
    for ours, theirs in zip(found, (reduced.detach(), x.grad, y.grad), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-12)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("x.scatter_reduce(0, i, y, 'max')", "no reduce 'max'"),
        ("x.index_reduce(0, i, y, 'sum')", "no reduce 'sum'"),
        ("x.scatter(0, i, y, reduce='prod')", "no reduce 'prod'"),
        ("x.index_reduce(0, i, y[:2], 'prod')", r"the shape \(2,\)"),
        ("x.scatter_reduce(0, i.double(), y, 'sum')", "not float64"),
    ],
)
def test_refusals_say_what_is_wrong(text: str, wrong: str) -> None:
    scope = {
        "x": variable("x", (4,)),
        "y": variable("y", (6,)),
        "i": variable("i", (6,), dtypes.int64),
    }
    with pytest.raises(GradcheckError, match=wrong):
        build(parse(Source(text)), scope)
