"""Resizing, sampling and pooling where it is awkward: as PyTorch at edges, ties, NaN and infinities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- PyTorch's own abbreviation

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse

NAN, INF = np.nan, np.inf


def compare(text: str, **arrays: Any) -> None:
    """Value and gradients in PyTorch and here, NaN where it has NaN."""
    leaves = {
        name: torch.tensor(a, requires_grad=a.dtype.kind == "f") for name, a in arrays.items()
    }
    result = eval(text, {"F": F, "torch": torch, "math": math, **leaves})
    wrt = [leaf for leaf in leaves.values() if leaf.requires_grad]
    upstream = np.random.default_rng(0).standard_normal(tuple(result.shape))
    expected = torch.autograd.grad(result, wrt, torch.tensor(upstream), materialize_grads=True)
    scope = {name: variable(name, array.shape) for name, array in arrays.items()}
    node = build(parse(Source(text)), scope)
    nodes = [node, *differentiate(node, list(scope.values()), variable("grad", upstream.shape))]
    found = Plan(nodes)({**arrays, "grad": upstream})
    for ours, theirs in zip(found, (result, *expected), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-10, atol=1e-12)


AWKWARD = {
    "ties": np.zeros((1, 1, 5, 7)),
    "some ties": np.array([[[[1.0, 0, 2, 2, 3, 3, 1], [0, 1, 2, 2, 3, 4, 4]] * 2]]),
    "NaN": np.array([[[[1.0, NAN, 2, 2, NAN, NAN, 0], [NAN, 1, 2, 5, NAN, NAN, 1]] * 2]]),
    "infinite": np.array([[[[-INF, -INF, INF, INF, -INF, 0, 1], [-INF] * 7] * 2]]),
}


@pytest.mark.parametrize("values", [pytest.param(v, id=k) for k, v in AWKWARD.items()])
@pytest.mark.parametrize(
    "text",
    [
        "F.adaptive_max_pool2d(x, 3)",
        "F.adaptive_max_pool2d(x, (None, 9))",
        "F.adaptive_max_pool3d(x, (1, 3, 2))",
        "F.adaptive_max_pool1d(x.flatten(1), 4)",
        "F.adaptive_avg_pool2d(x, (3, 4))",
        "F.fractional_max_pool2d(x, 2, (2, 4), _random_samples=torch.tensor([[[0.3, 0.8]]]).double())",
        "F.max_pool3d(x, (1, 2, 2), 1, (0, 1, 1))",
        "F.max_pool3d(x, (1, 2, 3))",
        "F.interpolate(x, (3, 9), mode='bilinear')",
        "F.interpolate(x, (6, 3), mode='nearest')",
        "F.interpolate(x, 3, mode='area')",
        "F.lp_pool2d(x, 2, 2)",
        "F.lp_pool2d(x, math.inf, 2)",
        "F.local_response_norm(x.expand(1, 3, -1, -1), 2)",
    ],
)
def test_awkward_values(text: str, values: Any) -> None:
    compare(text, x=values)


def test_the_mean_of_a_part_does_not_see_its_neighbours() -> None:
    x = variable("x", (1, 1, 5))
    node = build(parse(Source("F.adaptive_avg_pool1d(x, 3)")), {"x": x})
    (found,) = Plan([node])({"x": np.array([[[INF, 1.0, 2.0, 4.0, NAN]]])})
    np.testing.assert_array_equal(found, [[[INF, 7 / 3, NAN]]])


# On elements, between them, at the outer edges, beyond, far beyond.
PLACES = [-1.0, -2 / 3, -1 / 3, 0.0, 0.25, 1 / 3, 0.5, 2 / 3, 1.0, -1.2, 4 / 3, 1.9, -5.3, 17.0]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_sampling_at_elements_and_edges(mode: str, padding: str, corners: bool) -> None:
    rng = np.random.default_rng(3)
    grid = np.array([[[[p, q] for p in PLACES] for q in (-1.0, 0.0, 0.3, 1.0)]])
    # Exact halves are rounded to even, and places are exact in both only where they are computed alike.
    image = rng.standard_normal((1, 2, 4, 4))
    compare(f"F.grid_sample(x, y, {mode!r}, {padding!r}, {corners})", x=image, y=grid)


@pytest.mark.parametrize("corners", [False, True])
def test_sampling_where_the_grid_is_not_finite(corners: bool) -> None:
    grid = np.array([[[[NAN, 0.1], [INF, 0.1], [0.2, -INF], [1e30, 0.3]]]])
    image = np.random.default_rng(4).standard_normal((1, 1, 3, 3))
    for mode in ("bilinear", "bicubic", "nearest"):
        compare(f"F.grid_sample(x, y, {mode!r}, 'zeros', {corners})", x=image, y=grid)
    # For NaN PyTorch itself may crash in the gradient; its value is that of the first element.
    text = f"F.grid_sample(x, y, 'bilinear', 'border', {corners})"
    node = build(
        parse(Source(text)), {"x": variable("x", (1, 1, 3, 3)), "y": variable("y", (1, 1, 4, 2))}
    )
    (found,) = Plan([node])({"x": image, "y": grid})
    expected = F.grid_sample(torch.tensor(image), torch.tensor(grid), "bilinear", "border", corners)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-12)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_the_nearest_elements_are_pytorchs(mode: str) -> None:
    """Their places are halfway between two elements often enough for rounding to decide."""
    for size, out in ((2, 41), (2, 49), (2, 82), (2, 98), (7, 14), (9, 7), (10, 3), (49, 13)):
        image = np.arange(2.0 * size).reshape(1, 2, size)
        text = f"F.interpolate(x, {out}, mode={mode!r})"
        (found,) = Plan([build(parse(Source(text)), {"x": variable("x", image.shape)})])(
            {"x": image}
        )
        expected = F.interpolate(torch.tensor(image), out, mode=mode)
        np.testing.assert_array_equal(found, expected.numpy(), text)


def test_pytorchs_bicubic_gradient_forgets_the_factor_where_the_size_stays() -> None:
    """Its backward takes a shortcut that its forward doesn't; differences are on our side."""
    image = np.random.default_rng(5).standard_normal((1, 1, 4, 3))
    x = variable("x", image.shape)
    node = build(parse(Source("F.interpolate(x, scale_factor=1.2, mode='bicubic')")), {"x": x})
    value, gradient = Plan([node, *differentiate(node.sum(), [x])])({"x": image})
    expected = F.interpolate(torch.tensor(image), scale_factor=1.2, mode="bicubic")
    np.testing.assert_allclose(value, expected.numpy(), rtol=1e-12)
    moved = image.copy()
    moved[0, 0, 1, 1] += 1.0  # it is linear
    difference = Plan([node])({"x": moved})[0].sum() - value.sum()
    np.testing.assert_allclose(gradient[0, 0, 1, 1], difference, rtol=1e-10)
    assert abs(difference - 1) > 0.01


REFUSED = {
    "F.interpolate(x)": "needs either size or scale_factor",
    "F.interpolate(x, 3, 2)": "needs either size or scale_factor",
    "F.interpolate(x, (3,) * 3)": None,
    "F.interpolate(x, (1, 2, 3))": "size is one number or 2",
    "F.interpolate(x, 3, mode='linear')": "mode='linear' is for inputs of 3 dimensions",
    "F.interpolate(x, 3, mode='cubic')": "no mode 'cubic'",
    "F.interpolate(x, 3, align_corners=True)": "align_corners has no meaning",
    "F.interpolate(x, 3, antialias=True)": "antialias=True is for",
    "F.interpolate(x, 3, mode='lanczos')": "needs antialias=True",
    "F.interpolate(x, 0)": "leaves nothing",
    "F.interpolate(x, 3, recompute_scale_factor=True)": "no meaning with a size",
    "F.interpolate(x[:, :0], 3)": "only the batch",
    "F.grid_sample(x, x, align_corners=True)": "and a grid",
    "F.grid_sample(x, y, 'cubic')": "no mode 'cubic'",
    "F.grid_sample(x, y, padding_mode='zero')": "no padding_mode 'zero'",
    "F.grid_sample(x.unsqueeze(2), y.unsqueeze(2), 'bicubic', 'zeros', True)": None,
    "F.grid_sample(x, y.float(), align_corners=True)": "of one floating dtype",
    "F.affine_grid(y[0], (3, 1, 4, 4), True)": "needs matrices",
    "F.affine_grid(y[0], (3, 1, 4), True)": "a size of 4 or 5 numbers",
    "F.adaptive_max_pool2d(x, (1, 2, 3))": "output_size is one whole number or 2",
    "F.adaptive_avg_pool2d(x, -1)": "at least 0",
    "F.adaptive_max_pool2d(x[:, :0], 2)": "only the batch",
    "F.fractional_max_pool2d(x, 2, 2)": "is random",
    "F.fractional_max_pool2d(x, 2, _random_samples=y[0, :2, :2].unsqueeze(0))": "needs an output_size",
    "F.fractional_max_pool2d(x, 2, 9, _random_samples=y[0, :2, :2].unsqueeze(0))": "finds no",
    "F.local_response_norm(x[0, 0], 2)": "needs an input",
    "F.max_unpool2d(x.long(), x.long(), 2)": "floating-point",
    "F.conv_transpose2d(x, x.transpose(0, 1), output_padding=1)": "must be smaller than the stride",
}


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_what_pytorch_refuses_is_refused_with_a_reason(text: str, reason: str | None) -> None:
    image, grid = torch.randn(1, 2, 4, 4).double(), torch.randn(1, 3, 3, 2).double()
    if reason != "is random":
        with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
            eval(text, {"F": F, "x": image, "y": grid})
    scope = {"x": variable("x", (1, 2, 4, 4)), "y": variable("y", (1, 3, 3, 2))}
    with pytest.raises(GradcheckError) as caught:
        build(parse(Source(text)), scope)
    if reason is not None:
        assert reason in str(caught.value)
