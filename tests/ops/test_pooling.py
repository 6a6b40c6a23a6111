"""What max pooling does at ties, NaN and infinities: as PyTorch, with and without overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 -- PyTorch's own abbreviation

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.engine.program import Program
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse

NAN, INF = np.nan, np.inf
AWKWARD = {
    "ties": np.zeros((1, 1, 6, 6)),
    "some ties": np.array([[[[1.0, 0, 2, 2, 3, 3], [0, 1, 2, 2, 3, 4]] * 3]]),
    "NaN": np.array([[[[1.0, NAN, 2, 2, NAN, NAN], [NAN, 1, 2, 5, NAN, NAN]] * 3]]),
    "infinite": np.array([[[[-INF, -INF, INF, INF, -INF, 0], [-INF] * 6] * 3]]),
    "nothing but -infinity": np.full((1, 1, 6, 6), -INF),
}


@pytest.mark.parametrize("values", [pytest.param(v, id=k) for k, v in AWKWARD.items()])
@pytest.mark.parametrize(
    "text",
    [
        "F.max_pool2d(x, 2)",
        "F.max_pool2d(x, (1, 3))",
        "F.max_pool2d(x, 3, 3, 1)",
        "F.max_pool2d(x, 3, 2, 1)",
        "F.max_pool2d(x, 2, 1, 1, 2)",
        "F.max_pool2d(x, 3, 2, ceil_mode=True)",
    ],
)
def test_the_gradient_goes_where_pytorch_sends_it(text: str, values: Any) -> None:
    leaf = torch.tensor(values, requires_grad=True)
    result = eval(text, {"F": F, "x": leaf})
    upstream = np.random.default_rng(0).standard_normal(tuple(result.shape))
    (expected,) = torch.autograd.grad(result, leaf, torch.tensor(upstream))
    x, grad = variable("x", values.shape), variable("grad", upstream.shape)
    node = build(parse(Source(text)), {"x": x})
    nodes = [node, *differentiate(node, [x], grad)]
    one_by_one = Plan(nodes)({"x": values, "grad": upstream})
    planned = Program(nodes, ["x", "grad"])(values, upstream)
    for found in (one_by_one, planned):
        np.testing.assert_array_equal(found[0], result.detach().numpy())
        np.testing.assert_allclose(found[1], expected.numpy(), rtol=1e-12)
    places = build(parse(Source(f"{text[:-1]}, return_indices=True)[1]")), {"x": x})
    _, reference = eval(f"{text[:-1]}, return_indices=True)", {"F": F, "x": leaf})
    np.testing.assert_array_equal(Plan([places])({"x": values})[0], reference.numpy())


def test_the_gradient_prints_in_pytorchs_words() -> None:
    from gradcheck_cli.lang.printer import to_text

    x = variable("x", (1, 1, 4, 4))
    node = build(parse(Source("F.max_pool2d(x, 2).sum()")), {"x": x})
    (gradient,) = differentiate(node, [x])
    text = to_text(gradient)
    assert (
        "F.max_pool2d_with_indices(x, 2)[1]" in text or "max_pool2d_with_indices(x, 2)[1]" in text
    )
    assert build(parse(Source(text)), {"x": x}) is gradient
