"""A report of each kind of check, with pictures, made by hand: nothing is run."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from gradcheck_cli.errors import ExitCode, Problem, Where
from gradcheck_cli.report.json_report import report
from gradcheck_cli.verdict.outcome import (
    CheckOutcome,
    Diagnosis,
    GradientOutcome,
    Grid,
    InputOutcome,
    MethodOutcome,
)

Document = dict[str, Any]

# What a spec, or a report from elsewhere, could hold to break out of the page or to mislead its reader.
HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "]]> && </title>",
    "\u202egnihtemos\u202c \u200f",
    "line\nbreak\ttab\x00\x1b[31m\x7f",
    "lone \udc80 surrogate",
    "{{ 7 * 7 }}{% raw %}",
    "w" * 10_000,
)


def picture(
    rows: int,
    columns: int,
    errors: dict[str, list[float]],
    *,
    steps: tuple[int, int] = (1, 1),
    ratios: dict[str, list[float]] | None = None,
) -> Grid:
    """A picture whose reference counts up from -3."""
    return Grid(
        rows,
        columns,
        *steps,
        reference=tuple(float(at - 3) for at in range(rows * columns)),
        errors={method: tuple(values) for method, values in errors.items()},
        ratios={method: tuple(values) for method, values in (ratios or {}).items()},
    )


def agrees(method: str, ratio: float = 0.001) -> MethodOutcome:
    return MethodOutcome(method, "agrees", ratio, 1e-16, 1e-15, (0, 1), 0.5, 0.5, 0, 20, 0.0021)


def passing(name: str, **more: Any) -> CheckOutcome:
    """A check of a mean squared error that passes."""
    file = more.pop("file", "specs/losses.yaml")
    made = CheckOutcome(
        id=f"{file}::{name}",
        name=name,
        status="passed",
        file=file,
        line=4,
        seconds=0.0123,
        expression="(a - b).pow(2).mean()",
        gradients=(
            GradientOutcome(
                "a",
                (4, 5),
                "2 * (a - b) / a.numel()",
                (agrees("torch"), agrees("engine", 0.0), agrees("numeric", 0.25)),
                reference="engine",
                groups=(("torch", "engine", "numeric"),),
                smallest_visible_error=3.1e-9,
                grid=picture(4, 5, {"torch": [0.0] * 20, "numeric": [1e-16, 0.0] * 10}),
            ),
        ),
        reproduce=f"gradcheck compare '{file}::{name}'",
        tags=("loss",),
        inputs=(
            InputOutcome("a", (4, 5), "float64", checked=True),
            InputOutcome("b", (4, 5), "float64", checked=False),
        ),
        formulas={"a": "2 * (a - b) / 20"},
        manual={"a": Where(file, 9, 6)},
    )
    return replace(made, **more)


def failing() -> CheckOutcome:
    """A check whose manual formula is wrong in all elements but the first."""
    file = "specs/softmax.yaml"
    error = [0.0, *(0.01 * at for at in range(1, 20))]
    wrong = MethodOutcome(
        "manual", "disagrees", 1.3e9, 0.19, 1.3, (3, 4), 16.19, 16.0, 19, 20, 0.0003
    )
    return CheckOutcome(
        id=f"{file}::diagonal only",
        name="diagonal only",
        status="failed",
        file=file,
        line=3,
        seconds=0.137,
        expression="p",
        let={"p": "softmax(z, -1)"},
        inputs=(InputOutcome("z", (4, 5), "float64", checked=True),),
        formulas={"z": "grad * p * (1 - p)"},
        manual={"z": Where(file, 14, 6)},
        tags=("mistake", "softmax"),
        gradients=(
            GradientOutcome(
                "z",
                (4, 5),
                "p * (grad - (grad * p).sum(-1, keepdim=True))",
                (agrees("torch"), agrees("engine", 0.0), wrong),
                reference="engine",
                groups=(("torch", "engine"), ("manual",)),
                outliers=("manual",),
                grid=picture(
                    4,
                    5,
                    {"torch": [1e-17] * 20, "manual": error},
                    ratios={"manual": [value * 1e9 for value in error]},
                ),
            ),
        ),
        diagnoses=(
            Diagnosis(
                "GC107",
                "each element of `p` was treated as depending on its own input only",
                "z",
                "manual",
                "p * (grad - (grad * p).sum(-1, keepdim=True))",
                Where(file, 14, 6, "  z: grad * p * (1 - p)", 18),
                also=(Diagnosis("GC105", "a term is missing", fix="grad * p"),),
                difference="-p * (grad * p).sum(-1, keepdim=True)",
            ),
        ),
        reproduce=f"gradcheck compare '{file}::diagonal only'",
    )


def all_kinds() -> list[CheckOutcome]:
    """One check of each status, of several files, dtypes and devices, and one with a hostile name."""
    blocks = picture(
        2,
        3,
        {"manual": [math.nan, math.inf, -math.inf, 2.0, 0.0, 0.0]},
        steps=(3, 2),
        ratios={"manual": [math.nan, math.inf, math.inf, 2e6, 0.0, 0.0]},
    )
    known = failing()
    noisy = MethodOutcome("numeric", "undecided", reason="noise above the error looked for")
    place = Where("specs/typo.yaml", 7, 13, "expression: (predictd - real).sum()", 8)
    hostile = "".join(HOSTILE[:-1])
    return [
        passing("mean squared error"),
        passing(
            "mean squared error[float32]",
            dtype="float32",
            device="cuda:0",
            seconds=2.5,
            diagnoses=(Diagnosis("GC211", "no input is negative", "a"),),
        ),
        failing(),
        replace(known, id="specs/softmax.yaml::known", status="passed", expected_failure=True),
        replace(
            failing(),
            id="specs/softmax.yaml::blocks",
            gradients=(replace(known.gradients[0], shape=(6, 6), grid=blocks),),
        ),
        passing(
            "undecided",
            status="inconclusive",
            expression="",
            implementation="kernels.losses:mean_squared_error",
            gradients=(
                GradientOutcome(
                    "a", (4, 5), None, (agrees("engine"), noisy), groups=(("engine",),)
                ),
            ),
            diagnoses=(Diagnosis("GC205", "too few independent witnesses", "a"),),
        ),
        CheckOutcome(
            id="specs/typo.yaml::typo",
            name="typo",
            status="error",
            file="specs/typo.yaml",
            error=Problem("GC012", "unknown name `predictd`", place, "did you mean `predicted`?"),
            also=(Problem("GC302", "no such device", None, None, ExitCode.CANNOT_RUN),),
        ),
        CheckOutcome(
            id=f"{hostile}::{hostile}",
            name=hostile,
            status="skipped",
            file=hostile,
            expression=hostile,
            tags=(hostile,),
            description=hostile,
            let={hostile: hostile},
            error=Problem("GC302", hostile, Where(hostile, 1, 1, hostile), hostile),
            reproduce=hostile,
        ),
    ]


@pytest.fixture(scope="session")
def document() -> Document:
    """The report of `all_kinds`."""
    return report(all_kinds(), 12.3, 1)
