"""Complex numbers where PyTorch's conventions show: at zero, on branches, and who may take them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.torch_method import evaluate_formula

X = np.array([0.0, 1.0, -1.5, -2.0, 0.25])
Y = np.array([0.0, 2.0, 0.5, -3.0, -0.75])


def both(text: str, x: Any = X, y: Any = Y) -> tuple[list[Any], list[Any]]:
    """Value and gradients, by the engine and by PyTorch."""
    arrays = {"x": x, "y": y}
    scope = {name: variable(name, array.shape) for name, array in arrays.items()}
    formula = parse(Source(text))
    node = build(formula, scope)
    upstream = np.linspace(0.5, 1.5, node.elements).reshape(node.shape)
    nodes = [node, *differentiate(node, list(scope.values()), variable("grad", node.shape))]
    ours = Plan(nodes)({**arrays, "grad": upstream})
    leaves = {name: torch.tensor(array, requires_grad=True) for name, array in arrays.items()}
    value = evaluate_formula(formula, leaves)
    found = torch.autograd.grad(
        value, list(leaves.values()), torch.tensor(upstream), materialize_grads=True
    )
    return ours, [tensor.numpy(force=True) for tensor in (value, *found)]


Z = "torch.complex(x, y)"


@pytest.mark.parametrize(
    "text",
    [
        f"{Z}.abs()",
        f"{Z}.angle()",
        f"torch.view_as_real({Z}.sgn())",
        f"({Z} * {Z}.conj()).real + ({Z} * x).imag",
        f"({Z} + 1.5).log().real + ({Z} - 0.5).sqrt().imag",
        f"({Z} ** 2 / ({Z} + 3)).abs()",
        f"torch.where(x > 0, {Z}, {Z} * 2).imag",
        f"({Z}.unsqueeze(1) @ {Z}.unsqueeze(0)).mH.real",
        f"torch.vdot({Z}, {Z} * x).imag",
        f"torch.linalg.vecdot({Z}, {Z} + y).imag",
        f"torch.view_as_real({Z}.to(torch.complex128) + x)",
        f"{Z}.detach().imag * x",
        f"({Z} == x).double() * x",
        f"torch.fft.ifft(torch.fft.fft({Z}) * {Z}).abs()",
        f"torch.fft.irfft({Z}, n=7) * torch.fft.hfft({Z}, n=7)",
        "torch.polar(x.exp(), y).real",
    ],
)
def test_value_and_gradient_are_pytorch_s(text: str) -> None:
    for ours, theirs in zip(*both(text), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("function", ["acosh", "asinh", "atanh", "acos", "asin", "log1p", "rsqrt"])
def test_branches_are_pytorch_s(function: str) -> None:
    angles = np.linspace(0.1, 2 * math.pi - 0.1, 12)
    for radius in (0.4, 1.3, 5.0):
        x, y = radius * np.cos(angles), radius * np.sin(angles)
        for ours, theirs in zip(*both(f"{Z}.{function}().imag", x, y), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{Z} > 0", "gt() isn't available for complex tensors (complex128)"),
        (f"{Z}.var()", "var() isn't available for complex tensors (complex128)"),
        (f"torch.masked.sum({Z})", "sum() isn't available for complex tensors (complex128)"),
        (f"{Z}.to(torch.float64)", "its imaginary part would be lost"),
        ("torch.imag(x)", "imag is for complex tensors, and this one is float64"),
        ("torch.complex(x, i)", "complex() needs two float32 or two float64 tensors"),
    ],
)
def test_what_complex_tensors_can_not_do_is_refused(text: str, message: str) -> None:
    from gradcheck_cli import dtypes

    scope = {"x": variable("x", (2,)), "y": variable("y", (2,))}
    scope["i"] = variable("i", (2,), dtypes.int64)
    with pytest.raises(GradcheckError) as caught:
        build(parse(Source(text)), scope)
    assert message in caught.value.problems[0].message
