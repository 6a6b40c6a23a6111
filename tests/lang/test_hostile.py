"""Text made to exhaust or mislead the parser: each is refused quickly and by name, never with a crash."""

from __future__ import annotations

import sys
import time
import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import GradcheckError, Source, format_problem
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.scan import MAX_DEPTH, MAX_LENGTH

SCOPE = {"x": variable("x", (3, 3)), "y": variable("y", (3, 3))}
N = 10_000
DEEP = {
    "parentheses": "(" * N + "x" + ")" * N,
    "brackets": "[" * N + "x" + "]" * N,
    "braces": "{" * N + "x" + "}" * N,
    "open parentheses": "(" * N,
    "mixed brackets": "([{" * N,
    "calls": "exp(" * N + "x" + ")" * N,
    "subscripts": "x" + "[0" * N + "]" * N,
    "minuses": "-" * N + "x",
    "spaced minuses": "- " * N + "x",
    "tildes": "~" * N + "x",
    "nots": "not " * N + "x",
    "sum": "x" + " + x" * N,
    "subtractions": "x" + "-x" * N,
    "powers": "x" + "**2" * N,
    "comparisons": "x" + " < x" * N,
    "ands": "x" + " and x" * N,
    "attributes": "x" + ".T" * N,
    "method calls": "x" + ".exp()" * N,
    "chained subscripts": "x" + "[0]" * N,
    "chained calls": "x" + "()" * N,
    "lambdas": "lambda: " * N + "x",
    "conditionals": "x if y else " * N + "x",
    "walruses": "(a := " * 150 + "x" + ")" * 150,
    "stars": "f(" + "*" * N + "x)",
    "f-string": "f'" + "{" * N + "x" + "}" * N + "'",
    "nested f-strings": 'f"{' * 60 + "x" + '}"' * 60,
    "strings": "'a' " * N,
    "list": "[" + "x, " * N + "]",
    "arguments": "torch.cat([" + "x, " * (2 * N) + "])",
    "keywords": "f(" + ", ".join(f"a{i}=1" for i in range(N)) + ")",
    "commas": "," * N,
    "dots": "." * N,
    "colons": "x[" + ":" * N + "]",
    "digits": "9" * N,
    "hexadecimal": "0x" + "f" * (MAX_LENGTH - 2),
    "underscores": "1" + "_1" * N,
    "name": "x" * N,
    "string": "'" + "a" * N,
    "too long": "x + " * MAX_LENGTH + "x",
    "blanks": " " * MAX_LENGTH,
    "comment": "#" * MAX_LENGTH,
    "lines": "\n" * N + "x +",
    "backslashes": "\\" * N,
    "line continuations": "x \\\n" * N,
    "surrogates": "\ud800" * N,
    "nulls": "\0" * N,
}


def problems_of(text: str) -> str:
    with pytest.raises(GradcheckError) as caught:
        build(parse(Source(text)), SCOPE)
    assert caught.value.exit_code == 2
    return "\n".join(format_problem(problem) for problem in caught.value.problems)


@pytest.mark.parametrize("name", DEEP)
def test_huge_texts_are_refused_quickly(name: str) -> None:
    start = time.process_time()
    told = problems_of(DEEP[name])
    assert time.process_time() - start < 2
    assert len(told) < 20_000
    assert "recursion" not in told


@pytest.mark.parametrize(
    "name", ["parentheses", "brackets", "minuses", "sum", "attributes", "calls"]
)
def test_depth_is_named_as_the_reason(name: str) -> None:
    told = problems_of(DEEP[name])
    assert "GC019" in told
    assert f"nests deeper than {MAX_DEPTH} levels" in told
    assert "`let:`" in told


@pytest.mark.parametrize(
    "text",
    [
        "exp(" * 95 + "x" + ")" * 95,
        "x" + ".exp()" * 95,
        "x" + " + x" * 195,
        "-" * 195 + "x",
        "(" * 200 + "x" + ")" * 200,
        "torch.where(x > 0, " * 60 + "x" + ", x)" * 60,
        "[" * 95 + "x" + "][0]" * 95,
    ],
)
def test_what_is_just_deep_enough_works_and_compiles(text: str) -> None:
    formula = parse(Source(text))
    assert build(formula, SCOPE).shape == (3, 3)
    assert formula.code.co_names


def test_a_caller_deep_in_the_stack_gets_a_problem_and_no_recursion_error() -> None:
    formula = parse(Source("x" + ".exp()" * 95))

    def deeper(levels: int) -> None:
        if levels:
            deeper(levels - 1)
        else:
            build(formula, SCOPE)

    frame, depth = sys._getframe(), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    with pytest.raises(GradcheckError, match="nests deeper"):
        deeper(sys.getrecursionlimit() - depth - 100)


def test_a_part_out_of_the_language_is_never_compiled() -> None:
    formula = parse(Source("().__class__.__bases__[0].__subclasses__()"))
    with pytest.raises(GradcheckError, match="__class__"):
        _ = formula.code


@pytest.mark.parametrize("text", ["'\\d' + x", "1if x else y", "0x1for x in y", "x is 1", "1(x)"])
def test_python_s_own_warnings_are_not_let_out(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert problems_of(text)


PIECES = """x y torch F math exp sum softmax grad dim = == ( ) [ ] { } , . : ; + - * / // ** @ & | ~ < >
<= 0 1 2.5 1e9 -1 True None ... ' " # lambda if else for in not and or is import torch.rand x.sum()
x.max(1) x.shape .T .shape .values .sum( .reshape( é 漢 __class__"""
WORDS = st.sampled_from([*PIECES.split(), "\\", "\n", "\t", "\u00a0", "\u2212", "\0", "\ud800"])


@settings(max_examples=400, derandomize=True, deadline=None)
@given(st.lists(WORDS, max_size=12), st.sampled_from(["", " "]))
def test_any_words_give_a_node_or_problems_with_places(words: list[str], glue: str) -> None:
    text = glue.join(words)
    try:
        node = build(parse(Source(text)), SCOPE)
    except GradcheckError as error:
        for problem in error.problems:
            where = problem.where
            assert where is not None
            assert where.line is not None
            assert where.column is not None
            assert 1 <= where.line <= text.count("\n") + 1
            assert where.source is not None
            assert where.column <= len(where.source) + 1
            assert format_problem(problem).isprintable() or "\n" in format_problem(problem)
    else:
        assert node.dtype is not None
