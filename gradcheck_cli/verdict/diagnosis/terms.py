"""A term is missing, or one is extra (GC105)."""

from __future__ import annotations

import ast
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.lang.edits import Change, grouped
from gradcheck_cli.verdict.diagnosis.gaps import (
    Part,
    is_term_of_more,
    multiple,
    parts,
    target,
    tries,
)
from gradcheck_cli.verdict.diagnosis.guesses import (
    Guess,
    brief,
    guess,
    passing,
    quoted,
    repeats,
    sites,
    tried,
)
from gradcheck_cli.verdict.diagnosis.ingredients import MULTIPLIED, Fit, naming, pool
from gradcheck_cli.verdict.diagnosis.material import terms

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

Array = npt.NDArray[Any]

LEAST, SEARCH = 0.99, 1.5
_EXTRA, _MISSING, _INSIDE, _TWO = 1.1, 1.5, 1.7, 2.5
# A term that counts twice is plainly seen; a sum of which only a number is left was none.
_TWICE, _NUMBER = 0.99, 1.25
# Each character of what must be added makes an explanation a little less simple.
_LENGTH = 0.005
# Two terms are looked for among so many of the right gradient's.
_MOST_TERMS = 8


def propose(suspect: Suspect) -> Iterator[Finding]:
    """One term dropped."""
    if suspect.draft is not None:
        yield from tried(suspect, _dropped(suspect.draft))


def search(suspect: Suspect) -> Iterator[Finding]:
    """One term added to the whole, or to a part; two added to the whole."""
    if suspect.draft is None:
        return
    found = suspect.once(added)
    yield from found
    if not found:
        yield from passing(suspect, _two(suspect))


def added(suspect: Suspect) -> list[Finding]:
    """A term more in the whole or in a part. To be had by `suspect.once(added)`."""
    guesses = [made for part in suspect.once(parts) for made in _missing(suspect, part)]
    return list(passing(suspect, guesses))


def _dropped(draft: Draft) -> Iterator[Guess]:
    """Each sum without one of its two sides."""
    for node in sites(draft):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            for kept, gone in ((node.left, node.right), (node.right, node.left)):
                sign = "-" if isinstance(node.op, ast.Sub) and kept is node.right else ""
                message = f"a term is extra: {quoted(draft, gone)}"
                cost = _EXTRA
                if draft.tensor(kept) is None and draft.tensor(gone) is not None:
                    cost = _NUMBER
                if repeats(draft, kept, gone, (ast.Add, ast.Sub)):
                    cost, message = _TWICE, f"the term {quoted(draft, gone)} counts twice"
                yield guess("GC105", cost, message, node, f"{sign}{{0}}", kept)


def _missing(suspect: Suspect, part: Part) -> Iterator[Guess]:
    """A term more in a part of the formula: what fills the gap between what it is and what it must be."""
    if is_term_of_more(suspect, part.node):
        return
    if part.needed is None:
        yield from _missing_in_sum(suspect, part)
        return
    known = suspect.once(pool)
    shelf = known.shelf(part.value.shape)
    gap = shelf.sampled(part.needed - part.value)
    for ingredient, factor in shelf.equal(gap):
        fit = known.named(ingredient, factor)
        if fit is not None and not _is_a_multiple(part, fit):
            yield _added(suspect, part, fit)


def _is_a_multiple(part: Part, fit: Fit) -> bool:
    """Whether the term is the part itself: then a number is wrong, not a term."""
    value = fit.ingredient.value
    return value.shape == part.value.shape and _proportional(value, part.value)


def _proportional(a: Array, b: Array) -> bool:
    with np.errstate(all="ignore"):
        ratio = (a / b)[b != 0]
    return bool(ratio.size) and bool(np.allclose(ratio, ratio.flat[0], rtol=1e-9, atol=0))


def _added(suspect: Suspect, part: Part, fit: Fit) -> Guess:
    assert suspect.draft is not None
    text, sign = fit.text, "-" if fit.factor < 0 else "+"
    if text.startswith("-") and grouped(text, MULTIPLIED) == text:
        text, sign = text[1:], "+" if sign == "-" else "-"
    text = text if sign == "+" else grouped(text, MULTIPLIED)
    base = _MISSING if part.is_whole else _INSIDE
    where = "" if part.is_whole else f", beside {quoted(suspect.draft, part.node)}"
    shown = f"{'-' if sign == '-' else ''}{text}"
    change = Change(part.node, f"{{0}} {sign} {text}", (part.node,))
    message = f"a term is missing: `{brief(shown)}`{where}"
    return Guess("GC105", base + _LENGTH * len(text), message, (change,))


def _missing_in_sum(suspect: Suspect, part: Part) -> Iterator[Guess]:
    """The same where parts are summed up or multiplied as matrices later: each ingredient is tried."""
    shape = part.value.shape
    gap = target(suspect) - suspect.gradient
    known = suspect.once(pool)
    largest = float(np.abs(gap).max(initial=0.0))
    now = part.response(part.value)
    both = (1, -1) if part.is_elementwise else (1,)
    for item in known.shelf(shape).items[: tries(suspect)]:
        if item.is_mask:
            continue
        for sign in both:
            moved = part.response(part.value + sign * item.value) - now
            factor = multiple(gap, moved)
            exact = factor == 1 or not part.is_elementwise
            if not factor or not np.abs(gap - factor * moved).max() <= 1e-6 * largest:
                continue
            fit = known.named(item, sign * (factor if exact else round(factor)))
            if fit is not None and not _is_a_multiple(part, fit):
                yield _added(suspect, part, fit)


def _two(suspect: Suspect) -> Iterator[Guess]:
    """Two terms of the right gradient missing at once."""
    assert suspect.draft is not None
    parts = terms(suspect.truth)[:_MOST_TERMS]
    if len(parts) < 3:
        return
    values = suspect.values([term for _, term in parts])
    gap = target(suspect) - suspect.gradient
    text = naming(suspect)
    largest = float(np.abs(gap).max(initial=0.0))
    for (a, left), (b, right) in combinations(zip(parts, values, strict=True), 2):
        if left is None or right is None:
            continue
        both = a[0] * left + b[0] * right
        if float(np.abs(gap - both).max()) <= 1e-6 * largest:
            added = "".join(
                f" {'-' if s < 0 else '+'} {grouped(text(n), MULTIPLIED)}" for s, n in (a, b)
            )
            tree = suspect.draft.edits.tree
            message = f"two terms are missing: `{brief(added.removeprefix(' + ').strip())}`"
            cost = _TWO + _LENGTH * len(added)
            yield Guess("GC105", cost, message, (Change(tree, f"{{0}}{added}", (tree,)),))
