"""The schema for editors: as strict as the plain one, with templates that are valid themselves."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.ops.domains import entries
from gradcheck_cli.spec.editor import editor_schema
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.spec.model import METHODS, json_schema
from gradcheck_cli.spec.samplers import SAMPLERS

SCHEMA = editor_schema()
_FOR_EDITORS = ("defaultSnippets", "enumDescriptions")


def without(value: Any) -> Any:
    """A schema without what only editors read, and with the expressions' references resolved."""
    if isinstance(value, list):
        return [without(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("$ref") == "#/$defs/Expression":
        rest = {key: item for key, item in value.items() if key != "$ref"}
        return without({**SCHEMA["$defs"]["Expression"], **rest})
    return {
        key: without(item)
        for key, item in value.items()
        if key not in _FOR_EDITORS and key != "Expression"
    }


def test_the_same_files_are_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert without(SCHEMA) == json_schema()


def test_every_choice_is_described() -> None:
    sample = SCHEMA["$defs"]["InputModel"]["properties"]["sample"]
    assert len(sample["enumDescriptions"]) == len(sample["enum"]) == len(SAMPLERS)
    assert all(sample["enumDescriptions"])
    methods = SCHEMA["properties"]["methods"]["items"]
    assert methods["enum"] == list(METHODS)
    assert all(methods["enumDescriptions"])


def test_every_operator_has_one_template() -> None:
    snippets = SCHEMA["$defs"]["Expression"]["defaultSnippets"]
    labels = [snippet["label"] for snippet in snippets]
    assert len(labels) == len(set(labels))
    assert {entry.name for entry in entries()} - set(labels) == {"x[...]"}
    bodies = {snippet["label"]: snippet["body"] for snippet in snippets}
    assert bodies["softmax"] == "softmax(${1:input}, ${2:dim})"
    assert bodies["x.T"] == "${1:input}.T"
    assert bodies["x.view_as"] == "${1:input}.view_as(${2:other})"


def test_keys_of_expressions_offer_the_operators() -> None:
    reference = {"$ref": "#/$defs/Expression"}
    for keys in (SCHEMA["properties"], SCHEMA["$defs"]["CheckModel"]["properties"]):
        for name in ("expression", "cotangent"):
            assert keys[name]["$ref"] == reference["$ref"]
        for name in ("let", "manual"):
            assert keys[name]["additionalProperties"] == reference


@pytest.mark.parametrize("number", [0, 1])
def test_templates_of_specs_load_as_they_are(number: int) -> None:
    text = json.dumps(SCHEMA["defaultSnippets"][number]["body"])
    filled = re.sub(r'"\$\{\d:(\d+)\}"', r"\1", text)
    filled = re.sub(r"\$\{\d:([^}]*)\}", r"\1", filled)
    (check,) = load_text(filled, "a.json")
    assert check.expression.text == "x.pow(2).sum()"
    with pytest.raises(GradcheckError):
        load_text(text, "a.json")
