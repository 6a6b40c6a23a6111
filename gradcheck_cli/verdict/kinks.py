"""Where the function has no derivative at the point: what is accepted there, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_cli.methods.gradients import EDGE, JUMP
from gradcheck_cli.verdict.outcome import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck_cli.methods.gradients import Array, Estimate, Ties


# How much of the interval of one-sided derivatives measured rounding may be at a kink. That of half precision
# is less; above it, what was measured is how a convention flips when rounding undoes a tie.
_ROUNDING_SHARE = 1 / 16


def capped(rounding: Array, kinks: Estimate | None) -> Array:
    """Measured rounding, flat, without what a convention's flipping adds to it at kinks."""
    if kinks is None or kinks.low is None or kinks.high is None:
        return rounding
    with np.errstate(invalid="ignore"):
        most = _ROUNDING_SHARE * (kinks.high - kinks.low).reshape(-1)
    return np.where(kinks.at_kink.reshape(-1), np.minimum(rounding, most), rounding)


class Tied(NamedTuple):
    """How far gradients are outside of what a direction allows; `element` has a large part in it."""

    ratio: float
    error: float
    element: int


def against_ties(
    gradients: Sequence[Array], center: Array, allowed: Array, rounding: Array, ties: Ties
) -> Tied:
    """Gradients at elements that are at a kink together, held against directional derivatives.

    `gradients` are one or two to be judged and `center` a right one, by tied element as are `allowed`, their
    elementwise allowance, and `rounding`, what random errors add to it. Two agree where both are right, or
    along directions on which they are the same.
    """
    worst = Tied(0.0, 0.0, int(ties.elements[0]))
    # A gradient too long for the unit ball is, in the direction from its centre to itself.
    own = [] if ties.along is None else [gradient - center for gradient in gradients]
    for direction, low, high, doubt in (*_rows(ties), *_measured(ties, own)):
        products = [float(gradient @ direction) for gradient in gradients]
        error = float(max(max(low - product, product - high, 0.0) for product in products))
        if len(products) > 1:
            error = min(error, abs(products[0] - products[1]))
        allowance = float(doubt) + float(
            np.abs(direction) @ allowed + np.linalg.norm(direction * rounding)
        )
        if error > worst.ratio * allowance:
            away = np.max([np.abs(gradient - center) for gradient in gradients], axis=0)
            element = int(ties.elements[np.argmax(away * np.abs(direction))])
            size = float(np.max(np.abs(direction)))
            ratio = error / allowance if allowance else np.inf
            worst = Tied(ratio, error / size, element)
    return worst


def _rows(ties: Ties) -> Iterator[tuple[Array, float, float, float]]:
    yield from zip(ties.directions, ties.low, ties.high, ties.errors, strict=True)


def _measured(
    ties: Ties, directions: Sequence[Array]
) -> Iterator[tuple[Array, float, float, float]]:
    for direction in directions:
        if ties.along is not None and np.isfinite(direction).all() and direction.any():
            yield direction, *ties.along(direction)


def notes_of(
    name: str, estimates: Mapping[str, Estimate], doubtful: Mapping[str, Array]
) -> list[Diagnosis]:
    """What is said of kinks, jumps, edges and noise at the point.

    `doubtful` marks the elements that a method can't tell; one mark alone stands for all.
    """
    notes = [_kink(name, estimates, method) for method, e in estimates.items() if e.kinks]
    for method, estimate in estimates.items():
        if estimate.places is not None:
            if (estimate.places == JUMP).any():
                notes.append(_jump(name, estimates, method))
            if (estimate.places == EDGE).any():
                notes.append(_edge(name, estimates, method))
    for method, doubt in doubtful.items():
        note = _doubt(name, estimates[method], method, doubt)
        if note is not None:
            notes.append(note)
    return notes


def _kink(name: str, estimates: Mapping[str, Estimate], method: str) -> Diagnosis:
    """Where it is, what is accepted there, and the convention that each method follows."""
    estimate = estimates[method]
    low, high = estimate.low, estimate.high
    assert low is not None
    assert high is not None
    index = _first(estimate.at_kink)
    message = (
        f"`{name}` is at a kink in {places(estimate.kinks)}: any value between the one-sided "
        f"derivatives is accepted. They are {low[index]:.6g} and {high[index]:.6g}{_at(index)}"
    )
    if estimate.ties is not None:
        message += (
            f"; where {estimate.ties.elements.size} elements meet, what they add up to along "
            "directions in which they move together decides"
        )
    return Diagnosis("GC201", message + _taken(estimates, method, index), name)


def _jump(name: str, estimates: Mapping[str, Estimate], method: str) -> Diagnosis:
    found = np.asarray(estimates[method].places == JUMP)
    index = _first(found)
    message = (
        f"`{name}` is at a jump in {places(int(found.sum()))}, the first{_at(index) or ' and only'}: "
        "there is no derivative there, and differences have nothing to say"
    )
    return Diagnosis("GC203", message + _taken(estimates, method, index), name)


def _edge(name: str, estimates: Mapping[str, Estimate], method: str) -> Diagnosis:
    """An infinite derivative is told first: it is the more surprising one."""
    estimate = estimates[method]
    found = np.asarray(estimate.places == EDGE)
    count = int(found.sum())
    infinite = found & np.isinf(estimate.gradient)
    inside = found & np.isfinite(estimate.gradient)
    if infinite.any():
        index = _first(infinite)
        message = (
            f"the derivative in `{name}` is infinite in {places(int(infinite.sum()))}: "
            f"{'' if estimate.gradient[index] < 0 else '+'}{float(estimate.gradient[index])}{_at(index)}"
        )
    elif inside.any():
        index = _first(inside)
        message = (
            f"`{name}` is at the edge of the domain in {places(count)}: the derivative is that from "
            f"inside, {float(estimate.gradient[index]):.6g}{_at(index)}"
        )
    else:
        index = _first(found)
        message = (
            f"`{name}` is at the edge of the domain, or its derivative is infinite on one side, in "
            f"{places(count)}{_at(index)}: there is no derivative there"
        )
    return Diagnosis("GC207", message + _taken(estimates, method, index), name)


def _doubt(name: str, estimate: Estimate, method: str, doubt: Array) -> Diagnosis | None:
    """Where differences can't tell, and what keeps them from it; None where another note says so."""
    blunt = bool(doubt.all())
    if estimate.places is not None and doubt.shape == estimate.places.shape:
        doubt = doubt & (estimate.places != JUMP) & (estimate.places != EDGE)
        if not doubt.any():
            return None
    count = "" if blunt else f" at {int(doubt.sum())} of {doubt.size} elements"
    error = estimate.error
    if error is not None and np.isinf(error[doubt]).all():
        why = "no slope shows at any step"
    else:
        why = "rounding noise"
    message = f"differences can't tell the gradient of `{name}`{count}: {why}"
    return Diagnosis("GC202", message, name, method)


def _taken(estimates: Mapping[str, Estimate], method: str, index: tuple[int, ...]) -> str:
    """The value that each other method has at an element."""
    taken: dict[str, list[str]] = {}
    for other, theirs in estimates.items():
        if other != method:
            taken.setdefault(f"{float(theirs.gradient[index]):.6g}", []).append(other)
    sides = "; ".join(f"{listed(methods)} {value}" for value, methods in taken.items())
    return f"; taken there: {sides}" if sides else ""


def _first(found: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(found)[0]) if found.ndim else ()


def _at(index: tuple[int, ...]) -> str:
    return f" at {list(index)}" if index else ""


def places(count: int) -> str:
    """So many elements."""
    return "1 element" if count == 1 else f"{count} elements"


def listed(methods: Sequence[str]) -> str:
    """Names joined for a sentence.

    >>> listed(["torch", "engine", "derived"])
    'torch, engine and derived'
    """
    *others, last = methods
    return f"{', '.join(others)} and {last}" if others else last
