"""Operators whose kernels take real numbers only, written so that a complex step passes through.

Each branch of them is analytic, and where a complex step starts from a point inside of one it stays there.
At a kink it takes one of the two; the difference that every complex step is held to shows that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.graph import rebuild, t

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gradcheck_cli.graph import Expr


def _clamp(x: Expr, low: Expr | float | None, high: Expr | float | None) -> Expr:
    above = x if low is None else t.where(x < low, low, x)
    below: Expr = above if high is None else t.where(above > high, high, above)
    return below


def _norm(
    x: Expr, p: float, dim: tuple[int, ...] | None, keepdim: bool, dtype: object
) -> Expr | None:
    """The Euclidean one, which has a kink where all is zero and nowhere else."""
    if p != 2 or dtype is not None:
        return None
    squares = x * x
    total = squares.sum() if dim is None and not keepdim else squares.sum(dim, keepdim=keepdim)
    norm: Expr = total.sqrt()
    return norm


# Operators by name: their arguments and attributes to the same number in other operators.
_ELEMENTWISE: dict[str, Callable[..., Expr | None]] = {
    "abs": lambda x: t.where(x < 0, -x, x),
    "relu": lambda x: t.where(x > 0, x, 0.0),
    "relu6": lambda x: _clamp(x, 0.0, 6.0),
    "hardtanh": lambda x, min_val, max_val: _clamp(x, low=min_val, high=max_val),
    "clamp": _clamp,
    "maximum": lambda x, y: t.where(x < y, y, x),
    "minimum": lambda x, y: t.where(x > y, y, x),
    "leaky_relu": lambda x, negative_slope: t.where(x > 0, x, negative_slope * x),
    "elu": lambda x, alpha: t.where(x > 0, x, alpha * t.expm1(x)),
    "softsign": lambda x: x / t.where(x < 0, 1 - x, 1 + x),
}
# The same where a kink in one of many elements could go unnoticed.
_WHOLE: dict[str, Callable[..., Expr | None]] = {"norm": _norm}


def passes_complex(node: Expr) -> bool:
    """Whether its kernel takes a complex number: a mask decides by the real part."""
    return node.op.analytic or node.dtype.kind == "b"


def written(between: Iterable[Expr], made: dict[Expr, Expr], *, elementwise: bool) -> bool:
    """Make each of the nodes anew, in order, into `made`, so that complex numbers pass through.

    `made` holds what stands for the nodes below. False, with some left out, where there is one that it
    isn't known how to write: with branches, only where every element is looked at by itself (`elementwise`).
    """
    table = _ELEMENTWISE if elementwise else _WHOLE
    for node in between:
        if passes_complex(node):
            made[node] = rebuild(node, lambda arg: made.get(arg, arg))
            continue
        args = [None if arg is None else made.get(arg, arg) for arg in node.args]
        write = table.get(node.op.name)
        found = None if write is None else write(*args, **node.attributes)
        if found is None:
            return False
        made[node] = found
    return True
