"""What is worth a name in code that runs, or keeping: what costs more than looking at it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.graph import CONST, INPUT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck_cli.graph import Expr

# These read no element.
_VIEWS = frozenset(
    [
        *("T", "mT", "H", "mH", "reshape", "view", "unsqueeze", "squeeze", "expand", "expand_as"),
        *("broadcast_to", "permute", "transpose", "flatten", "unflatten", "slice", "select"),
        *("diagonal", "detach", "size", "numel", "real.complex", "imag", "conj.complex"),
    ]
)
# These pass over their elements once, as elementwise operators do.
_PASSES = frozenset(
    [
        *("zeros", "ones", "full", "eye", "arange.start_step", "linspace", "tensor", "zeros_like"),
        *("ones_like", "full_like", "sgn", "clamp", "hardsigmoid", "threshold", "masked_fill"),
        *("masked_fill.tensor", "tril", "triu", "one_hot.counted"),
    ]
)


def is_view(node: Expr) -> bool:
    """Whether a node costs nothing: a number, an input, or another way to look at its argument."""
    return node.value is not None or node.op in (INPUT, CONST) or node.op.name in _VIEWS


def is_cheap(node: Expr) -> bool:
    """Whether it is rather computed again than kept, its arguments being at hand."""
    op = node.op
    return is_view(node) or op.name in _PASSES or op.elementwise or op.broadcasts


def heavy(order: Iterable[Expr]) -> set[Expr]:
    """The nodes of `order`, arguments before users, that something is below, or in, that isn't cheap."""
    found: set[Expr] = set()
    for node in order:
        if node.value is None and (not is_cheap(node) or any(arg in found for arg in node.inputs)):
            found.add(node)
    return found
