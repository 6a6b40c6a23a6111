"""The closed form of a gradient: differentiate, simplify, print; and read back what was printed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.dtypes import default_dtype
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import Expr, rebuild, t, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.lang.printer import Printed, print_formulas

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def derive(
    output: Expr,
    wrt: Sequence[Expr],
    upstream: Expr,
    names: Mapping[Expr, str] | None = None,
    *,
    taken: Iterable[str] = (),
) -> tuple[Printed, ...]:
    """The gradient with respect to each of `wrt` as a formula, in the expression language.

    `upstream` stands for the gradient of a non-scalar output; for a scalar one it is 1. `names` are nodes
    that print as a name: the check's `let`. `taken` are further names that mean something where the
    formula will be read, so that none of them is used for a function or a definition.
    """
    dtype = None if output.dtype is default_dtype.get() else output.dtype
    cotangent = t.ones((), dtype=dtype) if output.ndim == 0 else upstream
    gradients = differentiate(output, wrt, cotangent)
    if names:
        gradients = with_names(gradients, names)
    reserved = frozenset(taken)
    return tuple(print_formulas([gradient], None, reserved) for gradient in simplify(gradients))


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
