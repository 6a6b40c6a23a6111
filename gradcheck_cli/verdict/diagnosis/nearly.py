"""Nearly right (GC111): a rounded constant, a lower precision, an epsilon forgotten or at another place."""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.graph import INPUT
from gradcheck_cli.lang.draft import Draft
from gradcheck_cli.lang.edits import Change, Edits
from gradcheck_cli.spec.sample import rounded
from gradcheck_cli.verdict.diagnosis.gaps import target
from gradcheck_cli.verdict.diagnosis.guesses import Guess, called, guess, quoted, sites, tried
from gradcheck_cli.verdict.diagnosis.ingredients import short_truth
from gradcheck_cli.verdict.diagnosis.material import literals
from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Array = npt.NDArray[Any]

LEAST = 0.9
_EDIT, _EPSILON, _PRECISION, _NEARLY = 0.9, 0.92, 1.5, 2.8
# Relative to the element, and to the largest: what is further away is not nearly right.
_NEAR, _NEAR_OF_LARGEST = 3e-2, 3e-2
# A number so near to a known one, and not equal to it, is it rounded.
_ROUNDED = 1e-2
# An epsilon is smaller than this.
_SMALL = 2e-2
# Numbers that are replaced together, and how many others one of them may be.
_MOST_NUMBERS = 8
_MOST_OTHERS = 3
# The written-out formula is searched up to this length.
_LONGEST = 400
# How much coarser each type's numbers are than float64's, the finest first.
_TYPES = ("float32", "float16", "bfloat16")
_CASTS = frozenset({"to", "float", "half", "bfloat16", "type", "round"})
_CONSTANTS: Mapping[str, float] = {
    "math.pi": math.pi,
    "2 * math.pi": 2 * math.pi,
    "math.pi / 2": math.pi / 2,
    "1 / math.pi": 1 / math.pi,
    "math.pi**0.5": math.pi**0.5,
    "1 / math.pi**0.5": math.pi**-0.5,
    "2 / math.pi**0.5": 2 * math.pi**-0.5,
    "(2 * math.pi)**0.5": (2 * math.pi) ** 0.5,
    "1 / (2 * math.pi)**0.5": (2 * math.pi) ** -0.5,
    "(2 / math.pi)**0.5": (2 / math.pi) ** 0.5,
    "math.e": math.e,
    "1 / math.e": 1 / math.e,
    "2**0.5": 2**0.5,
    "1 / 2**0.5": 2**-0.5,
    "3**0.5": 3**0.5,
    "1 / 3**0.5": 3**-0.5,
    "1 / 3": 1 / 3,
    "2 / 3": 2 / 3,
    "1 / 6": 1 / 6,
    "0.044715": 0.044715,
    repr(math.log(2)): math.log(2),
    repr(1 / math.log(2)): 1 / math.log(2),
    repr(math.log(10)): math.log(10),
    repr(1 / math.log(10)): 1 / math.log(10),
}


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Numbers, epsilons and casts of the formula changed; else how near it is, and what precision that is."""
    if suspect.gradient.size < 1 or not is_near(suspect):
        return
    found: list[Finding] = []
    if suspect.draft is not None:
        for written, draft in _drafts(suspect):
            guesses = [
                *_constants(suspect, draft),
                *_epsilons(suspect, draft),
                *_other_names(draft),
                *_casts(draft),
            ]
            found = _tried(suspect, draft, guesses, written=written)
            if found:
                break
        yield from found
    if not found:
        yield _as_it_is(suspect)


def is_near(suspect: Suspect) -> bool:
    """Whether every element is right up to a small relative error."""
    wrong, goal = suspect.gradient, target(suspect)
    with np.errstate(all="ignore"):
        largest = float(np.abs(goal[np.isfinite(goal)]).max(initial=0.0))
        error = np.abs(wrong - goal)
        near = error <= _NEAR * np.abs(goal) + 1e-3 * _NEAR_OF_LARGEST * largest
        typical = float(np.median(error)) <= _NEAR_OF_LARGEST * float(np.median(np.abs(goal)))
    return bool(near.all()) and typical and largest > 0


def _drafts(suspect: Suspect) -> Iterator[tuple[bool, Draft]]:
    """The person's formula; then the same with its `let` names written out, where the slip may be."""
    assert suspect.draft is not None
    assert suspect.case is not None
    yield False, suspect.draft
    text = suspect.written_out
    if text is not None and len(text) <= _LONGEST:
        yield True, Draft(Edits.of(text), suspect.scope)


def _tried(
    suspect: Suspect, draft: Draft, guesses: Sequence[Guess], *, written: bool
) -> list[Finding]:
    if not written:
        return list(tried(suspect, guesses))
    found = []
    for made in sorted(guesses, key=lambda made: made.cost)[: _MOST_NUMBERS * 8]:
        node = suspect.fitted(draft.changed(made.changes))
        if node is not None and suspect.holds(node):
            text = draft.edits.changed(made.changes)
            if suspect.survives(text):
                found.append(Finding(made.code, made.message, text, made.cost + 0.05))
                break
    return found


def _constants(suspect: Suspect, draft: Draft) -> Iterator[Guess]:
    """Numbers that are nearly known ones, each replaced, then all of them."""
    exact = dict(_CONSTANTS)
    for text, size in suspect.sizes.items():
        exact |= {
            f"{text}**0.5": size**0.5,
            f"1 / {text}": 1 / size,
            f"1 / {text}**0.5": size**-0.5,
        }
    for number in literals(suspect):
        if number != 1 and not any(
            math.isclose(number, known, rel_tol=1e-15) for known in exact.values()
        ):
            exact[repr(number)] = number
    nearest: dict[str, list[tuple[ast.Constant, str]]] = {}
    for node in draft.edits.nodes():
        if not isinstance(node, ast.Constant) or not isinstance(node.value, float):
            continue
        value = node.value
        others = [
            (abs(known - value), text)
            for text, known in exact.items()
            if value and 0 < abs(known - value) <= _ROUNDED * abs(value)
        ]
        for _, other in sorted(others, key=lambda pair: pair[0])[:_MOST_OTHERS]:
            nearest.setdefault(repr(value), []).append((node, other))
    for written, pairs in list(nearest.items())[:_MOST_NUMBERS]:
        for text in dict.fromkeys(text for _, text in pairs):
            changes = tuple(Change(node, text) for node, other in pairs if other == text)
            message = f"nearly right: `{written}` is `{text}`, rounded"
            yield Guess("GC111", _EDIT, message, changes)
            if len(changes) > 1:
                for change in changes:
                    yield Guess("GC111", _EDIT + 0.01, message, (change,))
    if len(nearest) > 1:
        best = {number: pairs[0][1] for number, pairs in nearest.items()}
        changes = tuple(
            Change(node, text)
            for number, pairs in nearest.items()
            for node, text in pairs
            if text == best[number]
        )
        told = ", ".join(f"`{number}` is `{text}`" for number, text in best.items())
        yield Guess("GC111", _EDIT + 0.02, f"nearly right: numbers are rounded: {told}", changes)


def _epsilons(suspect: Suspect, draft: Draft) -> Iterator[Guess]:
    """An epsilon added where something is divided by or a root taken of it; one dropped or moved."""
    known = [e for e in dict.fromkeys([*literals(suspect), 1e-5, 1e-6, 1e-8, 1e-12]) if e <= _SMALL]
    for node in sites(draft):
        if _may_be_zero(draft, node):
            for epsilon in known:
                message = f"nearly right: epsilon is missing: {quoted(draft, node)} + {epsilon!r}"
                yield guess("GC111", _EPSILON, message, node, f"{{0}} + {epsilon!r}", node)
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, (ast.Add, ast.Sub)):
            continue
        right = draft.value(node.right)
        right = getattr(right, "value", right)
        if isinstance(right, (int, float)) and 0 < abs(right) <= _SMALL:
            message = f"nearly right: the epsilon {quoted(draft, node.right)} is extra"
            yield guess("GC111", _EPSILON, message, node, "{0}", node.left)
            for epsilon in known:
                message = (
                    f"nearly right: the epsilon {quoted(draft, node.right)} is not {epsilon!r}"
                )
                yield guess("GC111", _EPSILON, message, node.right, repr(epsilon))
            yield from _moved_epsilon(draft, node)


def _may_be_zero(draft: Draft, node: ast.expr) -> bool:
    """Whether something is divided by it, or a root or logarithm taken of it."""
    parent = draft.edits.parent(node)
    match parent:
        case ast.BinOp(op=ast.Div(), right=right):
            return right is node
        case ast.BinOp(op=ast.Pow(), left=left):
            return left is node
        case ast.Call(args=[only]) if only is node:
            return called(parent) in ("sqrt", "rsqrt", "log", "reciprocal")
        case ast.Attribute():
            above = draft.edits.parent(parent)
            return called(above) in ("sqrt", "rsqrt", "log", "reciprocal") if above else False
    return False


def _moved_epsilon(draft: Draft, node: ast.BinOp) -> Iterator[Guess]:
    """`sqrt(a) + eps` for `sqrt(a + eps)` and the other way round."""
    left, right = node.left, node.right
    message = f"nearly right: {quoted(draft, right)} stands on the wrong side of the root"
    if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Pow):
        base, power = left.left, left.right
        yield guess("GC111", _EPSILON, message, node, "({0} + {1})**{2}", base, right, power)
    if called(left) == "sqrt" and (inner := _argument(left)) is not None:
        yield guess("GC111", _EPSILON, message, node, "({0} + {1}).sqrt()", inner, right)
    parent = draft.edits.parent(node)
    if isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Pow) and parent.left is node:
        template = "{0}**{2} + {1}"
        yield guess("GC111", _EPSILON, message, parent, template, left, right, parent.right)
    if isinstance(parent, ast.Attribute):
        parent = draft.edits.parent(parent)
    if parent is not None and called(parent) == "sqrt":
        yield guess("GC111", _EPSILON, message, parent, "{0}.sqrt() + {1}", left, right)
    if parent is not None and called(parent) == "rsqrt":
        template = "1 / ({0}.sqrt() + {1})"
        yield guess("GC111", _EPSILON, message, parent, template, left, right)


def _argument(node: ast.AST) -> ast.expr | None:
    """The tensor that a call of one argument is applied to."""
    match node:
        case ast.Call(args=[inner]):
            return inner
        case ast.Call(func=ast.Attribute(value=inner), args=[]):
            return inner
    return None


def _other_names(draft: Draft) -> Iterator[Guess]:
    """Another `let` name, of the same shape, in place of one: that with the epsilon for that without."""
    places: dict[str, list[ast.expr]] = {}
    for node in sites(draft):
        if isinstance(node, ast.Name) and not _is_input(draft, node.id):
            places.setdefault(node.id, []).append(node)
    for name, nodes in places.items():
        for other, tensor in draft.scope.items():
            is_let = tensor.op is not INPUT and tensor.shape == draft.scope[name].shape
            if other != name and is_let and tensor.value is None:
                changes = tuple(Change(node, other) for node in nodes)
                message = f"nearly right: `{name}` stands where it should be `{other}`"
                yield Guess("GC111", _EPSILON + 0.02, message, changes)


def _is_input(draft: Draft, name: str) -> bool:
    return name not in draft.scope or draft.scope[name].op is INPUT


def _casts(draft: Draft) -> Iterator[Guess]:
    """Conversions to a lower precision left out."""
    for node in draft.edits.nodes():
        match node:
            case ast.Call(func=ast.Attribute(value=inner)) if called(node) in _CASTS:
                message = f"nearly right: {quoted(draft, node)} rounds to a lower precision"
                yield guess("GC111", _EPSILON, message, node, "{0}", inner)


def _as_it_is(suspect: Suspect) -> Finding:
    """What can be said without a repair: the precision that the errors look like, or how large they are."""
    wrong, goal = suspect.gradient, target(suspect)
    fix = None if suspect.edits is None else short_truth(suspect)
    if wrong.size > 1:
        for dtype in _TYPES:
            if np.array_equal(rounded(wrong, dtype), wrong) and not _is_exact(goal, dtype):
                message = (
                    f"nearly right: every element is a number of {dtype}, the right ones are not"
                )
                return Finding("GC111", message, fix, _PRECISION)
    with np.errstate(all="ignore"):
        relative = (np.abs(wrong - goal) / np.abs(goal))[goal != 0]
    typical, most = float(np.median(relative)), float(relative.max())
    message = (
        f"nearly right: relative errors of {typical:.1e}, at most {most:.1e}: a rounded constant, a "
        "lower precision, or an epsilon"
    )
    return Finding("GC111", message, fix, _NEARLY)


def _is_exact(array: Array, dtype: str) -> bool:
    return bool(np.array_equal(rounded(array, dtype), array))
