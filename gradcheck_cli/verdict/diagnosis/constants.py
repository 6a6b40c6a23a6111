"""A number wrong somewhere in the formula: a literal, a size, a forgotten factor of a term, a mean for a sum.

A literal is solved for: the gradient as a function of it is followed by Gauss-Newton steps (for one unknown,
the secant), which end at once where the dependence is affine; the number found is then named.
"""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.lang.edits import Change
from gradcheck_cli.verdict.diagnosis.guesses import (
    Guess,
    called,
    guess,
    is_number,
    quoted,
    sites,
    tried,
)
from gradcheck_cli.verdict.diagnosis.whole import factors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

Array = npt.NDArray[Any]

LEAST, SEARCH = 0.96, 1.1
# Numbers as factors are too much (0.97) rather than others.
_LITERAL = 0.98

# Literals that are solved for, and steps for each; terms that are.
_MOST_LITERALS, _STEPS, _MOST_TERMS = 12, 6, 24
# A literal moves by this much of itself to see what depends on it.
_MOVE = 1e-4
# A solution is named where a name's value is as near as this.
_NAMED = 1e-7
# What a number costs that nothing gives a name.
_UNNAMED = 2.5
# A root or a multiple of pi in place of a number is hardly a slip of the pen; nor is a fraction in place of a
# whole number, or a whole number other than its neighbours, its double and its half.
_ODD, _FRACTION, _FAR = 0.4, 0.6, 0.2
# A factor of 1 is left out rather than written.
_NEEDLESS = 0.03
# What is easily written in place of another small number.
_PLAIN = (1.0, 2.0, 3.0, 4.0)
# Whole numbers below this are rarely sizes written out.
_SMALL = 5
# A constant that is nearer than this to the right one was rounded.
_ROUNDED = 1e-2
_REDUCTIONS = {"mean": "sum", "sum": "mean", "nanmean": "nansum", "nansum": "nanmean"}


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Numbers that, changed at one place, make the formula right."""
    draft = suspect.draft
    if draft is None:
        return
    places = sites(draft)
    guesses = [
        *_literals(suspect, draft),
        *_terms(suspect, draft, places),
        *_numbers(suspect, draft),
        *_reductions(draft),
    ]
    yield from tried(suspect, guesses)


def _reductions(draft: Draft) -> Iterator[Guess]:
    """A mean where a sum is right, and the other way round."""
    for node in draft.edits.nodes():
        match node:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in _REDUCTIONS:
                other = _REDUCTIONS[name]
                message = f"`{name}` is used where `{other}` is right"
                template, parts = draft.edits.renamed(node, other)
                yield guess("GC101", 0.96, message, node, template, *parts)
            case ast.Constant(value="mean" | "sum" as name):
                message = f"the reduction is '{name}', it should be '{_REDUCTIONS[name]}'"
                yield guess("GC101", 0.96, message, node, f"'{_REDUCTIONS[name]}'")


def _numbers(suspect: Suspect, draft: Draft) -> Iterator[Guess]:
    """Sizes in place of others, and factors that are numbers and too much."""
    sizes = suspect.sizes
    for node in draft.edits.nodes():
        if draft.value(node) is None:
            continue
        match node:
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                for factor, rest in ((left, right), (right, left)):
                    if is_number(draft, factor) and draft.tensor(rest) is not None:
                        message = f"the factor {quoted(draft, factor)} is too much"
                        near = abs((literal(factor) or 0.0) - 1) <= _ROUNDED
                        code = "GC111" if near else "GC101"
                        yield guess(code, 0.97, message, node, "{0}", rest)
            case ast.BinOp(left=left, op=ast.Div(), right=right) if is_number(draft, right):
                message = f"the division by {quoted(draft, right)} is too much"
                yield guess("GC101", 0.97, message, node, "{0}", left)
        if is_number(draft, node) and not isinstance(node, (ast.Constant, ast.UnaryOp)):
            for cost, text in enumerate(sizes):
                message = f"{quoted(draft, node)} is used where `{text}` is right"
                yield guess("GC101", 0.98 + 1e-3 * cost, message, node, text)


def _literals(suspect: Suspect, draft: Draft) -> Iterator[Guess]:
    """Literals of the formula replaced by their neighbours, their double and their half."""
    for node in _unknowns(draft):
        own = literal(node) or 0.0
        small = _PLAIN if own.is_integer() and abs(own) <= _SMALL else ()
        for other in dict.fromkeys((own - 1, own + 1, -own, 2 * own, own / 2, *small)):
            if other not in (0, own):
                yield from _named_literal(suspect, draft, node, other)


def search(suspect: Suspect) -> Iterator[Finding]:
    """Literals that are solved for."""
    draft = suspect.draft
    if draft is None:
        return
    solved = _solved(suspect, draft, _unknowns(draft))
    guesses = [
        replace(made, cost=made.cost + SEARCH - LEAST)
        for node, found in solved
        for made in _named_literal(suspect, draft, node, found)
    ]
    yield from tried(suspect, guesses)


def _unknowns(draft: Draft) -> list[ast.expr]:
    """Literals of the formula that may be others."""
    found = [
        node
        for node in draft.edits.nodes()
        if literal(node) is not None
        and literal(draft.edits.parent(node)) is None
        and _enters(draft, node)
    ]
    return found[:_MOST_LITERALS]


def literal(node: ast.AST | None) -> float | None:
    """The number that a part is, written out, with its sign."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        found = literal(node.operand)
        return None if found is None else -found
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return {"pi": math.pi, "e": math.e}.get(node.attr) if node.value.id == "math" else None
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return None if isinstance(node.value, bool) else float(node.value)
    return None


def _enters(draft: Draft, node: ast.expr) -> bool:
    """Whether it is a number to compute with, not an axis, a bound or a size."""
    parent = draft.edits.parent(node)
    if isinstance(parent, (ast.BinOp, ast.Compare)):
        return not isinstance(parent, ast.Compare)
    if isinstance(parent, ast.keyword):
        parent = draft.edits.parent(parent)
    return isinstance(parent, ast.Call) and (
        isinstance(getattr(node, "value", None), float) or called(parent) in _WITH_NUMBERS
    )


# Calls of which a whole number is no axis or size.
_WITH_NUMBERS = frozenset({"pow", "clamp", "where", "full_like", "float_power", "tensor"})


def _solved(
    suspect: Suspect, draft: Draft, unknowns: Sequence[ast.expr]
) -> list[tuple[ast.expr, float]]:
    """Those literals for which there is a value that makes the gradient right, with that value."""
    own = {node: literal(node) or 0.0 for node in unknowns}
    current = dict(own)
    solved: list[tuple[ast.expr, float]] = []
    for _ in range(_STEPS):
        points = {}
        for node, value in current.items():
            move = _MOVE * abs(value) or _MOVE
            made = [
                suspect.fitted(draft.changed((Change(node, repr(number)),)))
                for number in (value, value + move)
            ]
            if None not in made:
                points[node] = made
        nodes = [made for both in points.values() for made in both if made is not None]
        values = iter(suspect.values(nodes))
        stepped: dict[ast.expr, float] = {}
        for node in points:
            here, beside = next(values), next(values)
            value = current[node]
            if here is None or beside is None:
                continue
            if value != own[node] and suspect.near(here) and suspect.right(here):
                solved.append((node, value))
                continue
            slope = (beside - here) / (_MOVE * abs(value) or _MOVE)
            step = fitted(slope, suspect.reference - here)
            if step is not None and abs(step) <= 1e3 * max(1.0, abs(value)):
                stepped[node] = value + step
        current = stepped
    return solved


def fitted(direction: Array, target: Array) -> float | None:
    """The multiple of `direction` that comes nearest to `target`, by least squares."""
    known = np.isfinite(direction) & np.isfinite(target)
    a, b = direction[known], target[known]
    with np.errstate(all="ignore"):
        square = float(a @ a)
        result = float(a @ b) / square if square > 0 else math.nan
    return result if math.isfinite(result) else None


def _named_literal(suspect: Suspect, draft: Draft, node: ast.expr, found: float) -> Iterator[Guess]:
    """The guesses that put a number in place of a literal: plainly written ones first."""
    own = literal(node) or 0.0
    exponent = _is_exponent(draft, node)
    shown = quoted(draft, node)
    if abs(found) < _NAMED * max(1.0, abs(own)):
        return  # not wrong, but too much: that is a term's or a factor's matter
    if not exponent and math.isclose(found, -own, rel_tol=_NAMED):
        message = f"the sign of the constant {shown} is wrong"
        cost = 1.16 if _is_factor(draft, node) else 0.968
        yield guess("GC102", cost, message, node, f"{-own:g}")
        return
    code = "GC113" if exponent else "GC101"
    if abs(found - own) <= _ROUNDED * abs(own) and not own.is_integer():
        code = "GC111"
    what = "exponent" if exponent else "constant"
    is_factor = _is_factor(draft, node)
    for cost, text in _texts(suspect, own, found):
        message = f"the {what} {shown} should be `{text}`"
        needless = _NEEDLESS if is_factor and text == "1" else 0.0
        yield guess(code, _LITERAL + cost + needless, message, node, text)


def _is_factor(draft: Draft, node: ast.AST) -> bool:
    parent = draft.edits.parent(node)
    return isinstance(parent, ast.BinOp) and isinstance(parent.op, (ast.Mult, ast.Div))


def _is_plain(number: float) -> bool:
    """Whether it is whole, or a half or a quarter of a small number."""
    return (4 * number).is_integer() and (number.is_integer() or abs(number) < _SMALL)


def _is_exponent(draft: Draft, node: ast.AST) -> bool:
    parent = draft.edits.parent(node)
    if isinstance(parent, ast.BinOp):
        return isinstance(parent.op, ast.Pow) and parent.right is node
    return isinstance(parent, ast.Call) and called(parent) in ("pow", "float_power")


def _texts(suspect: Suspect, own: float, number: float) -> Iterator[tuple[float, str]]:
    """How a number may be written, and how odd that is: whole, a size, a fraction, at last its digits."""
    near = round(4 * number) / 4
    named = False
    if math.isclose(number, near, rel_tol=_NAMED) and _is_plain(near):
        named = True
        fraction = _FRACTION if own.is_integer() and not near.is_integer() else 0.0
        plain = near in (own - 1, own + 1, 2 * own, own / 2)
        yield max(fraction, 0.0 if plain else _FAR * (abs(near) > 2 * _SMALL)), f"{near:g}"
    sign = "-" if number < 0 else ""
    for cost, (value, _, template) in enumerate(factors(suspect.sizes, suspect.numbers)):
        if math.isclose(abs(number), value, rel_tol=_NAMED):
            named = True
            text = template.format("1").removeprefix("1 * ").removesuffix(" * 1")
            odd = _ODD if "**" in template or "pi" in template else 0.0
            yield (
                (0.08 if own.is_integer() and abs(own) < _SMALL else 0.0) + odd + 1e-3 * (1 + cost),
                sign + text.replace(" * 1 ", " "),
            )
    short = f"{number:.3g}"
    if not named and math.isclose(number, float(short), rel_tol=_NAMED):
        yield 0.1, repr(float(short))
    elif not named:
        yield _UNNAMED, repr(number)


def _terms(suspect: Suspect, draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """Terms and arguments with a factor: where the gradient is affine in that factor, it is solved for."""
    terms = [node for node in places if _is_apart(draft, node)][:_MOST_TERMS]
    without = [suspect.fitted(draft.changed((Change(node, "0 * {0}", (node,)),))) for node in terms]
    both = [(node, graph) for node, graph in zip(terms, without, strict=True) if graph is not None]
    values = suspect.values([graph for _, graph in both])
    for (node, _), value in zip(both, values, strict=True):
        if value is None:
            continue
        with np.errstate(all="ignore"):
            alone = suspect.gradient - value
        factor = fitted(alone, suspect.reference - value)
        with np.errstate(all="ignore"):
            made = None if factor is None else value + factor * alone
        if factor is None or made is None or not (suspect.near(made) and suspect.right(made)):
            yield from _plain_factors(suspect, draft, node)
        elif not math.isclose(factor, -1.0, rel_tol=_NAMED):
            yield from _named_factor(suspect, draft, node, factor)


def _named_factor(suspect: Suspect, draft: Draft, node: ast.expr, factor: float) -> Iterator[Guess]:
    sign = "-" if factor < 0 else ""
    for cost, (value, name, template) in enumerate(factors(suspect.sizes, suspect.numbers)):
        if math.isclose(abs(factor), value, rel_tol=_NAMED):
            term = quoted(draft, node)
            message = f"the term {term} is off by a constant factor: multiply it by {sign}{name}"
            yield guess("GC101", 1.2 + 1e-3 * cost, message, node, sign + template, node)


def _plain_factors(suspect: Suspect, draft: Draft, node: ast.expr) -> Iterator[Guess]:
    """Where the dependence isn't affine: the factors that are forgotten most often."""
    for cost, (_, name, template) in enumerate(_common(suspect, draft, node)):
        message = f"{quoted(draft, node)} is off by a constant factor: multiply it by {name}"
        yield guess("GC101", 1.3 + 1e-3 * cost, message, node, template, node)


def _common(suspect: Suspect, draft: Draft, node: ast.expr) -> Iterable[tuple[float, str, str]]:
    yield 2, "2", "2 * {0}"
    yield 0.5, "1/2", "{0} / 2"
    for value in suspect.numbers:
        yield value, f"{value:g}", f"{value:g} * {{0}}"
        yield 1 / value, f"1 / {value:g}", f"{{0}} / {value:g}"
    tensor = draft.tensor(node)
    sizes = {size for size in tensor.shape if size > 1} if tensor is not None else set()
    for text, size in suspect.sizes.items():
        if size in sizes or size == math.prod(sizes):
            yield 1 / size, f"1 / {text}", f"{{0}} / {text}"
            yield size**-0.5, f"1 / sqrt({text})", f"{{0}} / {text}**0.5"


def _is_apart(draft: Draft, node: ast.expr) -> bool:
    """Whether a factor of it is no longer a factor of what it stands in: a term, or an argument."""
    parent = draft.edits.parent(node)
    if isinstance(parent, ast.BinOp):
        return isinstance(parent.op, (ast.Add, ast.Sub)) or (
            isinstance(parent.op, ast.Pow) and parent.left is node
        )
    return isinstance(parent, (ast.Call, ast.keyword, ast.Attribute))
