"""How dimensions are counted: from the front, so that equal terms meet, then as they were given.

Who writes `-1` for the last dimension anywhere gets it back everywhere.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.rewrites.patterns import is_op
from gradcheck_cli.calculus.rewrites.sizes import KEEPING
from gradcheck_cli.graph import Expr, make, topological

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_COUNTED = (*sorted(KEEPING), "softmax", "log_softmax")
_from_back: ContextVar[bool] = ContextVar("from_back", default=False)


@contextmanager
def spelled_as(roots: Sequence[Expr]) -> Iterator[None]:
    """Within it, last dimensions are named as in `roots`: from the back if one of them is."""
    negative = any(
        node.op.name in _COUNTED and any(d < 0 for d in _listed(node))
        for node in topological(roots, sizes=True)
    )
    token = _from_back.set(negative)
    try:
        yield
    finally:
        _from_back.reset(token)


def _listed(node: Expr) -> tuple[int, ...]:
    dim: Any = node.attributes["dim"]
    return (dim,) if isinstance(dim, int) else dim or ()


def _with(node: Expr, dims: tuple[int, ...]) -> Expr:
    dim = dims[0] if isinstance(node.attributes["dim"], int) else dims
    made: Expr = make(node.op, node.args, {**node.attributes, "dim": dim})
    return made


def count_from_front(node: Expr) -> Expr | None:
    """`x.sum(-1) -> x.sum(1)`, of a matrix; `x.unsqueeze(-1) -> x.unsqueeze(2)`."""
    dims = _listed(node)
    ndim = node.ndim if is_op(node, "unsqueeze") else node.inputs[0].ndim
    if not ndim or min(dims, default=0) >= 0:
        return None
    return _with(node, tuple(sorted(d % ndim for d in dims)))


def count_from_back(node: Expr) -> Expr | None:
    """`x.sum(1) -> x.sum(-1)`, of a matrix, where somebody counts so."""
    dims, ndim = _listed(node), node.inputs[0].ndim
    if not _from_back.get() or not dims or dims != tuple(range(ndim - len(dims), ndim)):
        return None
    return _with(node, tuple(d - ndim for d in dims))


def ascending(node: Expr) -> Expr | None:
    """`x.unsqueeze(1).unsqueeze(0) -> x.unsqueeze(0).unsqueeze(2)`: new dimensions from left to right."""
    inner = node.inputs[0]
    if not is_op(inner, "unsqueeze"):
        return None
    first, second = inner.attributes["dim"], node.attributes["dim"]
    if not 0 <= second <= first:
        return None
    ordered: Expr = inner.inputs[0].unsqueeze(second).unsqueeze(first + 1)
    return ordered


REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    **dict.fromkeys(_COUNTED, (count_from_front,)),
    "unsqueeze": (count_from_front, ascending),
}
# Last of all.
PRESENT: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    **dict.fromkeys(_COUNTED, (count_from_back,)),
}
