"""Other inputs for a check, each with the property of its own that hides mistakes: what `audit` tries.

A proposal is the check with something changed, and what was changed as a piece of a spec file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.spec.samplers import SAMPLERS, bounds_problem, shape_problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.spec.check import Check, InputSpec

# What an input can be drawn from in place of what it is, the most general first; a later one is for
# functions with a domain.
_SAMPLERS: tuple[tuple[str, Mapping[str, float]], ...] = (
    ("normal", {}),
    ("uniform", {"low": -0.9, "high": 0.9}),
    ("positive", {}),
    ("uniform", {"low": 0.1, "high": 0.9}),
)
# A matrix that isn't symmetric, with a positive determinant and a small condition number.
_MATRIX: tuple[str, Mapping[str, float]] = ("lower_triangular", {})
# How many ways are tried to make two sizes differ: an input's axes may belong to another's.
_MOST_GROUPS = 24
_OTHER_SEEDS = (1, 2, 3)
# Where these aren't differentiated, other numbers would be no labels, masks or distributions.
_NATURES = frozenset({"bernoulli", "one_hot", "integers", "permutation", "simplex"})
_WIDE = 4.0
WITHOUT_TOLERANCE = "# leave `tolerance` out: the default is measured"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A check with other inputs: why the given ones hide a mistake, and the change as text for a spec."""

    reason: str
    check: Check
    fragment: str


def proposals(case: Case) -> Iterator[Proposal]:
    """Other inputs, the smallest change first; whether the right formula holds there is to be seen."""
    check = case.check
    for spec in check.inputs:
        array = np.asarray(case.arrays[spec.name])
        if (
            spec.is_floating
            and array.size
            and not (_by_nature(spec) and spec.name not in check.wrt)
        ):
            for reason in _hiding(spec, array):
                yield from _redrawn(check, spec, reason)
    if check.cotangent == "ones" and case.output.ndim:
        yield _made(check, "the cotangent is all ones", cotangent="random")
    yield from _resized(check)
    if check.tolerance is not None:
        reason = "the tolerance is wider than the difference"
        yield Proposal(reason, replace(check, tolerance=None), WITHOUT_TOLERANCE)
    sampled = any(spec.drawn for spec in check.inputs)
    if sampled:
        for step in _OTHER_SEEDS:
            reason = f"the samples of seed {check.seed} happen not to show it"
            yield _made(check, reason, seed=check.seed + step)
    yield from _wider(check)


def _by_nature(spec: InputSpec) -> bool:
    """Whether its sampler says what kind of thing it is: labels, a mask, a distribution."""
    return spec.sampler in _NATURES and spec.drawn


def _hiding(spec: InputSpec, array: Array) -> Iterator[str]:
    """The properties of an input's numbers that make different functions equal."""
    name = f"`{spec.name}`"
    values = array[np.isfinite(array)]
    if not values.size:
        return
    if (values == values[0]).all() and (array.size > 1 or values[0] in (-1.0, 0.0, 1.0)):
        every = f"every element of {name}" if array.size > 1 else name
        yield f"{every} is {values[0]:g}"
        return
    square = array.ndim >= 2 and array.shape[-1] == array.shape[-2] > 1
    if square and np.array_equal(array, np.tril(array)) and np.array_equal(array, np.triu(array)):
        yield f"{name} is diagonal"
    elif square and np.array_equal(array, array.swapaxes(-1, -2)):
        yield f"{name} is symmetric"
    elif spec.sampler == "orthogonal":
        yield f"{name} is orthogonal"
    elif square and (
        np.array_equal(array, np.tril(array)) or np.array_equal(array, np.triu(array))
    ):
        yield f"{name} is triangular"
    if (values > 0).all() or (values < 0).all():
        sign = "positive" if values[0] > 0 else "negative"
        yield f"every element of {name} is {sign}" if array.size > 1 else f"{name} is {sign}"
    elif (values >= 0).all() or (values <= 0).all():
        yield f"no element of {name} is {'negative' if values.max() > 0 else 'positive'}"
    if array.size > 1 and (values == np.round(values)).all():
        yield f"{name} holds whole numbers only"
    if spec.sampler == "simplex":
        yield f"the rows of {name} sum to 1"


def _redrawn(check: Check, spec: InputSpec, reason: str) -> Iterator[Proposal]:
    if spec.sampler == "normal" and spec.drawn and not spec.structure:
        # By chance, then: other samples of the same kind are the smallest change.
        for step in _OTHER_SEEDS:
            yield _made(check, reason, seed=check.seed + step)
    choices = list(_SAMPLERS)
    if len(spec.shape) >= 2 and spec.shape[-1] == spec.shape[-2]:
        choices.insert(1, _MATRIX)
    for sampler, given in choices:
        parameters = {**SAMPLERS[sampler].parameters, **given}
        if sampler == spec.sampler and parameters == spec.parameters and spec.structure is None:
            continue
        new = replace(
            spec,
            sampler=sampler,
            parameters=parameters,
            value=None,
            file=None,
            key=None,
            structure=None,
            avoid=spec.avoid if SAMPLERS[sampler].avoidable else None,
        )
        yield with_inputs(check, reason, [new])


def with_inputs(check: Check, reason: str, changed: Sequence[InputSpec]) -> Proposal:
    """The check with some inputs replaced."""
    by_name = {spec.name: spec for spec in changed}
    inputs = tuple(by_name.get(spec.name, spec) for spec in check.inputs)
    lines = ["inputs:", *(f"  {spec.name}: {written(spec)}" for spec in changed)]
    return Proposal(reason, replace(check, inputs=inputs), "\n".join(lines))


def _made(check: Check, reason: str, **changes: str | int) -> Proposal:
    fragment = "\n".join(f"{key}: {value}" for key, value in changes.items())
    return Proposal(reason, replace(check, **changes), fragment)  # type: ignore[arg-type]


def _resized(check: Check) -> Iterator[Proposal]:
    """Sizes of 1 made larger, and sizes that are equal made different."""
    sites = [
        (spec.name, axis, size)
        for spec in check.inputs
        if spec.drawn
        for axis, size in enumerate(spec.shape)
    ]
    used = {size for _, _, size in sites}
    fresh = next(size for size in range(2, len(used) + 3) if size not in used)
    for size in sorted(used):
        alike = [(name, axis) for name, axis, other in sites if other == size]
        if size != 1 and len(alike) < 2:
            continue
        for group in _groups(alike):
            if size == 1:
                shown = " and ".join(f"`{name}`" for name in dict.fromkeys(n for n, _ in group))
                reason = f"{shown} has a size of 1"
            else:
                (name, axis), others = group[0], [site for site in alike if site not in group]
                if not others:
                    continue
                other, of = others[0]
                reason = f"`{name}.shape[{axis}]` and `{other}.shape[{of}]` are both {size}"
            proposal = _with_sizes(check, reason, group, fresh)
            if proposal is not None:
                yield proposal


def _groups(alike: Sequence[tuple[str, int]]) -> list[Sequence[tuple[str, int]]]:
    """Which axes may have to change together: few first, all last."""
    groups: list[Sequence[tuple[str, int]]] = [[site] for site in alike]
    groups += [list(pair) for pair in combinations(alike, 2)]
    for axis in dict.fromkeys(axis for _, axis in alike):
        groups.append([site for site in alike if site[1] == axis])
    groups.append(alike)
    return groups[:_MOST_GROUPS] if len(groups) <= _MOST_GROUPS else [*groups[:_MOST_GROUPS], alike]


def _with_sizes(
    check: Check, reason: str, group: Sequence[tuple[str, int]], size: int
) -> Proposal | None:
    changed = []
    for spec in check.inputs:
        axes = {axis for name, axis in group if name == spec.name}
        if axes:
            shape = tuple(size if d in axes else old for d, old in enumerate(spec.shape))
            if shape_problem(SAMPLERS[spec.sampler], shape) is not None:
                return None
            if spec.structure is not None and shape[-1] != shape[-2]:
                return None
            changed.append(replace(spec, shape=shape))
    return with_inputs(check, reason, changed)


def _wider(check: Check) -> Iterator[Proposal]:
    """Normal samples spread further, and samples about zero: what clips or is nearly linear shows there."""
    changed = [
        replace(spec, parameters={**spec.parameters, "std": _WIDE})
        for spec in check.inputs
        if spec.sampler == "normal" and spec.drawn
    ]
    if changed:
        yield with_inputs(check, "the samples are all close to zero", changed)


def written(spec: InputSpec) -> str:
    """An input as a spec file has it.

    >>> from gradcheck_cli.errors import Source
    >>> from gradcheck_cli.spec.check import InputSpec
    >>> written(InputSpec("x", (3, 4), Source("x"), sampler="uniform", parameters={"low": -1.0}))
    '{shape: [3, 4], sample: uniform, low: -1}'
    """
    sampler = SAMPLERS[spec.sampler]
    parts = [f"shape: [{', '.join(map(str, spec.shape))}]", f"sample: {spec.sampler}"]
    for key, value in spec.parameters.items():
        if value != sampler.parameters.get(key):
            parts.append(f"{key}: {value:g}")
    if spec.dtype is not None and spec.dtype != sampler.dtype:
        parts.append(f"dtype: {spec.dtype}")
    if spec.structure is not None:
        parts.append(f"structure: {spec.structure}")
    if spec.avoid is not None:
        near = ", ".join(f"{point:g}" for point in spec.avoid.near)
        parts.append(f"avoid: {{near: [{near}], margin: {spec.avoid.margin:g}}}")
    if spec.requires_grad is not None:
        parts.append(f"requires_grad: {str(spec.requires_grad).lower()}")
    assert bounds_problem(sampler, {**sampler.parameters, **spec.parameters}) is None
    return f"{{{', '.join(parts)}}}"
