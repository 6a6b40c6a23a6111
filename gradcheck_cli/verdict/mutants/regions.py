"""Mistakes that show in a part of the elements only: masks, bounds, borders."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gradcheck_cli.lang.parse import OPERATORS
from gradcheck_cli.verdict.mutants.record import Edit, Kind, Subject, place

if TYPE_CHECKING:
    from collections.abc import Iterator

_ACROSS: dict[type[ast.AST], str] = {
    ast.Lt: ">",
    ast.LtE: ">=",
    ast.Gt: "<",
    ast.GtE: "<=",
    ast.Eq: "!=",
    ast.NotEq: "==",
}
# What keeps a value within bounds, or only its sign: without it, the rest is right in a region.
_BOUNDING = frozenset(
    {
        "clamp",
        "clip",
        "relu",
        "sign",
        "abs",
        "hardtanh",
        "relu6",
        "tril",
        "triu",
        "clamp_min",
        "clamp_max",
    }
)
_REGION = {"factor": ("GC108",), "term": ("GC108",), "inner": ("GC108", "GC113")}


def _mask_dropped(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.BinOp(left=left, op=ast.Mult() | ast.BitAnd() | ast.BitOr(), right=right):
                for gone, kept in ((left, right), (right, left)):
                    node = subject.node(gone)
                    if node is not None and node.dtype.kind == "b":
                        text = edits.replaced(part, edits.segment(kept))
                        yield Edit(text, f"the mask `{edits.segment(gone)}` dropped")


def _branch_for_where(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.Call(
                func=ast.Attribute(attr="where") | ast.Name(id="where"), args=[_, first, second]
            ):
                for branch in (first, second):
                    segment = edits.segment(branch)
                    what = f"`{segment}` everywhere in place of `where`"
                    yield Edit(edits.replaced(part, segment), what)
                condition = edits.segment(part.args[0])
                text = f"torch.where({condition}, {edits.segment(second)}, {edits.segment(first)})"
                yield Edit(edits.replaced(part, text), "the branches of `where` exchanged")


def _bound_dropped(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.Call(func=ast.Attribute(value=owner, attr=attr), args=arguments) if (
                attr in _BOUNDING
            ):
                module = isinstance(owner, ast.Name) and owner.id in ("torch", "F")
                kept = arguments[0] if module and arguments else owner
            case ast.Call(func=ast.Name(id=attr), args=[kept, *_]) if attr in _BOUNDING:
                pass
            case _:
                continue
        codes = _REGION[place(edits, part)]
        text = edits.replaced(part, edits.segment(kept))
        yield Edit(text, f"`{attr}` of `{edits.segment(kept)}` dropped", codes)


def _comparisons(subject: Subject) -> Iterator[tuple[ast.Compare, ast.expr, str, ast.expr]]:
    for part in subject.parts():
        match part:
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                yield part, left, OPERATORS[type(op)], right


def _flipped(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part, left, symbol, right in _comparisons(subject):
        new = _ACROSS[type(part.ops[0])]
        text = f"{edits.segment(left)} {new} {edits.segment(right)}"
        what = f"`{new}` in place of `{symbol}` in `{edits.segment(part)}`"
        yield Edit(edits.replaced(part, text), what)


def _threshold(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for _, _, symbol, right in _comparisons(subject):
        node = subject.node(right)
        if symbol in ("==", "!=") or node is None or node.value is None:
            continue
        for new in (node.value + 0.5, node.value - 0.5):
            yield Edit(
                edits.replaced(right, repr(new)), f"`{symbol} {new}` in place of {node.value}"
            )
    for part in subject.parts():
        match part:
            case ast.Call(func=ast.Attribute(attr="clamp" | "clip")):
                for argument in (*part.args, *(k.value for k in part.keywords)):
                    bound = subject.node(argument)
                    if bound is not None and bound.value is not None:
                        new = bound.value + (0.25 if bound.value <= 0 else -0.25)
                        what = f"the bound {new} in place of {bound.value}"
                        yield Edit(edits.replaced(argument, repr(new)), what)


def _row_wrong(subject: Subject) -> Iterator[Edit]:
    """The first or the last row without a gradient, as where a border is treated apart."""
    shape = subject.target.shape
    if not shape or shape[0] < 2:
        return
    rest = "[:" + ", None" * (len(shape) - 1) + "]"
    rest = "" if rest == "[:]" else rest
    index = f"torch.arange({subject.name}.shape[0])"
    last = f"{subject.name}.shape[0] - 1"
    yield Edit(f"{subject.whole} * ({index} > 0){rest}", "zero in the first row")
    yield Edit(f"{subject.whole} * ({index} < {last}){rest}", "zero in the last row")
    yield Edit(f"{subject.whole} * (1.0 + ({index} == 0)){rest}", "doubled in the first row")


def _mask_added(subject: Subject) -> Iterator[Edit]:
    for name in subject.masking:
        yield Edit(f"{subject.whole} * ({name} > 0)", f"a mask `{name} > 0` that isn't right")
        text = f"torch.where({name} < 0, 0.5 * {subject.whole}, {subject.text})"
        yield Edit(text, f"half where `{name} < 0`")


def _clipped(subject: Subject) -> Iterator[Edit]:
    """Clipping is the identity where everything is small, so the bounds go by the gradient's size."""
    for share in (0.3, 0.6):
        bound = float(f"{share * subject.largest:.1g}")
        if bound:
            yield Edit(f"{subject.whole}.clamp(-{bound!r}, {bound!r})", f"clipped to {bound!r}")


def _triangle(subject: Subject) -> Iterator[Edit]:
    shape = subject.target.shape
    if len(shape) >= 2 and shape[-1] == shape[-2] > 1:
        yield Edit(f"{subject.whole}.tril()", "the upper triangle is zero")


KINDS = (
    Kind(
        "mask dropped", ("GC108",), _mask_dropped, "What is kept by a mask only is kept everywhere."
    ),
    Kind("branch for where", ("GC108",), _branch_for_where, "One branch is taken everywhere."),
    Kind("bound dropped", ("GC108",), _bound_dropped, "A clamp or a sign is forgotten."),
    Kind("comparison flipped", ("GC108",), _flipped, "`<` in place of `>`."),
    Kind("threshold moved", ("GC108",), _threshold, "A bound is another number."),
    Kind(
        "row wrong", ("GC108",), _row_wrong, "A border is treated apart, and wrongly.", local=False
    ),
    Kind(
        "mask added",
        ("GC108",),
        _mask_added,
        "Nothing, or half, where a tensor is negative.",
        local=False,
    ),
    Kind("clipped", ("GC108",), _clipped, "Large elements are clipped.", local=False),
    Kind("triangle only", ("GC108",), _triangle, "Half of a matrix is left out.", local=False),
)
