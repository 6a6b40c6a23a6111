"""Rewrites of sizes: those of an intermediate result are told by the tensors that it is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.facts import shape_giver
from gradcheck_cli.calculus.rewrites.patterns import is_op, pair
from gradcheck_cli.graph import INPUT, Expr, const, infix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
# Operators that keep the elements as they are.
SAME_ELEMENTS = frozenset(
    ["reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "T", "mT", "permute", "transpose"]
)


# Reductions that can keep their dimensions, as size 1.
KEEPING = frozenset(["sum", "mean", "var", "std", "amax", "amin", "norm", "logsumexp"])


def reduced_dims(node: Expr) -> tuple[int, ...]:
    """The dimensions that a reduction goes over, counted from the front."""
    ndim, named = node.inputs[0].ndim, node.attributes["dim"]
    if named is None or named == ():
        return tuple(range(ndim))
    return tuple(sorted(d % ndim for d in named)) if ndim else ()


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
        found = _origins(*place)
        if place[0].op is INPUT:
            if not found:
                return _size(*place)
            last = _size(*place) if last is None else last
        for origin in found:
            if isinstance(origin, Expr):
                return origin
            if origin not in seen and len(seen) < _REACH:
                pending.append(origin)
                seen.add(origin)
        if last is None and not found:
            last = _size(*place)
    return _size(*pending[-1]) if last is None else last


def origins(x: Expr, dim: int) -> list[tuple[Expr, int]]:
    """The dimensions of tensors at and below `x` that are of one size with its dimension `dim`."""
    places = [(x, dim)]
    for place in places:
        for origin in _origins(*place):
            if not isinstance(origin, Expr) and origin not in places and len(places) < _REACH:
                places.append(origin)
    return places


def _size(x: Expr, dim: int) -> Expr:
    size: Expr = x.size(dim)
    return size


def _origins(x: Expr, dim: int) -> list[_Origin]:
    """Where the size of `x` in a dimension comes from, one step below; of a name, from what it means."""
    if x.op is INPUT:
        giver = shape_giver(x)
        return [] if giver is None else [(giver, dim)]
    name = x.op.name
    if broadcasts(x):
        places = [(arg, dim - x.ndim + arg.ndim) for arg in x.inputs if arg.value is None]
        # An argument of size 1 there is repeated, and tells nothing.
        return [(a, d) for a, d in places if d >= 0 and a.shape[d] == x.shape[dim] != 1]
    if name in _SHAPED_AS:
        return [(x.inputs[_SHAPED_AS[name]], dim)]
    if name == "one_hot.counted":
        return [(x.inputs[0], dim)] if dim < x.ndim - 1 else _named(x.attributes["num_classes"])
    if name in _REDUCES:
        return _size_of_reduced(x, dim)
    if name in _OF_MATRICES:
        return _size_of_matrix_result(x, dim)
    if name == "unsqueeze":
        new = x.attributes["dim"] % x.ndim
        return [] if dim == new else [(x.inputs[0], dim - (dim > new))]
    if name == "cat":
        return _size_of_joined(x, dim)
    if name == "arange.start_step" and x.attributes["start"] == 0 and x.attributes["step"] == 1:
        return _named(x.attributes["end"])
    if name == "eye":
        rows, columns = x.attributes["n"], x.attributes["m"]
        return _named(columns if dim and columns is not None else rows)
    sizes = x.attributes.get("size") or x.attributes.get("shape")
    if name in ("full", "ones", "zeros", "expand", "sum_to_size", "reshape") and sizes:
        return _named(sizes[dim]) or _kept_by_expand(x, dim)
    return []


def _named(size: Any) -> list[_Origin]:
    if isinstance(size, Expr):
        return [size]
    return [const(size)] if isinstance(size, int) and size >= 0 else []


def _kept_by_expand(x: Expr, dim: int) -> list[_Origin]:
    """The size that `expand` leaves as it is, by -1 in its place."""
    kept = dim - x.ndim + x.inputs[0].ndim if x.op.name == "expand" else -1
    return [(x.inputs[0], kept)] if kept >= 0 and x.attributes["size"][dim] == -1 else []


def _size_of_joined(x: Expr, dim: int) -> list[_Origin]:
    if dim != x.attributes["dim"] % x.ndim:
        return [(x.inputs[0], dim)]
    total = size_of(x.inputs[0], dim)
    for piece in x.inputs[1:]:
        total = infix("add", total, size_of(piece, dim))
    return [total]


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


_OF_MATRICES = frozenset(["T", "mT", "matmul", "outer", "linalg_eigh", "diagonal", "solve"])


def _size_of_matrix_result(x: Expr, dim: int) -> list[_Origin]:
    """Of transposes and products, eigenvalues and eigenvectors, square matrices' diagonals, solutions."""
    source = x.inputs[0]
    if is_op(x, "T"):
        return [(source, x.ndim - 1 - dim)]
    if is_op(x, "mT"):
        return [(source, dim if x.ndim - dim > 2 else 2 * x.ndim - 3 - dim)]
    if is_op(x, "matmul"):
        return _size_of_product(x, dim)
    if is_op(x, "outer"):
        return [(x.inputs[dim], 0)]
    if is_op(x, "linalg_eigh"):
        return [(source, dim)]
    if is_op(x, "solve"):
        right = x.inputs[1]
        return [(right, dim)] if right.shape == x.shape else []
    square = source.ndim == 2 and source.shape[0] == source.shape[1]
    return [(source, 0)] if square and x.attributes["offset"] == 0 else []


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
    source = _input_of_count(x)
    if source is x:
        return None
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


def _input_of_count(x: Expr, *, shaped: bool = False) -> Expr | None:
    """An input with as many elements (or `shaped` alike), found below operators that keep their number."""
    for node in as_many(x, shaped=shaped):
        if node.op is INPUT and shape_giver(node) is None:
            return node
    return None


def as_many(x: Expr, *, shaped: bool = False) -> Iterator[Expr]:
    """`x`, and what is below it as far as there are as many elements; `shaped`, in the same shape."""
    pending, seen = [x], {x}
    for node in pending:
        yield node
        below: list[Expr] = []
        giver = shape_giver(node) if node.op is INPUT else None
        if giver is not None:
            below = [giver]
        elif broadcasts(node):
            below = [arg for arg in node.inputs if arg.value is None and arg.shape == node.shape]
        elif node.op.name in _SHAPED_AS:
            below = [node.inputs[_SHAPED_AS[node.op.name]]]
        elif node.op.name in SAME_ELEMENTS and not shaped:
            below = [node.inputs[0]]
        for arg in below:
            if arg not in seen and len(seen) < _REACH:
                pending.append(arg)
                seen.add(arg)


def symbolic_shape(node: Expr) -> tuple[Any, ...] | None:
    """The shape as symbolic sizes that don't mention the node itself; None where that can't be.

    Where an input has the same shape, all sizes are its.
    """
    owner = _input_of_count(node, shaped=True)
    if owner is not None:
        return tuple(owner.size(dim) for dim in range(node.ndim))
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
