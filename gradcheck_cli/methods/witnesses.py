"""What a formula's numbers are held against: the rules without any rewrite, differences, and PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.engine.rounding import spread
from gradcheck_cli.graph import INPUT, Expr, rebuild, topological, variable
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.gradients import KINK, SMOOTH
from gradcheck_cli.methods.second_order import fresh, second_order

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck_cli.engine.plan import Plan
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.closed_form import Form
    from gradcheck_cli.methods.gradients import Array, Estimate

# What two right float64 computations may differ by without a look at the expression, relative to the element
# and to the largest one (sums that cancel); what is above is measured before it is judged.
_RTOL, _ATOL_OF_LARGEST = 1e-9, 1e-13
# What differences may cost, as the numeric method counts it: a few milliseconds. Beyond it they are taken
# along random directions, each of which sees every element.
_AFFORDABLE = 1e6
# Gradients of more inputs are not held against differences one by one.
_MANY = 8
_CONTRACTED = "the tangent, contracted with a cotangent,"


DIFFERENCES = "differences"


class WrongError(Exception):
    """A formula that is not right; the text says where. `against` is what it was held against."""

    def __init__(self, text: str, against: str = "") -> None:
        super().__init__(text)
        self.against = against


@dataclass(frozen=True, slots=True)
class _Difference:
    """A formula and the truth at the element where they differ most."""

    name: str
    other: str
    index: tuple[int, ...]
    value: float
    expected: float

    def __str__(self) -> str:
        at = f" at {list(self.index)}" if self.index else ""
        return f"{self.name}{at} is {self.value:.9g} by the formula, {self.expected:.9g} by {self.other}"


@dataclass(frozen=True)
class Trial:
    """A form at one point: the numbers there, those of its formulas, and the plans that they came from."""

    case: Case
    form: Form
    arrays: Mapping[str, Array]
    values: Sequence[Array]
    formulas: Plan
    truths: Plan

    @property
    def labels(self) -> tuple[str, ...]:
        """What each of the formulas is called."""
        return ("the tangent",) if self.form.kind == "tangent" else self.form.wrt

    @cached_property
    def rounding(self) -> list[Array]:
        """What rounding may make of each formula and of its truth together, measured."""
        sides = [spread(plan, self.arrays, "float64") for plan in (self.formulas, self.truths)]
        return [np.asarray(a + b) for a, b in zip(*sides, strict=True)]

    def rounding_of(self, position: int) -> Array:
        """That of one formula."""
        return self.rounding[position]

    @property
    def contracted(self) -> tuple[Array, Callable[[], Array]]:
        """The tangent times the cotangent, summed, and its rounding."""
        weight = self.arrays[UPSTREAM]
        total = np.asarray((self.values[0] * weight).sum())
        return total, lambda: np.asarray((np.abs(weight) * self.rounding[0]).sum())


def same(arrays: Mapping[str, Array], formulas: Plan, truths: Plan, labels: Sequence[str]) -> None:
    """Hold what one plan gives against what another does, one output per label. Raises WrongError."""

    def rounding(position: int) -> Array:
        sides = [spread(plan, arrays, "float64")[position] for plan in (formulas, truths)]
        return np.asarray(sides[0] + sides[1])

    pairs = zip(labels, formulas(arrays), truths(arrays), strict=True)
    for position, (label, value, truth) in enumerate(pairs):
        _hold(label, value, truth, partial(rounding, position), "the rules alone")


def by_rules(trial: Trial, exact: Sequence[Array]) -> None:
    """Hold every formula against the graph as differentiation left it. Raises WrongError."""
    pairs = zip(trial.labels, trial.values, exact, strict=True)
    for position, (label, value, truth) in enumerate(pairs):
        _hold(label, value, truth, partial(trial.rounding_of, position), "the rules alone")


def by_numbers(trial: Trial) -> bool | None:
    """Hold every formula against differences, which know no rules. Raises WrongError.

    None where they can tell nothing: at kinks, at the end of a domain, of complex numbers.
    """
    case, form = trial.case, trial.form
    if any(node.dtype.kind == "z" for node in case.variables.values()):
        return None
    from gradcheck_cli.methods.numeric_method import run

    if form.kind == "tangent":
        along = _along(case, form.directions, trial.arrays)
        total, rounding = trial.contracted
        return _confirmed(
            _CONTRACTED, total, run(along, _AFFORDABLE).estimates[along.wrt[0]], rounding
        )
    if form.kind == "gradient" and len(form.wrt) > _MANY:
        return _all_at_once(trial)
    estimates = run(_posed(trial), _AFFORDABLE).estimates
    said = [
        _confirmed(name, value, estimates[name], partial(trial.rounding_of, position))
        for position, (name, value) in enumerate(zip(form.wrt, trial.values, strict=True))
    ]
    return True if any(said) else None


def _all_at_once(trial: Trial) -> bool | None:
    """Hold all formulas of a gradient at once, along a random direction: every element has a part in it."""
    from gradcheck_cli.methods.numeric_method import run

    case, names = trial.case, trial.form.wrt
    rng = np.random.default_rng(case.check.seed)
    directions = {name: fresh(f"d{name}", case.scope) for name in names}
    drawn = {
        chosen: rng.standard_normal(case.variables[name].shape)
        for name, chosen in directions.items()
    }
    parts = [drawn[directions[name]] for name in names]
    total = sum((part * value).sum() for part, value in zip(parts, trial.values, strict=True))

    def rounding() -> Array:
        pairs = zip(parts, trial.rounding, strict=True)
        return np.asarray(sum((np.abs(part) * error).sum() for part, error in pairs))

    along = _along(case, directions, {**trial.arrays, **drawn})
    estimate = run(along, _AFFORDABLE).estimates[along.wrt[0]]
    return _confirmed("the gradient along a direction", np.asarray(total), estimate, rounding)


def by_torch(trial: Trial) -> bool | None:
    """Hold every formula against PyTorch's gradient. Raises WrongError; None where PyTorch refuses."""
    from gradcheck_cli.methods.torch_method import run

    form = trial.form
    found = run(_posed(trial))
    if found.unavailable is not None:
        return None
    gradients = {name: np.asarray(found.estimates[name].gradient) for name in form.wrt}
    if form.kind == "tangent":
        # <g, J u> = <J^T g, u>
        terms = [(gradients[n] * trial.arrays[u]).sum() for n, u in form.directions.items()]
        total, rounding = trial.contracted
        _hold(_CONTRACTED, total, np.asarray(sum(terms)), rounding, "PyTorch")
        return True
    for position, (name, value) in enumerate(zip(form.wrt, trial.values, strict=True)):
        _hold(name, value, gradients[name], partial(trial.rounding_of, position), "PyTorch")
    return True


def _posed(trial: Trial) -> Case:
    """The case whose gradient the formulas are, with the trial's directions."""
    if trial.form.kind != "hessian":
        return trial.case
    posed = second_order(trial.case)
    assert posed.second is not None
    directions = {
        chosen: trial.arrays[trial.form.directions[name]]
        for name, chosen in posed.second.directions.items()
    }
    return replace(posed, given={**posed.arrays, **directions})


def _hold(
    label: str, value: Array, truth: Array, rounding: Callable[[], Array], other: str
) -> None:
    value, truth = np.broadcast_to(value, truth.shape), np.asarray(truth)
    with np.errstate(all="ignore"):
        error = np.abs(value - truth)
        allowed = _allowed(truth)
        wrong = ~((value == truth) | (np.isnan(value) & np.isnan(truth)) | (error <= allowed))
        if wrong.any():
            wrong &= ~(error <= allowed + rounding())
    _raise_worst(label, value, truth, wrong, other)


def _allowed(truth: Array) -> Array:
    largest = np.abs(truth[np.isfinite(truth)]).max(initial=0.0)
    return np.asarray(_RTOL * np.abs(truth) + _ATOL_OF_LARGEST * largest)


def _raise_worst(label: str, value: Array, truth: Array, wrong: Array, other: str) -> None:
    if not wrong.any():
        return
    with np.errstate(all="ignore"):
        error = np.nan_to_num(np.abs(value - truth), nan=np.inf, posinf=np.inf)
    index = np.unravel_index(int(np.argmax(np.where(wrong, error, -1.0))), wrong.shape)
    shown, expected = (float(np.real(array[index])) for array in (value, truth))
    position = tuple(int(i) for i in index)
    raise WrongError(str(_Difference(label, other, position, shown, expected)), other)


def _confirmed(
    label: str, value: Array, estimate: Estimate, rounding: Callable[[], Array]
) -> bool | None:
    """Raises where an element is off by more than both sides may be; None where nothing can be told.

    At a kink any value between the one-sided derivatives is right.
    """
    probes = estimate.probes
    if probes is not None:
        along = [float((probes.direction(k) * value).sum()) for k in range(len(probes.slopes))]
        value, truth, doubt = np.array(along), np.asarray(probes.slopes), np.asarray(probes.errors)
        low = high = truth
    else:
        truth = estimate.gradient
        doubt = np.zeros(truth.shape) if estimate.error is None else estimate.error
        low = truth if estimate.low is None else estimate.low
        high = truth if estimate.high is None else estimate.high
        if estimate.places is not None:
            told = (estimate.places == SMOOTH) | (estimate.places == KINK)
            doubt = np.where(told, doubt, np.inf)
    with np.errstate(all="ignore"):
        allowed = doubt + _allowed(truth)
        told = np.isfinite(allowed) & np.isfinite(truth) & np.isfinite(value)
        least, most = np.minimum(low, high), np.maximum(low, high)
        wrong = told & ~((value >= least - allowed) & (value <= most + allowed))
        if wrong.any():
            margin = rounding() if probes is None else np.sum(rounding())
            allowed = allowed + margin
            wrong &= ~((value >= least - allowed) & (value <= most + allowed))
    _raise_worst(label, value, truth, wrong, DIFFERENCES)
    return True if told.any() else None


def _along(case: Case, directions: Mapping[str, str], arrays: Mapping[str, Array]) -> Case:
    """The expression on the line through the point along the tangents, as a function of one number.

    Its derivative at 0 is the tangent of the output contracted with the cotangent, found without any rule.
    `directions` are the names of the tangents in `arrays`, by input.
    """
    name = fresh("step", {*case.scope, *directions.values()})
    step = variable(name, ())
    moved: dict[Expr, Expr] = {}
    for node in topological([case.output], sizes=True):
        if node.op is INPUT and node.attributes["name"] in directions:
            tangent = variable(directions[node.attributes["name"]], node.shape, node.dtype)
            moved[node] = node + step * tangent
        else:
            moved[node] = rebuild(node, moved.__getitem__)
    return replace(
        case,
        check=replace(case.check, wrt=(name,)),
        variables={name: step},
        output=moved[case.output],
        given={**arrays, name: np.zeros(())},
    )
