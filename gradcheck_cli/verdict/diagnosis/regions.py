"""Wrong only in a region (GC108): a mask, a bound or a branch that is missing, turned or at another place."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.lang.edits import Change, grouped
from gradcheck_cli.verdict.diagnosis.gaps import Part, is_factor_of_more, parts, target, tries
from gradcheck_cli.verdict.diagnosis.guesses import (
    Guess,
    brief,
    called,
    guess,
    is_number,
    passing,
    quoted,
    sites,
    tried,
)
from gradcheck_cli.verdict.diagnosis.ingredients import MULTIPLIED, pool, short_truth
from gradcheck_cli.verdict.diagnosis.material import literals
from gradcheck_cli.verdict.diagnosis.predicates import Predicate, predicates
from gradcheck_cli.verdict.diagnosis.suspect import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

Array = npt.NDArray[Any]

LEAST, SEARCH = 0.955, 1.06
_BRANCH, _EDIT, _MASK, _CLAMP, _PIECE, _REGION = 0.955, 1.04, 1.06, 1.08, 1.38, 1.8
# A branch more for a mask that the right gradient doesn't have is far-fetched.
_NEW_MASK, _FAR_FETCHED = 0.05, 0.3
# Masks at places where nobody would put one.
_ODD_TERM, _ODD_NUMBER = 0.6, 0.9
# What a statement that holds for some right elements too costs more.
_LOOSE = 0.3
# At least so much of a region must be wrong for it to explain the mistake.
_COVERED = 0.6
_COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
# An element differs by more than this of itself, and of the largest; in low precision by more.
_DIFFERS, _DIFFERS_LOW = 1e-7, 1e-2


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Masks and bounds of the formula changed."""
    draft = suspect.draft
    if draft is not None:
        yield from tried(suspect, [*_turned(draft, suspect), *_unmasked(draft)])


def search(suspect: Suspect) -> Iterator[Finding]:
    """One mask or bound more; then what tells wrong elements from right ones."""
    found: list[Finding] = []
    if suspect.draft is not None:
        found = list(tried(suspect, _masked(suspect)))
        yield from found
    if suspect.case is not None and not found and not suspect.found:
        yield from _region(suspect)


def _turned(draft: Draft, suspect: Suspect) -> Iterator[Guess]:
    """Comparisons turned around, or with another bound; branches swapped; bounds of clamp changed."""
    bounds = sorted({0.0, 1.0, *literals(suspect)})
    numbers = [n for b in bounds for n in ((b, -b) if b else (b,))]
    for node in draft.edits.nodes():
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARISONS:
            left, right = node.left, node.comparators[0]
            sign = _COMPARISONS[type(node.ops[0])]
            turned = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}[sign]
            message = f"the comparison {quoted(draft, node)} is the wrong way round"
            yield guess("GC108", _EDIT, message, node, f"{{0}} {turned} {{1}}", left, right)
            message = f"the bound in {quoted(draft, node)} is wrong"
            for number in numbers:
                text = _written(number)
                yield guess("GC108", _EDIT + 0.01, message, node, f"{{0}} {sign} {text}", left)
        name, arguments = _call(draft, node)
        if name == "where" and len(arguments) == 3:
            message = f"the branches of {quoted(draft, node)} are swapped"
            mask, a, b = arguments
            yield guess("GC108", _EDIT, message, node, "torch.where({0}, {1}, {2})", mask, b, a)
        if name in ("clamp", "clip", "clamp_min", "clamp_max") and len(arguments) > 1:
            message = f"the bound in {quoted(draft, node)} is wrong"
            for bound in arguments[1:]:
                for number in numbers:
                    text = _written(number)
                    yield guess("GC108", _EDIT + 0.01, message, bound, text)


def _call(draft: Draft, node: ast.AST) -> tuple[str, list[ast.expr]]:
    """The bare name of what a call calls, and its arguments, a method's tensor first."""
    if not isinstance(node, ast.Call):
        return "", []
    func = node.func
    method = isinstance(func, ast.Attribute) and draft.edits.is_part(func.value)
    owner = [func.value] if isinstance(func, ast.Attribute) and method else []
    return called(node), [*owner, *node.args, *(keyword.value for keyword in node.keywords)]


def _written(number: float) -> str:
    return str(int(number)) if number.is_integer() else repr(number)


def _unmasked(draft: Draft) -> Iterator[Guess]:
    """Masks and bounds left out: one side of `a * mask`, a branch of where, what is clamped."""
    for node in sites(draft):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for kept, gone in ((node.left, node.right), (node.right, node.left)):
                tensor = draft.tensor(gone)
                if tensor is not None and tensor.dtype.kind == "b":
                    message = f"the mask {quoted(draft, gone)} is extra"
                    yield guess("GC108", _EDIT, message, node, "{0}", kept)
        name, arguments = _call(draft, node)
        if name == "where" and len(arguments) == 3:
            mask = quoted(draft, arguments[0])
            for wrong, branch in zip(
                (mask, f"{mask} does not hold"), arguments[:0:-1], strict=True
            ):
                message = (
                    f"wrong only where {wrong}: the other branch, {quoted(draft, branch)}, is right"
                )
                yield guess("GC108", _BRANCH, f"{message} everywhere", node, "{0}", branch)
        if name in ("clamp", "clip", "clamp_min", "clamp_max", "relu") and arguments:
            message = f"{quoted(draft, node)} cuts off what it should not"
            yield guess("GC108", _EDIT + 0.01, message, node, "{0}", arguments[0])


def _masked(suspect: Suspect) -> Iterator[Guess]:
    """A mask or a bound more for a part of the formula."""
    for part in suspect.once(parts):
        if part.needed is not None:
            yield from _clamped(suspect, part)
        if is_factor_of_more(suspect, part.node):
            continue
        if part.needed is None:
            yield from _masked_in_sum(suspect, part)
            continue
        with np.errstate(all="ignore"):
            needed, value = part.needed, part.value
            off = np.abs(needed) <= 1e-12 * np.abs(value)
            same = np.abs(needed - value) <= 1e-9 * np.abs(value)
        blind = ~np.isfinite(needed) | (value == 0)
        if not bool((off | same | blind).all()) or not bool((off & ~blind).any()):
            continue
        for predicate in suspect.once(predicates).of(value.shape):
            lost = np.broadcast_to(predicate.holds, value.shape)
            if predicate.node is not None and bool((blind | (lost == off)).all()):
                yield _with_mask(suspect, part, predicate)


def _with_mask(suspect: Suspect, part: Part, predicate: Predicate) -> Guess:
    assert suspect.draft is not None
    where = "" if part.is_whole else f", with {quoted(suspect.draft, part.node)}"
    message = f"wrong only where {predicate.text}: a mask is missing{where}"
    change = Change(part.node, f"{{0}} * {grouped(predicate.contrary)}", (part.node,))
    cost = _MASK + predicate.cost * 0.1 + _oddness(suspect.draft, part)
    return Guess("GC108", cost + 0.001 * len(predicate.contrary), message, (change,))


def _oddness(draft: Draft, part: Part) -> float:
    """How odd a mask is at a place: people mask gradients and products, hardly a term, never a number."""
    if part.is_whole:
        return 0.0
    if is_number(draft, part.node):
        return _ODD_NUMBER
    parent = draft.edits.parent(part.node)
    is_term = isinstance(parent, ast.BinOp) and isinstance(parent.op, (ast.Add, ast.Sub))
    return _ODD_TERM if is_term else 0.02


def _masked_in_sum(suspect: Suspect, part: Part) -> Iterator[Guess]:
    """The same where parts are summed up or multiplied as matrices later: each mask is tried."""
    goal = target(suspect)
    largest = float(np.abs(goal).max(initial=0.0))
    for predicate in suspect.once(predicates).of(part.value.shape)[: tries(suspect)]:
        if predicate.node is None:
            continue
        whole = part.response(part.value * ~predicate.holds)
        if float(np.abs(whole - goal).max(initial=0.0)) <= 1e-6 * largest:
            yield _with_mask(suspect, part, predicate)


def _clamped(suspect: Suspect, part: Part) -> Iterator[Guess]:
    """The part between bounds that stand in the expression: what is needed is what it is, cut off."""
    needed, value = part.needed, part.value
    assert needed is not None
    known = np.isfinite(needed)
    if not known.any():
        return
    low, high = float(needed[known].min()), float(needed[known].max())
    bounds = {0.0, 1.0, *literals(suspect)}

    def named(bound: float, cut: Array) -> float | None:
        if not cut.any():
            return None
        return next((b for n in bounds for b in (n, -n) if abs(b - bound) <= 1e-9), None)

    below, above = named(low, value < low - 1e-9), named(high, value > high + 1e-9)
    flat = high - low <= 1e-9 * max(abs(low), abs(high), 1.0)
    if flat or (below is None and above is None):
        return
    cut = np.clip(value, -np.inf if below is None else low, np.inf if above is None else high)
    if not bool((np.abs(cut - needed) <= 1e-9 * (1 + np.abs(cut)))[known].all()):
        return
    arguments = [
        *([f"min={_written(below)}"] if below is not None else []),
        *([f"max={_written(above)}"] if above is not None else []),
    ]
    if below is not None and above is not None:
        arguments = [_written(below), _written(above)]
    elif below is not None or above is not None:
        bound = below if below is not None else above
        assert bound is not None
        yield _with_clamp(suspect, part, f"{_written(-abs(bound))}, {_written(abs(bound))}", 0.01)
    yield _with_clamp(suspect, part, ", ".join(arguments), 0.0)


def _with_clamp(suspect: Suspect, part: Part, arguments: str, more: float) -> Guess:
    assert suspect.draft is not None
    whole = quoted(suspect.draft, part.node)
    message = f"wrong only in a region: {whole} must not go beyond its bounds"
    change = Change(part.node, f"{{0}}.clamp({arguments})", (part.node,))
    return Guess("GC108", _CLAMP + more + (0.0 if part.is_whole else 0.02), message, (change,))


def _region(suspect: Suspect) -> Iterator[Finding]:
    """The simplest statement that holds for the wrong elements and, but for few, for no right one."""
    wrong = suspect.gradient
    if wrong.size < 3 or not np.isfinite(wrong).all():
        return
    goal = target(suspect)
    bad = _differs(suspect, wrong, goal)
    if not bad.any() or not (goal[~bad] != 0).any():
        return
    bad_again = _bad_again(suspect)
    ranked = []
    for predicate in suspect.once(predicates).of(wrong.shape):
        loose = _explains(predicate.holds, bad)
        if loose is None:
            continue
        if bad_again is not None and not _holds_again(predicate, bad_again):
            continue
        cost = predicate.cost + _LOOSE * loose + 0.002 * len(predicate.text)
        ranked.append((cost, predicate))
    if not ranked:
        return
    cost, best = min(ranked, key=lambda pair: pair[0])
    yield from _explained(suspect, best, cost)


def _holds_again(predicate: Predicate, bad: Array) -> bool:
    """Whether nothing speaks against a statement at a second draw."""
    if predicate.again is None or not bad.any():
        return True
    return _explains(predicate.again, bad) is not None


def _differs(suspect: Suspect, wrong: Array, goal: Array) -> Array:
    assert suspect.case is not None
    low = suspect.method == "torch" and suspect.case.check.dtype != "float64"
    relative = _DIFFERS_LOW if low else _DIFFERS
    largest = float(np.abs(goal[np.isfinite(goal)]).max(initial=0.0))
    with np.errstate(all="ignore"):
        same = np.abs(wrong - goal) <= relative * (np.abs(goal) + 1e-3 * largest)
    return np.asarray(~same)


def _bad_again(suspect: Suspect) -> Array | None:
    """The wrong elements at a second draw."""
    again = suspect.again
    if again is None or again.gradient is None:
        return None
    return _differs(suspect, np.asarray(again.gradient, np.float64), again.truth)


def _explains(holds: Array, bad: Array) -> float | None:
    """The share of right elements for which a statement holds too; None where it misses a wrong one."""
    spread = np.broadcast_to(holds, bad.shape)
    if bool((bad & ~spread).any()):
        return None
    covered = float(bad.sum()) / float(spread.sum())
    return 1 - covered if covered >= _COVERED else None


def _explained(suspect: Suspect, best: Predicate, cost: float) -> Iterator[Finding]:
    count = int(np.count_nonzero(_differs(suspect, suspect.gradient, target(suspect))))
    where = best.text if best.node is None else f"where {best.text}"
    message = f"wrong only {where}: {count} of {suspect.gradient.size} elements"
    if suspect.draft is not None and best.node is not None:
        found = list(passing(suspect, _pieces(suspect, best, message)))
        if found:
            yield from found
            return
    fix = None if suspect.edits is None else short_truth(suspect)
    yield Finding("GC108", message, fix, _REGION + cost)


def _pieces(suspect: Suspect, region: Predicate, message: str) -> Iterator[Guess]:
    """`torch.where(region, piece, formula)` with the ingredient that is right in the region."""
    assert suspect.draft is not None
    goal = target(suspect)
    inside = np.broadcast_to(region.holds, goal.shape)
    tree = suspect.draft.edits.tree
    if not goal[inside].any():
        change = Change(tree, f"torch.where({region.formula}, 0.0, {{0}})", (tree,))
        yield Guess("GC108", _PIECE, message, (change,))
        return
    known = suspect.once(pool)
    shelf = known.shelf(goal.shape)
    gap = np.where(inside, goal, np.nan)
    for ingredient, factor in shelf.equal(shelf.sampled(gap)):
        fit = known.named(ingredient, factor)
        whole = bool(np.allclose(factor * ingredient.value, goal, rtol=1e-9, atol=0))
        if fit is None or whole:
            continue
        sign = "-" if fit.factor < 0 else ""
        piece = sign + (grouped(fit.text, MULTIPLIED) if sign else fit.text)
        change = Change(tree, f"torch.where({region.formula}, {piece}, {{0}})", (tree,))
        told = f"{message}; there it is `{brief(piece)}`"
        cost = _PIECE + region.cost + 0.005 * len(piece)
        cost += _FAR_FETCHED * (region.cost > _NEW_MASK)
        yield Guess("GC108", cost, told, (change,))
