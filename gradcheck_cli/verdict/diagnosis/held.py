"""Something treated as a constant that depends on the input (GC107): a mean, a normaliser, one occurrence."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.calculus.differentiate import differentiate, tracked
from gradcheck_cli.calculus.rewrites.patterns import is_op
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import Expr, rebuild, t, topological, variable
from gradcheck_cli.lang.edits import grouped
from gradcheck_cli.schema import Invalid
from gradcheck_cli.verdict.diagnosis.gaps import target
from gradcheck_cli.verdict.diagnosis.guesses import brief
from gradcheck_cli.verdict.diagnosis.ingredients import MULTIPLIED, naming, short_truth
from gradcheck_cli.verdict.diagnosis.material import spelled_out, terms
from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect
from gradcheck_cli.verdict.diagnosis.terms import added

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Array = npt.NDArray[Any]

LEAST = 1.3
_ONE, _PAIR, _DIAGONAL = 1.3, 1.35, 1.4
# Nodes and single uses of nodes that are held, and how many of them in pairs.
_MOST = 48
_MOST_IN_PAIRS = 16
# How many numbers all that flows back through these may hold.
_MOST_NUMBERS = 2**24
# Of a Jacobian of this many rows at most the diagonal is computed.
_MOST_ROWS = 64
# A gap of differences of rounded numbers is filled by what is equal to it up to this.
_FITS = 1e-6
# Repairs longer than this explain nothing.
_LONGEST = 200
_HELD, _COTANGENT = "what is held", "a cotangent"


@dataclass(frozen=True)
class _Path:
    """What flows back to the input through `node`, or through one use of it, in `user`."""

    node: Expr
    user: Expr | None
    share: Expr


def propose(suspect: Suspect) -> Iterator[Finding]:
    """What, detached, gives the person's gradient: one node, one use of it, two nodes; all but a diagonal."""
    if suspect.draft is None or suspect.case is None or suspect.gradient.size < 2:
        return
    found = list(_held(suspect))
    yield from found
    if not found:
        yield from _diagonals(suspect)


def _held(suspect: Suspect) -> Iterator[Finding]:
    try:
        paths = _paths(suspect)
    except Invalid:
        return
    gap = target(suspect) - suspect.gradient
    shares = suspect.values([path.share for path in paths])
    known = [(p, s) for p, s in zip(paths, shares, strict=True) if s is not None]
    single = [[p] for p, s in known if _equal(gap, s)]
    if single:
        best = min(single, key=lambda chosen: _rank(suspect, chosen[0]))
        yield from _finding(suspect, best, _ONE, [chosen[0] for chosen in single])
        return
    few = [(p, s) for p, s in known if p.user is None][:_MOST_IN_PAIRS]
    pairs = [
        [p, q]
        for (p, a), (q, b) in combinations(few, 2)
        if _equal(gap, a + b) and not _is_nested(p.node, q.node)
    ]
    if pairs:
        best = min(pairs, key=lambda chosen: [_rank(suspect, path) for path in chosen])
        yield from _finding(suspect, best, _PAIR, ())


def _is_nested(a: Expr, b: Expr) -> bool:
    """Whether one is a part of the other, so that what flows back through both counts twice."""
    return a in topological([b]) or b in topological([a])


def _equal(gap: Array, share: Array) -> bool:
    with np.errstate(all="ignore"):
        largest = float(np.abs(gap).max(initial=0.0))
        return bool((np.abs(gap - share) <= _FITS * np.abs(gap) + _FITS**2 * largest).all())


def _rank(suspect: Suspect, path: _Path) -> tuple[bool, bool, int]:
    """Of nodes along one path, the statistic itself is named: what is fewer numbers than the input."""
    fewer = path.node.elements < suspect.variable.elements
    return path.user is not None, not fewer, len(naming(suspect)(path.node))


def _paths(suspect: Suspect) -> list[_Path]:
    """What flows back through each node between the input and the output, and through each use of it."""
    assert suspect.case is not None
    case, x = suspect.case, suspect.variable
    output = spelled_out(case.output)
    order = topological([output])
    depends = tracked(order, [x])
    between = [node for node in order if node in depends and node is not output]
    between = between[: max(1, min(_MOST, _MOST_NUMBERS // max(1, x.elements)))]
    upstream = t.ones(()) if output.ndim == 0 else case.upstream
    adjoints = dict(zip(between, differentiate(output, between, upstream), strict=True))
    adjoints[output] = upstream
    users: dict[Expr, list[Expr]] = {}
    for node in order:
        if node in adjoints:
            for arg in set(node.inputs) & adjoints.keys():
                users.setdefault(arg, []).append(node)
    paths = []
    for node in between:
        if node is not x:
            paths.append(_Path(node, None, differentiate(node, [x], adjoints[node])[0]))
        if len(users.get(node, ())) > 1:
            paths += [_use(node, user, x, adjoints[user]) for user in users[node]]
    return paths[:_MOST]


def _use(node: Expr, user: Expr, x: Expr, adjoint: Expr) -> _Path:
    """What flows back through `node` as an argument of `user`."""
    stand_in = variable(_HELD, node.shape, node.dtype)
    with_stand_in = rebuild(user, lambda arg: stand_in if arg is node else arg)
    (along,) = differentiate(with_stand_in, [stand_in], adjoint)
    made: dict[Expr, Expr] = {stand_in: node}
    for part in topological([along], sizes=True):
        if part not in made:
            made[part] = rebuild(part, made.__getitem__)
    share = made[along] if node is x else differentiate(node, [x], made[along])[0]
    return _Path(node, user, share)


def _finding(
    suspect: Suspect, paths: Sequence[_Path], cost: float, equal: Sequence[_Path]
) -> Iterator[Finding]:
    """What is said of paths that were left out, with the formula in which they are not.

    `equal` are all paths on which the same is lost.
    """
    share = paths[0].share
    for path in paths[1:]:
        share = share + path.share
    if not _holds(suspect, share):
        return
    text = naming(suspect)
    repaired = _repaired(suspect, share)
    shown = [f"`{brief(text(path.node))}`" for path in paths]
    if len(paths) == 1 and not _is_statistic(suspect, equal):
        term = brief(text(simplify([share])[0]))
        place = paths[0].node if paths[0].user is None else paths[0].user
        message = f"a term is missing: `{term}`, from `{brief(text(place))}`"
        yield Finding("GC105", message, repaired, cost + 0.15)
        return
    were = "was treated as a constant"
    if len(shown) > 1:
        were = "were treated as constants"
    elif paths[0].user is not None:
        were = f"in `{brief(text(paths[0].user))}` {were}"
    yield Finding("GC107", f"{' and '.join(shown)} {were}", repaired, cost)


def _is_statistic(suspect: Suspect, equal: Sequence[_Path]) -> bool:
    """Whether people think of it as a number beside the input: a mean, a norm, a normaliser, weights.

    A term of the expression, one factor of a product and one occurrence of the input are none: there, a
    term is missing by the sum or product rule.
    """
    assert suspect.case is not None
    summands = _summands(spelled_out(suspect.case.output), suspect.variable)
    if any(path.node in summands for path in equal):
        return False
    return any(_mixes(path.node, suspect.variable) for path in equal)


def _mixes(node: Expr, x: Expr) -> bool:
    """Whether elements of the input are summed up, compared or normalised on the way to a node."""
    order = topological([node])
    depends = tracked(order, [x])
    return any(
        part in depends
        and part is not x
        and not part.op.elementwise
        and len([arg for arg in part.inputs if arg.dtype.is_floating]) == 1
        and not _is_view(part)
        for part in order
    )


_VIEWS = frozenset(
    {"T", "mT", "transpose", "t", "permute", "reshape", "view", "unsqueeze", "squeeze"}
    | {
        "squeeze.dim",
        "select",
        "slice",
        "expand",
        "flip",
        "index",
        "diagonal",
        "tril",
        "triu",
        "roll",
    }
)


def _is_view(node: Expr) -> bool:
    """Whether it only puts elements elsewhere."""
    return node.op.name in _VIEWS


def _summands(output: Expr, x: Expr) -> set[Expr]:
    """The terms whose sum the expression is, and what they are multiples or means of."""
    stack = [term for _, term in terms(output)]
    found: set[Expr] = set(stack) if len(stack) > 1 else set()
    while stack:
        node = stack.pop()
        if is_op(node, "sum", "mean"):
            below = [term for _, term in terms(node.inputs[0])]
        elif is_op(node, "mul", "div"):
            below = [side for side in node.inputs if tracked(topological([side]), [x])]
            below = below if len(below) == 1 else []
        else:
            continue
        if found or len(below) > 1:
            found.update(below)
        stack += below
    return found


def _holds(suspect: Suspect, share: Expr) -> bool:
    """Whether the person's gradient with the missing share passes, at a second draw of the inputs too."""
    (value,) = suspect.values([share])
    if value is None or not suspect.right(suspect.gradient + value):
        return False
    again = suspect.again
    if again is None or again.gradient is None:
        return True
    (value,) = again.values([share])
    return value is not None and again.right(again.gradient + value)


def _repaired(suspect: Suspect, share: Expr) -> str | None:
    """The formula with what was left out added to it; the derived one where that is shorter."""
    assert suspect.edits is not None
    text = naming(suspect)
    (plain,) = simplify([share])
    term = text(plain)
    if term.startswith("-") and grouped(term, MULTIPLIED) == term:
        whole = f"{suspect.edits.text} - {term[1:]}"
    else:
        whole = f"{suspect.edits.text} + {term}"
    derived = short_truth(suspect)
    if derived is not None and len(derived) < len(whole):
        return derived
    if len(whole) <= _LONGEST and suspect.survives(whole):
        return whole
    repairs = [finding.fix for finding in suspect.once(added) if finding.fix is not None]
    return min(repairs, key=len, default=derived)


def _diagonals(suspect: Suspect) -> Iterator[Finding]:
    """Of a step that mixes elements, as softmax does, only the diagonal of the Jacobian was used."""
    assert suspect.case is not None
    case, x = suspect.case, suspect.variable
    upstream = t.ones(()) if case.output.ndim == 0 else case.upstream
    order = topological([case.output])
    depends = tracked(order, [x])
    for node in order:
        if node not in depends or node.op.elementwise or len(node.inputs) != 1:
            continue
        (arg,) = node.inputs
        if arg.shape != node.shape or not 1 < node.elements <= _MOST_ROWS:
            continue
        if node.dtype.kind != "f" or arg.dtype.kind != "f":
            continue
        try:
            wrong = _along_diagonal(suspect, node, arg, upstream)
        except (Invalid, ArithmeticError, ValueError):
            continue
        if _equal(suspect.gradient, wrong):
            text = naming(suspect)
            message = (
                f"each element of `{brief(text(node))}` was treated as depending on its own "
                "input only: the others count too"
            )
            yield Finding("GC107", message, short_truth(suspect), _DIAGONAL)
            return


def _along_diagonal(suspect: Suspect, node: Expr, arg: Expr, upstream: Expr) -> Array:
    """The gradient that the diagonal of d node / d arg would give."""
    assert suspect.case is not None
    case = suspect.case
    row = variable(_COTANGENT, node.shape, node.dtype)
    (column,) = differentiate(node, [arg], row)
    plan = Plan([column])
    diagonal = np.zeros(node.elements)
    for index in range(node.elements):
        unit = np.zeros(node.elements)
        unit[index] = 1.0
        arrays = {**case.arrays, _COTANGENT: unit.reshape(node.shape)}
        diagonal[index] = plan(arrays)[0].reshape(-1)[index]
    (adjoint,) = differentiate(case.output, [node], upstream)
    (back,) = differentiate(arg, [suspect.variable], row)
    (arriving,) = Plan([adjoint])(case.arrays)
    cotangent = arriving * diagonal.reshape(node.shape)
    (found,) = Plan([back])({**case.arrays, _COTANGENT: cotangent})
    return np.asarray(np.broadcast_to(found, suspect.variable.shape), np.float64)
