"""A sign wrong somewhere in the formula: of a term, of an argument, or a difference the wrong way round."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gradcheck_cli.verdict.diagnosis.guesses import Guess, guess, is_number, quoted, sites, tried

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

LEAST = 0.96

# A difference of operands up to this length is more likely the wrong way round than its product negative.
_SHORT = 24
# The sign of a number costs less than another number in its place.
_NUMBER = 0.965
# A term with the wrong sign is plainer than a number missing in a part (0.99).
_TERM = 0.988


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Signs that, changed at one place, make the formula right."""
    if suspect.draft is not None:
        yield from tried(suspect, _guesses(suspect.draft))


def _guesses(draft: Draft) -> Iterator[Guess]:
    edits = draft.edits
    for node in sites(draft):
        whole = node is edits.tree
        shown = quoted(draft, node)
        match node:
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                numbers = is_number(draft, left) or is_number(draft, right)
                long = len(edits.segment(node)) > _SHORT
                message = f"the operands of the difference {shown} are interchanged"
                cost = 1.2 if numbers or long else 0.961
                yield guess("GC102", cost, message, node, "{1} - {0}", left, right)
                message = (
                    f"the sign of the term {quoted(draft, right)} is wrong: it should be added"
                )
                cost = _NUMBER if is_number(draft, right) else _TERM
                yield guess("GC102", cost, message, node, "{0} + {1}", left, right)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                message = (
                    f"the sign of the term {quoted(draft, right)} is wrong: it should be subtracted"
                )
                cost = _NUMBER if is_number(draft, right) else _TERM
                yield guess("GC102", cost, message, node, "{0} - {1}", left, right)
                message = (
                    f"the sign of the term {quoted(draft, left)} is wrong: it should be subtracted"
                )
                cost = _NUMBER if is_number(draft, left) else 1.15
                yield guess("GC102", cost, message, node, "{1} - {0}", left, right)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                message = "the sign is flipped"
                if not whole:
                    message = f"the minus before {quoted(draft, operand)} is too much"
                yield guess("GC102", LEAST if whole else 1.1, message, node, "{0}", operand)
                continue
        # A factor's sign is its product's.
        if whole or (
            isinstance(edits.parent(node), (ast.BinOp, ast.UnaryOp)) and not _is_term(draft, node)
        ):
            continue
        yield guess("GC102", 1.15, f"the sign of {shown} is wrong", node, "-{0}", node)


def _is_term(draft: Draft, node: ast.expr) -> bool:
    """Whether a sign before it is no longer that of what it is a factor of."""
    parent = draft.edits.parent(node)
    return isinstance(parent, ast.BinOp) and isinstance(parent.op, (ast.Add, ast.Sub, ast.Pow))
