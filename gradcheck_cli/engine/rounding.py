"""What rounding costs on one expression, measured: the plan run again with every result slightly off."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck_cli.graph import rebuild, topological

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.engine.plan import Array, Disturb, Plan
    from gradcheck_cli.graph import Expr

# Half the distance from 1 to the next number: the relative error of one correctly rounded operation.
UNIT_ROUNDOFF = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}
# Below this a type's numbers lose precision, then vanish: the absolute error of one operation.
SMALLEST_STEP = {
    "float64": 2.0**-1074,
    "float32": 2.0**-149,
    "float16": 2.0**-24,
    "bfloat16": 2.0**-133,
}
# Below this a type's numbers are further apart, relative to their size, than its unit roundoff says.
_SMALLEST_NORMAL = {
    "float64": 2.0**-1022,
    "float32": 2.0**-126,
    "float16": 2.0**-14,
    "bfloat16": 2.0**-126,
}
# A real error above four times the largest of eight normal draws has a probability of about 1e-6.
_DRAWS = 8
_MARGIN = 4.0
# By how much the largest deviation of one draw may stay below that of eight.
_LUCK = 2.5
_MOST_SIGNS = 1 << 13


def written_out(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """The same expressions, with fused elementwise operators replaced by their definitions.

    A kernel may be more exact than its definition, where another backend's rounds at every step of it.
    """
    replaced: dict[Expr, Expr] = {}
    for node in topological(roots, sizes=True):
        made = rebuild(node, replaced.__getitem__)
        if made.op.elementwise and made.op.define is not None:
            made = made.op.define(*made.args, **made.attributes)
        replaced[node] = made
    return tuple(replaced[node] for node in roots)


def disturbance(dtype: str, seed: int, draw: int, *, opposite: bool = False) -> Disturb:
    """What `Plan` applies to values to have them off as by rounding: random factors 1 +- the unit roundoff.

    Stochastic arithmetic: Parker, Monte Carlo Arithmetic, 1997. `opposite` gives the same draw with all
    signs turned, which shows where one of the two happens to be rounded away. What orthogonal
    transformations have `mixed` is off by parts of its largest element (Higham, Accuracy and Stability of
    Numerical Algorithms, 2002, section 19.3: their backward error is bounded by norms). Among a type's
    subnormal numbers the error is absolute: half of their distance.
    """
    # In float64 itself nothing smaller than its last place can be applied.
    unit = max(UNIT_ROUNDOFF[dtype], 2.0**-52)
    # Sums run in single precision at least. Term by term, n roundings add up like sqrt(n).
    sum_unit = min(unit, UNIT_ROUNDOFF["float32"])
    sign = -1.0 if opposite else 1.0
    rng = np.random.default_rng((seed, draw))

    def disturb(value: Any, terms: float, mixed: bool = False) -> Any:
        array = np.asarray(value)
        if array.dtype.kind == "c":
            return disturb(array.real, terms, mixed) + 1j * disturb(array.imag, terms, mixed)
        if array.dtype.kind != "f":
            return value
        signs = rng.integers(0, 2, array.shape, np.int8) * 2.0 - 1.0
        relative = sign * max(unit, sum_unit * (terms / 2) ** 0.5) * signs
        if mixed:
            return array + relative * _largest(array)
        moved = array * (1.0 + relative)
        if dtype != "float64":
            size = np.abs(array)
            # Gradual underflow; a sum in single precision is rounded to the type once.
            tiny = (size > 0) & (size < _SMALLEST_NORMAL[dtype])
            if tiny.any():
                moved = np.where(tiny, array + sign * SMALLEST_STEP[dtype] / 2 * signs, moved)
        return moved

    return disturb


def _largest(array: Array) -> Any:
    """The largest absolute element of each matrix (of a vector, of it)."""
    axes = tuple(range(max(0, array.ndim - 2), array.ndim))
    return np.max(np.abs(array), axis=axes, keepdims=True, initial=0.0)


def spread(plan: Plan, inputs: Mapping[str, Array], dtype: str, seed: int = 0) -> list[Array]:
    """How far each output of `plan` moves when every operation rounds as `dtype` does.

    The inputs are exact: they hold numbers of the type. The elementwise largest deviation of a few
    independent draws, but at least the array's typical relative one, times a safety margin.
    """
    exact = [np.asarray(value, np.float64) for value in plan(inputs)]
    # At least the result itself is rounded, also where every draw ends in 0/0: ties that no draw leaves tied.
    largest = [np.asarray(UNIT_ROUNDOFF[dtype] * np.abs(value)) for value in exact]
    for draw in range(_DRAWS):
        moved = plan(inputs, disturbance(dtype, seed, draw))
        with np.errstate(all="ignore"):
            for largest_one, value, reference in zip(largest, moved, exact, strict=True):
                np.fmax(largest_one, np.abs(value - reference), out=largest_one)
    return [_with_floor(move, value) for move, value in zip(largest, exact, strict=True)]


def glimpse(
    plan: Plan, inputs: Mapping[str, Array], exact: Sequence[Array], seed: int = 0
) -> list[float]:
    """About the largest element of each of `spread`'s results in float64, from one draw.

    `exact` are the plan's outputs. It is cheap enough to be told of checks that need no `spread`.
    """
    moved = plan(inputs, _quick(seed))
    found = []
    with np.errstate(all="ignore"):
        for value, reference in zip(moved, exact, strict=True):
            away = np.abs(np.subtract(value, reference))
            found.append(_LUCK * _MARGIN * float(np.fmax.reduce(away, axis=None, initial=0.0)))
    return found


@cache
def _signs() -> Array:
    """Random signs, drawn once: a small array's share of them costs nothing."""
    return np.random.default_rng(0).integers(0, 2, _MOST_SIGNS) * 2.0 - 1.0


def _quick(seed: int) -> Disturb:
    """What `disturbance` does in float64, with signs from a table for all but large arrays."""
    start = seed

    def disturb(value: Any, terms: float, mixed: bool = False) -> Any:
        nonlocal start
        if (
            mixed
            or not isinstance(value, np.ndarray | np.float64)
            or value.dtype != np.float64
            or value.size > _MOST_SIGNS // 2
        ):
            start += 1
            return disturbance("float64", seed, start)(value, terms, mixed)
        start = (start + 1021) % (_MOST_SIGNS // 2)
        signs = _signs()[start : start + value.size].reshape(value.shape)
        # The unit applied, and how n roundings add up, are `disturbance`'s.
        return value + value * (signs * (2.0**-52 * max(1.0, terms / 2) ** 0.5))

    return disturb


def _with_floor(move: Array, exact: Array) -> Array:
    """A small deviation may be luck: none counts as surer than a typical one, relative or absolute."""
    moved = move[move > 0]
    if not moved.size:
        return move
    with np.errstate(all="ignore"):
        relative = move / np.abs(exact)
    known = relative[np.isfinite(relative) & (relative > 0)]
    typical = float(np.median(known)) if known.size else 0.0
    least = np.where(move > 0, float(np.median(moved)), 0.0)
    largest = np.fmax.reduce([move, typical * np.abs(exact), least])
    return np.asarray(_MARGIN * np.nan_to_num(largest, nan=0.0, posinf=0.0))
