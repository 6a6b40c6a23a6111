"""Rewrites of pieces: what is cut out, put back, padded, scattered, or spread by a window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.rewrites.patterns import filling, is_op, pair
from gradcheck_cli.calculus.rewrites.sizes import as_many, size_of
from gradcheck_cli.graph import TABLE, Expr, make, t

if TYPE_CHECKING:
    from collections.abc import Callable


def slice_to_end(node: Expr) -> Expr | None:
    """`x[1:x.shape[0]] -> x[1:]`."""
    x, attributes = node.inputs[0], node.attributes
    end, dim = attributes["end"], attributes["dim"]
    if not isinstance(end, Expr) or end.value != x.shape[dim] or end is not size_of(x, dim):
        return None
    if attributes["start"] == 0 and attributes["step"] == 1:
        return x
    open_end: Expr = make(node.op, node.args, {**attributes, "end": None})
    return open_end


def pad_with_zeros(node: Expr) -> Expr | None:
    """`torch.zeros_like(x).slice_scatter(y, 1, 2) -> F.pad(y, (2, 0))`, along the last dimension."""
    zeros, piece = pair(node)
    attributes = node.attributes
    start, end = attributes["start"], attributes["end"]
    last = attributes["dim"] % node.ndim == node.ndim - 1
    if filling(zeros) != 0.0 or not last or attributes["step"] != 1:
        return None
    before = start or 0
    if isinstance(before, Expr) or isinstance(end, Expr) or before < 0 or (end or -1) > 0:
        return None
    after = 0 if end is None else -end
    if before + after + piece.shape[-1] != node.shape[-1]:
        return None
    padded: Expr = t.pad(piece, (before, after))
    return padded


def cut_margins(node: Expr) -> Expr | None:
    """`F.pad(x, (-2, -1)) -> x[..., 2:-1]`: negative margins take away."""
    x, attributes = node.inputs[0], node.attributes
    pad = attributes["pad"]
    if attributes["mode"] != "constant" or not any(pad) or any(p > 0 for p in pad):
        return None
    piece = x
    for place in reversed(range(len(pad) // 2)):
        start, end = -pad[2 * place], pad[2 * place + 1] or None
        if start or end is not None:
            dim = x.ndim - 1 - place
            cut = {"dim": dim, "start": start, "end": end, "step": 1}
            piece = make(TABLE.by_name["slice"], (piece,), cut)
    return piece


def as_subscript(node: Expr) -> Expr | None:
    """`x.index_select(1, i) -> x[:, i]`."""
    x, index = node.inputs
    if index.ndim != 1 or not x.ndim:
        return None
    dim = node.attributes["dim"] % x.ndim
    return x[(*[slice(None)] * dim, index)]


def diagonal_of_one_number(node: Expr) -> Expr | None:
    """`torch.full((n,), 2.0).diag_embed() -> 2.0 * torch.eye(n)`."""
    (x,) = node.inputs
    value = filling(x)
    attributes = node.attributes
    plain = (attributes["offset"], attributes["dim1"] % 2, attributes["dim2"] % 2) == (0, 0, 1)
    if value is None or x.ndim != 1 or not plain:
        return None
    return value * t.eye(size_of(x, 0))  # type: ignore[no-any-return]


def sum_of_scattered(node: Expr) -> Expr | None:
    """`torch.zeros_like(x).scatter_add(1, i, y).sum(1) -> y.sum(1)`."""
    scattered = node.inputs[0]
    if not is_op(scattered, "scatter_add") or node.attributes["dtype"] is not None:
        return None
    zeros, index, source = scattered.inputs
    dim = scattered.attributes["dim"] % max(scattered.ndim, 1)
    over = node.attributes["dim"]
    if filling(zeros) != 0.0 or over is None or [d % scattered.ndim for d in over] != [dim]:
        return None
    rest = (*scattered.shape[:dim], *scattered.shape[dim + 1 :])
    if source.shape != index.shape or rest != (*source.shape[:dim], *source.shape[dim + 1 :]):
        return None
    if source.shape[dim] == 1:
        return source if node.attributes["keepdim"] else source.squeeze((dim,))
    return source.sum((dim,), node.attributes["keepdim"])  # type: ignore[no-any-return]


def scatter_onto(node: Expr) -> Expr | None:
    """`x + torch.zeros_like(x).scatter_add(1, i, y) -> x.scatter_add(1, i, y)`."""
    if node.attributes["alpha"] != 1:
        return None
    left, right = pair(node)
    for scattered, other in ((left, right), (right, left)):
        negative = is_op(node, "sub") and scattered is right
        if not is_op(scattered, "scatter_add") or filling(scattered.inputs[0]) != 0.0:
            continue
        _, index, source = scattered.inputs
        if other.shape == node.shape and other.dtype is node.dtype:
            base = -other if is_op(node, "sub") and scattered is left else other
            put = -source if negative else source
            return base.scatter_add(scattered.attributes["dim"], index, put)  # type: ignore[no-any-return]
    return None


# Masks that select.


def choose_selected(node: Expr) -> Expr | None:
    """`torch.zeros_like(x).masked_scatter(m, 2 * x[m]) -> torch.where(m, 2 * x, 0.0)`."""
    zeros, mask, source = node.inputs
    if filling(zeros) != 0.0 or mask.shape != node.shape:
        return None
    whole = _unselected(source, mask)
    if whole is None:
        return None
    chosen: Expr = t.where(mask, whole, 0.0)
    return chosen


_MOST_NODES = 64


def _unselected(source: Expr, mask: Expr) -> Expr | None:
    """What an expression of selected elements is made of before the selection."""
    made: dict[Expr, Expr] = {}
    stack = [source]
    while stack:
        node = stack[-1]
        if node in made:
            stack.pop()
            continue
        if is_op(node, "masked_select.known"):
            x = node.inputs[0]
            if node.inputs[1] is not mask or x.shape != mask.shape:
                return None
            made[node] = x
        elif is_op(node, "numel") and any(_selects(x, mask) for x in as_many(node.inputs[0])):
            made[node] = mask.sum()
        elif node.value is not None or not node.ndim:
            made[node] = node
        elif not node.op.elementwise or len(made) > _MOST_NODES:
            return None
        else:
            open_ = [arg for arg in node.inputs if arg not in made]
            if open_:
                stack += open_
                continue
            args: list[Any] = [None if arg is None else made[arg] for arg in node.args]
            made[node] = make(node.op, args, node.attributes)
        stack.pop()
    return made[source]


def _selects(x: Expr, mask: Expr) -> bool:
    return (
        is_op(x, "masked_select.known") and x.inputs[1] is mask and x.inputs[0].shape == mask.shape
    )


# Windows.


def spread_by_window(node: Expr) -> Expr | None:
    """`torch.nn.grad.conv1d_input(x.shape, w, g) -> F.conv_transpose1d(g, w)`, of a stride of 1."""
    weight, grad = node.inputs
    attributes = node.attributes
    if any(step != 1 for step in attributes["stride"]):
        return None
    spread = getattr(t, node.op.name.replace("_input", "").replace("conv", "conv_transpose"))
    options = {name: attributes[name] for name in ("padding", "groups", "dilation")}
    made: Expr = spread(grad, weight, **options)
    return made


REWRITES: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    "slice": (slice_to_end,),
    "slice_scatter": (pad_with_zeros,),
    "pad": (cut_margins,),
    "index_select": (as_subscript,),
    "diag_embed": (diagonal_of_one_number,),
    "sum": (sum_of_scattered,),
    "masked_scatter": (choose_selected,),
    **dict.fromkeys(("conv1d_input", "conv2d_input", "conv3d_input"), (spread_by_window,)),
}
# Taken only where the form becomes cheaper, see `cost`.
SHORTER: dict[str, tuple[Callable[[Expr], Expr | None], ...]] = {
    **dict.fromkeys(("add", "sub"), (scatter_onto,)),
}
