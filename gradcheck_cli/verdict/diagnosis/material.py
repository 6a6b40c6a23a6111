"""The graphs that explanations draw from: parts of the expression and of its gradient, multiplied out."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING, Any

from gradcheck_cli.calculus.differentiate import differentiate, tracked
from gradcheck_cli.calculus.rewrites.patterns import is_op
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.graph import CONST, INPUT, Expr, rebuild, t, topological
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

# Of a product or a sum only so many parts are combined.
_MOST_PARTS = 6
# Ways to sum up, of which statistics are made.
_MOST_REDUCTIONS = 3
# Local derivatives of at most so many operators.
_MOST_LOCAL = 24


def unsimplified(suspect: Suspect) -> Expr:
    """The right gradient as the rules give it."""
    assert suspect.case is not None
    case = suspect.case
    upstream = t.ones(()) if case.output.ndim == 0 else case.upstream
    return differentiate(case.output, [suspect.variable], upstream)[0]


def forward(suspect: Suspect) -> list[Expr]:
    """The nodes of the expression, what composites are made of included."""
    return suspect.once(_forward)


def _forward(suspect: Suspect) -> list[Expr]:
    assert suspect.case is not None
    plain = topological([suspect.case.output])
    return list(dict.fromkeys([*plain, *topological([spelled_out(suspect.case.output)])]))


def spelled_out(output: Expr) -> Expr:
    """The same with composites of several steps replaced by their definitions.

    So that the mean in a layer norm is a node, and the sum in a softmax.
    """
    made: dict[Expr, Expr] = {}
    for node in topological([output], sizes=True):
        new = rebuild(node, made.__getitem__)
        if new.op.define is not None and not new.op.outputs and new.value is None:
            try:
                defined = new.op.define(*new.args, **new.attributes)
            except Invalid:
                defined = new
            if isinstance(defined, Expr) and defined.shape == new.shape:
                new = spelled_out(defined) if defined.op is not new.op else defined
        made[node] = new
    return made[output]


def local_derivatives(suspect: Suspect) -> list[Expr]:
    """What the chain rule multiplies by at each elementwise step from the input to the output."""
    return suspect.once(_local_derivatives)


def _local_derivatives(suspect: Suspect) -> list[Expr]:
    order = forward(suspect)
    depends = tracked(order, [suspect.variable])
    found: list[Expr] = []
    for node in order:
        if len(found) >= _MOST_LOCAL:
            break
        if node not in depends or not node.op.elementwise or node is suspect.variable:
            continue
        for arg in dict.fromkeys(node.inputs):
            if arg in depends and arg.shape == node.shape:
                try:
                    found += differentiate(node, [arg], t.ones(()))
                except Invalid:
                    continue
    return list(simplify(found))


def terms(node: Expr) -> list[tuple[int, Expr]]:
    """A sum's signed terms, products of sums multiplied out.

    >>> from gradcheck_cli.graph import variable
    >>> from gradcheck_cli.lang.printer import to_text
    >>> x, y = variable("x", (3,)), variable("y", (3,))
    >>> [(sign, to_text(term)) for sign, term in terms(x * (y - x.exp()))]
    [(1, 'x * y'), (-1, 'x * exp(x)')]
    """
    try:
        return _terms(node)
    except Invalid:
        return [(1, node)]


def _terms(node: Expr) -> list[tuple[int, Expr]]:
    if is_op(node, "add", "sub"):
        left, right = node.inputs
        sign = -1 if is_op(node, "sub") else 1
        found = [*_terms(left), *((sign * s, term) for s, term in _terms(right))]
    elif is_op(node, "neg"):
        found = [(-sign, term) for sign, term in _terms(node.inputs[0])]
    elif is_op(node, "mul", "matmul"):
        left, right = node.inputs
        multiply = _times if is_op(node, "mul") else _matrix_times
        found = [(s * r, multiply(a, b)) for s, a in _terms(left) for r, b in _terms(right)]
    elif is_op(node, "div"):
        left, right = node.inputs
        found = [(sign, term / right) for sign, term in _terms(left)]
    else:
        return [(1, node)]
    # `a * (1 - a)` is a product: nobody thinks of it as `a - a * a`.
    as_it_is = len(found) > 2 * _MOST_PARTS or any(term.shape != node.shape for _, term in found)
    return [(1, node)] if as_it_is else found


def _times(a: Expr, b: Expr) -> Expr:
    return a * b


def _matrix_times(a: Expr, b: Expr) -> Expr:
    return a @ b


def factors(node: Expr) -> list[Expr]:
    """The factors of an elementwise product that are no numbers; for `a / b`, those of `a`, and `1 / b`."""
    if is_op(node, "mul"):
        return [factor for side in node.inputs for factor in factors(side)]
    if is_op(node, "neg"):
        return factors(node.inputs[0])
    if is_op(node, "div"):
        top, bottom = node.inputs
        return [*factors(top), *([] if bottom.value is not None else [1 / bottom])]
    return [] if node.value is not None else [node]


def statistics(suspect: Suspect) -> Iterator[Expr]:
    """What comes back through a mean or a norm: `(grad * n).sum(0)`, `(p * log(p)).sum(-1)`, `n` times that.

    Summed as the gradient, the expression or the formula sum something up.
    """
    roots = [suspect.truth, *suspect.named.values()]
    roots += [] if suspect.own is None else [suspect.own]
    shape = suspect.variable.shape
    order = topological(roots)
    reductions: dict[tuple[Any, ...], Any] = {}
    for node in order:
        if is_op(node, *_REDUCTIONS) and node.inputs[0].shape == shape:
            dims = node.attributes.get("dim")
            if dims:
                reductions[tuple(d % len(shape) for d in dims), node.attributes["keepdim"]] = dims
    tensors = _tensors(suspect, shape)
    upstream = suspect.named.get(UPSTREAM)
    for (_, keepdim), dims in list(reductions.items())[:_MOST_REDUCTIONS]:
        totals = []
        for tensor in tensors:
            yield tensor.sum(dims, keepdim)
            if upstream is not None and upstream.shape == shape and tensor is not upstream:
                totals.append((tensor, (upstream * tensor).sum(dims, keepdim)))
                yield totals[-1][1]
        for a, b in combinations(tensors, 2):
            if upstream not in (a, b):
                yield (a * b).sum(dims, keepdim)
        for tensor, total in totals:
            if _fits(total, tensor):
                yield tensor * total


_REDUCTIONS = frozenset({"sum", "mean", "var", "std", "norm", "logsumexp", "amax"})


def _tensors(suspect: Suspect, shape: tuple[int, ...]) -> list[Expr]:
    """The check's own tensors of one shape, and the formula's parts."""
    found = [n for n in suspect.named.values() if n.shape == shape and n.dtype.is_floating]
    own = [] if suspect.own is None else topological([suspect.own])
    found += [n for n in own if n.shape == shape and n.dtype.is_floating and n.op is not INPUT]
    return list(dict.fromkeys(found))[:_MOST_PARTS]


def _fits(small: Expr, wide: Expr) -> bool:
    """Whether their product has the shape of the second."""
    try:
        return bool((wide * small).shape == wide.shape)
    except Invalid:
        return False


def scaled(suspect: Suspect) -> Iterator[Expr]:
    """Products of two of the check's own tensors: a weight and a normaliser."""
    tensors = [n for n in suspect.named.values() if n.dtype.is_floating and n.value is None]
    for a, b in combinations(tensors[:_MOST_PARTS], 2):
        try:
            yield a * b
        except Invalid:
            continue


def products(node: Expr) -> Iterator[Expr]:
    """Products of some of the factors of the gradient, of which several may be forgotten at once."""
    parts = factors(node)[:_MOST_PARTS]
    for count in (2, 3):
        for chosen in combinations(parts, count):
            try:
                product = chosen[0]
                for factor in chosen[1:]:
                    product = product * factor
            except Invalid:
                continue
            if count < len(parts):
                yield product


def branches(truth: Expr) -> Iterator[Expr]:
    """The right gradient where a mask of its `where` is on, and where it is off."""
    order = topological([truth], sizes=True)
    masks = {n.inputs[0] for n in order if is_op(n, "where") and len(n.inputs) == 3}
    for mask in list(masks)[:_MOST_PARTS]:
        for branch in (1, 2):
            made: dict[Expr, Expr] = {}
            for node in order:
                chosen = is_op(node, "where") and len(node.inputs) == 3 and node.inputs[0] is mask
                new = made[node.inputs[branch]] if chosen else rebuild(node, made.__getitem__)
                fitting = new.shape == node.shape and new.value is None
                made[node] = new if fitting or not chosen else node
            yield from simplify([made[truth], *(term for _, term in terms(made[truth]))])


def literals(suspect: Suspect) -> list[float]:
    """The positive numbers that stand in the expression, as attributes too, and in the formula."""
    return suspect.once(_literals)


def _literals(suspect: Suspect) -> list[float]:
    assert suspect.case is not None
    roots = [suspect.case.output, *suspect.case.scope.values(), *suspect.case.manual.values()]
    found: dict[float, None] = {}
    for node in topological(roots):
        values = [node.value] if node.op is CONST else [value for _, value in node.attrs]
        for value in values:
            if isinstance(value, float) and math.isfinite(value) and value:
                found[abs(value)] = None
        if node.op is CONST and isinstance(node.value, int) and abs(node.value) > 1:
            found[float(abs(node.value))] = None
    return list(found)
