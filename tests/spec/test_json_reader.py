from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.spec.json_reader import read_json
from gradcheck_cli.spec.nodes import document

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cn", "Cs"))
).filter(lambda text: "\ufeff" not in text)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | TEXT
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)


def value_of(text: str) -> Any:
    made = document(text, "a.json")
    roots = read_json(made)
    assert not made.problems
    return roots[0].value


@settings(max_examples=200, deadline=None)
@given(value=VALUES, indent=st.sampled_from([None, 1, "\t"]), ascii_only=st.booleans())
def test_what_json_writes_is_read_back(
    value: object, indent: int | str | None, ascii_only: bool
) -> None:
    assert value_of(json.dumps(value, indent=indent, ensure_ascii=ascii_only)) == value


def test_surrogate_pairs_and_escapes() -> None:
    assert value_of(r'"\ud83d\ude00\/\"\\\t\u00e9"') == '😀/"\\\té'


@pytest.mark.parametrize(
    ("text", "message", "column"),
    [
        ('{"a": 1,}', "a comma before `}`", 9),
        ("[1 2]", "`,` or `]` is missing", 4),
        ('{"a" 1}', "`:` is missing", 6),
        ("{a: 1}", "a key in double quotes is missing", 2),
        ("[NaN]", "`NaN` is no value", 2),
        ("[01]", "`01` is no value", 2),
        ("[1.]", "`1.` is no value", 2),
        ("[True]", "`True` is no value", 2),
        ("[", "a value is missing", 2),
        ('["a]', "not closed", 2),
        ('["a\nb"]', "not closed", 2),
        ("[1] x", "something follows", 5),
        (r'["\ud800"]', "surrogate", 2),
        (r'["a\q"]', r"unknown escape \q", 4),
        ("", "a value is missing", 1),
    ],
)
def test_broken_json(text: str, message: str, column: int) -> None:
    with pytest.raises(GradcheckError) as caught:
        read_json(document(text, "a.json"))
    problem = caught.value.problems[0]
    assert problem.code == "GC001"
    assert message in problem.message
    assert problem.where is not None
    assert problem.where.column == column


def test_duplicates_and_depth() -> None:
    made = document('{"a": 1,\n "a": 2}', "a.json")
    read_json(made)
    assert [(p.code, p.hint) for p in made.problems] == [("GC006", "it is first on line 1")]
    with pytest.raises(GradcheckError) as caught:
        read_json(document("[" * 10_000, "a.json"))
    assert caught.value.problems[0].code == "GC008"


def test_a_long_number_is_refused() -> None:
    made = document("[" + "9" * 100_000 + "]", "a.json")
    read_json(made)
    assert [p.code for p in made.problems] == ["GC002"]
