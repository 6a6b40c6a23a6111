from __future__ import annotations

import json
import math
import re
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import lxml.html
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import printable
from gradcheck_cli.report.formats.html import render
from gradcheck_cli.report.html import data as page_data_module
from gradcheck_cli.report.html import page as page_module
from gradcheck_cli.report.html.data import page_data
from gradcheck_cli.report.html.formulas import ELEMENTS, TOKENS, Formulas, compact
from gradcheck_cli.report.html.fragment import fragment
from gradcheck_cli.report.json_report import report
from gradcheck_cli.verdict.outcome import CheckOutcome, GradientOutcome, InputOutcome, Status
from tests.report.html.conftest import HOSTILE, agrees, all_kinds, failing, passing, picture

if TYPE_CHECKING:
    from tests.report.html.conftest import Document

MATRIX = (("x", (4, 5), "float64"),)


def page_of(*outcomes: CheckOutcome) -> str:
    return render(report(outcomes, 1.0, 0))


def parsed(page: str) -> Any:
    return lxml.html.fromstring(page)


def data_of(page: str) -> Any:
    return json.loads(parsed(page).get_element_by_id("data").text)


def test_it_is_one_file_that_loads_nothing(document: Document) -> None:
    root = parsed(render(document))
    assert not root.xpath("//@src")
    assert set(root.xpath("//link/@href")) == {"data:,"}
    assert all(href.startswith("#") for href in root.xpath("//a/@href"))
    assert "@import" not in root.findtext(".//style")
    assert "url(" not in root.findtext(".//style")


def test_the_policy_allows_its_own_scripts_and_styles_and_no_network(document: Document) -> None:
    root = parsed(render(document))
    head = list(root.find("head"))
    policy = root.xpath("//meta[@http-equiv='Content-Security-Policy']")[0]
    assert head.index(policy) < head.index(root.find(".//style"))
    rules = dict(rule.split(" ", 1) for rule in policy.get("content").split("; "))
    assert rules["default-src"] == "'none'"
    for kind, found in (
        ("script-src", root.xpath("//script[not(@type)]/text()")),
        ("style-src", root.xpath("//style/text()")),
    ):
        hashes = [b64encode(sha256(text.encode()).digest()).decode() for text in found]
        assert rules[kind] == " ".join(f"'sha256-{one}'" for one in hashes)
    # lxml turns no character of the scripts into another: the hashes above are of the page's bytes.
    assert not root.xpath("//*[@style]")


def test_no_script_parses_text_as_markup_or_code() -> None:
    folder = files("gradcheck_cli.report.html")
    for script in folder.iterdir():
        if script.name.endswith(".js"):
            text = script.read_text(encoding="utf-8")
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)


def test_it_has_landmarks_headings_and_a_table_head(document: Document) -> None:
    root = parsed(render(document))
    assert root.get("lang") == "en"
    for name in ("header", "main", "footer", "h1"):
        assert len(root.xpath(f"//{name}")) == 1, name
    assert root.xpath("//*[@role='search']")
    assert root.xpath("//*[@aria-live='polite']")
    heads = root.xpath("//table[contains(@class, 'checks')]//th")
    assert [head.get("scope") for head in heads] == ["col"] * 5
    assert root.findtext(".//h1") == "2 of 8 checks fail"
    assert "8 checks" in root.findtext(".//title")


@pytest.mark.parametrize(
    ("statuses", "headline"),
    [
        ([], "No check ran"),
        (["passed"], "The check passed"),
        (["passed", "passed"], "All 2 checks passed"),
        (["passed", "skipped"], "1 check passed, 1 skipped"),
        (["skipped"], "1 check skipped"),
        (["failed"], "1 check fails"),
        (["failed", "error", "passed"], "1 of 3 checks fails"),
        (["error", "error"], "2 checks could not run"),
        (["inconclusive", "passed"], "1 of 2 checks is inconclusive"),
    ],
)
def test_the_headline_says_what_matters_most(statuses: list[Any], headline: str) -> None:
    checks = [passing(f"check {at}", status=status) for at, status in enumerate(statuses)]
    assert parsed(page_of(*checks)).findtext(".//h1") == headline


def test_an_interrupted_run_says_so() -> None:
    page = render(report([passing("one")], 1.0, 130, interrupted=True, not_run=12))
    notice = parsed(page).xpath("//p[@class='notice']/text()")[0]
    assert notice == "The run was interrupted. 12 checks did not run."


def test_checks_that_are_not_right_are_listed_without_scripts_up_to_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page_module, "_MOST_PROBLEMS", 2)
    states: tuple[Status, ...] = ("passed", "inconclusive", "error", "failed", "failed")
    root = parsed(page_of(*(passing(f"<b>{at}", status=s) for at, s in enumerate(states))))
    listed = root.xpath("//noscript//li")
    assert [one.findtext("strong/bdi") for one in listed] == ["<b>3", "<b>4"]
    assert root.xpath("//noscript/p/text()")[-1] == "and 2 more"
    assert not parsed(page_of(passing("good"))).xpath("//noscript//ul")


def test_a_notebook_shows_nan_as_the_worst() -> None:
    ratios = [agrees("torch", ratio) for ratio in (0.5, math.nan, 0.25)]
    check = passing("x")
    check = replace(check, gradients=(replace(check.gradients[0], methods=tuple(ratios)),))
    assert ">nan</td>" in fragment([check, passing("y")], 1.0)


def test_the_environment_and_the_command_are_there(document: Document) -> None:
    root = parsed(render(document))
    facts = {div.findtext("dt"): div.find("dd").text_content() for div in root.xpath("//dl/div")}
    assert facts["Time"] == "12.3 s"
    assert facts["Exit code"] == "1, a check failed"
    assert facts["Python"] == document["tool"]["python"]
    command = root.get_element_by_id("command").text_content()
    assert command == document["environment"]["command"]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_text(text: str) -> None:
    check = all_kinds()[-1]
    broken = replace(check, id=f"{text}::{text}", name=text, file=text, expression=text)
    page = page_of(broken)
    page.encode("utf-8")
    root = parsed(page)
    assert len(root.xpath("//script")) == 3
    assert not root.xpath("//img")
    assert len(root.xpath("//main")) == 1
    assert data_of(page)["checks"][0]["name"] == printable(text)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=60))
def test_any_text_comes_out_as_the_terminal_would_show_it(text: str) -> None:
    check = passing("x", id=text, file=None, description=text, tags=(text,), expression=text)
    page = page_of(check)
    page.encode("utf-8")
    found = data_of(page)["checks"][0]
    shown = printable(text) or "x"
    assert found["name"] == shown
    assert found.get("about", "") == printable(text)
    assert "".join(page.split()).isprintable()


def test_numbers_are_those_of_the_console_and_what_is_empty_is_left_out() -> None:
    check = data_of(page_of(passing("x")))["checks"][0]
    assert check["worst"] == "0.25"
    assert check["time"] == "12 ms"
    assert check["seed"] == 0
    assert {"expected", "diagnoses", "errors", "let", "about", "order"}.isdisjoint(check)
    rows = check["gradients"][0]["methods"]
    assert rows[0] == [
        "torch", "agrees", "0.001", "1e-16", "1e-15", "0/20", "[0, 1]", "0.5", "0.5", "2.1 ms",
    ]  # fmt: skip
    assert rows[1][1] == "reference"
    assert check["gradients"][0]["notes"] == [
        "An error above 3.1e-9 in any one element would show.",
    ]


def test_formulas_are_typeset_once_each_and_shown_as_code_too() -> None:
    data = data_of(page_of(failing(), replace(failing(), id="again")))
    first, second = data["checks"]
    code, number = first["expression"]
    assert code == "p"
    assert data["math"][number] == ["r", "iy", "o=", "ip"]
    assert second["expression"] == first["expression"]
    name, text, definition = first["let"][0]
    assert (name, text) == ("p", "softmax(z, -1)")
    assert data["math"][definition][:2] == ["r", "ip"]
    fix = first["diagnoses"][0]["fix"]
    assert data["math"][fix[1]] == data["math"][first["gradients"][0]["derived"][1]]
    assert "t1" not in json.dumps(data["math"])


def test_definitions_stand_before_a_derived_formula_that_needs_them() -> None:
    text = "t1 = x.exp()\nt1 * t1.sum()"
    formulas = Formulas()
    scope = formulas.scope(MATRIX, (), "x.sum()")
    numbers = formulas.gradient(scope, "x", text)
    assert [formulas.trees[n][2] for n in numbers] == ["o=", "o="]
    assert formulas.trees[numbers[0]][1] == ["b", "it", "n1"]


def test_second_order_formulas_know_the_directions() -> None:
    formulas = Formulas()
    scope = formulas.scope(MATRIX, (), "x.exp().sum()")
    inner = formulas.second(scope, ["x"])
    assert formulas.gradient(inner, "x", "cotangent * v_x * x.exp()", 2)
    assert not formulas.gradient(scope, "x", "cotangent * v_x * x.exp()", 2)


@pytest.mark.parametrize(
    "text",
    [
        "x.maen()",
        "(x",
        "unknown + 1",
        "",
        "x" + " + x" * 2_000,
        "__import__('os').system('true')",
        "a = x\nb = \nx",
        "x[x > 0]",
    ],
)
def test_a_text_that_can_not_be_read_is_code_alone(text: str) -> None:
    formulas = Formulas()
    scope = formulas.scope(MATRIX, (), text)
    assert formulas.value(scope, text) == ()
    assert formulas.gradient(scope, "x", text) == ()
    assert formulas.trees == []


def test_a_broken_definition_takes_only_what_uses_it() -> None:
    formulas = Formulas()
    scope = formulas.scope(MATRIX, (("bad", "x.maen()"), ("good", "x.exp()")), "good.sum()")
    assert formulas.definition(scope, "bad") == ()
    assert formulas.definition(scope, "good") != ()
    assert formulas.value(scope, "good.sum()") != ()
    assert formulas.value(scope, "bad.sum()") == ()


def test_the_page_has_the_same_table_of_elements() -> None:
    script = files("gradcheck_cli.report.html").joinpath("dom.js").read_text(encoding="utf-8")
    pairs = dict(re.findall(r'(\b[a-z]): "(m[a-z]+)"', script))
    assert {letter: tag for tag, letter in (TOKENS | ELEMENTS).items()} == pairs


@pytest.mark.parametrize(
    "markup",
    [
        "<math><mi>\x00</mi></math>",
        "<math><mi>x</math>",
        "<math><script>x</script></math>",
        "<math>" + "<mrow>" * 500 + "<mi>x</mi>" + "</mrow>" * 500 + "</math>",
    ],
)
def test_what_is_no_formula_is_not_taken_for_one(markup: str) -> None:
    assert compact(markup) is None


def test_formulas_stop_where_the_page_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcheck_cli.report.html.formulas.MOST_MARKUP_OF_A_PAGE", 300)
    # The failing check comes last in the report and first where room is given out.
    data = page_data([passing("one"), failing()])
    assert len(data["checks"][1]["expression"]) == 2
    assert data["checks"][0]["gradients"][0]["derived"] == ["2 * (a - b) / a.numel()"]


def test_pictures_stop_where_the_page_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_data_module, "MOST_CELLS", 80)
    data = page_data([passing("one"), failing()])
    assert data["checks"][1]["gradients"][0]["grid"]["rows"] == 4
    assert data["checks"][0]["gradients"][0]["grid"] == {"omitted": True}


def test_a_picture_says_nan_and_infinity_and_leaves_out_exact_methods() -> None:
    nan, inf = float("nan"), float("inf")
    grid = picture(1, 3, {"torch": [0.0] * 3, "manual": [nan, -inf, 1.23456789e-9]})
    gradient = GradientOutcome("x", (3,), None, (), grid=grid)
    outcome = replace(passing("x"), gradients=(gradient,))
    shown = page_data([outcome])["checks"][0]["gradients"][0]["grid"]
    assert shown["errors"] == [["manual", ["nan", "-inf", 1.235e-9]]]
    assert shown["reference"] == [-3, -2, -1]


def test_inputs_that_are_no_floats_keep_their_dtype() -> None:
    inputs = (
        InputOutcome("x", (3,), "bfloat16", checked=True),
        InputOutcome("i", (2,), "int64", checked=False),
    )
    outcome = replace(passing("x"), inputs=inputs, expression="x[i].sum()", formulas={})
    assert len(page_data([outcome])["checks"][0]["expression"]) == 2
