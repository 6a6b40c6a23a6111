"""Formulas are tried before they are shown: a wrong one is found, a right one never refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.printer import Printed, to_text
from gradcheck_cli.methods.case import Case, prepare
from gradcheck_cli.methods.closed_form import Form, Kind, closed_form
from gradcheck_cli.methods.draws import holding, points, suited
from gradcheck_cli.methods.hessian import hessians, matrix_of, only, products_of
from gradcheck_cli.methods.verify import Verification, verify
from gradcheck_cli.methods.witnesses import Trial, WrongError, by_numbers
from gradcheck_cli.spec.load import load_file, load_text

SPECS = Path(__file__).parents[2] / "specs"


def case_of(inputs: str, expression: str, more: str = "") -> Case:
    text = f"version: 1\ninputs: {{{inputs}}}\nexpression: {expression}\n{more}"
    return prepare(load_text(text)[0])


def tried(case: Case, *texts: str, kind: Kind = "gradient") -> Verification:
    """Verify formulas in place of those that are derived."""
    form = closed_form(case, case.wrt, kind)
    return verify(case.check, replace(form, printed=Printed((), texts)))


def refused(case: Case, *texts: str, kind: Kind = "gradient") -> str:
    with pytest.raises(GradcheckError) as raised:
        tried(case, *texts, kind=kind)
    (problem,) = raised.value.problems
    assert (problem.code, problem.exit_code) == ("GC307", ExitCode.INTERNAL)
    return problem.message


def test_a_right_formula_is_tried_at_other_draws_and_sizes() -> None:
    found = tried(case_of("x: {shape: [3, 4]}", "x.exp().sum()"), "exp(x)")
    assert [point.seed for point in found.tried] == [0, 1, 2, 0]
    assert [point.sizes["x"] for point in found.tried] == [(3, 4)] * 3 + [(5, 6)]
    assert all(point.numeric for point in found.tried)
    assert found.is_general
    assert found.notes == ()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("2 * exp(x)", "x at ["),
        ("exp(x) + 1e-6", "by the rules alone"),
        ("exp(x[:1])", "its shape is (1, 4)"),
        ("exp(y)", "it can't be read back"),
        ("exp(x", "it can't be read back"),
        ("x / 0 * 0", "nan by the formula"),
    ],
)
def test_a_wrong_formula_is_a_bug(text: str, part: str) -> None:
    assert part in refused(case_of("x: {shape: [3, 4]}", "x.exp().sum()"), text)


def test_a_rule_that_is_wrong_is_found_by_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    case = case_of("x: {shape: [3]}", "x.sin().sum()")
    form = closed_form(case, case.wrt)
    wrong = replace(form, printed=Printed((), ("2 * cos(x)",)))
    # The rules say the same as the formula.
    monkeypatch.setattr(
        "gradcheck_cli.methods.verify.differentiate",
        lambda _, wrt, *__: [2 * x.cos() for x in wrt],
    )
    with pytest.raises(GradcheckError, match="by differences"):
        verify(case.check, wrong)


def test_what_holds_for_its_own_sizes_only_is_told() -> None:
    found = tried(case_of("x: {shape: [3]}", "x.mean()"), "full_like(x, 1 / 3)")
    assert found.is_general is False
    assert found.own_sizes_only is not None
    assert "x at [" in found.own_sizes_only


def test_equal_sizes_that_need_not_be_equal_are_told() -> None:
    case = case_of("x: {shape: [3]}, y: {shape: [3]}", "x.sum() * y.exp().sum()")
    right = tried(case, "y.exp().sum().expand(x.shape)", "x.sum() * exp(y)")
    assert right.equal_sizes == ""
    found = tried(case, "y.exp().sum().expand(y.shape)", "x.sum() * exp(y)")
    assert found.equal_sizes == "x.shape[0] == y.shape[0]"


def test_kinks_accept_any_one_sided_derivative_but_no_other() -> None:
    case = case_of("x: {value: [0.0, 1.0]}", "x.abs().sum()")
    assert tried(case, "sign(x)").tried
    assert "at [0]" in refused(case, "sign(x) + (x == 0) * 3")


def test_nan_where_the_gradient_is_nan_is_right() -> None:
    case = case_of("x: {value: [-1.0, 4.0]}", "x.log().sum()")
    assert tried(case, "1 / x").tried
    case = case_of("x: {value: [-1.0, 4.0]}", "x.sqrt().sum()")
    assert tried(case, "0.5 / sqrt(x)").tried
    assert "at [0]" in refused(case, "0.5 / sqrt(x.abs())")


def test_large_inputs_are_tried_small() -> None:
    found = tried(case_of("x: {shape: [1000, 1000]}", "x.exp().sum()"), "exp(x)")
    assert found.tried
    assert all(point.other_sizes for point in found.tried)
    assert max(max(point.sizes["x"]) for point in found.tried) < 10


def test_sizes_that_must_divide_are_doubled() -> None:
    case = case_of(
        "x: {shape: [1, 4, 2]}", "F.pixel_shuffle(x.unsqueeze(1).reshape(1, 4, 1, 2), 2)"
    )
    form = closed_form(case, case.wrt)
    found = verify(case.check, form)
    assert found.tried


def test_all_kinds_with_pytorch() -> None:
    case = case_of("x: {shape: [3, 4]}, w: {shape: [4]}", "(x @ w).tanh()")
    for kind in ("gradient", "hessian", "tangent"):
        found = verify(case.check, closed_form(case, case.wrt, kind), torch=True)
        assert all(point.torch and point.numeric for point in found.tried)


@pytest.mark.parametrize("kind", ["hessian", "tangent"])
def test_wrong_products_are_found(kind: Kind) -> None:
    case = case_of("x: {shape: [3]}", "x.exp().sum()")
    (text,) = closed_form(case, case.wrt, kind).printed.texts
    assert tried(case, text, kind=kind).tried
    assert "by the" in refused(case, f"1.5 * ({text})", kind=kind)


@pytest.mark.parametrize(
    "name",
    [
        "losses/cross_entropy",
        "layers/attention",
        "linear_algebra/quadratic_form",
        "mistakes/overflow",
    ],
)
@pytest.mark.parametrize("kind", ["gradient", "hessian", "tangent"])
def test_specs(name: str, kind: Kind) -> None:
    for check in load_file(SPECS / f"{name}.yaml"):
        case = prepare(check)
        found = verify(check, closed_form(case, case.wrt, kind))
        assert any(not point.other_sizes for point in found.tried)
        assert found.own_sizes_only is None


@pytest.mark.parametrize(
    "texts",
    [
        ["x > 0"],
        ["x > 2", "y < 1"],
        ["(x > 0) & (x < 1)"],
        ["A == A.T"],
        ["x.sum(-1, keepdim=True) == 1"],
        ["t >= 0", "t < A.shape[0]"],
        ["x != 0"],
    ],
)
def test_inputs_are_drawn_so_that_assumptions_hold(texts: list[str]) -> None:
    inputs = "x: {shape: [3]}, y: {shape: [3]}, A: {shape: [3, 3]}, "
    inputs += "t: {shape: [2], sample: integers, low: -5, high: 9}"
    case = case_of(inputs, "(x + y).sum() * A.sum() + t.sum()")
    found = suited(case.check, texts, free=True)
    assert found is not None
    for point in points(prepare(found), 3):
        assert point.other_sizes or holding(point.check, texts)


def test_what_can_not_hold_is_not_found() -> None:
    case = case_of("x: {shape: [3]}", "x.sum()")
    assert suited(case.check, ["x > 0", "x < 0"], free=True) is None


def test_free_inputs_are_drawn_where_the_expression_is_finite() -> None:
    case = case_of("x: {shape: [5, 5]}", "x.logdet()")
    found = suited(case.check, [], free=True)
    assert found is not None
    assert found.inputs[0].sampler in ("normal", "spd", "uniform", "positive", "lower_triangular")
    case = case_of("x: {shape: [50]}", "x.log().sum()")
    found = suited(case.check, [], free=True)
    assert found is not None
    assert found.inputs[0].sampler == "positive"


@pytest.mark.parametrize(
    ("inputs", "expression", "expected"),
    [
        ("x: {shape: [3]}, A: {shape: [4, 3]}", "(A @ x).pow(2).sum()", "2 * A.T @ A"),
        ("x: {shape: [3]}, A: {shape: [3, 3]}", "x @ A @ x", None),
        ("x: {shape: [3]}", "x.exp().sum()", None),
        ("x: {shape: []}", "x ** 3", "6 * x"),
        ("x: {shape: [3]}, A: {shape: [4, 3]}", "softplus(A @ x).sum()", None),
        ("x: {shape: [3]}", "x.sum() ** 3", None),
        ("x: {shape: [3]}", "(x * x).sum().sqrt()", None),
    ],
)
def test_hessians_as_matrices(inputs: str, expression: str, expected: str | None) -> None:
    case = case_of(inputs, expression)
    found = hessians(case, ["x"])
    assert found is not None
    if expected is not None:
        assert found.printed.texts == (expected,)
    confirmed = verify(case.check, products_of(case, only(found, "x")))
    assert len(confirmed.tried) >= 3
    wrong = replace(
        found, printed=replace(found.printed, texts=(f"3 * ({found.printed.texts[0]})",))
    )
    with pytest.raises(GradcheckError):
        verify(case.check, products_of(case, only(wrong, "x")))


def test_what_is_no_product_with_a_matrix_is_left_alone() -> None:
    v, x = variable("v", (3,)), variable("x", (3,))
    assert matrix_of(v.flip(0) * x, v) is None
    assert matrix_of(v.outer(x), v) is None
    made = matrix_of((v * x).sum() * x, v)
    assert made is not None
    assert to_text(made) == "outer(x, x)"


def test_assumptions_are_kept_where_they_are_used() -> None:
    text = "version: 1\ninputs: {x: {shape: [3], sample: positive}, y: {shape: [3]}}\n"
    (check,) = load_text(text + "expression: (x.abs() * y).sum()")
    case = prepare(check)
    from gradcheck_cli.methods.assumptions import facts_of

    form: Form = closed_form(case, case.wrt, facts=facts_of(check, case.scope))
    assert [fact.text for fact in form.assumptions] == ["x > 0"]
    assert verify(check, form, assumptions=["x > 0"]).is_general


def test_large_inputs_are_tried_small_whatever_is_assumed() -> None:
    case = case_of(
        "x: {shape: [200000, 100000], sample: positive}, w: {shape: [100000]}",
        "(x @ w).tanh().sum()",
    )
    found = verify(
        case.check, closed_form(case, case.wrt), assumptions=("x > 0", "isfinite(w)"), free=True
    )
    assert found.tried
    assert all(max(shape) < 20 for point in found.tried for shape in point.sizes.values())


def test_many_inputs_are_held_against_differences_at_once() -> None:
    names = "abcdefghij"
    inputs = ", ".join(f"{name}: {{shape: [2, 3]}}" for name in names)
    case = case_of(inputs, f"({' * '.join(names)}).tanh().sum()")
    form = closed_form(case, case.wrt)
    assert verify(case.check, form).tried[0].numeric
    plan = Plan(form.nodes)
    for wrong in range(len(names)):
        values = [np.array(value) for value in plan(case.arrays)]
        values[wrong][1, 2] += 1e-3
        with pytest.raises(WrongError, match="along a direction"):
            by_numbers(Trial(case, form, case.arrays, values, plan, plan))
