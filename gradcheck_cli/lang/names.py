"""What names mean besides a check's own: modules, constants, dtypes, and what can't be used and why."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

from gradcheck_cli import dtypes
from gradcheck_cli.errors import did_you_mean
from gradcheck_cli.graph import TABLE
from gradcheck_cli.ops.index import DATA_DEPENDENT

if TYPE_CHECKING:
    from collections.abc import Iterable

# A module's path in the language, and where in the table of operators its functions stand.
MODULES = {
    "torch": "torch",
    "F": "F",
    "math": "math",
    "torch.linalg": "torch.linalg",
    "torch.special": "torch.special",
    "torch.fft": "torch.fft",
    "torch.masked": "torch.masked",
    "torch.nn": "torch.nn",
    "torch.nn.grad": "torch.nn.grad",
    "torch.nn.functional": "F",
}
CONSTANTS = {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan}
# Layouts of memory are known, because PyTorch's functions take them; they change no value.
MEMORY_FORMATS = frozenset(
    ["contiguous_format", "preserve_format", "channels_last", "channels_last_3d"]
)
RANDOM = frozenset(
    [
        *("rand", "randn", "randint", "randperm", "rand_like", "randn_like"),
        *("randint_like", "bernoulli", "multinomial", "normal", "poisson", "manual_seed"),
        *("seed", "gumbel_softmax", "fractional_max_pool2d", "fractional_max_pool3d"),
    ]
)
# Methods that draw into their tensor.
RANDOM_IN_PLACE = frozenset(
    [
        *("uniform_", "normal_", "bernoulli_", "exponential_", "geometric_", "cauchy_"),
        *("log_normal_", "random_", "dropout_", "rrelu_", "alpha_dropout_"),
        *("feature_alpha_dropout_",),
    ]
)
_UNINITIALISED = "its values are whatever the memory held; use torch.zeros"
_LEAVE_OUT = "leave it out: gradcheck moves the values where they are needed"
_INSTEAD = {
    "abs_": "use x.abs()",
    "backward": "leave it out: gradcheck differentiates the expression itself",
    "chalf": "NumPy has no complex numbers of half precision; use x.cfloat()",
    "cpu": _LEAVE_OUT,
    "cuda": _LEAVE_OUT,
    "data": "use x.detach()",
    "device": "leave it out: the check's `device` holds for all tensors",
    "empty": _UNINITIALISED,
    "empty_like": _UNINITIALISED,
    "float": "use x.float(); a Python number is a float where it has a decimal point",
    "grad": "a gradient is named `grad` only in manual formulas, and stands alone",
    "int": "use x.long(); numbers that follow from shapes are whole already",
    "is_cuda": _LEAVE_OUT,
    "item": "leave it out: a tensor without dimensions is used as it is",
    "jax": "write PyTorch's functions: torch.f, F.f",
    "jnp": "write PyTorch's functions: torch.f, F.f",
    "len": "use x.shape[0]",
    "new_empty": _UNINITIALISED,
    "nn": "write F.f or torch.nn.functional.f",
    "no_grad": "use x.detach()",
    "np": "write PyTorch's functions: torch.f, F.f",
    "numpy": "write PyTorch's functions: torch.f, F.f",
    "range": "use torch.arange(n)",
    "requires_grad": "say `requires_grad: true` at the input",
    "requires_grad_": "say `requires_grad: true` at the input",
    "tolist": "leave it out: tensors are used as they are",
}
_NO_FILES = "an expression reads no files and runs nothing but PyTorch's operators"
_INSTEAD |= dict.fromkeys(
    (
        *("compile", "cuda", "distributed", "hub", "jit", "load", "multiprocessing", "ops", "save"),
        *("utils", "from_file", "open", "eval", "exec", "getattr", "print"),
    ),
    _NO_FILES,
)
# Methods in place whose twin has another name.
TWINS = {"zero_": "torch.zeros_like(x)", "fill_": "torch.full_like(x, value)"}
_CATALOGUE = "`gradcheck ops` lists what can be used"


def hint_for_name(name: str, scope: Iterable[str]) -> str:
    """How to get on from an unknown name."""
    if name in _INSTEAD:
        return _INSTEAD[name]
    if name in dtypes.BY_NAME:
        return f"write torch.{name}"
    own = list(scope)
    functions = (path.rpartition(".")[2] for path in TABLE.functions)
    near = did_you_mean(name, own) or did_you_mean(name, [*functions, "torch", "F", "math"])
    return near or (f"known names are {', '.join(sorted(own)[:12])}" if own else _CATALOGUE)


def hint_for_member(module: str, name: str) -> str:
    """How to get on from something that a module doesn't have."""
    if module == "math":
        if TABLE.bare(name):
            return f"use torch.{name}(x) for tensors; the square root of a number is `n ** 0.5`"
        return f"it has {', '.join(CONSTANTS)} here"
    if module == "torch.nn":
        return (
            "layers hold parameters of their own; use the function of F, the parameters as inputs"
        )
    reason = DATA_DEPENDENT.get(name) or _INSTEAD.get(name)
    if reason is not None:
        return reason
    place = MODULES[module] + "."
    known = [path[len(place) :] for path in TABLE.functions if path.startswith(place)]
    return _elsewhere(name) or did_you_mean(name, known) or _CATALOGUE


def hint_for_method(name: str) -> str:
    """How to get on from something that a tensor doesn't have."""
    reason = DATA_DEPENDENT.get(name) or _INSTEAD.get(name)
    if reason is not None:
        return reason
    known = [*TABLE.methods, *TABLE.attributes, "shape", "ndim"]
    return _elsewhere(name) or did_you_mean(name, known) or _CATALOGUE


@cache
def known_members() -> frozenset[str]:
    """Every name that anything in the language has after a dot."""
    fields = {field for op in TABLE.by_name.values() for field in op.outputs}
    functions = {path.rpartition(".")[2] for path in TABLE.functions}
    modules = {path.rpartition(".")[2] for path in MODULES}
    others = {
        "shape",
        "ndim",
        "dtype",
        *CONSTANTS,
        *MEMORY_FORMATS,
        *dtypes.BY_NAME,
        *dtypes.ALIASES,
    }
    return frozenset({*TABLE.methods, *TABLE.attributes} | fields | functions | modules | others)


def _elsewhere(name: str) -> str | None:
    """Where the operator called `name` is to be had."""
    if name in TABLE.attributes:
        return f"it is an attribute: write x.{name}"
    for place in ("torch", "F", "torch.linalg", "torch.special", "torch.fft"):
        if f"{place}.{name}" in TABLE.functions:
            return f"it is a function: write {place}.{name}(...)"
    return f"it is a method: write x.{name}(...)" if name in TABLE.methods else None
