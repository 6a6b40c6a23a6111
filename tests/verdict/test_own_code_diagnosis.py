"""A Function with a mistake of each kind planted in its backward is caught, and the mistake named."""

# ruff: noqa: ARG005 -- every backward takes the upstream gradient and all inputs

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.autograd import Function

from gradcheck_cli.methods.case import prepare
from gradcheck_cli.methods.torch_method import evaluate_formula
from gradcheck_cli.spec.check import Check, Implementation
from gradcheck_cli.spec.load import load_file, load_text
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from gradcheck_cli.verdict.outcome import CheckOutcome

Tensor = torch.Tensor
# By input, what backward returns: of the upstream gradient and the inputs.
Backward = Callable[..., Any]


def function_of(forward: Callable[..., Tensor], backward: Backward) -> type[Function]:
    """A Function that saves its inputs; `backward(grad, *inputs)` gives a tuple, or the one gradient."""

    def made_forward(ctx: Any, *inputs: Tensor) -> Tensor:
        ctx.save_for_backward(*inputs)
        return forward(*inputs)

    def made_backward(ctx: Any, grad: Tensor) -> Any:
        return backward(grad, *ctx.saved_tensors)

    body = {
        "forward": staticmethod(made_forward),
        "backward": staticmethod(torch.autograd.function.once_differentiable(made_backward)),
    }
    return type("Planted", (Function,), body)


@dataclass
class Planted:
    code: str
    inputs: str
    expression: str
    forward: Callable[..., Tensor]
    right: Backward
    wrong: Backward
    said: str = ""

    def check(self, backward: Backward, dtype: str = "float64") -> Check:
        text = (
            f"version: 1\nname: planted\ninputs: {self.inputs}\nexpression: {self.expression}\n"
            f"implementation: tests:planted\ndtype: {dtype}\n"
        )
        (check,) = load_text(text, "planted.yaml")
        function = function_of(self.forward, backward)
        return replace(check, implementation=Implementation("planted", function))

    def run(self, backward: Backward, dtype: str = "float64") -> CheckOutcome:
        return run_check(self.check(backward, dtype))


def norm_backward(grad: Tensor, x: Tensor) -> Any:
    norm = x.norm()
    return grad / norm - x * (grad * x).sum() / norm**3


PLANTED = {
    "GC101 the 2 of a square": Planted(
        "GC101",
        "{x: {shape: [3, 4]}}",
        "x**2",
        lambda x: x**2,
        lambda g, x: g * 2 * x,
        lambda g, x: g * x,
        "multiply by 2",
    ),
    "GC101 a mean taken for a sum": Planted(
        "GC101",
        "{x: {shape: [3, 5]}}",
        "x.pow(2).mean(1)",
        lambda x: x.pow(2).mean(1),
        lambda g, x: g[:, None] * 2 * x / x.shape[1],
        lambda g, x: g[:, None] * 2 * x,
        "x.shape[1]",
    ),
    "GC102": Planted(
        "GC102",
        "{x: {shape: [3, 4]}}",
        "torch.cos(x)",
        torch.cos,
        lambda g, x: -g * torch.sin(x),
        lambda g, x: g * torch.sin(x),
        "sign",
    ),
    "GC103 the whole": Planted(
        "GC103",
        "{X: {shape: [4, 4]}}",
        "X @ X",
        lambda X: X @ X,
        lambda g, X: g @ X.T + X.T @ g,
        lambda g, X: (g @ X.T + X.T @ g).T,
        "transposed",
    ),
    "GC103 the operands of a product": Planted(
        "GC103",
        "{A: {shape: [3, 3], requires_grad: true}, B: {shape: [3, 3]}}",
        "A @ B",
        lambda A, B: A @ B,
        lambda g, A, B: (g @ B.T, None),
        lambda g, A, B: (g @ B, None),
    ),
    "GC104 the wrong axis": Planted(
        "GC104",
        "{x: {shape: [4, 4]}, bias: {shape: [4]}}",
        "torch.tanh(x) + bias",
        lambda x, bias: torch.tanh(x) + bias,
        lambda g, x, bias: (g * (1 - torch.tanh(x) ** 2), g.sum(0)),
        lambda g, x, bias: (g * (1 - torch.tanh(x) ** 2), g.sum(1)),
    ),
    "GC105 the second occurrence": Planted(
        "GC105",
        "{x: {shape: [3, 4]}}",
        "x * torch.tanh(x)",
        lambda x: x * torch.tanh(x),
        lambda g, x: g * (torch.tanh(x) + x * (1 - torch.tanh(x) ** 2)),
        lambda g, x: g * x * (1 - torch.tanh(x) ** 2),
    ),
    "GC105 a penalty too much": Planted(
        "GC105",
        "{x: {shape: [3, 4]}}",
        "torch.exp(x)",
        torch.exp,
        lambda g, x: g * torch.exp(x),
        lambda g, x: g * torch.exp(x) + x,
    ),
    "GC106 the inner derivative": Planted(
        "GC106",
        "{x: {shape: [3, 4]}}",
        "torch.sin(x**2)",
        lambda x: torch.sin(x**2),
        lambda g, x: g * torch.cos(x**2) * 2 * x,
        lambda g, x: g * torch.cos(x**2),
    ),
    "GC106 the upstream gradient": Planted(
        "GC106",
        "{x: {shape: [3, 4]}}",
        "torch.sin(x)",
        torch.sin,
        lambda g, x: g * torch.cos(x),
        lambda g, x: torch.cos(x),
        "grad",
    ),
    "GC107 the norm": Planted(
        "GC107",
        "{x: {shape: [3, 4]}}",
        "x / x.norm()",
        lambda x: x / x.norm(),
        norm_backward,
        lambda g, x: g / x.norm(),
        "norm",
    ),
    "GC107 the normaliser": Planted(
        "GC107",
        "{x: {shape: [3, 4]}}",
        "x - x.mean(0)",
        lambda x: x - x.mean(0),
        lambda g, x: g - g.mean(0),
        lambda g, x: g,
        "mean",
    ),
    "GC108 a mask": Planted(
        "GC108",
        "{x: {shape: [3, 4]}}",
        "torch.relu(x)",
        torch.relu,
        lambda g, x: g * (x > 0),
        lambda g, x: g,
        "x",
    ),
    "GC108 a slope": Planted(
        "GC108",
        "{x: {shape: [3, 4]}}",
        "F.leaky_relu(x, 0.1)",
        lambda x: torch.nn.functional.leaky_relu(x, 0.1),
        lambda g, x: torch.where(x > 0, g, 0.1 * g),
        lambda g, x: g * (x > 0),
        "x",
    ),
    "GC109 a running sum": Planted(
        "GC109",
        "{x: {shape: [5]}}",
        "x.cumsum(0)",
        lambda x: x.cumsum(0),
        lambda g, x: g.flip(0).cumsum(0).flip(0),
        lambda g, x: g.flip(0).cumsum(0),
    ),
    "GC109 a shift": Planted(
        "GC109",
        "{x: {shape: [3, 5]}}",
        "torch.roll(x**2, 1, 1)",
        lambda x: torch.roll(x**2, 1, 1),
        lambda g, x: torch.roll(g, -1, 1) * 2 * x,
        lambda g, x: torch.roll(torch.roll(g, -1, 1) * 2 * x, 1, 1),
    ),
    "GC110": Planted(
        "GC110",
        "{x: {value: [1.0, 1000.0, -2.0]}}",
        "torch.sigmoid(x)",
        torch.sigmoid,
        lambda g, x: g * torch.sigmoid(x) * (1 - torch.sigmoid(x)),
        lambda g, x: g * (x.exp() / (1 + x.exp())) / (1 + x.exp()),
        "[1]",
    ),
    "GC111 a rounded constant": Planted(
        "GC111",
        "{x: {shape: [3, 4]}}",
        "torch.sin(math.pi * x)",
        lambda x: torch.sin(math.pi * x),
        lambda g, x: g * math.pi * torch.cos(math.pi * x),
        lambda g, x: g * 3.1416 * torch.cos(3.1416 * x),
    ),
    "GC111 a lower precision": Planted(
        "GC111",
        "{x: {shape: [3, 4]}}",
        "torch.exp(x)",
        torch.exp,
        lambda g, x: g * torch.exp(x),
        lambda g, x: (g * torch.exp(x)).float().to(g.dtype),
        "float32",
    ),
    "GC112": Planted(
        "GC112",
        "{x: {shape: [3, 4]}}",
        "torch.exp(x)",
        torch.exp,
        lambda g, x: g * torch.exp(x),
        lambda g, x: torch.zeros_like(x),
        "no gradient",
    ),
    "GC113 another function": Planted(
        "GC113",
        "{x: {shape: [3, 4]}}",
        "torch.tanh(x)",
        torch.tanh,
        lambda g, x: g * (1 - torch.tanh(x) ** 2),
        lambda g, x: g * (1 - torch.sigmoid(x) ** 2),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_mistake_is_named(name: str) -> None:
    planted = PLANTED[name]
    outcome = planted.run(planted.wrong)
    assert outcome.status == "failed"
    wrong = {gradient.input for gradient in outcome.gradients if gradient.outliers}
    assert all(g.outliers in ((), ("implementation",)) for g in outcome.gradients)
    found = [d for d in outcome.diagnoses if d.method == "implementation" and d.input in wrong]
    assert [d.code for d in found if d.code.startswith("GC1")] == [planted.code] * len(wrong), (
        outcome.diagnoses
    )
    (diagnosis,) = (d for d in found if d.code == planted.code)
    assert f"`{diagnosis.input}`" in diagnosis.message
    assert planted.said in diagnosis.message
    assert "gets" in diagnosis.message  # the worst element
    assert diagnosis.fix is not None
    assert "backward" not in diagnosis.fix


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", PLANTED)
def test_the_right_one_passes(name: str, dtype: str) -> None:
    planted = PLANTED[name]
    outcome = planted.run(planted.right, dtype)
    assert outcome.status == "passed", (outcome.diagnoses, outcome.error)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "name",
    [
        "GC101 the 2 of a square",
        "GC104 the wrong axis",
        "GC106 the inner derivative",
        "GC107 the norm",
    ],
)
def test_it_is_named_in_low_precision_too(name: str, dtype: str) -> None:
    """The mistake is looked for in float64, where the code takes that: rounding is not in the way."""
    planted = PLANTED[name]
    outcome = planted.run(planted.wrong, dtype)
    assert outcome.status == "failed"
    assert planted.code in [d.code for d in outcome.diagnoses]


def test_a_large_input_is_explained_on_a_small_one() -> None:
    planted = PLANTED["GC106 the inner derivative"]
    large = replace(planted, inputs="{x: {shape: [130, 130]}}")
    outcome = large.run(large.wrong)
    assert [d.code for d in outcome.diagnoses] == ["GC106"]


def test_second_derivatives_are_explained() -> None:
    class Halved(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Any:
            (x,) = ctx.saved_tensors
            return grad * 3 * x * x.detach()

    text = (
        "version: 1\ninputs: {x: {shape: [3, 4]}}\nexpression: x**3\norder: 2\n"
        "implementation: tests:halved\n"
    )
    (check,) = load_text(text, "second.yaml")
    outcome = run_check(replace(check, implementation=Implementation("halved", Halved)))
    assert outcome.status == "failed"
    (diagnosis,) = (d for d in outcome.diagnoses if d.code.startswith("GC1"))
    assert diagnosis.code == "GC101"
    assert "second derivative" in diagnosis.message


def as_code(check: Check) -> Check:
    """A check whose manual formulas are what the backward pass of a Function computes."""
    case = prepare(check)
    names = [spec.name for spec in check.inputs]

    def tensors(inputs: Any) -> dict[str, Any]:
        scope: dict[str, Any] = dict(zip(names, inputs, strict=True))
        for name, formula in case.let.items():
            scope[name] = evaluate_formula(formula, scope)
        return scope

    class Code(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Any:
            ctx.save_for_backward(*inputs)
            return evaluate_formula(case.expression, tensors(inputs))

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx: Any, grad: Tensor) -> Any:
            scope = {**tensors(ctx.saved_tensors), "grad": grad}
            gradients = []
            for name in names:
                gradient = None
                if name in case.formulas:
                    gradient = torch.as_tensor(evaluate_formula(case.formulas[name], scope))
                    gradient = gradient.to(grad.dtype).expand(scope[name].shape).clone()
                gradients.append(gradient)
            return tuple(gradients)

    wrt = tuple(name for name in check.wrt if name in check.manual)
    bare = replace(check, manual={}, manual_sources={}, wrt=wrt, expect_fail=False)
    return replace(bare, implementation=Implementation("code", Code))


MISTAKES = sorted((Path(__file__).parents[2] / "specs" / "mistakes").glob("*.yaml"))


@pytest.mark.slow
@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_the_same_mistakes_are_named_in_code_as_in_formulas(path: Path) -> None:
    for check in load_file(path):
        outcome = run_check(as_code(check))
        assert outcome.status == "failed"
        found = {d.code for d in outcome.diagnoses if d.code.startswith("GC1")}
        assert check.expect_code is None or check.expect_code in found, outcome.diagnoses
