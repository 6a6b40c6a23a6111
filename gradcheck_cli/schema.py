"""Signatures of operators, written as PyTorch writes them, and the binding of arguments to them.

    softmax(Tensor input, int dim, *, dtype? dtype=None)

Types: `Tensor` (a tensor), `Tensor|Scalar` (or a Python number), `Tensor?`, `Tensor[]` (a list; with
`...` also as separate arguments), `int`, `float`, `Scalar`, `bool`, `str`, `dtype`, `int[]`, and `size`
(a shape: like `int[]...`, but keeps symbolic sizes such as `x.shape[0]`, so that formulas stay general),
`data` (nested lists of numbers). A trailing `?` allows None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gradcheck_cli.dtypes import DType
from gradcheck_cli.errors import did_you_mean

# PyTorch's Python bindings accept NumPy's names too.
_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim", "a": "input", "x": "input", "x1": "input"}
_PARAMETER = re.compile(
    r"(?P<type>[\w|]+(?:\[\])?\??(?:\.\.\.)?)\s+(?P<name>\w+)(?:=(?P<default>.+))?"
)


class Invalid(Exception):  # noqa: N818  -- not an error by itself: the parser adds the place
    """A call that PyTorch would refuse: what is wrong, how to fix it, and at which argument."""

    def __init__(
        self, code: str, message: str, hint: str | None = None, argument: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.argument = argument


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a signature."""

    name: str
    type: str
    optional: bool
    variadic: bool
    keyword_only: bool
    has_default: bool
    default: Any

    @property
    def is_tensor(self) -> bool:
        """Whether it takes part in the graph as an argument, not as an attribute."""
        return self.type.startswith("Tensor")

    def __str__(self) -> str:
        text = f"{'*' if self.variadic else ''}{self.name}"
        return f"{text}={self.default!r}" if self.has_default else text


@dataclass(frozen=True, slots=True)
class Schema:
    """A parsed signature. `name` is PyTorch's, with its overload: `max.dim`."""

    name: str
    parameters: tuple[Parameter, ...]

    @property
    def python_name(self) -> str:
        """The name without the overload."""
        return self.name.partition(".")[0]

    def __str__(self) -> str:
        parts, starred = [], False
        for parameter in self.parameters:
            if parameter.keyword_only and not starred:
                parts.append("*")
                starred = True
            parts.append(str(parameter))
        return f"{self.python_name}({', '.join(parts)})"


@lru_cache(maxsize=None)
def parse_schema(text: str) -> Schema:
    """Read a signature.

    >>> str(parse_schema("sum(Tensor input, int[]? dim=None, bool keepdim=False)"))
    'sum(input, dim=None, keepdim=False)'
    """
    name, _, rest = text.partition("(")
    parameters = []
    keyword_only = False
    for part in re.split(r",\s*(?![^\[(]*[\])])", rest.rstrip(")")):
        if part == "*":
            keyword_only = True
            continue
        if not part:
            continue
        match = _PARAMETER.fullmatch(part)
        assert match, f"{text}: {part!r} is not a parameter"
        kind = match["type"]
        variadic = kind.endswith("...")
        kind = kind.removesuffix("...")
        optional = kind.endswith("?")
        kind = kind.removesuffix("?")
        default = match["default"]
        parameters.append(
            Parameter(
                match["name"],
                kind,
                optional,
                variadic or kind == "size",
                keyword_only,
                default is not None,
                None if default is None else _literal(default),
            )
        )
    return Schema(name, tuple(parameters))


def _literal(text: str) -> Any:
    import ast

    return ast.literal_eval(text)


def bind(
    schema: Schema,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    is_expr: type,
    *,
    strict: bool = True,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Split a call into graph arguments and attributes, defaults filled in.

    `is_expr` is the class of graph nodes (passed in, because the graph stands on this module). With
    `strict`, a `Tensor` parameter refuses Python numbers as PyTorch's functions do; operators written
    infix accept them.

    Raises Invalid (GC014).
    """
    positional = [p for p in schema.parameters if not p.keyword_only]
    given: dict[str, Any] = {}
    rest = list(args)
    for parameter in positional:
        if not rest:
            break
        if parameter.variadic and not isinstance(rest[0], (list, tuple)):
            given[parameter.name] = tuple(rest)
            rest = []
        else:
            given[parameter.name] = rest.pop(0)
    if rest:
        msg = (
            f"{schema.python_name}() takes {len(positional)} positional "
            f"argument{'s' * (len(positional) != 1)}, but {len(args)} were given"
        )
        raise Invalid("GC014", msg, f"its signature is {schema}")
    names = {p.name for p in schema.parameters}
    for key, value in kwargs.items():
        name = key if key in names else _NUMPY_NAMES.get(key, key)
        if name not in names:
            raise Invalid(
                "GC014",
                f"{schema.python_name}() has no argument `{key}`",
                did_you_mean(key, names) or f"its signature is {schema}",
                key,
            )
        if name in given:
            msg = f"{schema.python_name}() got `{name}` twice"
            raise Invalid("GC014", msg, argument=key)
        given[name] = value
    tensors: list[Any] = []
    attributes: dict[str, Any] = {}
    for parameter in schema.parameters:
        if parameter.name not in given:
            if not parameter.has_default:
                raise Invalid(
                    "GC014",
                    f"{schema.python_name}() misses its argument `{parameter.name}`",
                    f"its signature is {schema}",
                )
            value = parameter.default
        else:
            value = given[parameter.name]
        converted = convert(parameter, value, is_expr, schema, strict=strict)
        if not parameter.is_tensor:
            attributes[parameter.name] = converted
        elif parameter.type == "Tensor[]":
            tensors.extend(converted)
        else:
            tensors.append(converted)
    return tuple(tensors), attributes


def convert(  # noqa: C901, PLR0911, PLR0912 -- one case per type of the grammar above
    parameter: Parameter, value: Any, is_expr: type, schema: Schema, *, strict: bool
) -> Any:
    """`value` as its parameter's type wants it. Raises Invalid (GC014)."""

    def refuse(wanted: str) -> Invalid:
        return Invalid(
            "GC014",
            f"{schema.python_name}() wants {wanted} for `{parameter.name}`, not {describe(value)}",
            f"its signature is {schema}",
            parameter.name,
        )

    if value is None:
        if parameter.optional or (parameter.has_default and parameter.default is None):
            return None
        raise refuse(_WANTED[parameter.type])
    symbolic = isinstance(value, is_expr)
    number = _static(value, is_expr)
    match parameter.type:
        case "Tensor" | "Tensor|Scalar":
            if symbolic and not (strict and number is not None and parameter.type == "Tensor"):
                return value
            if number is not None and (not strict or parameter.type == "Tensor|Scalar"):
                return value
        case "Tensor[]":
            if isinstance(value, (list, tuple)):
                if all(
                    (isinstance(v, is_expr) and _static(v, is_expr) is None) or v is None
                    for v in value
                ):
                    return tuple(value)
            elif symbolic and parameter.variadic and number is None:
                return (value,)
        case "int":
            if isinstance(number, int) and not isinstance(number, bool):
                return number
        case "float" | "Scalar":
            if number is not None:
                return float(number) if parameter.type == "float" else _plain(value)
        case "bool":
            if isinstance(number, bool):
                return number
        case "str":
            if isinstance(value, str):
                return value
        case "dtype":
            if isinstance(value, DType):
                return value
        case "int[]" | "size":
            items = value if isinstance(value, (list, tuple)) else (value,)
            statics = [_static(item, is_expr) for item in items]
            if all(isinstance(n, int) and not isinstance(n, bool) for n in statics):
                return tuple(items if parameter.type == "size" else statics)
        case "data":
            return _nested(value, is_expr, refuse)
    raise refuse(_WANTED[parameter.type])


def _nested(value: Any, is_expr: type, refuse: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return tuple(_nested(item, is_expr, refuse) for item in value)
    number = _static(value, is_expr)
    if number is None:
        raise refuse(_WANTED["data"])
    return number


_WANTED = {
    "Tensor": "a tensor",
    "Tensor|Scalar": "a tensor or a number",
    "Tensor[]": "a list of tensors",
    "int": "a whole number",
    "float": "a number",
    "Scalar": "a number",
    "bool": "True or False",
    "str": "a string",
    "dtype": "a dtype such as torch.float64",
    "int[]": "whole numbers",
    "size": "a shape",
    "data": "a number or nested lists of numbers",
}


def _static(value: Any, is_expr: type) -> int | float | bool | None:
    """The number that `value` is, also where a node such as `x.shape[0]` holds it; else None."""
    if isinstance(value, is_expr):
        value = value.value  # type: ignore[attr-defined]
    return value if isinstance(value, (bool, int, float)) else None


def _plain(value: Any) -> Any:
    """A literal as the number that it is; a symbolic size stays what it is."""
    return value.value if hasattr(value, "op") and not value.args else value


def describe(value: Any) -> str:
    """What a person would call `value` in an error message."""
    shape = getattr(value, "shape", None)
    if shape is not None and getattr(value, "value", None) is None:
        return f"a tensor of shape {tuple(shape)}"
    if shape is not None:
        value = value.value
    if isinstance(value, (list, tuple)):
        return "a list" if isinstance(value, list) else "a tuple"
    return repr(value)[:40]
