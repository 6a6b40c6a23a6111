"""Rewrites of where elements stand: sizes, filled tensors, broadcasting, reductions, transposes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.patterns import as_number, filling, is_op, pair, replaced
from gradcheck_cli.graph import Expr, infix, make, rebuild, t

if TYPE_CHECKING:
    from collections.abc import Callable

# Operators whose result has the shape of their first argument.
_SAME_SHAPE = frozenset(
    [
        *("clamp", "softmax", "log_softmax", "cumsum", "cumprod", "tril", "triu", "flip", "roll"),
        *("detach", "to", "layer_norm.plain", "rms_norm.plain", "batch_norm.plain", "inverse"),
        *("cholesky", "index_put", "scatter", "scatter.value", "scatter_add", "index_add"),
        *("select_scatter", "slice_scatter", "diagonal_scatter", "zeros_like", "ones_like"),
        *("full_like", "masked_fill", "hardsigmoid", "threshold", "polygamma", "logit"),
    ]
)
# Operators that broadcast their arguments, beside those whose records say so.
_BROADCASTS = frozenset(
    [
        *("where", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_not", "div.Tensor_mode"),
        *("huber_loss.none", "smooth_l1_loss.none", "binary_cross_entropy.none"),
        *("binary_cross_entropy_with_logits.none",),
    ]
)
_REDUCES = frozenset(
    [
        *("sum", "mean", "var", "std", "logsumexp", "amax", "amin", "norm", "prod.dim", "any", "all"),
        *("argmax", "argmin"),
    ]
)
_SAME_ELEMENTS = frozenset(
    ["reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "T", "mT", "permute", "transpose"]
)


def _broadcasts(node: Expr) -> bool:
    return node.op.elementwise or node.op.name in _BROADCASTS


# Sizes: those of an intermediate result are told by the tensors that it is made of.


def size_below(node: Expr) -> Expr | None:
    """`(x + y).shape[0] -> x.shape[0]`, step by step down to the inputs."""
    return _size(node.inputs[0], node.attributes["dim"])


def _size(x: Expr, dim: int) -> Expr | None:
    if _broadcasts(x):
        for arg in x.inputs:
            d = dim - x.ndim + arg.ndim
            if arg.value is None and d >= 0 and arg.shape[d] == x.shape[dim] != 1:
                return _size_of(arg, d)
        return None
    name, attributes = x.op.name, x.attributes
    if name in _SAME_SHAPE or name == "gather":
        return _size_of(x.inputs[1 if name == "gather" else 0], dim)
    if name in _REDUCES:
        return _size_of_reduced(x, dim)
    if name in ("T", "mT"):
        return _size_of(x.inputs[0], dim if x.ndim - dim > 2 else 2 * x.ndim - 3 - dim)  # noqa: PLR2004
    if name == "matmul":
        return _size_of_product(x, dim)
    if name == "unsqueeze":
        new = attributes["dim"] % x.ndim
        return None if dim == new else _size_of(x.inputs[0], dim - (dim > new))
    sizes = attributes.get("size") or attributes.get("shape")
    if name in ("full", "ones", "zeros", "expand", "sum_to_size", "reshape") and sizes:
        return sizes[dim] if isinstance(sizes[dim], Expr) else None
    return None


def _size_of(x: Expr, dim: int) -> Expr:
    size: Expr = x.size(dim)
    return size


def _size_of_reduced(x: Expr, dim: int) -> Expr | None:
    source, attributes = x.inputs[0], x.attributes
    named = attributes["dim"]
    if named is None or named == ():
        return None
    listed = (named,) if isinstance(named, int) else named
    gone = {d % source.ndim for d in listed}
    if attributes["keepdim"]:
        return None if dim in gone else _size_of(source, dim)
    return _size_of(source, [d for d in range(source.ndim) if d not in gone][dim])


def _size_of_product(x: Expr, dim: int) -> Expr | None:
    left, right = pair(x)
    if left.ndim == 2 and dim == 0:  # noqa: PLR2004 -- rows are those of the left matrix
        return _size_of(left, 0)
    if right.ndim == 2 and left.ndim in (1, 2) and dim == x.ndim - 1:  # noqa: PLR2004
        return _size_of(right, 1)
    return None


def count_below(node: Expr) -> Expr | None:
    """`((x - y) ** 2).numel() -> x.numel()`."""
    x = node.inputs[0]
    if x.op.name in _SAME_SHAPE or x.op.name in _SAME_ELEMENTS:
        count: Expr = x.inputs[0].numel()
        return count
    if _broadcasts(x):
        for arg in x.inputs:
            if arg.value is None and arg.shape == x.shape:
                whole: Expr = arg.numel()
                return whole
    return None


def _sizes(node: Expr) -> tuple[Any, ...] | None:
    """The shape as symbolic sizes that don't mention the node itself; None where that can't be."""
    sizes: list[Any] = []
    for dim, known in enumerate(node.shape):
        size: Expr | None = _size_of(node, dim)
        while size is not None and is_op(size, "size"):
            below = size_below(size)
            if below is None:
                break
            size = below
        if size is None or (is_op(size, "size") and size.inputs[0] is node):
            if known != 1:
                return None
            sizes.append(1)
        else:
            sizes.append(size if known != 1 else 1)
    return tuple(sizes)


# Filled tensors: one canonical form, `full`, which shape operators and arithmetic keep.


def fill(node: Expr) -> Expr | None:
    """`torch.ones_like(x) -> torch.full(x.shape, 1.0)`: the canonical form."""
    value = filling(node)
    sizes = node.attributes.get("size")
    if sizes is None:
        sizes = tuple(_size_of(node.inputs[0], d) for d in range(node.ndim))
    return None if value is None else _full(sizes, value)


def _full(sizes: tuple[Any, ...], value: Any) -> Expr:
    filled: Expr = t.full(sizes, value if isinstance(value, Expr) else float(value))
    return filled


def move_filled(node: Expr) -> Expr | None:
    """A filled tensor in another shape: `torch.ones(3).unsqueeze(0) -> torch.ones(1, 3)`."""
    value = filling(node.inputs[0])
    if value is None:
        return None
    sizes = node.attributes["size"] if is_op(node, "expand") else _sizes(node)
    return None if sizes is None else _full(sizes, value)


def calculate_filled(node: Expr) -> Expr | None:
    """Arithmetic on filled tensors alone: `torch.ones(3) / n -> torch.full((3,), 1 / n)`."""
    values = [arg if arg.value is not None else filling(arg) for arg in node.inputs]
    if None in values or all(arg.value is not None for arg in node.inputs):
        return None
    sizes = _sizes(node)
    value = make(node.op, [as_number(v) for v in values], node.attributes)
    return None if sizes is None or value.value is None else _full(sizes, value)


# Broadcasting: what an operator repeats by itself needn't be repeated before.


def unbroadcast(node: Expr) -> Expr | None:
    """Operands that are broadcast anyway: `torch.ones_like(x) * y -> 1.0 * y`, `g.expand(x.shape) * x`."""
    for position, arg in enumerate(node.args):
        smaller = None if arg is None else _smaller(arg)
        if smaller is None:
            continue
        trial = replaced(node.args, position, smaller)
        if all(a is None or a.value is not None for a in trial):
            continue
        found: Expr = make(node.op, trial, node.attributes)
        if found.shape == node.shape and found.dtype is node.dtype:
            return found
    return None


def _smaller(arg: Expr) -> Expr | None:
    value = filling(arg)
    if value is not None:
        return as_number(value)
    if is_op(arg, "expand") or _leading(arg):
        return arg.inputs[0]
    if is_op(arg, "neg", "mul", "div"):  # by a number, which changes no shape
        tensors = [position for position, a in enumerate(arg.inputs) if a.value is None]
        inner = _smaller(arg.inputs[tensors[0]]) if len(tensors) == 1 else None
        if inner is not None and inner.value is None:
            made: Expr = make(arg.op, replaced(arg.args, tensors[0], inner), arg.attributes)
            return made
    return None


def _leading(x: Expr) -> bool:
    """Whether `x` is something with a first dimension put before it, as broadcasting does by itself."""
    return is_op(x, "unsqueeze") and x.attributes["dim"] % x.ndim == 0


def expand_last(node: Expr) -> Expr | None:
    """`2 * x.expand(3, 4) -> (2 * x).expand(3, 4)`: arithmetic with numbers on the smaller tensor."""
    tensors = [arg for arg in node.inputs if arg.value is None]
    if len(tensors) != 1 or not is_op(tensors[0], "expand"):
        return None
    small = tensors[0].inputs[0]
    inner: Expr = rebuild(node, lambda arg: small if arg is tensors[0] else arg)
    expanded: Expr = inner.expand(tensors[0].attributes["size"])
    return expanded


def expand(node: Expr) -> Expr | None:
    """An expansion to the shape that is there, of one already expanded, or of leading dimensions."""
    x, size = node.inputs[0], node.attributes["size"]
    if _symbolic_shape(x) == size or (x.shape == node.shape and not _mentions(size)):
        return x
    smaller = _smaller(x)
    if smaller is None or smaller.value is not None:
        return None
    wider: Expr = smaller.expand(size)
    return wider


def _symbolic_shape(x: Expr) -> tuple[Any, ...]:
    return _sizes(x) or tuple(_size_of(x, d) for d in range(x.ndim))


def _mentions(sizes: tuple[Any, ...]) -> bool:
    return any(isinstance(size, Expr) for size in sizes)


# Reductions and orders.


def sum_dims(node: Expr) -> Expr | None:
    """`x.sum_to_size(b.shape) -> x.sum(0)`: the dimensions by number."""
    x, size = node.inputs[0], node.attributes["size"]
    new = x.ndim - len(size)
    ones = [d for d in range(new, x.ndim) if node.shape[d - new] == 1 and x.shape[d] != 1]
    if not new and not ones:
        return x
    if not ones:
        return _sum(x, list(range(new)), keepdim=False)
    return None if new else _sum(x, ones, keepdim=True)


def _sum(x: Expr, dims: list[int], *, keepdim: bool) -> Expr:
    every = len(dims) == x.ndim and not keepdim
    summed: Expr = x.sum(None if every else tuple(dims), keepdim)
    return summed


def sum_without_keeping(node: Expr) -> Expr | None:
    """`x.sum(1, keepdim=True).squeeze(1) -> x.sum(1)`; also of what squeeze() drops in steps."""
    x = node.inputs[0]
    if not is_op(x, "sum") or not x.attributes["keepdim"] or x.attributes["dtype"] is not None:
        return None
    source, summed = x.inputs[0], x.attributes["dim"]
    if summed is None or node.attributes["dim"] is None:
        return None
    dims = sorted(d % source.ndim for d in summed)
    dropped = sorted(d % x.ndim for d in node.attributes["dim"])
    if dims == dropped:
        return _sum(source, dims, keepdim=False)
    return None


def squeeze_together(node: Expr) -> Expr | None:
    """`x.squeeze(2).squeeze(1) -> x.squeeze((1, 2))`."""
    inner = node.inputs[0]
    if not is_op(inner, "squeeze") or None in (inner.attributes["dim"], node.attributes["dim"]):
        return None
    source = inner.inputs[0]
    first = {d % source.ndim for d in inner.attributes["dim"]}
    if any(source.shape[d] != 1 for d in first):
        return None
    left = [d for d in range(source.ndim) if d not in first]
    second = {left[d % inner.ndim] for d in node.attributes["dim"]}
    together: Expr = source.squeeze(tuple(sorted(first | second)))
    return together


def same_shape(node: Expr) -> Expr | None:
    """A reshape to the shape that is there already, of a reshape, or that adds dimensions of size 1."""
    x, shape = node.inputs[0], node.attributes["shape"]
    if _symbolic_shape(x) == shape:
        return x
    if is_op(x, "reshape"):
        again: Expr = x.inputs[0].reshape(shape)
        return again
    if node.ndim > x.ndim and 1 not in x.shape and [s for s in node.shape if s != 1] == [*x.shape]:
        for dim in (d for d, size in enumerate(node.shape) if size == 1):
            x = x.unsqueeze(dim)
        return x
    return None


def twice_transposed(node: Expr) -> Expr | None:
    """`x.T.T -> x`, `(x.T @ y).T -> y.T @ x`."""
    inner = node.inputs[0]
    if inner.op is node.op:
        return inner.inputs[0]
    if is_op(inner, "matmul"):
        left, right = pair(inner)
        plain = left.ndim == right.ndim == inner.ndim
        if plain and (left.op is node.op or right.op is node.op):
            turned: Expr = make(node.op, (right,), {}) @ make(node.op, (left,), {})
            return turned
    return None


def slice_of_joined(node: Expr) -> Expr | None:
    """`exp(torch.cat([x, y]))[:x.shape[0]] -> exp(x)`: a piece of what was joined."""
    path: list[Expr] = []
    x = node.inputs[0]
    while x.op.elementwise and sum(arg.value is None for arg in x.inputs) == 1:
        path.append(x)
        x = next(arg for arg in x.inputs if arg.value is None)
    joined = {"slice": "cat", "select": "stack"}[node.op.name]
    if not is_op(x, joined) or x.attributes["dim"] % x.ndim != node.attributes["dim"]:
        return None
    piece = _piece(node, x)
    for step in reversed(path if piece is not None else ()):
        before = piece

        def inner(arg: Expr, before: Expr | None = before) -> Expr:
            assert before is not None
            return arg if arg.value is not None else before

        piece = rebuild(step, inner)
    return piece


def _piece(node: Expr, joined: Expr) -> Expr | None:
    """The tensor among those joined that a slice or an index picks out whole."""
    attributes = node.attributes
    if is_op(node, "select"):
        index = attributes["index"]
        inside = isinstance(index, int) and -len(joined.inputs) <= index < len(joined.inputs)
        return joined.inputs[index] if inside else None
    start: Any = 0
    for piece in joined.inputs:
        size = _size_of(piece, attributes["dim"])
        end = size if start == 0 else infix("add", start, size)
        if (start, end, 1) == (attributes["start"], attributes["end"], attributes["step"]):
            return piece
        start = end
    return None


_ARITHMETIC = (calculate_filled, unbroadcast, expand_last)
REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "size": (size_below,),
    "numel": (count_below,),
    **dict.fromkeys(("ones", "zeros", "ones_like", "zeros_like", "full_like"), (fill,)),
    **dict.fromkeys(("unsqueeze", "flatten", "permute", "transpose"), (move_filled,)),
    "reshape": (move_filled, same_shape),
    "squeeze": (move_filled, sum_without_keeping, squeeze_together),
    "T": (move_filled, twice_transposed),
    "mT": (move_filled, twice_transposed),
    "expand": (move_filled, expand),
    "sum_to_size": (sum_dims,),
    "slice": (slice_of_joined,),
    "select": (slice_of_joined,),
    **dict.fromkeys(("add", "sub", "mul", "div", "neg"), _ARITHMETIC),
    **dict.fromkeys(("pow", "where", "xlogy", "maximum", "minimum"), (unbroadcast,)),
}
