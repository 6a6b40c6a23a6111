"""Places where PyTorch's own derivative is wrong: PyTorch is the outlier, and its operator is named.

Each is wrong in PyTorch 2.13; where a later one is right, the place can go.
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import NamedTuple

import pytest

from gradcheck_cli.methods import run
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.methods.second_order import second_order
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check


class Place(NamedTuple):
    """A check, the operator that is wrong in it, in which order of derivative, and what it gives."""

    operator: str
    inputs: str
    expression: str
    order: int
    why: str


PLACES = (
    Place(
        "torch.sinc", "x: {value: [0.0, 0.5, -1.3]}", "torch.sinc(x)", 2, "NaN at 0, for -pi^2 / 3"
    ),
    Place(
        "torch.sinc",
        "x: {value: [[0.0, 0.5], [0.25, -1.3]]}",
        "(torch.sinc(x - 0.25 * x) * 3).tanh().sum()",
        2,
        "the same inside of more",
    ),
    Place(
        "F.logsigmoid",
        "x: {value: [30.0, 36.0, 40.0]}",
        "F.logsigmoid(x)",
        2,
        "(z - 1) * z of a z that rounds to 1, for -exp(-x)",
    ),
    Place(
        "torch.renorm",
        "x: {value: [[0.0, 0.0], [1.0, 2.0]]}",
        "torch.renorm(x, 2, 0, 0.0)",
        1,
        "the gradient of a zero slice passes, though it is held at zero",
    ),
    Place(
        "torch.as_strided_scatter",
        "x: {shape: [3, 4]}, s: {shape: [2, 2]}",
        "torch.as_strided_scatter(x, s, (2, 2), (1, 2))",
        1,
        "the input gets the gradient of the elements that were replaced",
    ),
    Place(
        "torch.ldexp",
        "x: {shape: [3]}, k: {value: [-1, -2, 3], dtype: int64}",
        "torch.ldexp(x * 2, k).exp()",
        1,
        "2 ** k in whole numbers is 0 for negative k",
    ),
    Place(
        "torch.linalg.det",
        "A: {value: [[1.0, 2.0], [2.0, 4.0]]}",
        "torch.linalg.det(A)",
        1,
        "zero at a singular matrix, for the cofactors",
    ),
    Place(
        "torch.special.bessel_j0",
        "x: {shape: [3], sample: positive}",
        "torch.special.bessel_j0(x) * x",
        1,
        "a constant to autograd, for -bessel_j1",
    ),
    Place(
        "torch.special.bessel_j1",
        "x: {shape: [3], sample: positive}",
        "torch.special.bessel_j1(x) + x",
        1,
        "a constant to autograd",
    ),
    Place(
        "torch.special.modified_bessel_k0",
        "x: {shape: [3], sample: positive}",
        "torch.special.modified_bessel_k0(x) + x",
        1,
        "a constant to autograd",
    ),
    Place(
        "F.ctc_loss",
        "x: {shape: [5, 2, 4]}, t: {value: [[1, 2], [2, 3]], dtype: int64}, "
        "n: {value: [5, 5], dtype: int64}, m: {value: [2, 2], dtype: int64}",
        "F.ctc_loss(x, t, n, m)",
        1,
        "the gradient of logits behind a log_softmax, whatever the input is",
    ),
    Place(
        "torch.masked.logaddexp",
        "x: {shape: [2, 3]}, y: {shape: [2, 3]}, "
        "m: {value: [[true, false, true], [true, true, true]], dtype: bool}, "
        "k: {value: [[true, true, false], [true, true, true]], dtype: bool}",
        "torch.masked.logaddexp(x, y, input_mask=m, other_mask=k)",
        2,
        "NaN where one side is masked out",
    ),
)


@pytest.mark.parametrize("place", PLACES, ids=lambda p: f"{p.operator}-{p.order}")
def test_pytorch_is_the_outlier_and_its_operator_is_named(place: Place) -> None:
    text = f"version: 1\ninputs: {{{place.inputs}}}\nexpression: {place.expression!r}\n"
    (check,) = load_text(text + f"order: {place.order}\n")
    outcome = run_check(check)
    assert outcome.status == "failed"
    wrong = [gradient for gradient in outcome.gradients if gradient.outliers]
    assert wrong
    for gradient in wrong:
        assert gradient.outliers == ("torch",), gradient
        assert gradient.order == place.order
        assert "engine" in gradient.groups[0]
    named = [d for d in outcome.diagnoses if d.code.startswith("GC1")]
    assert {(d.method, d.operator) for d in named} == {("torch", place.operator)}
    for diagnosis in named:
        assert f"`{place.operator}`" in diagnosis.message
        where = diagnosis.where
        assert where is not None
        assert where.source is not None
        assert where.column is not None
        marked = where.source[where.column - 1 : where.column - 1 + where.width]
        assert marked.startswith(place.operator)


@pytest.mark.parametrize("x", [20.0, 30.0, 36.0, 40.0, 700.0])
def test_the_second_derivative_of_logsigmoid_is_exact_at_large_inputs(x: float) -> None:
    text = f"version: 1\ninputs: {{x: {{value: [{x}]}}}}\nexpression: F.logsigmoid(x)\norder: 2\n"
    case = second_order(prepare(load_text(text)[0]))
    found = run("engine", case).estimates["x"].gradient[0]
    with localcontext() as context:
        context.prec = 50
        tail = Decimal(-x).exp()
        factors = case.arrays["cotangent"][0], case.arrays["v_x"][0]
        exact = -tail / (1 + tail) ** 2 * Decimal(float(factors[0])) * Decimal(float(factors[1]))
        assert abs(Decimal(float(found)) / exact - 1) < Decimal("1e-12")
