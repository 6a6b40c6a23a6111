"""What a method gives: a gradient per input, each with an estimate of its own error."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradcheck_cli.engine.plan import Plan

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Probes:
    """Directional derivatives of one input, where there are too many elements to go one by one.

    `direction(k)` is the k-th direction, of the input's shape: seeded random signs, times a magnitude per
    element. `slopes[k]` is the derivative along it, off by at most `errors[k]`. `along` measures the
    derivative in any other direction, and its error; `quick` (None: `along`) does so in one evaluation of
    the function where it can, less exactly: bisection finds a wrong element with the two.
    """

    slopes: Array
    errors: Array
    direction: Callable[[int], Array]
    along: Callable[[Array], tuple[float, float]]
    quick: Callable[[Array], tuple[float, float]] | None = None


# What a function is like at a point along one element: differentiable; with one-sided derivatives that
# differ; with a limit from a side that isn't its value; at the end of its domain or with an infinite slope;
# or not to be told from what was measured.
SMOOTH, KINK, JUMP, EDGE, UNKNOWN = range(5)


@dataclass(frozen=True, slots=True)
class Ties:
    """Directional derivatives where several elements are at kinks together, as those tied for a maximum.

    Moved alone, each of them has an interval of one-sided derivatives, but not every choice from these is
    right. `elements` are the flat indices of the m elements; row k of `directions` (count, m) is a direction
    in them. A gradient's product with it is to lie from `low[k]` to `high[k]`, both off by at most
    `errors[k]`. `along(direction)` gives those three for any other direction; None where that isn't known.
    """

    elements: Array
    directions: Array
    low: Array
    high: Array
    errors: Array
    along: Callable[[Array], tuple[float, float, float]] | None = None


@dataclass(frozen=True, slots=True)
class Estimate:
    """One gradient: float64, in its input's shape.

    `error` is an elementwise bound on what the method itself may be off by (None: rounding only; infinite:
    the method can't tell), and `scale` the sum of the absolute terms that an element is the sum of. `low`
    and `high`, where not None, are the one-sided derivatives, and `places` says what each element is like
    (`SMOOTH` ... `UNKNOWN`; None: all smooth): at one of the `kinks` places every value between them is
    right, as far as `ties` has nothing against it. With `probes` the gradient is known along directions
    only, and all its elements are NaN.
    """

    gradient: Array
    error: Array | None = None
    low: Array | None = None
    high: Array | None = None
    kinks: int = 0
    scale: Array | None = None
    probes: Probes | None = None
    note: str | None = None
    places: Array | None = None
    ties: Ties | None = None

    @property
    def at_kink(self) -> Array:
        """Where every value between the one-sided derivatives is right; the gradient's shape."""
        if self.places is not None:
            return np.asarray(self.places == KINK)
        if self.low is None or self.high is None:
            return np.zeros(self.gradient.shape, bool)
        return np.asarray(self.low < self.high)


@dataclass(frozen=True, slots=True)
class Gradients:
    """A method's result. `unavailable` says why there is none; `value` is the forward value.

    `runs` is how often it was run where results differ from run to run; what they differ by is in the
    estimates' errors and in `value_error`. `plan` is what the engine ran, to see what rounding does to it.
    `assumptions` are what each of `formulas` takes for granted of the inputs, whose samplers promise it.
    """

    method: str
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    value: Array | None = None
    formulas: Mapping[str, str] = field(default_factory=dict)
    unavailable: str | None = None
    seconds: float = 0.0
    value_error: Array | None = None
    runs: int = 1
    plan: Plan | None = None
    assumptions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
