"""The file format as pydantic models: what validates a spec, and what `gradcheck schema` prints.

Only this module and `model_errors.py` import pydantic, and only when a spec is read. What needs
more than one key to be judged (shapes, samplers, names) is checked in `build.py` and `inputs.py`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError

from gradcheck_cli.spec.check import FLOATING, WHOLE
from gradcheck_cli.spec.samplers import SAMPLERS

if TYPE_CHECKING:
    from collections.abc import Callable

VERSION = 1
METHODS = ("torch", "engine", "implementation", "manual", "derived", "numeric")
STRUCTURES = ("symmetric", "lower_triangular", "upper_triangular", "diagonal")
MAX_SIZE = 2**63 - 1
MAX_DIMS = 32
_DEVICE = re.compile(r"(?:cpu|mps|cuda(?::[0-9]{1,3})?)\Z")
_EXPECT = re.compile(r"fail(?: GC[12][0-9]{2})?\Z")
_TARGET = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*\Z", re.ASCII)

JsonSchema = dict[str, Any]


def _wrong(
    sentence: str, *at: int, choices: tuple[str, ...] = (), hint: str | None = None
) -> PydanticCustomError:
    """An error whose message follows the key's name: "must be a list". `at` leads to an element."""
    context = {"sentence": sentence, "at": at, "choices": choices, "hint": hint}
    return PydanticCustomError("gradcheck", "{sentence}", context)


def _choice(value: object, choices: tuple[str, ...], *at: int) -> str:
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(choices)
        raise _wrong(f"must be one of {listed}", *at, choices=choices)
    return value


def _checked(check: Callable[[Any], Any], schema: JsonSchema) -> tuple[Any, Any]:
    """What to annotate a type with whose values `check` judges and `schema` describes."""
    return PlainValidator(check), WithJsonSchema(schema)


def _one_of(*choices: str) -> tuple[Any, Any]:
    return _checked(
        lambda value: _choice(value, choices), {"type": "string", "enum": list(choices)}
    )


def _expression(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise _wrong("must be an expression", hint="put the expression in quotes")
    if isinstance(value, str) and not value.strip():
        raise _wrong("must not be empty")
    return value


def _dims(value: object) -> object:
    sizes = value if isinstance(value, list) else [value]
    if not sizes:
        raise _wrong("must be a size, or a list of sizes that is not empty")
    for index, size in enumerate(sizes):
        if not _is_size(size):
            at = (index,) if isinstance(value, list) else ()
            raise _wrong("must be a whole number >= 0", *at)
    return value


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_SIZE


def _shape(value: object) -> object:
    if not isinstance(value, list):
        raise _wrong("must be a list of sizes", hint="as in [3, 8]; `[]` is a single number")
    if len(value) > MAX_DIMS:
        raise _wrong(f"must be a list of at most {MAX_DIMS} sizes")
    for index, size in enumerate(value):
        if not _is_size(size) and not (isinstance(size, str) and size.isidentifier()):
            raise _wrong("must be a whole number >= 0, or a name under `dims`", index)
    return value


def _dtype(value: object, *at: int) -> object:
    if isinstance(value, str) and value in {"complex64", "complex128"}:
        raise _wrong("must be real", *at, hint="complex numbers are not supported yet")
    if isinstance(value, str) and value in WHOLE:
        hint = "a check computes in it; `dtype` of an input may be an integer's"
        raise _wrong(f"must be one of {', '.join(FLOATING)}", *at, hint=hint)
    return _choice(value, FLOATING, *at)


def _input_dtype(value: object) -> object:
    return value if isinstance(value, str) and value in WHOLE else _dtype(value)


def _device(value: object, *at: int) -> object:
    if not isinstance(value, str) or not _DEVICE.match(value):
        raise _wrong(
            "must be cpu, cuda, cuda:0, cuda:1, ... or mps", *at, choices=("cpu", "cuda", "mps")
        )
    return value


def _several(check: Callable[..., object]) -> Callable[[object], object]:
    """One value, or a list of different ones."""

    def checked(value: object) -> object:
        if not isinstance(value, list):
            return check(value)
        if not value:
            raise _wrong("must not be an empty list")
        for index, item in enumerate(value):
            check(item, index)
            if item in value[:index]:
                raise _wrong("stands in the list twice", index)
        return value

    return checked


def _methods(value: object) -> object:
    if not isinstance(value, list):
        raise _wrong(f"must be a list of {', '.join(METHODS)}")
    return _several(lambda item, *at: _choice(item, METHODS, *at))(value)


def _expect(value: object) -> object:
    if not isinstance(value, str) or not _EXPECT.match(value):
        raise _wrong("must be `fail`, or `fail` and a diagnosis code", hint="as in `fail GC102`")
    return value


def _implementation(value: object) -> object:
    if not isinstance(value, str) or len(value) > 200 or not _TARGET.match(value):
        hint = "as in `fused.kernels:gelu`, or `fused.kernels:Gelu.apply`"
        raise _wrong("must be package.module:object", hint=hint)
    return value


def _constant(value: object) -> object:
    items = value if isinstance(value, list) else [value]
    for index, item in enumerate(items):
        if item is not None and not isinstance(item, str | int | float):
            at = (index,) if isinstance(value, list) else ()
            raise _wrong("must be a number, text, true or false, null, or a list of those", *at)
    return value


def _line(value: object, *at: int) -> object:
    if not isinstance(value, str):
        raise _wrong("must be text", *at, hint="put it in quotes")
    if not value.strip() or not value.isprintable() or len(value) > 200:
        raise _wrong("must be one line of 1 to 200 printable characters", *at)
    return value


def _tags(value: object) -> object:
    if not isinstance(value, list):
        raise _wrong("must be a list of texts")
    for index, item in enumerate(value):
        _line(item, index)
    return value


def _key(description: str, **constraints: Any) -> Any:
    """A key that may be absent; null is a value like any other, and so refused."""
    return Field(default=None, description=description, **constraints)


_SIZE: JsonSchema = {"type": "integer", "minimum": 0}
_NAME: JsonSchema = {"type": "string", "minLength": 1, "maxLength": 200}


def _list_or_one(item: JsonSchema) -> JsonSchema:
    return {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}


_DTYPES: JsonSchema = {"type": "string", "enum": list(FLOATING)}
_DEVICES: JsonSchema = {"type": "string", "pattern": "^(cpu|mps|cuda(:[0-9]{1,3})?)$"}
_METHOD_LIST: JsonSchema = {"type": "array", "items": {"enum": list(METHODS)}, "minItems": 1}
_TARGET_SCHEMA = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
_PLAIN: JsonSchema = {"type": ["number", "string", "boolean", "null"]}
_CONSTANTS: JsonSchema = {"anyOf": [_PLAIN, {"type": "array", "items": _PLAIN}]}
_SHAPE: JsonSchema = {"type": "array", "items": {"type": ["integer", "string"], "minimum": 0}}

Expression = Annotated[
    Any, *_checked(_expression, {"type": ["string", "number", "boolean"], "minLength": 1})
]
Number = Annotated[float, Field(allow_inf_nan=False)]
Allowance = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Strict(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        defer_build=True,
        json_schema_extra={"patternProperties": {"^x-": True}},
    )


class AvoidModel(_Strict):
    """Keeps samples off kinks."""

    near: list[Number] = Field(description="The points to keep away from.", min_length=1)
    margin: Number = _key("How far to keep away. Default 1e-3.", gt=0)


class InputModel(_Strict):
    """One input of the expression: a shape and a sampler, or a value, or a file."""

    shape: Annotated[Any, *_checked(_shape, _SHAPE)] = _key(
        "Sizes: whole numbers, or names under `dims`. May be left out beside `value` and `file`."
    )
    sample: Annotated[Any, *_one_of(*SAMPLERS)] = _key(
        "How numbers are drawn. Default normal. "
        + " ".join(f"{s.name}: {s.doc}." for s in SAMPLERS.values())
    )
    dtype: Annotated[
        Any, *_checked(_input_dtype, {"type": "string", "enum": [*FLOATING, *WHOLE]})
    ] = _key("Default: the check's; int64 for integers and permutation, and for whole `value`s.")
    requires_grad: bool = _key(
        "Whether its gradient is checked. Where no input says true, every floating-point one is."
    )
    value: Annotated[Any, WithJsonSchema({"type": ["number", "boolean", "string", "array"]})] = (
        _key("The numbers themselves, as nested lists. `.nan` and `.inf` are allowed.")
    )
    file: str = _key("A .npy, .npz or .safetensors file in the spec's folder.", min_length=1)
    key: str = _key("Which array of an .npz or .safetensors file.", min_length=1)
    structure: Annotated[Any, *_one_of(*STRUCTURES)] = _key(
        "The set of matrices that the input stays in: samples are brought into it."
    )
    avoid: AvoidModel = _key("For normal, uniform and positive: keeps samples off these points.")
    mean: Number = _key("Of normal. Default 0.")
    std: Allowance = _key("Of normal: the standard deviation. Default 1.")
    low: Number = _key("Of uniform, linspace (default 0) and integers (default 0).")
    high: Number = _key(
        "Of uniform, linspace (default 1) and integers (default 10, not drawn itself)."
    )
    p: Annotated[float, Field(ge=0, le=1)] = _key(
        "Of bernoulli: the probability of 1. Default 0.5."
    )


class AllowanceModel(_Strict):
    """Allowance = atol + rtol * |reference| + the error estimates."""

    rtol: Allowance = _key("Relative tolerance.")
    atol: Allowance = _key("Absolute tolerance.")


class ToleranceModel(AllowanceModel):
    """Tolerances for every dtype, or for each one."""

    float64: AllowanceModel = _key("For checks in float64.")
    float32: AllowanceModel = _key("For checks in float32.")
    float16: AllowanceModel = _key("For checks in float16.")
    bfloat16: AllowanceModel = _key("For checks in bfloat16.")


class CheckModel(_Strict):
    """One check: inputs, an expression, and what is compared. `defaults` takes the same keys."""

    name: Annotated[Any, *_checked(_line, _NAME)] = _key("For people and for selection.")
    description: str = _key("For people.")
    tags: Annotated[Any, *_checked(_tags, {"type": "array", "items": _NAME})] = _key(
        "For selection."
    )
    dims: dict[str, Annotated[Any, *_checked(_dims, _list_or_one(_SIZE))]] = _key(
        "Named sizes for shapes, as {N: 4, C: [3, 7]}; a list expands the check."
    )
    inputs: dict[str, InputModel] = _key("Name -> input.")
    let: dict[str, Expression] = _key(
        "Name -> expression, in order; for `expression` and `manual`."
    )
    expression: Expression = _key("What is differentiated, in PyTorch's syntax.")
    cotangent: Expression = _key(
        "What an expression that is no scalar is contracted with: random (default), ones, or an "
        "expression."
    )
    implementation: Annotated[
        Any, *_checked(_implementation, {"type": "string", "pattern": _TARGET_SCHEMA})
    ] = _key(
        "Your own code, `package.module:object`, whose forward and backward are checked: a function, a "
        "torch.autograd.Function, an nn.Module, or a custom operator. `expression` may be left out then. "
        "It is imported only with --allow-import."
    )
    kwargs: dict[str, Annotated[Any, *_checked(_constant, _CONSTANTS)]] = _key(
        "Constants for `implementation`, by name: of a function or operator, or of a module's constructor."
    )
    manual: dict[str, Expression] = _key(
        "Input -> formula of its gradient; `grad` is the upstream one."
    )
    order: Annotated[int, Field(ge=1, le=2)] = _key(
        "1 (default), or 2 for the gradient's gradient too."
    )
    dtype: Annotated[Any, *_checked(_several(_dtype), _list_or_one(_DTYPES))] = _key(
        "One or a list, which expands the check. Default float64."
    )
    device: Annotated[Any, *_checked(_several(_device), _list_or_one(_DEVICES))] = _key(
        "One or a list, which expands the check. Default cpu."
    )
    methods: Annotated[Any, *_checked(_methods, _METHOD_LIST)] = _key(
        "Which methods to compare. Default: all that apply."
    )
    tolerance: ToleranceModel = _key("Default: tight in float64, measured in lower precision.")
    seed: Annotated[int, Field(ge=0, le=MAX_SIZE)] = _key("Of the samples. Default 0.")
    expect: Annotated[
        Any, *_checked(_expect, {"type": "string", "pattern": "^fail( GC[12][0-9]{2})?$"})
    ] = _key("`fail`, or `fail GC102`: a known mistake, kept as a test of the checker.")


class FileModel(CheckModel):
    """A gradcheck spec: one check, or many under `checks`."""

    model_config = ConfigDict(
        title="gradcheck spec",
        json_schema_extra={
            "patternProperties": {"^x-": True},
            "anyOf": [
                {"required": ["checks"]},
                {"required": ["inputs", "expression"]},
                {"required": ["inputs", "implementation"]},
            ],
        },
    )
    version: Annotated[
        int, WithJsonSchema({"const": VERSION, "description": "The format's version."})
    ]
    checks: list[CheckModel] = _key("Many checks in place of one.", min_length=1)
    defaults: CheckModel = _key("Merged into each of `checks`.")


class _Schema(GenerateJsonSchema):
    """JSON Schema without `default: null`: an absent key isn't a null one."""

    def default_schema(self, schema: Any) -> JsonSchema:
        return self.generate_inner(schema["schema"])


def json_schema() -> JsonSchema:
    """JSON Schema 2020-12 of a spec file, with descriptions, for editors."""
    made = FileModel.model_json_schema(schema_generator=_Schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
