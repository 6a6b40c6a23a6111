"""A gradient held against derivatives along random directions, and the search for a wrong element."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.methods.gradients import Probes

Array = npt.NDArray[Any]

# Errors e that don't know the random signs v add up to |<e, v>| > t ||e|| with a probability below
# 2 exp(-t^2 / 2) (Hoeffding, 1963): for t = 7, never.
_DEVIATIONS = 7.0
# Elements that are gone through at once: the arrays that it takes stay in the cache.
_BLOCK = 1 << 14


class Seen(NamedTuple):
    """What the direction that says most says; `visible` is the error of one element that would be seen."""

    ratio: float
    max_abs: float
    max_rel: float
    visible: float


class Found(NamedTuple):
    """A wrong `element` by its flat index, its value by the probes' method, and what that leaves open.

    `sure` where the element alone is off by more than its allowance; `more` where others are wrong too.
    """

    element: int
    value: float
    sure: bool
    more: bool

    @property
    def note(self) -> str:
        """The same in words."""
        if not self.sure:
            return "found by bisection, but by itself within its allowance: the error is spread out"
        return "found by bisection; others are wrong too" if self.more else "found by bisection"


def held_against(
    gradient: Array, probes: Probes, tolerance: tuple[float, float], rounding: Any = None
) -> Seen:
    """A gradient's products with the directions held against the slopes measured along them.

    `tolerance` is the allowance of an element of size 0, and what is added relative to an element's size;
    `rounding` an elementwise one. A right gradient's errors don't know the directions' random signs, so
    they add up like independent ones.
    """
    worst = Seen(-1.0, 0.0, 0.0, np.inf)
    with np.errstate(all="ignore"):
        for k, (slope, doubt) in enumerate(zip(probes.slopes, probes.errors, strict=True)):
            allowed, typical, least = _norms(gradient, probes.direction(k), tolerance, rounding)
            error = np.abs(_product(gradient, probes.direction(k)) - slope)
            if np.isinf(doubt) or error == 0:
                error = np.float64(0.0)
            allowance = doubt + _DEVIATIONS * allowed
            numbers = np.array([error / allowance, error, error / typical])
            # NaN here is 0/0 where there is no error, else something that isn't finite.
            ratio, apart, relative = np.nan_to_num(numbers, nan=np.inf if error else 0.0).tolist()
            # What one wrong element adds to the slope: its error times how far it moves.
            visible = float(np.nan_to_num(allowance / least, nan=np.inf))
            if ratio > worst.ratio:
                worst = Seen(ratio, apart, relative, worst.visible)
            worst = worst._replace(visible=min(visible, worst.visible))
    return worst


def _product(gradient: Array, direction: Array) -> float:
    return float(gradient.reshape(-1) @ direction.reshape(-1))


def _norms(
    gradient: Array, direction: Array, tolerance: tuple[float, float], rounding: Any
) -> tuple[float, float, float]:
    """Along a direction: the norm of the allowances, that of the gradient, and the shortest move."""
    base, rtol = tolerance
    flat, moves = gradient.reshape(-1), direction.reshape(-1)
    extra = None if rounding is None else np.reshape(rounding, -1)
    allowed = typical = 0.0
    least = np.inf
    for start in range(0, flat.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        move = np.abs(moves[part])
        least = min(least, float(move.min()))
        size = np.abs(flat[part])
        each = base + rtol * size
        if extra is not None:
            each += extra[part]
        each *= move
        size *= move
        # Not BLAS: from ten thousand elements on, its threads wait for each other at every block.
        allowed += float(np.einsum("i,i", each, each))
        typical += float(np.einsum("i,i", size, size))
    return float(allowed**0.5), float(typical**0.5), least


def find(
    gradient: Array, probes: Probes, tolerance: tuple[float, float], rounding: Any = None
) -> Found:
    """An element of a gradient that differs from what probes saw, by bisection.

    Of a direction on which the two differ, the half on which they differ more is kept. The difference on
    one half is measured, in one evaluation of the function where that is sure enough; that on the other is
    the rest. So it takes about log2(n) evaluations, and one more for the element found.
    """
    flat = gradient.reshape(-1)
    search = _Search(flat, probes)
    broken = np.flatnonzero(~np.isfinite(flat))
    index = int(broken[0]) if broken.size else search.narrowed()
    slope, doubt = search.along(probes.along, index, index + 1)
    move = float(search.direction[index])
    base, rtol = tolerance
    with np.errstate(all="ignore"):
        value, ours = slope / move, float(flat[index])
        allowed = base + rtol * max(abs(ours), abs(value)) + abs(doubt / move)
        if rounding is not None:
            allowed += float(np.reshape(rounding, -1)[index])
        sure = not abs(ours - value) <= allowed
        rest = abs(search.gap - (ours - value) * move)
        norm, _, _ = _norms(gradient, search.direction, tolerance, rounding)
        more = broken.size > 1 or bool(rest > search.doubt + doubt + _DEVIATIONS * norm)
    return Found(index, value, sure, more)


class _Search:
    """The direction on which a gradient differs most from the probes, and where on it."""

    def __init__(self, flat: Array, probes: Probes) -> None:
        self._flat, self._probes = flat, probes
        with np.errstate(all="ignore"):
            gaps = np.array(
                [_product(flat, probes.direction(k)) - s for k, s in enumerate(probes.slopes)]
            )
        told = np.where(np.isfinite(probes.errors), np.abs(gaps), -1.0)
        # One that isn't a number comes first: NaN or infinity in the gradient.
        k = int(np.argmax(np.nan_to_num(told, nan=np.inf)))
        self.gap, self.doubt = float(gaps[k]), float(probes.errors[k])
        self.direction = probes.direction(k).reshape(-1)
        self._part = np.zeros(flat.size)

    def along(
        self, measure: Callable[[Array], tuple[float, float]], start: int, stop: int
    ) -> tuple[float, float]:
        """The derivative along a part of the direction, and its error."""
        self._part[start:stop] = self.direction[start:stop]
        found = measure(self._part.reshape(self._probes.direction(0).shape))
        self._part[start:stop] = 0.0
        return found

    def _apart(
        self, measure: Callable[[Array], tuple[float, float]], start: int, stop: int
    ) -> tuple[float, float]:
        """How far the gradient is off along a part of the direction, and how sure that is."""
        slope, doubt = self.along(measure, start, stop)
        return float(self._flat[start:stop] @ self.direction[start:stop]) - slope, doubt

    def narrowed(self) -> int:
        """The flat index that is left after all halvings."""
        quick = self._probes.quick or self._probes.along
        start, stop, gap, doubt = 0, self._flat.size, self.gap, self.doubt
        while stop - start > 1:
            middle = (start + stop) // 2
            first, unsure = self._apart(quick, start, middle)
            second, blurred = gap - first, doubt + unsure
            if max(abs(first), abs(second)) <= 2 * blurred:
                # What was subtracted has blurred it: both halves are measured as well as they can be.
                first, unsure = self._apart(self._probes.along, start, middle)
                second, blurred = self._apart(self._probes.along, middle, stop)
            # A comparison with NaN goes to the half that has it.
            if abs(second) <= abs(first) or np.isnan(first):
                stop, gap, doubt = middle, first, unsure
            else:
                start, gap, doubt = middle, second, blurred
        return start
