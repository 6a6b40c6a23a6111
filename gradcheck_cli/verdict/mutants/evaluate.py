"""Many formulas evaluated at once, and what their numbers say of a mistake."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.case import Case

Array = npt.NDArray[Any]

# Two formulas that differ by less than this, relative to the largest element, are the same function.
SAME = 1e-10
# Below this everywhere, a gradient is nearly right.
NEARLY = 1e-2
# As many numbers as results may hold together.
_MOST_NUMBERS = 1 << 24


def evaluate(
    nodes: Sequence[Expr], arrays: Mapping[str, Array], shape: tuple[int, ...]
) -> list[Array | None]:
    """Each node's numbers in `shape`; None where it can't be computed. Subexpressions are shared."""
    size = max(1, int(np.prod(shape, dtype=np.int64)))
    step = max(1, _MOST_NUMBERS // size)
    found: list[Array | None] = []
    for start in range(0, len(nodes), step):
        found += _together(nodes[start : start + step], arrays, shape)
    return found


def _together(
    nodes: Sequence[Expr], arrays: Mapping[str, Array], shape: tuple[int, ...]
) -> list[Array | None]:
    try:
        results = Plan(nodes, limit=memory_limit())(arrays)
        return [np.broadcast_to(np.asarray(r, np.float64), shape) for r in results]
    except (Invalid, GradcheckError, ValueError, IndexError):
        # A mutant may hold an index out of range or a matrix that isn't definite: the others are found
        # by halving.
        if len(nodes) == 1:
            return [None]
        middle = len(nodes) // 2
        first, second = nodes[:middle], nodes[middle:]
        return [*_together(first, arrays, shape), *_together(second, arrays, shape)]


def redrawn(case: Case, seed: int) -> Mapping[str, Array]:
    """The case's arrays with every floating-point input and the cotangent drawn anew.

    Whole numbers stay as they are: shapes may depend on them.
    """
    other = replace(case, check=replace(case.check, seed=seed)).arrays
    kept = {spec.name: case.arrays[spec.name] for spec in case.check.inputs if not spec.is_floating}
    return {**other, **kept}


def differ(right: Array, wrong: Array) -> bool:
    """Whether two arrays are more than rounding apart, or undefined in different places."""
    if not right.size:
        return False
    finite = np.isfinite(right)
    with np.errstate(all="ignore"):
        if not np.array_equal(finite, np.isfinite(wrong)):
            return True
        apart = np.abs(right - wrong)[finite].max(initial=0.0)
        largest = max(
            np.abs(right[finite]).max(initial=0.0), np.abs(wrong[finite]).max(initial=0.0)
        )
    return bool(apart > SAME * largest)


def codes_by_numbers(
    codes: tuple[str, ...], pairs: Sequence[tuple[Array, Array]]
) -> tuple[str, ...]:
    """What the numbers say that a mistake is, whatever was done to the formula.

    `pairs` are the right and the wrong gradient at several draws of the inputs. A factor that is the same
    at all of them is a constant factor, and so on; one that is another at each is a function of the inputs
    which has the same value everywhere, so that both names are right.
    """
    pairs = [(right, wrong) for right, wrong in pairs if np.isfinite(right).all()]
    if not pairs:
        return codes
    if any(not np.isfinite(wrong).all() for _, wrong in pairs):
        return ("GC110",)
    if all(not wrong.any() for _, wrong in pairs):
        return ("GC112",)
    found = [ratio(right, wrong) for right, wrong in pairs]
    ratios = [r for r in found if r is not None]
    if len(ratios) == len(pairs):
        first = ratios[0]
        several = len(pairs) > 1 or pairs[0][0].size > 1
        if several and all(np.isclose(r, first, rtol=1e-8, atol=0.0) for r in ratios):
            if np.isclose(first, -1.0, rtol=1e-8):
                return ("GC102",)
            near = abs(first - 1) < NEARLY or "GC111" in codes
            return ("GC111", "GC101") if near else ("GC101",)
        if pairs[0][0].size > 1 and "GC101" not in codes:
            codes = (*codes, "GC101")
    if "GC108" in codes and not any((right == wrong).any() for right, wrong in pairs):
        codes = (*codes, "GC113")  # wrong everywhere: no region, another function
    if all(_nearly(right, wrong) for right, wrong in pairs) and "GC111" not in codes:
        codes = (*codes, "GC111")
    return codes


def ratio(right: Array, wrong: Array) -> float | None:
    """The factor that one is of the other, where it is the same for all elements."""
    scale = float(np.abs(right).max(initial=0.0))
    if not scale:
        return None
    at = int(np.abs(right).argmax())
    factor = float(wrong.reshape(-1)[at] / right.reshape(-1)[at])
    apart = float(np.abs(wrong - factor * right).max())
    return factor if apart <= 1e-9 * abs(factor) * scale else None


def _nearly(right: Array, wrong: Array) -> bool:
    with np.errstate(all="ignore"):
        size = np.maximum(np.abs(right), np.abs(wrong))
        return bool((np.abs(right - wrong) <= NEARLY * size).all())


def fingerprint(arrays: Sequence[Array]) -> tuple[float, ...] | None:
    """Numbers that two formulas share where they are the same function; None where one isn't finite."""
    found: list[float] = []
    for array in arrays:
        if not np.isfinite(array).all():
            return None
        weights = np.random.default_rng(array.size).standard_normal(array.size)
        found.append(float(f"{float(array.reshape(-1) @ weights):.7e}"))
    return tuple(found)
