"""`gradcheck audit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck_cli.errors import ExitCode

if TYPE_CHECKING:
    from tests.cli.conftest import Command

BLIND = """\
version: 1
name: rectified
inputs: {x: {shape: [3, 4], sample: uniform}}
expression: relu(x).sum()
manual: {x: (x > 0) * 1.0}
"""


def test_a_check_that_sees_everything_passes(gradcheck: Command) -> None:
    result = gradcheck("audit", "right.yaml")
    assert result.code == ExitCode.PASSED
    assert "(100%), 0 checks with blind spots" in result.out
    assert result.err == ""


def test_a_blind_spot_fails_with_its_cause_and_cure(gradcheck: Command) -> None:
    Path("blind.yaml").write_text(BLIND)
    result = gradcheck("audit", "blind.yaml", "right.yaml")
    assert result.code == ExitCode.FAILED
    assert "since every element of `x` is positive" in result.out
    assert "x: {shape: [3, 4], sample: normal}" in result.out
    assert "1 check with blind spots" in result.out
    # The whole list, and every kind.
    verbose = gradcheck("audit", "blind.yaml", "-v").out
    assert "(-v)" not in verbose
    assert "mask dropped" in verbose
    assert "sign of the whole" in verbose
    quiet = gradcheck("audit", "right.yaml", "-q").out
    assert len(quiet.splitlines()) == 1


def test_the_json_report(gradcheck: Command) -> None:
    Path("blind.yaml").write_text(BLIND)
    result = gradcheck("audit", "blind.yaml", "--json", "-")
    report = json.loads(result.out)
    assert report["format_version"] == "1.0"
    summary = report["summary"]
    assert summary["mutants"] == summary["seen"] + summary["blind"]
    assert summary["exit_code"] == result.code == ExitCode.FAILED
    assert 0 < summary["score"] < 1
    check = report["checks"][0]
    assert check["name"] == "rectified"
    assert check["status"] == "blind"
    assert check["inputs"][0]["source"] == "manual"
    first = check["blind"][0]
    assert {"input", "kind", "codes", "formula", "what", "reason", "proposal"} == set(first)
    assert sum(kind["mutants"] for kind in check["kinds"].values()) == check["mutants"]
    assert "rectified" in result.err


def test_selection_and_overrides(gradcheck: Command) -> None:
    Path("blind.yaml").write_text(BLIND)
    assert gradcheck("audit", ".", "-k", "right").code == ExitCode.PASSED
    assert gradcheck("audit", ".", "-k", "nothing").code == ExitCode.NOTHING_SELECTED
    assert gradcheck("audit", "right.yaml", "--seed", "7").code == ExitCode.PASSED
    assert gradcheck("audit", "right.yaml", "--dtype", "float32,float64").out.count("sees") == 2


def test_what_is_wrong_is_said(gradcheck: Command) -> None:
    assert gradcheck("audit", "missing.yaml").code == ExitCode.CANNOT_RUN
    assert gradcheck("audit", "right.yaml", "-v", "-q").code == ExitCode.USAGE
    assert gradcheck("audit", "right.yaml", "--dtype", "float31").code == ExitCode.USAGE
    Path("broken.yaml").write_text("version: 1\ninputs: {x: {shape: [3]}}\nexpression: x.smu()\n")
    result = gradcheck("audit", "broken.yaml", "right.yaml")
    assert result.code == ExitCode.USAGE
    assert "GC013" in result.out


def test_compare_warns_and_passes(gradcheck: Command) -> None:
    Path("blind.yaml").write_text(BLIND)
    arguments = ("--methods", "engine,manual,derived,numeric", "--strict")
    result = gradcheck("compare", "blind.yaml", "right.yaml", *arguments)
    assert result.code == ExitCode.PASSED
    assert "  GC211 all samples are on one side of `relu`" in result.out
    assert "GC211" in gradcheck("compare", "blind.yaml", *arguments).out
    assert "GC211" not in gradcheck("compare", "blind.yaml", "-q", *arguments).out
