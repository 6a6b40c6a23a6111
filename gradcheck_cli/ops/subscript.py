"""Subscripts: `x[1, ..., i]` as PyTorch defines it, taken apart into primitive nodes from left to right."""

from __future__ import annotations

from typing import Any

from gradcheck_cli import dtypes
from gradcheck_cli.graph import TABLE, Expr, make, t
from gradcheck_cli.ops.index import INDEX, SELECT, SLICE, number, require_index
from gradcheck_cli.ops.masked_select import selected
from gradcheck_cli.schema import Invalid, describe


def subscript(x: Expr, index: Any) -> Expr:
    """`x[index]`, taken apart from left to right as PyTorch does. Raises Invalid."""
    items = list(index) if isinstance(index, tuple) else [index]
    if isinstance(index, list) and any(
        isinstance(i, (list, tuple, slice, type(None))) for i in index
    ):
        msg = "this list could mean one index tensor or a tuple of indices"
        raise Invalid("GC014", msg, "write x[torch.tensor(...)], or x[i, j] without brackets")
    if len(items) == 1 and _is_mask(items[0]) and items[0].shape == x.shape:
        return selected(x, items[0])
    items = [part for item in items for part in _places(item)]
    used = sum(not (i is None or i is Ellipsis or isinstance(i, bool)) for i in items)
    if items.count(Ellipsis) > 1:
        raise Invalid("GC014", "a subscript takes `...` only once", "write `:` for the others")
    if used > x.ndim:
        many = "1 index is" if used == 1 else f"{used} indices are"
        msg = f"{many} too many for a tensor of shape {x.shape}"
        raise Invalid("GC015", msg, f"it has {x.ndim} dimension{'s' * (x.ndim != 1)}")
    skipped = x.ndim - used
    dim = 0
    tensors: dict[int, Expr] = {}
    for item in map(_item, items):
        if item is None or item is True:
            x = x.unsqueeze(dim)
            dim += 1
        elif item is False:
            x = _sliced(x.unsqueeze(dim), dim, slice(0, 0))
            dim += 1
        elif item is Ellipsis:
            dim += skipped
        elif isinstance(item, slice):
            x = _sliced(x, dim, item)
            dim += 1
        elif isinstance(item, Expr) and item.value is None:
            if item.ndim == 0:  # an integer that is known only later: as select
                x = _indexed(x, {dim: item})
            else:
                tensors[dim] = item
                dim += 1
        else:
            x = make(SELECT, (x,), {"dim": dim, "index": item})
    return _indexed(x, tensors) if tensors else x


def _is_mask(item: Any) -> bool:
    return isinstance(item, Expr) and item.value is None and item.dtype.kind == "b"


def _places(item: Any) -> tuple[Any, ...]:
    """A mask as index tensors, one for each of its dimensions; whatever else as it is."""
    if not _is_mask(item):
        return (item,)
    if not item.ndim:
        msg = "a mask without dimensions can be a subscript only where its tensor has none either"
        raise Invalid("GC015", msg, "use torch.where(mask, x, 0.0)")
    found: tuple[Expr, ...] = item.nonzero(as_tuple=True)
    return found


def _item(item: Any) -> Any:
    """One item of a subscript: lists become index tensors, literals plain numbers. Raises Invalid."""
    if isinstance(item, (list, tuple)):
        if any(isinstance(number(part), bool) for part in item):
            msg = "a list of True and False can't be a subscript here"
            raise Invalid("GC011", msg, "name the places: x[[0, 2]]")
        return t.tensor(item) if item else t.zeros(0, dtype=dtypes.int64)
    if item is None or item is Ellipsis or isinstance(item, slice):
        return item
    if isinstance(item, Expr) and item.value is None:
        require_index(item)
        return item
    return _whole(item)


def _whole(item: Any) -> Any:
    """A literal as a plain number, a symbolic size as it is. Raises Invalid (GC014)."""
    if isinstance(item, Expr) and item.value is None:
        msg = "the bounds of a slice are numbers known beforehand: a shape can't depend on values"
        raise Invalid("GC011", msg, "select elements with torch.where(mask, x, 0.0)")
    value = number(item)
    if not isinstance(value, int):
        msg = f"a subscript is whole numbers, slices, None, `...` or index tensors, not {describe(item)}"
        raise Invalid("GC014", msg)
    return item if isinstance(item, Expr) and item.args else value


def _indexed(x: Expr, tensors: dict[int, Expr]) -> Expr:
    indices = tuple(tensors.get(d) for d in range(max(tensors) + 1))
    node: Expr = make(INDEX, (x, *indices), {})
    return node


def _sliced(x: Expr, dim: int, item: slice) -> Expr:
    bounds = (item.start, item.stop, item.step)
    start, end, step = (None if bound is None else _whole(bound) for bound in bounds)
    start, step = (0 if start is None else start), (1 if step is None else step)
    if end is None and (type(start), start, type(step), step) == (int, 0, int, 1):
        return x
    node: Expr = make(SLICE, (x,), {"dim": dim, "start": start, "end": end, "step": step})
    return node


TABLE.subscript = subscript
