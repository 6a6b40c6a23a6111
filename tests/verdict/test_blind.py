"""Warnings of inputs that hide a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from gradcheck_cli.codes import CODES
from gradcheck_cli.methods.case import prepare
from gradcheck_cli.spec.load import load_file, load_text
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.verdict.blind import blind_spots
from gradcheck_cli.verdict.outcome import BLIND

SPECS = Path(__file__).parent.parent.parent / "specs"


def found(inputs: str, expression: str, manual: str, more: str = "") -> list[str]:
    text = f"version: 1\ninputs: {{{inputs}}}\nexpression: {expression}\n{more}\n"
    check = load_text(text + (f"manual: {{{manual}}}\n" if manual else ""))[0]
    return [diagnosis.code for diagnosis in blind_spots(prepare(check))]


@pytest.mark.parametrize(
    ("inputs", "expression", "manual", "codes"),
    [
        (
            "x: {shape: [3, 4], sample: uniform}",
            "relu(x).sum()",
            "x: torch.ones_like(x)",
            ["GC211"],
        ),
        ("x: {shape: [3, 4]}", "relu(x).sum()", "x: (x > 0) * 1.0", []),
        (
            "x: {shape: [9], sample: uniform}",
            "torch.where(x > 0, x, 0.0).sum()",
            "x: '1'",
            ["GC211"],
        ),
        ("x: {shape: [9], sample: uniform}", "relu(x - 0.5).sum()", "x: (x > 0.5) * 1.0", []),
        ("x: {shape: [9], sample: uniform}", "x.square().sum()", "x: 2 * x", []),
        (
            "x: {shape: [9], sample: uniform}",
            "(x / x.norm().clamp(min=1e-8)).sum()",
            "x: 1 / x.norm() - x * x.sum() / x.norm()**3",
            [],
        ),
        ("x: {shape: [4], sample: ones}", "(x * 3).sum()", "x: 3 * torch.ones_like(x)", ["GC212"]),
        ("x: {shape: [4], sample: zeros}", "x.exp().sum()", "x: x.exp()", ["GC212"]),
        ("x: {shape: [1, 4]}", "x.mean(0).sum()", "x: torch.ones_like(x)", ["GC213"]),
        ("x: {shape: [2, 4]}", "x.mean(0).sum()", "x: torch.ones_like(x) / 2", []),
        (
            "x: {shape: [4, 4]}",
            "x.mean(0).sum()",
            "x: 'torch.ones_like(x) / x.shape[0]'",
            ["GC213"],
        ),
        (
            "A: {shape: [3, 3], sample: spd}",
            "torch.logdet(A)",
            "A: A.inverse().T",
            ["GC214"],
        ),
        ("A: {shape: [3, 3], sample: spd}", "torch.logdet(A)", "A: A.inverse()", []),
        ("A: {value: [[1.0, 2.0], [2.0, 5.0]]}", "torch.logdet(A)", "A: A.inverse()", ["GC214"]),
        ("A: {shape: [3, 3], sample: lower_triangular}", "torch.logdet(A)", "A: A.inverse().T", []),
        ("x: {shape: [3], sample: ones}", "x.sum()", "", []),
    ],
)
def test_what_is_warned_of(inputs: str, expression: str, manual: str, codes: list[str]) -> None:
    assert found(inputs, expression, manual) == codes


def test_a_cotangent_of_ones_hides_the_upstream_gradient() -> None:
    arguments = "x: {shape: [3]}", "x.square()", "x: 2 * x"
    assert found(*arguments, more="cotangent: ones") == ["GC215"]
    assert found(*arguments) == []
    # There is nothing to weigh in a scalar.
    assert found("x: {shape: [3]}", "x.square().sum()", "x: 2 * x", "cotangent: ones") == []


def test_a_warning_changes_no_verdict() -> None:
    text = """
version: 1
inputs: {x: {shape: [3, 4], sample: uniform}}
expression: relu(x).sum()
manual: {x: torch.ones_like(x)}
methods: [engine, manual, derived, numeric]
"""
    outcome = run_check(load_text(text)[0])
    assert outcome.status == "passed"
    assert [diagnosis.code for diagnosis in outcome.diagnoses] == ["GC211"]
    wrong = run_check(load_text(text.replace("ones_like(x)", "zeros_like(x)"))[0])
    assert wrong.status == "failed"
    assert not {diagnosis.code for diagnosis in wrong.diagnoses} & BLIND


def test_our_own_specs_are_not_blind() -> None:
    for path in sorted(SPECS.rglob("*.yaml")):
        for check in load_file(path):
            assert not blind_spots(prepare(check)), check.id


def test_every_code_is_explained() -> None:
    for code in BLIND:
        assert "warning" in CODES[code].text
