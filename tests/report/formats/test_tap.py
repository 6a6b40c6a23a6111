from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.report.formats import tap

if TYPE_CHECKING:
    from tests.report.formats.conftest import Consumer, Document


def test_the_consumers_take_it(document: Document, consumers: dict[str, Consumer]) -> None:
    consumers["tap"](tap.render(document), document)


def test_points(document: Document) -> None:
    lines = [line for line in tap.render(document).splitlines() if not line.startswith("  ")]
    assert lines == [
        "TAP version 14",
        "1..6",
        "ok 1 - sum of squared errors",
        "not ok 2 - forgotten factor",
        "not ok 3 - only own rules # TODO inconclusive",
        "not ok 4 - unknown name",
        "ok 5 - later # SKIP no CUDA device",
        "ok 6 - a known mistake",
    ]


def test_undecided_is_no_longer_to_do_under_strict(document: Document) -> None:
    document["summary"]["strict"] = True
    assert "not ok 3 - only own rules\n" in tap.render(document)


def test_diagnostics(document: Document) -> None:
    lines = tap.render(document).splitlines()
    start = lines.index("not ok 2 - forgotten factor")
    assert lines[start + 1 : start + 12] == [
        "  ---",
        '  message: "GC101 off by a constant factor: multiply by 2 (manual of predicted)"',
        '  severity: "fail"',
        '  code: "GC101"',
        '  file: "specs/sse.yaml"',
        "  line: 8",
        "  column: 14",
        '  fix: "2 * (predicted - real)"',
        "  reproduce: \"gradcheck compare 'specs/sse.yaml::forgotten factor'\"",
        "  story: |",
        "    FAILED forgotten factor",
    ]


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a # SKIP b", "a \\# SKIP b"), ("a\\#b", "a\\\\\\#b"), ("a\nok 7 - b", "a\\\\nok 7 - b")],
)
def test_names_begin_no_directive(name: str, shown: str, document: Document) -> None:
    document["checks"] = [{**document["checks"][0], "id": name, "name": name}]
    assert tap.render(document).splitlines()[2] == f"ok 1 - {shown}"


def test_an_interrupted_run_bails_out(document: Document) -> None:
    document["summary"].update(interrupted=True, not_run=4)
    last = tap.render(document).splitlines()[-1]
    assert last == "Bail out! interrupted, 4 checks not run"
