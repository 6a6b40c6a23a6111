"""A part of the formula where elsewhere, in the formula itself or in the gradient, something more stands.

Whoever writes `(x - mean)` twice and forgets the mean once has written the repair beside the mistake. So has
the expression where it holds `exp(a * x)` and the formula `exp(x)`. Parts are compared as graphs: what is
one operation away from a part, or the same operation of other operands, is tried in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gradcheck_cli.graph import Expr, topological
from gradcheck_cli.lang.edits import Change, grouped
from gradcheck_cli.verdict.diagnosis.guesses import Guess, brief, quoted, sites, tried
from gradcheck_cli.verdict.diagnosis.ingredients import MULTIPLIED, SIGNED, naming
from gradcheck_cli.verdict.diagnosis.material import unsimplified

if TYPE_CHECKING:
    import ast
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

LEAST = 1.16

# What stands in the person's own formula or in a `let` is nearer than what only the right gradient holds.
_OWN, _TRUTH = 1.16, 1.45
_LENGTH = 0.001
# A difference in an operand, one level down, is less plain.
_DEEPER = 0.01
_DEEPEST = 3
# Parts that are compared, and what one may be compared with.
_MOST_PARTS, _MOST_OTHERS = 160, 6
_LONGEST = 160
# Operations by what is missing where they are.
_SUMS, _PRODUCTS = frozenset({"add", "sub"}), frozenset({"mul", "div", "matmul"})
_TURNS = frozenset({"T", "mT", "transpose", "permute"})
_REDUCTIONS = frozenset({"sum", "mean", "amax", "logsumexp", "prod"})


class _Told(NamedTuple):
    """The kind of a difference between two graphs, and how it is said."""

    code: str
    message: str


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Parts replaced by what stands where the same is meant."""
    draft = suspect.draft
    if draft is None or suspect.case is None:
        return
    places = sites(draft)[:_MOST_PARTS]
    own = [node for node in map(draft.tensor, places) if node is not None]
    near = [*own, *topological(list(suspect.case.scope.values()))]
    far = topological([suspect.case.output, suspect.once(unsimplified), suspect.truth])
    known = dict.fromkeys(near, _OWN)
    for node in far:
        known.setdefault(node, _TRUTH)
    kin = _Kin(list(known))
    text = naming(suspect)
    guesses = []
    for place in places:
        tensor = draft.tensor(place)
        assert tensor is not None
        above = draft.edits.parent(place)
        around = None if above is None else draft.tensor(above)
        for other in kin.of(tensor):
            if other is around:
                continue  # the operation that stands there already
            made = _guess(draft, place, tensor, other, known[other], text)
            if made is not None:
                guesses.append(made)
    yield from tried(suspect, guesses)


class _Kin:
    """Graphs by what they are made of."""

    def __init__(self, nodes: Sequence[Expr]) -> None:
        self._above: dict[Expr, list[Expr]] = {}
        self._beside: dict[object, list[Expr]] = {}
        for node in nodes:
            if node.value is not None:
                continue
            for arg in dict.fromkeys(node.inputs):
                self._above.setdefault(arg, []).append(node)
            for key in _keys(node):
                self._beside.setdefault(key, []).append(node)

    def of(self, node: Expr) -> list[Expr]:
        """What is one operation more, and what differs in one operand or one attribute."""
        found = list(self._above.get(node, ()))
        if node.op.name == "neg":  # `-b` where `a - b` is meant
            found += [n for n in self._above.get(node.inputs[0], ()) if n.op.name == "sub"]
        for key in _keys(node):
            found += self._beside.get(key, [])[:_MOST_OTHERS]
        return [other for other in dict.fromkeys(found) if other is not node][: 4 * _MOST_OTHERS]


def _keys(node: Expr) -> Iterator[object]:
    """What nodes share that differ in one operand, or in attributes."""
    if not node.inputs:
        return
    if node.attrs:
        yield node.op, node.inputs
    if len(node.inputs) > 1:
        for position in range(len(node.inputs)):
            rest = (*node.inputs[:position], *node.inputs[position + 1 :])
            yield node.op, node.attrs, position, rest
    else:
        yield node.op, node.attrs, tuple(arg.op for arg in node.inputs), node.shape


def _guess(
    draft: Draft,
    place: ast.expr,
    node: Expr,
    other: Expr,
    base: float,
    text: Callable[[Expr], str],
) -> Guess | None:
    told = _difference(node, other, text)
    written = text(other)
    if told is None or len(written) > _LONGEST:
        return None
    message = told.message
    if node in other.inputs and told.code in _BESIDE:
        message = f"{message}, {_BESIDE[told.code]} {quoted(draft, place)}"
    cost = base + _LENGTH * len(written)
    return Guess(told.code, cost, message, (Change(place, written),))


_BESIDE = {"GC105": "beside", "GC106": "with", "GC101": "with"}


def _difference(
    node: Expr, other: Expr, text: Callable[[Expr], str], depth: int = 0
) -> _Told | None:
    """What must be done to a node for it to be another, in words; None where that isn't one thing."""
    if depth == _DEEPEST:
        return None
    if node in other.inputs:
        return _more(node, other, text)
    if node.op.name == "neg" and other.op.name == "sub" and other.inputs[1] is node.inputs[0]:
        return _Told("GC105", f"a term is missing: {_shown(text, other.inputs[0])}")
    if node.op is not other.op or len(node.inputs) != len(other.inputs):
        return None
    pairs = [(a, b) for a, b in zip(node.inputs, other.inputs, strict=True) if a is not b]
    if not pairs and node.inputs and node.attrs != other.attrs:
        return _options(node, other, text)
    if len(pairs) != 1 or node.attrs != other.attrs:
        return None
    return _difference(*pairs[0], text, depth + 1)


def _more(node: Expr, other: Expr, text: Callable[[Expr], str]) -> _Told | None:
    """What an operation makes of a node that is one of its operands."""
    name = other.op.name
    rest = [arg for arg in other.inputs if arg is not node]
    what = _shown(text, rest[0]) if rest else ""
    if name in _SUMS:
        if rest and name == "sub" and other.inputs[0] is node:
            what = f"`-{grouped(brief(text(rest[0])), MULTIPLIED)}`"
        return _Told("GC105", f"a term is missing: {what}") if rest else None
    if name in _PRODUCTS:
        if not rest:
            return _Told("GC113", f"{_shown(text, node)} should be squared")
        if name == "div" and other.inputs[0] is node:
            what = f"`1 / {grouped(brief(text(rest[0])), SIGNED)}`"
        code = "GC106" if rest[0].value is None else "GC101"
        return _Told(code, f"a factor is missing: {what}")
    if name == "neg":
        return _Told("GC102", f"the sign of {_shown(text, node)} is wrong")
    if name in _TURNS:
        return _Told("GC103", f"{_shown(text, node)} is transposed")
    if name in _REDUCTIONS:
        return _Told("GC104", f"the {name} of {_shown(text, node)} is missing")
    if name == "pow":
        exponent = other.inputs[1]
        if exponent is not node:
            message = f"the exponent of {_shown(text, node)} should be {text(exponent)}"
            return _Told("GC113", message)
        return None
    if len(other.inputs) == 1 and other.op.python_name:
        return _Told("GC113", f"`{other.op.python_name}` of {_shown(text, node)} is forgotten")
    return None


def _options(node: Expr, other: Expr, text: Callable[[Expr], str]) -> _Told | None:
    """The same operation with another option: mostly an axis."""
    a, b = dict(node.attrs), dict(other.attrs)
    different = [key for key in b if a.get(key) != b[key]]
    if len(different) != 1:
        return None
    (key,) = different
    code = "GC104" if key == "dim" else "GC113"
    message = (
        f"`{key}` of `{node.op.python_name}` of {_shown(text, node.inputs[0])} should be {b[key]}"
    )
    return _Told(code, message)


def _shown(text: Callable[[Expr], str], node: Expr) -> str:
    return f"`{brief(text(node))}`"
