"""Closed forms of a check: of its gradient, of its Hessian's product with a direction, of its tangent.

All three are gradients of something: the Hessian-vector product that of the gradient contracted with the
direction (Pearlmutter, Fast exact multiplication by the Hessian, 1994), the tangent that of the
vector-Jacobian product with respect to its cotangent, in which it is linear.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Literal, TypeAlias

from gradcheck_cli.calculus.derive import derive_nodes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.facts import shaped_as
from gradcheck_cli.graph import Expr, t, variable
from gradcheck_cli.lang.printer import Printed, print_formulas
from gradcheck_cli.methods.assumptions import Assumption, nodes
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.methods.second_order import fresh

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck_cli.methods.case import Case

Kind: TypeAlias = Literal["gradient", "hessian", "tangent"]
# No name that an expression can hold.
_NONE = "no upstream"
# Of more candidates, all are stated that were given rather than those alone that were used.
_MOST_TRIED = 12


@dataclass(frozen=True)
class Posed:
    """What is differentiated: `output` with respect to each of `targets`, over the names of `scope`.

    `directions` are the names of the direction (or of the tangents), by input.
    """

    output: Expr
    targets: tuple[Expr, ...]
    scope: Mapping[str, Expr]
    directions: Mapping[str, str]


@dataclass(frozen=True)
class Form:
    """Formulas with definitions that they share: one per name of `wrt`, of a tangent a single one.

    `nodes` are the formulas as graphs, in which what has a name in the check is an input of that name.
    `assumptions` are those without which a formula would be another, `assuming` whose formulas these are.
    """

    kind: Kind
    wrt: tuple[str, ...]
    nodes: tuple[Expr, ...]
    printed: Printed
    directions: Mapping[str, str]
    assumptions: tuple[Assumption, ...] = ()
    assuming: frozenset[str] = frozenset()


def pose(case: Case, wrt: Sequence[str], kind: Kind) -> Posed:
    """What to differentiate for a closed form of `kind`; raises Invalid where a derivative is missing."""
    targets = tuple(case.variables[name] for name in wrt)
    scope = {**case.scope, UPSTREAM: case.upstream}
    if kind == "gradient":
        return Posed(case.output, targets, scope, {})
    prefix = "v_" if kind == "hessian" else "d"
    directions = {}
    for name in wrt:
        directions[name] = chosen = fresh(f"{prefix}{name}", scope)
        node = case.variables[name]
        scope[chosen] = variable(chosen, node.shape, node.dtype)
    number = kind == "hessian" and case.output.ndim == 0
    gradients = differentiate(case.output, targets, t.ones(()) if number else case.upstream)
    terms = [
        (gradient * scope[directions[name]]).sum()
        for name, gradient in zip(wrt, gradients, strict=True)
    ]
    total = reduce(add, terms)
    found = targets if kind == "hessian" else (case.upstream,)
    return Posed(total, found, scope, directions)


@dataclass(frozen=True)
class Derived:
    """A closed form before it is printed: `nodes` as of a `Form`; `taken` are the names it can't define."""

    nodes: tuple[Expr, ...]
    directions: Mapping[str, str]
    taken: frozenset[str]
    assumptions: tuple[Assumption, ...]
    assuming: frozenset[str]


def closed_form(
    case: Case, wrt: Sequence[str], kind: Kind = "gradient", facts: Sequence[Assumption] = ()
) -> Form:
    """The closed form of `kind` for the inputs `wrt`, with what is true of them put to use."""
    found = derive(case, wrt, kind, facts)
    printed = print_formulas(found.nodes, None, found.taken)
    return Form(
        kind,
        tuple(wrt),
        found.nodes,
        printed,
        found.directions,
        found.assumptions,
        found.assuming,
    )


def derive(
    case: Case, wrt: Sequence[str], kind: Kind = "gradient", facts: Sequence[Assumption] = ()
) -> Derived:
    """The formulas of `closed_form` as graphs."""
    posed = pose(case, wrt, kind)
    names = case.named
    # Of what is a number by contraction the upstream gradient is 1; `grad` in it keeps its own shape.
    upstream = case.upstream if kind == "gradient" else variable(_NONE, posed.output.shape)
    shapes = {case.upstream: case.output} if kind != "gradient" else {}
    shapes |= {posed.scope[chosen]: case.variables[n] for n, chosen in posed.directions.items()}

    rested: list[bool] = []

    def derived(assumptions: Sequence[Assumption]) -> tuple[Expr, ...]:
        with shaped_as(shapes):
            return derive_nodes(
                posed.output,
                posed.targets,
                upstream,
                names,
                facts=nodes(assumptions),
                told=rested.append,
            )

    plain = found = derived(facts)
    used: tuple[Assumption, ...] = ()
    if rested[0]:
        plain = derived(())
        used = _needed(plain, found, derived, tuple(facts))
    labels = wrt if kind != "tangent" else wrt[:1]
    changed = {n for n, a, b in zip(labels, plain, found, strict=True) if a is not b}
    return Derived(found, posed.directions, frozenset(posed.scope), used, frozenset(changed))


def _needed(
    plain: tuple[Expr, ...],
    found: tuple[Expr, ...],
    derived: Callable[[Sequence[Assumption]], tuple[Expr, ...]],
    facts: tuple[Assumption, ...],
) -> tuple[Assumption, ...]:
    """The assumptions that the form found takes, which is another without."""
    if found == plain:
        return ()
    used = facts
    if len(facts) <= _MOST_TRIED:
        for fact in reversed(facts):  # the plainest stand first
            fewer = tuple(other for other in used if other is not fact)
            if fewer and derived(fewer) == found:
                used = fewer
    return used
