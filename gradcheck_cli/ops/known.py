"""Values known while a graph is built: of `torch.tensor([1, 3])`, and of inputs where they are given.

A few shapes depend on values: as many elements as a mask selects, as many copies as a tensor says.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any

from gradcheck_cli.graph import INPUT, concrete, kernel_of, topological

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gradcheck_cli.graph import Expr

    Values = Callable[[], Mapping[str, Any]]

_given: ContextVar[Values | None] = ContextVar("given", default=None)


@contextmanager
def given(values: Values) -> Iterator[None]:
    """Within it, inputs have the values that `values()` says; it is called at most once, when needed."""
    token = _given.set(cache(values))
    try:
        yield
    finally:
        _given.reset(token)


def _held(node: object) -> Any:
    """The value that a node holds, as those of eager tensors do; else None."""
    return getattr(node, "data", None)


class _Holding:
    """The nodes below which nothing needs to be looked at."""

    def __contains__(self, node: object) -> bool:
        return _held(node) is not None


def known(x: Expr) -> Any:
    """The array that `x` will be, or None where that isn't known beforehand."""
    order = topological([x], given=_Holding())
    inputs = [node for node in order if node.op is INPUT and _held(node) is None]
    values = _given.get()
    numbers = values() if inputs and values is not None else {}
    if any(node.attributes["name"] not in numbers for node in inputs):
        return None
    found: dict[Expr, Any] = {}
    for node in order:
        if node.value is not None:
            found[node] = node.value
        elif _held(node) is not None:
            found[node] = _held(node)
        elif node.op is INPUT:
            found[node] = numbers[node.attributes["name"]]
        else:
            args = [None if arg is None else found[arg] for arg in node.args]
            result = kernel_of(node.op, node.args)(*args, **concrete(node.attrs))
            found[node] = result[node.output] if node.op.outputs else result
    return found[x]
