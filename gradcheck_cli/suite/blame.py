"""Where in an expression PyTorch or the engine goes wrong: each operation is checked by itself.

The tool runs on itself: a piece of the expression becomes a small check of its own, at the values that it has
there, and the methods vote on its vector-Jacobian product. Only checks that failed come here.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods import run
from gradcheck_cli.ops.known import given
from gradcheck_cli.schema import Invalid
from gradcheck_cli.suite.accusation import (
    Birth,
    Culprit,
    cleared,
    decided,
    is_mistake,
    told,
    undecided,
)
from gradcheck_cli.suite.nodes import inner_cases
from gradcheck_cli.suite.pieces import case_of, pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.suite.pieces import Piece
    from gradcheck_cli.verdict.outcome import Diagnosis, GradientOutcome

    class Examined(Protocol):
        """What is found of one order's derivatives."""

        @property
        def gradients(self) -> Sequence[GradientOutcome]:
            """The verdict on each input's gradient."""

        @property
        def diagnoses(self) -> Sequence[Diagnosis]:
            """What is wrong with the outliers."""

    Examine = Callable[[Case, int], Examined]

T = TypeVar("T")

# Whose mistakes lie in an operator's rule. A formula's mistake is explained, not located.
_RULED = ("torch", "engine", "derived")
# What a search may cost: operations looked at, numbers in their operands, and seconds.
MOST_OPERATIONS = 400
MOST_ELEMENTS = 2**24
MOST_SECONDS = 20.0


def locate(case: Case, order: int, found: Examined, examine: Examine) -> list[Diagnosis]:
    """The diagnoses in `found`, with the operator that makes PyTorch or the engine wrong named.

    `case` is that of the first order; `examine(case, order)` runs and judges a case. Where PyTorch and the
    engine are at odds and nothing decides for the whole, what a piece decides is added, or a direction.
    """
    suspects = {m for g in found.gradients for m in g.outliers if m in _RULED}
    torn = not suspects and any(map(_at_odds, found.gradients))
    if torn:
        every = {m for g in found.gradients for group in g.groups for m in group}
        suspects = every.intersection(_RULED)
    if not suspects:
        return list(found.diagnoses)
    search = _Search(case, order, frozenset(suspects), examine)
    culprits = search.culprits()
    told_ = []
    for diagnosis in found.diagnoses:
        method = diagnosis.method
        if method not in suspects or not is_mistake(diagnosis):
            told_.append(diagnosis)
        elif method in culprits:
            told_.append(told(diagnosis, culprits[method], order))
        else:
            birth = search.birth(method) if diagnosis.code == "GC110" else None
            told_.append(cleared(diagnosis, birth, search.count, len(search.examined)))
    if torn and culprits:
        told_ += [decided(culprit, order) for culprit in culprits.values()]
    elif torn and {"torch", "engine"} <= suspects:
        told_ += [undecided(case, g.input, order) for g in found.gradients if _at_odds(g)]
    return told_


def locate_value(
    case: Case, diagnosis: Diagnosis, differ: Callable[[Case], Diagnosis | None]
) -> Diagnosis:
    """The diagnosis of forward values that differ, with the first operation named whose values do.

    `differ(case)` compares PyTorch's and the engine's values of a case.
    """
    search = _Search(case, 1, frozenset(), None)
    for piece, small in search.cases({}):
        found = _alone(small, differ)
        if found is not None:
            message = f"{diagnosis.message}; they part in `{piece.operator}`: {found.message}"
            return replace(diagnosis, message=message, operator=piece.operator, where=piece.place)
    return diagnosis


def _at_odds(gradient: GradientOutcome) -> bool:
    """Whether methods with rules of their own differ, and nobody is named."""
    sides = [group for group in gradient.groups if set(group).intersection(_RULED)]
    return len(sides) > 1 and not gradient.outliers


def _alone(small: Case, ask: Callable[[Case], T]) -> T | None:
    """The answer on a piece; None where its operation can't be run alone."""
    numbers = small.given
    assert numbers is not None
    with given(lambda: numbers):
        try:
            return ask(small)
        except (Invalid, GradcheckError, MemoryError):
            return None


class _Search:
    """One search for the operations that make `suspects` wrong."""

    def __init__(
        self, case: Case, order: int, suspects: frozenset[str], examine: Examine | None
    ) -> None:
        self.case, self.order, self.suspects, self.examine = case, order, suspects, examine
        every = pieces(case)
        self.count = len(every)
        self.pieces = every[:MOST_OPERATIONS]
        self.examined: set[int] = set()
        asked = case.check.methods
        torch = ("torch",) if asked is None or "torch" in asked else ()
        derived = ("derived",) if "derived" in suspects else ()
        self.methods = (*torch, "engine", *derived, "numeric")
        self.elements = 0
        self.start = perf_counter()
        nodes = tuple({node: 0 for piece in self.pieces for node in piece.operands.values()})
        values = Plan(nodes, limit=memory_limit())(case.arrays)
        self.values = dict(zip(nodes, values, strict=True))

    def culprits(self) -> dict[str, Culprit]:
        """The first guilty operation of each suspect.

        First with the cotangents that arrive there, for which only mistakes that matter here show, then with
        random ones, which hide nothing.
        """
        guilty: dict[str, Culprit] = {}
        arriving = {node: g for node, g in self.arriving().items() if np.any(g)}
        for cotangents in (arriving, {}):
            for piece, small in self.cases(cotangents):
                for culprit in self.guilty(piece, small):
                    guilty.setdefault(culprit.method, culprit)
                if set(guilty) == self.suspects:
                    break
            if guilty:
                break
        return guilty

    def cases(self, cotangents: dict[Expr, Array]) -> Iterator[tuple[Piece, Case]]:
        """The pieces as checks, as many as can be afforded."""
        for position, piece in enumerate(self.pieces):
            self.elements += sum(node.elements for node in piece.operands.values())
            if self.elements > MOST_ELEMENTS or perf_counter() - self.start > MOST_SECONDS:
                return
            upstream = cotangents.get(piece.node)
            small = case_of(piece, self.case.check, self.values, self.methods, upstream)
            if small is not None:
                self.examined.add(position)
                yield piece, small

    def arriving(self) -> dict[Expr, Array]:
        """The cotangent of each piece in the engine's backward pass, where it is known and finite."""
        nodes = [piece.node for piece in self.pieces if piece.node.dtype.is_floating]
        try:
            gradients = differentiate(self.case.output, nodes, self.case.upstream)
            arrays = Plan(gradients, limit=memory_limit())(self.case.arrays)
        except (Invalid, GradcheckError):
            return {}  # the engine refuses it, or it takes too much memory
        return {
            node: np.broadcast_to(np.asarray(array, np.float64), node.shape)
            for node, array in zip(nodes, arrays, strict=True)
            if np.isfinite(array).all()
        }

    def guilty(self, piece: Piece, small: Case) -> Iterator[Culprit]:
        """The suspects whom the vote on this piece names."""
        found = self.vote(small)
        if found is None:
            return
        for gradient in found.gradients:
            for method in self.suspects.intersection(gradient.outliers):
                of = (method, gradient.input)
                kinds = [d for d in found.diagnoses if (d.method, d.input) == of and is_mistake(d)]
                kind = kinds[0] if kinds else None
                inner = self.inside(small) if method == "engine" else None
                yield Culprit(piece, small, method, gradient, kind, inner)

    def vote(self, small: Case) -> Examined | None:
        """The verdict on a piece; None where its operation can't be run alone."""
        examine = self.examine
        assert examine is not None
        return _alone(small, lambda case: examine(case, self.order))

    def inside(self, small: Case) -> str | None:
        """The operator of the graph that makes the engine wrong, where the operation is several there."""
        for name, inner in islice(inner_cases(small), MOST_OPERATIONS):
            found = self.vote(inner)
            if found is not None and any("engine" in g.outliers for g in found.gradients):
                return name
        return None

    def birth(self, method: str) -> Birth | None:
        """Where NaN or infinity comes up on the way back, though what arrives there is finite.

        Each operation may be right by itself, as the square root at 0 is whose slope is infinite.
        """
        arriving = self.arriving() if self.order == 1 else {}
        for piece, small in self.cases(arriving):
            if piece.node not in arriving:
                continue
            found = run(method, small)
            for name, estimate in found.estimates.items():
                broken = ~np.isfinite(estimate.gradient)
                if broken.any():
                    index = tuple(int(i) for i in np.argwhere(broken)[0])
                    return Birth(piece, name, index, float(estimate.gradient[index]))
        return None
