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

LEAST = 0.952
_WHOLE, _MINUS, _PART = 0.952, 0.953, 0.975
_NUMBERS = (1, 2, 0.5, 3)
_FITS = 1e-9


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Numbers left out; then parts to which the same number must be added everywhere."""
    draft = suspect.draft
    if draft is None:
        return
    found = list(tried(suspect, _extra(draft)))
    yield from found
    if not found and suspect.gradient.size > 1:
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
                yield guess("GC105", _WHOLE, message, node, f"{sign}{{0}}", kept)


def _missing(suspect: Suspect, part: Part) -> Iterator[Guess]:
    if isinstance(part.node, ast.UnaryOp) and isinstance(part.node.op, ast.USub):
        yield _guess(suspect, part, "1", "1 - {0}", part.node.operand)
    if is_term_of_more(suspect, part.node):
        return
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


def _guess(suspect: Suspect, part: Part, term: str, template: str, inner: ast.expr) -> Guess:
    assert suspect.draft is not None
    message = f"a term is missing: `{term}`, beside {quoted(suspect.draft, part.node)}"
    cost = _WHOLE if part.is_whole else _PART if inner is part.node else _MINUS
    return Guess("GC105", cost, message, (Change(part.node, template, (inner,)),))


def _largest(part: Part) -> float:
    return max(1.0, float(np.abs(part.value).max(initial=0.0)))
