"""PyTorch's functions on tensors, by their names: `functions.nn.functional.softmax(x, 1)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck_cli import dtypes
from gradcheck_cli.engine import eager_record
from gradcheck_cli.engine.eager_array import dtype_of
from gradcheck_cli.engine.eager_calls import Size, call
from gradcheck_cli.engine.tensor import Tensor, tensor
from gradcheck_cli.errors import did_you_mean
from gradcheck_cli.graph import TABLE
from gradcheck_cli.lang.names import CONSTANTS, MEMORY_FORMATS, MODULES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck_cli.graph import Op

_OWN: dict[str, Any] = {
    "Size": Size,
    "Tensor": Tensor,
    "tensor": tensor,
    "equal": Tensor.equal,
    "allclose": Tensor.allclose,
    "is_floating_point": Tensor.is_floating_point,
    "no_grad": eager_record.no_grad,
    "enable_grad": eager_record.enable_grad,
    "is_grad_enabled": eager_record.is_grad_enabled,
    "get_default_dtype": eager_record.get_default_dtype,
    "set_default_dtype": eager_record.set_default_dtype,
    **CONSTANTS,
    **{name: f"torch.{name}" for name in MEMORY_FORMATS},
    **dtypes.BY_NAME,
    **dtypes.ALIASES,
}


class Functions:
    """A module of PyTorch's: its functions from the table of operators, its modules as attributes."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __getattr__(self, name: str) -> Any:
        path = f"{self._path}.{name}"
        overloads = TABLE.functions.get(f"{MODULES[self._path]}.{name}")
        if self._path == "torch" and name in _OWN:
            found = _OWN[name]
        elif path in MODULES:
            found = Functions(path)
        elif overloads:
            found = _function(name, overloads)
        else:
            near = did_you_mean(name, dir(self))
            msg = f"`{path}` is not a function that gradcheck knows{f'; {near}' if near else ''}"
            raise AttributeError(msg, name=name, obj=self)
        setattr(self, name, found)
        return found

    def __dir__(self) -> list[str]:
        place = MODULES[self._path] + "."
        names = {path[len(place) :] for path in TABLE.functions if path.startswith(place)}
        names |= {path[len(self._path) + 1 :] for path in MODULES if path.startswith(self._path)}
        own = _OWN if self._path == "torch" else ()
        return sorted({name for name in {*names, *own} if name and "." not in name})

    def __repr__(self) -> str:
        return f"<{self._path}'s functions on gradcheck's tensors>"


def _function(name: str, overloads: Sequence[Op]) -> Callable[..., Any]:
    creates = not any(op.vjp or op.define for op in overloads)

    def function(*args: Any, **kwargs: Any) -> Any:
        if "dtype" in kwargs and kwargs["dtype"] is not None:
            kwargs["dtype"] = dtype_of(kwargs["dtype"])
        if creates and "requires_grad" in kwargs:
            wanted = kwargs.pop("requires_grad")
            return call(name, overloads, args, kwargs).requires_grad_(wanted)
        return call(name, overloads, args, kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = "\n".join(f"{op.signature}: {op.doc}" for op in overloads)
    return function


functions = Functions("torch")
