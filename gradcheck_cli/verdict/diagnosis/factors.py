"""A factor is missing, or one is extra (GC106): mostly the inner derivative that the chain rule asks for."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.lang.edits import Change, grouped
from gradcheck_cli.verdict.diagnosis.gaps import (
    Part,
    is_factor_of_more,
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
from gradcheck_cli.verdict.diagnosis.ingredients import MULTIPLIED, SIGNED, Fit, pool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

Array = npt.NDArray[Any]

LEAST, SEARCH = 0.995, 1.4
_TWICE = 0.995
_EXTRA, _MISSING, _INSIDE, _INVERSE = 1.2, 1.4, 1.6, 0.1
# Each character of what must be multiplied by makes an explanation a little less simple.
_LENGTH = 0.005


def propose(suspect: Suspect) -> Iterator[Finding]:
    """One factor dropped."""
    if suspect.draft is not None:
        yield from tried(suspect, _dropped(suspect.draft))


def search(suspect: Suspect) -> Iterator[Finding]:
    """One factor more for the whole, or for a part."""
    if suspect.draft is not None:
        guesses = [made for part in suspect.once(parts) for made in _missing(suspect, part)]
        yield from passing(suspect, guesses)


def _dropped(draft: Draft) -> Iterator[Guess]:
    """Each product without one of its two sides, each quotient without what it is divided by."""
    for node in sites(draft):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, (ast.Mult, ast.Div)):
            continue
        divided = isinstance(node.op, ast.Div)
        for kept, gone in ((node.left, node.right), (node.right, node.left)):
            if draft.tensor(gone) is None or _is_mask(draft, gone):
                continue
            template = "1 / {0}" if divided and kept is node.right else "{0}"
            what = "a division by" if divided and gone is node.right else "a factor"
            message = f"{what} {quoted(draft, gone)} is extra"
            if what == "a factor":
                message = f"a factor is extra: {quoted(draft, gone)}"
            cost = _EXTRA
            if not divided and repeats(draft, kept, gone, (ast.Mult,)):
                cost, message = _TWICE, f"the factor {quoted(draft, gone)} counts twice"
            yield guess("GC106", cost, message, node, template, kept)


def _is_mask(draft: Draft, node: ast.AST) -> bool:
    tensor = draft.tensor(node)
    return tensor is not None and tensor.dtype.kind == "b"


def _missing(suspect: Suspect, part: Part) -> Iterator[Guess]:
    """A factor more in a part of the formula: the ratio of what it must be to what it is."""
    if is_factor_of_more(suspect, part.node):
        return
    if part.needed is None:
        yield from _missing_in_sum(suspect, part)
        return
    known = suspect.once(pool)
    shelf = known.shelf(part.value.shape)
    needed, value = shelf.sampled(part.needed), shelf.sampled(part.value)
    with np.errstate(all="ignore"):
        ratio = np.where(value == 0, np.nan, needed / value)
        ratio = np.where((value == 0) & (needed == 0), np.nan, ratio)
        inverse = np.where(ratio == 0, np.inf, 1 / ratio)
    lost = (value == 0) & np.isfinite(needed) & (needed != 0)
    if lost.any():
        return
    for turned, gap in ((False, ratio), (True, inverse)):
        if np.isinf(gap).any():
            continue
        for ingredient, factor in shelf.equal(gap):
            fit = known.named(ingredient, factor)
            if fit is not None and not ingredient.is_mask:
                yield _multiplied(suspect, part, fit, turned)


def _multiplied(suspect: Suspect, part: Part, fit: Fit, turned: bool) -> Guess:
    assert suspect.draft is not None
    sign = "-" if fit.factor < 0 else ""
    if turned:
        template, shown = f"{{0}} / {grouped(fit.text, SIGNED)}", f"1 / {grouped(fit.text, SIGNED)}"
    else:
        text = grouped(fit.text, MULTIPLIED)
        template, shown = f"{{0}} * {text}", text if sign else fit.text
    base = (_MISSING if part.is_whole else _INSIDE) + (_INVERSE if turned else 0.0)
    where = "" if part.is_whole else f", with {quoted(suspect.draft, part.node)}"
    message = f"a factor is missing: `{brief(sign + shown)}`{where}"
    change = Change(part.node, sign + template, (part.node,))
    return Guess("GC106", base + _LENGTH * len(fit.text), message, (change,))


def _missing_in_sum(suspect: Suspect, part: Part) -> Iterator[Guess]:
    """The same where parts are summed up or multiplied as matrices later: each ingredient is tried."""
    goal = target(suspect)
    known = suspect.once(pool)
    largest = float(np.abs(goal).max(initial=0.0))
    for item in known.shelf(part.value.shape).items[: tries(suspect)]:
        if item.is_mask:
            continue
        for turned in (False, True):
            if turned and not item.value.all():
                continue
            scaled = part.value / item.value if turned else part.value * item.value
            whole = part.response(scaled)
            factor = multiple(goal, whole)
            if not factor:
                continue
            if float(np.abs(goal - factor * whole).max()) <= 1e-6 * largest:
                fit = known.named(item, 1 / factor if turned else factor)
                if fit is not None:
                    yield _multiplied(suspect, part, fit, turned)
