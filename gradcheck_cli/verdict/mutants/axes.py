"""Mistakes of layout: transposes, operands in the wrong order, wrong axes, elements in wrong places."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from gradcheck_cli.lang.edits import grouped
from gradcheck_cli.verdict.mutants.record import Edit, Kind, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.graph import Expr

_REDUCTIONS = frozenset(
    {"sum", "mean", "amax", "amin", "prod", "var", "std", "norm", "cumsum", "cumprod"}
)
_NORMALISED = frozenset({"softmax", "log_softmax", "logsumexp", "normalize"})
_TRANSPOSED = frozenset(("T", "mT"))


def _whole(subject: Subject) -> Iterator[Edit]:
    shape = subject.target.shape
    if len(shape) >= 2 and shape[-1] == shape[-2]:
        yield Edit(f"{subject.whole}.mT", "the whole transposed")


def _operand(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.BinOp(left=left, op=ast.MatMult(), right=right):
                for side in (left, right):
                    yield from _turned(subject, side)
            case ast.Attribute(value=owner, attr=attr) if attr in _TRANSPOSED:
                text = edits.replaced(part, grouped(edits.segment(owner)))
                yield Edit(text, f"`.{attr}` of `{edits.segment(owner)}` dropped")
            case ast.Call(func=ast.Attribute(attr="inverse" | "matrix_exp")):
                yield from _turned(subject, part)


def _turned(subject: Subject, part: ast.expr) -> Iterator[Edit]:
    node = subject.node(part)
    if node is not None and node.ndim >= 2 and getattr(part, "attr", "") not in _TRANSPOSED:
        segment = subject.edits.segment(part)
        text = subject.edits.replaced(part, f"{grouped(segment)}.mT")
        yield Edit(text, f"`{segment}` transposed")


def _swapped(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.BinOp(left=left, op=ast.MatMult(), right=right):
                first, second = edits.segment(left), edits.segment(right)
                text = f"{grouped(second)} @ {grouped(first)}"
                yield Edit(
                    edits.replaced(part, text), f"the operands of `{first} @ {second}` swapped"
                )
            case ast.Call(func=ast.Attribute(attr="outer" | "matmul" | "mm"), args=[left, right]):
                called = edits.segment(part.func)
                text = f"{called}({edits.segment(right)}, {edits.segment(left)})"
                yield Edit(edits.replaced(part, text), f"the arguments of `{called}` swapped")


def _einsum(subject: Subject) -> Iterator[Edit]:
    """Two neighbouring letters of one part of the equation exchanged."""
    edits = subject.edits
    for part in edits.nodes():
        match part:
            case ast.Constant(value=str(equation)) if "->" in equation:
                for found in re.finditer(r"(?<![a-z])[a-z]{2,}", equation):
                    letters = found[0]
                    for i in range(len(letters) - 1):
                        turned = letters[:i] + letters[i + 1] + letters[i] + letters[i + 2 :]
                        new = equation[: found.start()] + turned + equation[found.end() :]
                        text = edits.replaced(part, repr(new))
                        yield Edit(text, f"`{new}` in place of `{equation}`")


def _axes(subject: Subject, functions: frozenset[str]) -> Iterator[Edit]:
    """The axis of a reduction or a normalisation replaced by another."""
    edits = subject.edits
    for part in edits.nodes():
        match part:
            case ast.Call(func=ast.Attribute(attr=attr) | ast.Name(id=attr)) if attr in functions:
                pass
            case _:
                continue
        axis = _axis(part)
        tensor = _receiver(subject, part)
        if axis is None or tensor is None:
            continue
        written = ast.literal_eval(axis)
        for dim in range(tensor.ndim):
            taken = written if isinstance(written, tuple) else (written,)
            if dim in [d % tensor.ndim for d in taken]:
                continue
            new = repr((*taken[:-1], dim)) if isinstance(written, tuple) else repr(dim)
            text = edits.replaced(axis, new)
            yield Edit(text, f"`{attr}` over axis {new} in place of {edits.segment(axis)}")


def _axis(call: ast.Call) -> ast.expr | None:
    """The argument that says over which axes, where it is written as numbers."""
    for keyword in call.keywords:
        if keyword.arg == "dim" and _is_number(keyword.value):
            return keyword.value
    return next((arg for arg in call.args if _is_number(arg)), None)


def _is_number(part: ast.expr) -> bool:
    match part:
        case ast.Constant(value=int()) | ast.UnaryOp(operand=ast.Constant(value=int())):
            return True
        case ast.Tuple(elts=items):
            return bool(items) and all(_is_number(item) for item in items)
    return False


def _receiver(subject: Subject, call: ast.Call) -> Expr | None:
    """The tensor that a call is about: its first argument, or what stands before the dot."""
    function = call.func
    if call.args and not _is_number(call.args[0]):
        return subject.node(call.args[0])
    return subject.node(function.value) if isinstance(function, ast.Attribute) else None


def _reduced(subject: Subject) -> Iterator[Edit]:
    return _axes(subject, _REDUCTIONS)


def _normalised(subject: Subject) -> Iterator[Edit]:
    return _axes(subject, _NORMALISED)


def _selected(subject: Subject) -> Iterator[Edit]:
    """A reduction over one axis replaced by the first row."""
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.Call(func=ast.Attribute(value=owner, attr="sum" | "mean")):
                axis = _axis(part)
            case _:
                continue
        kept = any(k.arg == "keepdim" for k in part.keywords)
        if axis is None or isinstance(axis, ast.Tuple):
            continue
        node = subject.node(owner)
        if node is None:
            continue
        dim = ast.literal_eval(axis) % max(node.ndim, 1)
        index = ", ".join([*[":"] * dim, ":1" if kept else "0"])
        text = f"{grouped(edits.segment(owner))}[{index}]"
        yield Edit(edits.replaced(part, text), f"the first row in place of `{edits.segment(part)}`")


def _averaged(subject: Subject) -> Iterator[Edit]:
    """Reduced over one axis too many, and spread again."""
    shape = subject.target.shape
    for dim in range(len(shape)):
        for function in ("mean", "sum"):
            text = f"{subject.whole}.{function}({dim}, keepdim=True).expand({subject.name}.shape)"
            yield Edit(text, f"`{function}` over axis {dim} too much")


def _broadcast(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in edits.nodes():
        match part:
            case ast.Subscript(value=owner, slice=ast.Tuple(elts=[first, second])):
                items = [edits.segment(first), edits.segment(second)]
                if sorted(items) == [":", "None"]:
                    text = f"{grouped(edits.segment(owner))}[{items[1]}, {items[0]}]"
                    what = f"`[{items[1]}, {items[0]}]` in place of `[{items[0]}, {items[1]}]`"
                    yield Edit(edits.replaced(part, text), what)
            case ast.Call(func=ast.Attribute(value=owner, attr="unsqueeze"), args=[axis]):
                for dim in ("0", "1", "-1"):
                    if edits.segment(axis) != dim:
                        text = edits.replaced(axis, dim)
                        yield Edit(text, f"`unsqueeze({dim})` in place of `{edits.segment(axis)}`")


def _shifted(subject: Subject) -> Iterator[Edit]:
    for dim, size in enumerate(subject.target.shape):
        if size > 1:
            yield Edit(f"{subject.whole}.roll(1, {dim})", f"shifted by one along axis {dim}")


def _flipped(subject: Subject) -> Iterator[Edit]:
    for dim, size in enumerate(subject.target.shape):
        if size > 1:
            yield Edit(f"{subject.whole}.flip({dim})", f"reversed along axis {dim}")


def _exchanged(subject: Subject) -> Iterator[Edit]:
    shape = subject.target.shape
    if shape and shape[0] > 2:
        w = subject.whole
        yield Edit(f"torch.cat([{w}[1:2], {w}[:1], {w}[2:]])", "the first two rows exchanged")


def _sliced(subject: Subject) -> Iterator[Edit]:
    """A bound of a slice moved from one end to the other: `[1:]` to `[:-1]`."""
    edits = subject.edits
    for part in edits.nodes():
        match part:
            case ast.Slice(lower=ast.Constant(value=int(first)), upper=None):
                text = f":-{first}"
            case ast.Slice(
                lower=None, upper=ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(last)))
            ):
                text = f"{last}:"
            case _:
                continue
        if first_or_last(text):
            start, end = edits.formula.span(part)
            whole = edits.text[:start] + text + edits.text[end:]
            yield Edit(whole, f"`[{text}]` in place of `[{edits.segment(part)}]`")


def first_or_last(text: str) -> bool:
    """Whether a bound of a slice leaves something out."""
    return text not in (":-0", "0:")


def _moved_dropped(subject: Subject) -> Iterator[Edit]:
    """A flip, a roll or a permutation of axes forgotten."""
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.Call(
                func=ast.Attribute(value=owner, attr="flip" | "roll" | "permute" as attr)
            ):
                text = edits.replaced(part, grouped(edits.segment(owner)))
                yield Edit(text, f"`.{attr}(...)` of `{edits.segment(owner)}` dropped")


def _reshaped(subject: Subject) -> Iterator[Edit]:
    """A transpose or a permutation done by a reshape: the shape is right, the elements aren't."""
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.Attribute(value=owner, attr=attr) if attr in _TRANSPOSED:
                pass
            case ast.Call(func=ast.Attribute(value=owner, attr="permute" | "transpose")):
                pass
            case _:
                continue
        segment = edits.segment(part)
        text = f"{grouped(edits.segment(owner))}.reshape({grouped(segment)}.shape)"
        yield Edit(edits.replaced(part, text), f"`reshape` in place of `{segment}`")


KINDS = (
    Kind("whole transposed", ("GC103",), _whole, "The gradient is transposed.", local=False),
    Kind("operand transposed", ("GC103",), _operand, "A matrix is transposed that shouldn't be."),
    Kind("operands swapped", ("GC103",), _swapped, "A product's operands are in the wrong order."),
    Kind(
        "einsum indices swapped", ("GC103",), _einsum, "Two letters of an equation are exchanged."
    ),
    Kind("wrong axis reduced", ("GC104",), _reduced, "The sum runs over another axis."),
    Kind("wrong axis normalised", ("GC104",), _normalised, "A softmax runs over another axis."),
    Kind(
        "row for a reduction", ("GC104",), _selected, "A broadcast isn't summed: one row is taken."
    ),
    Kind(
        "reduced too much",
        ("GC104",),
        _averaged,
        "A sum or mean that doesn't belong there.",
        local=False,
    ),
    Kind("wrong axis broadcast", ("GC104",), _broadcast, "Rows are spread in place of columns."),
    Kind("shifted", ("GC109",), _shifted, "Every element is one place off.", local=False),
    Kind("reversed", ("GC109",), _flipped, "The elements are in reverse order.", local=False),
    Kind("exchanged", ("GC109",), _exchanged, "Two rows are exchanged.", local=False),
    Kind("slice off by one", ("GC109",), _sliced, "The other end of a slice is left out."),
    Kind("reordering dropped", ("GC109",), _moved_dropped, "A flip or permutation is forgotten."),
    Kind("reshape for a transpose", ("GC109",), _reshaped, "The numbers fill the shape in order."),
)
