"""What formulas are made of: parts of the right gradient, of the person's formula and of the expression.

A mistake leaves a gap, whose numbers are known; the ingredient whose numbers fill it is what is missing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.graph import INPUT, Expr, const, topological
from gradcheck_cli.lang.edits import grouped
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.verdict.diagnosis.gaps import fits_into
from gradcheck_cli.verdict.diagnosis.guesses import sites
from gradcheck_cli.verdict.diagnosis.material import (
    branches,
    forward,
    literals,
    local_derivatives,
    products,
    scaled,
    statistics,
    terms,
    unsimplified,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

Array = npt.NDArray[Any]

# How many ingredients are evaluated, and how many numbers they may hold together.
_MOST = 240
_MOST_NUMBERS = 2**24
# Longer ones explain nothing to anybody.
_LONGEST = 160
# So many elements of a large gradient are looked at to find what fits; the repair is verified on all.
_SAMPLE = 4096
# Gaps are differences of rounded numbers: what fills one is equal to it up to this.
_FITS = 1e-6
# A derived formula is offered in place of the person's where it isn't longer than this.
_SHORT = 120

MULTIPLIED, SIGNED = 7, 8
_ONE = const(1)


@dataclass(frozen=True, slots=True)
class Ingredient:
    """A node with its text and its numbers, in its own shape."""

    node: Expr
    text: str
    value: Array

    @property
    def is_mask(self) -> bool:
        """Whether it only switches elements on and off."""
        return bool(((self.value == 0) | (self.value == 1)).all())


class Fit(NamedTuple):
    """An ingredient times a number that has a name, as a formula's part."""

    ingredient: Ingredient
    factor: float
    text: str


@dataclass(frozen=True)
class Shelf:
    """The ingredients that can stand beside a tensor of one shape: their numbers, a row for each."""

    shape: tuple[int, ...]
    items: tuple[Ingredient, ...]
    rows: Array
    places: Array | None

    def sampled(self, value: Array) -> Array:
        """Those elements of an array of this shape that are looked at."""
        return _sampled(value, self.shape, self.places)

    def equal(self, gap: Array) -> Iterator[tuple[Ingredient, float]]:
        """What a gap, given at the sampled elements, is a multiple of; where it is NaN, anything fits."""
        known = np.isfinite(gap)
        gap = gap[known]
        largest = float(np.abs(gap).max(initial=0.0))
        if not largest:
            return
        rows = self.rows[:, known]
        with np.errstate(all="ignore"):
            factors = rows @ gap / np.square(rows).sum(1)
            error = np.abs(gap - factors[:, None] * rows)
            fits = (error <= _FITS * np.abs(gap) + _FITS * _FITS * largest).all(1)
            for index in np.flatnonzero(fits & np.isfinite(factors)):
                yield self.items[index], float(factors[index])


@dataclass(frozen=True)
class Pool:
    """All ingredients, those that are nearest to the person's formula first."""

    items: tuple[Ingredient, ...]
    coefficients: tuple[tuple[float, str], ...]
    _shelves: dict[tuple[int, ...], Shelf] = field(default_factory=dict)

    def shelf(self, shape: tuple[int, ...]) -> Shelf:
        """Those that can stand beside a tensor of this shape and leave it as it is."""
        if shape not in self._shelves:
            items = tuple(i for i in self.items if fits_into(i.value.shape, shape))
            places = None
            if math.prod(shape) > _SAMPLE:
                places = np.random.default_rng(0).choice(math.prod(shape), _SAMPLE, replace=False)
            width = math.prod(shape) if places is None else places.size
            rows = [_sampled(i.value, shape, places) for i in items]
            stacked = np.stack(rows) if rows else np.zeros((0, width))
            self._shelves[shape] = Shelf(shape, items, stacked, places)
        return self._shelves[shape]

    def named(self, ingredient: Ingredient, factor: float) -> Fit | None:
        """The multiple of an ingredient as text; None where nobody would write such a number."""
        for value, template in self.coefficients:
            if math.isclose(abs(factor), value, rel_tol=1e-6):
                if ingredient.node is _ONE:
                    plain = template.partition(" * ")[0] if template.endswith("* {}") else template
                    return Fit(ingredient, math.copysign(value, factor), plain.format("1"))
                inner = (
                    ingredient.text if template == "{}" else grouped(ingredient.text, MULTIPLIED)
                )
                return Fit(ingredient, math.copysign(value, factor), template.format(inner))
        return None


def _sampled(value: Array, shape: tuple[int, ...], places: Array | None) -> Array:
    spread = np.broadcast_to(value, shape)
    if places is None:
        return np.asarray(spread.reshape(-1), np.float64)
    return np.asarray(spread[np.unravel_index(places, shape)], np.float64)


def pool(suspect: Suspect) -> Pool:
    """Of a suspect with a formula. To be had by `suspect.once(pool)`."""
    nodes = _kept(_nodes(suspect))
    values = suspect.values(nodes)
    text = naming(suspect)
    items: dict[Any, Ingredient] = {}
    for node, value in zip(nodes, values, strict=True):
        if value is None or value.dtype.kind not in "fib":
            continue
        numbers = np.asarray(value, np.float64)
        if not numbers.size or not np.isfinite(numbers).all() or not numbers.any():
            continue
        key = fingerprint(numbers)
        written = text(node)
        known = items.get(key)
        if len(written) <= _LONGEST and (known is None or len(written) < len(known.text)):
            items[key] = Ingredient(node, written, numbers)
    one = Ingredient(_ONE, "1", np.ones(()))
    return Pool((one, *items.values()), tuple(_coefficients(suspect)))


def _kept(nodes: Iterable[Expr]) -> list[Expr]:
    """The first that are real tensors made of inputs, as many as may be evaluated."""
    kept: dict[Expr, None] = {}
    varies: dict[Expr, bool] = {}
    numbers = 0
    for node in nodes:
        if node in kept or node.value is not None or node.dtype.kind not in "fib":
            continue
        if not _varies(node, varies):
            continue
        if numbers + node.elements > _MOST_NUMBERS or len(kept) == _MOST:
            break
        numbers += node.elements
        kept[node] = None
    return list(kept)


def _varies(node: Expr, known: dict[Expr, bool]) -> bool:
    """Whether it depends on an input."""
    if node not in known:
        for part in topological([node], given=known):
            if part not in known:
                known[part] = part.op is INPUT or any(known[arg] for arg in part.inputs)
    return known[node]


def _nodes(suspect: Suspect) -> Iterator[Expr]:
    """Where ingredients come from, the likeliest source first."""
    yield from suspect.named.values()
    assert suspect.draft is not None
    for part in sites(suspect.draft):
        tensor = suspect.draft.tensor(part)
        if tensor is not None:
            yield tensor
    truth = suspect.truth
    yield from topological([truth])
    yield from (node for _, node in terms(truth))
    yield from products(truth)
    yield from branches(truth)
    yield from statistics(suspect)
    yield from forward(suspect)
    yield from local_derivatives(suspect)
    yield from scaled(suspect)
    yield from simplify([term for _, term in terms(suspect.once(unsimplified))])
    for node in (*suspect.named.values(), *forward(suspect)):
        if node.dtype.is_floating and node.value is None:
            yield 1 - node
            yield node**2
            yield 1 - node**2


def _coefficients(suspect: Suspect) -> Iterator[tuple[float, str]]:
    """Positive numbers that a formula may multiply by, and how they are written."""
    yield 1.0, "{}"
    for number in (2, 3, 4):
        yield float(number), f"{number} * {{}}"
        yield 1 / number, f"{{}} / {number}"
    for text, size in suspect.sizes.items():
        if size > 1:
            yield 1 / size, f"{{}} / {text}"
            yield 2 / size, f"2 * {{}} / {text}"
            yield float(size), f"{text} * {{}}"
    for value in literals(suspect):
        for multiple in (value, 2 * value, value / 2, value * value, 1 / value):
            yield multiple, f"{multiple!r} * {{}}"


def fingerprint(value: Array) -> tuple[Any, ...]:
    """What arrays with the same numbers up to rounding share, and others don't."""
    flat = np.asarray(value, np.float64).reshape(-1)
    with np.errstate(all="ignore"):
        weights = np.cos(np.arange(1.0, flat.size + 1.0) ** 2)
        total, size = float(flat @ weights), float(np.abs(flat) @ np.abs(weights))
        relative = total / size if size else 0.0
    return value.shape, f"{size:.8e}", f"{relative:.8f}"


def naming(suspect: Suspect) -> Callable[[Expr], str]:
    """How to write a node, by the check's `let` names where they stand for the same numbers."""
    names = suspect.once(_names)
    return lambda node: to_text(node, names)


def _names(suspect: Suspect) -> Mapping[Expr, str]:
    assert suspect.case is not None
    named = {
        node: name
        for name, node in suspect.case.scope.items()
        if node.op is not INPUT and node.value is None
    }
    if not named or suspect.variable.elements > _SAMPLE:
        return named
    nodes = [n for n in topological([suspect.truth, *forward(suspect)[-1:]]) if n.value is None]
    known = _prints(suspect, [*named, *nodes])
    by_value = {known[node]: name for node, name in reversed(named.items())}
    equal = {node: by_value[known[node]] for node in nodes if known[node] in by_value}
    inputs = {node for node in nodes if node.op is INPUT}
    return {**{n: name for n, name in equal.items() if n not in inputs}, **named}


def _prints(suspect: Suspect, nodes: Sequence[Expr]) -> dict[Expr, Any]:
    """The nodes' fingerprints at the check's inputs and at a second draw."""
    again = suspect.again
    first = suspect.values(nodes)
    second = first if again is None else again.values(nodes)
    prints: dict[Expr, Any] = {}
    for node, *values in zip(nodes, first, second, strict=True):
        whole = all(v is not None and v.dtype.kind == "f" and v.size > 1 for v in values)
        varied = whole and all(bool((v != v.flat[0]).any()) for v in values if v is not None)
        prints[node] = tuple(map(fingerprint, values)) if varied else node  # type: ignore[arg-type]
    return prints


def short_truth(suspect: Suspect, most: int = _SHORT) -> str | None:
    """The derived formula, where it is short and passes."""
    if suspect.case is None:
        return None
    text = naming(suspect)(suspect.truth)
    return text if len(text) <= most and suspect.survives(text) else None
