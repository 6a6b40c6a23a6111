"""Python data -> checks: a spec as a dict is written as text and then read as any other.

Arrays don't go through text: the inputs that they are for get them afterwards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.errors import GradcheckError, Problem, Source, Where
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.spec.nodes import MAX_DEPTH
from gradcheck_cli.spec.numbers import Numbers, is_tensor, numbers

if TYPE_CHECKING:
    from gradcheck_cli.spec.check import Check, InputSpec

# Deeper levels stand on one line, so that a message shows an input and not a bracket.
_BROKEN_LEVELS = 2
# A larger array is no text.
_MOST_WRITTEN = 100_000
# Python itself refuses to write out numbers of thousands of digits; no key takes more than 64 bits.
_MOST_BITS = 128


def load_data(data: Mapping[str, Any]) -> tuple[Check, ...]:
    """The checks of a spec that is a dict, as `load_text` reads them from a file.

    Tuples are lists, arrays and tensors nested lists. An input's `file` is relative to the present folder.

    Raises GradcheckError with everything that is wrong with it.

    >>> [check.id for check in load_data({
    ...     "version": 1, "inputs": {"x": {"shape": (3,)}}, "expression": "x.sum()",
    ...     "dtype": ["float64", "float32"]})]
    ['check-1[float64]', 'check-1[float32]']
    """
    try:
        return load_text(_written(data, 0), None, Path.cwd())
    except GradcheckError as error:
        raise GradcheckError(*map(_placed, error.problems)) from None


def _placed(problem: Problem) -> Problem:
    """The problem; of one with the whole spec no place is shown, which would be its bracket."""
    whole = problem.where is not None and problem.where.source == "{"
    return replace(problem, where=None) if whole else problem


def with_arrays(
    data: Mapping[str, Any], arrays: Mapping[str, Numbers], *, dtype_given: bool
) -> tuple[Check, ...]:
    """The checks of one spec, whose `inputs` beside those of `data` are `arrays`.

    Floating-point arrays have the check's dtype where that was chosen, else their own. Problems of its
    expressions show these alone.

    Raises GradcheckError with everything that is wrong with it.
    """
    inputs = dict(data["inputs"])
    for name, given in arrays.items():
        # In place of the numbers until they are put in: zeros fit every shape and dtype.
        held: dict[str, Any] = {"shape": given.array.shape, "sample": "zeros", "dtype": given.dtype}
        if given.requires_grad:
            held["requires_grad"] = True
        inputs[name] = {**held, **inputs.get(name, {})}
    checks = load_data({**data, "inputs": inputs})
    return tuple(_filled(check, arrays, dtype_given=dtype_given) for check in checks)


def _filled(check: Check, arrays: Mapping[str, Numbers], *, dtype_given: bool) -> Check:
    def filled(spec: InputSpec) -> InputSpec:
        spec = replace(spec, source=Source(spec.name))
        given = arrays.get(spec.name)
        if given is None:
            return spec
        own = given.array.dtype.kind != "f" or (given.typed and not dtype_given)
        return replace(spec, array=given.array, dtype=given.dtype if own else None)

    alone = {name: _alone(source) for name, source in check.manual.items()}
    cotangent = check.cotangent
    return replace(
        check,
        inputs=tuple(map(filled, check.inputs)),
        expression=_alone(check.expression),
        let=tuple((name, _alone(source)) for name, source in check.let),
        manual=alone,
        cotangent=cotangent if isinstance(cotangent, str) else _alone(cotangent),
    )


def _alone(source: Source) -> Source:
    return Source(source.text)


def _written(value: Any, level: int) -> str:
    """JSON, the first levels an entry a line."""
    if level > MAX_DEPTH:
        raise _bad(f"the spec is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise _bad(f"a key of the spec is {_shown(key)}, and keys are text")
        items = [f"{_text(key)}: {_written(item, level + 1)}" for key, item in value.items()]
        if level < _BROKEN_LEVELS and items:
            margin = "  " * (level + 1)
            return "{\n" + ",\n".join(margin + item for item in items) + "\n" + margin[2:] + "}"
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_written(item, level + 1) for item in value) + "]"
    if value is None or isinstance(value, str | bool | int | float):
        return _scalar(value)
    if isinstance(value, np.ndarray | np.generic) or is_tensor(value):
        held = numbers("an array in the spec", value).array
        if held.size > _MOST_WRITTEN:
            hint = "`gradcheck_cli.check` takes arrays as they are"
            raise _bad(f"the spec holds an array of {held.size:,} numbers", hint)
        return _written(held.tolist(), level)
    raise _bad(f"the spec holds {_shown(value)}", "it is made of dicts, lists, text and numbers")


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise _bad("the spec holds a whole number that is far too large")
    return json.dumps(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _shown(value: Any) -> str:
    return f"an object of type {type(value).__name__}"


def _bad(message: str, hint: str | None = None) -> GradcheckError:
    return GradcheckError(Problem("GC002", message, Where("<spec>"), hint))
