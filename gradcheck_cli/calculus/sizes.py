"""Rewrites of sizes: those of an intermediate result are told by the tensors that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.patterns import is_op, pair
from gradcheck_cli.graph import INPUT, Expr, infix

if TYPE_CHECKING:
    from collections.abc import Callable

# Operators whose result has the shape of one of their arguments, and of which.
_SHAPED_AS = {
    **dict.fromkeys(
        [
            *(
                "clamp",
                "softmax",
                "log_softmax",
                "cumsum",
                "cumprod",
                "tril",
                "triu",
                "flip",
                "roll",
            ),
            *("detach", "to", "layer_norm.plain", "rms_norm.plain", "batch_norm.plain", "inverse"),
            *("cholesky", "index_put", "scatter", "scatter.value", "scatter_add", "index_add"),
            *("select_scatter", "slice_scatter", "diagonal_scatter", "zeros_like", "ones_like"),
            *("full_like", "hardsigmoid", "threshold", "polygamma", "logit"),
        ],
        0,
    ),
    "gather": 1,
    "nll_loss.none": 1,
}
# Operators that broadcast their arguments, beside those whose records say so.
_BROADCASTS = frozenset(
    [
        *("clamp", "masked_fill", "masked_fill.tensor"),
        *("where", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "div.Tensor_mode"),
        *("huber_loss.none", "smooth_l1_loss.none", "binary_cross_entropy.none"),
        *("binary_cross_entropy_with_logits.none",),
    ]
)
_REDUCES = frozenset(
    [
        *(
            "sum",
            "mean",
            "var",
            "std",
            "logsumexp",
            "amax",
            "amin",
            "norm",
            "prod.dim",
            "any",
            "all",
        ),
        *("argmax", "argmin"),
    ]
)
_SAME_ELEMENTS = frozenset(
    ["reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "T", "mT", "permute", "transpose"]
)


def broadcasts(node: Expr) -> bool:
    """Whether the node's shape is the common one of its arguments."""
    return node.op.elementwise or node.op.name in _BROADCASTS


# How far below a node the origin of a size is looked for at once.
_REACH = 32
# A dimension of a tensor, or a size that a shape names.
_Origin = tuple[Expr, int] | Expr


def size_below(node: Expr) -> Expr | None:
    """`(x + y).shape[0] -> x.shape[0]`: told by an input if there is one to tell it."""
    x, dim = node.inputs[0], node.attributes["dim"]
    size = size_of(x, dim)
    return None if size is node else size


def size_of(x: Expr, dim: int) -> Expr:
    """The size of a dimension, told by an input or else by what is farthest below."""
    pending: list[tuple[Expr, int]] = [(x, dim)]
    seen = {(x, dim)}
    last: Expr | None = None
    for place in pending:
        if place[0].op is INPUT:
            return _size(*place)
        origins = _origins(*place)
        for origin in origins:
            if isinstance(origin, Expr):
                return origin
            if origin not in seen and len(seen) < _REACH:
                pending.append(origin)
                seen.add(origin)
        if last is None and not origins:
            last = _size(*place)
    return _size(*pending[-1]) if last is None else last


def _size(x: Expr, dim: int) -> Expr:
    size: Expr = x.size(dim)
    return size


def _origins(x: Expr, dim: int) -> list[_Origin]:
    """Where the size of `x` in a dimension comes from, one step below."""
    name = x.op.name
    if broadcasts(x):
        places = [(arg, dim - x.ndim + arg.ndim) for arg in x.inputs if arg.value is None]
        # An argument of size 1 there is repeated, and tells nothing.
        return [(a, d) for a, d in places if d >= 0 and a.shape[d] == x.shape[dim] != 1]
    if name in _SHAPED_AS:
        return [(x.inputs[_SHAPED_AS[name]], dim)]
    if name in _REDUCES:
        return _size_of_reduced(x, dim)
    if name == "T":
        return [(x.inputs[0], x.ndim - 1 - dim)]
    if name == "mT":
        return [(x.inputs[0], dim if x.ndim - dim > 2 else 2 * x.ndim - 3 - dim)]
    if name == "matmul":
        return _size_of_product(x, dim)
    if name == "unsqueeze":
        new = x.attributes["dim"] % x.ndim
        return [] if dim == new else [(x.inputs[0], dim - (dim > new))]
    sizes = x.attributes.get("size") or x.attributes.get("shape")
    if name in ("full", "ones", "zeros", "expand", "sum_to_size", "reshape") and sizes:
        return [sizes[dim]] if isinstance(sizes[dim], Expr) else []
    return []


def _size_of_reduced(x: Expr, dim: int) -> list[_Origin]:
    source, attributes = x.inputs[0], x.attributes
    named = attributes["dim"]
    if named is None or named == ():
        return []
    listed = (named,) if isinstance(named, int) else named
    gone = {d % source.ndim for d in listed}
    if attributes["keepdim"]:
        return [] if dim in gone else [(source, dim)]
    return [(source, [d for d in range(source.ndim) if d not in gone][dim])]


def _size_of_product(x: Expr, dim: int) -> list[_Origin]:
    left, right = pair(x)
    if left.ndim == 2 and right.ndim <= 2 and dim == 0:
        return [(left, 0)]
    if right.ndim == 2 and left.ndim in (1, 2) and dim == x.ndim - 1:
        return [(right, 1)]
    return []


def count_below(node: Expr) -> Expr | None:
    """`((x - y) ** 2).numel() -> x.numel()`, `(X @ w).numel() -> X.shape[0]`."""
    x = node.inputs[0]
    if x.op is INPUT:
        return None
    source = _input_of_count(x)
    if source is not None:
        count: Expr = source.numel()
        return count
    sizes = [size_of(x, dim) for dim, size in enumerate(x.shape) if size != 1]
    if not sizes or not all(is_op(s, "size") and s.inputs[0].op is INPUT for s in sizes):
        return None
    product = sizes[0]
    for size in sizes[1:]:
        product = infix("mul", product, size)
    return product


def _input_of_count(x: Expr) -> Expr | None:
    """An input with as many elements, found below operators that keep their number."""
    pending, seen = [x], {x}
    for node in pending:
        if node.op is INPUT:
            return node
        below: list[Expr] = []
        if broadcasts(node):
            below = [arg for arg in node.inputs if arg.value is None and arg.shape == node.shape]
        elif node.op.name in _SHAPED_AS:
            below = [node.inputs[_SHAPED_AS[node.op.name]]]
        elif node.op.name in _SAME_ELEMENTS:
            below = [node.inputs[0]]
        for arg in below:
            if arg not in seen and len(seen) < _REACH:
                pending.append(arg)
                seen.add(arg)
    return None


def symbolic_shape(node: Expr) -> tuple[Any, ...] | None:
    """The shape as symbolic sizes that don't mention the node itself; None where that can't be."""
    sizes: list[Any] = []
    for dim, known in enumerate(node.shape):
        size = size_of(node, dim)
        itself = is_op(size, "size") and size.inputs[0] is node
        if itself and known != 1:
            return None
        sizes.append(1 if known == 1 else size)
    return tuple(sizes)


REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "size": (size_below,),
    "numel": (count_below,),
}
