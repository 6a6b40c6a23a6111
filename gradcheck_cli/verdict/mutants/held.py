"""Mistakes of the chain rule: a part held constant that depends on the input, an occurrence forgotten.

They are made by calculus, not by editing: a node of the expression is replaced by a constant, the gradient
derived, and the constant replaced by the node again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.derive import with_names
from gradcheck_cli.calculus.differentiate import differentiate, tracked
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.graph import Expr, make, rebuild, t, topological, variable
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.schema import Invalid
from gradcheck_cli.verdict.mutants.record import Edit, Kind, Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


# The stand-in for what is held; no input's name has a space.
_HELD = "held part"
# A formula longer than this is none that a person would have written.
_MOST_CHARACTERS = 1500
# A graph larger than this is differentiated too slowly to be differentiated again and again.
_MOST_NODES = 150


def _parts(subject: Subject) -> Iterator[Edit]:
    case = subject.case
    output = _in_parts(case.output)
    uses = _uses(output, subject.target)
    named = case.named
    # What several paths go through first: there a person takes a short cut.
    nodes = sorted(uses, key=lambda node: (node not in named, -len(uses[node])))
    for node in nodes:
        if node.dtype.kind != "f" or node is subject.target or node is output:
            continue
        stand_in = variable(_HELD, node.shape, node.dtype)
        text = _derived(subject, _with({node: stand_in}, output), {stand_in: node})
        if text is not None:
            yield Edit(text, f"`{_shown(node, named)}` held constant")


def _occurrences(subject: Subject) -> Iterator[Edit]:
    case = subject.case
    uses = _uses(case.output, subject.target)
    named = case.named
    for node in (subject.target, *(n for n in named if n in uses)):
        edges = uses.get(node, [])
        if len(edges) < 2 or node.dtype.kind != "f":
            continue
        stand_in = variable(_HELD, node.shape, node.dtype)
        for user, slot in edges:
            args = [stand_in if i == slot else arg for i, arg in enumerate(user.args)]
            try:
                made = make(user.op, args, user.attributes)
            except Invalid:
                continue
            changed = made[user.output] if user.op.outputs else made
            text = _derived(subject, _with({user: changed}, case.output), {stand_in: node})
            if text is not None:
                what = f"`{_shown(node, named)}` in `{_shown(user, named)}` not differentiated"
                yield Edit(text, what)


def _in_parts(output: Expr) -> Expr:
    """The expression with composites replaced by their definitions: a norm has a mean to hold constant."""
    made: dict[Expr, Expr] = {}
    for node in topological([output], sizes=True):
        new = rebuild(node, made.__getitem__)
        if new.op.define is not None and not new.op.elementwise and not new.op.outputs:
            whole = new.op.define(*new.args, **new.attributes)
            if isinstance(whole, Expr) and (whole.shape, whole.dtype) == (new.shape, new.dtype):
                new = whole
        made[node] = new
    return made[output]


def _uses(output: Expr, target: Expr) -> dict[Expr, list[tuple[Expr, int]]]:
    """The nodes that carry a gradient to the input, each with the places where it is an argument."""
    order = topological([output])
    if len(order) > _MOST_NODES:
        return {}
    depends = tracked(order, [target])
    uses: dict[Expr, list[tuple[Expr, int]]] = {}
    for node in order:
        if node in depends:
            for slot, arg in enumerate(node.args):
                if arg is not None and arg in depends:
                    uses.setdefault(arg, []).append((node, slot))
    return uses


def _shown(node: Expr, names: Mapping[Expr, str]) -> str:
    others = {other: name for other, name in names.items() if other is not node}
    text = names.get(node) or to_text(node, others)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _with(known: Mapping[Expr, Expr], root: Expr) -> Expr:
    made: dict[Expr, Expr] = dict(known)
    for node in topological([root], sizes=True):
        if node not in made:
            made[node] = rebuild(node, made.__getitem__)
    return made[root]


def _derived(subject: Subject, output: Expr, back: Mapping[Expr, Expr]) -> str | None:
    """The gradient of another output, as text; None where there is none that could be written down."""
    case = subject.case
    upstream = t.ones((), dtype=output.dtype) if output.ndim == 0 else case.upstream
    try:
        gradient = differentiate(output, [subject.target], upstream)[0]
        gradient = _with(back, gradient)
        named = with_names([gradient], case.named)
        text = to_text(simplify(named)[0])
    except Invalid:
        return None
    return text if len(text) <= _MOST_CHARACTERS else None


KINDS = (
    Kind(
        "part held constant",
        ("GC107",),
        _parts,
        "A mean, a norm or another part is differentiated as if it were a number.",
        local=False,
    ),
    Kind(
        "occurrence forgotten",
        ("GC105", "GC107"),
        _occurrences,
        "The input stands in several places, and one of them isn't differentiated.",
        local=False,
    ),
)
