"""The backward sweep over recorded nodes: `differentiate` and `Plan`, given the values of the forward pass.

A graph of the same structure as one before (the next step of a training loop) is not differentiated and
planned again.
"""

from __future__ import annotations

from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any, NamedTuple

from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.eager_record import HALVES, Recorded, realised, value_of
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.engine.program import Program
from gradcheck_cli.graph import (
    INPUT,
    Expr,
    Op,
    Shape,
    Type,
    rebuild,
    told_apart,
    topological,
    unshared,
    variable,
)
from gradcheck_cli.ops.cast import cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck_cli.dtypes import DType
    from gradcheck_cli.engine.eager_record import Array

# Plans of structures that were swept before; a training loop has one, or a few.
_MOST_PLANS = 64
_plans: dict[Any, _Planned] = {}
# Operators that look at their argument's shape alone.
_SHAPE_ONLY = ("zeros_like", "ones_like", "full_like")

SECOND_TIME = (
    "Trying to backward through the graph a second time: the values that it had saved were freed by the "
    "first. Specify retain_graph=True in the first call if you need to backward through it again."
)


# From this many elements on, fused blocks repay the time it takes to make them.
_LARGE = 1 << 14


class _Planned(NamedTuple):
    """What computes the gradients, and the positions in the structure of the values that it takes."""

    run: Callable[[list[Any]], Sequence[Any]]
    wanted: tuple[int, ...]


class Sweep:
    """The nodes that gradients flow through on the way from some outputs to some nodes below them.

    `order` has them and their arguments, arguments before users; `wrt` is those of the latter that are
    used. Raises RuntimeError where an earlier sweep has freed what this one needs.
    """

    def __init__(self, outputs: Sequence[Recorded], wrt: Sequence[Recorded]) -> None:
        self.outputs = outputs
        below = topological(outputs)
        reached = set(wrt)
        self.active: set[Expr] = set()
        shown: set[Expr] = {*outputs}
        for node in below:
            if any(arg in reached for arg in node.inputs):
                assert type(node) is Recorded
                if node.tracked:
                    reached.add(node)
                    self.active.add(node)
                    shown.update(node.inputs)
        self.order = [node for node in below if node in shown]
        self.wrt = tuple([node for node in wrt if node in shown])
        for node in self.active:
            if type(node) is Recorded and node.freed and _saves(node):
                raise RuntimeError(SECOND_TIME)

    def gradients(self, cotangents: Sequence[Array | None]) -> list[Array]:
        """The gradient with respect to each of `wrt`, in its shape and dtype."""
        places = {node: place for place, node in enumerate(self.order)}
        structure = tuple([self._part(node, places) for node in self.order])
        ends = tuple([places[node] for node in self.outputs])
        targets = tuple([places[node] for node in self.wrt])
        given = tuple([cotangent is not None for cotangent in cotangents])
        key = (structure, ends, targets, given, dtypes.default_dtype.get())
        planned = _plans.get(key)
        if planned is None:
            planned = self._planned(places, ends, targets, given)
            while len(_plans) >= _MOST_PLANS:
                _plans.pop(next(iter(_plans), None), None)
            _plans[key] = planned
        count = len(self.order)
        values: list[Any] = [
            value_of(self.order[place]) if place < count else cotangents[place - count]
            for place in planned.wanted
        ]
        found = planned.run(values)
        return [cast(g, node.dtype) for g, node in zip(found, self.wrt, strict=True)]

    def _part(self, node: Expr, places: dict[Expr, int]) -> Any:
        """What a plan depends on: not the values, and not which tensors they are of."""
        if node.value is not None:
            return told_apart(node.value)
        if node not in self.active:
            return node.shape, node.dtype
        args = tuple([None if arg is None else places[arg] for arg in node.args])
        return node.op, args, told_apart(node.attrs), node.output, node.shape, node.dtype

    def _planned(
        self,
        places: dict[Expr, int],
        ends: tuple[int, ...],
        targets: tuple[int, ...],
        given: tuple[bool, ...],
    ) -> _Planned:
        """Differentiate and plan a copy of the graph, which holds on to no values."""
        copies: list[Expr] = []
        for node in self.order:
            if node.value is not None:
                copies.append(node)
            elif node in self.active:
                args = tuple([None if arg is None else copies[places[arg]] for arg in node.args])
                copies.append(_copy(node.op, args, node.attrs, node, node.output))
            else:
                copies.append(_input(node))
        upstream = [
            _input(node) if there else None for node, there in zip(self.outputs, given, strict=True)
        ]
        wrt = [copies[place] for place in targets]
        gradients = _summed([copies[end] for end in ends], wrt, upstream)
        every = {
            node: place
            for place, node in enumerate([*copies, *upstream])
            if node is not None and node.value is None
        }
        found = set(topological(gradients, given=every))
        wanted = {node: place for node, place in every.items() if node in found}
        places_wanted = tuple(wanted.values())
        if max(node.elements for node in self.order) < _LARGE:
            plan = Plan(gradients, given=tuple(wanted))
            return _Planned(lambda values: plan({}, given=values), places_wanted)
        names = {node: f"v{place}" for node, place in wanted.items()}
        program = Program(_with_inputs(gradients, names), tuple(names.values()))
        return _Planned(lambda values: program.owned(*values), places_wanted)

    def recorded(self, upstream: Sequence[Expr | None]) -> list[Recorded]:
        """As `gradients`, node by node and recorded, so that they can be differentiated again.

        The cotangents are nodes here, and gradients flow to them too.
        """
        found = _summed(self.outputs, self.wrt, upstream)
        fitting = [
            g if g.dtype is node.dtype else g.to(node.dtype)
            for g, node in zip(found, self.wrt, strict=True)
        ]
        return list(realised(tuple(fitting)))

    @property
    def low(self) -> bool:
        """Whether numbers of half precision are in it, which are rounded after each operation."""
        return any(node.dtype in HALVES for node in self.order)

    def free(self) -> None:
        """Let go of the values that the rules would need again."""
        for node in self.active:
            assert type(node) is Recorded
            node.data, node.freed = None, True


def _summed(
    outputs: Sequence[Expr], wrt: Sequence[Expr], upstream: Sequence[Expr | None]
) -> tuple[Expr, ...]:
    """The gradients of all outputs together."""
    each = [differentiate(end, wrt, g) for end, g in zip(outputs, upstream, strict=True)]
    return tuple([reduce(lambda a, b: a + b, parts) for parts in zip(*each, strict=True)])


def _with_inputs(roots: Sequence[Expr], names: Mapping[Expr, str]) -> list[Expr]:
    """The same expressions with named inputs in place of some nodes."""
    made: dict[Expr, Expr] = {}
    for node in topological(roots, sizes=True, given=names):
        made[node] = (
            variable(names[node], node.shape, node.dtype)
            if node in names
            else rebuild(node, made.__getitem__)
        )
    return [made[root] for root in roots]


def _copy(
    op: Op, args: tuple[Expr | None, ...], attrs: tuple[tuple[str, Any], ...], of: Expr, output: int
) -> Expr:
    return unshared(Expr, op, args, attrs, Type(of.shape, of.dtype), output)


def _input(like: Expr) -> Expr:
    return _copy(INPUT, (), (("name", "value"),), like, 0)


def _saves(node: Expr) -> bool:
    """Whether the rule of a node needs the values of its arguments or its own."""
    arguments = tuple(
        [
            arg if arg is None or arg.value is not None else (arg.shape, arg.dtype, _tracked(arg))
            for arg in node.args
        ]
    )
    return _rule_saves(node.op, arguments, node.attrs, node.output, node.shape, node.dtype)


def _tracked(arg: Expr) -> bool:
    return type(arg) is Recorded and arg.tracked


@lru_cache(maxsize=1024)
def _rule_saves(
    op: Op,
    arguments: tuple[Any, ...],
    attrs: tuple[tuple[str, Any], ...],
    output: int,
    shape: Shape,
    dtype: DType,
) -> bool:
    args: list[Expr | None] = []
    wrt: list[Expr] = []
    for number, argument in enumerate(arguments):
        if argument is None or isinstance(argument, Expr):
            args.append(argument)
            continue
        *type_, tracked = argument
        args.append(unshared(Expr, INPUT, (), (("name", f"{number}"),), Type(*type_)))
        if tracked:
            wrt.append(args[-1])  # type: ignore[arg-type]
    node = unshared(Expr, op, tuple(args), attrs, Type(shape, dtype), output)
    gradients = differentiate(node, wrt, unshared(Expr, INPUT, (), (), Type(shape, dtype)))
    # A number counts as saved, too: `x * 2` keeps its 2 in PyTorch.
    own = {node, *args}
    return any(below in own for below in topological(gradients, given=_ShapesOnly()))


class _ShapesOnly:
    """Where the search for values ends: at nodes that need a shape alone."""

    def __contains__(self, node: object) -> bool:
        return isinstance(node, Expr) and (node.op.name in _SHAPE_ONLY or node.value is not None)
