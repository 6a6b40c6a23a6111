"""Statements about elements, `x < 0` or "in the last row", that may tell wrong elements from right ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.calculus.rewrites.patterns import is_op, number
from gradcheck_cli.graph import INPUT, Expr, topological
from gradcheck_cli.lang.edits import grouped
from gradcheck_cli.schema import Invalid
from gradcheck_cli.verdict.diagnosis.gaps import fits_into
from gradcheck_cli.verdict.diagnosis.ingredients import naming
from gradcheck_cli.verdict.diagnosis.material import forward, literals

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

Array = npt.NDArray[Any]

# Statements that are evaluated, intermediates and numbers that they are about.
_MOST = 200
_MOST_NODES = 16
_MOST_THRESHOLDS = 4
# So many different whole numbers are classes, more are a range.
_MOST_CLASSES = 6
_MOST_NUMBERS = 2**24
# That an input is equal to a number may be so by accident: rather something else.
_CLASS = 0.5
_SUM = 6
_TURNED = {"lt": ">=", "le": ">", "gt": "<=", "ge": "<", "eq": "!=", "ne": "=="}
_SYMBOLS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


@dataclass(frozen=True)
class Predicate:
    """A statement and where it holds, at the check's inputs and at a second draw.

    Of places, `words` say it, and no formula of moderate length does; all others are a `node`.
    """

    holds: Array
    again: Array | None
    cost: float
    words: str = ""
    node: Expr | None = None
    write: Callable[[Expr], str] = str

    @property
    def text(self) -> str:
        """The statement for people."""
        if self.node is None:
            return self.words
        # At the bound itself nobody looks: `x < 0` is what people call it.
        return f"`{self.formula.replace(' <= ', ' < ').replace(' >= ', ' > ')}`"

    @property
    def formula(self) -> str:
        """The statement as a formula; only of a node."""
        return self._texts[0]

    @property
    def contrary(self) -> str:
        """The formula of its contrary; only of a node."""
        return self._texts[1]

    @cached_property
    def _texts(self) -> tuple[str, str]:
        assert self.node is not None
        return _texts(self.node, self.write)


@dataclass(frozen=True)
class Predicates:
    """All statements, those about the expression's own thresholds first."""

    items: tuple[Predicate, ...]
    _fitting: dict[tuple[int, ...], list[Predicate]] = field(default_factory=dict)

    def of(self, shape: tuple[int, ...]) -> list[Predicate]:
        """Those about the elements of a tensor of this shape, that hold for some and not for others."""
        if shape not in self._fitting:
            kept: dict[bytes, Predicate] = {}
            for item in [*self.items, *_of_places(shape)]:
                if not fits_into(item.holds.shape, shape) or item.holds.all():
                    continue
                if item.holds.any():
                    spread = np.broadcast_to(item.holds, shape)
                    key = np.packbits(spread).tobytes()
                    if item.again is not None and fits_into(item.again.shape, shape):
                        key += np.packbits(np.broadcast_to(item.again, shape)).tobytes()
                    kept.setdefault(key, item)
            self._fitting[shape] = list(kept.values())
        return self._fitting[shape]


def predicates(suspect: Suspect) -> Predicates:
    """Of a suspect with a case. To be had by `suspect.once(predicates)`."""
    made: dict[Expr, float] = {}
    numbers = 0
    for node, cost in _comparisons(suspect):
        numbers += node.elements
        if numbers > _MOST_NUMBERS or len(made) == _MOST:
            break
        made.setdefault(node, cost)
    nodes = list(made)
    first = suspect.values(nodes)
    again = suspect.again
    second: Sequence[Array | None] = [None] * len(nodes) if again is None else again.values(nodes)
    text = naming(suspect)
    found = []
    for node, here, there in zip(nodes, first, second, strict=True):
        if here is not None and here.dtype.kind == "b" and here.any() and not here.all():
            found.append(Predicate(here, there, made[node], node=node, write=text))
    found.sort(key=lambda predicate: predicate.cost)
    return Predicates(tuple(found))


def _texts(node: Expr, text: Callable[[Expr], str]) -> tuple[str, str]:
    """A statement and its contrary, `x - 1 > 0` as `x > 1`."""
    name = node.op.name
    if name in _SYMBOLS and len(node.inputs) == 2:
        left, right = node.inputs
        if number(right) == 0 and is_op(left, "sub"):
            left, right = left.inputs
        sides = grouped(text(left), _SUM), grouped(text(right), _SUM)
        return f"{sides[0]} {_SYMBOLS[name]} {sides[1]}", f"{sides[0]} {_TURNED[name]} {sides[1]}"
    if is_op(node, "bitwise_not", "logical_not"):
        inner = node.inputs[0]
        if inner.op.name in _SYMBOLS and len(inner.inputs) == 2:
            return _texts(inner, text)[::-1]
        return text(node), text(inner)
    written = text(node)
    return written, f"~{grouped(written)}"


def _comparisons(suspect: Suspect) -> Iterator[tuple[Expr, float]]:
    """Statements as nodes, each with what it costs: those that the gradient itself makes cost nothing."""
    assert suspect.case is not None
    for node in _masks(suspect):
        yield node, 0.0
        yield ~node, 0.05
    nodes = forward(suspect)
    for node in nodes:
        # At a kink itself, the derivative is mostly taken as 0, as ReLU's is.
        for kink in _kinks(node):
            yield kink <= 0, 0.0
            yield kink >= 0, 0.0
    for node in suspect.named.values():
        yield from _classes(suspect, node)
    thresholds = [0.0, *literals(suspect)[:_MOST_THRESHOLDS]]
    about = [suspect.variable, *suspect.named.values(), *nodes]
    real = [n for n in dict.fromkeys(about) if n.dtype.is_floating and n.value is None and n.ndim]
    drawn = _drawn(real)
    for position, node in enumerate([n for n in real if n in drawn][:_MOST_NODES]):
        base = 0.1 + 0.01 * position
        for threshold in thresholds:
            bound = int(threshold) if threshold.is_integer() else threshold
            yield node > bound, base
            yield node < bound, base
            if threshold:
                yield node > -bound, base + 0.1
                yield node < -bound, base + 0.1
                yield node.abs() > bound, base + 0.05
                yield node.abs() < bound, base + 0.05


def _drawn(nodes: Sequence[Expr]) -> set[Expr]:
    """Those that depend on an input."""
    found: set[Expr] = set()
    for node in topological(nodes):
        if node.op is INPUT or not found.isdisjoint(node.inputs):
            found.add(node)
    return found


def _masks(suspect: Suspect) -> list[Expr]:
    """The masks in the right gradient, in the expression and in the person's formula."""
    assert suspect.case is not None
    roots = [suspect.truth, suspect.case.output, *suspect.named.values()]
    if suspect.own is not None:
        roots.append(suspect.own)
    return [n for n in topological(roots) if n.dtype.kind == "b" and n.value is None and n.ndim]


def _kinks(node: Expr) -> tuple[Expr, ...]:
    """What is zero where an operator has a kink."""
    if node.op.kink is None or not node.inputs:
        return ()
    try:
        found = node.op.kink(*node.args, **node.attributes)
    except Invalid:
        return ()
    return tuple(k for k in found if k.dtype.is_floating and k.ndim)


def _classes(suspect: Suspect, node: Expr) -> Iterator[tuple[Expr, float]]:
    """What an input of whole numbers, or of zeros and ones, is equal to."""
    if node.op is not INPUT or node.value is not None or not node.ndim:
        return
    (value,) = suspect.values([node])
    if value is None or value.size > 2**16:
        return
    different = np.unique(value)
    if len(different) <= _MOST_CLASSES and bool((different == np.round(different)).all()):
        for item in different.tolist():
            yield node.eq(int(item)), _CLASS


def _of_places(shape: tuple[int, ...]) -> Iterator[Predicate]:
    """Where an element stands: in the first or last row, on the diagonal, above it."""
    for axis, size in enumerate(shape):
        if size < 2:
            continue
        index = np.arange(size).reshape([-1 if d == axis else 1 for d in range(len(shape))])
        for where, holds in (("first", index == 0), ("last", index == size - 1)):
            along = _axis_name(axis, len(shape))
            spread = np.broadcast_to(holds, shape)
            yield Predicate(spread, spread, 0.2, f"in the {where} {along}")
        ends = np.broadcast_to((index == 0) | (index == size - 1), shape)
        if size > 2:
            name = _axis_name(axis, len(shape))
            yield Predicate(ends, ends, 0.25, f"in the first and the last {name}")
    if len(shape) >= 2 and min(shape[-2:]) > 1:
        row, column = np.arange(shape[-2])[:, None], np.arange(shape[-1])
        named: Mapping[str, Array] = {
            "on the diagonal": row == column,
            "off the diagonal": row != column,
            "above the diagonal": row < column,
            "below the diagonal": row > column,
            "on and above the diagonal": row <= column,
            "on and below the diagonal": row >= column,
        }
        for words, matrix in named.items():
            holds = np.broadcast_to(matrix, shape)
            yield Predicate(holds, holds, 0.2, words)


def _axis_name(axis: int, ndim: int) -> str:
    if ndim == 1:
        return "element"
    if ndim == 2:
        return ("row", "column")[axis]
    return f"place along axis {axis}"
