"""A check's inputs as arrays: drawn, given or read, then rounded to the dtype that is checked.

Every input has a random stream of its own, keyed by the seed and its name, so that adding an input
changes no other. Floating-point inputs come as float64 arrays that hold the rounded values.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.limits import memory_limit, readable_bytes
from gradcheck_cli.spec import files
from gradcheck_cli.spec.inputs import RANGES
from gradcheck_cli.spec.samplers import SAMPLERS, Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from gradcheck_cli.spec.check import Avoid, Check, InputSpec

_ITEM_BYTES = 8
_REDRAWS = 8


def sample(check: Check, limit: int | None = None) -> dict[str, NDArray[Any]]:
    """The inputs by name: float64 arrays of rounded values, or arrays of the input's integer dtype.

    `limit` is how many bytes they may take together; default: half of the machine's memory. Raises
    GradcheckError before anything is allocated where that isn't enough, and where a value doesn't
    fit its dtype.
    """
    _check_memory(check, memory_limit() if limit is None else limit)
    return {spec.name: _input(check, spec) for spec in check.inputs}


def cotangent(check: Check, shape: Shape) -> NDArray[np.float64]:
    """A normally distributed cotangent of the check's seed, rounded to its dtype."""
    drawn = _generator(check.seed, "cotangent", "").standard_normal(shape)
    return rounded(np.asarray(drawn), check.dtype)


def rounded(array: NDArray[Any], dtype: str) -> NDArray[np.float64]:
    """The float64 values nearest to `array` that `dtype` holds, ties to even.

    >>> rounded(np.array([1.0 + 2**-8, 1.0 + 3 * 2**-8]), "bfloat16").tolist()
    [1.0, 1.015625]
    """
    if dtype == "float64":
        return np.asarray(array, np.float64)
    # The cast of a NaN may raise the invalid flag, that of a large number overflow; both are meant.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        if dtype != "bfloat16":
            return np.asarray(array).astype(dtype).astype(np.float64)
        single = np.ascontiguousarray(array, np.float32)
        bits = single.view(np.uint32)
        # bfloat16 is the upper half of float32: add just under a half, and 1 where it is odd.
        bits = (bits + np.uint32(0x7FFF) + (bits >> np.uint32(16) & np.uint32(1))) & np.uint32(
            0xFFFF0000
        )
        result = np.where(np.isnan(single), single, bits.view(np.float32))
        return result.astype(np.float64).reshape(np.shape(array))


def _generator(seed: int, purpose: str, name: str) -> np.random.Generator:
    digest = hashlib.blake2b(f"{purpose}:{name}".encode(), digest_size=16).digest()
    key = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def _problem(
    spec: InputSpec,
    code: str,
    message: str,
    hint: str | None = None,
    exit_code: int = ExitCode.USAGE,
) -> GradcheckError:
    where = spec.source.where(0, len(spec.source.text))
    return GradcheckError(Problem(code, message, where, hint, ExitCode(exit_code)))


def _check_memory(check: Check, limit: int) -> None:
    total = 0
    for spec in check.inputs:
        # A size of 0 empties the array, but NumPy refuses it where the other sizes overflow.
        size = math.prod(max(1, length) for length in spec.shape) * _ITEM_BYTES
        empty = 0 in spec.shape and size < 2**63
        total += 0 if empty else size
        if total > limit:
            message = (
                f"input `{spec.name}` of shape {list(spec.shape)} needs {readable_bytes(size)}, "
                f"and the inputs may take {readable_bytes(limit)}"
            )
            raise _problem(spec, "GC303", message, "use smaller sizes", ExitCode.CANNOT_RUN)


def _input(check: Check, spec: InputSpec) -> NDArray[Any]:
    dtype = spec.dtype or check.dtype
    if spec.file is not None:
        array = _from_file(spec)
    elif spec.array is not None:
        array = spec.array
    elif spec.value is not None:
        whole = dtype in RANGES
        array = np.array(spec.value, np.int64 if whole else np.float64).reshape(spec.shape)
    elif spec.avoid is not None:
        return _structured(spec, _avoiding(check.seed, spec, spec.avoid, dtype))
    else:
        rng = _generator(check.seed, "input", spec.name)
        array = np.asarray(SAMPLERS[spec.sampler].draw(rng, spec.shape, spec.parameters))
    return _structured(spec, _fitted(spec, array, dtype))


def _from_file(spec: InputSpec) -> NDArray[Any]:
    assert spec.file is not None
    try:
        array = files.read(spec.file, spec.key)
    except files.FileError as error:
        raise _problem(spec, "GC009", error.message, error.hint, error.exit_code) from error
    if array.shape != spec.shape:
        message = f"`{spec.file.name}` has changed: its shape is {list(array.shape)} now"
        raise _problem(spec, "GC009", message)
    return array


def _fitted(spec: InputSpec, array: NDArray[Any], dtype: str) -> NDArray[Any]:
    if dtype in RANGES:
        least, most = RANGES[dtype]
        if array.size and not (least <= array.min() and array.max() <= most):
            message = f"input `{spec.name}` holds numbers that {dtype} can't hold"
            raise _problem(spec, "GC002", message, f"{dtype} holds {least} to {most}")
        return array.astype(dtype)
    fitted = rounded(array, dtype)
    if dtype != "float64" and np.isinf(fitted).sum() != np.isinf(array).sum():
        message = f"input `{spec.name}` holds numbers that are too large for {dtype}"
        raise _problem(spec, "GC002", message)
    return fitted


def _avoiding(seed: int, spec: InputSpec, avoid: Avoid, dtype: str) -> NDArray[np.float64]:
    """Samples, rounded, of which none is nearer than the margin to a point to keep away from.

    An element that is too near is drawn again; one that stays so is moved beyond the margin.
    """
    rng = _generator(seed, "input", spec.name)
    draw = SAMPLERS[spec.sampler].draw
    array = _fitted(spec, np.asarray(draw(rng, spec.shape, spec.parameters)), dtype)
    flat = array.reshape(-1)
    near = _near(flat, avoid)
    for _ in range(_REDRAWS):
        if not near.any():
            break
        again = np.asarray(draw(rng, (int(near.sum()),), spec.parameters))
        flat[near] = _fitted(spec, again, dtype)
        near = _near(flat, avoid)
    for index in np.flatnonzero(near):
        flat[index] = _moved(float(flat[index]), spec, avoid, dtype)
    return flat.reshape(spec.shape)


def _near(flat: NDArray[np.float64], avoid: Avoid) -> NDArray[np.bool_]:
    near = np.zeros(flat.shape, bool)
    for point in avoid.near:
        near |= np.abs(flat - point) < avoid.margin
    return near


def _moved(value: float, spec: InputSpec, avoid: Avoid, dtype: str) -> float:
    """The nearest allowed place just beyond one of the margins."""
    low = 0.0 if spec.sampler == "positive" else spec.parameters.get("low", -math.inf)
    high = spec.parameters.get("high", math.inf)
    places = np.array(
        [
            point + sign * avoid.margin * (1.0 + 2.0**exponent)
            for point in avoid.near
            for sign in (-1.0, 1.0)
            for exponent in range(-20, 7)
        ]
    )
    places = rounded(places, dtype)
    allowed = places[~_near(places, avoid) & (places > low) & (places < high) & np.isfinite(places)]
    if not allowed.size:
        message = f"`avoid` leaves input `{spec.name}` no room between {low:g} and {high:g}"
        raise _problem(spec, "GC002", message, "make `margin` smaller")
    return float(allowed[np.argmin(np.abs(allowed - value))])


def _structured(spec: InputSpec, array: NDArray[Any]) -> NDArray[Any]:
    """Bring samples into the structure; numbers given by the person must be in it already."""
    if spec.structure is None:
        return array
    result: NDArray[Any]
    if spec.structure == "symmetric":
        result = np.tril(array) + np.tril(array, -1).swapaxes(-1, -2)
    elif spec.structure == "lower_triangular":
        result = np.tril(array)
    elif spec.structure == "upper_triangular":
        result = np.triu(array)
    else:
        result = array * np.eye(array.shape[-1], dtype=array.dtype)
    if not spec.drawn and not np.array_equal(result, array, equal_nan=array.dtype.kind == "f"):
        raise _problem(
            spec, "GC002", f"input `{spec.name}` is not {spec.structure.replace('_', ' ')}"
        )
    return result
