"""What `gradcheck audit` prints and writes."""

from __future__ import annotations

import io
import json

import pytest

from gradcheck_cli.errors import ExitCode, Problem
from gradcheck_cli.report.audit import AuditReport, document
from gradcheck_cli.report.terminal import Terminal
from gradcheck_cli.suite.audit import Blind, CheckAudit, InputAudit

MASK = Blind(
    "x",
    "mask dropped",
    ("GC108",),
    "grad",
    "the mask `x > 0` dropped",
    "every element of `x` is positive",
    "inputs:\n  x: {shape: [3], sample: normal}",
)
GOOD = CheckAudit(
    "f.yaml::good",
    "good",
    "seeing",
    "f.yaml",
    seconds=0.1,
    inputs=(InputAudit("x", "manual", "2 * x", 40, 40),),
    kinds={"shifted": (40, 40)},
)
SPOTTED = CheckAudit(
    "f.yaml::spotted",
    "spotted",
    "blind",
    "f.yaml",
    seconds=0.1,
    inputs=(InputAudit("x", "manual", "grad * (x > 0)", 43, 40),),
    kinds={"shifted": (40, 40), "mask dropped": (3, 0)},
    blind=(MASK,) * 3,
    equal=1,
)
BROKEN = CheckAudit(
    "f.yaml::broken", "broken", "error", "f.yaml", error=Problem("GC303", "no memory")
)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return io.StringIO()


def test_a_blind_spot_has_its_cause_examples_and_cure(printed: io.StringIO) -> None:
    report = AuditReport(Terminal(printed))
    for audit in (GOOD, SPOTTED, BROKEN):
        report.add(audit)
    report.finish([GOOD, SPOTTED, BROKEN], 0.25)
    assert printed.getvalue() == (
        "+ good                                           sees 40 of 40 mistakes   100 ms\n"
        "? spotted                                        sees 40 of 43 mistakes   100 ms\n"
        "\n"
        "  blind to mask dropped (3) GC108, since every element of `x` is positive\n"
        "    x: grad\n"
        "    x: grad\n"
        "    and 1 more (-v)\n"
        "  seen with\n"
        "    inputs:\n"
        "      x: {shape: [3], sample: normal}\n"
        "\n"
        "x ERROR broken\n"
        "  error[GC303]: no memory\n"
        "80 of 83 mistakes seen (96.4%), 1 check with blind spots, 1 error in 250 ms\n"
    )


def test_verbose_lists_every_kind_and_quiet_only_what_is_blind(printed: io.StringIO) -> None:
    AuditReport(Terminal(printed), verbosity=1).add(SPOTTED)
    assert "mask dropped   0/3" in printed.getvalue()
    assert "1 formula left out" in printed.getvalue()
    printed.truncate(0)
    AuditReport(Terminal(printed), verbosity=-1).add(GOOD)
    assert not printed.getvalue()


def test_a_share_is_never_rounded_up_to_all(printed: io.StringIO) -> None:
    many = InputAudit("x", "manual", "x", 100_000, 99_999)
    report = AuditReport(Terminal(printed))
    report.finish([CheckAudit("a", "a", "blind", inputs=(many,), blind=(MASK,))], 1.0)
    assert "(99.9%)" in printed.getvalue()


def test_the_document_is_json_and_adds_up() -> None:
    made = document([GOOD, SPOTTED, BROKEN], [], 0.25, ExitCode.FAILED)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["summary"]["mutants"] == 83
    assert made["summary"]["seen"] == 80
    assert made["summary"]["errors"] == 1
    assert [check["status"] for check in made["checks"]] == ["seeing", "blind", "error"]
    assert made["checks"][1]["blind"][0]["proposal"] == MASK.fragment
    assert document([], [], 0.0, ExitCode.NOTHING_SELECTED)["summary"]["score"] is None
