"""Points without a derivative: what the numeric method says they are, and that no convention fails there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradcheck_cli.methods import numeric_method
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.methods.gradients import EDGE, JUMP, KINK, SMOOTH, UNKNOWN
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from gradcheck_cli.methods.gradients import Estimate
    from gradcheck_cli.verdict.outcome import CheckOutcome

S, K, J, E, U = SMOOTH, KINK, JUMP, EDGE, UNKNOWN
OTHERS = "torch, engine, derived"


def spec(expression: str, value: str, manual: str | None = None, **more: str) -> str:
    """A check of `x` alone, at the values given."""
    text = f"version: 1\ninputs: {{x: {{value: {value}, requires_grad: true}}}}\n"
    text += f"expression: {expression}\n" + "".join(f"{k}: {v}\n" for k, v in more.items())
    return text + (f"manual: {{x: '{manual}'}}\n" if manual else "")


def numeric(text: str) -> Estimate:
    return numeric_method.run(prepare(load_text(text)[0])).estimates["x"]


def run(text: str) -> CheckOutcome:
    outcome = run_check(load_text(text)[0])
    assert outcome.error is None, outcome.error
    return outcome


# An expression, its input, what each element is like, and the status with all methods.
CASES = {
    "relu": ("relu(x)", "[0.0, 1.0, -2.0]", [K, S, S], "passed"),
    "abs": ("x.abs()", "[0.0, 1.0, -2.0]", [K, S, S], "passed"),
    "maximum of itself and a number": (
        "torch.maximum(x, torch.tensor([1.0, 2.0]))",
        "[1.0, 1.0]",
        [K, S],
        "passed",
    ),
    "minimum": ("torch.minimum(x, torch.tensor([1.0, 2.0]))", "[1.0, 1.0]", [K, S], "passed"),
    "clamp": ("x.clamp(-1, 1)", "[-1.0, 0.5, 1.0, 3.0]", [K, S, K, S], "passed"),
    "hardtanh": ("F.hardtanh(x)", "[-1.0, 0.5, 1.0, 3.0]", [K, S, K, S], "passed"),
    "huber": (
        "F.huber_loss(x, torch.zeros_like(x), reduction='none')",
        "[1.0, -1.0, 0.0, 3.0]",
        [S, S, S, S],
        "passed",
    ),
    "norm": ("x.norm()", "[0.0, 0.0, 0.0]", [K, K, K], "passed"),
    "norm by rows": ("x.norm(dim=1)", "[[0.0, 0.0], [3.0, 4.0]]", [K, K, S, S], "passed"),
    "sqrt": ("x.sqrt()", "[0.0, 4.0]", [E, S], "passed"),
    "amax of two": ("x.amax()", "[1.0, 1.0, 0.0]", [K, K, S], "passed"),
    "amax of three by rows": (
        "x.amax(1)",
        "[[1.0, 1.0, 1.0], [2.0, 1.0, 2.0]]",
        [K, K, K, K, S, K],
        "passed",
    ),
    "amin": ("x.amin()", "[1.0, 1.0, 5.0]", [K, K, S], "passed"),
    "max": ("x.max()", "[1.0, 1.0, 0.0]", [K, K, S], "passed"),
    "max along a dimension": ("x.max(0)[0]", "[1.0, 1.0, 0.0]", [K, K, S], "passed"),
    "min": ("x.min()", "[1.0, 1.0, 2.0]", [K, K, S], "passed"),
    "sort of two": ("x.sort()[0]", "[2.0, 2.0, 1.0]", [K, K, S], "passed"),
    "sort of three": ("x.sort()[0]", "[2.0, 2.0, 2.0, 1.0]", [K, K, K, S], "passed"),
    "sort of five": ("x.sort()[0]", "[2.0, 2.0, 2.0, 2.0, 2.0]", [K] * 5, "passed"),
    "sort downwards": ("x.sort(descending=True)[0]", "[2.0, 2.0, 1.0]", [K, K, S], "passed"),
    "where, branches that meet": ("torch.where(x >= 0, x, -2 * x)", "[0.0, 1.0]", [K, S], "passed"),
    "where, branches apart": ("torch.where(x == 1, x + 1, 3 * x)", "[1.0, 2.0]", [J, S], "passed"),
    "where on equality, one function": (
        "torch.where(x == 1, x * x, 2 * x - 1)",
        "[1.0, 3.0]",
        [S, S],
        "passed",
    ),
    "where on equality, a kink": (
        "torch.where(x == 0, x, x.abs())",
        "[0.0, 3.0]",
        [K, S],
        "passed",
    ),
    "leaky_relu": ("F.leaky_relu(x, 0.2)", "[0.0, 1.0]", [K, S], "passed"),
    "hardswish": ("F.hardswish(x)", "[3.0, -3.0, 1.0, 4.0]", [K, K, S, S], "passed"),
    "x|x|": ("x * x.abs()", "[0.0, 1.0]", [S, S], "passed"),
    "floor": ("x.floor()", "[0.5, 1.0, -2.0]", [S, J, J], "passed"),
    "ceil": ("x.ceil()", "[0.5, 1.0]", [S, J], "passed"),
    "relu6": ("F.relu6(x)", "[0.0, 6.0, 7.0]", [K, K, S], "passed"),
    "elu": ("F.elu(x, 0.5)", "[0.0, 1.0]", [K, S], "passed"),
    "elu, smooth": ("F.elu(x)", "[0.0, 1.0]", [S, S], "passed"),
    "celu": ("F.celu(x, 2.0)", "[0.0, 1.0]", [S, S], "passed"),
    "selu": ("F.selu(x)", "[0.0, 1.0]", [K, S], "passed"),
    "softshrink": ("F.softshrink(x)", "[0.5, -0.5, 1.0]", [K, K, S], "passed"),
    "hardshrink": ("F.hardshrink(x)", "[0.5, 1.0]", [J, S], "passed"),
    "hardsigmoid": ("F.hardsigmoid(x)", "[3.0, -3.0, 4.0]", [K, K, S], "passed"),
    "threshold": ("F.threshold(x, 1.0, 1.0)", "[1.0, 2.0]", [K, S], "passed"),
    "prelu": ("F.prelu(x, torch.tensor([0.25]))", "[0.0, 1.0]", [K, S], "passed"),
    "median of an even number": ("x.median()", "[1.0, 2.0, 2.0, 3.0]", [S, K, K, S], "passed"),
    "median of three": ("x.median()", "[2.0, 2.0, 2.0]", [K, K, K], "passed"),
    "median among others": ("x.median()", "[1.0, 2.0, 2.0, 2.0, 3.0]", [S, K, K, K, S], "passed"),
    "cummax": ("x.cummax(0)[0]", "[1.0, 1.0, 0.0]", [K, K, S], "passed"),
    "topk": ("x.topk(2)[0]", "[3.0, 1.0, 3.0, 3.0]", [K, S, K, K], "passed"),
    "kthvalue": ("x.kthvalue(2)[0]", "[3.0, 1.0, 3.0]", [K, S, K], "passed"),
    "max_pool": ("F.max_pool1d(x, 2)", "[[[1.0, 1.0, 0.0, 2.0]]]", [K, K, S, S], "passed"),
    "logcumsumexp": ("x.logcumsumexp(0)", "[1.0, 1.0]", [S, S], "passed"),
    "l1_loss": ("F.l1_loss(x, torch.tensor([1.0, 2.0]))", "[1.0, 1.0]", [K, S], "passed"),
    "smooth_l1_loss": (
        "F.smooth_l1_loss(x, torch.tensor([1.0, 2.0]))",
        "[1.0, 1.0]",
        [S, S],
        "passed",
    ),
    "hinge at its margin": ("(1 - x).clamp(min=0)", "[1.0, 0.5]", [K, S], "passed"),
    "hinge of a product at its margin": (
        "(1 - torch.tensor([[1.0, 2.0], [3.0, -1.0]]) @ x).clamp(min=0).sum() * 2",
        "[0.0, 0.5]",
        [K, K],
        "passed",
    ),
    "triplet at its margin": (
        "F.triplet_margin_loss(x, torch.tensor([[0.0, 3.0]]), torch.tensor([[4.0, 0.0]]))",
        "[[0.0, 0.0]]",
        [K, K],
        "passed",
    ),
    "sign": ("x.sign()", "[0.0, 2.0]", [J, S], "passed"),
    "round": ("x.round()", "[0.5, 0.7]", [J, S], "passed"),
    "frac": ("x.frac()", "[1.0, 0.7]", [J, S], "passed"),
    "remainder": ("torch.remainder(x, 2.0)", "[4.0, 3.0]", [J, S], "passed"),
    "log at 0": ("x.log()", "[0.0, 1.0]", [E, S], "inconclusive"),
    "acos at its ends": ("x.acos()", "[1.0, 0.5, -1.0]", [E, S, E], "passed"),
    "asin at its ends": ("x.asin()", "[1.0, 0.5, -1.0]", [E, S, E], "passed"),
    "acosh at 1": ("x.acosh()", "[1.0, 2.0]", [E, S], "passed"),
    "atanh at 1": ("x.atanh()", "[1.0, 0.5]", [E, S], "inconclusive"),
    "log1p at -1": ("x.log1p()", "[-1.0, 0.5]", [E, S], "inconclusive"),
    "power 1/2": ("x ** 0.5", "[0.0, 0.5]", [E, S], "passed"),
    "power 3/2": ("x ** 1.5", "[0.0, 0.5]", [E, S], "passed"),
    "power 5/2": ("x ** 2.5", "[0.0, 0.5]", [E, S], "passed"),
    "power 0.7": ("x ** 0.7", "[0.0, 0.5]", [E, S], "passed"),
    "cube root": ("x.sign() * x.abs() ** (1 / 3)", "[0.0, 1.0]", [E, S], "inconclusive"),
    "cusp": ("x.abs().sqrt()", "[0.0, 1.0]", [E, S], "inconclusive"),
    "xlogy": ("torch.xlogy(x, torch.tensor([2.0, 3.0]))", "[0.0, 1.0]", [S, S], "passed"),
    "x log x": ("torch.special.entr(x)", "[0.0, 1.0]", [E, S], "passed"),
    "relu squared": ("relu(x) ** 2", "[0.0, 1.0]", [S, S], "passed"),
    "a sum of kinks that bend both ways": (
        "relu(x) @ torch.tensor([1.0, -0.5, 2.0])",
        "[0.0, 0.0, 0.0]",
        [K, K, K],
        "passed",
    ),
    "maxima that bend both ways": (
        "2 * x[0:2].max() - x[1:3].max()",
        "[1.0, 1.0, 1.0]",
        [K, K, K],
        "passed",
    ),
    "dist": ("torch.dist(x, torch.tensor([1.0, 2.0]))", "[1.0, 2.0]", [K, K], "passed"),
    "logsumexp, smooth": ("x.logsumexp(0)", "[1.0, 1.0]", [S, S], "passed"),
    "logaddexp, smooth": (
        "torch.logaddexp(x, torch.tensor([1.0, 2.0]))",
        "[1.0, 1.0]",
        [S, S],
        "passed",
    ),
    "infinity norm": ("x.abs().amax()", "[1.0, -1.0, 0.5]", [K, K, S], "passed"),
    "1-norm": ("x.norm(p=1)", "[0.0, -1.0, 0.5]", [K, S, S], "passed"),
    "std of equal numbers": ("x.std()", "[1.0, 1.0, 1.0]", [K, K, K], "passed"),
    "cdist": ("torch.cdist(x, x)", "[[0.0, 0.0], [3.0, 4.0]]", [S, S, S, S], "passed"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_there_is_told(name: str) -> None:
    expression, value, places, _ = CASES[name]
    found = numeric(spec(f'"{expression}"', value))
    told = np.zeros(len(places)) if found.places is None else found.places.reshape(-1)
    assert told.tolist() == places


@pytest.mark.parametrize("name", CASES)
def test_no_convention_is_reported_as_wrong(name: str) -> None:
    expression, value, _, status = CASES[name]
    outcome = run(spec(f'"{expression}"', value))
    assert outcome.status == status, outcome.diagnoses
    assert not [d for d in outcome.diagnoses if d.code.startswith("GC1")]


def test_pytorch_has_hardsigmoid_s_slope_in_single_precision() -> None:
    """Its backward takes 1/6 as a float32 whatever the dtype: a finding, not a kink's convention."""
    outcome = run(spec("F.hardsigmoid(x)", "[1.0, 0.5]"))
    assert outcome.gradients[0].outliers == ("torch",)


# At ties the elements' own intervals are not enough: gradients that are right together, and such that are
# right one by one only.
TIED = {
    "amax": ("x.amax()", "[1.0, 1.0, 0.0]", ["[0.5, 0.5, 0]", "[1, 0, 0]", "[0.3, 0.7, 0]"]),
    "amax, wrong": ("x.amax()", "[1.0, 1.0, 0.0]", ["[1, 1, 0]", "[0, 0, 0]", "[0.5, 0.6, 0]"]),
    "amin of three": ("x.amin()", "[1.0, 1.0, 1.0]", ["[0, 1, 0]", "[0.2, 0.2, 0.6]"]),
    "amin of three, wrong": ("x.amin()", "[1.0, 1.0, 1.0]", ["[1, 1, 1]", "[0, 0, 0]"]),
    "norm": ("x.norm()", "[0.0, 0.0]", ["[0, 0]", "[0.6, 0.8]", "[-0.3, 0.1]", "[0, -1]"]),
    "norm, wrong": ("x.norm()", "[0.0, 0.0]", ["[1, 1]", "[0.9, -0.9]", "[0.5, 0.95]"]),
    "median": ("x.median()", "[2.0, 2.0, 2.0]", ["[0, 1, 0]", "[0.25, 0.25, 0.5]"]),
    "median, wrong": ("x.median()", "[2.0, 2.0, 2.0]", ["[0, 0, 0]", "[1, 1, 0]", "[0, 2, -1]"]),
    "topk": ("x.topk(2)[0].sum()", "[3.0, 3.0, 3.0]", ["[1, 1, 0]", "[0, 1, 1]"]),
    "topk, wrong": ("x.topk(2)[0].sum()", "[3.0, 3.0, 3.0]", ["[1, 1, 1]", "[1, 0, 0]"]),
    "sort": (
        "x.sort()[0] @ torch.tensor([1.0, 5.0, 2.0])",
        "[3.0, 3.0, 3.0]",
        ["[1, 5, 2]", "[5, 2, 1]", "[2, 1, 5]"],
    ),
    "sort, wrong": (
        "x.sort()[0] @ torch.tensor([1.0, 5.0, 2.0])",
        "[3.0, 3.0, 3.0]",
        ["[5, 5, 5]", "[1, 1, 2]", "[0, 0, 8]", "[6, 1, 1]"],
    ),
    "infinity norm": ("x.abs().amax()", "[1.0, -1.0]", ["[0.5, -0.5]", "[1, 0]", "[0, -1]"]),
    "infinity norm, wrong": ("x.abs().amax()", "[1.0, -1.0]", ["[1, -1]", "[0, 0]"]),
    "hinge": (
        "(1 - torch.tensor([[1.0, 2.0], [3.0, -1.0]]) @ x).clamp(min=0).sum() * 2",
        "[0.0, 0.5]",
        ["[-6, 2]", "[-8, -2]", "[-7, 0]"],
    ),
    "hinge, wrong": (
        "(1 - torch.tensor([[1.0, 2.0], [3.0, -1.0]]) @ x).clamp(min=0).sum() * 2",
        "[0.0, 0.5]",
        ["[-8, 2]", "[-6, -2]"],
    ),
    "bends both ways": (
        "relu(x) @ torch.tensor([1.0, -0.5])",
        "[0.0, 0.0]",
        ["[0, 0]", "[1, -0.5]", "[1, 0]", "[0, -0.5]", "[0.5, -0.1]"],
    ),
    "bends both ways, wrong": (
        "relu(x) @ torch.tensor([1.0, -0.5])",
        "[0.0, 0.0]",
        ["[1.5, 0]", "[0, 0.5]"],
    ),
    "two maxima that bend both ways": (
        "2 * x[0:2].max() - x[1:3].max()",
        "[1.0, 1.0, 1.0]",
        ["[2, -1, 0]", "[0, 2, -1]", "[1, 0.5, -0.5]", "[0, 1, 0]"],
    ),
    "two maxima that bend both ways, wrong": (
        "2 * x[0:2].max() - x[1:3].max()",
        "[1.0, 1.0, 1.0]",
        ["[2, 2, 0]", "[0, 0, 0]", "[3, -2, 0]"],
    ),
}


@pytest.mark.parametrize("methods", ["[manual, numeric]", "[torch, engine, manual, numeric]"])
@pytest.mark.parametrize("name", TIED)
def test_at_ties_directions_decide(name: str, methods: str) -> None:
    expression, value, gradients = TIED[name]
    expected = "failed" if name.endswith("wrong") else "passed"
    for gradient in gradients:
        manual = f"torch.tensor({gradient})"
        outcome = run(spec(expression, value, manual, methods=methods))
        assert outcome.status == expected, (gradient, outcome.diagnoses)
        if expected == "failed":
            assert outcome.gradients[0].outliers == ("manual",)
