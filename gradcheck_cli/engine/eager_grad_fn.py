"""`grad_fn`: the recorded graph, from a tensor backwards, for a person to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import ref

from gradcheck_cli.calculus.grad_fn import LEAF, grad_fn_name
from gradcheck_cli.engine.eager_calls import wrapped
from gradcheck_cli.engine.eager_record import Recorded
from gradcheck_cli.graph import INPUT, Op

if TYPE_CHECKING:
    from gradcheck_cli.engine.tensor import Tensor


class GradFn:
    """One step of the backward sweep, for a person to look at."""

    __slots__ = ("__weakref__", "node")

    node: Recorded

    def name(self) -> str:
        """PyTorch's name of it: `PowBackward0`."""
        return type(self).__name__

    @property
    def next_functions(self) -> tuple[tuple[GradFn | None, int], ...]:
        """Where it passes gradients on: a step, and which of its operation's results; None: nowhere."""
        node = self.node
        shown = [
            arg
            for position, arg in enumerate(node.args)
            if arg is not None and (arg.value is None or _shows_number(node.op, position))
        ]
        return tuple(
            [
                (grad_fn_of(arg), arg.output)
                if isinstance(arg, Recorded) and arg.tracked
                else (None, 0)
                for arg in shown
            ]
        )

    @property
    def variable(self) -> Tensor:
        """The leaf whose gradient is accumulated here."""
        if self.node.op is not INPUT:
            msg = f"only {LEAF} has a variable"
            raise AttributeError(msg)
        owner: Tensor | None = None if self.node.owner is None else self.node.owner()
        if owner is None:
            owner = wrapped(self.node)
        return owner

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


_ARITHMETIC = ("add", "sub", "mul", "div")
_kinds: dict[str, type[GradFn]] = {}


def _shows_number(op: Op, position: int) -> bool:
    """Whether a number there counts as an argument in PyTorch, where `x * 2` is a product of tensors."""
    return position == 1 and op.name in _ARITHMETIC


def grad_fn_of(node: Recorded) -> GradFn:
    """The `grad_fn` of a node: the same object as long as somebody holds it."""
    found: GradFn | None = None if node.fn is None else node.fn()
    if found is None:
        name = LEAF if node.op is INPUT else grad_fn_name(node)
        kind = _kinds.get(name)
        if kind is None:
            kind = _kinds.setdefault(name, type(name, (GradFn,), {"__slots__": ()}))
        found = object.__new__(kind)
        found.node = node
        node.fn = ref(found)
    return found
