"""Changes of the person's formula, evaluated together: those that pass are findings."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradcheck_cli.graph import topological
from gradcheck_cli.lang.edits import Change, Edits
from gradcheck_cli.lang.parse import shortened
from gradcheck_cli.verdict.diagnosis.suspect import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

# What costs more than this is odd: it is tried when nothing plain is found.
ODD = 1.2
# Tried together at first; each time twice as many.
_FIRST_BATCH = 48
# Of one family, for formulas of ordinary length; and how many numbers its evaluation may make.
_MOST_GUESSES = 600
_MOST_NUMBERS = 2**25
# A change that broadcasts to so many elements, and to more than so many times the formula's own, is none.
_WIDE, _WIDER = 2**16, 16
# Longer parts are shown without what is deep inside of them.
_SHOWN, _DEEPEST = 48, 6
# A formula with more parts than this is not searched: it was written by a program.
_MOST_PARTS = 300
# The same change at all places costs more than at one; one inside of a comparison or of a bound, which only
# decides about a region, more than one of the mask itself.
_EVERYWHERE, _DECIDING = 0.2, 0.3
_BOUNDED = frozenset({"clamp", "clip", "clamp_min", "clamp_max", "hardtanh"})


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
    """The guesses that pass, at a second draw of the inputs too, with the formula changed accordingly.

    Odd ones are put off: see `put_off`.
    """
    plain: list[Guess] = []
    for made in guesses:
        (plain if made.cost <= ODD else suspect.deferred).append(made)
    yield from passing(suspect, plain)


def put_off(suspect: Suspect) -> Iterator[Finding]:
    """Of the odd guesses of all families, those that pass."""
    guesses = list(suspect.deferred)
    suspect.deferred.clear()
    yield from passing(suspect, guesses)


def passing(suspect: Suspect, guesses: Iterable[Guess]) -> Iterator[Finding]:
    """The guesses that pass, however odd."""
    edits = suspect.edits
    if edits is None:
        return
    for batch in _batches(suspect, guesses):
        if batch[0].cost > suspect.limit:
            return
        for node, made in _built(suspect, batch):
            if not suspect.holds(node):
                suspect.once(_failed).add(node)
            else:
                text = edits.changed(made.changes)
                if suspect.survives(text):
                    finding = Finding(made.code, made.message, text, made.cost, made.changes)
                    if finding.cost < suspect.limit and suspect.is_general(finding):
                        suspect.found.append(finding)
                    yield finding


def _batches(suspect: Suspect, guesses: Iterable[Guess]) -> Iterator[list[Guess]]:
    """Guesses in the order of their cost, few at first: mostly one of the cheap ones is right."""
    draft = suspect.draft
    assert draft is not None
    weighed = [_weighed(draft, made) for made in guesses]
    ordered = sorted(_with_everywhere(draft, weighed), key=lambda made: made.cost)
    most = 2 * min(_MOST_GUESSES, _MOST_NUMBERS // max(1, suspect.variable.elements))
    start, size = 0, _FIRST_BATCH
    while start < min(len(ordered), most):
        yield ordered[start : min(start + size, most)]
        start, size = start + size, 2 * size


def _built(suspect: Suspect, guesses: Sequence[Guess]) -> list[tuple[Expr, Guess]]:
    """Guesses as graphs, the cheapest of those that come to the same, evaluated together."""
    draft = suspect.draft
    assert draft is not None
    found: dict[Expr, Guess] = {}
    failed = suspect.once(_failed)
    widest = suspect.once(_widest)
    for made in guesses:
        if made.cost > suspect.limit:
            break
        node = suspect.fitted(draft.changed(made.changes))
        if node is None or node in failed or node in found:
            continue
        if all(part.elements <= widest for part in topological([node])):
            found[node] = made
    suspect.values(list(found))
    suspect.attempts.extend(found.items())
    return list(found.items())


def _failed(suspect: Suspect) -> set[Expr]:
    """What was tried in vain, by whichever family."""
    return set() if suspect.own is None else {suspect.own}


def _widest(suspect: Suspect) -> int:
    own = () if suspect.own is None else (suspect.own,)
    return max(_WIDE, _WIDER * max((node.elements for node in topological(own)), default=0))


def _weighed(draft: Draft, made: Guess) -> Guess:
    """Of numbers that only decide about a region, other ones explain less."""
    if made.code == "GC108" or not any(decides(draft, change.node) for change in made.changes):
        return made
    return replace(made, cost=made.cost + _DECIDING)


def decides(draft: Draft, node: ast.AST) -> bool:
    """Whether it is a part of a comparison, or a bound of a clamp: it only decides about a region."""
    below, above = node, draft.edits.parent(node)
    while above is not None:
        if isinstance(above, ast.Compare):
            return True
        if isinstance(above, ast.keyword):
            above = draft.edits.parent(above)
            continue
        if isinstance(above, ast.Call) and called(above) in _BOUNDED:
            owner = above.func.value if isinstance(above.func, ast.Attribute) else above.func
            is_first = above.args[:1] == [below] and not draft.edits.is_part(owner)
            if below is not above.func and not is_first:
                return True
        below, above = above, draft.edits.parent(above)
    return False


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


def repeats(
    draft: Draft, kept: ast.expr, gone: ast.expr, between: tuple[type[ast.operator], ...]
) -> bool:
    """Whether one of the operands of a chain `kept` is the same text as `gone`."""
    if draft.edits.segment(kept) == draft.edits.segment(gone):
        return True
    return isinstance(kept, ast.BinOp) and (
        isinstance(kept.op, between)
        and (repeats(draft, kept.left, gone, between) or repeats(draft, kept.right, gone, between))
    )


def is_number(draft: Draft, node: ast.AST) -> bool:
    """Whether a part is a Python number: a literal, or a size such as `x.numel()`."""
    value = draft.value(node)
    value = getattr(value, "value", value)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def quoted(draft: Draft, node: ast.AST) -> str:
    """A part as a message shows it: by the name that it has, or without what is deep inside of it."""
    if node not in draft.shown:
        draft.shown[node] = _quoted(draft, node)
    return draft.shown[node]


def _quoted(draft: Draft, node: ast.AST) -> str:
    text = " ".join(draft.edits.segment(node).split())
    if len(text) <= _SHOWN:
        return f"`{text}`"
    tensor = draft.tensor(node)
    if tensor is not None:
        name = next((name for name, known in draft.scope.items() if known is tensor), None)
        if name is not None:
            return f"`{name}`"
    return f"`{brief(text)}`"


def brief(text: str) -> str:
    """A formula as a message shows it: where it is long, with `...` for what is deep inside of it.

    >>> brief("(weight * (predicted - real)).sum(0) / (predicted.norm() * real.norm())")
    '(...).sum(0) / (predicted.norm() * ...)'
    """
    if len(text) <= _SHOWN:
        return text
    edits = Edits.of(text)
    for depth in range(_DEEPEST, 0, -1):
        shown = _cut(edits, depth)
        if len(shown) <= _SHOWN:
            return shown
    return shortened(text)


def _cut(edits: Edits, depth: int) -> str:
    """The text with `...` for what is further down than `depth`."""
    text = edits.text
    level = [(child, depth) for child in ast.iter_child_nodes(edits.tree)]
    spans = []
    while level:
        part, left = level.pop()
        if not isinstance(part, (ast.expr, ast.keyword)):
            continue
        is_atom = isinstance(part, (ast.Name, ast.Constant)) or not (
            isinstance(part, ast.expr) and edits.is_part(part)
        )
        if left > 1 or is_atom or isinstance(part, ast.Attribute):
            level += [(child, left - (not is_atom)) for child in ast.iter_child_nodes(part)]
        elif len(edits.segment(part)) > len("..."):
            spans.append(edits.formula.span(part))
    # What is short needn't be cut where there is room for it.
    spans.sort(key=lambda span: span[1] - span[0])
    length = len(text) - sum(high - low - len("...") for low, high in spans)
    while spans and length + spans[0][1] - spans[0][0] - len("...") <= _SHOWN:
        low, high = spans.pop(0)
        length += high - low - len("...")
    for low, high in sorted(spans, reverse=True):
        text = f"{text[:low]}...{text[high:]}"
    return text


def called(node: ast.AST) -> str:
    """The bare name of what a call calls: `sum` of `x.sum(0)` and of `torch.sum(x, 0)`."""
    func = node.func if isinstance(node, ast.Call) else None
    return func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
