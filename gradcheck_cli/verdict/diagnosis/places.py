"""The right numbers at the wrong places: shifted, reversed, permuted, or cut one element too early."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.verdict.diagnosis.axes import arguments
from gradcheck_cli.verdict.diagnosis.guesses import Guess, called, guess, quoted, sites, tried
from gradcheck_cli.verdict.diagnosis.suspect import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

Array = npt.NDArray[Any]

LEAST = 1.02

# Shifts along an axis that are tried, each way.
_MOST_SHIFT = 3
# Gradients up to so many elements are searched for permutations.
_MOST_SORTED = 2**20
_RUNNING = frozenset({"cumsum", "cumprod", "logcumsumexp", "cummax", "cummin"})
_JOINED = frozenset({"cat", "concat", "concatenate", "stack", "hstack", "vstack"})


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Moves of all elements, then changes of the formula that move some."""
    found = list(_moved(suspect))
    draft = suspect.draft
    if draft is not None:
        places = sites(draft)
        found += tried(suspect, [*_flips(draft, places), *_indices(draft), *_orders(draft, places)])
    yield from found
    if not any(finding.fix for finding in found):
        yield from _permuted(suspect)


def _moved(suspect: Suspect) -> Iterator[Finding]:
    """The whole gradient reversed or shifted along one axis."""
    wrong = suspect.gradient
    edits = suspect.edits
    for axis, size in enumerate(wrong.shape):
        if size < 2:
            continue
        moves = [(f"reversed along axis {axis}", f"flip({axis})", np.flip(wrong, axis))]
        if size > 2:
            for shift in range(1, min(_MOST_SHIFT, size // 2) + 1):
                for by in (shift, -shift):
                    what = f"shifted along axis {axis} by {-by}"
                    moves.append((what, f"roll({by}, {axis})", np.roll(wrong, by, axis)))
        for what, call, array in moves:
            if not (suspect.near(array) and suspect.right(array)):
                continue
            message = f"the elements are right, but {what}"
            if edits is None:
                yield Finding("GC109", message, None, 1.03)
                continue
            template = f"{{0}}.{call}"
            yield from tried(
                suspect, [guess("GC109", 1.03, message, edits.tree, template, edits.tree)]
            )


def _permuted(suspect: Suspect) -> Iterator[Finding]:
    """The elements, or whole slices along an axis, in another order."""
    wrong, right = suspect.gradient, suspect.reference
    if not 2 < wrong.size <= _MOST_SORTED or not _again_permuted(suspect):
        return
    for axis, size in enumerate(wrong.shape):
        if size < 3 or wrong.ndim < 2:
            continue
        order = _matching(_slices(wrong, axis), _slices(right, axis))
        if order is not None and suspect.right(np.take(wrong, order, axis)):
            name = (
                {0: "rows", 1: "columns"}[axis] if wrong.ndim == 2 else f"slices along axis {axis}"
            )
            yield Finding("GC109", f"the {name} are right, but in another order", None, 2.6)
            return
    order = _matching(wrong.reshape(-1, 1), right.reshape(-1, 1))
    if order is not None and suspect.right(wrong.reshape(-1)[order].reshape(wrong.shape)):
        yield Finding("GC109", "the elements are right, but in another order", None, 2.7)


def _again_permuted(suspect: Suspect) -> bool:
    """Whether the elements are those of the right gradient at the second point too."""
    point = suspect.again
    if point is None or point.gradient is None:
        return True
    mine, truth = np.sort(point.gradient, axis=None), np.sort(point.truth, axis=None)
    return bool(
        np.allclose(mine, truth, rtol=1e-6, atol=1e-9 * float(np.abs(truth).max(initial=0)))
    )


def _slices(array: Array, axis: int) -> Array:
    return np.moveaxis(array, axis, 0).reshape(array.shape[axis], -1)


def _matching(wrong: Array, right: Array) -> npt.NDArray[np.intp] | None:
    """The order in which the rows of `wrong` are those of `right`, which all differ; else None."""
    scale = float(np.abs(right).max(initial=0.0))
    if not np.isfinite(scale) or not np.isfinite(wrong).all() or scale == 0:
        return None
    # Sorted by a projection in general position: rows that are equal but for rounding come together.
    direction = np.random.default_rng(0).uniform(0.5, 1.5, right.shape[1])
    a, b = wrong @ direction, right @ direction
    first, second = np.argsort(a), np.argsort(b)
    gaps = np.diff(b[second])
    if (gaps <= 1e-9 * scale).any():
        return None
    order = np.empty(len(b), np.intp)
    order[second] = first
    return None if np.array_equal(order, np.arange(len(b))) else order


def _flips(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """Reversals and shifts of a part, more or less; running sums from the other end."""
    for node in places:
        tensor = draft.tensor(node)
        assert tensor is not None
        shown = quoted(draft, node)
        name = called(node)
        whole = node is draft.edits.tree
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            if name in ("flip", "fliplr", "flipud", "roll") and draft.tensor(of) is not None:
                message = f"{shown} is reversed, which is too much"
                if name == "roll":
                    message = f"{shown} is shifted, which is too much"
                yield guess("GC109", 1.025 if whole else 1.1, message, node, "{0}", of)
            if name in _RUNNING:
                for axis in range(tensor.ndim):
                    template = f"{{0}}.flip({axis}).{name}({axis}).flip({axis})"
                    message = (
                        f"`{name}` of {quoted(draft, of)} should run from the end of axis {axis}"
                    )
                    yield guess("GC109", 1.2, message, node, template, of)
                yield from _run_backwards(draft, node, of)
        if whole:
            continue
        for axis, size in enumerate(tensor.shape):
            if size < 2:
                continue
            message = f"{shown} is reversed along axis {axis}"
            yield guess("GC109", 1.3, message, node, f"{{0}}.flip({axis})", node)
            for by in (1, -1):
                message = f"{shown} is shifted along axis {axis} by {-by}"
                yield guess("GC109", 1.35, message, node, f"{{0}}.roll({by}, {axis})", node)
        if tensor.dtype.kind == "i" and tensor.ndim == 1:
            message = f"the permutation {shown} is the inverse of the right one"
            if name == "argsort" and isinstance(node, ast.Call):
                yield guess("GC109", 1.2, message, node, "{0}.argsort()", node)
            yield guess("GC109", 1.25, message, node, "{0}.argsort()", node)


def _run_backwards(draft: Draft, node: ast.Call, of: ast.expr) -> Iterator[Guess]:
    """A running sum that was turned round and should not have been."""
    inner = (
        of.func.value if isinstance(of, ast.Call) and isinstance(of.func, ast.Attribute) else None
    )
    if inner is None or called(of) != "flip":
        return
    outer = draft.edits.parent(node)
    call = draft.edits.parent(outer) if isinstance(outer, ast.Attribute) else None
    if isinstance(call, ast.Call) and called(call) == "flip":
        template, parts = draft.edits.renamed(node, called(node))
        message = f"`{called(node)}` of {quoted(draft, inner)} should run from the start"
        yield guess("GC109", 1.2, message, call, template, inner, *parts[1:])


def _indices(draft: Draft) -> Iterator[Guess]:
    """Bounds of slices, subscripts and shifts that are off by one or of the wrong sign."""
    for node in draft.edits.nodes():
        if isinstance(node, ast.Slice):
            yield from _bounds(draft, node)
        if not isinstance(node, ast.Call):
            continue
        for parameter, argument in arguments(draft, node):
            value = draft.value(argument)
            if (
                parameter in ("shifts", "diagonal", "offset", "k", "start", "length")
                and type(value) is int
            ):
                for other in (-value, value - 1, value + 1):
                    if other != value:
                        message = f"`{parameter}` of {quoted(draft, node)} is {value}, it should be {other}"
                        yield guess("GC109", 1.1, message, argument, str(other))


def _bounds(draft: Draft, node: ast.Slice) -> Iterator[Guess]:
    """Other bounds of one slice, of the same length or one more or less."""
    subscript: ast.AST | None = draft.edits.parent(node)
    if isinstance(subscript, ast.Tuple):
        subscript = draft.edits.parent(subscript)
    if not isinstance(subscript, ast.Subscript):
        return
    shown = quoted(draft, subscript)
    low, high = (None if b is None else draft.value(b) for b in (node.lower, node.upper))
    if not all(b is None or type(b) is int for b in (low, high)) or node.step is not None:
        return
    if low is None and high is None:
        return  # all of an axis, on purpose
    for shift_low in (-1, 0, 1):
        for shift_high in (-1, 0, 1):
            for a, b in _shifted(low, high, shift_low, shift_high):
                text = f"{'' if a is None else a}:{'' if b is None else b}"
                if text != draft.edits.segment(node):
                    message = f"the bounds of {shown} should be `{text}`"
                    whole = draft.edits.with_slice(subscript, node, text)
                    yield guess("GC109", 1.1, message, subscript, *whole)


def _shifted(
    low: int | None, high: int | None, by_low: int, by_high: int
) -> Iterator[tuple[int | None, int | None]]:
    """Bounds moved; 0 from the end is no bound, and no bound is 0 or the end."""
    a: int | None = (low or 0) + by_low
    if a == 0:
        a = None
    if high is None:
        b = None if by_high >= 0 else -1
    else:
        b = high + by_high
        if b == 0 and high < 0:
            b = None
    yield a, b
    if not by_low and not by_high:
        # The other part, and as many from the other end.
        yield from ((high, None), (None, low))
        yield from (
            (None if b is None else -b, None if a is None else -a) for a, b in ((low, high),)
        )


def _orders(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """What is joined in another order; a reshape that reads rows as columns."""
    for node in places:
        name = called(node)
        if not isinstance(node, ast.Call):
            continue
        if name in _JOINED and node.args and isinstance(node.args[0], (ast.List, ast.Tuple)):
            listed = node.args[0]
            items = listed.elts
            for i in range(len(items) - 1):
                both = f"{quoted(draft, items[i])} and {quoted(draft, items[i + 1])}"
                message = f"{both} are joined in the wrong order"
                order = [*range(len(items))]
                order[i], order[i + 1] = order[i + 1], order[i]
                if len(items) <= 10:
                    inside = ", ".join(f"{{{k}}}" for k in order)
                    yield guess("GC109", 1.05, message, listed, f"[{inside}]", *items)
        if name in ("reshape", "view", "flatten") and isinstance(node.func, ast.Attribute):
            of = draft.tensor(node.func.value)
            made = draft.tensor(node)
            if of is not None and made is not None and of.ndim == made.ndim > 1:
                message = f"{quoted(draft, node)} fills the shape row by row: a transpose is right"
                turned = "{0}.T" if of.ndim == 2 else "{0}.mT"
                yield guess("GC109", LEAST, message, node, turned, node.func.value)
            if of is not None and of.ndim > 1:
                template, parts = draft.edits.renamed(node, name)
                message = (
                    f"{quoted(draft, node)} takes the elements row by row, not column by column"
                )
                turned = template.replace("{0}.", "{0}.mT.", 1)
                yield guess("GC109", 1.4, message, node, turned, *parts)
            if made is not None and made.ndim == 2:
                template, parts = draft.edits.renamed(node, name)
                sizes = parts[1:]
                if len(sizes) == 2:
                    message = (
                        f"{quoted(draft, node)} takes the elements row by row, not column by column"
                    )
                    yield guess(
                        "GC109", 1.4, message, node, f"{{0}}.{name}({{2}}, {{1}}).T", *parts
                    )
