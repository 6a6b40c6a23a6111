from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import GradcheckError, Problem
from gradcheck_cli.spec import model
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.spec.samplers import SAMPLERS

GOOD: list[dict[str, Any]] = [
    {
        "version": 1,
        "inputs": {"x": {"shape": [3, "N"]}},
        "expression": "x.sum()",
        "dims": {"N": [1, 2]},
    },
    {"version": 1, "checks": [{"inputs": {"x": {"shape": []}}, "expression": 1, "x-mine": 3}]},
    {
        "version": 1,
        "defaults": {"seed": 3},
        "checks": [{"inputs": {"x": {"value": [1.0]}}, "expression": "x"}],
    },
    {
        "version": 1,
        "inputs": {"x": {"shape": [2], "sample": "uniform", "low": -1, "avoid": {"near": [0]}}},
        "expression": "x",
        "tolerance": {"rtol": 1e-3, "float32": {"atol": 0}},
        "dtype": ["float64", "float32"],
        "device": "cuda:1",
        "methods": ["torch"],
        "expect": "fail GC102",
        "x-note": {"free": True},
    },
]
BAD: list[dict[str, Any]] = [
    {"version": 1, "expresion": "x"},
    {"inputs": {"x": {"shape": [3]}}, "expression": "x"},
    {"version": 1, "inputs": {"x": {"shape": [3]}}},
    {"version": 1, "inputs": {"x": [3]}, "expression": "x"},
    {"version": 1, "inputs": {"x": {"shape": [-1]}}, "expression": "x"},
    {"version": 1, "inputs": {"x": {"shape": 3}}, "expression": "x"},
    {"version": 1, "inputs": {"x": {"shape": [3], "sample": "nomal"}}, "expression": "x"},
    {"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": ["x"]},
    {"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": "x", "seed": "3"},
    {"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": "x", "order": 3},
    {"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": "x", "dtype": "int64"},
    {"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": "x", "dtype": []},
    {"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": "x", "device": "tpu"},
    {"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": "x", "tolerance": {"rtol": -1}},
    {"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": "x", "expect": "pass"},
    {"version": 1, "inputs": {"x": {"shape": [3]}}, "expression": "x", "seed": None},
]


def loads(data: object) -> bool:
    try:
        load_text(json.dumps(data), "a.json")
    except GradcheckError:
        return False
    return True


def test_the_schema_and_the_loader_agree() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = model.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    for data in GOOD:
        assert validator.is_valid(data), data
        assert loads(data), data
    for data in BAD:
        assert not validator.is_valid(data), data
        assert not loads(data), data


def test_the_schema_describes_every_key() -> None:
    schema = model.json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    parts = [schema, *schema["$defs"].values()]
    for part in parts:
        assert part["additionalProperties"] is False
        assert "^x-" in part["patternProperties"]
        for key, value in part["properties"].items():
            assert value.get("description"), key
            assert "default" not in value
    sampled = schema["$defs"]["InputModel"]["properties"]["sample"]
    assert sampled["enum"] == list(SAMPLERS)
    json.dumps(schema)


KEYS = [
    *model.CheckModel.model_fields,
    "version",
    "checks",
    "defaults",
    "x-a",
    "zzz",
    "near",
    "shape",
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-3, 5)
    | st.floats()
    | st.sampled_from(["x", "N", "normal", "float32", "cuda", "torch", "fail", "", "random", "NaN"])
)
DATA = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*KEYS, *model.InputModel.model_fields]), inner, max_size=5
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(
    data=st.dictionaries(st.sampled_from(KEYS), DATA, max_size=8), indent=st.sampled_from([None, 1])
)
def test_any_data_loads_or_says_what_is_wrong(data: dict[str, Any], indent: int | None) -> None:
    text = json.dumps({"version": 1, **data}, indent=indent)
    text = text.replace("NaN", ".nan").replace("Infinity", ".inf")
    for problem in _problems(text):
        assert problem.where is not None
        assert problem.message


def _problems(text: str) -> tuple[Problem, ...]:
    try:
        load_text(text, "a.yaml")
    except GradcheckError as error:
        return error.problems
    return ()
