"""How each engine is called: from a row and its arrays to a function of no arguments.

Every call computes the value and the gradients anew, as the engine's documentation has it, and returns
`(value, gradients)` in the engine's own types. What can be done once (converting arrays, compiling) is done
before. The peers are imported here alone, and only when asked for.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np

import gradcheck_cli
from benchmarks.portfolio import PEERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.portfolio import Row

    Arrays = dict[str, NDArray[Any]]
    Call = Callable[[], tuple[Any, Any]]

OURS = "gradcheck"
_PACKAGES = {
    "torch": ("torch.nn.functional",),
    "autograd": (
        "autograd.numpy",
        "autograd.scipy.linalg",
        "autograd.scipy.signal",
        "autograd.scipy.special",
    ),
    "mygrad": ("mygrad.nnet",),
    "jax": ("jax.nn", "jax.numpy", "jax.scipy.linalg", "jax.scipy.special"),
}


def package(peer: str) -> Any:
    """The peer's package, set up as its documentation advises.

    Raises `ImportError` where it isn't installed.
    """
    found: Any = importlib.import_module(peer)
    for module in _PACKAGES[peer]:
        importlib.import_module(module)
    if peer == "mygrad":
        # "This can speed up computations involving many small tensors substantially."
        found.turn_memory_guarding_off()
    if peer == "jax":
        found.config.update("jax_enable_x64", True)
    return found


def installed() -> tuple[str, ...]:
    """The peers that can be imported."""
    return tuple(p for p in PEERS if importlib.util.find_spec(p) is not None)


def prepare(engine: str, row: Row, arrays: Arrays) -> Call:
    """A call of the engine for this row and these arrays."""
    if engine == OURS:
        compiled = gradcheck_cli.compile(row.text, wrt=row.wrt)
        return lambda: compiled(**arrays)
    function = row.of_peer(engine)
    if isinstance(function, str):
        raise NotImplementedError(function)
    # The inputs that gradients are taken of come first, in the order of `wrt`.
    assert tuple(arrays)[: len(row.wrt)] == row.wrt
    return _PREPARE[engine](package(engine), function, list(arrays.values()), len(row.wrt))


def _torch(torch: Any, function: Any, arrays: list[Any], count: int) -> Call:
    tensors = [torch.from_numpy(a) if a.ndim else torch.tensor(a) for a in arrays]
    leaves = [t.requires_grad_() for t in tensors[:count]]

    def call() -> tuple[Any, Any]:
        for leaf in leaves:
            leaf.grad = None
        value = function(torch, *tensors)
        value.backward()
        return value, [leaf.grad for leaf in leaves]

    return call


def _autograd(autograd: Any, function: Any, arrays: list[Any], count: int) -> Call:
    def forward(*inputs: Any) -> Any:
        return function(autograd, *inputs)

    differentiated = autograd.value_and_grad(forward, argnum=tuple(range(count)))
    return lambda: differentiated(*arrays)


def _mygrad(mygrad: Any, function: Any, arrays: list[Any], count: int) -> Call:
    leaves = [mygrad.tensor(a, copy=False) for a in arrays[:count]]
    inputs = [*leaves, *arrays[count:]]

    def call() -> tuple[Any, Any]:
        for leaf in leaves:
            leaf.null_grad()
        value = function(mygrad, *inputs)
        value.backward()
        return value, [leaf.grad for leaf in leaves]

    return call


def _jax(jax: Any, function: Any, arrays: list[Any], count: int) -> Call:
    def forward(*inputs: Any) -> Any:
        return function(jax, *inputs)

    differentiated = jax.jit(jax.value_and_grad(forward, argnums=tuple(range(count))))
    inputs = [jax.numpy.asarray(a) for a in arrays]
    return lambda: jax.block_until_ready(differentiated(*inputs))


_PREPARE: dict[str, Callable[[Any, Any, list[Any], int], Call]] = {
    "torch": _torch,
    "autograd": _autograd,
    "mygrad": _mygrad,
    "jax": _jax,
}


def numbers(result: tuple[Any, Any]) -> tuple[float, list[NDArray[Any]]]:
    """A call's value and gradients as NumPy has them."""
    value, gradients = result
    listed = gradients.values() if isinstance(gradients, dict) else gradients
    return float(value.item()), [np.asarray(g) for g in listed]


def versions() -> dict[str, str]:
    """The versions of what is compared, and of what it stands on."""
    names = ("numpy", "scipy", "torch", "autograd", "mygrad", "jax", "jaxlib")
    found = {OURS: gradcheck_cli.__version__}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
