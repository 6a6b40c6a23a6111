"""Calls on tensors: what a method, a function, an operator or a subscript does, whichever it is."""

from __future__ import annotations

from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.engine.eager_array import array_of, dtype_of
from gradcheck_cli.engine.eager_record import (
    CLONE,
    Holder,
    Recorded,
    Surroundings,
    another,
    apply,
    computed,
    get_default_dtype,
    leaf,
    realised,
    recording,
)
from gradcheck_cli.graph import INPUT, TABLE, Expr, Op, const
from gradcheck_cli.lang.blame import Function, nearest
from gradcheck_cli.ops.cast import cast
from gradcheck_cli.schema import Invalid, bind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Size(tuple[int, ...]):
    """A shape."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        return int(np.prod(self, dtype=np.int64))

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"


def wrapped(result: Any) -> Any:
    """Nodes as tensors, whatever they come in."""
    if type(result) is Recorded:
        made = object.__new__(Holder.kind)
        made.held, made.node, made.gathered = result.data, result, None
        if result.tracked and result.op is INPUT:
            result.owner = ref(made)
        return made
    if isinstance(result, tuple):
        parts = [wrapped(part) for part in result]
        if hasattr(result, "_fields"):
            return type(result)(*parts)
        return Size(parts) if all(type(part) is int for part in parts) else tuple(parts)
    return result


# Calls of operators.


def _node_of(value: Any) -> Any:
    """An argument as the table's operators take it."""
    if isinstance(value, Holder):
        return value.as_node()
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (int, float, str, dtypes.DType)):
        return value
    if isinstance(value, (list, tuple)):
        parts = map(_node_of, value)
        return list(parts) if isinstance(value, list) else tuple(parts)
    if isinstance(value, slice):
        return slice(*map(_node_of, (value.start, value.stop, value.step)))
    if isinstance(value, np.ndarray):
        return leaf(*array_of(value, None))
    if isinstance(value, (type, np.dtype)):
        return dtype_of(value)
    return _on_nodes(value) if isinstance(value, FunctionType) else value


def _on_nodes(function: Callable[..., Any]) -> Callable[..., Expr]:
    """A function of tensors, such as a distance, as one of nodes."""

    def run(*nodes: Expr) -> Expr:
        found = function(*[wrapped(realised(node)) for node in nodes])
        return found.as_node() if isinstance(found, Holder) else found

    return run


def _subscripts(item: Any) -> Sequence[Any]:
    """One item of a subscript as the table's subscript takes it: a mask becomes the places it marks."""
    if isinstance(item, list) and any(isinstance(part, bool) for part in item):
        item = np.array(item)
    if isinstance(item, Holder) and item.node.dtype is dtypes.bool_:
        item = item.held
    if isinstance(item, np.ndarray) and item.dtype == bool:
        if item.ndim == 0:
            return [bool(item)]
        return [leaf(places, dtypes.int64) for places in np.nonzero(item)]
    if isinstance(item, list) and not item:
        return [leaf(np.zeros(0, np.int64), dtypes.int64)]
    if isinstance(item, list):
        return [leaf(*array_of(item, None))]
    return [_node_of(item)]


def call(name: str, overloads: Sequence[Op], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call an operator of the table on tensors. Raises TypeError, RuntimeError or IndexError."""
    with Surroundings():
        nodes = [_node_of(arg) for arg in args]
        if kwargs:
            kwargs = {key: _node_of(value) for key, value in kwargs.items()}
        failures: list[tuple[Op, Invalid]] = []
        for op in overloads:
            try:
                bound, attributes = bind(op.signature, nodes, kwargs, Expr)
            except Invalid as error:
                failures.append((op, error))
                continue
            try:
                result = apply(op, bound, attributes)
            except Invalid as error:
                kind = IndexError if "out of range" in error.message else RuntimeError
                raise kind(_told(error)) from None
            return _unwrapped_same(result, op, nodes, args)
        raise TypeError(_told(nearest(Function(name, list(overloads)), failures)[1])) from None


def _unwrapped_same(result: Any, op: Op, nodes: Sequence[Any], args: Sequence[Any]) -> Any:
    """The result as tensors. What changes nothing gives its argument itself back, as in PyTorch."""
    if type(result) is Recorded:
        for node, arg in zip(nodes, args, strict=True):
            if node is result and isinstance(arg, Holder):
                return wrapped(another(result, CLONE)) if op.name == "clone" else arg
    return wrapped(result)


def _told(error: Invalid) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def method(name: str, overloads: Sequence[Op]) -> Callable[..., Any]:
    """A method for a name in the table."""

    def bound(self: Holder, *args: Any, **kwargs: Any) -> Any:
        return call(name, overloads, (self, *args), kwargs)

    bound.__name__ = name
    bound.__qualname__ = f"Tensor.{name}"
    bound.__doc__ = "\n".join(f"{op.signature}: {op.doc}" for op in overloads)
    return bound


_NUMBERS = (int, float, np.integer, np.floating, np.bool_)


def _operand(value: Any) -> Expr | None:
    """An operand as a node; None where it is of another kind."""
    if isinstance(value, Holder):
        return value.as_node()
    kind = type(value)
    if kind is float or kind is int or kind is bool:
        return const(value)
    if isinstance(value, _NUMBERS):
        return const(value.item() if isinstance(value, np.generic) else value)
    return leaf(*array_of(value, None)) if isinstance(value, np.ndarray) else None


def operator(name: str, *, unary: bool = False, reflected: bool = False) -> Callable[..., Any]:
    """A method for an operator of Python's; NotImplemented for operands of other kinds."""
    op = TABLE.by_name[name]
    defaults = {p.name: p.default for p in op.signature.parameters if not p.is_tensor}
    run = apply if op.kernel is None else computed

    def operate(self: Holder, other: Any = None) -> Any:
        if unary:
            nodes: tuple[Expr, ...] = (self.as_node(),)
        else:
            node = _operand(other)
            if node is None:
                return NotImplemented
            nodes = (node, self.as_node()) if reflected else (self.as_node(), node)
        token = dtypes.default_dtype.set(get_default_dtype())
        try:
            with np.errstate(all="ignore"):
                return wrapped(run(op, nodes, defaults))
        except Invalid as error:
            raise RuntimeError(_told(error)) from None
        finally:
            dtypes.default_dtype.reset(token)

    operate.__doc__ = op.doc
    return operate


def in_place(symbol: str, operator: Callable[..., Any]) -> Callable[..., Any]:
    """`w -= step`: a leaf, within `no_grad`, goes on as the same leaf with new values."""

    @wraps(operator)
    def update(self: Holder, other: Any) -> Any:
        node = self.node
        if not (node.op is INPUT and node.tracked):
            return operator(self, other)
        if recording.get():
            msg = (
                "a leaf Variable that requires grad is being used in an in-place operation: "
                f"update it within no_grad(), or write x = x {symbol} y"
            )
            raise RuntimeError(msg)
        result = operator(self, other)
        if result is NotImplemented:
            return result
        found = result.node
        if found.shape != node.shape or found.dtype.kind != "f":
            msg = f"a result of shape {found.shape} and dtype {found.dtype} doesn't fit into "
            msg += f"{node.shape} and {node.dtype} in place"
            raise RuntimeError(msg)
        hold(self, cast(result.held, node.dtype), tracked=True)
        return self

    return update


def hold(holder: Holder, data: Any, *, tracked: bool) -> None:
    """Let a tensor be a new leaf; graphs recorded before keep the old one."""
    holder.held, holder.node = data, leaf(data, holder.node.dtype, tracked=tracked)
    if tracked:
        holder.node.owner = ref(holder)


def subscript(self: Holder, index: Any) -> Any:
    """`x[index]`; a mask selects, too. Raises IndexError, ValueError."""
    assert TABLE.subscript is not None
    items = index if isinstance(index, tuple) else (index,)
    with Surroundings():
        try:
            nodes = tuple([part for item in items for part in _subscripts(item)])
            own = self.as_node()
            node = realised(TABLE.subscript(own, nodes))
        except Invalid as error:
            kind = ValueError if "step" in error.message else IndexError
            raise kind(_told(error)) from None
        return wrapped(another(node) if node is own else node)
