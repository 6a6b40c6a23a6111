"""The JSON Schema of spec files as editors use it: with templates of checks, inputs and operators.

JSON Schema describes values, not what may stand within a text, so an editor can't complete a name in the
middle of an expression. What editors do complete is a value that begins: the YAML language server and the
JSON support of VS Code offer `defaultSnippets` as soon as the value is empty or a prefix of a label, and
`enumDescriptions` beside each value of an enumeration. Validators pass over both keywords.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.spec.model import json_schema
from gradcheck_cli.spec.samplers import SAMPLERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.graph import Op

JsonSchema = dict[str, Any]

_CHECK: JsonSchema = {
    "name": "${1:name}",
    "inputs": {"${2:x}": {"shape": ["${3:3}", "${4:4}"]}},
    "expression": "${5:x.pow(2).sum()}",
    "manual": {"${2:x}": "${6:2 * x}"},
}
_DTYPES = {
    "float64": "The reference: errors of 1e-9 of the largest element show.",
    "float32": "Checked against float64, with an allowance measured on the expression.",
    "float16": "As float32; overflows above 65504.",
    "bfloat16": "As float32, with 8 significant bits.",
}
_METHODS = {
    "torch": "torch.autograd, on the chosen device and in the chosen dtype.",
    "engine": "gradcheck's own autograd engine, in float64.",
    "implementation": "Your own code, which `implementation` names.",
    "manual": "Your formulas under `manual`.",
    "derived": "The closed form that gradcheck derives, as it is printed.",
    "numeric": "Complex step or extrapolated differences: no derivative rules at all.",
}


def editor_schema() -> JsonSchema:
    """`json_schema()` with what helps editors; what is valid is the same.

    An operator's template stands once, under `$defs`, where every key that holds an expression refers to.
    """
    made = json_schema()
    _describe(made)
    expression = _find_expression(made)
    for part in (made, *made["$defs"].values()):
        for value in part["properties"].values():
            _refer(value, expression)
    made["$defs"]["Expression"] = {**expression, "defaultSnippets": [*_operators()]}
    made["defaultSnippets"] = [
        {"label": "check", "description": "One check.", "body": {"version": 1, **_CHECK}},
        {
            "label": "checks",
            "description": "Several checks in one file.",
            "body": {"version": 1, "checks": [_CHECK]},
        },
    ]
    made["properties"]["checks"]["items"]["defaultSnippets"] = [
        {"label": "check", "description": "One more check.", "body": _CHECK}
    ]
    return made


def _find_expression(made: JsonSchema) -> JsonSchema:
    """What is valid where an expression stands, without the words about one such place."""
    value = made["properties"]["expression"]
    return {key: value[key] for key in value if key not in {"description", "title"}}


def _refer(value: JsonSchema, expression: JsonSchema) -> None:
    """Put a reference in the place of an expression's schema, in a key's own or in that of its values."""
    values = value.get("additionalProperties")
    if isinstance(values, dict) and _is(values, expression):
        value["additionalProperties"] = {"$ref": "#/$defs/Expression"}
    elif _is(value, expression):
        for key in expression:
            del value[key]
        value["$ref"] = "#/$defs/Expression"


def _is(value: JsonSchema, expression: JsonSchema) -> bool:
    return all(value.get(key) == wanted for key, wanted in expression.items())


def _describe(value: Any) -> None:
    """Say of every enumeration what each of its values is."""
    if isinstance(value, list):
        for item in value:
            _describe(item)
    if not isinstance(value, dict):
        return
    known = {name: f"{sampler.doc}." for name, sampler in SAMPLERS.items()} | _DTYPES | _METHODS
    names = value.get("enum")
    if isinstance(names, list) and names[0] in known:
        value["enumDescriptions"] = [known.get(name, "") for name in names]
    for item in value.values():
        _describe(item)


def _operators() -> Iterator[JsonSchema]:
    """A template for every operator: its required arguments, to be filled in."""
    import gradcheck_cli.ops  # noqa: F401 -- fills the table
    from gradcheck_cli.ops.domains import entries

    seen = set()
    for entry in entries():
        if entry.name not in seen and entry.name != "x[...]":
            seen.add(entry.name)
            op = entry.records[0]
            yield {
                "label": entry.name,
                "description": f"{op.signature}\n{entry.doc}",
                "body": _call(entry.name, op),
            }


def _call(name: str, op: Op) -> str:
    """A call with numbered holes, as snippets have them: `softmax(${1:input}, ${2:dim})`."""
    needed = [one for one in op.signature.parameters if not one.has_default]
    is_method = name.startswith("x.")
    holes = [
        f"{f'{one.name}=' if one.keyword_only else ''}${{{number}:{one.name}}}"
        for number, one in enumerate(needed, 1)
    ]
    if not is_method:
        return f"{name}({', '.join(holes)})"
    called = f"{holes[0]}{name.removeprefix('x')}"
    return called if op.attribute else f"{called}({', '.join(holes[1:])})"
