"""No text from a spec, and no report from elsewhere, breaks a format."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.report.formats import FORMATS
from gradcheck_cli.report.merging import merged
from gradcheck_cli.report.reading import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.report.formats.conftest import Consumer, Document

HOSTILE = (
    "]]>",
    "]]><script>alert(1)</script><![CDATA[",
    "<script>alert(1)</script>",
    "&amp;&#0;&lt;",
    "::error file=a,line=1::gone",
    "%0A::error::x%25%2C",
    "a\n::stop-commands::x\r\nb",
    "##[error]x",
    "\x00\x01\x08\x0b\x0c\x1b[31m\x7f\x85\x9b",
    "\u202eabc\u2066\u2069\u200b\ufeff\u2028\u2029",
    "\ud800\udfff\udc80",
    "\ufffe\uffff\U0010ffff",
    "a|b|c\\|`code`  ``x``` ~~~",
    "```\n</details>\n# heading",
    "[x](javascript:alert(1)) ![y](http://z) @someone #1 www.x.y",
    "---\n...\n- x: [",
    "# SKIP nothing",
    "x # TODO later",
    "\\# \\\\#",
    "Bail out!",
    "ok 2 - other",
    "1..3",
    "'\"${x}`id`$(id)",
    "../../../etc/passwd",
    "C:\\temp\\x",
    "",
    " ",
    "é漢🙂",
    "long " * 2000,
)
# What decides how a check is told, and has to be one of a few.
KEPT = {"status", "code", "format_version", "date"}
# Words of our own, which are refused where they can't be printed.
WORDS = {"method", "reference", "groups", "outliers", "bitwise_equal", "dtype", "device"}
TEXTS = st.one_of(
    st.sampled_from(HOSTILE),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=40),
)


def with_text(document: Document, text: str, kept: set[str]) -> Document:
    """The document with every text in it that comes from elsewhere ending in `text`."""

    def changed(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            named = key in ("manual", "let")
            return {
                (f"{name}{text}" if named else name): changed(item, name)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [changed(item, key) for item in value]
        special = value in ("NaN", "Infinity", "-Infinity")
        return (
            f"{value}{text}"
            if isinstance(value, str) and key not in kept and not special
            else value
        )

    return {**document, "checks": changed(document["checks"], "checks")}


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(TEXTS, st.booleans())
@example("\n".join(HOSTILE[:-1]), True)
@example(HOSTILE[-1], True)
def test_hostile_texts_break_no_format(
    document: Document, consumers: dict[str, Consumer], text: str, words_too: bool
) -> None:
    words_too = words_too and text.isprintable() and len(text) < 80
    kept = KEPT if words_too else KEPT | WORDS
    hostile, _ = merged([read(json.dumps(with_text(document, text, kept)), "hostile.json")])
    for name, consumer in consumers.items():
        consumer(FORMATS[name].render(hostile), hostile)


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:20]))
def test_each_of_the_known_ones(
    text: str, document: Document, consumers: dict[str, Consumer]
) -> None:
    hostile = with_text(document, text, KEPT | WORDS)
    hostile["checks"] = [c for c in hostile["checks"] if c["status"] in ("error", "skipped")]
    for name in ("junit", "github", "gitlab", "sarif", "tap", "markdown"):
        consumers[name](FORMATS[name].render(hostile), hostile)


def test_page_with_hostile_texts(document: Document) -> None:
    for text in HOSTILE:
        page = FORMATS["html"].render(with_text(document, text, KEPT | WORDS))
        assert "<script>alert(1)</script>" not in page


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from paths(item, (*path, number))


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 2**63, 10**400, 1.5, -0.0, 1e308, "NaN", "Infinity", "passed"]),
    st.sampled_from([[], {}, [[]], [None], {"a": {}}, [1, 2], "GC101", "GC999", "1.0", "2.0"]),
    TEXTS,
)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.data())
def test_a_changed_report_is_refused_or_told(document: Document, data: st.DataObject) -> None:
    """Whatever stands anywhere in a report: it is an error with its path, or every format takes it."""
    changed = copy.deepcopy(document)
    del changed["checks"][0], changed["checks"][-1]
    for _ in range(data.draw(st.integers(1, 3))):
        places = [path for path in paths(changed) if path]
        path = data.draw(st.sampled_from(places))
        parent: Any = changed
        for step in path[:-1]:
            parent = parent[step]
        if data.draw(st.booleans()) and isinstance(parent, dict):
            del parent[path[-1]]
        else:
            parent[path[-1]] = data.draw(VALUES)
    try:
        run = read(json.dumps(changed), "changed.json")
    except GradcheckError as error:
        ending = [(problem.code, problem.exit_code) for problem in error.problems]
    else:
        ending = []
        whole, _ = merged([run])
        for entry in FORMATS.values():
            assert entry.render(whole) is not None
    assert ending in ([], [("GC033", 2)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "3",
        "[" * 100_000,
        '{"format_version": ' + "9" * 5000 + "}",
        '{"format_version": "1.0", "summary": NaN}',
        '{"format_version": "1"}',
        '{"format_version": "1.x"}',
        '{"type": "header"}\n{"type": "check"}\n',
        '{"type": "header", "format_version": "1.0"}\nnonsense\n',
        "<xml/>\n<more/>\n",
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        read(text, "x.json")
    (problem,) = caught.value.problems
    assert problem.code == "GC033"
    assert problem.message.startswith("x.json: ")
    assert problem.hint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("checks", 1, "status", "wrong"), 'checks[1].status is "wrong", not one of passed,'),
        (("checks", 0, "line", 0), "checks[0].line is 0, not a whole number of 1 or more"),
        (("checks", 1, "gradients", 3), "checks[1].gradients is 3, not a list"),
        (("checks", 1, "seconds", "NaN"), 'checks[1].seconds is "NaN", not a duration'),
        (("summary", "exit_code", 7), "summary.exit_code is 7, not one of 0, 1,"),
        (("checks", 3), "checks is 3, not a list"),
        (("checks", 2, "id", None), "checks[2].id is null, not a text"),
    ],
)
def test_the_place_that_is_wrong_is_named(
    change: tuple[Any, ...], message: str, document: Document
) -> None:
    *path, last, value = change
    parent: Any = document
    for step in path:
        parent = parent[step]
    parent[last] = value
    with pytest.raises(GradcheckError) as caught:
        read(json.dumps(document), "x.json")
    assert message in caught.value.problems[0].message


def test_a_newer_format_asks_for_a_newer_gradcheck(document: Document) -> None:
    document["format_version"] = "2.0"
    with pytest.raises(GradcheckError) as caught:
        read(json.dumps(document), "x.json")
    (problem,) = caught.value.problems
    assert problem.hint == "a newer gradcheck wrote it: upgrade this one"
    document["format_version"] = "1.7"
    document["checks"][0]["later"] = {"x": 1}
    assert len(read(json.dumps(document), "x.json").outcomes) == 6
