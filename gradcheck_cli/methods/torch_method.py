"""The gradient by torch.autograd: the validated syntax tree evaluated with PyTorch's own functions.

It never reads the graph, so that what runs is what the person wrote. Beside it only `own/` imports torch.
"""

from __future__ import annotations

import math
import warnings
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import reduce
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional
from torch.autograd import forward_ad

from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.graph import BARE, TABLE
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.gradients import Estimate, Gradients

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck_cli.lang.parse import Formula
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.spec.check import Check, InputSpec

_MODULES: dict[str, Any] = {"torch": torch, "F": torch.nn.functional, "math": math}


# What PyTorch raises where it refuses a call.
REFUSALS = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError)
# How often it is run where two runs differ, and what their range is multiplied by. The median of all results
# that could come out lies between the least and the largest of 8 but for one time in 2^7, whatever their
# distribution; to lie beyond once more that range, all 8 would err to one side by more than they differ.
RUNS, _RANGES = 8, 2.0


def out_of_memory(error: BaseException) -> bool:
    """Whether PyTorch found no memory, on a GPU or (a RuntimeError like any other) on the CPU."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: " in str(error)


def use_threads(count: int) -> None:
    """Let PyTorch's kernels use as many threads in this process."""
    torch.set_num_threads(count)


def run(case: Case) -> Gradients:
    """Value and gradients in the check's dtype on its device. Raises GradcheckError if there is no such.

    On every device but the CPU it runs twice: sums by atomic additions come in any order there. A CPU's
    kernels add in one order, but for a few that accumulate from several threads; a second run would cost as
    much as the first to learn nothing, so `repeated` is left to whoever finds the result contradicted. What
    varies by less than the allowance does no harm.
    """
    result = _once(case)
    return result if case.check.device == "cpu" else repeated(case, result)


def repeated(
    case: Case, first: Gradients, run_once: Callable[[Case], Gradients] | None = None
) -> Gradients:
    """A result held against further runs: what they differ by is the estimates' error.

    The same object where a second run gives the same bits, or where PyTorch refused. `run_once` is how it is
    run, where not by PyTorch on the expression.
    """
    if first.unavailable is not None or first.runs > 1:
        return first
    once = run_once or _once
    results = [first, once(case)]
    if _same(*results):
        return first
    while len(results) < RUNS:
        results.append(once(case))
    if any(result.unavailable is not None for result in results):
        return next(result for result in results if result.unavailable is not None)
    estimates = {
        name: replace(estimate, error=_spread([r.estimates[name].gradient for r in results]))
        for name, estimate in first.estimates.items()
    }
    values = [np.asarray(result.value) for result in results]
    return replace(
        first,
        estimates=estimates,
        value_error=_spread(values),
        runs=RUNS,
        seconds=sum(result.seconds for result in results),
    )


def _same(a: Gradients, b: Gradients) -> bool:
    return b.unavailable is None and all(
        np.array_equal(x, y, equal_nan=True) for x, y in zip(_arrays(a), _arrays(b), strict=True)
    )


def _arrays(result: Gradients) -> list[Any]:
    return [result.value, *(estimate.gradient for estimate in result.estimates.values())]


def _spread(arrays: Sequence[Any]) -> Any:
    """What one of the arrays may be off by; infinite where it is not finite in every run, or in none."""
    with np.errstate(all="ignore"):
        spread = _RANGES * (np.max(arrays, axis=0) - np.min(arrays, axis=0))
    same = np.all([(a == arrays[0]) | (np.isnan(a) & np.isnan(arrays[0])) for a in arrays], axis=0)
    return np.where(same, 0.0, np.where(np.isfinite(spread), spread, np.inf))


def _once(case: Case) -> Gradients:
    check = case.check
    device = require_device(check.device)
    start = perf_counter()
    with defaults(getattr(torch, check.dtype), device), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what matters of a warning shows in the comparison
        try:
            value, gradients = _gradients(case, device)
        except REFUSALS as error:
            if out_of_memory(error):
                raise MemoryError from error
            message = str(error).strip().partition("\n")[0][:300]
            return Gradients(
                "torch",
                unavailable=f"PyTorch {torch.__version__} refused it: {message}",
                seconds=perf_counter() - start,
            )
    estimates = {n: Estimate(to_numpy(g)) for n, g in zip(case.wrt, gradients, strict=True)}
    return Gradients("torch", estimates, to_numpy(value), seconds=perf_counter() - start)


def forward_product(case: Case, name: str, direction: Any) -> float | None:
    """<v, J u> by forward mode, u moving one input; of a second-order case, forward over reverse.

    None where PyTorch has no forward derivative of an operator in it.
    """
    check = case.check
    device = require_device(check.device)
    with (
        defaults(getattr(torch, check.dtype), device),
        warnings.catch_warnings(),
        forward_ad.dual_level(),
    ):
        warnings.simplefilter("ignore")
        try:
            leaves = _leaves(case, device)
            leaf = leaves[name]
            tangent = to_tensor(direction, leaf.dtype, device)
            leaves[name] = forward_ad.make_dual(leaf, tangent)  # type: ignore[no-untyped-call]
            value = evaluate(case, leaves)
            targets = [leaves[other] for other in case.wrt]
            if case.second is not None:
                value = _first_contracted(case, value, targets, device)
            found = forward_ad.unpack_dual(value).tangent  # type: ignore[no-untyped-call]
        except REFUSALS:
            return None
        if found is None:
            return 0.0
        return float((to_numpy(found) * case.arrays[UPSTREAM]).sum())


def _leaves(case: Case, device: torch.device) -> dict[str, torch.Tensor]:
    check = case.check
    return {spec.name: _leaf(spec, case.arrays[spec.name], check, device) for spec in check.inputs}


def _gradients(case: Case, device: torch.device) -> tuple[torch.Tensor, list[torch.Tensor]]:
    leaves = _leaves(case, device)
    value = evaluate(case, leaves)
    targets = [leaves[name] for name in case.wrt]
    upstream: torch.Tensor | None = None
    if case.second is not None and value.requires_grad:
        value = _first_contracted(case, value, targets, device)
    elif value.requires_grad:
        upstream = to_tensor(case.arrays[UPSTREAM], value.dtype, device)
    if not value.requires_grad:
        return value, [torch.zeros_like(target) for target in targets]
    found: Sequence[torch.Tensor | None] = torch.autograd.grad(
        value, targets, upstream, allow_unused=True
    )
    return value, [
        torch.zeros_like(target) if gradient is None else gradient
        for target, gradient in zip(targets, found, strict=True)
    ]


def _first_contracted(
    case: Case, value: torch.Tensor, targets: Sequence[torch.Tensor], device: torch.device
) -> torch.Tensor:
    """The gradients times the directions of a second-order case, still to be differentiated."""
    second = case.second
    assert second is not None
    upstream = to_tensor(case.arrays[second.cotangent], value.dtype, device)
    found = torch.autograd.grad(value, targets, upstream, allow_unused=True, create_graph=True)
    total = value.new_zeros(())
    for name, gradient in zip(case.wrt, found, strict=True):
        if gradient is not None:
            along = case.arrays[second.directions[name]]
            total = total + (gradient * to_tensor(along, gradient.dtype, device)).sum()
    return total


def _leaf(spec: InputSpec, array: Any, check: Check, device: torch.device) -> torch.Tensor:
    dtype = getattr(torch, spec.dtype or check.dtype)
    tensor = to_tensor(array, dtype, device)
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


def to_tensor(array: Any, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A copy, since the engine's arrays stay its own; rounded before it moves: MPS has no float64.

    In memory that PyTorch allocates, aligned as its kernels like it: elsewhere the last bits of a result may
    depend on where NumPy happened to find room, and with that on which checks ran before.
    """
    return torch.tensor(np.asarray(array, order="C")).to(dtype).to(device)


def to_numpy(tensor: torch.Tensor) -> Any:
    """A tensor's numbers in float64."""
    return np.asarray(tensor.cpu().to(torch.float64).numpy(force=True))


@contextmanager
def defaults(dtype: torch.dtype, device: torch.device) -> Iterator[None]:
    """The check's dtype and device as PyTorch's defaults, put back however the body ends.

    What a caller in Python may be within ends here: `no_grad`, `inference_mode`, `autocast`.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(mode=False))
            stack.enter_context(torch.enable_grad())
            if torch.is_autocast_enabled(device.type):
                stack.enter_context(torch.autocast(device.type, enabled=False))
            # Entering a device makes every call slower, so that it is left out where it changes nothing.
            if device.type != "cpu" or torch.get_default_device().type != "cpu":
                stack.enter_context(device)
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
