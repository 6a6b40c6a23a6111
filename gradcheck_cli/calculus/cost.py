"""What a form costs: how long it is to read, then how much there is to compute."""

from __future__ import annotations

from typing import NamedTuple

from gradcheck_cli.graph import INPUT, Expr, symbolic_sizes


class Cost(NamedTuple):
    """Compared in this order: nodes of the written formula, then elements computed."""

    size: float
    work: float


class Costs:
    """The costs of nodes, each worked out once. What is used twice counts twice, as it is read twice."""

    def __init__(self) -> None:
        self._known: dict[Expr, Cost] = {}

    def of(self, node: Expr) -> Cost:
        """The cost of a node with all below it; iterative, so that deep graphs are no problem."""
        known = self._known
        stack = [node]
        while stack:
            current = stack[-1]
            if current in known:
                stack.pop()
                continue
            below = (*current.inputs, *symbolic_sizes(current))
            open_ = [child for child in below if child not in known]
            if open_:
                stack += open_
                continue
            size, work = _own(current)
            known[current] = Cost(
                size + sum(known[child].size for child in below),
                work + sum(known[child].work for child in below),
            )
            stack.pop()
        return known[node]


def _own(node: Expr) -> Cost:
    if node.value is not None or node.op is INPUT:
        return Cost(1, 0)
    inner = node.inputs[0].shape[-1] if node.op.cubic and node.inputs[0].ndim else 1
    return Cost(1, node.elements * inner)
