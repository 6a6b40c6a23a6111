"""What a method gives: a gradient per input, each with an estimate of its own error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Probes:
    """Directional derivatives of one input, where there are too many elements to go one by one.

    `direction(k)` is the k-th direction, of the input's shape: seeded random signs, times a magnitude per
    element. `slopes[k]` is the derivative along it, off by at most `errors[k]`. `along` measures the
    derivative in any other direction, and its error: bisection finds a wrong element with it.
    """

    slopes: Array
    errors: Array
    direction: Callable[[int], Array]
    along: Callable[[Array], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """One gradient: float64, in its input's shape.

    `error` is an elementwise bound on what the method itself may be off by (None: rounding only; infinite:
    the method can't tell), and `scale` the sum of the absolute terms that an element is the sum of. `low`
    and `high`, where not None, are the one-sided derivatives: where they differ is one of `kinks` places,
    and every value between them is right. With `probes` the gradient is known along directions only, and
    all its elements are NaN.
    """

    gradient: Array
    error: Array | None = None
    low: Array | None = None
    high: Array | None = None
    kinks: int = 0
    scale: Array | None = None
    probes: Probes | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Gradients:
    """A method's result. `unavailable` says why there is none; `value` is the forward value."""

    method: str
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    value: Array | None = None
    formulas: Mapping[str, str] = field(default_factory=dict)
    unavailable: str | None = None
    seconds: float = 0.0
