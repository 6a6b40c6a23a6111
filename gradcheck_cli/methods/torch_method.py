"""The gradient by torch.autograd: the validated syntax tree evaluated with PyTorch's own functions.

It never reads the graph, so that what runs is what the person wrote. The only module that imports torch.
"""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from functools import reduce
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.graph import BARE, TABLE
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.gradients import Estimate, Gradients

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck_cli.lang.parse import Formula
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.spec.check import Check, InputSpec

_MODULES: dict[str, Any] = {"torch": torch, "F": torch.nn.functional, "math": math}


def run(case: Case) -> Gradients:
    """Value and gradients in the check's dtype on its device. Raises GradcheckError if there is no such."""
    check = case.check
    device = require_device(check.device)
    start = perf_counter()
    with _defaults(getattr(torch, check.dtype), device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of a warning shows in the comparison
        try:
            value, gradients = _gradients(case, device)
        except (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError) as error:
            message = str(error).strip().partition("\n")[0][:300]
            return Gradients(
                "torch",
                unavailable=f"PyTorch {torch.__version__} refused it: {message}",
                seconds=perf_counter() - start,
            )
    estimates = {n: Estimate(_numpy(g)) for n, g in zip(case.wrt, gradients, strict=True)}
    return Gradients("torch", estimates, _numpy(value), seconds=perf_counter() - start)


def _gradients(case: Case, device: torch.device) -> tuple[torch.Tensor, list[torch.Tensor]]:
    check = case.check
    leaves = {
        spec.name: _leaf(spec, case.arrays[spec.name], check, device) for spec in check.inputs
    }
    value = evaluate(case, leaves)
    targets = [leaves[name] for name in case.wrt]
    if not value.requires_grad:
        return value, [torch.zeros_like(target) for target in targets]
    second = case.second
    cotangent = case.arrays[UPSTREAM if second is None else second.cotangent]
    upstream = _tensor(cotangent, value.dtype, device)
    found: Sequence[torch.Tensor | None] = torch.autograd.grad(
        value, targets, upstream, allow_unused=True, create_graph=second is not None
    )
    if second is not None:
        value = value.new_zeros(())
        for name, gradient in zip(case.wrt, found, strict=True):
            if gradient is not None:
                along = case.arrays[second.directions[name]]
                value = value + (gradient * _tensor(along, gradient.dtype, device)).sum()
        if not value.requires_grad:
            return value, [torch.zeros_like(target) for target in targets]
        found = torch.autograd.grad(value, targets, allow_unused=True)
    return value, [
        torch.zeros_like(target) if gradient is None else gradient
        for target, gradient in zip(targets, found, strict=True)
    ]


def _leaf(spec: InputSpec, array: Any, check: Check, device: torch.device) -> torch.Tensor:
    dtype = getattr(torch, spec.dtype or check.dtype)
    tensor = _tensor(array, dtype, device)
    return tensor.requires_grad_() if spec.name in check.wrt else tensor


def evaluate(case: Case, leaves: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The expression over tensors, `let` names first."""
    scope: dict[str, Any] = dict(leaves)
    for name, formula in case.let.items():
        scope[name] = evaluate_formula(formula, scope)
    value = evaluate_formula(case.expression, scope)
    return value if isinstance(value, torch.Tensor) else torch.tensor(value)


def evaluate_formula(formula: Formula, scope: Mapping[str, Any]) -> Any:
    """Run a validated tree. Its names are the scope's, the modules' or PyTorch's functions', no others.

    The tree has passed `parse` and `build`: nothing but calls of known operators is left in it.
    """
    namespace: dict[str, Any] = {"__builtins__": _BUILTINS, **_MODULES}
    for name in formula.names - scope.keys() - _MODULES.keys():
        namespace[name] = _bare(name)
    return eval(formula.code, namespace, dict(scope))  # noqa: S307 -- validated


# torch.tensor() itself needs to import; no validated tree can name a builtin.
_BUILTINS = {"__import__": __import__}


def _bare(name: str) -> Any:
    """The function that a name without a module means, as `TABLE.bare` has it."""
    path = next(f"{place}.{name}" for place in BARE if f"{place}.{name}" in TABLE.functions)
    module, _, rest = path.partition(".")
    return reduce(getattr, rest.split("."), _MODULES[module])


def _tensor(array: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A copy, since the engine's arrays stay its own; rounded before it moves: MPS has no float64."""
    return torch.from_numpy(np.array(array)).to(dtype).to(device)


def _numpy(tensor: torch.Tensor) -> Any:
    return np.asarray(tensor.cpu().to(torch.float64).numpy(force=True))


@contextmanager
def _defaults(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """The check's dtype and device as PyTorch's defaults, put back however the body ends."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        if device.type == "cpu":
            yield
        else:
            with device:
                yield
    finally:
        torch.set_default_dtype(before)


def require_device(name: str) -> torch.device:
    """The device called `name`. Raises GradcheckError (GC302) where there is none."""
    try:
        device = torch.device(name)
    except RuntimeError:
        message = f"`{name}` is not a device"
        hint = "use cpu, cuda, cuda:1 or mps"
        raise GradcheckError(Problem("GC302", message, hint=hint)) from None
    missing = None
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            missing = "PyTorch finds no CUDA device here"
        elif (device.index or 0) >= count:
            missing = (
                f"there {'is' if count == 1 else 'are'} only {count} CUDA device{'s' * (count > 1)}"
            )
    elif device.type == "mps" and not torch.backends.mps.is_available():
        missing = "PyTorch finds no MPS device here"
    elif device.type not in ("cpu", "cuda", "mps"):
        missing = f"gradcheck knows cpu, cuda and mps, not {device.type}"
    if missing:
        message = f"the device `{name}` is not available: {missing}"
        hint = "`gradcheck doctor` lists the devices; --device cpu always works"
        raise GradcheckError(Problem("GC302", message, hint=hint, exit_code=ExitCode.CANNOT_RUN))
    return device
