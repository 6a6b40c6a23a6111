"""A gradient found wrong, what may be asked about it, and what an explanation of it consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import Expr, t
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.edits import Edits
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gradcheck_cli.errors import Where
    from gradcheck_cli.lang.parse import Formula
    from gradcheck_cli.methods.case import Case

Array = npt.NDArray[Any]

# Candidates are evaluated together, so that they share what they have in common; this many numbers at once.
_TOGETHER = 2**22


@dataclass(frozen=True)
class Suspect:
    """A wrong gradient of `input` by `method`, beside the reference's, both float64 in the input's shape.

    `right(array)` tells whether an array passes as this gradient. `formula` is the person's, where the
    method is `manual`, and `where` its place.
    """

    input: str
    method: str
    gradient: Array
    reference: Array
    right: Callable[[Array], bool]
    case: Case | None = None
    formula: Formula | None = None
    where: Where | None = None
    _known: dict[Expr, Array | None] = field(default_factory=dict)

    @cached_property
    def edits(self) -> Edits | None:
        """The person's formula, ready to be edited."""
        return None if self.formula is None else Edits(self.formula)

    @cached_property
    def scope(self) -> Mapping[str, Expr]:
        """What a formula may name: inputs, `let` names and the upstream gradient."""
        assert self.case is not None
        return {**self.case.scope, UPSTREAM: self.case.upstream}

    @cached_property
    def variable(self) -> Expr:
        """The input as a node."""
        assert self.case is not None
        return self.case.variables[self.input]

    @cached_property
    def truth(self) -> Expr:
        """The right gradient as a simplified graph, by the tool's own rules."""
        assert self.case is not None
        upstream = t.ones(()) if self.case.output.ndim == 0 else self.case.upstream
        return simplify(differentiate(self.case.output, [self.variable], upstream))[0]

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """The sizes that a forgotten factor could be, those of the gradient's own input first."""
        assert self.case is not None
        sizes: dict[str, int] = {}
        names = [self.input, *(name for name in self.case.variables if name != self.input)]
        for name in names:
            variable = self.case.variables[name]
            for dim, size in enumerate(variable.shape):
                sizes.setdefault(f"{name}.shape[{dim}]", size)
            if variable.ndim > 1:
                sizes.setdefault(f"{name}.numel()", variable.elements)
        return sizes

    def node(self, text: str) -> Expr | None:
        """The graph of a formula for this input; None where it doesn't parse, or not to its shape."""
        try:
            node = build(parse(Source(text)), self.scope)
        except (GradcheckError, Invalid):
            return None
        if node.value is not None:
            node = t.full_like(self.variable, node)
        return node if node.shape == self.variable.shape and node.dtype.kind in "fib" else None

    def values(self, nodes: Sequence[Expr]) -> list[Array | None]:
        """The nodes' numbers at the check's inputs; None where a kernel refuses."""
        missing = [node for node in dict.fromkeys(nodes) if node not in self._known]
        start = 0
        while start < len(missing):
            end, numbers = start + 1, missing[start].elements
            while end < len(missing) and numbers + missing[end].elements <= _TOGETHER:
                numbers += missing[end].elements
                end += 1
            self._evaluate(missing[start:end])
            start = end
        return [self._known[node] for node in nodes]

    def _evaluate(self, nodes: Sequence[Expr]) -> None:
        assert self.case is not None
        try:
            found = Plan(nodes)(self.case.arrays)
        except (Invalid, ArithmeticError, ValueError):
            if len(nodes) == 1:
                self._known[nodes[0]] = None
                return
            middle = len(nodes) // 2
            self._evaluate(nodes[:middle])
            self._evaluate(nodes[middle:])
            return
        self._known.update(zip(nodes, found, strict=True))

    def gradients(self, texts: Iterable[str]) -> list[tuple[str, Array]]:
        """Of formulas for this input, those that can be evaluated, each with its float64 value."""
        if self.case is None:
            return []
        nodes = [(text, node) for text in texts if (node := self.node(text)) is not None]
        values = self.values([node for _, node in nodes])
        return [
            (text, np.asarray(value, np.float64))
            for (text, _), value in zip(nodes, values, strict=True)
            if value is not None
        ]

    def survives(self, text: str) -> bool:
        """Whether a repaired formula, evaluated from its text, passes."""
        return any(self.right(value) for _, value in self.gradients([text]))


@dataclass(frozen=True, slots=True)
class Finding:
    """A hypothesis that fits: the repaired gradient passes.

    `fix` is the repaired formula, which passes too when it is evaluated from its text; None where there is
    none. `cost` orders explanations: the simplest is shown first.
    """

    code: str
    message: str
    fix: str | None = None
    cost: float = 1.0
