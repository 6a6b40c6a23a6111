"""Convolutions that take several tiles and blocks, and what the language refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- PyTorch's own abbreviation

from gradcheck_cli.dtypes import BY_NAME
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.ops import convolve

Shape = tuple[int, ...]


@pytest.mark.parametrize(
    ("x", "weight", "stride", "padding", "groups"),
    [
        (
            (3, 8, 70, 91),
            (16, 8, 3, 3),
            1,
            0,
            1,
        ),  # rows of an image make a tile, some are left over
        ((5, 8, 41, 50), (16, 4, 3, 5), 2, 1, 2),
        ((301, 3, 6, 6), (4, 3, 3, 3), 1, 1, 1),  # images make a tile
        ((2, 64, 20, 20), (128, 64, 3, 3), 1, 0, 1),  # products large enough for several threads
        ((4, 32, 28, 28), (32, 1, 3, 3), 1, 1, 32),
        ((1, 1, 200, 150), (9, 1, 5, 5), 1, 0, 1),  # spread, not turned around
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_against_pytorch(
    x: Shape, weight: Shape, stride: int, padding: int, groups: int, dtype: Any
) -> None:
    rng = np.random.default_rng(0)
    image, filters = (rng.standard_normal(shape).astype(dtype) for shape in (x, weight))
    leaves = [torch.tensor(a, requires_grad=True) for a in (image, filters)]
    result = F.conv2d(leaves[0], leaves[1], stride=stride, padding=padding, groups=groups)
    upstream = rng.standard_normal(tuple(result.shape)).astype(dtype)
    expected = torch.autograd.grad(result, leaves, torch.tensor(upstream))
    window = ((stride,), (padding,), (1,), groups)
    found = (
        convolve.convolve(2, image, filters, None, *window),
        convolve.input_gradient(filters, upstream, x, *window),
        convolve.weight_gradient(image, upstream, weight, *window),
    )
    for ours, theirs in zip(found, (result, *expected), strict=True):
        reference = theirs.detach().numpy()
        assert ours.dtype == dtype
        scale = np.abs(reference).max()
        np.testing.assert_allclose(
            ours, reference, rtol=0, atol=scale * (1e-12 if dtype is np.float64 else 1e-4)
        )


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("F.conv2d(x, w, groups=2)", "needs an input of 6 channels, not 3"),
        ("F.conv2d(x, w, stride=0)", "stride must be positive"),
        ("F.conv2d(x, w, stride=(1, 1, 1))", "one whole number or 2 of them"),
        ("F.conv2d(x, w, padding=-1)", "padding must be at least 0"),
        ("F.conv2d(x[:, :, :2], w)", "kernel of size (3, 2), larger than the input's (2, 9)"),
        ("F.conv2d(x, w, b[:3])", "a bias of shape (4,), not (3,)"),
        ("F.conv2d(x.float(), w)", "of one dtype, not float32 and float64"),
        ("F.conv2d(x, w, padding='same', stride=2)", "for a stride of 1"),
        ("F.conv2d(x, w, padding='full')", "'same', 'valid' or whole numbers"),
        ("F.conv2d(x[0, 0], w)", "(batch, channels, height, width)"),
        ("F.conv_transpose2d(x, w[:3], padding=5)", "would have the size"),
        ("torch.nn.grad.conv2d_weight(x, (4, 3, 3, 3), b)", "grad_output of shape (2, 4, 6, 7)"),
    ],
)
def test_refusals(call: str, reason: str) -> None:
    shapes = {"x": (2, 3, 8, 9), "w": (4, 3, 3, 2), "b": (4,)}
    scope = {name: variable(name, shape, BY_NAME["float64"]) for name, shape in shapes.items()}
    with pytest.raises(GradcheckError) as error:
        build(parse(Source(call)), scope)
    assert reason in error.value.problems[0].message
