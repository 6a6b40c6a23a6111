"""Changes of the person's formula, evaluated together: those that pass are findings."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck_cli.graph import topological
from gradcheck_cli.lang.edits import Change
from gradcheck_cli.lang.parse import shortened
from gradcheck_cli.verdict.diagnosis.suspect import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

# Of one family, for formulas of ordinary length; and how many numbers its evaluation may make.
_MOST_GUESSES = 600
_MOST_NUMBERS = 2**25
# A change that broadcasts to so many elements, and to more than so many times the formula's own, is none.
_WIDE, _WIDER = 2**16, 16
# A formula with more parts than this is not searched: it was written by a program.
_MOST_PARTS = 300
# The same change at all places costs a little more than at one.
_EVERYWHERE = 0.02


@dataclass(frozen=True, slots=True)
class Guess:
    """A change of the formula, what it says of the mistake, and what it costs."""

    code: str
    cost: float
    message: str
    changes: tuple[Change, ...]


def guess(
    code: str, cost: float, message: str, node: ast.AST, template: str, *parts: ast.AST
) -> Guess:
    """The guess that changes one node."""
    return Guess(code, cost, message, (Change(node, template, parts),))


def tried(suspect: Suspect, guesses: Iterable[Guess]) -> Iterator[Finding]:
    """The guesses that pass, at a second draw of the inputs too, with the formula changed accordingly."""
    edits = suspect.edits
    if edits is None:
        return
    for node, made in built(suspect, guesses):
        if suspect.holds(node):
            text = edits.changed(made.changes)
            if suspect.survives(text):
                yield Finding(made.code, made.message, text, made.cost)


def built(suspect: Suspect, guesses: Iterable[Guess]) -> list[tuple[Expr, Guess]]:
    """Guesses as graphs, the cheapest of those that come to the same, evaluated together."""
    draft = suspect.draft
    if draft is None:
        return []
    ordered = sorted(_with_everywhere(draft, list(guesses)), key=lambda made: made.cost)
    most = min(_MOST_GUESSES, _MOST_NUMBERS // max(1, suspect.variable.elements))
    found: dict[Expr, Guess] = {}
    own = () if suspect.own is None else (suspect.own,)
    widest = max(_WIDE, _WIDER * max((node.elements for node in topological(own)), default=0))
    for made in ordered[: 2 * most]:
        node = suspect.fitted(draft.changed(made.changes))
        if node is None or node is suspect.own:
            continue
        if all(part.elements <= widest for part in topological([node])):
            found.setdefault(node, made)
        if len(found) >= most:
            break
    suspect.values(list(found))
    suspect.attempts.extend(found.items())
    return list(found.items())


def _with_everywhere(draft: Draft, guesses: list[Guess]) -> list[Guess]:
    """Beside each guess, the same change at all places where the same text stands."""
    places: dict[tuple[str, str, tuple[str, ...]], list[Guess]] = {}
    segment = draft.edits.segment
    for made in guesses:
        if len(made.changes) == 1:
            ((node, template, parts),) = made.changes
            key = segment(node), template, tuple(segment(part) for part in parts)
            places.setdefault(key, []).append(made)
    together = []
    for same in places.values():
        nodes = {made.changes[0].node: made for made in same}
        if len(nodes) > 1:
            first = same[0]
            changes = tuple(made.changes[0] for made in nodes.values())
            cost = first.cost + _EVERYWHERE
            together.append(Guess(first.code, cost, first.message, changes))
    return guesses + together


def sites(draft: Draft) -> list[ast.expr]:
    """The parts of the formula that are tensors, the outermost first; none inside of a size."""
    found: list[ast.expr] = []
    level: list[ast.AST] = [draft.edits.tree]
    while level:
        below: list[ast.AST] = []
        for node in level:
            if isinstance(node, ast.expr) and draft.edits.is_part(node):
                if draft.tensor(node) is not None:
                    found.append(node)
                elif is_number(draft, node):
                    continue
            below += ast.iter_child_nodes(node)
        level = below
    return found if len(found) <= _MOST_PARTS else []


def is_number(draft: Draft, node: ast.AST) -> bool:
    """Whether a part is a Python number: a literal, or a size such as `x.numel()`."""
    value = draft.value(node)
    value = getattr(value, "value", value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def quoted(draft: Draft, node: ast.AST) -> str:
    """A part as a message shows it."""
    return f"`{shortened(draft.edits.segment(node))}`"


def called(node: ast.AST) -> str:
    """The bare name of what a call calls: `sum` of `x.sum(0)` and of `torch.sum(x, 0)`."""
    func = node.func if isinstance(node, ast.Call) else None
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
