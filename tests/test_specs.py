"""Every spec of the repository: right ones pass, mistakes are caught and blamed on the formula."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.spec.load import load_file
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from gradcheck_cli.spec.check import Check

ROOT = Path(__file__).parent.parent
SPECS = ROOT / "specs"
FILES = sorted(SPECS.rglob("*.yaml"))
MISTAKES = [path for path in FILES if path.parent.name == "mistakes"]
RIGHT = [path for path in FILES if path.parent.name != "mistakes"]


def told(path: Path) -> str:
    return path.relative_to(SPECS).as_posix()


def load(path: Path) -> tuple[Check, ...]:
    return load_file(path)


def test_there_are_specs() -> None:
    assert sum(len(load(path)) for path in RIGHT) >= 30
    assert len(MISTAKES) >= 18


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("path", RIGHT, ids=told)
def test_right_formulas_pass(path: Path, dtype: str) -> None:
    for check in load(path):
        outcome = run_check(replace(check, dtype=dtype))
        assert outcome.status == "passed", (check.id, outcome.error, outcome.diagnoses)
        for gradient in outcome.gradients:
            statuses = {m.method: m.status for m in gradient.methods}
            assert set(statuses) == {"torch", "engine", "manual", "derived", "numeric"}
            assert gradient.derived


@pytest.mark.parametrize("path", MISTAKES, ids=told)
def test_mistakes_are_caught_and_the_formula_is_blamed(path: Path) -> None:
    for check in load(path):
        assert check.expect_fail
        assert run_check(check).status == "passed"
        outcome = run_check(replace(check, expect_fail=False, expect_code=None))
        assert outcome.status == "failed"
        blamed = {outlier for gradient in outcome.gradients for outlier in gradient.outliers}
        assert blamed == {"manual"}


@pytest.mark.parametrize("path", MISTAKES, ids=told)
def test_a_repair_that_is_shown_passes(path: Path) -> None:
    for check in load(path):
        outcome = run_check(replace(check, expect_fail=False, expect_code=None))
        for diagnosis in outcome.diagnoses:
            if diagnosis.fix is None or diagnosis.input is None:
                continue
            text = check.manual[diagnosis.input]
            source = type(text)(diagnosis.fix)
            manual = {**check.manual, diagnosis.input: source}
            repaired = run_check(replace(check, manual=manual, expect_fail=False, expect_code=None))
            rows = [g for g in repaired.gradients if g.input == diagnosis.input]
            assert all(not row.outliers for row in rows)
