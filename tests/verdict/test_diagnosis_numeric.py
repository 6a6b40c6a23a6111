"""Mistakes made by hand, each with the code that names it and a repair that passes: terms, factors, what was
held constant, regions, numbers that are none, nearly right, no gradient."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.codes import CODES
from gradcheck_cli.errors import Source
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.verdict.diagnosis import Suspect, diagnose

if TYPE_CHECKING:
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.verdict.outcome import CheckOutcome, Diagnosis


@dataclass(frozen=True)
class Mistake:
    """A wrong formula for the first checked input of an expression, and the right one where it is short.

    Inputs that are `fixed` require no gradient.
    """

    code: str
    name: str
    expression: str
    right: str
    wrong: str
    inputs: str
    let: str = "{}"
    repaired: bool = True

    @property
    def check(self) -> Check:
        """The check without a formula."""
        inputs = self.inputs.replace("fixed}", "requires_grad: false}")
        text = (
            f"version: 1\ninputs: {inputs}\nlet: {self.let}\nmethods: [engine, manual, numeric]\n"
        )
        (check,) = load_text(f"{text}expression: {self.expression!r}\n")
        return check

    def outcome(self, formula: str) -> CheckOutcome:
        """With `formula` as the person's."""
        check = self.check
        return run_check(replace(check, manual={check.wrt[0]: Source(formula)}))

    def found(self) -> Diagnosis:
        """What is said of the wrong one."""
        outcome = self.outcome(self.wrong)
        assert outcome.status == "failed", outcome
        (found,) = [d for d in outcome.diagnoses if d.code.startswith("GC1")]
        assert found.method == "manual"
        return found


MISTAKES = [
    Mistake(
        "GC105",
        "logit penalty",
        "(x - y).square().sum() + 0.5 * x.abs().sum()",
        "2 * (x - y) + 0.5 * x.sign()",
        "2 * (x - y)",
        "{x: {shape: [4, 6]}, y: {shape: [4, 6], fixed}}",
    ),
    Mistake(
        "GC105",
        "second path",
        "(x * tanh(x)).sum()",
        "tanh(x) + x * (1 - tanh(x)**2)",
        "tanh(x)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC105",
        "second path b",
        "(x * tanh(x)).sum()",
        "tanh(x) + x * (1 - tanh(x)**2)",
        "x * (1 - tanh(x)**2)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC105",
        "one minus",
        "sigmoid(x)",
        "grad * sigmoid(x) * (1 - sigmoid(x))",
        "grad * sigmoid(x) * (-sigmoid(x))",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake("GC105", "extra one", "x.square().sum()", "2 * x", "2 * x + 1", "{x: {shape: [4, 6]}}"),
    Mistake(
        "GC105",
        "extra term inside",
        "tanh(x)",
        "grad * (1 - tanh(x)**2)",
        "grad * (1 - tanh(x)**2 + x)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC105",
        "quadratic one side",
        "x @ A @ x + b @ x",
        "(A + A.T) @ x + b",
        "(A + A.T) @ x",
        "{x: {shape: [5]}, A: {shape: [5, 5], fixed}, b: {shape: [5], fixed}}",
    ),
    Mistake(
        "GC105",
        "swish term",
        "F.silu(x)",
        "grad * (sigmoid(x) + x * sigmoid(x) * (1 - sigmoid(x)))",
        "grad * x * sigmoid(x) * (1 - sigmoid(x))",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC105",
        "log term",
        "(x * x.log()).sum()",
        "x.log() + 1",
        "x.log()",
        "{x: {shape: [4, 6], sample: positive}}",
    ),
    Mistake(
        "GC105", "KL extra", "(exp(v) - v).sum()", "exp(v) - 1", "exp(v)", "{v: {shape: [4, 6]}}"
    ),
    Mistake(
        "GC105",
        "ridge",
        "(X @ w - y).square().sum() / y.numel() + lam * w.square().sum()",
        "2 * X.T @ (X @ w - y) / y.numel() + 2 * lam * w",
        "2 * X.T @ (X @ w - y) / y.numel()",
        "{X: {shape: [6, 3], fixed}, w: {shape: [3], requires_grad: true}, y: {shape: [6], fixed}, "
        "lam: {shape: [], sample: positive, fixed}}",
    ),
    Mistake(
        "GC105",
        "weight decay in",
        "F.mse_loss(X @ w, y)",
        "2 * X.T @ (X @ w - y) / y.numel()",
        "2 * X.T @ (X @ w - y) / y.numel() + 0.01 * w",
        "{X: {shape: [6, 3], fixed}, w: {shape: [3], requires_grad: true}, y: {shape: [6], fixed}}",
    ),
    Mistake(
        "GC105",
        "gelu pdf",
        "F.gelu(x)",
        "grad * (cdf + x * pdf)",
        "grad * cdf",
        "{x: {shape: [4, 6]}}",
        let="{cdf: '0.5 * (1 + erf(x / 2**0.5))', pdf: 'exp(-x**2 / 2) / (2 * math.pi)**0.5'}",
    ),
    Mistake(
        "GC105",
        "residual in product",
        "(A @ x - b).square().sum()",
        "2 * A.T @ (A @ x - b)",
        "2 * A.T @ (A @ x)",
        "{A: {shape: [6, 3], fixed}, x: {shape: [3], requires_grad: true}, b: {shape: [6], fixed}}",
    ),
    Mistake(
        "GC105",
        "skip connection",
        "x + relu(x @ W)",
        "grad + (grad * (x @ W > 0)) @ W.T",
        "(grad * (x @ W > 0)) @ W.T",
        "{x: {shape: [4, 3], requires_grad: true}, W: {shape: [3, 3], fixed}}",
    ),
    Mistake(
        "GC105",
        "shared weight",
        "(A @ B @ A).sum()",
        "torch.ones(3, 3) @ (B @ A).T + (A @ B).T @ torch.ones(3, 3)",
        "torch.ones(3, 3) @ (B @ A).T",
        "{A: {shape: [3, 3], requires_grad: true}, B: {shape: [3, 3], fixed}}",
    ),
    Mistake(
        "GC106",
        "outer only",
        "exp(x**2)",
        "grad * exp(x**2) * 2 * x",
        "grad * exp(x**2)",
        "{x: {shape: [4, 6], std: 0.5}}",
    ),
    Mistake(
        "GC106",
        "log inner",
        "log(1 + x**2)",
        "grad * 2 * x / (1 + x**2)",
        "grad / (1 + x**2)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC106",
        "sqrt inner",
        "sqrt(1 + x**2).sum()",
        "x / sqrt(1 + x**2)",
        "1 / sqrt(1 + x**2)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC106",
        "scale forgotten",
        "(a * x).sin().sum()",
        "a * (a * x).cos()",
        "(a * x).cos()",
        "{x: {shape: [4, 6]}, a: {shape: [6], fixed}}",
    ),
    Mistake(
        "GC106",
        "weights forgotten",
        "(w * (x - y)**2).sum()",
        "2 * w * (x - y)",
        "2 * (x - y)",
        "{x: {shape: [4, 6], requires_grad: true}, y: {shape: [4, 6], fixed}, "
        "w: {shape: [4, 6], sample: positive, fixed}}",
    ),
    Mistake(
        "GC106",
        "upstream forgotten",
        "tanh(x)",
        "grad * (1 - tanh(x)**2)",
        "1 - tanh(x)**2",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC106",
        "extra upstream",
        "x**3",
        "3 * x**2 * grad",
        "3 * x**2 * grad * grad",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake("GC106", "norm not divided", "x.norm()", "x / x.norm()", "x", "{x: {shape: [5]}}"),
    Mistake(
        "GC106",
        "cosine norm",
        "x.norm(dim=1)",
        "grad[:, None] * x / x.norm(dim=1, keepdim=True)",
        "grad[:, None] * x",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC106",
        "extra factor",
        "log(x)",
        "grad / x",
        "grad / x * log(x)",
        "{x: {shape: [4, 6], sample: positive}}",
    ),
    Mistake(
        "GC106",
        "activation in matmul",
        "(tanh(X @ W)).square().sum()",
        "X.T @ (2 * h * (1 - h**2))",
        "X.T @ (2 * h)",
        "{X: {shape: [5, 3], fixed}, W: {shape: [3, 2], requires_grad: true}}",
        let="{h: 'tanh(X @ W)'}",
    ),
    Mistake(
        "GC106",
        "sum inner",
        "exp(x + b)",
        "(grad * exp(x + b)).sum(0)",
        "grad.sum(0)",
        "{x: {shape: [4, 6], fixed}, b: {shape: [6], requires_grad: true}}",
    ),
    Mistake(
        "GC106",
        "one term's factor",
        "F.silu(x)",
        "grad * (s + x * s * (1 - s))",
        "grad * (s + s * (1 - s))",
        "{x: {shape: [4, 6]}}",
        let="{s: 'sigmoid(x)'}",
    ),
    Mistake(
        "GC106",
        "division extra",
        "(a * b).sum(1)",
        "grad[:, None] * b",
        "grad[:, None] * b / a",
        "{a: {shape: [4, 6], requires_grad: true}, b: {shape: [4, 6], fixed}}",
    ),
    Mistake(
        "GC106",
        "two layers",
        "sigmoid(tanh(x))",
        "grad * s * (1 - s) * (1 - tanh(x)**2)",
        "grad * s * (1 - s)",
        "{x: {shape: [4, 6]}}",
        let="{s: 'sigmoid(tanh(x))'}",
    ),
    Mistake(
        "GC106",
        "two layers b",
        "sigmoid(tanh(x))",
        "grad * s * (1 - s) * (1 - tanh(x)**2)",
        "grad * (1 - tanh(x)**2)",
        "{x: {shape: [4, 6]}}",
        let="{s: 'sigmoid(tanh(x))'}",
    ),
    Mistake(
        "GC106",
        "temperature",
        "(x / T).exp().sum()",
        "(x / T).exp() / T",
        "(x / T).exp()",
        "{x: {shape: [4, 6]}, T: {shape: [6], sample: positive, fixed}}",
    ),
    Mistake(
        "GC107",
        "softmax sum",
        "F.log_softmax(z, -1)",
        "grad - p * grad.sum(-1, keepdim=True)",
        "grad",
        "{z: {shape: [4, 6]}}",
        let="{p: 'softmax(z, -1)'}",
    ),
    Mistake(
        "GC107",
        "centred cube",
        "(x - x.mean()).pow(3).sum()",
        "3 * (x - x.mean())**2 - 3 * ((x - x.mean())**2).mean()",
        "3 * (x - x.mean())**2",
        "{x: {shape: [5]}}",
    ),
    Mistake(
        "GC107",
        "softmax normaliser",
        "softmax(z, -1)",
        "p * (grad - (p * grad).sum(-1, keepdim=True))",
        "p * grad",
        "{z: {shape: [4, 6]}}",
        let="{p: 'softmax(z, -1)'}",
    ),
    Mistake(
        "GC107",
        "normalise",
        "x / x.norm()",
        "grad / x.norm() - x * (grad * x).sum() / x.norm()**3",
        "grad / x.norm()",
        "{x: {shape: [5]}}",
    ),
    Mistake(
        "GC107",
        "ratio of sums",
        "(w * y).sum() / w.sum()",
        "y / w.sum() - (w * y).sum() / w.sum()**2",
        "y / w.sum()",
        "{w: {shape: [5], sample: positive, requires_grad: true}, y: {shape: [5], fixed}}",
    ),
    Mistake(
        "GC107",
        "rms",
        "x / x.square().mean(-1, keepdim=True).sqrt()",
        "grad / r - x * (grad * x).mean(-1, keepdim=True) / r**3",
        "grad / r",
        "{x: {shape: [4, 6]}}",
        let="{r: 'x.square().mean(-1, keepdim=True).sqrt()'}",
    ),
    Mistake(
        "GC107",
        "batch mean only",
        "(x - x.mean(0)) * 2",
        "2 * (grad - grad.mean(0))",
        "2 * grad",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC107",
        "max shift",
        "(x - x.amax(1, keepdim=True)).exp()",
        "e * grad - torch.where(x == x.amax(1, keepdim=True), (e * grad).sum(1, keepdim=True), 0.0)",
        "e * grad",
        "{x: {shape: [4, 6]}}",
        let="{e: '(x - x.amax(1, keepdim=True)).exp()'}",
    ),
    Mistake(
        "GC107",
        "softmax diagonal",
        "softmax(z, -1)",
        "p * (grad - (p * grad).sum(-1, keepdim=True))",
        "grad * p * (1 - p)",
        "{z: {shape: [4, 6]}}",
        let="{p: 'softmax(z, -1)'}",
    ),
    Mistake(
        "GC107",
        "log softmax diagonal",
        "F.log_softmax(z, -1)",
        "grad - p * grad.sum(-1, keepdim=True)",
        "grad * (1 - p)",
        "{z: {shape: [4, 6]}}",
        let="{p: 'softmax(z, -1)'}",
    ),
    Mistake(
        "GC107",
        "cumsum ignored",
        "x.cumsum(0)",
        "grad.flip(0).cumsum(0).flip(0)",
        "grad",
        "{x: {shape: [5]}}",
    ),
    Mistake(
        "GC107",
        "attention weights constant",
        "softmax(x @ x.T, -1) @ x",
        "",
        "softmax(x @ x.T, -1).T @ grad",
        "{x: {shape: [4, 3]}}",
        repaired=False,
    ),
    Mistake("GC107", "std constant", "x / x.std(0)", "", "grad / x.std(0)", "{x: {shape: [6, 3]}}"),
    Mistake(
        "GC108",
        "relu in layer",
        "relu(X @ W).sum()",
        "X.T @ (X @ W > 0).to(torch.float64)",
        "X.T @ torch.ones(5, 2)",
        "{X: {shape: [5, 3], fixed}, W: {shape: [3, 2], requires_grad: true}}",
    ),
    Mistake(
        "GC108",
        "mask flipped",
        "relu(x)",
        "grad * (x > 0)",
        "grad * (x < 0)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC108",
        "leaky slope one",
        "F.leaky_relu(x, 0.2)",
        "grad * torch.where(x > 0, 1.0, 0.2)",
        "grad",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC108",
        "clamp ignored",
        "x.clamp(-0.5, 0.5)",
        "grad * (x.abs() < 0.5)",
        "grad",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC108",
        "clamp one bound",
        "x.clamp(-0.5, 0.5)",
        "grad * ((x > -0.5) & (x < 0.5))",
        "grad * (x < 0.5)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC108",
        "wrong threshold",
        "x.clamp(max=0.7)",
        "grad * (x < 0.7)",
        "grad * (x < 0)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC108",
        "branches swapped",
        "torch.where(x > 0, x**2, x**3)",
        "grad * torch.where(x > 0, 2 * x, 3 * x**2)",
        "grad * torch.where(x > 0, 3 * x**2, 2 * x)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC108",
        "one branch",
        "torch.where(x > 0, x**2, sin(x))",
        "grad * torch.where(x > 0, 2 * x, cos(x))",
        "grad * 2 * x",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake("GC108", "abs", "x.abs()", "grad * x.sign()", "grad", "{x: {shape: [4, 6]}}"),
    Mistake(
        "GC108",
        "elu",
        "F.elu(x)",
        "grad * torch.where(x > 0, 1.0, exp(x))",
        "grad",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC108",
        "masked mean",
        "(x**2 * keep).sum()",
        "2 * x * keep",
        "2 * x",
        "{x: {shape: [4, 6], requires_grad: true}, keep: {shape: [4, 6], sample: bernoulli, fixed}}",
    ),
    Mistake(
        "GC108",
        "last column",
        "x[:, :-1].square().sum()",
        "torch.cat([2 * x[:, :-1], torch.zeros(4, 1)], 1)",
        "2 * x",
        "{x: {shape: [4, 6]}}",
        repaired=False,
    ),
    Mistake(
        "GC108",
        "hinge",
        "(1 - t * s).clamp(min=0).sum()",
        "torch.where(t * s < 1, -t, 0.0)",
        "-t",
        "{s: {shape: [12], std: 1.5}, t: {shape: [12], value: [1,-1,1,-1,1,1,-1,-1,1,-1,1,1], fixed}}",
    ),
    Mistake(
        "GC108",
        "last element",
        "(x[1:] - x[:-1]).square().sum()",
        "torch.cat([-2 * (x[1:] - x[:-1]), torch.zeros(1)])"
        " + torch.cat([torch.zeros(1), 2 * (x[1:] - x[:-1])])",
        "torch.cat([-2 * (x[1:2] - x[:1]), -2 * (x[2:] - 2 * x[1:-1] + x[:-2]), torch.zeros(1)])",
        "{x: {shape: [6]}}",
        repaired=False,
    ),
    Mistake(
        "GC108",
        "huber outside",
        "F.huber_loss(x, torch.zeros_like(x), reduction='sum', delta=0.5)",
        "x.clamp(-0.5, 0.5)",
        "x",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC108",
        "hardtanh open",
        "F.hardtanh(x)",
        "grad * ((x > -1) & (x < 1))",
        "grad",
        "{x: {shape: [4, 6], std: 1.5}}",
    ),
    Mistake(
        "GC110",
        "norm at zero",
        "x.norm(dim=1).sum()",
        "",
        "x / x.norm(dim=1, keepdim=True)",
        "{x: {shape: [2, 2], value: [[0.0, 0.0], [3.0, 4.0]]}}",
    ),
    Mistake(
        "GC110",
        "log sum exp",
        "logsumexp(x, 0)",
        "",
        "exp(x) / exp(x).sum(0, keepdim=True)",
        "{x: {shape: [3], value: [1000.0, 1.0, 2.0]}}",
    ),
    Mistake(
        "GC110",
        "log one plus exp",
        "0.5 * F.softplus(x).square().sum()",
        "F.softplus(x) * sigmoid(x)",
        "log(1 + exp(x)) * sigmoid(x)",
        "{x: {shape: [3], value: [800.0, 1.0, -2.0]}}",
    ),
    Mistake(
        "GC110",
        "tanh by exp",
        "F.softplus(2 * x).sum() - x.sum()",
        "",
        "(exp(x) - exp(-x)) / (exp(x) + exp(-x))",
        "{x: {shape: [3], value: [800.0, 1.0, -2.0]}}",
    ),
    Mistake(
        "GC110",
        "overflowing square",
        "F.softplus(x).sum()",
        "",
        "(exp(x) + exp(2 * x)) / (1 + exp(x))**2",
        "{x: {shape: [3], value: [800.0, 1.0, -2.0]}}",
    ),
    Mistake(
        "GC111",
        "pi",
        "(math.pi * x).sin()",
        "math.pi * grad * (math.pi * x).cos()",
        "3.1416 * grad * (math.pi * x).cos()",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC111",
        "pi inside",
        "(math.pi * x).sin()",
        "math.pi * grad * (math.pi * x).cos()",
        "math.pi * grad * (3.1416 * x).cos()",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC111",
        "root two",
        "erf(x / 2**0.5)",
        "grad * (2 / math.pi)**0.5 * exp(-x**2 / 2)",
        "grad * 0.79788 * exp(-x**2 / 2)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC111",
        "third",
        "(x**2).pow(1 / 3).sum()",
        "2 / 3 * x.sign() * x.abs()**(-1 / 3)",
        "0.6667 * x.sign() * x.abs()**(-1 / 3)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC111",
        "half precision",
        "tanh(x)",
        "grad * (1 - tanh(x)**2)",
        "(grad * (1 - tanh(x)**2)).to(torch.float32).to(torch.float64)",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC111",
        "eps forgotten",
        "x / (x.square().mean(-1, keepdim=True) + 1e-3).sqrt()",
        "grad / r - x * (grad * x).mean(-1, keepdim=True) / r**3",
        "grad / x.square().mean(-1, keepdim=True).sqrt() - x * (grad * x).mean(-1, keepdim=True)"
        " / x.square().mean(-1, keepdim=True).sqrt()**3",
        "{x: {shape: [4, 6]}}",
        let="{r: '(x.square().mean(-1, keepdim=True) + 1e-3).sqrt()'}",
    ),
    Mistake(
        "GC111",
        "eps inside",
        "log(x + 1e-3)",
        "grad / (x + 1e-3)",
        "grad / x",
        "{x: {shape: [4, 6], sample: uniform, low: 0.5, high: 2}}",
    ),
    Mistake(
        "GC111",
        "eps outside of the root",
        "a / (v + 1e-3).sqrt()",
        "grad / (v + 1e-3).sqrt()",
        "grad / (v.sqrt() + 1e-3)",
        "{a: {shape: [4, 6]}, v: {shape: [4, 6], sample: uniform, low: 0.5, high: 2, fixed}}",
    ),
    Mistake(
        "GC111",
        "eps extra",
        "log(x)",
        "grad / x",
        "grad / (x + 1e-6)",
        "{x: {shape: [4, 6], sample: uniform, low: 0.5, high: 2}}",
    ),
    Mistake(
        "GC112",
        "detached",
        "(x - y).square().sum()",
        "2 * (x - y)",
        "torch.zeros_like(x)",
        "{x: {shape: [4, 6], requires_grad: true}, y: {shape: [4, 6], fixed}}",
    ),
    Mistake(
        "GC112",
        "self difference",
        "x.square().sum()",
        "2 * x",
        "x - x.detach()",
        "{x: {shape: [4, 6]}}",
    ),
    Mistake(
        "GC112",
        "rounded away",
        "sigmoid(x)",
        "grad * sigmoid(x) * (1 - sigmoid(x))",
        "grad * (sigmoid(x) > 2)",
        "{x: {shape: [4, 6]}}",
    ),
]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake.code} {mistake.name}")
def test_mistakes_are_named_and_repaired(mistake: Mistake) -> None:
    found = mistake.found()
    assert found.code == mistake.code, found
    if mistake.repaired:
        assert found.fix is not None
        assert mistake.outcome(found.fix).status == "passed"


@pytest.mark.parametrize(
    "mistake",
    [m for m in MISTAKES if m.right],
    ids=lambda mistake: f"{mistake.code} {mistake.name}",
)
def test_the_right_formulas_pass(mistake: Mistake) -> None:
    assert mistake.outcome(mistake.right).status == "passed"


def of(expression: str, wrong: str, inputs: str, let: str = "{}") -> Diagnosis:
    return Mistake("", "", expression, "", wrong, inputs, let).found()


X = "{x: {shape: [4, 6]}}"


@pytest.mark.parametrize(
    ("expression", "wrong", "said"),
    [
        ("(x * tanh(x)).sum()", "tanh(x)", "a term is missing: `x * (1 - tanh(x) ** 2)`"),
        ("x.square().sum()", "2 * x + sin(x)", "a term is extra: `sin(x)`"),
        ("sin(x**2)", "grad * cos(x**2)", "a factor is missing: `2 * x`"),
        ("sin(x)", "grad * cos(x) * x", "a factor is extra: `x`"),
        (
            "(x - x.mean()).pow(3).sum()",
            "3 * (x - x.mean())**2",
            "`x.mean()` was treated as a constant",
        ),
        ("relu(x)", "grad", "wrong only where `x < 0`: a mask is missing"),
        ("x.clamp(-0.5, 0.5)", "grad * (x < 0.5)", "wrong only where `x < -0.5`"),
        ("relu(x)", "grad * (x < 0)", "the comparison `x < 0` is the wrong way round"),
        ("x.square().sum()", "x - x.detach()", "`x - x.detach()` is zero in every element"),
        ("(math.pi * x).sin().sum()", "3.14 * (math.pi * x).cos()", "`3.14` is `math.pi`, rounded"),
        ("x.square().sum()", "2 * (x / (0 * x))", "`x / (0 * x)` divides by 0"),
    ],
)
def test_messages_name_what_is_wrong(expression: str, wrong: str, said: str) -> None:
    assert said in of(expression, wrong, X).message


@pytest.mark.parametrize("shape", ["[]", "[1]", "[2]", "[3]", "[4, 6]"])
@pytest.mark.parametrize(
    "wrong",
    [
        "grad * sin(3.7 * x) * 1.234",
        "grad * (0.123 + x**5)",
        "grad.exp() - 0.77 * x",
        "0.377 * x**2",
    ],
)
def test_what_is_like_nothing_known_is_not_explained(shape: str, wrong: str) -> None:
    found = of("tanh(x) * exp(-x)", wrong, f"{{x: {{shape: {shape}}}}}")
    assert found.code in ("GC199", "GC112"), found


def test_the_difference_is_told_where_it_is_short() -> None:
    found = of("(x - 1).square().sum() + 0.5 * x.square().sum()", "2 * (x - 1)", X)
    assert found.difference in ("x", "1.0 * x")
    long = of("(x * tanh(x) * exp(-x) * sin(x)).sum()", "tanh(x)", X)
    assert long.difference is None


def test_the_difference_of_an_extra_term_is_minus_the_term() -> None:
    found = of("x.square().sum()", "2 * x + x.sign()", X)
    assert found.difference == "-sign(x)"


def test_of_numbers_alone_a_region_and_a_precision_are_told() -> None:
    (check,) = load_text(f"version: 1\ninputs: {X}\nexpression: sinh(x).sum()\n")
    case = prepare(check)
    right = np.cosh(case.arrays["x"])

    def suspect(gradient: Any) -> Suspect:
        def passes(array: Any) -> bool:
            return bool(np.allclose(array, right, rtol=1e-9, atol=0))

        return Suspect("x", "torch", gradient, right, passes, case)

    found = diagnose(suspect(np.where(case.arrays["x"] > 0, right, 0.5 * right)))
    assert (found.code, found.fix) == ("GC108", None)
    assert "`x < 0`" in found.message
    found = diagnose(suspect(right.astype(np.float32).astype(np.float64)))
    assert found.code == "GC111"
    assert "float32" in found.message
    rng = np.random.default_rng(0)
    found = diagnose(suspect(right * (1 + 1e-5 * rng.standard_normal(right.shape))))
    assert found.code == "GC111"
    found = diagnose(suspect(right * (1 + rng.standard_normal(right.shape))))
    assert found.code == "GC199"


@pytest.mark.parametrize(
    ("wrong", "codes"),
    [
        ("2 * (x - y)", {"GC105"}),
        ("2 * (x - y) + x.sign() * y", {"GC105", "GC106"}),
        ("(x - y) * sin(x)", {"GC199"}),
    ],
)
def test_large_gradients_are_explained_within_seconds(wrong: str, codes: set[str]) -> None:
    inputs = "{x: {shape: [1000, 500]}, y: {shape: [1000, 500], requires_grad: false}}"
    start = perf_counter()
    found = of("((x - y).square() + x.abs()).sum()", wrong, inputs)
    assert perf_counter() - start < 20
    assert found.code in codes, found


@pytest.mark.parametrize("code", ["GC105", "GC106", "GC107", "GC108", "GC110", "GC111", "GC112"])
def test_codes_have_examples(code: str) -> None:
    record = CODES[code]
    assert record.wrong
    assert record.right
