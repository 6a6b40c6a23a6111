from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from lxml import etree

from gradcheck_cli.report import words
from gradcheck_cli.report.formats import junit, xunit

if TYPE_CHECKING:
    from tests.report.formats.conftest import Consumer, Document


def cases(document: Document) -> dict[str, etree._Element]:
    root = etree.fromstring(junit.render(document).encode())
    return {str(case.attrib["name"]): case for case in root.iter("testcase")}


def test_the_consumers_take_it(document: Document, consumers: dict[str, Consumer]) -> None:
    consumers["junit"](junit.render(document), document)
    consumers["xunit"](xunit.render(document), document)


def test_the_grammars_differ_by_the_places(
    document: Document, consumers: dict[str, Consumer]
) -> None:
    with pytest.raises(etree.DocumentInvalid, match="'file' is not allowed"):
        consumers["xunit"](junit.render(document), document)


def test_the_text_is_the_terminals(document: Document) -> None:
    check = document["checks"][1]
    (failure,) = cases(document)["forgotten factor"].findall("failure")
    assert failure.text == words.story(check)
    assert failure.get("type") == "GC101"
    assert failure.get("message") == words.headline(check)


def test_where_it_stands_and_how_to_run_it_again(document: Document) -> None:
    case = cases(document)["forgotten factor"]
    assert case.get("file") == "specs/sse.yaml"
    assert case.get("line") == "2"
    assert case.get("classname") == "specs.sse_yaml"
    assert case.get("time") == "0.012"
    said = case.findtext("system-out") or ""
    assert said.split("\n") == [
        "float64 on cpu, seed 0",
        "reproduce with: gradcheck compare 'specs/sse.yaml::forgotten factor'",
    ]


def test_undecided_is_skipped_and_under_strict_failed(document: Document) -> None:
    assert cases(document)["only own rules"].find("skipped") is not None
    document["summary"]["strict"] = True
    assert cases(document)["only own rules"].find("failure") is not None
    assert cases(document)["only own rules"].find("skipped") is None


def test_a_suite_is_a_file(document: Document, consumers: dict[str, Consumer]) -> None:
    document["checks"][1]["file"] = "other.yaml"
    document["environment"]["folder"] = "sub"
    text = junit.render(document)
    consumers["junit"](text, document)
    suites = etree.fromstring(text.encode()).findall("testsuite")
    assert [(suite.get("file"), suite.get("tests")) for suite in suites] == [
        ("sub/specs/sse.yaml", "5"),
        ("sub/other.yaml", "1"),
    ]
    values = {p.attrib["name"]: p.attrib["value"] for p in suites[0].iter("property")}
    assert values["dtype"] == "float64, float32"
    assert values["device"] == "cpu, cuda:0"
    assert values["seed"] == "0"


def test_names_are_unique_where_seeds_are_many(
    document: Document, consumers: dict[str, Consumer]
) -> None:
    document["checks"] = [{**document["checks"][0], "seed": seed} for seed in range(3)]
    text = junit.render(document)
    consumers["junit"](text, document)
    name = "sum of squared errors"
    assert set(cases(document)) == {name, f"{name} #2", f"{name} #3"}


def test_no_check_at_all(document: Document, consumers: dict[str, Consumer]) -> None:
    document["checks"] = []
    consumers["junit"](junit.render(document), document)
