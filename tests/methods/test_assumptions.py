"""Facts hold for every draw, and only what holds is a fact."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.graph import variable
from gradcheck_cli.methods.assumptions import assumed, facts_of, nodes
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.spec.sample import sample


def facts(inputs: str, expression: str = "(x * 1.0).sum()", more: str = "") -> list[str]:
    text = f"version: 1\ninputs: {{{inputs}}}\nexpression: {expression}\n{more}"
    check = load_text(text)[0]
    case = prepare(check)
    found = facts_of(check, case.scope)
    # Every fact is true of what is drawn, whatever the seed.
    for seed in range(20):
        arrays = sample(replace(check, seed=seed))
        for fact, mask in zip(found, Plan(nodes(found))(arrays), strict=True):
            assert mask.all() or "sum" in fact.text
    return [fact.text for fact in found if not fact.text.startswith("isfinite")]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{shape: [3]}", []),
        ("{shape: [3], sample: positive}", ["x > 0"]),
        ("{shape: [3], sample: uniform}", ["x >= 0", "x <= 1"]),
        ("{shape: [3], sample: uniform, low: 0.5, high: 2}", ["x > 0"]),
        ("{shape: [3], sample: uniform, low: -2, high: -1}", ["x < 0"]),
        ("{shape: [3], sample: uniform, low: -2, high: 0}", ["x <= 0"]),
        ("{shape: [3], sample: uniform, low: -1, high: 1}", ["x <= 1"]),
        ("{shape: [3], sample: linspace, low: 3, high: 1}", ["x > 0"]),
        ("{shape: [3, 3], sample: spd}", ["x == x.T"]),
        ("{shape: [2, 3, 3], structure: symmetric}", ["x == x.mT"]),
        ("{shape: [3, 3], sample: positive, structure: lower_triangular}", ["x >= 0"]),
        ("{shape: [2, 3], sample: simplex}", ["x >= 0", "x.sum(-1, keepdim=True) == 1"]),
        ("{shape: [2, 3], sample: one_hot}", ["x >= 0", "x.sum(-1, keepdim=True) == 1"]),
        ("{shape: [3], sample: bernoulli}", ["x >= 0"]),
        ("{shape: [3], sample: ones}", ["x > 0"]),
        ("{shape: [3], avoid: {near: [0, 0.5]}}", ["x != 0", "x != 0.5"]),
        ("{shape: [3, 3], sample: orthogonal}", []),
    ],
)
def test_what_a_sampler_promises(entry: str, expected: list[str]) -> None:
    assert facts(f"x: {entry}") == expected


@pytest.mark.parametrize(
    ("entry", "dtype", "finite"),
    [
        ("{shape: [3]}", "float64", True),
        ("{shape: [3], sample: uniform, high: 1.0e+6}", "float32", True),
        ("{shape: [3], sample: uniform, high: 1.0e+6}", "float16", False),
        ("{shape: [3], std: 1.0e+300}", "float64", False),
        ("{shape: [3, 3], sample: spd}", "float64", True),
        ("{value: [1.0, .inf]}", "float64", False),
    ],
)
def test_what_is_drawn_is_finite(entry: str, dtype: str, finite: bool) -> None:
    text = f"{{version: 1, inputs: {{x: {entry}}}, expression: x.sum(), dtype: {dtype}}}"
    check = load_text(text)[0]
    found = [fact.text for fact in facts_of(check, prepare(check).scope)]
    assert ("isfinite(x)" in found) is finite


def test_a_class_index_is_below_the_sizes_that_it_fits() -> None:
    inputs = "x: {shape: [4, 7]}, t: {shape: [4], sample: integers, low: 0, high: 7}"
    assert facts(inputs, "F.cross_entropy(x, t)") == ["t >= 0", "t < x.shape[1]"]


def test_a_sum_of_one_is_none_in_lower_precision() -> None:
    inputs = "x: {shape: [2, 3], sample: simplex}"
    assert facts(inputs, more="dtype: bfloat16") == ["x >= 0"]


def test_a_bound_that_rounds_to_zero_is_not_above_it() -> None:
    inputs = "x: {shape: [3], sample: uniform, low: 1.0e-12, high: 1}"
    assert facts(inputs, more="dtype: float16")[0] == "x >= 0"


def test_literals_say_something_of_constants_only() -> None:
    assert facts("x: {value: [1.0, 2.0]}") == []
    assert facts(
        "x: {shape: [2]}, c: {value: [1.0, 2.0], requires_grad: false}", "(x * c).sum()"
    ) == ["c > 0"]
    assert facts("x: {shape: [4, 3]}, t: {value: [0, 2, 1, 1]}", "F.cross_entropy(x, t)") == [
        "t >= 0"
    ]
    assert facts("x: {shape: [2]}, c: {value: [1.0, .nan], requires_grad: false}", "x * c") == []


@pytest.mark.parametrize("text", ["x", "x + 1", "3", "True", "x >", "y > 0", "x.sum("])
def test_what_is_no_mask_is_refused(text: str) -> None:
    with pytest.raises(GradcheckError) as raised:
        assumed([text], {"x": variable("x", (3,))})
    assert raised.value.problems[0].where is not None


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(GradcheckError) as raised:
        assumed(["x", "y > 0", "x > 0"], {"x": variable("x", (3,))})
    assert len(raised.value.problems) == 2


def test_masks_are_given_back_as_nodes() -> None:
    (found,) = assumed([" x > 0 "], {"x": variable("x", (3,))})
    assert (found.text, str(found)) == ("x > 0", "x > 0")
    (mask,) = Plan(nodes([found]))({"x": np.array([1.0, -1.0, 2.0])})
    assert mask.tolist() == [True, False, True]
