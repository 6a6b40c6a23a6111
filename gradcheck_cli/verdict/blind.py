"""Inputs on which a common mistake can't be seen: cheap tests of their numbers and shapes, for `compare`.

`gradcheck audit` finds blind spots by trying; these are the ones that can be told at a glance. Whoever wrote
no formula can have made no mistake in it, so only checks with a manual one are looked at.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import INPUT, topological
from gradcheck_cli.spec.samplers import SAMPLERS
from gradcheck_cli.verdict.outcome import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.spec.check import InputSpec

# A formula may name a size of a tensor: `x.shape[0]`.
_SIZE = re.compile(r"\b(\w+)\.shape\[(-?\d+)\]")
# Operators with two sides, of which a mask in the gradient picks one.
_SIDED = frozenset(
    {"abs", "relu", "clamp", "hardtanh", "relu6", "leaky_relu", "elu", "selu", "threshold"}
    | {"maximum", "minimum", "hardswish", "softshrink", "hardshrink", "hardsigmoid"}
)
_COMPARISONS = frozenset({"lt", "le", "gt", "ge"})
# For a symmetric matrix, the transpose in the gradient of these makes no difference.
_TRANSPOSING = frozenset(
    {"matmul", "mm", "bmm", "inverse", "linalg_inv", "solve", "linalg_solve", "det", "logdet"}
    | {"slogdet", "matrix_exp", "linalg_det", "linalg_slogdet", "inv"}
)
# These give a mean, or something like one, which is no mean of a single number.
_AVERAGES = frozenset({"mean", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "var", "std"})
# In larger checks, by chance alone, hardly anything is on one side; and looking costs more.
_MOST_ELEMENTS = 1 << 16
# A bound as small as this guards a division; whether it is ever reached is no matter.
_GUARD = 1e-2


def blind_spots(case: Case) -> tuple[Diagnosis, ...]:
    """What the check's inputs hide, of what is quick to tell: GC211 to GC215, each at most once an input."""
    check = case.check
    if not (case.manual or check.computed):
        return ()
    found: list[Diagnosis] = []
    one_sided = symmetric = single = False
    for spec in check.inputs:
        array = case.arrays[spec.name]
        if array.dtype.kind != "f" or not 1 < array.size <= _MOST_ELEMENTS:
            continue
        shape = array.shape
        single = single or 1 in shape
        low, high = float(array.min()), float(array.max())
        if low == high:
            found.append(_equal(spec, low))
        elif (low >= 0 or high <= 0) and not SAMPLERS[spec.sampler].whole:
            one_sided = True
        if len(shape) >= 2 and shape[-1] == shape[-2] > 1 and low != high:
            symmetric = symmetric or bool((array == array.swapaxes(-1, -2)).all())
    if one_sided or symmetric or single:
        found += _by_graph(case, one_sided=one_sided, symmetric=symmetric, single=single)
    found += _equal_sizes(case)
    if check.cotangent == "ones" and case.output.ndim and case.output.elements > 1:
        message = (
            "the cotangent is all ones: a formula that forgets `grad`, or sums it over a wrong axis, "
            "passes; `cotangent: random` tests the whole Jacobian"
        )
        found.append(Diagnosis("GC215", message))
    return tuple(found)


def _equal(spec: InputSpec, value: float) -> Diagnosis:
    what = {0.0: "a term with it", 1.0: "a factor of it"}.get(value, "its place")
    message = (
        f"every element of `{spec.name}` is {value:g}: a formula that forgets {what}, or mixes up "
        "elements, passes; `sample: normal` shows it"
    )
    return Diagnosis("GC212", message, spec.name)


def _by_graph(case: Case, *, one_sided: bool, symmetric: bool, single: bool) -> Iterator[Diagnosis]:
    """What needs a look at where the suspicious input goes."""
    order = topological([case.output])
    if one_sided:
        yield from _sides(case, order)
    for node in order:
        name = node.op.python_name
        if symmetric and name in _TRANSPOSING:
            for arg in node.inputs:
                of = arg.attributes["name"] if arg.op is INPUT else ""
                if of and _is_symmetric(case.arrays[of]) and _matters(case, of):
                    symmetric = False  # one is enough to say
                    message = (
                        f"`{of}` is symmetric: in the gradient of `{name}` a forgotten transpose "
                        "passes; a matrix that isn't symmetric shows it"
                    )
                    yield Diagnosis("GC214", message, of)
        if single and name in _AVERAGES and node.inputs[0].elements == node.elements:
            message = (
                f"`{name}` averages over a size of 1, where a mean is a sum: a forgotten 1/N passes; "
                "a size of 2 or more shows it"
            )
            yield Diagnosis("GC213", message)
            single = False


def _matters(case: Case, name: str) -> bool:
    """Whether a transpose matters to whoever wrote the formulas.

    A covariance is symmetric by nature, and drawn so on purpose: then only where one of it is written out.
    """
    spec = next(spec for spec in case.check.inputs if spec.name == name)
    if spec.sampler != "spd" and spec.structure != "symmetric":
        return True
    transposed = re.compile(rf"\b{re.escape(name)}(\.\w+\(\))?\.m?T\b")
    return any(transposed.search(formula.flat) for formula in case.formulas.values())


def _is_symmetric(array: Array) -> bool:
    shape = array.shape
    square = array.ndim >= 2 and shape[-1] == shape[-2] > 1
    return square and bool((array == array.swapaxes(-1, -2)).all())


def _sides(case: Case, order: Sequence[Expr]) -> Iterator[Diagnosis]:
    """The operators of which the inputs reach one side only: what masks the gradient is all true or false."""
    places: list[tuple[str, Expr]] = []
    for node in order:
        name = node.op.python_name
        if name in _COMPARISONS:
            places.append((f"`{node.op.infix}`", node))
        elif name in _SIDED and node.op.kink is not None and not _is_guard(node):
            kinks = node.op.kink(*node.args, **node.attributes)
            places += [(f"`{name}`", place) for place in kinks]
    if not places:
        return
    told: set[str] = set()
    for (what, _), value in zip(places, Plan([p for _, p in places])(case.arrays), strict=True):
        if what in told or value.size < 2:
            continue
        if value.dtype.kind == "b":
            one_side = bool(value.all() or not value.any())
        else:
            one_side = bool((value > 0).all() or (value < 0).all())
        if one_side:
            told.add(what)
            message = (
                f"all samples are on one side of {what}: a formula without its mask passes; samples "
                "of both signs (`sample: normal`) show it"
            )
            yield Diagnosis("GC211", message)


def _is_guard(node: Expr) -> bool:
    """Whether it only keeps something from zero, as `norm.clamp(min=1e-8)` does."""
    values = [arg.value for arg in node.inputs[1:]] + [value for _, value in node.attrs]
    numbers = [v for v in values if isinstance(v, float)]
    return bool(numbers) and all(0 < abs(v) <= _GUARD for v in numbers)


def _equal_sizes(case: Case) -> Iterator[Diagnosis]:
    """A formula that divides by a size which is also another of the same tensor."""
    for name, formula in case.formulas.items():
        if ".shape[" not in formula.flat:
            continue
        for owner, text in _SIZE.findall(formula.flat):
            node = case.scope.get(owner)
            axis = int(text)
            if node is None or not -node.ndim <= axis < node.ndim:
                continue
            axis %= node.ndim
            size = node.shape[axis]
            if size == node.elements and node.ndim > 1:
                other = f"{owner}.numel()"
            elif node.shape.count(size) > 1:
                taken = next(d for d, s in enumerate(node.shape) if s == size and d != axis)
                other = f"{owner}.shape[{taken}]"
            else:
                continue
            message = (
                f"`{owner}.shape[{text}]` and `{other}` are both {size}, so the formula passes with "
                "either; different sizes tell them apart"
            )
            yield Diagnosis("GC213", message, name)
            break
