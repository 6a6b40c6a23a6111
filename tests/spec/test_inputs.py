from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from gradcheck_cli.errors import Problem
from gradcheck_cli.spec.check import Avoid
from gradcheck_cli.spec.load import load_text

Problems = Callable[..., tuple[Problem, ...]]


def read(body: str, name: str = "x") -> Any:
    text = f"version: 1\ninputs: {{{name}: {{{body}}}, other: {{shape: []}}}}\nexpression: other"
    (check,) = load_text(text)
    return check.inputs[0]


@pytest.mark.parametrize(
    ("body", "shape", "dtype", "value"),
    [
        ("value: 3.5", (), None, 3.5),
        ("value: [1, 2]", (2,), "int64", [1, 2]),
        ("value: [1, 2], dtype: float32", (2,), "float32", [1, 2]),
        ("value: [1, 2.5]", (2,), None, [1, 2.5]),
        ("value: [[true, false]]", (1, 2), "bool", [[True, False]]),
        ("value: [true, 2]", (2,), "int64", [True, 2]),
        ("value: []", (0,), None, []),
        ("value: [[], []]", (2, 0), None, [[], []]),
        ("value: [.inf, -Infinity]", (2,), None, [math.inf, -math.inf]),
        ("value: [1.0], shape: [1]", (1,), None, [1.0]),
    ],
)
def test_values(body: str, shape: tuple[int, ...], dtype: str | None, value: object) -> None:
    spec = read(body)
    assert (spec.shape, spec.dtype, spec.value) == (shape, dtype, value)


def test_samplers_and_parameters() -> None:
    spec = read("shape: [2], sample: uniform, low: -1, requires_grad: true, avoid: {near: [0]}")
    assert (spec.sampler, spec.parameters) == ("uniform", {"low": -1, "high": 1.0})
    assert (spec.avoid, spec.requires_grad) == (Avoid((0.0,), 1e-3), True)
    assert read("shape: [2]").parameters == {"mean": 0.0, "std": 1.0}
    assert read("shape: [2], sample: integers").dtype == "int64"
    assert read("shape: [2], sample: permutation, dtype: float32").dtype == "float32"


def test_a_name_stands_where_it_says() -> None:
    where = read("shape: []", "näme").source.where()
    assert (where.line, where.column) == (2, 10)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        ("sample: normal", "GC004", "no `shape`"),
        ("shape: [N]", "GC002", '`shape[0]` must be a whole number >= 0, not "N"'),
        ("shape: [2], value: [1.0]", "GC002", "`value` has shape [1], and `shape` says [2]"),
        ("value: [[1.0], [2.0, 3.0]]", "GC002", "ragged: element 1 of this list has shape [2]"),
        ("value: [1.0, [2.0]]", "GC002", "ragged"),
        ("value: [a]", "GC002", "must hold numbers"),
        ("value: {a: 1}", "GC002", "must hold numbers"),
        ("value: null", "GC002", "must hold numbers"),
        ("value: [1], sample: ones", "GC002", "both say what the input is"),
        ("value: [1.0], low: 3", "GC002", "`low` belongs to a sampler"),
        ("value: [1.0], avoid: {near: [0]}", "GC002", "`avoid` belongs to a sampler"),
        ("value: [300], dtype: uint8", "GC002", "uint8 can't hold 300"),
        ("value: [1.5], dtype: int64", "GC002", "int64 can't hold 1.5"),
        ("value: [9223372036854775808]", "GC002", "int64 can't hold 9223372036854775808"),
        ("value: [2], dtype: bool", "GC002", "bool can't hold 2"),
        ("shape: [2], key: a", "GC002", "`key` chooses from a `file`"),
        ("shape: [2], mean: 1, sample: uniform", "GC003", "`mean` is no parameter of uniform"),
        ("shape: [2], sample: uniform, low: 1", "GC002", "`low` (1) must be less than `high` (1)"),
        ("shape: [2], sample: integers, high: 2.5", "GC002", "`high` must be a whole number"),
        ("shape: [2], sample: integers, low: 5, high: 5", "GC002", "must be less"),
        ("shape: [2], sample: integers, dtype: int8, high: 200", "GC002", "int8 holds -128 to 127"),
        ("shape: [2], sample: bernoulli, p: 1.5", "GC002", "`p` must be at most 1"),
        ("shape: [2], std: -1", "GC002", "`std` must be at least 0"),
        ("shape: [2], mean: .inf", "GC002", "`mean` must be a finite number"),
        ("shape: [2, 3], sample: spd", "GC002", "the last two sizes must be equal"),
        ("shape: [3], sample: orthogonal", "GC002", "the last two sizes must be equal"),
        ("shape: [], sample: one_hot", "GC002", "along the last dimension"),
        ("shape: [], sample: permutation", "GC002", "along the last dimension"),
        ("shape: [2, 0], sample: simplex", "GC002", "last dimension of at least 1"),
        ("shape: [2], dtype: int64", "GC002", "normal draws fractions"),
        ("shape: [2], dtype: complex64", "GC002", "must be real"),
        ("shape: [2], sample: integers, requires_grad: true", "GC020", "`x` is int64"),
        ("value: [1], requires_grad: true", "GC020", "`x` is int64"),
        ("shape: [2, 2], sample: spd, avoid: {near: [0]}", "GC002", "`avoid` works with normal"),
        ("shape: [2], avoid: {margin: 1}", "GC004", "`near` is missing"),
        ("shape: [2], avoid: {near: [0], margin: 0}", "GC002", "`margin` must be greater than 0"),
        ("shape: [2], structure: symmetric", "GC002", "the last two sizes must be equal"),
        ("shape: [2, 2], sample: orthogonal, structure: diagonal", "GC002", "can't be brought"),
        ("file: x.npy", "GC009", "no folder"),
    ],
)
def test_what_is_refused(body: str, code: str, words: str, problems: Problems) -> None:
    text = f"version: 1\ninputs: {{x: {{{body}}}, other: {{shape: []}}}}\nexpression: other"
    (problem,) = problems(text)
    assert (problem.code, words in problem.message) == (code, True), problem.message
    assert problem.where is not None
    assert problem.where.line == 2


@pytest.mark.parametrize(
    "name",
    [
        "class",
        "grad",
        "torch",
        "F",
        "math",
        "1x",
        "a b",
        "a-b",
        "''",
        "x-y",
        "__init__",
        "ﬁ",
        "\U0001d431",
        r'"\x1b[1m"',
    ],
)
def test_what_no_input_can_be_called(name: str, problems: Problems) -> None:
    text = f"version: 1\ninputs: {{{name}: {{shape: []}}}}\nexpression: '1'"
    (problem,) = problems(text)
    assert problem.code == "GC002"
    assert "can't name an input" in problem.message


def test_a_name_that_python_replaces_comes_with_what_to_write(problems: Problems) -> None:
    (problem,) = problems("version: 1\ninputs: {\U0001d431: {shape: []}}\nexpression: '1'")
    assert problem.hint == "write `x`"


def test_suggestions(problems: Problems) -> None:
    text = "version: 1\ndims: {Batch: 2}\ninputs: {x: {shape: [Bach]}}\nexpression: x"
    assert problems(text)[0].hint == "did you mean `Batch`?"
    text = "version: 1\ninputs: {x: {shape: [2], sample: unifrom}}\nexpression: x"
    assert problems(text)[0].hint == "did you mean `uniform`?"
