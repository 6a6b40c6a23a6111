from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradcheck_cli.report import words
from gradcheck_cli.report.formats import markdown

if TYPE_CHECKING:
    from tests.report.formats.conftest import Consumer, Document


def test_commonmark_takes_it(document: Document, consumers: dict[str, Consumer]) -> None:
    consumers["markdown"](markdown.render(document), document)


def test_the_head_says_it_all(document: Document) -> None:
    lines = markdown.render(document).splitlines()
    assert lines[0] == "### gradcheck"
    assert lines[2] == (
        "❌ 1 failed · ⛔ 1 error · ❔ 1 inconclusive · ✅ 2 passed · ⏭️ 1 skipped in 1.5 s"
    )
    assert lines[4] == "| check | what is wrong | where |"
    assert lines[6] == (
        "| ❌ <code>forgotten factor</code> | <code>GC101 off by a constant factor&#58; multiply by 2 "
        "(manual of predicted)</code> | <code>specs/sse.yaml&#58;8</code> |"
    )


def test_the_story_is_the_terminals(document: Document) -> None:
    text = markdown.render(document)
    for check in document["checks"]:
        told = check["status"] in ("failed", "error", "inconclusive")
        assert (f"```text\n{words.story(check)}\n```" in text) is told


def test_all_right_is_short(document: Document) -> None:
    document["checks"] = document["checks"][:1]
    document["summary"] |= dict.fromkeys(("failed", "errors", "inconclusive", "skipped"), 0)
    assert markdown.render(document) == "### gradcheck\n\n✅ 2 passed in 1.5 s\n"


def test_an_interrupted_run_says_so(document: Document) -> None:
    document["summary"].update(interrupted=True, not_run=1)
    assert "The run was interrupted; 1 check not run." in markdown.render(document)


@pytest.mark.parametrize("number", [60, 600])
def test_a_comment_has_room_for_so_many(
    number: int, document: Document, consumers: dict[str, Consumer]
) -> None:
    failed = document["checks"][1]
    document["checks"] = [{**failed, "id": f"{failed['id']} {n}"} for n in range(number)]
    text = markdown.render(document)
    consumers["markdown"](text, document)
    assert len(text.encode()) > 50_000
    left = number - text.count("<details>")
    assert f"... and {left} more stories, for which there is no room here" in text


def test_a_fence_is_longer_than_what_it_holds(
    document: Document, consumers: dict[str, Consumer]
) -> None:
    expression = "x\n````\n</details>\n<script>alert(1)</script>\n~~~"
    document["checks"][1]["expression"] = expression
    text = markdown.render(document)
    consumers["markdown"](text, document)
    assert "\n`````text\n" in text
