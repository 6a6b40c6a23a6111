"""Rewrites of masks, choices and indices: decided comparisons, `where`, one-hot forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.facts import everywhere, is_below, is_finite, is_nonnegative
from gradcheck_cli.calculus.rewrites.patterns import (
    coefficient,
    filling,
    is_op,
    number,
    pair,
    replaced,
    scaled,
    static_divisor,
)
from gradcheck_cli.calculus.rewrites.sizes import origins, size_of, symbolic_shape
from gradcheck_cli.graph import INPUT, Expr, infix, make, t

if TYPE_CHECKING:
    from collections.abc import Callable


# Masks that are known.


def choice_known(node: Expr) -> Expr | None:
    """`torch.where(mask, x, y) -> x`, where the mask holds everywhere."""
    holds = everywhere(node.inputs[0])
    return None if holds is None else _fitted(node.inputs[1 if holds else 2], node)


def _fitted(x: Expr, node: Expr) -> Expr | None:
    """`x` in the shape of a node whose operator would have broadcast it."""
    if x.value is None and x.shape == node.shape:
        return x
    sizes = symbolic_shape(node)
    if sizes is None:
        return None
    fitted: Expr = t.full(sizes, x, dtype=None) if x.value is not None else x.expand(sizes)
    return fitted


def mask_known(node: Expr) -> Expr | None:
    """`(x > 0) & mask -> mask`, where the first holds everywhere."""
    left, right = pair(node)
    neutral = is_op(node, "bitwise_and", "logical_and")
    for known, other in ((left, right), (right, left)):
        holds = everywhere(known)
        if holds is not None:
            return _fitted(other if holds is neutral else known, node)
    return None


def masked_known(node: Expr) -> Expr | None:
    """`x * (y > 0) -> x`, where the mask holds everywhere."""
    left, right = pair(node)
    for mask, other in ((left, right), (right, left)):
        if mask.dtype.kind == "b" and mask.value is None and everywhere(mask):
            return _fitted(other, node)
    return None


def count_known(node: Expr) -> Expr | None:
    """`x / (t != -100).sum() -> x / t.numel()`, where the mask holds everywhere."""
    for position, arg in enumerate(node.inputs):
        if not is_op(arg, "sum") or arg.inputs[0].dtype.kind != "b" or arg.ndim:
            continue
        if everywhere(arg.inputs[0]):
            count = arg.inputs[0].numel()
            made: Expr = make(node.op, replaced(node.args, position, count), node.attributes)
            return made if made.value is None else t.full((), made)
    return None


def equal_and_less(node: Expr) -> Expr | None:
    """`(x == 0) & (x <= 0) -> x == 0`: the one says the other."""
    left, right = pair(node)
    for equal, other in ((left, right), (right, left)):
        if is_op(equal, "eq") and is_op(other, "le", "ge") and equal.inputs == other.inputs:
            return equal
    return None


def log_of_chosen(node: Expr) -> Expr | None:
    """`torch.xlogy(2.0, x) -> 2.0 * log(x)`, of a number that isn't zero."""
    factor, x = pair(node)
    if factor.value is None or not factor.value or x.value is not None:
        return None
    return factor * x.log()  # type: ignore[no-any-return]


# Choices.


def same_choice(node: Expr) -> Expr | None:
    """`torch.where(m, torch.where(m, a, b), c) -> torch.where(m, a, c)`; also on the other side."""
    mask, first, second = node.inputs
    if first is second and first.value is None:
        return _fitted(first, node)
    if is_op(first, "where") and first.inputs[0] is mask:
        first = first.inputs[1]
    elif is_op(second, "where") and second.inputs[0] is mask:
        second = second.inputs[2]
    else:
        return None
    chosen: Expr = t.where(mask, first, second)
    return chosen


def divide_after_choice(node: Expr) -> Expr | None:
    """`torch.where(m, x / n, 0.0) -> torch.where(m, x, 0.0) / n`, where n is a number or a size."""
    mask, *branches = node.inputs
    divisor: Expr | None = None
    tops = []
    for branch in branches:
        top, by = _divided(branch)
        if number(top) != 0:
            if by is None or (divisor is not None and by is not divisor):
                return None
            divisor = by
        tops.append(top)
    if divisor is None or not divisor.value:  # by a size of zero, what isn't chosen would be 0 / 0
        return None
    chosen: Expr = t.where(mask, *(_floating(top) for top in tops))
    return chosen / divisor


def _divided(x: Expr) -> tuple[Expr, Expr | None]:
    """As `static_divisor`, also of numbers: `1 / n`, `-(1 / n)`."""
    if x.value is None:
        return static_divisor(x)
    quotient = x.inputs[0] if is_op(x, "neg") else x
    if not is_op(quotient, "div"):
        return x, None
    top, bottom = pair(quotient)
    return (top if quotient is x else -top), bottom


def _floating(x: Expr) -> Expr | float:
    value = number(x)
    return x if value is None else float(value)


def negative_choice(node: Expr) -> Expr | None:
    """`-torch.where(m, 1.0, 0.0) -> torch.where(m, -1.0, 0.0)`."""
    chosen = node.inputs[0]
    if not is_op(chosen, "where"):
        return None
    mask, *branches = chosen.inputs
    values = [number(branch) for branch in branches]
    if None in values:
        return None
    negated: Expr = t.where(mask, *(-value if value else value for value in values))
    return negated


def sign_after_choice(node: Expr) -> Expr | None:
    """`torch.where(m, -x, 0.0) -> -torch.where(m, x, 0.0)`; so too of numbers."""
    mask, *branches = node.inputs
    zeros = [number(branch) == 0 for branch in branches]
    if sum(zeros) != 1:
        return None
    (signed,) = (b for b, zero in zip(branches, zeros, strict=True) if not zero)
    value = number(signed)
    inner: Expr | float
    if value is not None and value < 0:
        inner = -value
    elif is_op(signed, "neg") and signed.value is None:
        inner = signed.inputs[0]
    else:
        return None
    chosen: Expr = t.where(mask, *(b if b is not signed else inner for b in branches))
    return -chosen


def choose_factor(node: Expr) -> Expr | None:
    """`torch.where(m, 2.0, 0.0) * x -> torch.where(m, 2.0 * x, 0.0)`, where x is known to be finite."""
    left, right = pair(node)
    for chosen, other in ((left, right), (right, left)):
        if not is_op(chosen, "where") or other.value is not None:
            continue
        mask, *branches = chosen.inputs
        values = [number(branch) for branch in branches]
        if None in values or 0 not in values or not is_finite(other):
            continue
        made: Expr = t.where(mask, *(scaled(v, other) if v else 0.0 for v in values))
        return made
    return None


# One-hot forms. Of class indices out of range, both sides make an error.


def _hot(classes: Expr, x: Expr, dim: int) -> Expr:
    """One-hot vectors of class indices that are indices of `x` along `dim`."""
    hot: Expr = t.one_hot(classes, size_of(x, dim))
    if dim == x.ndim - 1:
        return hot
    if dim == x.ndim - 2:
        return hot.mT  # type: ignore[no-any-return]
    order = (*range(dim), x.ndim - 1, *range(dim, x.ndim - 1))
    return hot.permute(order)  # type: ignore[no-any-return]


def _unsqueezed(index: Expr, dim: int) -> Expr | None:
    """What an index with one place along `dim` is made of."""
    if not is_op(index, "unsqueeze") or index.attributes["dim"] % index.ndim != dim:
        return None
    classes = index.inputs[0]
    return classes if classes.dtype.name == "int64" else None


def add_one_hot(node: Expr) -> Expr | None:
    """`x.scatter_add(1, t.unsqueeze(1), full(c)) -> x + c * one_hot(t, x.shape[1])`.

    Also `(g * x).scatter_add(1, t.unsqueeze(1), -g) -> g * (x - one_hot(t, x.shape[1]))`.
    """
    x, index, source = node.inputs
    dim = node.attributes["dim"] % max(node.ndim, 1)
    classes = _unsqueezed(index, dim)
    if classes is None or source.shape != index.shape or classes.shape != _without(x.shape, dim):
        return None
    value = filling(source)
    if value is not None:
        hot = _hot(classes, x, dim)
        literal = number(value) if isinstance(value, Expr) else float(value)
        if literal is None:
            return x + value * hot  # type: ignore[no-any-return]
        return x - scaled(-literal, hot) if literal < 0 else x + scaled(literal, hot)
    (first, x), (second, source) = coefficient(x), coefficient(source)
    (x, by), (source, also) = static_divisor(x), static_divisor(source)
    if first != -second or by is not also or not is_op(x, "mul"):
        return None
    left, right = pair(x)
    for factor, other in ((left, right), (right, left)):
        if factor is source:
            product = infix("mul", factor, other - _hot(classes, node, dim))
            return scaled(first, product if by is None else product / by)
    return None


def _without(shape: tuple[int, ...], dim: int) -> tuple[int, ...]:
    return (*shape[:dim], *shape[dim + 1 :])


def choose_one_hot(node: Expr) -> Expr | None:
    """`torch.where(t.unsqueeze(1) == torch.arange(n), 2.0, 0.0) -> 2 * one_hot(t, n)`, t from 0 to n - 1."""
    mask, *branches = node.inputs
    value, zero = map(number, branches)
    if value is None or zero != 0 or not is_op(mask, "eq"):
        return None
    for index, places in (pair(mask), reversed(pair(mask))):
        dim, counting = node.ndim - 1, places
        while is_op(counting, "unsqueeze") and counting.attributes["dim"] % counting.ndim:
            dim, counting = dim - 1, counting.inputs[0]
        classes = _unsqueezed(index, dim) if index.ndim == node.ndim else None
        end = _counted(counting)
        if classes is None or end is None:
            continue
        if is_nonnegative(classes) and is_below(classes, end):
            return value * _hot(classes, node, dim)
    return None


def _counted(places: Expr) -> Any:
    """The n of `torch.arange(n)`; None where it is no such thing."""
    if not is_op(places, "arange.start_step"):
        return None
    attributes = places.attributes
    plain = attributes["start"] == 0 and attributes["step"] == 1 and places.dtype.kind == "i"
    return attributes["end"] if plain else None


def put_one_hot(node: Expr) -> Expr | None:
    """`torch.zeros_like(x).index_put([torch.arange(n), t], full(c)) -> c * one_hot(t, x.shape[1])`."""
    x, *indices, values = node.inputs
    if x.ndim != 2 or filling(x) != 0.0 or len(indices) != 2:
        return None
    rows, classes = indices
    value = filling(values)
    if value is None or _counted(rows) is None or rows.shape != x.shape[:1]:
        return None
    if classes.shape != rows.shape or classes.dtype.name != "int64" or not is_nonnegative(classes):
        return None
    return value * _hot(classes, x, 1)  # type: ignore[no-any-return]


def hot_range(node: Expr) -> Expr | None:
    """`x - one_hot(torch.arange(n), n) -> x - torch.eye(n)`."""
    for position, arg in enumerate(node.inputs):
        if is_op(arg, "one_hot.counted"):
            rows, columns = _counted(arg.inputs[0]), arg.attributes["num_classes"]
            if rows is not None and arg.ndim == 2:
                eye = t.eye(rows) if rows is columns else t.eye(rows, columns)
                made: Expr = make(node.op, replaced(node.args, position, eye), node.attributes)
                return made
    return None


def divide_whole(node: Expr) -> Expr | None:
    """`-(1.0 * one_hot(t, n)) / 2 -> -one_hot(t, n) / 2`: a quotient of whole numbers is real anyway."""
    top, bottom = pair(node)
    product = top.inputs[0] if is_op(top, "neg") else top
    if not is_op(product, "mul") or product.value is not None:
        return None
    value, whole = number(product.inputs[0]), product.inputs[1]
    if whole.dtype.name != "int64" or value not in (1, -1):
        return None
    positive = (value == 1) is (product is top)
    return (whole if positive else -whole) / bottom


# Sizes.


def divide_by_own_size(node: Expr) -> Expr | None:
    """`(softmax(z, 1) - one_hot(t, n)) / t.numel() -> (softmax(z, 1) - one_hot(t, n)) / z.shape[0]`.

    Class indices have as many rows as what is divided, whose own size says so best.
    """
    top, bottom = pair(node)
    if not is_op(bottom, "numel", "size"):
        return None
    counted = bottom.inputs[0]
    if counted.op is not INPUT or counted.ndim != 1 or counted.dtype.kind != "i":
        return None
    for dim in range(top.ndim):
        places = origins(top, dim)
        if (counted, 0) in places:
            for x, d in places:
                if x.op is INPUT and x.dtype.kind == "f":
                    return top / size_of(x, d)
    return None


REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "where": (choice_known, same_choice, divide_after_choice, sign_after_choice, choose_one_hot),
    **dict.fromkeys(("bitwise_or", "logical_or"), (mask_known,)),
    **dict.fromkeys(("bitwise_and", "logical_and"), (mask_known, equal_and_less)),
    "xlogy": (log_of_chosen,),
    "mul": (masked_known, count_known, choose_factor, hot_range),
    **dict.fromkeys(("add", "sub"), (count_known, hot_range)),
    "div": (count_known, divide_whole, divide_by_own_size),
    "scatter_add": (add_one_hot,),
    "index_put": (put_one_hot,),
}
# Last of all.
PRESENT: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {"neg": (negative_choice,)}
