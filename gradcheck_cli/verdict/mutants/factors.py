"""Mistakes of multiplication: constants, sizes and signs, and factors that depend on the inputs."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gradcheck_cli.lang.edits import grouped
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.verdict.mutants.record import Edit, Kind, Subject, place

if TYPE_CHECKING:
    from collections.abc import Iterator

# What a wrong constant is called by where it stands: of the whole it is a factor, of one summand a share
# of that term is missing or too much, inside a function it is another function.
_CONSTANT = {"factor": ("GC101",), "term": ("GC105", "GC101"), "inner": ("GC113", "GC101")}
_SIGN = {"factor": ("GC102",), "term": ("GC105", "GC102"), "inner": ("GC113", "GC102")}
_FACTOR = {"factor": ("GC106",), "term": ("GC106",), "inner": ("GC106", "GC113")}


def _constant_dropped(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        codes = _CONSTANT[place(edits, part)]
        match part:
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                for gone, kept, sign in ((left, right, "{} *"), (right, left, "* {}")):
                    if _is_constant(subject, gone):
                        what = sign.format(edits.segment(gone))
                        text = edits.replaced(part, edits.segment(kept))
                        yield Edit(text, f"`{what}` dropped", codes)
            case ast.BinOp(left=left, op=ast.Div(), right=right) if _is_constant(subject, right):
                text = edits.replaced(part, edits.segment(left))
                yield Edit(text, f"`/ {edits.segment(right)}` dropped", codes)


def _is_constant(subject: Subject, part: ast.expr) -> bool:
    node = subject.node(part)
    return node is not None and node.value is not None


def _constant_added(subject: Subject) -> Iterator[Edit]:
    for factor in ("2", "0.5", "4"):
        yield Edit(f"{factor} * {subject.whole}", f"`{factor} *` too much")
    for part in _summands(subject):
        text = subject.edits.replaced(part, f"2 * {grouped(subject.edits.segment(part))}")
        what = f"`2 *` too much before `{subject.edits.segment(part)}`"
        yield Edit(text, what, _CONSTANT["term"])


def _summands(subject: Subject) -> Iterator[ast.expr]:
    """The terms of sums, where a factor of one of them makes the whole wrong by a summand."""
    for part in subject.parts():
        match part:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub(), right=right):
                for side in (left, right):
                    chained = isinstance(side, ast.BinOp) and isinstance(
                        side.op, (ast.Add, ast.Sub)
                    )
                    if not chained and place(subject.edits, side) == "term":
                        yield side


def _sizes(subject: Subject) -> Iterator[str]:
    """The texts of the input's sizes that aren't 1."""
    shape = subject.target.shape
    if len(shape) > 1:
        yield f"{subject.name}.numel()"
    for dim in range(len(shape)):
        yield f"{subject.name}.shape[{dim}]"


def _size_divided(subject: Subject) -> Iterator[Edit]:
    for size in _sizes(subject):
        yield Edit(f"{subject.whole} / {size}", f"`/ {size}` too much")


def _size_multiplied(subject: Subject) -> Iterator[Edit]:
    for size in _sizes(subject):
        yield Edit(f"{size} * {subject.whole}", f"`{size} *` too much")


def _wrong_size(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in edits.nodes():
        text = edits.segment(part)
        match part:
            case ast.Call(func=ast.Attribute(value=owner, attr="numel"), args=[]):
                pass
            case ast.Subscript(value=ast.Attribute(value=owner, attr="shape")):
                pass
            case _:
                continue
        tensor = subject.node(owner)
        # A size that is an axis' length or an index isn't a factor.
        if tensor is None or not isinstance(edits.parent(part), ast.BinOp):
            continue
        codes = _CONSTANT[place(edits, part)]
        name = grouped(edits.segment(owner))
        others = [f"{name}.numel()", *(f"{name}.shape[{dim}]" for dim in range(tensor.ndim))]
        for other in others:
            if other != text:
                yield Edit(edits.replaced(part, other), f"`{other}` in place of `{text}`", codes)


def _renamed(subject: Subject, old: str, new: str) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.Call(func=ast.Attribute(value=owner, attr=attr) as function) if attr == old:
                called = edits.segment(function)
                changed = f"{grouped(edits.segment(owner))}.{new}"
                text = changed + edits.segment(part)[len(called) :]
                what = f"`{new}` in place of `{old}`"
                yield Edit(edits.replaced(part, text), what, _CONSTANT[place(edits, part)])


def _mean_for_sum(subject: Subject) -> Iterator[Edit]:
    return _renamed(subject, "sum", "mean")


def _sum_for_mean(subject: Subject) -> Iterator[Edit]:
    return _renamed(subject, "mean", "sum")


def _sign_of_whole(subject: Subject) -> Iterator[Edit]:
    yield Edit(f"-{subject.whole}", "the sign of the whole")


def _sign_of_term(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                was, sign = ("+", "-") if isinstance(op, ast.Add) else ("-", "+")
                text = f"{edits.segment(left)} {sign} {grouped(edits.segment(right))}"
                what = f"`{sign} {edits.segment(right)}` in place of `{was}`"
                codes = _SIGN["inner" if place(edits, part) == "inner" else "term"]
                yield Edit(edits.replaced(part, text), what, codes)


def _minus_dropped(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                text = edits.replaced(part, edits.segment(operand))
                codes = _SIGN[place(edits, part)]
                yield Edit(text, f"`-` before `{edits.segment(operand)}` dropped", codes)


def _minus_added(subject: Subject) -> Iterator[Edit]:
    """A sign too much before what a function is applied to, where that isn't a number."""
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.Call(args=[argument]) if not isinstance(argument, (ast.Constant, ast.List)):
                node = subject.node(argument)
                if node is not None and node.value is None and node.dtype.kind == "f":
                    segment = edits.segment(argument)
                    text = edits.replaced(argument, f"-{grouped(segment)}")
                    codes = _SIGN[place(edits, argument)]
                    yield Edit(text, f"`-` before the argument `{segment}`", codes)


def _factors(subject: Subject) -> Iterator[tuple[ast.BinOp, ast.expr, ast.expr, str]]:
    """Products and quotients: the whole of it, what is a factor, what is left, and the sign before."""
    for part in subject.parts():
        match part:
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                yield part, left, right, "*"
                yield part, right, left, "*"
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                yield part, right, left, "/"


def _factor_dropped(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part, gone, kept, sign in _factors(subject):
        node = subject.node(gone)
        if node is None or node.value is not None or node.dtype.kind != "f":
            continue
        if edits.segment(gone) == UPSTREAM:
            continue
        text = edits.replaced(part, edits.segment(kept))
        what = f"`{sign} {grouped(edits.segment(gone))}` dropped"
        yield Edit(text, what, _FACTOR[place(edits, part)])


def _upstream_dropped(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        if isinstance(part, ast.Name) and part.id == UPSTREAM:
            text = edits.replaced(part, f"torch.ones_like({UPSTREAM})")
            yield Edit(text, "the upstream gradient `grad` dropped", _FACTOR[place(edits, part)])


def _factor_repeated(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for _, factor, _, sign in _factors(subject):
        node = subject.node(factor)
        if node is None or node.value is not None or node.dtype.kind != "f":
            continue
        segment = edits.segment(factor)
        codes = ("GC106",) if place(edits, factor) != "inner" else ("GC106", "GC113")
        text = edits.replaced(factor, f"{grouped(segment)} * {grouped(segment)}")
        yield Edit(text, f"`{sign} {grouped(segment)}` twice", codes)


def _factor_added(subject: Subject) -> Iterator[Edit]:
    for name, node in subject.scope.items():
        if node.shape in (subject.target.shape, ()) and node.dtype.kind == "f" and node.args == ():
            yield Edit(f"{subject.whole} * {name}", f"a factor `{name}` too much")


KINDS = (
    Kind("constant factor dropped", ("GC101",), _constant_dropped, "A number is forgotten."),
    Kind("constant factor added", ("GC101",), _constant_added, "A 2 or 1/2 that is too much."),
    Kind(
        "divided by a size",
        ("GC101",),
        _size_divided,
        "As if the loss were a mean: divided by the number of elements, or of rows.",
        local=False,
    ),
    Kind(
        "multiplied by a size",
        ("GC101",),
        _size_multiplied,
        "As if the mean were a sum: times the number of elements, or of rows.",
        local=False,
    ),
    Kind("wrong size", ("GC101",), _wrong_size, "The rows are counted in place of the elements."),
    Kind("mean for sum", ("GC101",), _mean_for_sum, "A mean is taken where a sum is right."),
    Kind("sum for mean", ("GC101",), _sum_for_mean, "A sum is taken where a mean is right."),
    Kind(
        "sign of the whole",
        ("GC102",),
        _sign_of_whole,
        "The sign of everything is flipped.",
        local=False,
    ),
    Kind(
        "sign of a term", ("GC105", "GC102"), _sign_of_term, "`+` in place of `-`, or `-` of `+`."
    ),
    Kind("minus dropped", ("GC102",), _minus_dropped, "A minus is forgotten."),
    Kind("minus added", ("GC113", "GC102"), _minus_added, "An argument has the wrong sign."),
    Kind(
        "upstream gradient dropped",
        ("GC106",),
        _upstream_dropped,
        "The formula is that of the operator alone, without the gradient that flows into it.",
    ),
    Kind(
        "factor dropped",
        ("GC106",),
        _factor_dropped,
        "A factor that isn't constant is forgotten, such as the inner derivative.",
    ),
    Kind("factor repeated", ("GC106",), _factor_repeated, "A factor counts twice."),
    Kind(
        "factor added",
        ("GC106",),
        _factor_added,
        "A factor that doesn't belong there.",
        local=False,
    ),
)
