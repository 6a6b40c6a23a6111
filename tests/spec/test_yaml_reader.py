from __future__ import annotations

import math
from typing import Any

import pytest
import yaml

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.spec import yaml_reader
from gradcheck_cli.spec.nodes import MAX_BYTES, Document, Entries, document
from gradcheck_cli.spec.yaml_reader import read_yaml


def value_of(text: str) -> Any:
    made = document(text, None)
    roots = read_yaml(made)
    assert not made.problems
    return roots[0].value


def codes_of(text: str) -> list[str]:
    try:
        made = document(text, None)
        read_yaml(made)
    except GradcheckError as error:
        return [problem.code for problem in error.problems]
    return [problem.code for problem in made.problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("yes", "no", "on", "off", "Yes", "NO", "y", "n", "tRue")),
        *((word, True) for word in ("true", "True", "TRUE")),
        *((word, False) for word in ("false", "False", "FALSE")),
        *((word, None) for word in ("null", "Null", "NULL", "~", "")),
        *(("12", 12), ("-3", -3), ("+3", 3), ("007", 7), ("0o17", 15), ("0x1F", 31)),
        *(("1e-5", 1e-5), ("1.", 1.0), (".5", 0.5), ("-1.5E+3", -1500.0), ("1_000", "1_000")),
        *((".inf", math.inf), ("-.Inf", -math.inf), ("+.INF", math.inf), ("nan", "nan")),
        *(("0b1", "0b1"), ("1:30", "1:30"), ("2024-01-01", "2024-01-01"), ("=", "="), ("<<", "<<")),
        *(("'1'", "1"), ('"true"', "true"), ("'~'", "~"), (".", ".")),
    ],
)
def test_scalars_follow_the_core_schema(text: str, value: object) -> None:
    found = value_of(f"k: {text}")["k"]
    assert (found, type(found)) == (value, type(value))


def test_nan_is_a_number() -> None:
    assert math.isnan(value_of("k: .nan")["k"])


def test_keys_are_their_text() -> None:
    assert value_of("{N: 1, 1: 2, null: 3, true: 4, <<: 5}") == {
        "N": 1,
        "1": 2,
        "null": 3,
        "true": 4,
        "<<": 5,
    }


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: 1\na: 2", "GC006"),
        ("{1: 1, '1': 2}", "GC006"),
        ("a: !!str 1", "GC007"),
        ("a: ! 1", "GC007"),
        ("a: &x 1", "GC007"),
        ("a: *x", "GC007"),
        ("!t {a: 1}", "GC007"),
        ("&k a: 1", "GC007"),
        ("%TAG ! tag:x,2000:\n---\na: 1", "GC007"),
        ("[" * 10_000, "GC008"),
        ("{a: " * 10_000, "GC008"),
        ("- " * 10_000, "GC008"),
        ("x: " + "9" * 100_000, "GC002"),
        ("x: 1e999", "GC002"),
        ("x: '" + "a" * MAX_BYTES + "'", "GC008"),
        ("a: b: c", "GC001"),
        ("a: `x`", "GC001"),
        ("a: @x", "GC001"),
        ("a: [1", "GC001"),
        ("a: 'b", "GC001"),
        ("a:\n\t- b", "GC001"),
        ('a: "\\q"', "GC001"),
        ("? [a]\n: b", "GC001"),
        ("a: 1\n- b", "GC001"),
        ("a: \0", "GC001"),
        ("a: \x1b[31m", "GC001"),
        ("a: \ud800", "GC001"),
        ("a: x\u2028b: y", "GC001"),
        ("a: \x85", "GC001"),
        ("a\ufeff: 1", "GC001"),
        ('a: "\\ud800"', "GC001"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    assert code in codes_of(text)


def test_a_billion_laughs_costs_nothing() -> None:
    lines = ["a0: &a0 [lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 10)]
    assert set(codes_of("\n".join(lines))) == {"GC007"}


def test_too_many_values_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_reader, "MAX_NODES", 100)
    assert len(value_of("[" + "1," * 90 + "]")) == 90
    assert codes_of("[" + "1," * 101 + "]") == ["GC008"]


def test_positions_and_all_problems_at_once() -> None:
    made = document("a: 1\na: 2\nb: [*c]\n", "f.yaml")
    read_yaml(made)
    assert [(p.code, str(p.where)) for p in made.problems] == [
        ("GC006", "f.yaml:2:1"),
        ("GC007", "f.yaml:3:5"),
    ]
    assert made.problems[0].hint == "it is first on line 1"


def test_several_documents() -> None:
    made = document("a: 1\n---\nb: 2\n...\n---\n", None)
    assert [root.value for root in read_yaml(made)] == [{"a": 1}, {"b": 2}, None]


@pytest.mark.parametrize(
    "text", ["a: é\nb: [1, 'x y']\nc: |\n  z\n", "a: 1\na: 2", "a: 'b", "a:\n\t- b"]
)
def test_the_slow_parser_agrees(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> tuple[object, list[str]]:
        made = document(text, None)
        try:
            root = read_yaml(made)[0]
        except GradcheckError as error:
            return None, [p.code for p in error.problems]
        assert isinstance(root, Entries)
        places = [(n.start, n.end if k != "c" else 0) for k, n in root.entries.items()]
        return (root.value, places), [p.code for p in made.problems]

    fast = read()
    monkeypatch.setattr(yaml, "__with_libyaml__", False)
    assert read() == fast


def test_line_numbers() -> None:
    made = Document("a: 1\n\nb:\n  c: 2\n")
    root = read_yaml(made)[0]
    assert isinstance(root, Entries)
    assert [made.line(node) for node in root.entries.values()] == [1, 4]
