"""What kind of mistake a wrong gradient holds: hypotheses that fit and survive re-evaluation.

A family of hypotheses is a module with `propose(suspect) -> Iterator[Finding]` and `LEAST`, the lowest cost
of anything that it proposes. Families are asked in the order of `LEAST` until one has found something that
no later one can undercut, so cheap and plain explanations belong to families of their own.

What takes long, because numbers are compared with those of many ingredients, is a `search` of its own, with
`SEARCH` for its lowest cost; odd changes are put off (`guesses.ODD`) until nothing plain is found. What the
numbers say of a finding decides about its code in the end (`kinds.told`).

What a family may ask (see `suspect.py`):

- `suspect.right(array)`: whether an array passes as the gradient at the check's own inputs;
- `suspect.values(nodes)`: the nodes' numbers there, evaluated together;
- `suspect.survives(text)`: whether a repaired formula passes when it is evaluated from its text, there *and*
  at a second draw of all inputs, where accidents don't repeat;
- `suspect.holds(node)`: the same of a graph;
- `suspect.again`: that second point (None where it can't be had), with `values(nodes)`, `right(array)`, the
  right gradient `truth` and the person's `gradient` there, for hypotheses on numbers alone;
- `suspect.resized`: the check with other sizes (None where it holds for its own only), with `holds(text)`:
  the driver prefers repairs that hold there;
- `suspect.once(make)`: what several families need, made once;
- `suspect.edits`, `suspect.draft`: the person's formula as text and tree, and what it is with a part changed;
  `guesses.tried(suspect, guesses)` evaluates many such changes together.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.verdict.diagnosis import (
    analogies,
    axes,
    broken,
    constants,
    difference,
    factors,
    functions,
    guesses,
    held,
    kinds,
    nearly,
    pairs,
    places,
    products,
    regions,
    signs,
    slopes,
    terms,
    units,
    whole,
)
from gradcheck_cli.verdict.diagnosis.ingredients import short_truth
from gradcheck_cli.verdict.diagnosis.resized import is_large, shrunk
from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect
from gradcheck_cli.verdict.outcome import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    class Family(Protocol):
        """A module of hypotheses."""

        LEAST: float

        def propose(self, suspect: Suspect) -> Iterator[Finding]:
            """What fits."""

    class Search(Protocol):
        """The part of such a module that takes long, with the lowest cost of what that finds."""

        SEARCH: float

        def search(self, suspect: Suspect) -> Iterator[Finding]:
            """What fits."""

    _Step = tuple[float, Callable[[Suspect], Iterator[Finding]]]


__all__ = ["Finding", "Suspect", "diagnose", "explanations", "told"]

# Asked in the order of their least cost; a general explanation that none can undercut ends it.
FAMILIES: tuple[Family, ...] = (
    analogies,
    axes,
    constants,
    factors,
    functions,
    held,
    nearly,
    places,
    products,
    regions,
    signs,
    slopes,
    terms,
    units,
    whole,
)
# Those that need no search: on large inputs the others look at a smaller version of the check.
WHOLE: tuple[Family, ...] = (broken, whole)
# What is wrong with these is left out of the person's own formula.
_SEEN_AT_ONCE = frozenset({"GC110", "GC112"})
# What a message says of sizes, which on a smaller version of the check are others.
_SIZES = re.compile(r" \(= \d+\)")
# What they search for where nothing plain is found: numbers are compared with those of many ingredients.
SEARCHES: tuple[Search, ...] = (constants, factors, regions, terms, units)
# Slips of the pen that can leave a formula without numbers.
SLIPS: tuple[Family, ...] = (signs, functions, axes, constants, products, analogies)
# Of so many that fit about equally well, one that holds for other sizes too comes first.
_COMPARED, _APART = 12, 0.6
# A derived formula is shown as a repair where it isn't longer than this.
_LONGEST_TRUTH = 120
# Other explanations that are listed beside the first.
_OTHERS = 3


def diagnose(suspect: Suspect) -> Diagnosis:
    """The simplest explanation whose repair passes, with others that fit, or GC199.

    Where no change of the person's formula repairs it, the derived formula is the repair, if it is short.
    """
    return told(suspect, explanations(suspect))


def explanations(suspect: Suspect) -> list[Finding]:
    """All that fits, the simplest first."""
    with np.errstate(all="ignore"):  # most of what is tried is wrong, and some of it has no numbers
        return _found(suspect)


def told(suspect: Suspect, found: list[Finding]) -> Diagnosis:
    """The first of sorted explanations with others that fit; GC199 where there is none."""
    if not found:
        message = (
            f"the {suspect.method} gradient of `{suspect.input}` is wrong; "
            "the cause is not recognised"
        )
        found = [Finding("GC199", message)]
    first, *others = (
        Diagnosis(f.code, f.message, suspect.input, suspect.method, f.fix, suspect.where)
        for f in _distinct(found)
    )
    if suspect.edits is not None and not found[0].changes:
        fix = short_truth(suspect, _LONGEST_TRUTH)
        is_derived = first.fix is None or (first.fix == fix and first.code not in _SEEN_AT_ONCE)
        if fix is not None and is_derived:
            # Another formula than the person's, and it is said so.
            message = f"{first.message}; the formula derived is right"
            first = replace(first, message=message, fix=fix)
    return replace(first, also=tuple(others), difference=difference.of(suspect))


def _found(suspect: Suspect) -> list[Finding]:
    """What fits, the simplest first; what fits at these sizes only comes after what fits at others."""
    if is_large(suspect):
        found = _of(suspect, WHOLE)
        smaller = None if found else shrunk(suspect)
        if found:
            return sorted(found, key=lambda finding: finding.cost)
        if smaller is not None:
            return [
                replace(f, message=_SIZES.sub("", f.message))
                for f in _found(smaller)
                if f.fix is None or suspect.survives(f.fix)
            ]
    seen = list(broken.propose(suspect))
    if seen:
        return _broken(suspect, seen)
    found = [kinds.told(suspect, finding) for finding in _of(suspect, FAMILIES)]
    found.sort(key=lambda finding: finding.cost)
    if not found and suspect.written_out is not None:
        # The slip may be a `let` name where what it stands for needed a change.
        return _found(suspect.reading(suspect.written_out))
    return _general_first(suspect, found)


def _broken(suspect: Suspect, seen: list[Finding]) -> list[Finding]:
    """It is seen at once that there are no numbers, or no gradient; a slip of the pen may explain why."""
    first, *others = seen
    if first.fix is not None or suspect.edits is None:
        return seen
    slips = _general_first(suspect, sorted(_of(suspect, SLIPS), key=lambda finding: finding.cost))
    if not slips:
        return seen
    message = f"{first.message}; {slips[0].message}"
    return [replace(first, message=message, fix=slips[0].fix), *others, *slips]


def _general_first(suspect: Suspect, found: list[Finding]) -> list[Finding]:
    """Sorted findings, with the first of those that fit about equally well that holds for other sizes."""
    if not found:
        return found
    near = [f for f in found[:_COMPARED] if f.cost <= found[0].cost + _APART]
    general = next((f for f in near if suspect.is_general(f)), None)
    if general is None:
        return found
    return [general, *(finding for finding in found if finding is not general)]


def _of(suspect: Suspect, families: tuple[Family, ...]) -> list[Finding]:
    """What these families find, until nothing that is to come can be simpler."""
    found: list[Finding] = []
    steps: list[_Step] = [(family.LEAST, family.propose) for family in families]
    if families is FAMILIES:
        steps.append((guesses.ODD, guesses.put_off))
        steps += [(family.SEARCH, family.search) for family in SEARCHES]
    for least, propose in sorted(steps, key=lambda step: step[0]):
        if suspect.limit < least:
            break
        for finding in propose(suspect):
            found.append(finding)
            if finding.cost < suspect.limit and suspect.is_general(finding):
                suspect.found.append(finding)
    if not found and families is FAMILIES:
        found += pairs.propose(suspect)
    return found


def _distinct(findings: list[Finding]) -> list[Finding]:
    """The first few that don't say the same: neither the same code twice nor the same repair."""
    kept: list[Finding] = []
    for finding in findings:
        if len(kept) <= _OTHERS and all(
            finding.code != other.code and (finding.fix is None or finding.fix != other.fix)
            for other in kept
        ):
            kept.append(finding)
    return kept
