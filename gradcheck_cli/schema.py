"""Signatures of operators, written as PyTorch writes them, and the binding of arguments to them.

    softmax(Tensor input, int dim, *, dtype? dtype=None)

Types: `Tensor` (a tensor), `Tensor|Scalar` (or a Python number), `Tensor?`, `Tensor[]` (a list; with
`...` also as separate arguments), `int`, `float`, `Scalar`, `bool`, `str`, `dtype`, `int[]`, `int?[]` (each
a whole number or None), `float[]`, and `size`
(a shape: like `int[]...`, but keeps symbolic sizes such as `x.shape[0]`, so that formulas stay general),
`data` (nested lists of numbers), `function` (a function such as `F.pairwise_distance`), `options` (the result
of a function that makes `Options`). A trailing `?` allows None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from gradcheck_cli.dtypes import DType

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# PyTorch's Python bindings accept NumPy's names too.
NUMPY_NAMES = {
    **dict.fromkeys(("a", "x", "x1"), "input"),
    "x2": "other",
    "axis": "dim",
    "keepdims": "keepdim",
}
_PARAMETER = re.compile(
    r"(?P<type>[\w|]+(?:\??\[\])?\??(?:\.\.\.)?)\s+(?P<name>\w+)(?:=(?P<default>.+))?"
)


class Invalid(Exception):  # noqa: N818 -- no error yet: the parser adds the place
    """A call that PyTorch would refuse: what is wrong, how to fix it, and at which argument.

    Of several overloads that all refuse a call, the one with the highest `rank` is the nearest.
    """

    def __init__(
        self,
        code: str,
        message: str,
        hint: str | None = None,
        argument: str | None = None,
        rank: int = 0,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.argument = argument
        self.rank = rank


@dataclass(frozen=True)
class Options:
    """Settings that PyTorch takes as an object of their own: `torch.nn.LinearCrossEntropyOptions(...)`."""

    name: str
    values: tuple[tuple[str, Any], ...]


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


@dataclass(frozen=True)
class Schema:
    """A parsed signature. `name` is PyTorch's, with its overload: `max.dim`."""

    name: str
    parameters: tuple[Parameter, ...]

    @cached_property
    def python_name(self) -> str:
        """The name without the overload."""
        return self.name.partition(".")[0]

    @cached_property
    def names(self) -> frozenset[str]:
        """The names of the parameters."""
        return frozenset(p.name for p in self.parameters)

    def __str__(self) -> str:
        parts, starred = [], False
        for parameter in self.parameters:
            if parameter.keyword_only and not starred:
                parts.append("*")
                starred = True
            parts.append(str(parameter))
        return f"{self.python_name}({', '.join(parts)})"


@cache
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
                None if default is None else _default(kind, default),
            )
        )
    return Schema(name, tuple(parameters))


def _default(kind: str, text: str) -> Any:
    """A default as a bound argument of its type would be."""
    import ast

    value = ast.literal_eval(text)
    if kind in ("int[]", "int?[]", "size") and value is not None:
        return tuple(value) if isinstance(value, (list, tuple)) else (value,)
    return float(value) if kind == "float" and value is not None else value


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
    if kwargs and not schema.names.issuperset(kwargs):
        kwargs = _renamed(schema, kwargs, len(args))
    tensors: list[Any] = []
    attributes: dict[str, Any] = {}
    position, named = 0, 0
    for parameter in schema.parameters:
        name = parameter.name
        if position < len(args) and not parameter.keyword_only:
            value = args[position]
            if parameter.variadic and not isinstance(value, (list, tuple)):
                value = tuple(args[position:])
                position = len(args)
            else:
                position += 1
            if name in kwargs:
                msg = f"{schema.python_name}() got `{name}` twice"
                raise Invalid("GC014", msg, argument=name, rank=_rank(position, named))
        elif name in kwargs:
            value = kwargs[name]
            named += 1
        elif parameter.has_default:
            attributes[name] = parameter.default
            if parameter.is_tensor:
                tensors.append(attributes.pop(name))
            continue
        else:
            msg = f"{schema.python_name}() misses its argument `{name}`"
            raise Invalid("GC014", msg, rank=_rank(position, len(kwargs)) + 1)
        try:
            converted = convert(parameter, value, is_expr, strict=strict)
        except ValueError as error:
            given = _misfit(parameter, value, is_expr)
            msg = f"{schema.python_name}() wants {error} for `{name}`, not {given}"
            hint = _as_tensor(parameter, value, is_expr)
            rank = _rank(position, named) - 2
            raise Invalid("GC014", msg, hint, name, rank) from None
        if not parameter.is_tensor:
            attributes[name] = converted
        elif parameter.type == "Tensor[]":
            tensors += converted
        else:
            tensors.append(converted)
    if position < len(args):
        count = sum(not p.keyword_only for p in schema.parameters)
        msg = (
            f"{schema.python_name}() takes {count} positional argument{'s' * (count != 1)}, "
            f"but {len(args)} were given"
        )
        raise Invalid("GC014", msg, rank=_rank(position, named))
    return tuple(tensors), attributes


def _rank(positional: int, named: int) -> int:
    """How near a refused call came: the more arguments fitted the nearer, then by the kind of fault."""
    return 4 * (positional + named)


def _renamed(schema: Schema, kwargs: Mapping[str, Any], positional: int) -> dict[str, Any]:
    """`kwargs` with NumPy's names made PyTorch's. Raises Invalid for names of neither."""
    renamed: dict[str, Any] = {}
    for key, value in kwargs.items():
        name = key if key in schema.names else NUMPY_NAMES.get(key, key)
        if name not in schema.names:
            if key == "out":
                msg = f"`out=` has {schema.python_name}() write into a tensor: no side effects here"
                raise Invalid("GC018", msg, "leave it out, and use the call's value", "out")
            known = sum(other in schema.names for other in kwargs)
            msg = f"{schema.python_name}() has no argument `{key}`"
            raise Invalid("GC014", msg, argument=key, rank=_rank(positional, known))
        if name in renamed:
            msg = f"{schema.python_name}() got `{name}` twice"
            raise Invalid("GC014", msg, argument=key, rank=_rank(positional, len(renamed)))
        renamed[name] = value
    return renamed


def _misfit(parameter: Parameter, value: Any, is_expr: type) -> str:
    """What was given instead; of a list that would do, the item that doesn't."""
    if parameter.type in ("Tensor[]", "data") and isinstance(value, (list, tuple)):
        for item in value:
            nested = isinstance(item, (list, tuple)) and parameter.type == "data"
            if nested or not _is_item(parameter.type, item, is_expr):
                return f"a list with {_misfit(parameter, item, is_expr)} in it"
    return describe(value)


def _is_item(kind: str, item: Any, is_expr: type) -> bool:
    if kind == "data":
        return _static(item, is_expr) is not None
    return _is_tensor(item, is_expr)


def _as_tensor(parameter: Parameter, value: Any, is_expr: type) -> str | None:
    """How a number, or a result of several tensors, becomes the tensor that is wanted."""
    if not parameter.is_tensor:
        return None
    if hasattr(value, "_fields"):
        return f"take one of its fields: {' or '.join(f'`.{field}`' for field in value._fields)}"
    if parameter.type == "Tensor" and _static(value, is_expr) is not None:
        return "make a tensor of it: torch.tensor(2.0)"
    return None


def convert(parameter: Parameter, value: Any, is_expr: type, *, strict: bool) -> Any:
    """`value` as its parameter's type wants it. Raises ValueError with what is wanted."""
    kind = parameter.type
    if value is None:
        if parameter.optional or (parameter.has_default and parameter.default is None):
            return None
    elif kind in ("Tensor", "Tensor|Scalar"):
        lenient = not strict or kind == "Tensor|Scalar"
        if isinstance(value, is_expr):
            if lenient or value.value is None:  # type: ignore[attr-defined]
                return value
        elif lenient and isinstance(value, (int, float)):
            return value
    elif kind == "Tensor[]":
        if isinstance(value, (list, tuple)):
            if all(_is_tensor(v, is_expr) for v in value):
                return tuple(value)
        elif parameter.variadic and _is_tensor(value, is_expr):
            return (value,)
    else:
        converted = _attribute(kind, value, is_expr)
        if converted is not None:
            return converted
    raise ValueError(_WANTED[kind])


def _is_tensor(value: Any, is_expr: type) -> bool:
    return isinstance(value, is_expr) and value.value is None  # type: ignore[attr-defined]


def _attribute(kind: str, value: Any, is_expr: type) -> Any:
    """What isn't a tensor, converted; None where it can't be."""
    match kind:
        case "int":
            return number if _is_int(number := _static(value, is_expr)) else None
        case "float":
            number = _static(value, is_expr)
            return None if number is None else float(number)
        case "Scalar":
            return None if _static(value, is_expr) is None else _plain(value)
        case "bool":
            number = _static(value, is_expr)
            return number if isinstance(number, bool) else None
        case "str":
            return value if isinstance(value, str) else None
        case "dtype":
            return value if isinstance(value, DType) else None
        case "int[]" | "size":
            items = value if isinstance(value, (list, tuple)) else (value,)
            numbers = tuple([_static(item, is_expr) for item in items])
            if not all(map(_is_int, numbers)):
                return None
            return tuple(map(_plain, items)) if kind == "size" else numbers
        case "int?[]":
            items = value if isinstance(value, (list, tuple)) else (value,)
            sizes = tuple([_static(item, is_expr) for item in items])
            fit = all(i is None or _is_int(size) for i, size in zip(items, sizes, strict=True))
            return sizes if fit else None
        case "float[]":
            items = value if isinstance(value, (list, tuple)) else (value,)
            numbers = tuple([_static(item, is_expr) for item in items])
            return None if None in numbers else tuple(float(n) for n in numbers if n is not None)
        case "data":
            return _nested(value, is_expr)
        case "function":
            return value if callable(value) and not isinstance(value, is_expr) else None
        case "options":
            return value if isinstance(value, Options) else None
    raise AssertionError(kind)


def _is_int(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)


def _nested(value: Any, is_expr: type) -> Any:
    """Nested lists of numbers as tuples; None where there is something else in them."""
    if isinstance(value, (list, tuple)):
        items = tuple([_nested(item, is_expr) for item in value])
        return None if None in items else items
    return _static(value, is_expr)


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
    "int?[]": "whole numbers, None for those of the input,",
    "float[]": "numbers",
    "size": "a shape",
    "data": "a number or nested lists of numbers",
    "function": "a function such as F.pairwise_distance",
    "options": "options, such as torch.nn.LinearCrossEntropyOptions()",
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
    if hasattr(value, "op") and hasattr(value, "value"):  # a node
        if value.value is None:
            return f"a tensor of shape {value.shape}"
        value = value.value
    if hasattr(value, "_fields"):
        return f"a result with the fields {' and '.join(value._fields)}"
    if isinstance(value, DType):
        return f"the dtype {value!r}"
    if isinstance(value, Options):
        return f"the options {value.name}"
    if callable(value):
        return "a function"
    if value is Ellipsis:
        return "`...`"
    if isinstance(value, (list, tuple, slice)):
        return f"a {type(value).__name__}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"the number {value}"
    return repr(value)[:40]
