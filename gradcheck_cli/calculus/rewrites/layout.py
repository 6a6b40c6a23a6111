"""Rewrites of where elements stand: filled tensors, broadcasting, reductions, transposes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.rewrites.patterns import (
    as_number,
    filling,
    is_op,
    pair,
    replaced,
    whole,
)
from gradcheck_cli.calculus.rewrites.sizes import KEEPING, reduced_dims, symbolic_shape
from gradcheck_cli.dtypes import default_dtype
from gradcheck_cli.graph import Expr, infix, make, rebuild, t
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

# Filled tensors: one canonical form, `full`, which shape operators and arithmetic keep.


def fill(node: Expr) -> Expr | None:
    """`torch.ones_like(x) -> torch.full(x.shape, 1.0)`: the canonical form."""
    value = filling(node)
    sizes = node.attributes.get("size")
    if sizes is None:
        sizes = tuple(node.inputs[0].size(d) for d in range(node.ndim))
    return None if value is None else full_of(sizes, value)


def full_of(sizes: tuple[Any, ...], value: Any) -> Expr:
    """A tensor of one number, literal or symbolic, in the default type."""
    if not isinstance(value, Expr):
        value = float(value)
    whole = isinstance(value, Expr) and isinstance(value.value, int)
    filled: Expr = t.full(sizes, value, dtype=default_dtype.get() if whole else None)
    return filled


def move_filled(node: Expr) -> Expr | None:
    """A filled tensor in another shape: `torch.ones(3).unsqueeze(0) -> torch.ones(1, 3)`.

    Also one that repeats a tensor without dimensions.
    """
    x = node.inputs[0]
    value = filling(x)
    repeats = is_op(x, "expand") and x.inputs[0].ndim == 0
    sizes = node.attributes["size"] if is_op(node, "expand") else symbolic_shape(node)
    if sizes is None or (value is None and not repeats):
        return None
    if value is not None:
        return full_of(sizes, value)
    expanded: Expr = x.inputs[0].expand(sizes) if sizes else x.inputs[0]
    return expanded


def calculate_filled(node: Expr) -> Expr | None:
    """Arithmetic on filled tensors alone: `torch.ones(3) / n -> torch.full((3,), 1 / n)`."""
    values: list[Any] = []
    for arg in node.inputs:
        value = arg if arg.value is not None else filling(arg)
        if value is None:
            return None
        values.append(value)
    if values == [*node.inputs]:
        return None
    sizes = symbolic_shape(node)
    try:
        result = make(node.op, [as_number(v) for v in values], node.attributes)
    except Invalid:  # by a size that is zero here: tensors divide by it, numbers do not
        return None
    return None if sizes is None or result.value is None else full_of(sizes, result)


# Broadcasting: what an operator repeats by itself needn't be repeated before.


_REPEATS = frozenset(
    [
        *("full", "ones", "zeros", "ones_like", "zeros_like", "full_like", "expand", "unsqueeze"),
        *("neg", "mul", "div"),
        *KEEPING,
    ]
)


def unbroadcast(node: Expr) -> Expr | None:
    """Operands that are broadcast anyway: `torch.ones_like(x) * y -> 1.0 * y`, `g.expand(x.shape) * x`."""
    for position, arg in enumerate(node.args):
        smaller = None if arg is None else _smaller(arg)
        if smaller is None or (smaller.value is not None and is_op(node, "maximum", "minimum")):
            continue  # these two take no numbers
        trial = replaced(node.args, position, smaller)
        if all(a is None or a.value is not None for a in trial):
            continue
        found: Expr = make(node.op, trial, node.attributes)
        if found.shape == node.shape and found.dtype is node.dtype:
            return found
    return None


def _smaller(arg: Expr) -> Expr | None:
    if arg.op.name not in _REPEATS:
        return None
    value = filling(arg)
    if value is not None:
        return as_number(value)
    if is_op(arg, "expand") or _leading(arg):
        return arg.inputs[0]
    if arg.op.name in KEEPING:
        return _kept_leading(arg)
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


def _kept_leading(x: Expr) -> Expr | None:
    """`x.mean(0)` of `x.mean(0, keepdim=True)`: kept first dimensions are put back by broadcasting."""
    attributes = x.attributes
    if x.op.name not in KEEPING or not attributes["keepdim"] or not x.ndim:
        return None
    dims = reduced_dims(x)
    if dims != tuple(range(len(dims))):
        return None
    if len(dims) == x.inputs[0].ndim and not is_op(x, "logsumexp"):
        attributes["dim"] = None
    plain: Expr = make(x.op, x.args, {**attributes, "keepdim": False})
    return plain


def expand_last(node: Expr) -> Expr | None:
    """`2 * x.expand(3, 4) -> (2 * x).expand(3, 4)`: arithmetic with numbers on the smaller tensor."""
    tensors = [arg for arg in node.inputs if arg.value is None]
    if len(tensors) != 1 or not is_op(tensors[0], "expand"):
        return None
    small = tensors[0].inputs[0]
    inner: Expr = rebuild(node, lambda arg: small if arg is tensors[0] else arg)
    expanded: Expr = inner.expand(tensors[0].attributes["size"])
    return expanded


def fill_last(node: Expr) -> Expr | None:
    """`torch.full((3, 4), 2.0) / y -> (2.0 / y).expand(3, 4)`, of a smaller y."""
    left, right = pair(node)
    for position, filled in enumerate((left, right)):
        value = filling(filled)
        other = node.args[1 - position]
        if value is None or other is None or other.value is not None or filled.shape != node.shape:
            continue
        inner: Expr = make(
            node.op, replaced(node.args, position, as_number(value)), node.attributes
        )
        expanded: Expr = inner.expand(filled.attributes["size"])
        return expanded
    return None


def expand(node: Expr) -> Expr | None:
    """An expansion to the shape that is there, of one already expanded, or of leading dimensions."""
    x, size = node.inputs[0], node.attributes["size"]
    if _own_shape(x) == size or (x.shape == node.shape and not _mentions(size)):
        return x
    smaller = _smaller(x)
    if smaller is None or smaller.value is not None:
        return None
    wider: Expr = smaller.expand(size)
    return wider


def _own_shape(x: Expr) -> tuple[Any, ...]:
    return symbolic_shape(x) or tuple(x.size(d) for d in range(x.ndim))


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
    value = filling(x)
    if value is not None:
        total: Any = value if isinstance(value, Expr) else whole(float(value))
        for d in (*range(new), *ones):
            total = x.size(d) if total == 1 else total * x.size(d)
        return full_of(size, total)
    if not new:
        return _sum(x, ones, keepdim=True)
    summed = _sum(x, [*range(new), *ones], keepdim=False)
    for d in ones:
        summed = summed.unsqueeze(d - new)
    return summed


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
    if not source.ndim:  # PyTorch takes dimension 0 of a tensor that has none
        return source
    first = {d % source.ndim for d in inner.attributes["dim"]}
    if any(source.shape[d] != 1 for d in first):
        return None
    left = [d for d in range(source.ndim) if d not in first]
    second = {left[d % inner.ndim] for d in node.attributes["dim"]}
    together: Expr = source.squeeze(tuple(sorted(first | second)))
    return together


def squeeze_unsqueezed(node: Expr) -> Expr | None:
    """`x.unsqueeze(1).squeeze(1) -> x`."""
    inner = node.inputs[0]
    if not is_op(inner, "unsqueeze") or node.attributes["dim"] is None:
        return None
    new = inner.attributes["dim"] % inner.ndim
    dropped = {d % inner.ndim for d in node.attributes["dim"]}
    if new not in dropped:
        return None
    rest = tuple(sorted(d - (d > new) for d in dropped - {new}))
    squeezed: Expr = inner.inputs[0].squeeze(rest) if rest else inner.inputs[0]
    return squeezed


def same_shape(node: Expr) -> Expr | None:
    """A reshape to the shape that is there already, of a reshape, or that adds dimensions of size 1."""
    x, shape = node.inputs[0], node.attributes["shape"]
    if _own_shape(x) == shape:
        return x
    if is_op(x, "reshape"):
        again: Expr = x.inputs[0].reshape(shape)
        return again
    if node.ndim > x.ndim and 1 not in x.shape and [s for s in node.shape if s != 1] == [*x.shape]:
        for dim in (d for d, size in enumerate(node.shape) if size == 1):
            x = x.unsqueeze(dim)
        return x
    return None


def same_dtype(node: Expr) -> Expr | None:
    """A conversion to the type that is there."""
    return node.inputs[0] if node.inputs[0].dtype is node.dtype else None


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
        size = piece.size(attributes["dim"])
        end = size if start == 0 else infix("add", start, size)
        if (start, end, 1) == (attributes["start"], attributes["end"], attributes["step"]):
            return piece
        start = end
    return None


_ARITHMETIC = (calculate_filled, unbroadcast, expand_last)
REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    **dict.fromkeys(("ones", "zeros", "ones_like", "zeros_like", "full_like"), (fill,)),
    **dict.fromkeys(("unsqueeze", "flatten", "permute", "transpose"), (move_filled,)),
    "reshape": (move_filled, same_shape),
    "squeeze": (move_filled, sum_without_keeping, squeeze_unsqueezed, squeeze_together),
    "T": (move_filled,),
    "mT": (move_filled,),
    "expand": (move_filled, expand),
    "sum_to_size": (sum_dims,),
    "to": (same_dtype,),
    "slice": (slice_of_joined,),
    "select": (slice_of_joined,),
    **dict.fromkeys(("add", "sub", "mul", "div"), (*_ARITHMETIC, fill_last)),
    "neg": _ARITHMETIC,
    **dict.fromkeys(("pow", "where", "xlogy", "maximum", "minimum"), (unbroadcast,)),
}
