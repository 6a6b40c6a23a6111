"""The cheapest ranks and dtypes of the inputs with which an expression can be computed.

Best first: where a choice can't be computed, only what the part that refuses it is made of is chosen anew,
each time the next dearer. So nothing cheaper is passed over, and inputs that have no part in it stay.
"""

from __future__ import annotations

import ast
from heapq import heappop, heappush
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_cli.graph import Expr
from gradcheck_cli.lang.guess.attempt import Refusal
from gradcheck_cli.lang.guess.sizes import Layout, Result, Solver, Spent
from gradcheck_cli.lang.guess.uses import RANKS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gradcheck_cli.lang.guess.uses import Uses

# An elementwise operation that broadcasts one input to another: possible, but seldom meant.
_BROADCASTS = 1.0

Choice = tuple[int, ...]


class Found(NamedTuple):
    """What the inputs are taken for; or, where nothing can be computed, what came nearest and refused."""

    result: Result
    dtypes: dict[str, str]

    @property
    def output(self) -> Expr | None:
        """The graph of the expression."""
        value = self.result.value
        return value if isinstance(value, Expr) else None


class _Variable(NamedTuple):
    """A choice to make: the rank of some inputs that share a shape, or the dtype of one."""

    names: Sequence[str]
    is_rank: bool
    options: Sequence[tuple[float, int | str]]


class Search:
    """A search over ranks and dtypes; inputs in one of `groups` share a shape."""

    def __init__(self, solver: Solver, uses: Uses, groups: Sequence[Sequence[str]]) -> None:
        self._solver = solver
        self._uses = uses
        self._groups = groups
        self._variables = [*self._ranks(), *self._dtypes()]
        self._below: dict[ast.AST, frozenset[str]] = {}
        self._names_below(solver.formula.tree)

    def run(self) -> Found | None:
        """The cheapest choice that can be computed, or the one that came furthest; None if none was tried."""
        start: Choice = (0,) * len(self._variables)
        queue = [(self._cost(start), start)]
        seen = {start}
        best: tuple[float, Found] | None = None
        nearest: tuple[int, Found] | None = None
        try:
            while queue and (best is None or queue[0][0] < best[0]):
                cost, choice = heappop(queue)
                found = self._tried(choice)
                if isinstance(found.result.value, Refusal):
                    reached = len(found.result.builder.values)
                    if nearest is None or reached > nearest[0]:
                        nearest = reached, found
                    if not found.result.value.may_be_guessed:
                        return found
                    open_again = self._to_blame(found.result.value)
                else:
                    spread = list(self._spread(found.result))
                    cost += _BROADCASTS * len(spread)
                    if best is None or cost < best[0]:
                        best = cost, found
                    names = frozenset[str]().union(*spread)
                    open_again = [
                        i for i, v in enumerate(self._variables) if v.is_rank and names & {*v.names}
                    ]
                for index in open_again:
                    if choice[index] + 1 < len(self._variables[index].options):
                        after = (*choice[:index], choice[index] + 1, *choice[index + 1 :])
                        if after not in seen:
                            seen.add(after)
                            heappush(queue, (self._cost(after), after))
            if best is not None:
                found = best[1]
                best = 0.0, Found(self._solver.usual(found.result, found.dtypes), found.dtypes)
        except Spent:
            pass
        chosen = best or nearest
        return chosen and chosen[1]

    def _ranks(self) -> Iterator[_Variable]:
        for names in self._groups:
            costs = [
                (sum(self._uses[n].cost(rank, products=self._uses.products) for n in names), rank)
                for rank in RANKS
            ]
            yield _Variable(names, True, sorted(costs))

    def _dtypes(self) -> Iterator[_Variable]:
        for name, use in self._uses.items():
            yield _Variable([name], False, use.dtype_costs())

    def _cost(self, choice: Choice) -> float:
        return sum(v.options[i][0] for v, i in zip(self._variables, choice, strict=True))

    def _tried(self, choice: Choice) -> Found:
        ranks: dict[str, int] = {}
        dtypes: dict[str, str] = {}
        for variable, index in zip(self._variables, choice, strict=True):
            option = variable.options[index][1]
            if isinstance(option, int):
                ranks.update(dict.fromkeys(variable.names, option))
            else:
                dtypes[variable.names[0]] = option
        layout = Layout(ranks, self._groups, self._solver.settled)
        return Found(self._solver.solve(layout, dtypes), dtypes)

    def _to_blame(self, refusal: Refusal) -> list[int]:
        """The choices on which it depends whether a part accepts what it is given."""
        names = self._below.get(refusal.node, frozenset())
        of_rank = refusal.code != "GC016"
        return [
            index
            for index, variable in enumerate(self._variables)
            if variable.is_rank is of_rank and names & {*variable.names}
        ]

    def _spread(self, result: Result) -> Iterator[frozenset[str]]:
        """The names in each elementwise operation that broadcasts one input to another, biases apart."""
        for node, value in result.builder.values.items():
            if not isinstance(node, ast.BinOp) or isinstance(node.op, ast.MatMult):
                continue
            sides = (node.left, node.right)
            left, right = (result.builder.values[side] for side in sides)
            if not (isinstance(left, Expr) and isinstance(right, Expr) and isinstance(value, Expr)):
                continue
            first, second = (self._below[side] for side in sides)
            if left.ndim == right.ndim or not (left.shape and right.shape) or first & second:
                continue
            if first and second and not any(self._is_bias(side) for side in sides):
                yield first | second

    def _is_bias(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self._uses and self._uses[node.id].is_bias

    def _names_below(self, node: ast.AST) -> frozenset[str]:
        names = frozenset[str]()
        if isinstance(node, ast.Name) and node.id in self._uses:
            names = frozenset([node.id])
        for child in ast.iter_child_nodes(node):
            names |= self._names_below(child)
        self._below[node] = names
        return names


def search(solver: Solver, uses: Uses) -> Found | None:
    """The cheapest choice that can be computed; inputs joined elementwise share a shape if they can."""
    groups: Collection[list[str]] = uses.groups()
    found = Search(solver, uses, list(groups)).run()
    if (found is None or found.output is None) and len(groups) < len(uses):
        return Search(solver, uses, [[name] for name in uses]).run() or found
    return found
