"""Edits of a formula's text: what is put in place keeps its meaning, and the graph of it is the text's."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_cli.errors import Source
from gradcheck_cli.graph import Expr, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.draft import Draft
from gradcheck_cli.lang.edits import Change, Edits, binding_of, grouped
from gradcheck_cli.lang.parse import parse

SCOPE = {name: variable(name, (3, 3)) for name in ("a", "b", "c", "θ")}
TEMPLATES = (
    *(
        "-{0}",
        "2 * {0}",
        "{0} / 2",
        "{0}.T",
        "{0}**2",
        "1 / {0}",
        "{0} + {0}.T",
        "{0} - b",
        "b - {0}",
    ),
    *("sin({0})", "{0}.sum(0, keepdim=True)", "{0} @ b", "b @ {0}", "{0}[:, None]", "{0}.numel()"),
)
FORMULAS = (
    *("a + b * c", "(a + b) * c", "-a**2", "(-a)**2", "a - (b - c)", "a / (b / c)", "a @ b.T @ c"),
    *("2 * (a)", "sin((a + b))", "torch.where(a > 0, -b, (c))", "(a - b).pow(2).sum(0)"),
    *("a[1:, (0)]", "torch.cat([a, -b], dim=1)", "a.sum() * b", "θ * (θ + 1)", "a ** -b"),
)


def graph(text: str) -> Expr:
    return build(parse(Source(text)), SCOPE)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_changed_text_means_what_the_changed_graph_is(formula: str, template: str) -> None:
    edits = Edits.of(formula)
    draft = Draft(edits, SCOPE)
    fitting = 0
    for node in edits.nodes():
        changes = [Change(node, template, (node,))]
        made = draft.changed(changes)
        if made is not None:
            fitting += 1
            assert graph(edits.changed(changes)) is made
    assert fitting


@given(st.sampled_from(FORMULAS), st.sampled_from(TEMPLATES), st.sampled_from(TEMPLATES), st.data())
def test_two_changes_at_once(formula: str, first: str, second: str, data: st.DataObject) -> None:
    edits = Edits.of(formula)
    nodes = list(edits.nodes())
    a, b = (data.draw(st.sampled_from(nodes)) for _ in range(2))
    if {*ast.walk(a)} & {*ast.walk(b)}:
        return
    changes = [Change(a, first, (a,)), Change(b, second, (b,))]
    made = Draft(edits, SCOPE).changed(changes)
    if made is not None:
        assert graph(edits.changed(changes)) is made


def test_the_rest_stays_as_it_was_written() -> None:
    edits = Edits.of("2*a  @ (b   - c)")
    difference = edits.tree.right  # type: ignore[attr-defined]
    change = Change(difference, "{1} - {0}", (difference.left, difference.right))
    assert edits.changed([change]) == "2*a @ (c - b)"
    assert edits.changed([Change(difference, "{0}", (difference.left,))]) == "2*a @ b"


def test_line_ends_and_comments_are_gone() -> None:
    assert Edits.of("a +  # the first\n  b").text == "a + b"


def test_calls_are_renamed_as_they_are_spelled() -> None:
    def renamed(text: str) -> str:
        edits = Edits.of(text)
        assert isinstance(edits.tree, ast.Call)
        template, parts = edits.renamed(edits.tree, "cos")
        return edits.changed([Change(edits.tree, template, parts)])

    assert renamed("sin(a + b)") == "cos(a + b)"
    assert renamed("torch.sin(a)") == "torch.cos(a)"
    assert renamed("(a + b).sin()") == "(a + b).cos()"
    assert renamed("a.norm(dim=1, keepdim=True)") == "a.cos(dim=1, keepdim=True)"


def test_what_a_call_calls_is_no_part() -> None:
    texts = [Edits.of(text) for text in ("torch.sin(a.cos())", "F.relu(a)")]
    parts = [[edits.segment(node) for node in edits.nodes()] for edits in texts]
    assert parts == [["torch.sin(a.cos())", "a.cos()", "a"], ["F.relu(a)", "a"]]


def test_what_does_not_fit_has_no_graph() -> None:
    edits = Edits.of("a @ b")
    draft = Draft(edits, SCOPE)
    for template in ("{0}.no_such()", "{0}.sum(7)", "{0}[0, 0, 0]", "unknown", "{0}.reshape(2, 2)"):
        assert draft.changed([Change(edits.tree, template, (edits.tree,))]) is None
    whole = draft.changed([])
    assert whole is graph("a @ b")


def test_binding() -> None:
    assert grouped("2") == "(2)"
    assert grouped("a * b", binding_of("c * d")) == "a * b"
    assert binding_of("a > b") < binding_of("a | b") < binding_of("a + b") < binding_of("a**b")
