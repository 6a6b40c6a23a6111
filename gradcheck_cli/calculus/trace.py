"""A graph as a walk for a person: what each node computes, and what gradient it gets and passes on.

Symbols only; the numbers are in `methods/walk.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

from gradcheck_cli.calculus.derive import with_names
from gradcheck_cli.calculus.differentiate import differentiate, tracked
from gradcheck_cli.calculus.grad_fn import LEAF, grad_fn_name
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.graph import INPUT, Expr, rebuild, symbolic_sizes, t, topological, variable
from gradcheck_cli.lang.printer import to_text

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence

# A gradient of more nodes or characters than this is told by the step before it, not in full: else a
# chain of n operators would take n * n factors.
_MOST_NODES = 24
_MOST_CHARACTERS = 160


@dataclass(frozen=True, slots=True)
class Sent:
    """A gradient on its way to an argument; `summed` are the dimensions in which that was broadcast."""

    to: str
    text: str
    summed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One node; inputs come first, and everything after its arguments.

    `text` is its expression over the names of the steps before (None: an input), `arguments` are these,
    `grad_fn` the name of its backward (None: no gradient is tracked), `rules` the gradient that each
    tracked argument gets from this node's own, which is called `name.grad`.
    """

    node: Expr
    name: str
    text: str | None
    grad_fn: str | None
    arguments: tuple[str, ...] = ()
    rules: tuple[Sent, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrival:
    """A step of the sweep back: the gradient of a node is complete, and is passed on to its arguments.

    `gradient` is the expression to evaluate, `text` the same in closed form over the names of the forward
    steps (None: too long), `senders` whose parts were added up; what is `sent` is in closed form too, or
    has `name.grad` in it.
    """

    step: Step
    gradient: Expr
    text: str | None
    senders: tuple[str, ...]
    sent: tuple[Sent, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """The walk: `forward` in the order of evaluation, `backward` in that of the sweep, from the output."""

    forward: tuple[Step, ...]
    backward: tuple[Arrival, ...]


@dataclass(frozen=True, slots=True)
class Product:
    """A vector-Jacobian product on its own: what `node` passes on `to` one argument, and the same `short`."""

    node: Expr
    to: Expr
    whole: Expr
    short: Expr


def trace(
    output: Expr, wrt: Sequence[Expr], upstream: Expr, names: Mapping[Expr, str] | None = None
) -> Trace:
    """Walk through the graph of `output` and back to the inputs `wrt`.

    `upstream` stands for the gradient of a non-scalar output; for a scalar one it is 1. `names` are nodes
    with a name of their own, the check's `let`; the others are called `t1`, `t2` and so on.

    >>> x = variable("x", (3,))
    >>> walk = trace((x**2).sum(), [x], variable("grad", ()))
    >>> [(step.name, step.text, step.grad_fn) for step in walk.forward[1:]]
    [('t1', 'x ** 2', 'PowBackward0'), ('t2', 't1.sum()', 'SumBackward0')]
    >>> [(arrival.step.name, arrival.text) for arrival in walk.backward]
    [('t2', '1'), ('t1', 'ones_like(t1)'), ('x', '2 * x')]
    """
    order = topological([output])
    forward = Forward(output, wrt, _names(order, output, names or {}))
    steps = forward.steps()
    return Trace(steps, tuple(_backward(forward, steps, upstream)))


def outline(
    output: Expr, wrt: Sequence[Expr], names: Mapping[Expr, str] | None = None
) -> tuple[Step, ...]:
    """The forward steps alone, without rules: what a drawing needs."""
    forward = Forward(output, wrt, _names(topological([output]), output, names or {}))
    return forward.steps(rules=False)


class Forward:
    """The steps, and of each node the operator alone, with its arguments' names for inputs.

    `names` are the nodes that are steps, arguments before users; what lies between is a part of the step
    that uses it.
    """

    def __init__(self, output: Expr, wrt: Sequence[Expr], names: dict[Expr, str]) -> None:
        self.output = output
        self.tracked = tracked(topological([output]), wrt)
        self.names = names
        self.alone: dict[Expr, Expr] = {}
        self.stand_in: dict[Expr, Expr] = {}
        # The outputs of a call are nodes of their own.
        self.calls: dict[object, list[Expr]] = {}
        for node in topological([output], sizes=True):
            self.stand_in[node] = alone = rebuild(node, self.stand_in.__getitem__)
            if node in self.names:
                self.alone[node] = alone
                if node.op.outputs:
                    self.calls.setdefault((node.op, node.args, node.attrs), []).append(node)
                self.stand_in[node] = variable(self.names[node], node.shape, node.dtype)

    def steps(self, *, rules: bool = True) -> tuple[Step, ...]:
        """The walk to the output."""
        sent = self.sent({}) if rules else {}
        return tuple(
            Step(
                node,
                name,
                None if node.op is INPUT else to_text(self.alone[node]),
                self.grad_fn(node),
                tuple(self.names[arg] for arg in self.arguments(node)),
                sent.get(node, ()),
            )
            for node, name in self.names.items()
        )

    def grad_fn(self, node: Expr) -> str | None:
        """The name of a node's backward in PyTorch, where a gradient is tracked."""
        if node not in self.tracked:
            return None
        return LEAF if node.op is INPUT else grad_fn_name(node)

    def arguments(self, node: Expr) -> list[Expr]:
        """The steps that a node's operator is applied to, each once."""
        return self._below(node)

    def receivers(self, node: Expr) -> list[Expr]:
        """Those of a node's arguments that its gradient is passed on to."""
        if node not in self.tracked:
            return []
        return [arg for arg in self._below(node, self.tracked) if arg in self.tracked]

    def _below(self, node: Expr, through: Container[Expr] | None = None) -> list[Expr]:
        """The steps below a node that no other step lies between, if need be only `through` some nodes."""
        found: dict[Expr, None] = {}
        below, seen = list(reversed(node.inputs)), {node}
        while below:
            arg = below.pop()
            if arg in self.names:
                found[arg] = None
            elif arg not in seen and arg.value is None and (through is None or arg in through):
                seen.add(arg)
                below += reversed(arg.inputs)
        return list(found)

    def senders(self) -> dict[Expr, list[Expr]]:
        """The nodes that a gradient reaches in the order of the sweep back, with who sends to them."""
        senders: dict[Expr, list[Expr]] = {self.output: []} if self.output in self.tracked else {}
        for node in reversed(self.names):
            if node in senders:
                for arg in self.receivers(node):
                    senders.setdefault(arg, []).append(node)
        return {node: senders[node] for node in reversed(self.names) if node in senders}

    def results(self, node: Expr) -> dict[Expr, str]:
        """What a rule written with the operator's own results refers to by name."""
        outputs = self.calls[node.op, node.args, node.attrs] if node.op.outputs else [node]
        return {self.alone[output]: self.names[output] for output in outputs}

    def sent(self, known: Mapping[Expr, Expr]) -> dict[Expr, tuple[Sent, ...]]:
        """What every node sends to its arguments, its own gradient being `known` or else `name.grad`."""
        own = {
            node: known.get(node, variable(f"{name}.grad", node.shape, node.dtype))
            for node, name in self.names.items()
        }
        found: dict[Expr, tuple[Sent, ...]] = {}
        for product in self.products(own):
            one = Sent(self.names[product.to], _text(product.short), summed(product.whole))
            found[product.node] = (*found.get(product.node, ()), one)
        return found

    def products(self, own: Mapping[Expr, Expr]) -> list[Product]:
        """The gradient that each node passes on to each argument, given `own`, the node's gradient."""
        raw: list[tuple[Expr, Expr, Expr]] = []
        for node, alone in self.alone.items():
            receivers = self.receivers(node)
            local = differentiate(alone, [self.stand_in[arg] for arg in receivers], own[node])
            local = with_names(local, self.results(node))
            raw += [(node, arg, gradient) for arg, gradient in zip(receivers, local, strict=True)]
        simple = simplify([gradient for _, _, gradient in raw])
        return [Product(*one, short) for one, short in zip(raw, simple, strict=True)]


def _names(order: Sequence[Expr], output: Expr, given: Mapping[Expr, str]) -> dict[Expr, str]:
    """The nodes that are steps with their names; numbers, sizes and constants stand where they are used."""
    steps = [n for n in order if n.op is INPUT or (n.args and n.value is None) or n is output]
    steps.sort(key=lambda node: node.op is not INPUT)
    names = {node: node.attributes["name"] for node in steps if node.op is INPUT}
    taken = {*names.values(), *given.values()}
    fresh = (name for name in map("t{}".format, count(1)) if name not in taken)
    return {node: names.get(node) or given.get(node) or next(fresh) for node in steps}


def _backward(forward: Forward, steps: Sequence[Step], upstream: Expr) -> Iterator[Arrival]:
    by_node = {step.node: step for step in steps}
    output = forward.output
    senders = forward.senders()
    reached = list(senders)
    cotangent = t.ones((), dtype=output.dtype) if output.ndim == 0 else upstream
    gradients = differentiate(output, reached, cotangent)
    named = {node: name for node, name in forward.names.items() if node.op is not INPUT}
    closed = dict(zip(reached, simplify(with_names(gradients, named)), strict=True))
    texts = {node: text for node, gradient in closed.items() if (text := _short(gradient))}
    sent = forward.sent({node: closed[node] for node in texts})
    for node, gradient in zip(reached, gradients, strict=True):
        yield Arrival(
            by_node[node],
            gradient,
            texts.get(node),
            tuple(forward.names[user] for user in senders[node]),
            sent.get(node, ()),
        )


def _short(gradient: Expr) -> str | None:
    """The text of a gradient, unless it is long."""
    if sum(1 for _ in islice(_below(gradient), _MOST_NODES + 1)) > _MOST_NODES:
        return None
    text = _text(gradient)
    return text if len(text) <= _MOST_CHARACTERS else None


def _below(node: Expr) -> Iterator[Expr]:
    """The nodes that an expression is made of, lazily."""
    stack, seen = [node], {node}
    while stack:
        current = stack.pop()
        yield current
        below: Iterable[Expr] = (*current.inputs, *symbolic_sizes(current))
        new = [child for child in below if child not in seen]
        seen.update(new)
        stack += new


def _text(gradient: Expr) -> str:
    if gradient.op.name == "ones" and gradient.ndim == 0:
        return "1"
    return to_text(gradient)


def summed(gradient: Expr) -> tuple[int, ...]:
    """The dimensions over which a gradient is summed because its target was broadcast in them."""
    if gradient.op.name == "add":
        return tuple(sorted({dim for part in gradient.inputs for dim in summed(part)}))
    if gradient.op.name != "sum_to_size":
        return ()
    wide = gradient.inputs[0].shape
    extra = len(wide) - gradient.ndim
    kept = gradient.shape
    return (
        *range(extra),
        *(extra + d for d, size in enumerate(kept) if size == 1 != wide[extra + d]),
    )
