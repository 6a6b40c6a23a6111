from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.spec.check import Check
from gradcheck_cli.suite.selection.select import Selection, expression


def check(name: str, *tags: str) -> Check:
    return Check(
        id=f"losses.yaml::{name}",
        name=name,
        file="losses.yaml",
        line=1,
        inputs=(),
        expression=Source("x"),
        wrt=(),
        tags=tags,
    )


CHECKS = [
    check("mean squared error", "quick"),
    check("huber (smooth)", "slow"),
    check("not a number"),
    check("sum of squares", "quick", "second-order"),
]


def names(selection: Selection) -> list[str]:
    return [one.name for one in selection.of(CHECKS)]


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("huber", [1]),
        ("HUBER", [1]),
        ("quick", [0, 3]),
        ("quick and not mean", [3]),
        ("huber or number", [1, 2]),
        ("not (huber or quick)", [2]),
        ("not not huber", [1]),
        ("squared error", [0]),
        ("sum of squares", [3]),
        ("quick and mean squared or huber", [0, 1]),
        ("losses.yaml::huber", [1]),
        ("second-order", [3]),
        ("'not a number'", [2]),
        ('"not a number" or "huber (smooth)"', [1, 2]),
        # No expression, but part of an id: found as it stands.
        ("huber (smooth)", [1]),
        ("(smooth)", [1]),
        ("r (s", [1]),
        ("nothing at all", []),
        ("", [0, 1, 2, 3]),
        ("  ", [0, 1, 2, 3]),
    ],
)
def test_keyword(text: str, positions: list[int]) -> None:
    assert names(Selection(text)) == [CHECKS[k].name for k in positions]


def test_tags_are_exact_and_one_is_enough() -> None:
    assert names(Selection(tags=("quic",))) == []
    assert names(Selection(tags=("slow", "second-order"))) == ["huber (smooth)", "sum of squares"]
    assert names(Selection("squares", ("quick", "slow"))) == ["sum of squares"]


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("a and", 6, "a word is missing at the end"),
        ("and a", 1, "a word is missing before `and`"),
        ("a or or b", 6, "a word is missing before `or`"),
        ("a not b", 3, "nothing is expected here"),
        ("(a or b", 1, "this parenthesis is never closed"),
        ("a) or b", 2, "nothing is expected here"),
        ("()", 2, "a word is missing before `)`"),
        ("a or 'b", 6, "this quote is never closed"),
        ("'a' b", 5, "nothing is expected here"),
        ("(" * 200 + "a" + ")" * 200, 101, "nested too deeply"),
        ("not " * 200 + "a", 401, "nested too deeply"),
    ],
)
def test_a_mistake_is_shown_at_its_place(text: str, column: int, message: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        Selection(text).of(CHECKS)
    (problem,) = caught.value.problems
    assert problem.code == "GC028"
    assert message in problem.message
    assert problem.where is not None
    assert problem.where.column == column


def test_a_long_expression_is_refused_but_a_wide_one_is_not() -> None:
    with pytest.raises(GradcheckError):
        expression("a" * 20_000)
    assert expression(" or ".join(f"a{k}" for k in range(1000)))(["xa999"])


TREES: Any = st.recursive(
    st.sampled_from("abcd"),
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner), st.tuples(st.sampled_from(("and", "or")), inner, inner)
    ),
    max_leaves=12,
)


def spelled(tree: Any) -> str:
    """As text, with every parenthesis."""
    if isinstance(tree, str):
        return tree
    if tree[0] == "not":
        return f"not({spelled(tree[1])})"
    return f"({spelled(tree[1])}) {tree[0]} ({spelled(tree[2])})"


@given(TREES, st.sets(st.sampled_from("abcd")))
def test_any_expression_means_what_python_means(tree: Any, present: set[str]) -> None:
    text = spelled(tree)
    meant = eval(text, {name: name in present for name in "abcd"})
    assert expression(text)(sorted(present)) == meant


@given(st.lists(st.sampled_from(["a", "b", "and", "or", "not", "(", ")", "'", " "]), max_size=12))
def test_any_text_is_an_expression_or_refused(tokens: list[str]) -> None:
    with suppress(GradcheckError):
        assert expression(" ".join(tokens))(["a"]) in (True, False)
