"""What lines of the table are made with: functions over dimensions, marks, brackets, comparisons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.lang.typeset.parts import Part, call, part

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.lang.typeset.build import Writer

    Rule = Callable[[Writer, Expr], Part | None]

_REDUCTIONS = frozenset(
    "sum mean prod.dim amax amin max.dim min.dim logsumexp var std norm all any argmax argmin".split()  # noqa: SIM905
)


def digits(value: int) -> Part:
    """A whole number."""
    return part("number", text=str(value))


def first(w: Writer, node: Expr) -> Part:
    """An operator's first argument."""
    return w(node.inputs[0])


def dims(node: Expr) -> tuple[Part, ...]:
    """The dimensions that a node works over, counted from 0; none where these are all."""
    value, rank = node.attributes.get("dim"), node.inputs[0].ndim
    if value is None or value == () or rank == 0:
        return ()
    listed = value if isinstance(value, tuple) else (value,)
    if len(listed) == rank:
        return () if rank > 1 or node.op.name in _REDUCTIONS else (digits(0),)
    return tuple(digits(d % rank) for d in listed)


def only(node: Expr, *known: str) -> bool:
    """Whether all attributes but those `known` have their defaults."""
    attributes = node.attributes
    return all(
        p.is_tensor or p.name in known or attributes[p.name] == p.default
        for p in node.op.signature.parameters
    )


def function(name: str) -> Rule:
    """`name(x)` or `name(x, y)`; further arguments by name."""
    return lambda w, node: call(name, *map(w, node.inputs), *further(w, node))


def along(name: str) -> Rule:
    """`name` over the dimensions in its subscript; further arguments by name."""

    def write(w: Writer, node: Expr) -> Part:
        return call(name, *map(w, node.inputs), *further(w, node), dims=dims(node))

    return write


def further(w: Writer, node: Expr) -> list[Part]:
    """Arguments other than tensors and dimensions that differ from their defaults, by name."""
    attributes = node.attributes
    return [
        part("keyword", w.value(attributes[p.name]), text=p.name)
        for p in node.op.signature.parameters
        if not p.is_tensor and p.name not in _UNTOLD and attributes[p.name] != p.default
    ]


# Dimensions are subscripts, kept ones are not written, and what isn't reduced looks like it.
_UNTOLD = frozenset(("dim", "keepdim", "reduction", "normalized_shape"))


def big(sign: str) -> Rule:
    """A sum or product sign."""

    def write(w: Writer, node: Expr) -> Part | None:
        if not only(node, "dim", "keepdim"):
            return None
        return part("big", first(w, node), *dims(node), text=sign)

    return write


def fence(kind: str) -> Rule:
    """Brackets."""
    return lambda w, node: part("fence", first(w, node), text=kind)


def mark(sign: str) -> Rule:
    """An exponent that is a sign."""
    return lambda w, node: marked(first(w, node), sign)


def relation(sign: str) -> Rule:
    """A comparison."""
    return lambda w, node: part("relation", *map(w, node.inputs), text=sign)


def logic(kind: str) -> Rule:
    """A connective of masks; on whole numbers it is something else."""

    def write(w: Writer, node: Expr) -> Part | None:
        masks = all(arg.dtype.kind == "b" for arg in node.inputs)
        return part(kind, *map(w.bare, node.inputs)) if masks else None

    return write


def element(sign: str) -> Rule:
    """A product of elements with a sign of its own."""
    return lambda w, node: part("hadamard", *map(w, node.inputs), text=sign)


def output(**written: Rule) -> Rule:
    """Of several results, those that are written in a way of their own."""

    def write(w: Writer, node: Expr) -> Part | None:
        rule = written.get(node.op.outputs[node.output])
        return None if rule is None else rule(w, node)

    return write


def marked(base: Part, sign: str) -> Part:
    """A base with a mark; the inverse of a transposed matrix has both in one exponent.

    Transposed twice it is what it was.
    """
    if base.kind == "mark":
        both = {base.text, sign}
        if both == {"⊤"}:
            return base.below[0]
        if both == {"⊤", "−1"}:
            return part("mark", base.below[0], text="−⊤")
    return part("mark", base, text=sign)
