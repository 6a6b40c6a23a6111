"""Segments: zeros, ties, NaN, what is left out, and second derivatives, which PyTorch doesn't have."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = [1.0, 0.0, 0.0, 3.0, 0.0, 2.0, math.nan, 4.0, 5.0, 5.0]
REDUCTIONS = ["sum", "mean", "max", "min", "prod"]


@pytest.mark.parametrize("initial", ["", ", initial=4.5"])
@pytest.mark.parametrize(
    ("cut", "by"),
    [("lengths", [4, 2, 2, 0, 2]), ("offsets", [0, 4, 6, 8, 8, 10]), ("offsets", [1, 3, 6])],
)
@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_conventions_are_pytorchs(
    reduce: str,
    cut: str,
    by: list[int],
    initial: str,
    value_of: Callable[..., Any],
    slope_of: Callable[..., Any],
) -> None:
    text = f"torch.segment_reduce(x, {reduce!r}, {cut}=n{initial})"
    leaf = torch.tensor(DATA, dtype=torch.float64, requires_grad=True)
    result = eval(text, {"torch": torch, "x": leaf, "n": torch.tensor(by)})
    result.sum().backward()
    assert leaf.grad is not None
    np.testing.assert_allclose(value_of(text, x=DATA, n=by), result.detach().numpy())
    np.testing.assert_allclose(slope_of(text, x=DATA, n=by), leaf.grad.numpy())


@pytest.mark.parametrize("reduce", REDUCTIONS)
def test_second_derivatives_are_those_of_each_segment(reduce: str) -> None:
    data = np.array([[2.0, 0.0, -1.0, 0.0, 0.0, 3.0], [1.0, 2.0, -3.0, 0.5, 4.0, -2.0]])
    lengths = np.array([[1, 2, 3], [4, 0, 2]])
    x = variable("x", data.shape)
    scope = {"x": x, "n": build(parse(Source("i.long()")), {"i": variable("i", (2, 3))})}
    text = f"torch.segment_reduce(x, {reduce!r}, lengths=n, axis=1)"
    (gradient,) = differentiate(build(parse(Source(text)), scope), [x], variable("g", (2, 3)))
    (second,) = differentiate((gradient * variable("w", data.shape)).sum(), [x])
    g, w = np.array([[1.0, -2.0, 0.5], [3.0, 0.0, 1.5]]), np.cos(np.arange(12.0)).reshape(2, 6)
    found = Plan([second])({"x": data, "i": lengths.astype(float), "g": g, "w": w})[0]
    for row in range(2):
        leaf = torch.tensor(data[row], requires_grad=True)
        whole = {"max": "amax", "min": "amin"}.get(reduce, reduce)
        parts = leaf.split(lengths[row].tolist())  # type: ignore[no-untyped-call]
        terms = [getattr(part, whole)() * g[row, s] for s, part in enumerate(parts) if part.numel()]
        (first,) = torch.autograd.grad(sum(terms, leaf.sum() * 0), leaf, create_graph=True)
        expected = torch.zeros(6)
        if first.requires_grad:
            (expected,) = torch.autograd.grad((first * torch.tensor(w[row])).sum(), leaf)
        np.testing.assert_allclose(found[row], expected.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("torch.segment_reduce(x, 'median', lengths=n)", "median"),
        ("torch.segment_reduce(x, 'sum')", "no segments"),
        ("torch.segment_reduce(x, 'sum', indices=n)", "indices"),
        ("torch.segment_reduce(x.long(), 'sum', lengths=n)", "int64"),
        ("torch.segment_reduce(x, 'sum', lengths=n.double())", "whole numbers"),
        ("torch.segment_reduce(x, 'sum', lengths=n, axis=1)", "out of range"),
        ("torch.segment_reduce(x, 'sum', lengths=n.reshape(1, 2))", "don't cut dimension 0"),
    ],
)
def test_refused_as_in_pytorch(text: str, fragment: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError, match=fragment):
        value_of(text, x=[1.0, 2.0, 3.0], n=[1, 2])


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        ("lengths=n", "add up to 2, not to 3"),
        ("lengths=4 * n, unsafe=True", "within 3 elements"),
        ("offsets=1 - n", "within 3 elements"),
    ],
)
def test_segments_beyond_the_data_are_refused_when_computed(
    arguments: str, fragment: str, value_of: Callable[..., Any]
) -> None:
    text = f"torch.segment_reduce(x, 'sum', {arguments})"
    with pytest.raises(Invalid, match=fragment):
        value_of(text, x=[1.0, 2.0, 3.0], n=[0, 2])
