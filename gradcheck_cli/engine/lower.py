"""Lowering: graph to graph, the same numbers in the form that runs fastest.

Composites become the small operators that blocks are made of, tensors filled with one number become that
number where the operation broadcasts by itself, and operations that change nothing go. Values stay the
same up to rounding, NaN and infinity included.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from gradcheck_cli.calculus.simplify import sweep
from gradcheck_cli.engine.regions import reduced_dims
from gradcheck_cli.graph import TABLE, Expr, const, make, t
from gradcheck_cli.ops._common import FEW
from gradcheck_cli.ops.cross_entropy import ENTROPY_SLOPE
from gradcheck_cli.ops.nn import exponentials

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Rewrite = Callable[[Expr], Expr | None]


def lower(roots: Sequence[Expr]) -> tuple[Expr, ...]:
    """The same expressions, ready to be planned."""
    return sweep(tuple(roots), _rewrites(), early=_WHOLE, symbolic=False)


@cache
def _rewrites() -> dict[str, tuple[Rewrite, ...]]:
    """By operator; made once, since records don't change."""
    parts: dict[str, tuple[Rewrite, ...]] = {}
    for name, op in TABLE.by_name.items():
        rewrites = _EXACT.get(name, ())
        if (op.elementwise or op.broadcasts) and op.kernel is not None:
            rewrites = (_unfilled, _of_one_dtype, *rewrites)
        if op.fused is not None:
            rewrites = (*rewrites, _in_parts)
        if rewrites:
            parts[name] = rewrites
    return parts


def _in_parts(node: Expr) -> Expr | None:
    """A composite by what its record says it is made of."""
    assert node.op.fused is not None
    parts = node.op.fused(*node.args, **node.attributes)
    made: Expr | None = parts[node.output] if isinstance(parts, tuple) else parts
    return made


def filled(node: Expr) -> Expr | None:
    """The zero-dimensional node that every element of `node` equals, where that shows."""
    name = node.op.name
    if name in ("full_like", "full"):
        value = node.attributes["fill_value"]
    elif name in ("zeros_like", "ones_like"):
        value = float(name == "ones_like") if node.dtype.is_floating else None
    elif name in ("expand", "unsqueeze", "reshape"):
        value = node.inputs[0] if not node.inputs[0].shape else filled(node.inputs[0])
    else:
        return None
    if isinstance(value, Expr):
        return value if not value.shape else None
    if type(value) in (int, float) and node.dtype.is_floating:
        return const(value)
    return None


def _stripped(arg: Expr) -> Expr:
    """The argument without an expansion that the operation would do by itself."""
    number = filled(arg)
    if number is not None:
        return number
    return arg.inputs[0] if arg.op.name == "expand" else arg


def _unfilled(node: Expr) -> Expr | None:
    """`ones_like(x) * y -> 1.0 * y`; a result that is filled itself is said to be so."""
    args = [None if arg is None else _stripped(arg) for arg in node.args]
    if all(new is old for new, old in zip(args, node.args, strict=True)):
        return None
    made = make(node.op, args, node.attributes)
    if made.value is not None:
        return t.full(node.shape, made.value, dtype=node.dtype)  # type: ignore[no-any-return]
    if made.dtype is not node.dtype:
        return None
    return made if made.shape == node.shape else made.expand(node.shape)  # type: ignore[no-any-return]


def _of_one_dtype(node: Expr) -> Expr | None:
    """Integers, masks and other floating types made the result's, so that a ufunc can do the rest."""
    if node.op.ufunc is None or not node.dtype.is_floating:
        return None
    args = [
        arg
        if arg is None or arg.value is not None or arg.dtype is node.dtype
        else arg.to(node.dtype)
        for arg in node.args
    ]
    if all(new is old for new, old in zip(args, node.args, strict=True)):
        return None
    return make(node.op, args, node.attributes)  # type: ignore[no-any-return]


def _multiply_by_one(node: Expr) -> Expr | None:
    for one, other in (node.inputs, reversed(node.inputs)):
        if one.value == 1 and other.dtype is node.dtype:
            return other
    return None


def _merge_numbers(node: Expr) -> Expr | None:
    """`2 * (3 * x) -> 6 * x`, where the product of the numbers is exact enough to not matter."""
    for number, other in (node.inputs, reversed(node.inputs)):
        if number.value is None or other.op.name not in ("mul", "neg"):
            continue
        if other.op.name == "neg":
            return const(-float(number.value)) * other.inputs[0]
        for inner, rest in (other.inputs, reversed(other.inputs)):
            if inner.value is not None:
                product = float(inner.value) * float(number.value)
                if 1e-30 < abs(product) < 1e30 and 1e-30 < abs(inner.value) < 1e30:
                    return const(product) * rest
    return None


def _negated(node: Expr) -> Expr | None:
    """`-(2 * x) -> -2 * x`."""
    inner = node.inputs[0]
    if inner.op.name == "mul" and inner.dtype.is_floating:
        for number, rest in (inner.inputs, reversed(inner.inputs)):
            if number.value is not None:
                return const(-float(number.value)) * rest
    return None


def _scaled_term(node: Expr) -> Expr | None:
    """`add(x, y, alpha=2) -> x + 2 * y`, so that a ufunc does each."""
    alpha = node.attributes["alpha"]
    if alpha == 1 or isinstance(alpha, Expr):
        return None
    left, right = node.inputs
    return make(node.op, (left, alpha * right), {"alpha": 1})  # type: ignore[no-any-return]


def _power(node: Expr) -> Expr | None:
    """Powers of which NumPy's general one is many times slower than a product or a root."""
    base, exponent = node.inputs
    if exponent.value is None or base.value is not None or not base.dtype.is_floating:
        return None
    match exponent.value:
        case 1:
            return base
        case 2:
            return base * base
        case 3:
            return base * base * base
        case 4:
            square = base * base
            return square * square
        case -1:
            return 1.0 / base
        case -2:
            return 1.0 / (base * base)
    return None


def _summed_to(node: Expr) -> Expr | None:
    """The sum over the dims that have to go, as a reduction."""
    (x,) = node.inputs
    extra = x.ndim - node.ndim
    dims = tuple(range(extra)) + tuple(
        d + extra for d, size in enumerate(node.shape) if size == 1 and x.shape[d + extra] != 1
    )
    if not dims:
        return x if x.shape == node.shape else None
    kept = [d for d in dims if d >= extra]
    if not kept:
        return x.sum(dims)  # type: ignore[no-any-return]
    summed = x.sum(dims, keepdim=True)
    return summed.reshape(node.shape) if extra else summed  # type: ignore[no-any-return]


def _sum_of_filled(node: Expr) -> Expr | None:
    """The sum of one number so many times over."""
    (x,) = node.inputs
    number = filled(x) if x.shape and node.attributes["dtype"] is None else None
    if number is None or not node.elements:
        return None
    total = number * (x.elements // node.elements)
    if total.value is not None:
        return t.full(node.shape, total.value, dtype=node.dtype)  # type: ignore[no-any-return]
    if not node.shape:
        return total if total.dtype is node.dtype else None
    return total.expand(node.shape)  # type: ignore[no-any-return]


def _sum_of_scaled(node: Expr) -> Expr | None:
    """`sum(2 * x) -> 2 * sum(x)`, `sum(-x) -> -sum(x)`: one multiplication for many."""
    (x,) = node.inputs
    if node.attributes["dtype"] is not None or not x.dtype.is_floating:
        return None
    if x.op.name == "neg":
        return -make(node.op, x.inputs, node.attributes)  # type: ignore[no-any-return]
    if x.op.name != "mul":
        return None
    for number, rest in (x.inputs, reversed(x.inputs)):
        if number.value is not None and 1e-30 < abs(number.value) < 1e30 and rest.dtype is x.dtype:
            return number * make(node.op, (rest,), node.attributes)  # type: ignore[no-any-return]
    return None


def _one_form(node: Expr) -> Expr | None:
    """The dims of a reduction in one form, so that equal reductions are one: `sum(-1)`, `sum((1,))`."""
    ndim = node.inputs[0].ndim
    attributes = node.attributes
    dims = reduced_dims(node)
    if attributes["dim"] == dims or not ndim:
        return None
    return make(node.op, node.args, {**attributes, "dim": dims})  # type: ignore[no-any-return]


def _softmax_again(node: Expr) -> Expr | None:
    """`exp(log_softmax(x)) -> softmax(x)`, which needs no exponential of its own."""
    (x,) = node.inputs
    if x.op.name != "log_softmax":
        return None
    return make(TABLE.by_name["softmax"], x.args, x.attributes)  # type: ignore[no-any-return]


def _entropy_slope(node: Expr) -> Expr | None:
    """What the rule of cross entropy says: few rows in one kernel, many with a factor for each row."""
    scaled, places, taken = node.inputs
    if scaled.op.name != "mul" or taken.op.name != "neg":
        return None
    each, softmax = scaled.inputs
    if softmax.op.name != "softmax" or taken.inputs[0] is not each or node.ndim != 2:
        return None
    x = softmax.inputs[0]
    if softmax.attributes != {"dim": 1, "dtype": None} or x.dtype is not each.dtype or 0 in x.shape:
        return None
    if x.elements < FEW:
        return make(ENTROPY_SLOPE, (each, x, places), {})  # type: ignore[no-any-return]
    _, exp, total = exponentials(x, 1, None)
    scaled = exp * (each / total)
    return make(node.op, (scaled, places, taken), node.attributes)  # type: ignore[no-any-return]


def _softmax_of_logsumexp(node: Expr) -> Expr | None:
    """`exp(x - logsumexp(x)) -> exp(x - max) / sum`, from the exponentials that are there already."""
    (difference,) = node.inputs
    if difference.op.name != "sub" or difference.attributes["alpha"] != 1:
        return None
    x, total = difference.inputs
    while total.op.name in ("unsqueeze", "expand"):
        total = total.inputs[0]
    if total.op.name != "logsumexp" or total.inputs[0] is not x or 0 in x.shape or not x.ndim:
        return None
    dims = reduced_dims(total)
    if (
        difference.inputs[1].shape
        != tuple(1 if d in dims else size for d, size in enumerate(x.shape))
        and total.ndim
    ):
        return None
    largest = x.amax(dims, keepdim=True)
    exp = (x - t.where(largest.isfinite(), largest, 0.0)).exp()
    return exp * (1.0 / exp.sum(dims, keepdim=True))  # type: ignore[no-any-return]


def _tail(node: Expr) -> Expr | None:
    """`1 + erf(x) -> erfc(-x)`, which keeps its digits on the left."""
    one, other = node.inputs
    if one.value == 1 and other.op.name == "erf":
        return (-other.inputs[0]).erfc()  # type: ignore[no-any-return]
    return None


_WHOLE: dict[str, tuple[Rewrite, ...]] = {
    "scatter_add": (_entropy_slope,),
    "exp": (_softmax_again, _softmax_of_logsumexp),
    "add": (_tail,),
}
_EXACT: dict[str, tuple[Rewrite, ...]] = {
    "mul": (_multiply_by_one, _merge_numbers),
    "neg": (_negated,),
    "add": (_scaled_term,),
    "sub": (_scaled_term,),
    "pow": (_power,),
    "sum_to_size": (_summed_to,),
    "sum": (_sum_of_filled, _sum_of_scaled, _one_form),
    "amax": (_one_form,),
    "amin": (_one_form,),
}
