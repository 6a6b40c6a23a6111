"""The closed form of a gradient: differentiate, simplify, print; and read back what was printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.facts import assuming, shaped_as
from gradcheck_cli.calculus.simplify import CANONICAL, simplify, sweep
from gradcheck_cli.dtypes import default_dtype
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import INPUT, Expr, rebuild, t, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import Printed, print_formulas

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gradcheck_cli.calculus.simplify import Watch

    Told = Callable[[bool], None]


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


def derive_nodes(
    output: Expr,
    wrt: Sequence[Expr],
    upstream: Expr,
    names: Mapping[Expr, str] | None = None,
    *,
    facts: Sequence[Expr] = (),
    watch: Watch | None = None,
    told: Told | None = None,
) -> tuple[Expr, ...]:
    """The same as simplified nodes, in which what has a name is an input of that name.

    `told` is called with whether an answer rested on one of the facts: where none did, they make no
    difference.
    """
    dtype = None if output.dtype is default_dtype.get() else output.dtype
    cotangent = t.ones((), dtype=dtype) if output.ndim == 0 else upstream
    nodes = (*differentiate(output, wrt, cotangent), output, *facts)
    definitions: Mapping[Expr, Expr] = {}
    if names:
        nodes, definitions = _named(nodes, names)
    gradients, shaped, given = nodes[: len(wrt)], nodes[len(wrt)], nodes[len(wrt) + 1 :]
    with shaped_as({upstream: shaped}):
        return simplify_assuming(gradients, given, watch, definitions, told)


def simplify_assuming(
    nodes: Sequence[Expr],
    facts: Sequence[Expr],
    watch: Watch | None = None,
    definitions: Mapping[Expr, Expr] | None = None,
    told: Told | None = None,
) -> tuple[Expr, ...]:
    """The nodes simplified, where the `facts` hold everywhere.

    `definitions` are what inputs that are names stand for: where it is met, the name stands in its place.
    """
    # As they were written, and in the form that rewrites will meet.
    both = (*facts, *sweep(tuple(facts), CANONICAL))
    names: dict[Expr, Expr] = {}
    used = False
    if definitions:
        names = dict(zip(definitions.values(), definitions, strict=True))
        with assuming(both, definitions) as assumed:
            settled = sweep((*definitions.values(),), CANONICAL)
        used = assumed.used
        names |= zip(settled, definitions, strict=True)
        names = {what: name for what, name in names.items() if what.inputs}
        definitions = dict(zip(definitions, settled, strict=True))
    with assuming(both, definitions, names) as assumed:
        found = simplify(nodes, watch)
    if told is not None:
        told(used or assumed.used)
    return found


def with_names(nodes: Sequence[Expr], names: Mapping[Expr, str]) -> tuple[Expr, ...]:
    """The nodes with what has a name made an input, so that no rewrite takes it apart."""
    return _named(nodes, names)[0]


def _named(
    nodes: Sequence[Expr], names: Mapping[Expr, str]
) -> tuple[tuple[Expr, ...], dict[Expr, Expr]]:
    """The nodes with what has a name made an input, and what each such input stands for."""
    made: dict[Expr, Expr] = {}
    definitions: dict[Expr, Expr] = {}
    for node in topological([*nodes, *names], sizes=True):
        again = rebuild(node, made.__getitem__)
        if node in names and node.op is not INPUT and node.value is None:
            made[node] = variable(names[node], node.shape, node.dtype)
            definitions[made[node]] = again
        else:
            made[node] = again
    return tuple(made[node] for node in nodes), definitions


def read_back(printed: Printed, scope: Mapping[str, Expr]) -> Expr:
    """The node that a printed formula stands for. Raises GradcheckError if it can't be read."""
    names = dict(scope)
    for name, text in printed.let:
        names[name] = build(parse(Source(text)), names)
    return build(parse(Source(printed.texts[0])), names)
