"""The way from a raw expression to a short one, as few forms that follow from each other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck_cli.calculus.simplify import sweep
from gradcheck_cli.graph import topological
from gradcheck_cli.lang.printer import to_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.calculus.rewrites.tables import Rewrite
    from gradcheck_cli.graph import Expr

    Rewriting = tuple[Rewrite, Expr, Expr]

# A raw form of more nodes is a wall of text, not a step.
_MOST_NODES = 60
_MOST_CHARACTERS = 320
# The longer the way, the larger the strides; and at most so many forms of one expression, and of all.
_MOST_STRIDES = 24
_MOST_FORMS = 4
_MOST_LINES = 12
# A form that is shorter by less is no step worth a line.
_LEAST_SAVING = 4
_EXAMPLE = re.compile(r"`([^`]+ -> [^`]+)`")


@dataclass(frozen=True, slots=True)
class Form:
    """A form of an expression, and by which rewrites it follows from the one before (none: the first)."""

    node: Expr
    reasons: tuple[str, ...] = ()


def forms(
    raw: Sequence[Expr], history: Sequence[Rewriting], final: Sequence[Expr]
) -> tuple[tuple[Form, ...], ...]:
    """For each raw expression the forms that it goes through, the last one final.

    `history` are the rewrites in the order in which they were made: which one, before, and after. Only
    forms that are shorter than all before them are kept.
    """
    kept = [[Form(node)] if _is_short(node) else [] for node in raw]
    pending: list[list[str]] = [[] for _ in raw]
    current = tuple(raw)
    shown = [index for index, found in enumerate(kept) if found]
    if shown:
        for stride in _strides(history):
            reasons = list(dict.fromkeys(_reason(rewrite) for rewrite, _, _ in stride))
            after = _replaced(current, stride)
            for index in shown:
                if after[index] is not current[index]:
                    pending[index] += reasons
                    _keep(kept[index], pending[index], after[index])
            current = after
    for index, node in enumerate(final):
        _finish(kept[index], pending[index], node)
    most = min(_MOST_FORMS, max(2, _MOST_LINES // max(len(kept), 1)))
    return tuple(tuple(_thinned(found, most)) for found in kept)


def _is_short(node: Expr) -> bool:
    if len(topological([node], sizes=True)) > _MOST_NODES:
        return False
    return len(to_text(node)) <= _MOST_CHARACTERS


def _strides(history: Sequence[Rewriting]) -> Iterator[Sequence[Rewriting]]:
    """The history in parts of about the same length, none of which undoes what it did."""
    length = -(-len(history) // _MOST_STRIDES)
    start = 0
    done: set[Expr] = set()
    for index, (_, before, after) in enumerate(history):
        if index - start == length or after in done:
            yield history[start:index]
            start, done = index, set()
        done.add(before)
    yield history[start:]


def _replaced(roots: tuple[Expr, ...], stride: Sequence[Rewriting]) -> tuple[Expr, ...]:
    """The expressions after these rewrites."""
    made = {before: after for _, before, after in stride}
    return sweep(roots, {before.op.name: (made.get,) for before in made})


def _keep(found: list[Form], pending: list[str], node: Expr) -> None:
    """Add a form that is shorter than the last one; what led to others leads on."""
    if len(to_text(node)) <= len(to_text(found[-1].node)) - _LEAST_SAVING:
        found.append(Form(node, _told(pending)))
        pending.clear()


def _finish(found: list[Form], pending: list[str], node: Expr) -> None:
    """End with the final form, in the place of one that hardly differs from it."""
    reasons = [*pending]
    if found and found[-1].node is node:
        return
    if found and len(to_text(found[-1].node)) - len(to_text(node)) in range(_LEAST_SAVING):
        reasons = [*found.pop().reasons, *pending]
    found.append(Form(node, _told(reasons) if found else ()))


def _thinned(found: list[Form], most: int) -> list[Form]:
    """Of many forms the first, the last, and those between that save most characters."""
    while len(found) > most:
        lengths = [len(to_text(form.node)) for form in found]
        # The raw form stays, and so does the last one.
        least = min(range(1, len(found) - 1), key=lambda i: lengths[i - 1] - lengths[i])
        later = found[least + 1]
        reasons = (*found[least].reasons, *later.reasons)
        found[least : least + 2] = [Form(later.node, _told(reasons))]
    return found


def _told(reasons: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reasons))


def _reason(rewrite: Rewrite) -> str:
    """The example in a rewrite's docstring, or its name in words."""
    example = _EXAMPLE.search(rewrite.__doc__ or "")
    name: str = getattr(rewrite, "__name__", "simplified")
    return example[1] if example else name.strip("_").replace("_", " ")
