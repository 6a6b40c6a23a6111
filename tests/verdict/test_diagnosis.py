"""Diagnoses: the right code, a repair that was evaluated before it is shown, and no accidents."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.methods.case import prepare
from gradcheck_cli.spec.load import load_file, load_text
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.verdict.diagnosis import FAMILIES, Suspect, diagnose, guesses
from gradcheck_cli.verdict.diagnosis.resized import Resized, shrunk

if TYPE_CHECKING:
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.verdict.outcome import Diagnosis

REFERENCE = np.array([[1.0, 2.0], [3.0, 4.0]])


def suspect(gradient: Any, **more: Any) -> Suspect:
    def right(array: Any) -> bool:
        return bool(np.allclose(array, REFERENCE, rtol=1e-9, atol=0))

    return Suspect("x", "torch", np.asarray(gradient), REFERENCE, right, **more)


@pytest.mark.parametrize(
    ("gradient", "code"),
    [
        (2 * REFERENCE, "GC101"),
        (REFERENCE / 7.25, "GC101"),
        (-REFERENCE, "GC102"),
        (REFERENCE.T, "GC103"),
        (REFERENCE[::-1], "GC109"),
        (0 * REFERENCE, "GC112"),
        (np.where(REFERENCE == 3, np.nan, REFERENCE), "GC110"),
        (REFERENCE + np.diag([0, 5]), "GC199"),
    ],
)
def test_numbers_alone_tell_the_kind(gradient: Any, code: str) -> None:
    found = diagnose(suspect(gradient))
    assert found.code == code
    assert (found.input, found.method, found.fix) == ("x", "torch", None)


def check_of(expression: str, manual: str, inputs: str, dtype: str = "float64") -> Check:
    text = (
        f'version: 1\ninputs: {inputs}\nexpression: "{expression}"\nmanual: {manual}\n'
        f"dtype: {dtype}\nmethods: [engine, manual]"
    )
    return load_text(text)[0]


def of(expression: str, manual: str, inputs: str, dtype: str = "float64") -> Diagnosis:
    outcome = run_check(check_of(expression, manual, inputs, dtype))
    assert outcome.status == "failed", outcome.error
    (found,) = [d for d in outcome.diagnoses if d.code.startswith("GC1")]
    assert found.method == "manual"
    return found


def suspected(expression: str, manual: str, inputs: str) -> Suspect:
    """A formula for `x` before its diagnosis."""
    case = prepare(check_of(expression, f"{{x: '{manual}'}}", inputs))
    bare = Suspect("x", "manual", np.zeros(()), np.zeros(()), bool, case, case.formulas["x"])
    gradient, truth = bare.values([case.manual["x"], bare.truth])
    assert gradient is not None
    assert truth is not None
    reference = np.asarray(truth, np.float64)

    def right(array: Any) -> bool:
        return bool(np.allclose(array, reference, rtol=1e-9, atol=1e-12))

    return replace(bare, gradient=gradient, reference=reference, right=right)


MSE = ("F.mse_loss(x, y)", "{x: {shape: [4, 6], requires_grad: true}, y: {shape: [4, 6]}}")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("manual", "code", "fix"),
    [
        ("(x - y) / x.numel()", "GC101", "2 * ((x - y) / x.numel())"),
        ("2 * (x - y)", "GC101", "2 * (x - y) / x.numel()"),
        ("2 * (x - y) / x.shape[0]", "GC101", "2 * (x - y) / x.numel()"),
        ("x - y", "GC101", "2 * (x - y) / x.numel()"),
        ("2 * (y - x) / x.numel()", "GC102", "2 * (x - y) / x.numel()"),
        ("4 * (y - x) / x.numel()", "GC101", "-2 * (y - x) / x.numel()"),
        ("math.pi * (x - y) / x.numel()", "GC101", "2 * (x - y) / x.numel()"),
        ("2.002 * (x - y) / x.numel()", "GC111", "2 * (x - y) / x.numel()"),
    ],
)
def test_constant_factors_are_named(manual: str, code: str, fix: str, dtype: str) -> None:
    expression, inputs = MSE
    found = of(expression, f"{{x: '{manual}'}}", inputs, dtype)
    assert found.code == code
    assert found.fix == fix


SQUARE = "{A: {shape: [3, 3]}, B: {shape: [3, 3], requires_grad: false}}"
VECTOR = "{A: {shape: [3, 3], requires_grad: false}, b: {shape: [3]}}"


@pytest.mark.parametrize(
    ("expression", "manual", "inputs", "fix"),
    [
        ("torch.logdet(A @ A.T)", "{A: 2 * A.inverse()}", SQUARE, "(2 * A.inverse()).T"),
        ("(B @ A).sum()", "{A: B @ torch.ones_like(B)}", SQUARE, "B.T @ torch.ones_like(B)"),
        ("A @ B", "{A: B.T @ grad}", SQUARE, "grad @ B.T"),
        ("A @ B", "{A: 1.0 * (B.T @ grad)}", SQUARE, "1.0 * (grad @ B.T)"),
        ("A @ b", "{b: A @ grad}", VECTOR, "grad @ A"),
        ("A @ (2 * b)", "{b: 2 * A @ grad}", VECTOR, "grad @ (2 * A)"),
    ],
)
def test_transposed_and_swapped(expression: str, manual: str, inputs: str, fix: str) -> None:
    if "B" in expression or "A @ A" in expression:
        inputs = inputs if "B" in expression else "{A: {shape: [3, 3]}}"
    found = of(expression, manual, inputs)
    assert (found.code, found.fix) == ("GC103", fix)


def test_repairs_hold_beside_what_is_not_ascii() -> None:
    found = of(
        "θ @ 权",
        "{θ: 权.T @ grad}",
        "{θ: {shape: [2, 2]}, 权: {shape: [2, 2], requires_grad: false}}",
    )
    assert (found.code, found.fix) == ("GC103", "grad @ 权.T")


def test_no_gradient_and_no_number() -> None:
    expression, inputs = MSE
    assert of(expression, "{x: 0 * x}", inputs).code == "GC112"
    found = of(expression, "{x: 2 * (x - y) / x.numel() / (x > -0.5)}", inputs)
    assert found.code == "GC110"
    assert "elements" in found.message
    assert "wrong too" not in found.message


def test_a_slip_of_the_pen_explains_a_zero() -> None:
    expression, inputs = MSE
    found = of(expression, "{x: 2 * (x - x) / x.numel()}", inputs)
    assert (found.code, found.fix) == ("GC112", "2 * (x - y) / x.numel()")
    assert "`x` is used where `y` is right" in found.message


# No accidents.


@pytest.mark.parametrize("manual", ["x**3 + 5", "exp(x) * 3.7", "x.sin() * x.abs() + 0.3"])
def test_a_single_element_is_a_multiple_of_anything(manual: str) -> None:
    found = of("cosh(x).log() * x", f"{{x: '{manual}'}}", "{x: {shape: []}}")
    assert found.code == "GC199"
    assert "not recognised" in found.message


def test_what_fits_at_the_inputs_only_is_no_explanation() -> None:
    # At x = 2 the factor is 2; elsewhere it is x.
    found = of("x**3", "{x: 'grad * 1.5 * x**2'}", "{x: {shape: [], value: 2.0}}")
    assert (found.code, found.fix) == ("GC101", "grad * 3 * x**2")
    found = of("x**3", "{x: 'grad * 3 * x'}", "{x: {shape: [], value: 2.0}}")
    assert found.code != "GC101"


def test_equal_sizes_are_told_apart_by_other_sizes() -> None:
    two = "{x: {shape: [2, 5]}}"
    found = of("x.square().mean(0).sum()", "{x: 2 * x}", two)
    assert found.fix == "2 * x / x.shape[0]"
    found = of("x.square().sum() * 0.5", "{x: 2 * x}", two)
    assert found.fix == "x"


def test_two_rows_of_symmetric_numbers_are_no_permutation() -> None:
    found = of(MSE[0], "{x: (x + y) / x.numel()}", MSE[1])
    assert found.code != "GC109"


def test_the_derived_formula_is_the_last_repair() -> None:
    found = of("tanh(x).square()", "{x: grad * x.frac() + 0.125}", "{x: {shape: [3, 4]}}")
    assert found.code == "GC199"
    assert found.message.endswith("the cause is not recognised; the formula derived is right")
    assert found.fix == "2 * grad * tanh(x) * (1 - tanh(x) ** 2)"


# What families may ask.


def test_the_second_point_is_another_draw() -> None:
    asked = suspected("sin(x)", "grad * sin(x)", "{x: {shape: [3, 4]}}")
    assert asked.case is not None
    point = asked.again
    assert point is not None
    assert not np.array_equal(point.arrays["x"], asked.case.arrays["x"])
    assert np.allclose(point.truth, point.arrays["grad"] * np.cos(point.arrays["x"]))
    assert point.right(point.truth * (1 + 1e-9))
    assert point.gradient is not None
    assert not point.right(point.gradient)
    assert asked.survives("grad * cos(x)")
    assert not asked.survives("grad * cos(x) * 1.001")
    assert not asked.survives("grad * no_such(x)")


def test_an_input_given_by_value_moves_a_little() -> None:
    asked = suspected("sin(x)", "sin(x)", "{x: {shape: [3], value: [-1.0, 2.0, 30.0]}}")
    point = asked.again
    assert point is not None
    moved = point.arrays["x"] / np.array([-1.0, 2.0, 30.0])
    assert np.all((moved > 0.79) & (moved < 1.26) & (moved != 1))


def test_other_sizes_keep_what_must_be_equal() -> None:
    asked = suspected(
        "(x @ w - y).square().mean()",
        "x",
        "{x: {shape: [3, 3]}, w: {shape: [3], requires_grad: false}, "
        "y: {shape: [3], requires_grad: false}}",
    )
    other = Resized.of(asked)
    assert other is not None
    rows, columns = other.case.variables["x"].shape
    assert rows != columns
    assert other.case.variables["w"].shape == (columns,)
    assert other.case.variables["y"].shape == (rows,)
    assert other.holds("2 * torch.outer(x @ w - y, w) / x.shape[0]")
    assert not other.holds("2 * torch.outer(x @ w - y, w) / x.shape[1]")


def test_what_holds_for_its_own_sizes_only_has_no_others() -> None:
    inputs = "{x: {shape: [4, 6]}}"
    assert Resized.of(suspected("x.reshape(3, 8).sum(0)", "x", inputs)) is None


def test_large_inputs_are_looked_at_in_small() -> None:
    inputs = "{x: {shape: [300, 200]}, y: {shape: [300, 200], requires_grad: false}}"
    asked = suspected("(tanh(x) * y).mean()", "y * (1 - tanh(x)**3) / x.numel()", inputs)
    smaller = shrunk(asked)
    assert smaller is not None
    assert smaller.gradient.size < 100
    found = diagnose(asked)
    assert (found.code, found.fix) == ("GC113", "y * (1 - tanh(x)**2) / x.numel()")


def test_a_long_formula_is_not_searched() -> None:
    long = "sin(x)"
    for _ in range(8):
        long = f"({long} + {long})"
    asked = suspected("cos(x)", f"grad * ({long})", "{x: {shape: [2]}}")
    assert asked.draft is not None
    assert guesses.sites(asked.draft) == []


def test_families_say_what_their_findings_cost_at_least() -> None:
    cases = [
        (MSE[0], "(x - y) / x.numel()", MSE[1]),
        (MSE[0], "2 * (y - x) / x.numel()", MSE[1]),
        ("x @ x", "grad @ x.T + x @ grad", "{x: {shape: [3, 3]}}"),
        ("tanh(x)", "grad * tanh(x) * (1 - tanh(x))", "{x: {shape: [3, 3]}}"),
        ("x.cumsum(0)", "grad.flip(0).cumsum(0)", "{x: {shape: [5]}}"),
    ]
    for case in cases:
        for family in FAMILIES:
            for finding in family.propose(suspected(*case)):
                assert finding.cost >= family.LEAST, (family, finding)


MISTAKES = sorted((Path(__file__).parents[2] / "specs" / "mistakes").glob("*.yaml"))


@pytest.mark.parametrize("path", MISTAKES, ids=lambda path: path.stem)
def test_known_mistakes_get_their_code_and_a_repair(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = re.search(r"^(?:x-mistake: |expect: fail )(GC1\d\d)$", text, re.MULTILINE)
    assert named is not None
    for check in load_file(path):
        bare = replace(check, expect_fail=False, expect_code=None, methods=("engine", "manual"))
        outcome = run_check(bare)
        (found,) = [d for d in outcome.diagnoses if d.code.startswith("GC1")]
        assert found.code == named[1], found
        assert found.fix is not None


def test_a_let_name_is_written_out_where_what_it_stands_for_needs_a_change() -> None:
    text = "version: 1\ninputs: {x: {shape: [3]}}\nlet: {s: x.sin()}\n"
    text += "expression: s.sum()\nmanual: {x: s}"
    (found,) = run_check(load_text(text)[0]).diagnoses
    assert (found.code, found.fix) == ("GC113", "x.cos()")
