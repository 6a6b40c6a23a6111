"""The gradient by the person's own code: its forward and backward, in the check's dtype on its device."""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch

from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.methods.gradients import Estimate, Gradients
from gradcheck_cli.methods.own.calling import the_tensor
from gradcheck_cli.methods.own.evaluate import Bench
from gradcheck_cli.methods.torch_method import (
    REFUSALS,
    repeated,
    to_numpy,
    to_tensor,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.spec.check import Check

METHOD = "implementation"


def run(case: Case) -> Gradients:
    """Value and gradients; run several times where two runs differ, as a GPU's atomic additions do.

    Raises GradcheckError where the code fails (GC308), or can't be called with the inputs (GC032); of a
    second-order case the result is unavailable then.
    """
    if case.second is not None:
        return _second(case)
    return repeated(case, run_once(case), run_once)


def run_once(case: Case) -> Gradients:
    """One run."""
    start = perf_counter()
    ran = Bench(case).run()
    if ran.value.shape != case.output.shape:
        return Gradients(
            METHOD,
            value=ran.value,
            unavailable=f"its value has shape {ran.value.shape}, the expression's {case.output.shape}",
            seconds=perf_counter() - start,
        )
    estimates = {name: Estimate(gradient) for name, gradient in ran.gradients.items()}
    return Gradients(METHOD, estimates, ran.value, seconds=perf_counter() - start)


def _second(case: Case) -> Gradients:
    """The gradient of its gradients, which it has where its backward pass can be differentiated."""
    start = perf_counter()
    try:
        found = twice(case)
    except (*REFUSALS, GradcheckError) as error:
        message = str(error).strip().partition("\n")[0][:300]
        said = f"it has no second derivative: {message}"
        return Gradients(METHOD, unavailable=said, seconds=perf_counter() - start)
    estimates = {
        name: Estimate(np.zeros(case.variables[name].shape) if g is None else to_numpy(g))
        for name, g in zip(case.wrt, found or [None] * len(case.wrt), strict=True)
    }
    return Gradients(METHOD, estimates, seconds=perf_counter() - start)


def twice(case: Case) -> Sequence[torch.Tensor | None] | None:
    """The gradients of a second-order case; None where those of the first order don't depend on anything.

    The upstream gradient is tracked too, as in a network: else backward isn't recorded where it is
    `once_differentiable`, and no error says so. Raises what PyTorch and the code raise.
    """
    bench = Bench(case)
    second = case.second
    assert second is not None
    with bench.ready() as code:
        leaves = bench.tensors()
        for name in case.wrt:
            leaves[name].requires_grad_()
        targets = [leaves[name] for name in case.wrt]
        value = the_tensor(bench.own, code.call(leaves))
        if not value.requires_grad:
            return None
        upstream = to_tensor(case.arrays[second.cotangent], value.dtype, bench.device)
        found: Sequence[torch.Tensor | None] = torch.autograd.grad(
            value, targets, upstream.requires_grad_(), allow_unused=True, create_graph=True
        )
        total = value.new_zeros(())
        for name, gradient in zip(case.wrt, found, strict=True):
            if gradient is not None and gradient.requires_grad:
                along = case.arrays[second.directions[name]]
                total = total + (gradient * to_tensor(along, gradient.dtype, bench.device)).sum()
        if not total.requires_grad:
            return None
        # All of the graph, not only what leads to the inputs: where backward is `once_differentiable`, the
        # error that says so waits on a path that leads nowhere.
        total.backward()  # type: ignore[no-untyped-call]
        return [target.grad for target in targets]


def second_derivatives(case: Case) -> Mapping[str, Array] | None:
    """Those of a second-order case by input; None where backward is nothing that can be differentiated."""
    try:
        found = twice(case)
    except (*REFUSALS, GradcheckError):
        return None
    if found is None:
        return None
    return {
        name: np.zeros(case.variables[name].shape) if g is None else to_numpy(g)
        for name, g in zip(case.wrt, found, strict=True)
    }


def in_float64(case: Case) -> Gradients | None:
    """The same in float64 on the same device; None where the code, or the device, doesn't take that."""
    if case.check.device == "mps":
        return None
    try:
        wide = replace(case, check=widened(case.check), given=case.arrays)
        found = run_once(wide) if case.second is None else _second(wide)
    except GradcheckError:
        return None
    return None if found.unavailable is not None else found


def widened(check: Check) -> Check:
    """The check in float64, with all of its inputs: code stays on the device that it is for."""
    inputs = tuple(
        replace(spec, dtype="float64" if spec.is_floating else spec.dtype) for spec in check.inputs
    )
    return replace(check, dtype="float64", inputs=inputs)
