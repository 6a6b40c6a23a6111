"""The gradient of code by differences of its own forward pass: all there is without an expression.

In float64 where the code takes that, else in the check's dtype, with the noise that this has. Element by
element, or along random directions where there are too many.
"""

from __future__ import annotations

from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from gradcheck_cli.engine.rounding import UNIT_ROUNDOFF
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.differences import noise_of, slopes_of
from gradcheck_cli.methods.gradients import KINK, Array, Estimate, Gradients
from gradcheck_cli.methods.implementation_method import widened
from gradcheck_cli.methods.own.calling import the_tensor
from gradcheck_cli.methods.own.evaluate import Bench
from gradcheck_cli.methods.own.failing import running
from gradcheck_cli.methods.probes import probe
from gradcheck_cli.methods.sides import Slopes
from gradcheck_cli.methods.sweep import Problem, one_by_one
from gradcheck_cli.methods.torch_method import to_numpy, to_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck_cli.methods.case import Case

# Inputs of more elements are measured along random directions.
MOST_ELEMENTS = 1024
# How often the inputs are moved by a unit of their last place to see what rounding does, and by how much more
# a result may be off than what was seen so: rounding within the code isn't seen by moving its inputs.
_DRAWS, _MORE = 4, 4.0
# Rounding of the last steps, in units of the last place of the element and of the largest one.
_LAST, _LAST_OF_LARGEST = 16.0, 4.0


def run(case: Case) -> Gradients:
    """Differences along every element of every checked input; `value` is the forward value they are of."""
    start = perf_counter()
    bench = _finest(case)
    dtype = bench.case.check.dtype
    estimates = {}
    with bench.ready() as code, torch.no_grad(), np.errstate(all="ignore"):
        tensors = bench.tensors()

        def evaluate(name: str, point: Array) -> Array:
            moved = to_tensor(point, tensors[name].dtype, bench.device)
            found = the_tensor(bench.own, code.call({**tensors, name: moved}))
            return np.asarray(to_numpy(found))

        with running(bench.own, "in its forward pass"):
            name = case.check.inputs[0].name
            value = evaluate(name, case.arrays[name])
        for name in case.wrt:
            estimates[name] = _estimate(case, name, _outside(evaluate, name, value), dtype)
    return Gradients("numeric", estimates, value, seconds=perf_counter() - start)


def _outside(
    evaluate: Callable[[str, Array], Array], name: str, value: Array
) -> Callable[[Array], Array]:
    """The function of one input; NaN where the code raises an error, as it may outside of its domain."""

    def function(point: Array) -> Array:
        try:
            found = evaluate(name, point)
        except Exception:  # noqa: BLE001 -- the code is the person's: it may raise anything
            return np.full(value.shape, np.nan)
        return found if found.shape == value.shape else np.full(value.shape, np.nan)

    return function


def _finest(case: Case) -> Bench:
    """The code in float64, or in the check's dtype where it doesn't take that."""
    if case.check.dtype == "float64" or case.check.device == "mps":
        return Bench(case)
    wide = Bench(replace(case, check=widened(case.check), given=case.arrays))
    try:
        value = wide.value(case.arrays)
    except GradcheckError:
        return Bench(case)
    return wide if value.dtype == torch.float64 else Bench(case)


def _estimate(case: Case, name: str, function: Callable[[Array], Array], dtype: str) -> Estimate:
    point = np.asarray(case.arrays[name], np.float64)
    if not point.size:
        return Estimate(np.zeros(point.shape))
    problem = Problem(function, point, np.asarray(case.arrays[UPSTREAM]))
    seed = case.check.seed

    def noise() -> Array:
        return noise_of(problem, [problem.evaluate(moved) for moved in _moved(point, dtype, seed)])

    if point.size > MOST_ELEMENTS:
        return probe(problem, seed, continued=None, noise=noise)
    measured = noise()
    parts = [
        slopes_of(problem, sweep, measured) for sweep in one_by_one(point.size, problem.weight.size)
    ]
    joined = (np.concatenate(column).reshape(point.shape) for column in zip(*parts, strict=True))
    slope, error, low, high, scale, place = Slopes(*joined)
    kinks = int(np.count_nonzero(place == KINK))
    places = place.astype(np.int8) if place.any() else None
    return Estimate(slope, error, low, high, kinks, scale, places=places)


def _moved(point: Array, dtype: str, seed: int) -> Iterator[Array]:
    """The input with every element moved by about a unit of its last place, up or down."""
    unit = 2 * UNIT_ROUNDOFF[dtype]
    for draw in range(_DRAWS):
        signs = np.random.default_rng((seed, draw)).choice((-1.0, 1.0), point.shape)
        yield point * (1 + unit * signs)


def spreads(case: Case) -> list[Array]:
    """What rounding may do to the code's value and gradients in the check's dtype, measured.

    By how much they move when all inputs do by a unit of their last place, and the rounding of the result
    itself. It stands for the error budget of an expression, where there is none.
    """
    bench = Bench(case)
    base = bench.run()
    results = [base.value, *(base.gradients[name] for name in case.wrt)]
    found = [np.zeros(array.shape) for array in results]
    dtype = case.check.dtype
    floating = [spec.name for spec in case.check.inputs if spec.is_floating]
    moves = {name: list(_moved(case.arrays[name], dtype, case.check.seed)) for name in floating}
    for draw in range(_DRAWS):
        arrays: dict[str, Any] = {**case.arrays, **{name: moves[name][draw] for name in floating}}
        try:
            ran = bench.run(arrays=arrays)
        except GradcheckError:
            continue  # outside of its domain
        for position, array in enumerate((ran.value, *(ran.gradients[n] for n in case.wrt))):
            apart = np.abs(array - results[position])
            found[position] = np.fmax(found[position], np.where(np.isfinite(apart), apart, 0.0))
    unit = UNIT_ROUNDOFF[dtype]
    made = []
    for spread, array in zip(found, results, strict=True):
        size = np.where(np.isfinite(array), np.abs(array), 0.0)
        last = _LAST * size + _LAST_OF_LARGEST * size.max(initial=0.0)
        made.append(_MORE * spread + unit * last)
    return made
