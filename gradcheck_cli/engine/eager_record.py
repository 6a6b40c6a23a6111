"""What eager code records: nodes that hold the values they had, made one operation at a time.

The nodes are the graph's own. A tensor's node is not shared with an equal one of another tensor, because
gradients tell the two apart. `tensor.py` has the class that people see, `eager_backward.py` the sweep.
"""

from __future__ import annotations

import itertools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.graph import (
    INPUT,
    Expr,
    Op,
    Type,
    concrete,
    const,
    kernel_of,
    make,
    refuse_complex,
    topological,
    unshared,
)
from gradcheck_cli.ops.cast import cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from weakref import ref

    import numpy.typing as npt

    from gradcheck_cli.dtypes import DType

    Array = npt.NDArray[Any]

recording: ContextVar[bool] = ContextVar("recording", default=True)
HALVES = (dtypes.float16, dtypes.bfloat16)
NUMPY = {dtype: dtype.numpy for dtype in dtypes.BY_NAME.values()}
_numbers = itertools.count()


class Holder:
    """What a tensor holds: its values, its node, and the gradient gathered for it.

    The class that people see is made from this one in `tensor.py`; what computes needs no more of it.
    """

    __slots__ = ("__weakref__", "gathered", "held", "node")

    held: Array
    node: Recorded
    gathered: Any
    kind: ClassVar[type[Any]]

    def __init_subclass__(cls) -> None:
        Holder.kind = cls

    def as_node(self) -> Recorded:
        """The node, ready to be computed on: a freed graph has let go of the value."""
        node = self.node
        if node.data is None:
            node.data = self.held
        return node


class Recorded(Expr):
    """A tensor's own node.

    `data` is its value, None once the graph is freed; `tracked` whether a gradient flows through it;
    `freed` whether a sweep has let go of what the operator's rule needs; `owner` the tensor that
    gathers the gradient, `fn` the `grad_fn` that was handed out, both weakly held.
    """

    __slots__ = ("data", "fn", "freed", "owner", "tracked")

    data: Array | None
    fn: ref[Any] | None
    freed: bool
    owner: ref[Any] | None
    tracked: bool


def leaf(data: Array, dtype: DType, *, tracked: bool = False) -> Recorded:
    """An input under a name of its own."""
    name = (("name", f"tensor{next(_numbers)}"),)
    return _filled(unshared(Recorded, INPUT, (), name, Type(data.shape, dtype)), data, tracked)


def _filled(node: Recorded, data: Array, tracked: bool) -> Recorded:
    node.data, node.tracked = data, tracked
    node.freed, node.owner, node.fn = False, None, None
    return node


def value_of(node: Expr | None) -> Any:
    """A node's array or number. Of a freed node only the shape is asked for, which the sweep ensures."""
    if type(node) is not Recorded:
        return None if node is None else node.value
    if node.data is None:
        return np.broadcast_to(np.zeros((), NUMPY[node.dtype]), node.shape)
    return node.data


def apply(op: Op, args: Sequence[Any], attrs: Mapping[str, Any]) -> Any:
    """Compute `op` and record it, where a gradient flows.

    Gives a node, a named tuple of nodes, or a number known beforehand. Raises Invalid.
    """
    nodes = tuple([arg if arg is None or isinstance(arg, Expr) else const(arg) for arg in args])
    if op.kernel is None:
        assert op.define is not None
        if op.complex is False:
            refuse_complex(op, nodes)
        return realised(op.define(*nodes, **attrs))
    if op.scalar is not None:
        for node in nodes:
            if node is None or node.value is None:
                break
        else:
            return realised(make(op, nodes, attrs))
    return computed(op, nodes, attrs)


def computed(op: Op, nodes: tuple[Expr | None, ...], attrs: Mapping[str, Any]) -> Any:
    """One kernel run, its result recorded where a gradient flows."""
    assert op.infer is not None
    if not op.takes_complex:
        refuse_complex(op, nodes)
    types = op.infer(*nodes, **attrs)
    plain = concrete(attrs.items()) if attrs else attrs
    values = []
    tracked = False
    for node in nodes:
        value = value_of(node)
        if type(node) is Recorded:
            tracked = tracked or node.tracked
            if node.dtype is dtypes.float16:
                # As in PyTorch, half precision is computed in single and rounded after each operation.
                value = value.astype(np.float32)
        values.append(value)
    tracked = tracked and op.vjp is not None and recording.get()
    result = kernel_of(op, nodes)(*values, **plain)
    if isinstance(types, Type):
        return _recorded(op, nodes, plain, types, 0, result, tracked)
    return op.result_tuple(
        *[
            _recorded(op, nodes, plain, type_, output, one, tracked)
            for output, (type_, one) in enumerate(zip(types, result, strict=True))
        ]
    )


def _recorded(
    op: Op,
    nodes: tuple[Expr | None, ...],
    attrs: Mapping[str, Any],
    type_: Type,
    output: int,
    value: Any,
    tracked: bool,
) -> Recorded:
    dtype = type_.dtype
    if dtype.weak:
        dtype = {"b": dtypes.bool_, "i": dtypes.int64}.get(dtype.kind) or get_default_dtype()
        type_ = Type(type_.shape, dtype)
    if type(value) is not np.ndarray:
        value = np.asarray(value)
    if value.dtype != NUMPY[dtype] or dtype is dtypes.bfloat16:
        value = cast(value, dtype)
    if not tracked or dtype.kind not in "fz":
        return leaf(value, dtype)
    node = unshared(Recorded, op, nodes, tuple(attrs.items()), type_, output)
    return _filled(node, value, True)


class _Known:
    """Where the way down a new expression ends: at recorded nodes and known numbers."""

    def __contains__(self, node: object) -> bool:
        return type(node) is Recorded or getattr(node, "value", None) is not None


def realised(result: Any) -> Any:
    """An expression over recorded nodes (or several) computed and recorded, node by node.

    Numbers known beforehand become Python's.
    """
    if isinstance(result, Expr):
        return _computed_below((result,))[0]
    if hasattr(result, "_fields"):
        return type(result)(*_computed_below(result))
    if isinstance(result, (tuple, list)):
        parts = iter(_computed_below([part for part in result if isinstance(part, Expr)]))
        return tuple(next(parts) if isinstance(part, Expr) else part for part in result)
    return result


def _computed_below(roots: Sequence[Expr]) -> list[Any]:
    done: dict[Expr, Expr] = {}
    joint: dict[Any, Any] = {}
    for node in topological(roots, given=_Known()):
        if type(node) is Recorded:
            done[node] = node
        elif node.value is not None:
            done[node] = const(node.value)
        elif not node.op.outputs:
            done[node] = computed(node.op, _mapped(node.args, done), node.attributes)
        else:
            key = (node.op, node.args, node.attrs)
            if key not in joint:
                joint[key] = computed(node.op, _mapped(node.args, done), node.attributes)
            done[node] = joint[key][node.output]
    found = [done[root] for root in roots]
    return [node if node.value is None else node.value for node in found]


def _mapped(args: tuple[Expr | None, ...], done: Mapping[Expr, Expr]) -> tuple[Expr | None, ...]:
    return tuple([None if arg is None else done[arg] for arg in args])


def _identity(name: str) -> Op:
    return Op(
        schema=f"{name}(Tensor input)",
        doc="The tensor itself, as another node.",
        infer=lambda x: Type(x.shape, x.dtype),
        kernel=lambda x: x,
        vjp=lambda g, _out, _x: g,
    )


CLONE, ALIAS = _identity("clone"), _identity("alias")


def another(node: Recorded, op: Op = ALIAS) -> Recorded:
    """The same value as a node of its own, which the gradient passes through."""
    same: Recorded = computed(op, (node,), {})
    return same


# The default floating type of eager code: PyTorch's float32, where checks have float64.
_default: list[DType] = [dtypes.float32]


def get_default_dtype() -> DType:
    """The floating type of tensors made from Python's numbers."""
    return _default[0]


def set_default_dtype(dtype: DType) -> None:
    """Choose the floating type of tensors made from Python's numbers. Raises TypeError."""
    if not getattr(dtype, "is_floating", False):
        msg = f"only a floating-point dtype can be the default, not {dtype!r}"
        raise TypeError(msg)
    _default[0] = dtype


class Surroundings:
    """What holds while eager code computes: its default dtype, and no warnings from NumPy."""

    __slots__ = ("_errors", "_token")

    def __enter__(self) -> None:
        self._token = dtypes.default_dtype.set(_default[0])
        self._errors = np.errstate(all="ignore")
        self._errors.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._errors.__exit__(kind, error, traceback)
        dtypes.default_dtype.reset(self._token)


class _Mode:
    """A mode of recording, as a context manager and a decorator, with or without parentheses."""

    mode = True

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        made = super().__new__(cls)
        made._before = []
        return made if function is None else made(function)

    _before: list[bool]

    def __enter__(self) -> None:
        self._before.append(recording.get())
        recording.set(self.mode)

    def __exit__(self, *_: object) -> None:
        recording.set(self._before.pop())

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` with every call of it run in this mode."""
        from functools import wraps

        kind = type(self)

        @wraps(function)
        def in_mode(*args: Any, **kwargs: Any) -> Any:
            with kind():  # one of its own, because calls may overlap in several threads
                return function(*args, **kwargs)

        return in_mode


class no_grad(_Mode):  # noqa: N801 -- PyTorch's name
    """Within it nothing is recorded: results don't require a gradient."""

    mode = False


class enable_grad(_Mode):  # noqa: N801 -- PyTorch's name
    """Within it operations are recorded, also inside of `no_grad`."""


def is_grad_enabled() -> bool:
    """Whether operations are recorded here."""
    return recording.get()
