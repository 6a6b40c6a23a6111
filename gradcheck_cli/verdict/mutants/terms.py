"""Mistakes of addition: a term that is forgotten, and one that doesn't belong."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gradcheck_cli.lang.edits import grouped
from gradcheck_cli.verdict.mutants.record import Edit, Kind, Subject, place

if TYPE_CHECKING:
    from collections.abc import Iterator

# A constant below this beside something else is there for stability, not a term of its own.
LARGEST_EPSILON = 1e-2
_CODES = {"factor": ("GC105",), "term": ("GC105",), "inner": ("GC105", "GC113")}


def _dropped(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                codes = _CODES[place(edits, part)]
                first, second = edits.segment(left), edits.segment(right)
                kept = second if isinstance(op, ast.Add) else f"-{grouped(second)}"
                if not is_epsilon(right):
                    yield Edit(edits.replaced(part, first), f"the term `{second}` dropped", codes)
                if not is_epsilon(left):
                    yield Edit(edits.replaced(part, kept), f"the term `{first}` dropped", codes)


def is_epsilon(part: ast.AST) -> bool:
    """Whether it is a number that is small on purpose."""
    return (
        isinstance(part, ast.Constant)
        and isinstance(part.value, float)
        and 0 < part.value <= LARGEST_EPSILON
    )


def _decay(subject: Subject) -> Iterator[Edit]:
    for share in ("0.01", "1.0"):
        text = f"{subject.summand} + {share} * {subject.name}"
        yield Edit(text, f"a term `{share} * {subject.name}` too much")


def _one(subject: Subject) -> Iterator[Edit]:
    yield Edit(f"{subject.summand} + 1", "`+ 1` too much")


def _other(subject: Subject) -> Iterator[Edit]:
    """Another tensor of the input's shape added."""
    for name, node in subject.scope.items():
        if node.shape == subject.target.shape and node.dtype.kind == "f" and name != subject.name:
            yield Edit(f"{subject.summand} + {name}", f"a term `{name}` too much")


def _repeated(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.BinOp(op=ast.Add() | ast.Sub(), right=right) if not is_epsilon(right):
                sign = "+" if isinstance(part.op, ast.Add) else "-"
                second = edits.segment(right)
                text = f"{edits.segment(part)} {sign} {grouped(second)}"
                what = f"the term `{second}` twice"
                yield Edit(edits.replaced(part, text), what, _CODES[place(edits, part)])


KINDS = (
    Kind("term dropped", ("GC105",), _dropped, "One of several terms is forgotten."),
    Kind(
        "weight decay added",
        ("GC105",),
        _decay,
        "A multiple of the input is added, which belongs to the optimiser.",
        local=False,
    ),
    Kind("one added", ("GC105",), _one, "A constant is added.", local=False),
    Kind(
        "term added",
        ("GC105",),
        _other,
        "A tensor that doesn't belong there is added.",
        local=False,
    ),
    Kind("term repeated", ("GC105",), _repeated, "A term counts twice."),
)
