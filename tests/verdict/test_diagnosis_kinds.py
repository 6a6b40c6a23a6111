"""What the numbers say of a mistake decides about its code; and parts are told by what stands elsewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.verdict.diagnosis.guesses import brief

if TYPE_CHECKING:
    from gradcheck_cli.verdict.outcome import Diagnosis

X = "x: {shape: [4, 5]}"
PAIR = "x: {shape: [4, 5]}, y: {shape: [4, 5], requires_grad: false}"
SQUARE = "x: {shape: [4, 4]}"
MSE = "(x - y).square().mean()"


def diagnosed(expression: str, inputs: str, wrong: str, let: str = "{}") -> Diagnosis:
    (check,) = load_text(
        f"version: 1\ninputs: {{{inputs}}}\nlet: {let}\nmethods: [engine, manual]\n"
        f'expression: "{expression}"\nmanual: {{x: "{wrong}"}}\n'
    )
    outcome = run_check(check)
    assert outcome.status == "failed", outcome.error
    (found,) = [d for d in outcome.diagnoses if d.code.startswith("GC1")]
    return found


@pytest.mark.parametrize(
    ("code", "expression", "inputs", "wrong", "fix", "says"),
    [
        # A constant ratio is a constant factor, whatever undoes it.
        ("GC101", MSE, PAIR, "2 * (x - y) * x.numel()", "2 * (x - y) / x.numel()", "quotient"),
        (
            "GC101",
            "x.square().sum() / x.shape[1]**0.5",
            X,
            "2 * x / x.shape[1]",
            "2 * x / x.shape[1]**0.5",
            "exponent",
        ),
        ("GC102", MSE, PAIR, "2 * (y - x) / x.numel()", "2 * (x - y) / x.numel()", "interchanged"),
        # Where there are no numbers, that is seen first, and what is left out is named.
        ("GC110", "sin(x)", X, "grad * cos(x) * (x - x) / (x - x)", "grad * cos(x)", "leave out"),
        ("GC110", "sin(x)", X, "grad * cos(x) * relu(x) / relu(x)", "grad * cos(x)", "0 / 0"),
        (
            "GC110",
            "sin(x)",
            X,
            "grad * cos(x) * exp(x + 1000) / exp(x + 1000)",
            "grad * cos(x)",
            "overflows",
        ),
        ("GC110", "sin(x)", X, "grad * cos(x) + relu(x).log()", "grad * cos(x)", "leave out"),
        (
            "GC110",
            "sigmoid(x)",
            X,
            "grad * sigmoid(x) * (exp(-x + 900) / (exp(-x + 900) + exp(torch.tensor(900))))",
            "grad * sigmoid(x) * sigmoid(-x + 900 - tensor(900))",
            "infinity / infinity",
        ),
        ("GC112", MSE, PAIR, "2 * (y - y) / x.numel()", "2 * (x - y) / x.numel()", "`y` is used"),
        # What only decides about a region is wrong in a region.
        (
            "GC108",
            "sin(x)",
            X,
            "torch.where(x < 0, 0.5 * grad * cos(x), grad * cos(x))",
            "",
            "x < 0",
        ),
        ("GC108", "sin(x)", X, "(grad * cos(x)).clamp(-0.4, 0.4)", "grad * cos(x)", "cuts off"),
        (
            "GC108",
            "sin(x)",
            X,
            "grad * cos(x) * (torch.arange(x.shape[0]) < x.shape[0] - 1)[:, None]",
            "grad * cos(x)",
            "mask",
        ),
        (
            "GC108",
            "sin(x)",
            X,
            "grad * cos(x) * (1.0 + (torch.arange(x.shape[0]) == 0))[:, None]",
            "grad * cos(x)",
            "only in a region",
        ),
        ("GC108", "sin(x)", SQUARE, "(grad * cos(x)).tril()", "grad * cos(x)", "`tril`"),
        # A branch that is all of the gradient is no region: elsewhere it is zero.
        ("GC101", "relu(x)", X, "torch.where(x > 0, 2 * grad, 0.0)", "", "`2`"),
        # Others.
        ("GC106", "sin(x)", X, "torch.ones_like(grad) * cos(x)", "grad * cos(x)", "upstream"),
        ("GC113", "F.elu(x)", X, "F.elu(x)", "", "not its derivative"),
        ("GC106", "exp(x).square()", X, "torch.ones_like(x)", "", "1 everywhere"),
        (
            "GC105",
            "sin(x) * cos(x)",
            X,
            "grad * (cos(x)**2 - sin(x)**2 - sin(x)**2)",
            "grad * (cos(x)**2 - sin(x)**2)",
            "counts twice",
        ),
        (
            "GC109",
            "x.T.sin()",
            X,
            "grad.reshape(x.shape) * cos(x)",
            "grad.T * cos(x)",
            "row by row",
        ),
    ],
)
def test_numbers_decide(
    code: str, expression: str, inputs: str, wrong: str, fix: str, says: str
) -> None:
    found = diagnosed(expression, inputs, wrong)
    assert found.code == code, found
    assert found.fix is not None
    assert found.fix == (fix or found.fix)
    assert says in found.message


def test_a_part_is_what_it_is_elsewhere() -> None:
    let = "{c: 'x - x.mean(-1, keepdim=True)', s: 'x.var(-1, correction=0, keepdim=True) + 0.1'}"
    right = "rsqrt(s) * (grad - grad.mean(-1, keepdim=True) - c * (grad * c).mean(-1, keepdim=True) / s)"
    inputs = "x: {shape: [3, 4, 5]}"
    expression = "c * rsqrt(s)"
    slips = {
        "(-x.mean(-1, keepdim=True))": ("GC105", "x"),
        "(x - x.mean(1, keepdim=True))": ("GC104", "axis"),
        "(x - x.mean((0, 1), keepdim=True))": ("GC104", ""),
    }
    for slip, (code, says) in slips.items():
        wrong = right.replace("grad * c", f"grad * {slip}")
        found = diagnosed(expression, inputs, wrong, let)
        assert found.code == code, found
        assert says in found.message
        assert found.fix is not None


def test_the_upstream_gradient_of_a_scalar_is_no_ingredient() -> None:
    found = diagnosed(
        "exp(s) * x.square().sum()",
        f"{X}, s: {{shape: [], requires_grad: false}}",
        "2 * x * exp(s) * s",
    )
    assert found.code == "GC106"
    assert found.fix == "2 * x * exp(s)"


def test_long_parts_are_shown_in_brief() -> None:
    assert brief("a + b") == "a + b"
    text = "softmax(" + "q @ k.mT / q.shape[-1]**0.5 + " * 3 + "bias, -1)"
    shown = brief(text)
    assert len(shown) < 50
    assert shown.startswith("softmax(")
    assert shown.endswith(")")


def test_integers_in_a_formula_are_no_obstacle() -> None:
    # `one_hot` is of integers: its mean is none, that of a quotient of it is.
    found = diagnosed(
        "F.nll_loss(x, t)",
        "x: {shape: [4, 3]}, t: {shape: [4], sample: integers, low: 0, high: 3}",
        "(-F.one_hot(t, x.shape[1]) / x.shape[0]).mean(0, keepdim=True).expand(x.shape)",
    )
    assert found.code == "GC104"
