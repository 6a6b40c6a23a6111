"""`Tensor`, the eager face: every operation computes at once and is remembered for the backward sweep.

Names, defaults and errors are PyTorch's. Operators, methods and attributes come from the table of
operators; here stands what a tensor is besides. Values never change: what works in place in PyTorch is
refused, or makes the same tensor hold new values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self
from weakref import ref

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.engine.eager_array import array_of, dtype_of
from gradcheck_cli.engine.eager_calls import (
    Size,
    hold,
    in_place,
    method,
    operator,
    subscript,
    wrapped,
)
from gradcheck_cli.engine.eager_grad_fn import grad_fn_of
from gradcheck_cli.engine.eager_print import written
from gradcheck_cli.engine.eager_record import (
    Holder,
    another,
    get_default_dtype,
    leaf,
    recording,
)
from gradcheck_cli.errors import did_you_mean
from gradcheck_cli.graph import INPUT, TABLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.dtypes import DType
    from gradcheck_cli.engine.eager_grad_fn import GradFn
    from gradcheck_cli.engine.eager_record import Array


class Tensor(Holder):
    """An array that knows how it was computed. `tensor()` makes one from data, operations make others.

    `Tensor(data)` is `tensor(data)` in the default floating dtype.
    """

    __slots__ = ()
    # NumPy's operators leave the operation to this class.
    __array_ufunc__ = None

    gathered: Tensor | None

    def __new__(cls, data: Any = ()) -> Self:  # noqa: D102 -- as the class says
        made: Self = wrapped(leaf(*array_of(data, get_default_dtype())))
        return made

    # What it is.

    @property
    def shape(self) -> Size:
        """The size of each dimension."""
        return Size(self.node.shape)

    @property
    def dtype(self) -> DType:
        """The type of the elements."""
        return self.node.dtype

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return len(self.node.shape)

    @property
    def device(self) -> str:
        """Where it is held: always the CPU."""
        return "cpu"

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.node.op is INPUT

    @property
    def grad_fn(self) -> GradFn | None:
        """The operation that made it, as the backward sweep sees it; None for a leaf."""
        return None if self.node.op is INPUT else grad_fn_of(self.node)

    @property
    def requires_grad(self) -> bool:
        """Whether operations on it are recorded."""
        return self.node.tracked

    @requires_grad.setter
    def requires_grad(self, wanted: bool) -> None:
        self.requires_grad_(wanted)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Begin or stop recording operations on it; what is recorded already stays. Raises RuntimeError."""
        if requires_grad == self.node.tracked:
            return self
        if not self.is_leaf:
            msg = (
                "you can only change requires_grad flags of leaf variables; to use a computed one where "
                "no gradient is needed, take x.detach()"
            )
            raise RuntimeError(msg)
        if requires_grad and not self.dtype.is_floating:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        hold(self, self.held, tracked=requires_grad)
        return self

    def detach_(self) -> Tensor:
        """Forget how it was computed: from here on it is a leaf that requires no gradient."""
        hold(self, self.held, tracked=False)
        return self

    @property
    def data(self) -> Tensor:
        """The same values, detached."""
        made: Tensor = wrapped(leaf(self.held, self.dtype))
        return made

    # Gradients.

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward()` gathered here."""
        if self.gathered is None and not self.is_leaf and self.node.owner is None:
            import warnings

            msg = (
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed: backward() "
                "doesn't fill it. Call .retain_grad() on the Tensor beforehand if you want it."
            )
            warnings.warn(msg, stacklevel=2)
        return self.gathered

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                msg = f"a gradient is a Tensor or None, not {type(value).__name__}"
                raise TypeError(msg)
            if (value.shape, value.dtype) != (self.shape, self.dtype):
                msg = (
                    f"a gradient of shape {tuple(value.shape)} and dtype {value.dtype} doesn't fit a "
                    f"tensor of shape {tuple(self.shape)} and dtype {self.dtype}"
                )
                raise RuntimeError(msg)
        self.gathered = value

    def retain_grad(self) -> None:
        """Let `backward()` fill `.grad` here too, though it is no leaf. Raises RuntimeError."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        self.node.owner = ref(self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad()` was called on this non-leaf."""
        return not self.is_leaf and self.node.owner is not None

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf that it was computed from.

        `gradient` is the upstream gradient, needed where this is no scalar. The graph is freed unless
        `retain_graph` is set; with `create_graph` the gradients can be differentiated again.
        Raises RuntimeError.
        """
        from gradcheck_cli.engine.eager_grad import backward

        backward(self, gradient, retain_graph=retain_graph, create_graph=create_graph)

    def zero_(self) -> Tensor:
        """Hold zeros from here on (for `x.grad.zero_()`); recorded graphs keep the old values."""
        self._refuse_in_place()
        hold(self, np.zeros_like(self.held), tracked=self.requires_grad)
        return self

    def _refuse_in_place(self) -> None:
        if self.requires_grad and (recording.get() or not self.is_leaf):
            msg = (
                "a Tensor that requires grad can't be changed in place here: "
                "update a leaf within no_grad(), or write x = x + y"
            )
            raise RuntimeError(msg)

    # Its values.

    def numpy(self) -> Array:
        """The values as a read-only array. Raises RuntimeError where a gradient is required."""
        if self.requires_grad:
            msg = "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
            raise RuntimeError(msg)
        if self.dtype is dtypes.bfloat16:
            raise TypeError("NumPy has no bfloat16; use x.float().numpy()")
        self.held.flags.writeable = False
        return self.held.view()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def item(self) -> int | float | bool:
        """The only element as a Python number. Raises RuntimeError."""
        if self.held.size != 1:
            msg = f"a Tensor with {self.held.size} elements cannot be converted to Scalar"
            raise RuntimeError(msg)
        value: int | float | bool = self.held.item()
        return value

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self.held.tolist()

    def equal(self, other: Tensor) -> bool:
        """Whether both have the same shape and the same values."""
        return self.shape == other.shape and bool(np.array_equal(self.held, other.held))

    def allclose(
        self, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
    ) -> bool:
        """Whether every element is within `atol + rtol * |other|` of the other's."""
        return bool(np.allclose(self.held, other.held, rtol, atol, equal_nan))

    def is_floating_point(self) -> bool:
        """Whether the elements are of a floating-point type."""
        return self.dtype.is_floating

    def cpu(self) -> Tensor:
        """The tensor itself: it is on the CPU."""
        return self

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return iter([self[i] for i in range(len(self))])

    def __bool__(self) -> bool:
        if self.held.size != 1:
            many = "more than one value" if self.held.size else "no values"
            msg = f"Boolean value of Tensor with {many} is ambiguous"
            raise RuntimeError(msg)
        return bool(self.held.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.dtype.kind == "f" or self.held.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.ndim == 0 else format(repr(self), spec)

    def __repr__(self) -> str:
        shown = dtypes.int64, dtypes.bool_, get_default_dtype()
        plain = shown if self.held.size else shown[2:]
        suffixes = [] if self.dtype in plain else [f"dtype={self.dtype}"]
        if self.grad_fn is not None:
            suffixes.append(f"grad_fn=<{self.grad_fn.name()}>")
        elif self.requires_grad:
            suffixes.append("requires_grad=True")
        return written(self.held, suffixes)

    def __hash__(self) -> int:
        return id(self)

    def __copy__(self) -> Tensor:
        return self.__deepcopy__({}) if self.is_leaf else wrapped(another(self.node))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError("only Tensors that no recorded operation made can be copied deeply")
        memo[id(self)] = copied = _rebuilt(self.held, self.dtype.name, self.requires_grad)
        if self.gathered is not None:
            copied.gathered = self.gathered.__deepcopy__(memo)
        return copied

    def __reduce__(self) -> Any:
        if not self.is_leaf:
            raise RuntimeError("only Tensors that no recorded operation made can be pickled")
        return _rebuilt, (self.held, self.dtype.name, self.requires_grad)

    # Operators and subscripts.

    __add__, __radd__ = operator("add"), operator("add", reflected=True)
    __sub__, __rsub__ = operator("sub"), operator("sub", reflected=True)
    __mul__, __rmul__ = operator("mul"), operator("mul", reflected=True)
    __truediv__, __rtruediv__ = operator("div"), operator("div", reflected=True)
    __floordiv__ = operator("floor_divide")
    __rfloordiv__ = operator("floor_divide", reflected=True)
    __mod__, __rmod__ = operator("remainder"), operator("remainder", reflected=True)
    __pow__, __rpow__ = operator("pow"), operator("pow", reflected=True)
    __matmul__, __rmatmul__ = operator("matmul"), operator("matmul", reflected=True)
    __and__, __rand__ = operator("bitwise_and"), operator("bitwise_and", reflected=True)
    __or__, __ror__ = operator("bitwise_or"), operator("bitwise_or", reflected=True)
    __xor__, __rxor__ = operator("bitwise_xor"), operator("bitwise_xor", reflected=True)
    __iadd__, __isub__ = in_place("+", __add__), in_place("-", __sub__)
    __imul__, __itruediv__ = in_place("*", __mul__), in_place("/", __truediv__)
    __ipow__ = in_place("**", __pow__)
    __eq__, __ne__ = operator("eq"), operator("ne")
    __lt__, __le__ = operator("lt"), operator("le")
    __gt__, __ge__ = operator("gt"), operator("ge")
    __neg__, __pos__ = operator("neg", unary=True), operator("positive", unary=True)
    __invert__ = operator("bitwise_not", unary=True)
    __abs__ = operator("abs", unary=True)
    __getitem__ = subscript

    def __setitem__(self, index: Any, value: Any) -> None:
        msg = (
            "values of a Tensor never change, so that gradients stay right: make a new one, for example "
            "with torch.where(mask, value, x) or x.index_put((i,), value)"
        )
        raise TypeError(msg)

    def __getattr__(self, name: str) -> Any:
        """Only called where there is nothing of that name."""
        twin = name.rstrip("_")
        if name.endswith("_") and not name.startswith("_") and twin in TABLE.methods:
            msg = f"`{name}` works in place, and values of a Tensor never change: x = x.{twin}(...)"
        elif name in ("cuda", "is_cuda"):
            msg = "gradcheck's own engine runs on the CPU only"
        else:
            near = did_you_mean(name, [known for known in dir(Tensor) if known[0] != "_"])
            msg = f"a Tensor has no attribute `{name}`{f'; {near}' if near else ''}"
        raise AttributeError(msg, name=name, obj=self)


def tensor(data: Any, *, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of `data`: a number, nested lists, an array, or anything that converts to one.

    Python's floats get the default dtype (float32), whole numbers int64; arrays keep their dtype.
    Raises TypeError for what holds no numbers, ValueError for uneven lists.
    """
    if isinstance(data, Tensor):
        kind = data.dtype if dtype is None else dtype_of(dtype)
        array, kind = array_of(data.held, kind)
    else:
        array, kind = array_of(data, None if dtype is None else dtype_of(dtype))
    made: Tensor = wrapped(leaf(array, kind))
    return made.requires_grad_() if requires_grad else made


def _rebuilt(data: Array, dtype: str, requires_grad: bool) -> Tensor:
    made: Tensor = wrapped(leaf(data.copy(), dtypes.BY_NAME[dtype]))
    return made.requires_grad_(requires_grad)


def _install() -> None:
    """Give the class the methods and attributes that the table has, beside its own."""
    own = set(vars(Tensor))
    for name, overloads in TABLE.methods.items():
        if name not in own:
            setattr(Tensor, name, method(name, overloads))
    for name, op in TABLE.attributes.items():
        setattr(Tensor, name, property(method(name, [op])))


_install()
