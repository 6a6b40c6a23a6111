"""What rounding costs on one expression, measured: the plan run again with every result slightly off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gradcheck_cli.engine.plan import Array, Plan

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
_DRAWS = 3
# Real rounding errors may all point one way where the draws' signs cancel: a margin for three draws.
_MARGIN = 4.0


def spread(plan: Plan, inputs: Mapping[str, Array], dtype: str, seed: int = 0) -> list[Array]:
    """How far each output of `plan` moves when every operation rounds as `dtype` does.

    Inputs and each kernel's results are scaled by random factors 1 +- the unit roundoff, in independent
    draws, as in stochastic arithmetic (Parker, Monte Carlo Arithmetic, 1997). The elementwise largest
    deviation, but at least the array's typical relative one, times a safety margin.
    """
    unit = UNIT_ROUNDOFF[dtype]
    exact = [np.asarray(value, np.float64) for value in plan(inputs)]
    largest = [np.zeros(value.shape) for value in exact]
    for draw in range(_DRAWS):
        rng = np.random.default_rng((seed, draw))

        def disturb(value: Any, rng: np.random.Generator = rng) -> Any:
            array = np.asarray(value)
            if array.dtype.kind != "f":
                return value
            signs = rng.integers(0, 2, array.shape, np.int8) * 2.0 - 1.0
            return array * (1.0 + unit * signs)

        with np.errstate(all="ignore"):
            moved = plan(inputs, after=disturb)
            for largest_one, value, reference in zip(largest, moved, exact, strict=True):
                np.fmax(largest_one, np.abs(value - reference), out=largest_one)
    return [_with_floor(move, value) for move, value in zip(largest, exact, strict=True)]


def _with_floor(move: Array, exact: Array) -> Array:
    """A small deviation may be luck: nothing counts as surer than the typical element is."""
    with np.errstate(all="ignore"):
        relative = move / np.abs(exact)
    known = relative[np.isfinite(relative) & (relative > 0)]
    typical = float(np.median(known)) if known.size else 0.0
    result: Array = _MARGIN * np.nan_to_num(
        np.fmax(move, typical * np.abs(exact)), nan=0.0, posinf=0.0
    )
    return result
