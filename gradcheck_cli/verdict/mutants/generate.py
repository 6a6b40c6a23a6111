"""All kinds of mistake, and the wrong formulas that they make of a right one."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.graph import Expr, t
from gradcheck_cli.lang.edits import grouped
from gradcheck_cli.methods.case import values_of
from gradcheck_cli.verdict.mutants import axes, factors, functions, held, numbers, regions, terms
from gradcheck_cli.verdict.mutants.evaluate import (
    Array,
    codes_by_numbers,
    differ,
    evaluate,
    fingerprint,
    redrawn,
)
from gradcheck_cli.verdict.mutants.record import Kind, Mutant, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gradcheck_cli.methods.case import Case

_MODULES = (numbers, factors, regions, terms, axes, functions, held)
KINDS: Mapping[str, Kind] = MappingProxyType(
    {kind.name: kind for module in _MODULES for kind in module.KINDS}
)
# Of one kind, so many mutants of a formula show what there is to see.
_MOST_OF_A_KIND = 8
# With `let` names written out, a formula up to this length is mutated too.
_MOST_CHARACTERS = 1200
_OTHER_SEED = 1_000_003


@dataclass(frozen=True, slots=True)
class Candidate:
    """A mutant with the node it stands for; not yet known to differ from the right formula."""

    mutant: Mutant
    node: Expr


def mutants(case: Case, name: str, text: str) -> Iterator[Mutant]:
    """Wrong formulas made of `text`, a right one for the gradient of the input `name`.

    Each can be built, has the input's shape, and really differs: at the case's own inputs, or at others
    drawn the same way. Of one kind no two are the same function. `codes` go by the numbers where those say
    more than what was done. Raises GradcheckError where `text` isn't a formula of the case.
    """
    found = candidates(case, name, text)
    shape = case.variables[name].shape
    with values_of(case.check):
        right = built(Subject.of(case, name, text), text)
    assert right is not None, f"not a formula for `{name}`: {text}"
    draws = [case.arrays, redrawn(case, case.check.seed + _OTHER_SEED)]
    values = [evaluate([right, *(c.node for c in found)], arrays, shape) for arrays in draws]
    names: dict[tuple[float, ...], tuple[str, ...]] = {}
    kept: list[tuple[Mutant, tuple[str, ...], tuple[float, ...] | None]] = []
    seen: set[tuple[str, tuple[float, ...]]] = set()
    for position, candidate in enumerate(found, start=1):
        pairs = _pairs(values, position)
        if not any(differ(*pair) for pair in pairs):
            continue
        mutant = candidate.mutant
        codes = codes_by_numbers(mutant.codes, pairs)
        mark = fingerprint([wrong for _, wrong in pairs])
        if mark is not None:
            if (mutant.kind, mark) in seen:
                continue
            seen.add((mutant.kind, mark))
            names[mark] = tuple(dict.fromkeys((*names.get(mark, ()), *codes)))
        kept.append((mutant, codes, mark))
    for mutant, codes, mark in kept:
        # Where two kinds of mistake give the same function, nobody can tell which was made.
        also = names[mark] if mark is not None else ()
        every = tuple(dict.fromkeys((*codes, *also)))
        yield Mutant(mutant.kind, every, mutant.text, mutant.what)


def _pairs(values: list[list[Array | None]], position: int) -> list[tuple[Array, Array]]:
    """The right and the wrong gradient at each draw where both can be computed."""
    found = []
    for of_draw in values:
        right, wrong = of_draw[0], of_draw[position]
        if right is not None and wrong is not None and np.isfinite(right).any():
            found.append((right, wrong))
    return found


def candidates(case: Case, name: str, text: str) -> list[Candidate]:
    """All mutants of a formula that have the input's shape, the same node once for each kind.

    Raises GradcheckError where `text` isn't an expression.
    """
    with values_of(case.check):
        return list(_candidates(case, name, text))


def _candidates(case: Case, name: str, text: str) -> Iterator[Candidate]:
    subject = Subject.of(case, name, text)
    subjects = [subject]
    longer = _written_out(subject)
    if longer != subject.text and len(longer) <= _MOST_CHARACTERS:
        subjects.append(Subject.of(case, name, longer))
    right = {built(subject, one.text) for one in subjects}
    for kind in KINDS.values():
        seen = set(right)
        for one in subjects if kind.local else subjects[:1]:
            for edit in kind.make(one):
                if len(seen) - len(right) >= _MOST_OF_A_KIND:
                    break
                node = built(one, edit.text)
                if node is None or node in seen:
                    continue
                seen.add(node)
                yield Candidate(
                    Mutant(kind.name, edit.codes or kind.codes, edit.text, edit.what), node
                )


def built(subject: Subject, text: str) -> Expr | None:
    """The node of a formula; None where it isn't one, or has another shape than the input."""
    node = subject.build(text)
    if node is None or node.dtype.kind == "z":
        return None
    if node.value is not None:
        node = t.full_like(subject.target, node)
    return node if node.shape == subject.target.shape else None


def _written_out(subject: Subject) -> str:
    """The formula with `let` names replaced by what they stand for."""
    text = subject.text
    # A name is written out in terms of earlier ones, so from the last to the first.
    for name in reversed(list(subject.case.let)):
        formula = subject.case.let[name]
        if len(text) > _MOST_CHARACTERS:
            break
        edits = Subject.of(subject.case, subject.name, text).edits
        places = [n for n in ast.walk(edits.tree) if isinstance(n, ast.Name) and n.id == name]
        meaning = grouped(" ".join(formula.flat.split()))
        for place in sorted(places, key=lambda n: -edits.formula.span(n)[0]):
            start, end = edits.formula.span(place)
            text = text[:start] + meaning + text[end:]
    return text
