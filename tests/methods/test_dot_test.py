"""Forward against backward: right where both are, and telling who is wrong where one isn't."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gradcheck_cli.methods import run
from gradcheck_cli.methods.case import Case, prepare
from gradcheck_cli.methods.dot_test import DotTest, along, dot_test
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check


def case_of(text: str) -> Case:
    return prepare(load_text(f"version: 1\n{text}")[0])


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    "expression",
    [
        "(x @ y).exp().sum()",
        "torch.linalg.inv(x.T @ x + torch.eye(2)) @ y",
        "F.layer_norm(x * y, (2,)).relu()",
        "x[:, 0].cumsum(0) * y[0] + x.detach().sum()",
    ],
)
def test_all_products_are_the_same_where_nothing_is_wrong(expression: str, order: int) -> None:
    case = case_of(
        f"inputs: {{x: {{shape: [3, 2]}}, y: {{shape: [2]}}}}\nexpression: {expression!r}\n"
    )
    for name in case.wrt:
        test = dot_test(case, name, order)
        assert test.forward == pytest.approx(test.torch, rel=1e-9)
        assert test.engine == pytest.approx(test.torch, rel=1e-9)
        assert abs(test.difference - test.engine) <= test.error + 1e-7 * abs(test.engine)
        assert test.sides_with() is None


def test_differences_along_a_direction_are_those_of_the_whole_function() -> None:
    case = case_of("inputs: {t: {shape: [3]}, u: {shape: [3]}}\nexpression: (t * u).sin()\n")
    direction = np.array([1.0, -1.0, 2.0])
    line, time = along(case, "t", direction)
    assert time not in case.arrays
    found = run("numeric", line).estimates[time].gradient
    t, u, v = (case.arrays[name] for name in ("t", "u", "grad"))
    assert float(found) == pytest.approx(float((v * np.cos(t * u) * u * direction).sum()), rel=1e-9)


@pytest.mark.parametrize(
    ("test", "wrong", "said", "side"),
    [
        (DotTest(1.0, 2.0, 2.0, 2.0, 1e-6), "torch", "contradicts its own backward pass", "engine"),
        (DotTest(1.0, 2.0, 1.0, 2.0, 1e-6), "torch", "makes the same mistake", "engine"),
        (DotTest(1.0, 2.0, 1.0, 1.0, 1e-6), "engine", "agrees with its backward pass", "torch"),
        (DotTest(1.0, 2.0, None, 2.0, 0.5), "torch", None, None),
        (DotTest(1.0, 2.0, 7.0, 7.0, 0.0), "torch", None, None),
        (DotTest(np.nan, 2.0, 2.0, 2.0, 0.0), "torch", "contradicts its own backward", "engine"),
    ],
)
def test_what_is_said(test: DotTest, wrong: str, said: str | None, side: str | None) -> None:
    sentence = test.sentence(wrong)
    assert sentence is None if said is None else said in (sentence or "")
    assert test.sides_with() == side


def test_a_wrong_backward_pass_is_contradicted_by_forward_mode(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(x: torch.Tensor) -> torch.Tensor:
            return x.sin()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, _: torch.Tensor) -> None:
            (x,) = inputs
            ctx.save_for_backward(x)
            ctx.save_for_forward(x)

        @staticmethod
        def backward(ctx: Any, *upstream: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            return torch.mul(upstream[0], x.cos() * 0.5)

        @staticmethod
        def jvp(ctx: Any, *tangents: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            return torch.mul(tangents[0], x.cos())

    monkeypatch.setattr(torch, "sin", Wrong.apply)
    text = "version: 1\ninputs: {x: {shape: [4]}}\nexpression: torch.sin(x * 2).exp()\n"
    outcome = run_check(load_text(text)[0])
    (found,) = (d for d in outcome.diagnoses if d.method == "torch")
    assert found.operator == "torch.sin"
    said = "PyTorch's forward mode agrees with the engine and contradicts its own backward pass"
    assert found.message.endswith(said)
