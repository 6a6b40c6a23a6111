"""A number is missing or extra in a sum (GC105): the 1 of `1 - y`, the 1 of `log(x) + 1`."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.lang.edits import Change
from gradcheck_cli.verdict.diagnosis.gaps import Part, is_term_of_more, parts
from gradcheck_cli.verdict.diagnosis.guesses import Guess, guess, is_number, quoted, sites, tried

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

LEAST, SEARCH = 0.952, 0.985
_EXTRA, _MINUS = 0.952, 0.953
_WHOLE, _PART, _ARGUMENT = 0.985, 0.99, 1.1
_NUMBERS = (1, 2, 0.5, 3)
_FITS = 1e-9


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Numbers left out."""
    if suspect.draft is not None:
        yield from tried(suspect, [*_extra(suspect.draft), *_minus(suspect.draft)])


def search(suspect: Suspect) -> Iterator[Finding]:
    """Parts to which the same number must be added everywhere."""
    if suspect.draft is not None and suspect.gradient.size > 1:
        guesses = [made for part in suspect.once(parts) for made in _missing(suspect, part)]
        yield from tried(suspect, guesses)


def _extra(draft: Draft) -> Iterator[Guess]:
    """Sums without a number that is added or subtracted."""
    for node in sites(draft):
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Sub)):
            for kept, gone in ((node.left, node.right), (node.right, node.left)):
                if draft.tensor(kept) is None or not is_number(draft, gone):
                    continue
                sign = "-" if isinstance(node.op, ast.Sub) and kept is node.right else ""
                message = f"a term is extra: {quoted(draft, gone)}"
                yield guess("GC105", _EXTRA, message, node, f"{sign}{{0}}", kept)


def _minus(draft: Draft) -> Iterator[Guess]:
    """The 1 of `1 - a` forgotten."""
    for node in sites(draft):
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            message = f"a term is missing: `1`, beside {quoted(draft, node)}"
            yield guess("GC105", _MINUS, message, node, "1 - {0}", node.operand)


def _missing(suspect: Suspect, part: Part) -> Iterator[Guess]:
    if is_term_of_more(suspect, part.node) or isinstance(part.node, ast.Constant):
        return
    assert suspect.draft is not None
    if _has_number(suspect.draft, part.node):
        return  # that number is wrong, not another missing
    if part.needed is None:
        yield _guess(suspect, part, "1", "{0} + 1", part.node)
        yield _guess(suspect, part, "-1", "{0} - 1", part.node)
        return
    gap = part.needed - part.value
    known = gap[np.isfinite(gap)]
    for number in _NUMBERS:
        for sign, signed in (("+", number), ("-", -number)):
            if known.size and float(np.abs(known - signed).max()) <= _FITS * _largest(part):
                yield _guess(suspect, part, str(signed), f"{{0}} {sign} {number}", part.node)


def _has_number(draft: Draft, node: ast.AST) -> bool:
    """Whether it is a sum of which a number is a term."""
    if not isinstance(node, ast.BinOp) or not isinstance(node.op, (ast.Add, ast.Sub)):
        return False
    return any(
        is_number(draft, side) or _has_number(draft, side) for side in (node.left, node.right)
    )


def _guess(suspect: Suspect, part: Part, term: str, template: str, inner: ast.expr) -> Guess:
    assert suspect.draft is not None
    message = f"a term is missing: `{term}`, beside {quoted(suspect.draft, part.node)}"
    cost = _WHOLE if part.is_whole else _PART
    if isinstance(suspect.draft.edits.parent(part.node), (ast.Call, ast.Attribute)):
        cost = max(cost, _ARGUMENT)
    return Guess("GC105", cost, message, (Change(part.node, template, (inner,)),))


def _largest(part: Part) -> float:
    return max(1.0, float(np.abs(part.value).max(initial=0.0)))
