"""Hand-made outcomes, one of each kind, and the comparison with golden files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from gradcheck_cli.errors import ExitCode, Problem, Where
from gradcheck_cli.verdict.outcome import (
    CheckOutcome,
    Diagnosis,
    GradientOutcome,
    MethodOutcome,
)

GOLDEN = Path(__file__).parent / "golden"
SOURCE = "  predicted: predicted - real"
PLACE = Where("specs/sse.yaml", 8, 14, SOURCE, 16)
Golden = Callable[[str, str], None]
Outcomes = dict[str, CheckOutcome]


def agrees(method: str, ratio: float = 0.0) -> MethodOutcome:
    error = ratio * 1e-13
    return MethodOutcome(method, "agrees", ratio, error, error, (0, 0), 1.25, 1.25, 0, 24, 0.001)


def gradient(*methods: MethodOutcome, **more: object) -> GradientOutcome:
    fields = {
        "input": "predicted",
        "shape": (3, 8),
        "derived": "2 * (predicted - real)",
        "reference": "engine",
        "groups": (("torch", "engine", "manual", "derived", "numeric"),),
    }
    return GradientOutcome(methods=methods, **{**fields, **more})  # type: ignore[arg-type]


def check(name: str, status: str, **more: object) -> CheckOutcome:
    fields = {
        "id": f"specs/sse.yaml::{name}",
        "name": name,
        "status": status,
        "file": "specs/sse.yaml",
        "line": 2,
        "seconds": 0.0123,
        "expression": "(predicted - real).pow(2).sum()",
        "value": {"torch": 7.25, "engine": 7.25},
        "reproduce": f"gradcheck compare 'specs/sse.yaml::{name}'",
    }
    return CheckOutcome(**{**fields, **more})  # type: ignore[arg-type]


@pytest.fixture
def outcomes() -> Outcomes:
    """One outcome of each kind."""
    others = ("torch", "engine", "derived", "numeric")
    passed = check(
        "sum of squared errors",
        "passed",
        gradients=(
            gradient(
                *(agrees(m) for m in ("torch", "engine", "manual", "derived")),
                agrees("numeric", 0.0027),
                equal=(("torch", "engine"), ("torch", "manual"), ("manual", "derived")),
                smallest_visible_error=3.1e-9,
                smallest_visible_relative_error=1e-9,
            ),
        ),
    )
    wrong = MethodOutcome(
        "manual", "disagrees", 5e12, 3.79086, 0.5, (0, 2), 3.79086, 7.58172, 24, 24, 0.001
    )
    long_formula = "t1 = softmax(predicted, 1)\n2 * (t1 - real)"
    failed = check(
        "forgotten factor",
        "failed",
        gradients=(
            gradient(
                agrees("torch"),
                agrees("engine"),
                wrong,
                agrees("derived"),
                agrees("numeric", 0.0027),
                groups=(others, ("manual",)),
                outliers=("manual",),
                equal=(("torch", "engine"), ("engine", "derived")),
                derived=long_formula,
            ),
            gradient(agrees("torch"), agrees("engine"), input="real", groups=(others,)),
        ),
        diagnoses=(
            Diagnosis(
                "GC101",
                "off by a constant factor: multiply by 2",
                "predicted",
                "manual",
                "2 * (predicted - real)",
                PLACE,
                also=(
                    Diagnosis("GC105", "a term is missing: predicted - real"),
                    Diagnosis("GC111", "nearly right", fix="2.0 * (predicted - real)"),
                ),
                difference="predicted - real",
                operator="torch.pow",
            ),
        ),
        manual={"predicted": PLACE},
    )
    noisy = MethodOutcome("numeric", "undecided", None, reason="noise above the error looked for")
    absent = MethodOutcome("torch", "unavailable", reason="PyTorch refused it: no kernel")
    inconclusive = check(
        "only own rules",
        "inconclusive",
        dtype="float32",
        device="cuda:0",
        gradients=(
            gradient(
                absent,
                agrees("engine"),
                agrees("derived"),
                noisy,
                groups=(("engine", "derived"),),
            ),
        ),
        diagnoses=(Diagnosis("GC205", "too few independent witnesses", "predicted"),),
    )
    place = Where("specs/sse.yaml", 7, 13, "expression: (predictd - real).pow(2).sum()", 8)
    error = check(
        "unknown name",
        "error",
        error=Problem("GC012", "unknown name `predictd`", place, "did you mean `predicted`?"),
        also=(Problem("GC302", "no such device", None, None, ExitCode.CANNOT_RUN),),
    )
    skipped = check("later", "skipped", error=Problem("GC302", "no CUDA device"), seconds=0.0)
    known = check(
        "a known mistake",
        "passed",
        expected_failure=True,
        gradients=failed.gradients,
        diagnoses=failed.diagnoses,
    )
    named = (passed, failed, inconclusive, error, skipped, known)
    return {outcome.name: outcome for outcome in named}


@pytest.fixture
def golden() -> Golden:
    """Compares text with a golden file; GRADCHECK_GOLDEN=write makes the file anew."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("GRADCHECK_GOLDEN") == "write":
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare
