"""Mistakes that one change of the formula undoes: each gets its code and the right formula."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pytest

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.case import UPSTREAM, prepare
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.verdict.outcome import Diagnosis


class Mistake(NamedTuple):
    """A wrong formula for the gradient of the first input, beside a right one; whether a repair is due."""

    code: str
    expression: str
    inputs: str
    right: str
    wrong: str
    says: str = ""
    repaired: bool = True


X = "x: {shape: [4, 5]}"
POSITIVE = "x: {shape: [4, 5], sample: positive}"
V = "x: {shape: [6]}"
SQUARE = "x: {shape: [4, 4]}"
PAIR = "x: {shape: [4, 5]}, y: {shape: [4, 5], requires_grad: false}"
AB = "x: {shape: [4, 4]}, B: {shape: [4, 4], requires_grad: false}"
LINEAR = "w: {shape: [3]}, X: {shape: [7, 3], requires_grad: false}, y: {shape: [7], requires_grad: false}"
BIAS = "b: {shape: [5]}, x: {shape: [5, 5], requires_grad: false}"

MISTAKES = (
    # GC101: a number.
    Mistake("GC101", "x**4", X, "grad * 4 * x**3", "grad * x**3", "multiply by 4"),
    Mistake("GC101", "x**4", X, "grad * 4 * x**3", "grad * 3 * x**3", "`3` should be `4`"),
    Mistake("GC101", "(x**2).mean()", X, "2 * x / x.numel()", "2 * x / x.shape[1]", "x.numel()"),
    Mistake("GC101", "(x**2).mean()", X, "2 * x / x.numel()", "2 * x", "1 / x.numel() (= 20)"),
    Mistake(
        "GC101", "(x**2).mean()", X, "2 * x / x.numel()", "2 * x / 10", "should be `x.numel()`"
    ),
    Mistake(
        "GC101", "(x**2).mean(1)", X, "2 * grad[:, None] * x / x.shape[1]", "grad[:, None] * x"
    ),
    Mistake("GC101", "0.5 * (x - y).square().sum()", PAIR, "x - y", "2 * (x - y)", "too much"),
    Mistake(
        "GC101",
        "sigmoid(2 * x)",
        X,
        "2 * grad * sigmoid(2 * x) * (1 - sigmoid(2 * x))",
        "2 * grad * sigmoid(x) * (1 - sigmoid(x))",
    ),
    Mistake("GC101", "exp(-x**2 / 2)", X, "-grad * x * exp(-x**2 / 2)", "-grad * x * exp(-x**2)"),
    Mistake("GC101", "x**2 + 3 * x", X, "grad * (2 * x + 3)", "grad * (x + 3)"),
    Mistake(
        "GC101", "x**2 + 3 * x", X, "grad * (2 * x + 3)", "grad * (2 * x + 1)", "should be `3`"
    ),
    Mistake(
        "GC101",
        "sin(math.pi * x)",
        X,
        "grad * math.pi * cos(math.pi * x)",
        "grad * cos(math.pi * x)",
        "multiply by pi",
    ),
    Mistake(
        "GC101",
        "tanh(x + b)",
        "b: {shape: [5]}, x: {shape: [4, 5], requires_grad: false}",
        "(grad * (1 - tanh(x + b)**2)).sum(0)",
        "(grad * (1 - tanh(x + b)**2)).mean(0)",
        "`mean` is used where `sum` is right",
    ),
    Mistake(
        "GC101",
        "x.var()",
        V,
        "2 * grad * (x - x.mean()) / (x.numel() - 1)",
        "2 * grad * (x - x.mean()) / x.numel()",
    ),
    Mistake(
        "GC101",
        "x.std(0, correction=0)",
        X,
        "grad * (x - x.mean(0)) / (x.shape[0] * x.std(0, correction=0))",
        "grad * (x - x.mean(0)) / (x.shape[0] * x.std(0, correction=1))",
    ),
    Mistake("GC101", "F.softplus(x, beta=3.0)", X, "grad * sigmoid(3 * x)", "grad * sigmoid(x)"),
    # GC102: a sign.
    Mistake("GC102", "cos(x)", X, "-grad * sin(x)", "grad * sin(x)", "the sign is flipped"),
    Mistake("GC102", "1 / x", POSITIVE, "-grad / x**2", "grad / x**2"),
    Mistake("GC102", "(x - y).square().sum()", PAIR, "2 * (x - y)", "2 * (y - x)", "interchanged"),
    Mistake("GC102", "tanh(x)", X, "grad * (1 - tanh(x)**2)", "grad * (1 + tanh(x)**2)"),
    Mistake("GC102", "exp(-x)", X, "-grad * exp(-x)", "-grad * exp(x)", "the sign of `x`"),
    Mistake(
        "GC102", "x * sin(x)", X, "grad * (sin(x) + x * cos(x))", "grad * (sin(x) - x * cos(x))"
    ),
    Mistake("GC102", "x.sum() - (x**2).sum()", X, "1 - 2 * x", "1 + 2 * x"),
    Mistake("GC102", "-(x * y).sum()", PAIR, "-y", "y"),
    Mistake(
        "GC102",
        "log(1 - x)",
        "x: {shape: [4, 5], sample: uniform}",
        "-grad / (1 - x)",
        "grad / (1 - x)",
    ),
    Mistake(
        "GC102",
        "softmax(x, 1)",
        X,
        "softmax(x, 1) * (grad - (grad * softmax(x, 1)).sum(1, keepdim=True))",
        "softmax(x, 1) * (grad + (grad * softmax(x, 1)).sum(1, keepdim=True))",
    ),
    # GC103: a transposition.
    Mistake("GC103", "x @ B", AB, "grad @ B.T", "grad @ B", "`B` is transposed"),
    Mistake("GC103", "x @ B", AB, "grad @ B.T", "B.T @ grad", "are swapped"),
    Mistake("GC103", "B @ x", AB, "B.T @ grad", "grad @ B"),
    Mistake("GC103", "(x @ x).trace()", SQUARE, "2 * x.T", "2 * x", "transposed"),
    Mistake(
        "GC103",
        "x.inverse()",
        "x: {shape: [3, 3], sample: spd}",
        "-x.inverse().T @ grad @ x.inverse().T",
        "-x.inverse() @ grad.T @ x.inverse()",
    ),
    Mistake("GC103", "x @ x", SQUARE, "grad @ x.T + x.T @ grad", "grad @ x.T + x @ grad"),
    Mistake(
        "GC103",
        "u @ x @ v",
        "x: {shape: [4, 4]}, u: {shape: [4], requires_grad: false}, "
        "v: {shape: [4], requires_grad: false}",
        "torch.outer(u, v)",
        "torch.outer(v, u)",
    ),
    Mistake(
        "GC103",
        "x @ A @ x",
        "x: {shape: [4]}, A: {shape: [4, 4], requires_grad: false}",
        "(A + A.T) @ x",
        "(A + A) @ x",
    ),
    Mistake(
        "GC103",
        "torch.einsum('ij,jk->ik', x, B)",
        AB,
        "torch.einsum('ik,jk->ij', grad, B)",
        "torch.einsum('ik,kj->ij', grad, B)",
        "einsum",
    ),
    Mistake(
        "GC103",
        "x.transpose(0, 1) * B",
        "x: {shape: [3, 3, 3]}, B: {shape: [3, 3, 3], requires_grad: false}",
        "(grad * B).transpose(0, 1)",
        "(grad * B).transpose(0, 2)",
    ),
    # GC104: an axis.
    Mistake(
        "GC104",
        "tanh(x + b)",
        BIAS,
        "(grad * (1 - tanh(x + b)**2)).sum(0)",
        "(grad * (1 - tanh(x + b)**2)).sum(1)",
        "over axis 1",
    ),
    Mistake(
        "GC104",
        "softmax(x, 1)",
        SQUARE,
        "softmax(x, 1) * (grad - (grad * softmax(x, 1)).sum(1, keepdim=True))",
        "softmax(x, 1) * (grad - (grad * softmax(x, 1)).sum(0, keepdim=True))",
        "over axis 0",
    ),
    Mistake(
        "GC104",
        "softmax(x, 1)",
        SQUARE,
        "softmax(x, 1) * (grad - (grad * softmax(x, 1)).sum(1, keepdim=True))",
        "softmax(x, 0) * (grad - (grad * softmax(x, 0)).sum(1, keepdim=True))",
        "`softmax`",
    ),
    Mistake(
        "GC104",
        "softmax(x, 1)",
        SQUARE,
        "softmax(x, 1) * (grad - (grad * softmax(x, 1)).sum(1, keepdim=True))",
        "softmax(x, 1) * (grad - (grad * softmax(x, 1)).sum())",
    ),
    Mistake(
        "GC104",
        "x.sum(1)",
        SQUARE,
        "grad[:, None].expand(x.shape)",
        "grad[None, :].expand(x.shape)",
        "wrong axis",
    ),
    Mistake(
        "GC104",
        "x * s[:, None]",
        "x: {shape: [4, 4]}, s: {shape: [4], requires_grad: false}",
        "grad * s[:, None]",
        "grad * s",
        "`[:, None]`",
    ),
    Mistake(
        "GC104",
        "x.cumsum(1)",
        SQUARE,
        "grad.flip(1).cumsum(1).flip(1)",
        "grad.flip(1).cumsum(0).flip(1)",
        "`cumsum`",
    ),
    Mistake(
        "GC104",
        "x - x.mean(1, keepdim=True)",
        SQUARE,
        "grad - grad.mean(1, keepdim=True)",
        "grad - grad.mean(0, keepdim=True)",
        "`mean` over axis 0",
    ),
    Mistake(
        "GC104",
        "x - x.mean(1, keepdim=True)",
        SQUARE,
        "grad - grad.mean(1, keepdim=True)",
        "grad - grad.mean(1)",
    ),
    Mistake(
        "GC104",
        "x / x.norm(dim=1, keepdim=True)",
        SQUARE,
        "grad / x.norm(dim=1, keepdim=True) - x * (grad * x).sum(1, keepdim=True) "
        "/ x.norm(dim=1, keepdim=True)**3",
        "grad / x.norm(dim=1, keepdim=True) - x * (grad * x).sum(1, keepdim=True) "
        "/ x.norm(dim=0, keepdim=True)**3",
        "`norm`",
    ),
    # GC109: places.
    Mistake("GC109", "x.flip(0)", V, "grad.flip(0)", "grad", "reversed along axis 0"),
    Mistake("GC109", "x.roll(2, 0)", V, "grad.roll(-2, 0)", "grad.roll(2, 0)"),
    Mistake("GC109", "x.roll(1, 1)", X, "grad.roll(-1, 1)", "grad", "shifted along axis 1"),
    Mistake(
        "GC109",
        "x[perm]",
        "x: {shape: [6]}, perm: {shape: [6], sample: permutation}",
        "grad[perm.argsort()]",
        "grad[perm]",
        "inverse",
    ),
    Mistake(
        "GC109",
        "x[1:] * x[:-1]",
        V,
        "torch.cat([grad * x[1:], torch.zeros(1)]) + torch.cat([torch.zeros(1), grad * x[:-1]])",
        "torch.cat([grad * x[1:], torch.zeros(1)]) + torch.cat([grad * x[:-1], torch.zeros(1)])",
        "joined in the wrong order",
    ),
    Mistake("GC109", "torch.cat([x, y], 1)", PAIR, "grad[:, :5]", "grad[:, 5:]"),
    Mistake(
        "GC109",
        "x.reshape(5, 4)",
        X,
        "grad.reshape(4, 5)",
        "grad.T",
        "in another order",
        repaired=False,
    ),
    Mistake(
        "GC109",
        "x[:, 1:3].sum(1)",
        X,
        "F.pad(grad[:, None].expand(4, 2), (1, 2))",
        "F.pad(grad[:, None].expand(4, 2), (2, 1))",
    ),
    # GC113: something in place of something else.
    Mistake("GC113", "sin(x)", X, "grad * cos(x)", "grad * sin(x)", "`sin` is used where `cos`"),
    Mistake("GC113", "F.softplus(x)", X, "grad * sigmoid(x)", "grad * tanh(x)", "`sigmoid`"),
    Mistake("GC113", "tanh(x)", X, "grad * (1 - tanh(x)**2)", "grad * tanh(x) * (1 - tanh(x))"),
    Mistake(
        "GC113",
        "sigmoid(x)",
        X,
        "grad * sigmoid(x) * (1 - sigmoid(x))",
        "grad * (1 - sigmoid(x)**2)",
        "the derivative of `tanh`",
    ),
    Mistake("GC113", "x**5", X, "grad * 5 * x**4", "grad * 5 * x**5", "exponent"),
    Mistake("GC113", "1 / x", POSITIVE, "-grad / x**2", "-grad / x", ""),
    Mistake(
        "GC113", "sqrt(x)", POSITIVE, "grad * 0.5 * x**-0.5", "grad * 0.5 * x**0.5", "exponent"
    ),
    Mistake("GC113", "x.log()", POSITIVE, "grad / x", "grad * x", "quotient"),
    Mistake(
        "GC113",
        "x / y",
        "x: {shape: [3, 4]}, y: {shape: [3, 4], sample: positive, requires_grad: false}",
        "grad / y",
        "grad / x",
    ),
    Mistake("GC113", "x * y", PAIR, "grad * y", "grad * x", "`x` is used where `y` is right"),
    Mistake(
        "GC113",
        "x.logsumexp(1)",
        X,
        "grad[:, None] * softmax(x, 1)",
        "grad[:, None] * log_softmax(x, 1)",
        "`softmax`",
    ),
    Mistake(
        "GC113",
        "F.binary_cross_entropy_with_logits(x, y)",
        PAIR.replace("y: {", "y: {sample: uniform, "),
        "(sigmoid(x) - y) / x.numel()",
        "(x - y) / x.numel()",
        "",
    ),
    Mistake(
        "GC113",
        "exp(x).sum(1).log()",
        X,
        "grad[:, None] * exp(x) / exp(x).sum(1, keepdim=True)",
        "grad[:, None] * exp(x) / x.sum(1, keepdim=True)",
        "`exp` of `x` is forgotten",
    ),
    Mistake(
        "GC113",
        "torch.lgamma(x)",
        POSITIVE,
        "grad * torch.digamma(x)",
        "grad * torch.lgamma(x)",
        "`digamma`",
    ),
    Mistake("GC113", "log(cosh(x - y)).sum()", PAIR, "tanh(x - y)", "sinh(x - y)", "`tanh`"),
    Mistake("GC113", "x.asinh()", X, "grad / sqrt(x**2 + 1)", "grad / (x**2 + 1)"),
    # Two at once.
    Mistake("GC113", "(x.sin()).mean()", X, "x.cos() / x.numel()", "-x.sin()", "the whole is"),
)


def told(mistake: Mistake) -> str:
    return f"{mistake.code}: {mistake.wrong}"


def checked(mistake: Mistake, formula: str) -> Check:
    name = mistake.inputs.partition(":")[0]
    text = (
        f'version: 1\ninputs: {{{mistake.inputs}}}\nexpression: "{mistake.expression}"\n'
        f'manual: {{{name}: "{formula}"}}\nmethods: [engine, manual]'
    )
    return load_text(text)[0]


def values(case: Case, text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    node = build(parse(Source(text)), {**case.scope, UPSTREAM: case.upstream})
    return Plan([node])(case.arrays)[0]


def diagnosed(check: Check) -> Diagnosis:
    outcome = run_check(check)
    assert outcome.error is None, outcome.error
    assert outcome.status == "failed", outcome.status
    (found,) = [d for d in outcome.diagnoses if d.code.startswith("GC1")]
    return found


def test_there_are_enough_of_each_kind() -> None:
    assert len(MISTAKES) >= 60
    for code in ("GC101", "GC102", "GC103", "GC104", "GC109", "GC113"):
        assert sum(mistake.code == code for mistake in MISTAKES) >= 8


@pytest.mark.parametrize("mistake", MISTAKES, ids=told)
def test_the_mistake_is_named_and_undone(mistake: Mistake) -> None:
    right = run_check(checked(mistake, mistake.right))
    assert right.error is None, right.error
    assert "failed" not in right.status
    found = diagnosed(checked(mistake, mistake.wrong))
    assert found.code == mistake.code, (found, found.also)
    assert mistake.says in found.message
    assert found.method == "manual"
    if not mistake.repaired:
        return
    assert found.fix is not None
    # On other inputs, too, the repair is the right formula.
    other = prepare(replace(checked(mistake, mistake.right), seed=77))
    assert np.allclose(values(other, found.fix), values(other, mistake.right), rtol=1e-7, atol=1e-9)
