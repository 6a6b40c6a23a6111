"""Pydantic's errors in plain sentences, each at the key or value that is wrong."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from gradcheck_cli.errors import did_you_mean
from gradcheck_cli.spec import model
from gradcheck_cli.spec.nodes import Document, Entries, Items, Node, Scalar

if TYPE_CHECKING:
    from collections.abc import Mapping

_SENTENCES = {
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "list_type": "must be a list",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
}

Location = tuple[int | str, ...]


def validate(made: Document, root: Entries) -> list[Location]:
    """Note everything in the document that doesn't fit the models; returns where those things are.

    Example of a noted sentence: `shape[1] must be a whole number >= 0, not -3`.
    """
    try:
        model.FileModel.model_validate(root.value)
    except ValidationError as error:
        wrong = []
        for detail in error.errors(include_url=False):
            location = detail["loc"]
            if detail["type"] == "extra_forbidden" and str(location[-1]).startswith("x-"):
                continue
            wrong.append(location)
            if made.full:
                # Suggestions cost too much for a flood of problems that nobody will see.
                made.untold += 1
            else:
                _note(made, root, location, detail["type"], detail.get("ctx", {}))
        return wrong
    return []


def _note(
    made: Document, root: Entries, location: Location, kind: str, context: Mapping[str, Any]
) -> None:
    if kind in {"extra_forbidden", "missing"}:
        parent = _follow(root, location[:-1])
        assert isinstance(parent, Entries)
        name = str(location[-1])
        if kind == "missing":
            made.add("GC004", f"`{name}` is missing", parent)
        else:
            hint = did_you_mean(name, _known(location))
            made.add("GC003", f"unknown key `{name[:60]}`", parent.keys[name], hint)
        return
    location = (*location, *context.get("at", ()))
    node = _follow(root, location)
    sentence = _SENTENCES.get(kind, "{sentence}").format(**{"sentence": "is wrong", **context})
    if sentence.startswith("must be"):
        sentence += f", not {_shown(node)}"
    hint = context.get("hint")
    if isinstance(node, Scalar):
        hint = did_you_mean(node.text, context.get("choices", ())) or hint
    if kind == "model_type" and location[-2:-1] == ("inputs",):
        hint = f"as in `{location[-1]}: {{shape: [3, 8]}}`"
    made.add("GC002", f"{_path(location)} {sentence}", node, hint)


def _follow(root: Node, location: Location) -> Node:
    node = root
    for step in location:
        if isinstance(node, Entries) and step in node.entries:
            node = node.entries[str(step)]
        elif isinstance(node, Items) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
    return node


def _path(location: Location) -> str:
    """The last key with the indices behind it: `shape[1]`."""
    path = ""
    for step in reversed(location):
        if isinstance(step, str):
            return f"`{step[:60]}{path}`"
        path = f"[{step}]{path}"
    return "the spec"


def _known(location: Location) -> list[str]:
    """The keys that could stand where an unknown one does."""
    chosen: type[BaseModel] = model.CheckModel
    if len(location) == 1:
        chosen = model.FileModel
    elif location[-3:-2] == ("inputs",):
        chosen = model.InputModel
    elif location[-2] == "avoid":
        chosen = model.AvoidModel
    elif location[-2] == "tolerance":
        chosen = model.ToleranceModel
    elif location[-3:-2] == ("tolerance",):
        chosen = model.AllowanceModel
    return list(chosen.model_fields)


def _shown(node: Node) -> str:
    if isinstance(node, Entries):
        return "a mapping"
    if isinstance(node, Items):
        return "a list"
    if node.value is None:
        return "nothing"
    text = node.text if len(node.text) <= 40 else node.text[:37] + "..."
    return json.dumps(text, ensure_ascii=False) if isinstance(node.value, str) else text
