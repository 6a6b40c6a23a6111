"""The gradient of the gradient, against Hessians known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from gradcheck_cli.graph import TABLE
from gradcheck_cli.methods import run
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.methods.second_order import second_order
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check

METHODS = ("torch", "engine", "derived", "numeric")
TEXT = """
version: 1
inputs:
  x: {shape: [4]}
  A: {shape: [4, 4], requires_grad: false}
  v_x: {shape: [4], requires_grad: false}
expression: (x @ A @ x) * 0.5 + (v_x * x).sum()
order: 2
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_quadratic_form_has_the_symmetric_part_as_its_hessian(method: str) -> None:
    case = second_order(prepare(load_text(TEXT)[0]))
    # The input that is called as the direction would be doesn't get in its way.
    assert case.second is not None
    assert case.second.directions == {"x": "v_x_"}
    A, v = case.arrays["A"], case.arrays["v_x_"]
    expected = 0.5 * (A + A.T) @ v
    np.testing.assert_allclose(run(method, case).estimates["x"].gradient, expected, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_cotangent_of_the_first_order_stays(method: str) -> None:
    text = (
        "version: 1\ninputs: {x: {shape: [3]}}\nexpression: x ** 3\ncotangent: '2 * x.detach()'\n"
    )
    case = second_order(prepare(load_text(text)[0]))
    x, v = case.arrays["x"], case.arrays["v_x"]
    # sum(2 c x^3) with c = x held fixed has the Hessian 6 x (2 c) on its diagonal.
    np.testing.assert_allclose(run(method, case).estimates["x"].gradient, 12 * x * x * v, rtol=1e-9)


def test_second_derivatives_are_rows_of_their_own() -> None:
    text = """
version: 1
inputs: {x: {shape: [3, 2]}, w: {shape: [2]}}
expression: (x @ w).tanh()
manual: {w: x.T @ (grad * (1 - (x @ w).tanh() ** 2))}
order: 2
"""
    outcome = run_check(load_text(text)[0])
    assert outcome.status == "passed"
    assert [(g.input, g.order) for g in outcome.gradients] == [
        ("x", 1),
        ("w", 1),
        ("x", 2),
        ("w", 2),
    ]
    second = outcome.gradients[2]
    assert [m.method for m in second.methods] == list(METHODS)
    assert second.derived is not None


@pytest.mark.parametrize("expression", ["x.sum()", "(2 * x + 1).sum()", "relu(x).sum()"])
def test_a_linear_function_has_no_second_derivative(expression: str) -> None:
    text = f"version: 1\ninputs: {{x: {{shape: [3]}}}}\nexpression: {expression}\norder: 2\n"
    outcome = run_check(load_text(text)[0])
    assert outcome.status == "passed"


def test_a_rule_whose_own_derivative_is_wrong_shows_at_order_two() -> None:
    """exp's rule refers to its result: with a detached one, only the second derivative is wrong."""
    op = TABLE.by_name["exp"]
    rule = op.vjp
    object.__setattr__(op, "vjp", lambda g, out, _: g * out.detach())
    try:
        text = "version: 1\ninputs: {x: {shape: [3]}}\nexpression: x.exp().sum()\norder: 2\n"
        outcome = run_check(load_text(text)[0])
    finally:
        object.__setattr__(op, "vjp", rule)
    first, second = outcome.gradients
    assert outcome.status == "failed"
    assert first.outliers == ()
    assert all(m.status == "agrees" for m in first.methods)
    assert {m.method for m in second.methods if m.status == "disagrees"} >= {"torch"} or (
        second.outliers
    )
    assert any(d.message.startswith("second derivative") for d in outcome.diagnoses)
