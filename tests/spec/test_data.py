"""Specs as Python data: what a dict says is what the same text in a file says."""

from __future__ import annotations

import enum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.spec.data import load_data
from gradcheck_cli.spec.numbers import dtype_name, numbers

INPUT: dict[str, Any] = {"shape": [2]}


def spec(**keys: Any) -> dict[str, Any]:
    """A spec with these keys."""
    return {"version": 1, "inputs": {"x": INPUT}, "expression": "x.sum()", **keys}


@given(
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=50),
    st.integers(0, 2**63 - 1),
)
def test_numbers_and_texts_arrive_as_they_are(number: float, text: str, seed: int) -> None:
    (check,) = load_data(spec(name=text, seed=seed, inputs={"x": {"value": [number, 1.0]}}))
    assert (check.name, check.seed, check.inputs[0].value) == (text, seed, [number, 1.0])


def test_nan_tuples_arrays_and_enumerations() -> None:
    class Size(enum.IntEnum):
        N = 3

    value = np.array([[np.nan, np.inf], [-np.inf, 1 / 3]])
    x: dict[str, Any] = {"value": value}
    y: dict[str, Any] = {"shape": (Size.N, np.int64(2)), "mean": np.float32(0.1)}
    (check,) = load_data(spec(inputs={"x": x, "y": y}, expression="x.sum() + y.sum()"))
    np.testing.assert_array_equal(np.array(check.inputs[0].value), value)
    assert check.inputs[1].shape == (3, 2)
    assert check.inputs[1].parameters["mean"] == float(np.float32(0.1))


def test_a_problem_stands_at_its_line() -> None:
    with pytest.raises(GradcheckError) as caught:
        load_data(spec(checks=[{"name": "a"}, {"nme": "b"}]))
    sources = [p.where.source for p in caught.value.problems if p.where is not None]
    assert '    {"nme": "b"}' in sources or '  "checks": [{"name": "a"}, {"nme": "b"}]' in sources


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({3: 4}, "a key of the spec is an object of type int"),
        ({"x": {1, 2}}, "holds an object of type set"),
        ({"x": b"text"}, "holds an object of type bytes"),
        ({"x": 2**200}, "far too large"),
        ({"x": np.zeros(100_001)}, "an array of 100,001 numbers"),
    ],
)
def test_what_no_spec_can_hold_is_refused(given: dict[Any, Any], words: str) -> None:
    with pytest.raises(GradcheckError, match=words) as caught:
        load_data({**spec(), **given})
    assert [problem.code for problem in caught.value.problems] == ["GC002"]


def test_numbers_are_copied() -> None:
    array = np.arange(6.0).reshape(2, 3).T
    made = numbers("x", array)
    array[:] = 0
    assert made.array.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert (made.dtype, made.typed, numbers("x", [1.0]).typed) == ("float64", True, False)
    assert numbers("x", []).dtype == "float64"
    assert numbers("x", np.float16(0.5)).dtype == "float16"


def test_names_of_dtypes() -> None:
    assert dtype_name(["float32", np.float16, float, np.dtype("float64"), None]) == [
        "float32",
        "float16",
        "float64",
        "float64",
        None,
    ]
