"""Diagnoses: the right code, and a repair that was evaluated before it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.verdict.diagnosis import Suspect, diagnose
from gradcheck_cli.verdict.diagnosis.whole import turned_products

if TYPE_CHECKING:
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
        (0 * REFERENCE, "GC112"),
        (np.where(REFERENCE == 3, np.nan, REFERENCE), "GC110"),
        (REFERENCE + 1, "GC199"),
    ],
)
def test_numbers_alone_tell_the_kind(gradient: Any, code: str) -> None:
    found = diagnose(suspect(gradient))
    assert found.code == code
    assert (found.input, found.method, found.fix) == ("x", "torch", None)


def of(expression: str, manual: str, inputs: str, dtype: str = "float64") -> Diagnosis:
    text = (
        f"version: 1\ninputs: {inputs}\nexpression: {expression}\nmanual: {manual}\ndtype: {dtype}"
    )
    outcome = run_check(load_text(text)[0])
    assert outcome.status == "failed"
    (found,) = [d for d in outcome.diagnoses if d.code.startswith("GC1")]
    assert found.method == "manual"
    return found


MSE = ("F.mse_loss(x, y)", "{x: {shape: [4, 6], requires_grad: true}, y: {shape: [4, 6]}}")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    ("manual", "code", "fix"),
    [
        ("(x - y) / x.numel()", "GC101", "2 * ((x - y) / x.numel())"),
        ("2 * (x - y)", "GC101", "(2 * (x - y)) / x.numel()"),
        ("2 * (x - y) / x.shape[0]", "GC101", "(2 * (x - y) / x.shape[0]) / x.shape[1]"),
        ("x - y", "GC101", "2 * (x - y) / x.numel()"),
        ("2 * (y - x) / x.numel()", "GC102", "-(2 * (y - x) / x.numel())"),
        ("4 * (y - x) / x.numel()", "GC101", "-(4 * (y - x) / x.numel()) / 2"),
        ("math.pi * (x - y) / x.numel()", "GC101", None),
        ("2.002 * (x - y) / x.numel()", "GC101", "0.999000999 * (2.002 * (x - y) / x.numel())"),
    ],
)
def test_constant_factors_are_named(manual: str, code: str, fix: str | None, dtype: str) -> None:
    expression, inputs = MSE
    found = of(expression, f"{{x: '{manual}'}}", inputs, dtype)
    assert found.code == code
    assert found.fix is not None
    if fix is not None:
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


def test_what_no_parser_reads_has_no_products() -> None:
    assert list(turned_products("2 *")) == []
    assert list(turned_products("(" * 500 + "x" + ")" * 500)) == []


def test_no_gradient_and_no_number() -> None:
    expression, inputs = MSE
    assert of(expression, "{x: 0 * x}", inputs).code == "GC112"
    found = of(expression, "{x: 2 * (x - y) / x.numel() / (x > -0.5)}", inputs)
    assert found.code == "GC110"
    assert "elements" in found.message
    assert "wrong too" not in found.message
