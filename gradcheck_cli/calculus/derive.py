"""The closed form of a gradient: differentiate, simplify, print; and read back what was printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.facts import assuming
from gradcheck_cli.calculus.simplify import CANONICAL, simplify, sweep
from gradcheck_cli.dtypes import default_dtype
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import Expr, rebuild, t, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import Printed, print_formulas

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gradcheck_cli.calculus.simplify import Watch


def derive(
    output: Expr,
    wrt: Sequence[Expr],
    upstream: Expr,
    names: Mapping[Expr, str] | None = None,
    *,
    taken: Iterable[str] = (),
    facts: Sequence[Expr] = (),
) -> tuple[Printed, ...]:
    """The gradient with respect to each of `wrt` as a formula of its own, in the expression language.

    `upstream` stands for the gradient of a non-scalar output; for a scalar one it is 1. `names` are nodes
    that print as a name: the check's `let`. `taken` are further names that mean something where the
    formula will be read, so that none of them is used for a function or a definition. `facts` are masks
    that are True everywhere at the point.
    """
    reserved = frozenset(taken)
    gradients = derive_nodes(output, wrt, upstream, names, facts=facts)
    return tuple(print_formulas([gradient], None, reserved) for gradient in gradients)


def derive_together(
    output: Expr,
    wrt: Sequence[Expr],
    upstream: Expr,
    names: Mapping[Expr, str] | None = None,
    *,
    taken: Iterable[str] = (),
    facts: Sequence[Expr] = (),
) -> Printed:
    """The same as one set of formulas, which share their definitions."""
    gradients = derive_nodes(output, wrt, upstream, names, facts=facts)
    return print_formulas(gradients, None, frozenset(taken))


def derive_nodes(
    output: Expr,
    wrt: Sequence[Expr],
    upstream: Expr,
    names: Mapping[Expr, str] | None = None,
    *,
    facts: Sequence[Expr] = (),
    watch: Watch | None = None,
) -> tuple[Expr, ...]:
    """The same as simplified nodes, in which what has a name is an input of that name."""
    dtype = None if output.dtype is default_dtype.get() else output.dtype
    cotangent = t.ones((), dtype=dtype) if output.ndim == 0 else upstream
    nodes = (*differentiate(output, wrt, cotangent), *facts)
    if names:
        nodes = with_names(nodes, names)
    given = nodes[len(wrt) :]
    # As they were written, and in the form that rewrites will meet.
    with assuming((*given, *sweep(given, CANONICAL))):
        return simplify(nodes[: len(wrt)], watch)


def with_names(nodes: Sequence[Expr], names: Mapping[Expr, str]) -> tuple[Expr, ...]:
    """The nodes with what has a name made an input, so that no rewrite takes it apart."""
    made: dict[Expr, Expr] = {}
    for node in topological(nodes, sizes=True):
        if node in names and node.args and node.value is None:
            made[node] = variable(names[node], node.shape, node.dtype)
        else:
            made[node] = rebuild(node, made.__getitem__)
    return tuple(made[node] for node in nodes)


def read_back(printed: Printed, scope: Mapping[str, Expr]) -> Expr:
    """The node that a printed formula stands for. Raises GradcheckError if it can't be read."""
    names = dict(scope)
    for name, text in printed.let:
        names[name] = build(parse(Source(text)), names)
    return build(parse(Source(printed.texts[0])), names)
