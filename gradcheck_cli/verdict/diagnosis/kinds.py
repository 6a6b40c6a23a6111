"""What the numbers say that a mistake is, whatever change of the formula undoes it.

A constant ratio is a constant factor, however it came about; and what is wrong only where a mask, a branch
or a bound decides is wrong in a region.
"""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.graph import INPUT, Expr
from gradcheck_cli.verdict.diagnosis.gaps import fits_into, target
from gradcheck_cli.verdict.diagnosis.guesses import called, decides, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.lang.edits import Change
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

Array = npt.NDArray[Any]

# Ratios of rounded numbers are equal up to this; one so near to 1 comes of a number that was rounded.
_EQUAL, _NEAR_ONE = 1e-8, 1e-2
# An element that differs by less than this of itself, and of the largest, is right.
_SAME = 1e-9
# What is said of numbers as they are: nothing to be added.
_SETTLED = frozenset({"GC101", "GC110", "GC111", "GC112", "GC199"})
# What holds in a region already, and hypotheses of calculus, which no region explains.
_NO_REGION = frozenset({"GC107", "GC108", "GC110", "GC111", "GC112", "GC199"})
# What says more than that a mask is wrong.
_SAYS_MORE = frozenset({"GC102", "GC103", "GC104", "GC109"})


def told(suspect: Suspect, finding: Finding) -> Finding:
    """The finding with the code and the words that the numbers ask for."""
    if suspect.draft is None or not finding.changes:
        return finding
    factor = suspect.once(ratio)
    if factor is not None:
        return _as_factor(finding, factor)
    if finding.code in _NO_REGION:
        return finding
    regions = [_region(suspect.draft, change) for change in finding.changes]
    if any(region is None for region in regions) or not suspect.once(is_right_somewhere):
        return finding
    deciding = any(decides(suspect.draft, change.node) for change in finding.changes)
    if deciding and finding.code in _SAYS_MORE:
        return finding
    masks = [mask for change in finding.changes if (mask := _mask(suspect.draft, change.node))]
    if any(not _is_confined(suspect, *mask) for mask in masks):
        return finding
    return replace(finding, code="GC108", message=f"{regions[0]}: {finding.message}")


def _as_factor(finding: Finding, factor: float) -> Finding:
    if finding.code in _SETTLED:
        return finding
    if math.isclose(factor, -1.0, rel_tol=_EQUAL):
        if finding.code == "GC102":
            return finding
        return replace(finding, code="GC102", message=f"the sign is flipped: {finding.message}")
    code = "GC111" if abs(factor - 1) <= _NEAR_ONE else "GC101"
    message = finding.message
    if "constant factor" not in message:
        message = f"off by a constant factor: {message}"
    return replace(finding, code=code, message=message)


def ratio(suspect: Suspect) -> float | None:
    """The right gradient over the person's, where that is one number at both draws; else None."""
    again = suspect.again
    here = _ratio(suspect.gradient, target(suspect))
    if here is None or again is None or again.gradient is None:
        return None
    there = _ratio(np.asarray(again.gradient, np.float64), again.truth)
    same = there is not None and math.isclose(here, there, rel_tol=_EQUAL)
    return here if same else None


def _ratio(wrong: Array, right: Array) -> float | None:
    if not wrong.size or not (np.isfinite(wrong).all() and np.isfinite(right).all()):
        return None
    wrong = np.broadcast_to(wrong, right.shape)
    at = int(np.abs(right).argmax())
    largest, own = float(right.flat[at]), float(wrong.flat[at])
    if not largest or not own:
        return None
    apart = np.abs(right - largest / own * wrong)
    return largest / own if bool((apart <= _SAME * abs(largest)).all()) else None


def is_right_somewhere(suspect: Suspect) -> bool:
    """Whether some elements that aren't zero are right, and others aren't."""
    wrong, right = suspect.gradient, target(suspect)
    same = _same(wrong, right)
    return bool((same & (right != 0)).any()) and not same.all()


def _same(wrong: Array, right: Array) -> Array:
    with np.errstate(all="ignore"):
        largest = float(np.abs(right[np.isfinite(right)]).max(initial=0.0))
        return np.asarray(np.abs(wrong - right) <= _SAME * (np.abs(right) + 1e-3 * largest))


def _region(draft: Draft, change: Change) -> str | None:
    """In what region a change matters, in words; None where it matters everywhere."""
    if decides(draft, change.node):
        return "wrong only in a region"
    branch = _branch(draft, change.node)
    if branch is not None:
        return f"wrong only where {branch}"
    gone = list(_gone(draft, change))
    tensors = [tensor for tensor in map(draft.tensor, gone) if tensor is not None]
    if tensors and all(_is_switch(tensor) for tensor in tensors):
        return "wrong only in a region"
    return None


def _mask(draft: Draft, node: ast.AST) -> tuple[Expr, bool] | None:
    """The condition of the innermost `where` of which it is a part of a branch, and whether it must hold."""
    below, above = node, draft.edits.parent(node)
    while above is not None:
        if isinstance(above, ast.Call) and called(above) == "where" and len(above.args) == 3:
            mask = draft.tensor(above.args[0])
            if mask is None or below not in above.args[1:]:
                return None
            return mask, below is above.args[1]
        below, above = above, draft.edits.parent(above)
    return None


def _is_confined(suspect: Suspect, mask: Expr, holds: bool) -> bool:
    """Whether elements are right, and not only zero, where a mask says so. Unknown is taken for yes."""
    (value,) = suspect.values([mask])
    wrong, right = suspect.gradient, target(suspect)
    if value is None or not fits_into(value.shape, right.shape):
        return True
    outside = np.broadcast_to(np.asarray(value, bool) != holds, right.shape)
    return bool((_same(wrong, right) & outside & (right != 0)).any())


def _branch(draft: Draft, node: ast.AST) -> str | None:
    """The condition of the innermost `where` of which it is a part of a branch, or its contrary."""
    below, above = node, draft.edits.parent(node)
    while above is not None:
        if isinstance(above, ast.Call) and called(above) == "where" and len(above.args) == 3:
            mask, first, second = above.args
            if below is first:
                return quoted(draft, mask)
            if below is second:
                return f"{quoted(draft, mask)} does not hold"
            return f"{quoted(draft, mask)} decides" if below is mask else None
        below, above = above, draft.edits.parent(above)
    return None


def _gone(draft: Draft, change: Change) -> Iterator[ast.AST]:
    """The largest parts of what is changed that are kept nowhere."""
    kept = set(change.parts)
    level: list[ast.AST] = [change.node]
    while level:
        node = level.pop()
        if node in kept:
            continue
        inside = {part for part in ast.walk(node) if part in kept}
        if inside:
            level += ast.iter_child_nodes(node)
        elif isinstance(node, ast.expr) and draft.edits.is_part(node):
            yield node


def _is_switch(tensor: Expr) -> bool:
    """Whether it is made of masks and numbers only."""
    masks, stack, seen = False, [tensor], set()
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if node.dtype.kind == "b" and node.value is None:
            masks = True
        elif node.op is INPUT:
            return False
        else:
            stack += node.inputs
    return masks
