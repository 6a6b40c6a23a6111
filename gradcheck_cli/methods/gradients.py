"""What a method gives: a gradient per input, each with an estimate of its own error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Estimate:
    """One gradient: float64, in its input's shape.

    `error` is an elementwise bound on what the method itself may be off by (None: rounding only).
    `low` and `high`, where not None, are the one-sided derivatives: between them every value is right.
    `sampled` marks the elements that were computed, where not all were.
    """

    gradient: Array
    error: Array | None = None
    low: Array | None = None
    high: Array | None = None
    kinks: int = 0
    sampled: Array | None = None
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
