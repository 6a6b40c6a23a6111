"""Simplification: an ordered tuple of small rewrites, each pure, run to a fixed point.

A rewrite keeps the node's shape and dtype, and its value up to rounding, NaN and infinity included: never
`x * 0 -> 0` or `x / x -> 1`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from gradcheck_cli.graph import CONST, Expr, infix, rebuild, t, topological

Rewrite = Callable[[Expr], Expr | None]
_ROUNDS = 24


def simplify(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """The same expressions, shorter.

    >>> from gradcheck_cli.graph import variable
    >>> from gradcheck_cli.lang.printer import to_text
    >>> x = variable("x", (3,))
    >>> to_text(simplify([1.0 * (2 * -(-x))])[0])
    '2 * x'
    """
    current = tuple(roots)
    for _ in range(_ROUNDS):
        rewritten: dict[Expr, Expr] = {}
        for node in topological(current, sizes=True):
            rewritten[node] = _local(rebuild(node, rewritten.__getitem__))
        after = tuple(rewritten[node] for node in current)
        if after == current:
            break
        current = after
    return current


def _local(node: Expr) -> Expr:
    """Apply rewrites at one node until none fires."""
    for _ in range(_ROUNDS):
        for rewrite in REWRITES.get(node.op.name, ()):
            found = rewrite(node)
            if found is not None and found.shape == node.shape and found.dtype is node.dtype:
                node = found
                break
        else:
            return node
    return node


def _is(node: Expr, *names: str) -> bool:
    return node.op.name in names


def _args(node: Expr) -> tuple[Expr, Expr]:
    left, right = node.inputs
    return left, right


def _number(node: Expr) -> float | None:
    return node.value if node.op is CONST and not isinstance(node.value, bool) else None


def uniform(node: Expr) -> Expr | None:
    """The number that fills a tensor: `torch.ones(())`, `full_like(x, 2.0)` -> 2.0."""
    if _is(node, "ones", "ones_like"):
        return infix("mul", 1.0, 1.0)
    if _is(node, "full", "full_like"):
        value = node.attributes["fill_value"]
        return value if isinstance(value, Expr) else infix("mul", 1.0, float(value))
    return None


def unbroadcast_operands(node: Expr) -> Expr | None:
    """Operands that the operation broadcasts by itself: `torch.ones_like(x) * y -> 1.0 * y`."""
    args = list(node.args)
    for position, arg in enumerate(args):
        if arg is None:
            continue
        smaller = arg.inputs[0] if _is(arg, "expand") else uniform(arg)
        if smaller is None:
            continue
        trial = [*args[:position], smaller, *args[position + 1 :]]
        if all(a is None or a.value is not None for a in trial):
            continue
        found = infix(node.op.name, *trial)
        if found.shape == node.shape and found.dtype is node.dtype:
            return found
    return None


def expand_uniform(node: Expr) -> Expr | None:
    """`torch.ones(()).expand(x.shape) -> torch.ones(x.shape)`, and nothing to expand."""
    x = node.inputs[0]
    if x.shape == node.shape:
        return x
    if _is(x, "ones") and x.shape == ():
        return t.ones(node.attributes["size"])  # type: ignore[no-any-return]
    return None


def same_shape(node: Expr) -> Expr | None:
    """A reshape to the shape that is there already."""
    return node.inputs[0] if node.inputs[0].shape == node.shape else None


def numbers_first(node: Expr) -> Expr | None:
    """`x * 2 -> 2 * x`."""
    left, right = _args(node)
    return right * left if right.value is not None and left.value is None else None


def multiply_by_one(node: Expr) -> Expr | None:
    """`1 * x -> x`, `-1 * x -> -x`."""
    left, right = _args(node)
    number = _number(left)
    if number == 1:
        return right
    return -right if number == -1 else None


def merge_factors(node: Expr) -> Expr | None:
    """`2 * (3 * x) -> 6 * x`, `x * (2 * y) -> 2 * (x * y)`."""
    left, right = _args(node)
    number = _number(left)
    if _is(right, "mul"):
        inner, rest = _args(right)
        factor = _number(inner)
        if factor is not None:
            if number is None:
                return inner * (left * rest)
            product = number * factor
            return product * rest if _plain(product) else None
    if number is None and _is(left, "mul") and _number(_args(left)[0]) is not None:
        inner, rest = _args(left)
        return inner * (rest * right)
    return None


def _plain(number: float) -> bool:
    return number != 0 and math.isfinite(number) and 1e-100 < abs(number) < 1e100  # noqa: PLR2004


def pull_sign(node: Expr) -> Expr | None:
    """Signs to the front: `a * -b -> -(a * b)`, `2 * -x -> -2 * x`; `/` and `@` alike."""
    left, right = _args(node)
    name = node.op.name
    number = _number(left)
    if _is(right, "neg"):
        inner = right.inputs[0]
        if number is not None and name == "mul":
            return -number * inner
        return -infix(name, left, inner)
    if _is(left, "neg"):
        return -infix(name, left.inputs[0], right)
    return None


def negate(node: Expr) -> Expr | None:
    """`-(-x) -> x`, `-(2 * x) -> -2 * x`, `-(a - b) -> b - a`."""
    inner = node.inputs[0]
    if _is(inner, "neg"):
        return inner.inputs[0]
    if _is(inner, "mul") and (number := _number(_args(inner)[0])) is not None:
        return -number * _args(inner)[1]
    if _is(inner, "sub") and inner.attributes["alpha"] == 1:
        left, right = _args(inner)
        return right - left
    if _is(inner, "div") and inner.attributes["rounding_mode"] is None:
        left, right = _args(inner)
        if _is(left, "mul") and _number(_args(left)[0]) is not None:
            return (-left) / right
    return None


def divide(node: Expr) -> Expr | None:
    """`x / 1 -> x`."""
    left, right = _args(node)
    if node.attributes["rounding_mode"] is not None:
        return None
    return left if _number(right) == 1 else None


def divide_last(node: Expr) -> Expr | None:
    """Division by a size last: `(g / n) * x -> (g * x) / n`."""
    left, right = _args(node)
    if _is(left, "div") and _divisor(left) is not None:
        top, size = _args(left)
        return (top * right) / size
    if _is(right, "div") and _divisor(right) is not None:
        top, size = _args(right)
        return (left * top) / size
    return None


def _divisor(node: Expr) -> Expr | None:
    """What `node` is divided by, where that is a number known beforehand."""
    divisor = _args(node)[1]
    if node.attributes["rounding_mode"] is None and divisor.value is not None:
        return divisor
    return None


def add_signed(node: Expr) -> Expr | None:
    """`a + -b -> a - b`, `a - -b -> a + b`, `-a + b -> b - a`."""
    if node.attributes["alpha"] != 1:
        return None
    left, right = _args(node)
    adding = _is(node, "add")
    if _is(right, "neg"):
        inner = right.inputs[0]
        return left - inner if adding else left + inner
    if _is(right, "mul") and (number := _number(_args(right)[0])) is not None and number < 0:
        positive = (-number) * _args(right)[1]
        return left - positive if adding else left + positive
    if adding and _is(left, "neg"):
        return right - left.inputs[0]
    return None


def add_nothing(node: Expr) -> Expr | None:
    """`torch.zeros_like(x) + y -> y`."""
    left, right = _args(node)
    if _is(left, "zeros_like", "zeros") or _number(left) == 0:
        return right
    return left if _is(right, "zeros_like", "zeros") or _number(right) == 0 else None


def collect(node: Expr) -> Expr | None:
    """`x + x -> 2 * x`, `2 * x + x -> 3 * x`."""
    if node.attributes["alpha"] != 1:
        return None
    (first, left), (second, right) = map(_term, _args(node))
    if left is not right or left.value is not None:
        return None
    total = first + second
    return total * left if _plain(total) else None


def _term(node: Expr) -> tuple[float, Expr]:
    """A node as number times rest."""
    if _is(node, "mul") and (number := _number(_args(node)[0])) is not None:
        return number, _args(node)[1]
    return 1, node


def first_power(node: Expr) -> Expr | None:
    """`x ** 1 -> x`."""
    left, right = _args(node)
    return left if _number(right) == 1 else None


def twice_transposed(node: Expr) -> Expr | None:
    """`x.T.T -> x`."""
    inner = node.inputs[0]
    return inner.inputs[0] if inner.op is node.op else None


REWRITES: dict[str, tuple[Rewrite, ...]] = {
    "mul": (
        unbroadcast_operands,
        numbers_first,
        multiply_by_one,
        pull_sign,
        merge_factors,
        divide_last,
    ),
    "div": (unbroadcast_operands, divide, pull_sign),
    "add": (unbroadcast_operands, add_nothing, add_signed, collect),
    "sub": (unbroadcast_operands, add_signed),
    "neg": (negate,),
    "pow": (first_power,),
    "matmul": (pull_sign,),
    "expand": (expand_uniform,),
    "sum_to_size": (same_shape,),
    "reshape": (same_shape,),
    "T": (twice_transposed,),
    "mT": (twice_transposed,),
}
