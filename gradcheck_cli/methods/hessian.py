"""The Hessian of a scalar expression with respect to a vector, as a matrix: `M` where the product is `M @ v`.

The matrix is read off the formula of the product, which is linear in the direction: sums stay sums, what
multiplies `v` from the left multiplies the matrix, what scales elements scales rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from gradcheck_cli.calculus.rewrites.patterns import is_op
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.graph import INPUT, Expr, rebuild, t, topological
from gradcheck_cli.lang.printer import print_formulas
from gradcheck_cli.methods.closed_form import Form, closed_form, pose

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.methods.assumptions import Assumption
    from gradcheck_cli.methods.case import Case

# What is larger than this is no help to a reader: its text, and so its graph.
_MOST_NODES, _MOST_CHARACTERS = 96, 240
# What reads the size of its argument alone.
_OF_SIZES = frozenset({"size", "numel", "ones_like", "zeros_like"})


class _Linear(NamedTuple):
    """What depends on the direction linearly: a number as `row @ v`, a vector as `matrix @ v`.

    A vector may be known by the `diagonal` of its matrix instead. Neither: it is `v` itself.
    """

    matrix: Expr | None = None
    diagonal: Expr | None = None

    def full(self, v: Expr) -> Expr:
        """The matrix, or the row."""
        if self.matrix is not None:
            return self.matrix
        made: Expr = t.eye(v.size(0)) if self.diagonal is None else self.diagonal.diag()
        return made


def hessians(case: Case, wrt: Sequence[str], facts: Sequence[Assumption] = ()) -> Form | None:
    """The Hessian with respect to each vector or number of `wrt` for which it is a short formula."""
    if case.output.ndim:
        return None
    found: dict[str, Expr] = {}
    used: dict[str, Assumption] = {}
    directions: dict[str, str] = {}
    for name in wrt:
        if case.variables[name].ndim > 1:
            continue
        product = closed_form(case, [name], "hessian", facts)
        direction = product.directions[name]
        order = topological(product.nodes, sizes=True)
        chosen = [n for n in order if n.op is INPUT and n.attributes["name"] == direction]
        if len(order) > _MOST_NODES or not chosen:
            continue
        matrix = matrix_of(product.nodes[0], chosen[0], case.variables[name])
        if matrix is None:
            continue
        text = print_formulas([matrix], None, pose(case, [name], "hessian").scope)
        if len(str(text)) > _MOST_CHARACTERS:
            continue
        found[name] = matrix
        directions[name] = direction
        used |= {fact.text: fact for fact in product.assumptions}
    if not found:
        return None
    names = tuple(found)
    scope = pose(case, names, "hessian").scope
    printed = print_formulas(list(found.values()), None, scope)
    return Form("hessian", names, tuple(found.values()), printed, directions, tuple(used.values()))


def only(form: Form, name: str) -> Form:
    """The formula of one input alone, with the definitions that it shares with the others."""
    position = form.wrt.index(name)
    return replace(
        form,
        wrt=(name,),
        nodes=(form.nodes[position],),
        printed=replace(form.printed, texts=(form.printed.texts[position],)),
        directions={name: form.directions[name]},
    )


def products_of(case: Case, form: Form) -> Form:
    """The same matrices as the formulas of their products with the direction, which can be tried."""
    texts = [
        f"({text}) @ {form.directions[name]}"
        if case.variables[name].ndim
        else f"({text}) * {form.directions[name]}"
        for name, text in zip(form.wrt, form.printed.texts, strict=True)
    ]
    return replace(form, printed=replace(form.printed, texts=tuple(texts)))


def matrix_of(product: Expr, v: Expr, like: Expr | None = None) -> Expr | None:
    """The matrix that `product` multiplies the vector `v` by (a number, where `v` is one); None if unknown.

    `like` is what gives its size in place of `v`: the input.

    >>> from gradcheck_cli.graph import variable
    >>> from gradcheck_cli.lang.printer import to_text
    >>> A, v = variable("A", (5, 3)), variable("v", (3,))
    >>> to_text(matrix_of(2 * (A.T @ (A @ v)), v))
    '2 * A.T @ A'
    """
    if v.ndim == 0:
        return _at_one(product, v)
    linear: dict[Expr, _Linear] = {v: _Linear()}
    depends = {v}
    for node in topological([product]):
        if node is v or depends.isdisjoint(node.inputs):
            continue
        depends.add(node)
        if any(arg in depends and arg not in linear for arg in node.inputs):
            return None
        found = _step(node, linear, v)
        if found is None:
            return None
        linear[node] = found
    if product not in linear:
        return None
    matrix = linear[product].full(v)
    made: dict[Expr, Expr] = {v: v if like is None else like}
    for node in topological([matrix], sizes=True):
        # The size of the direction is that of the input; its numbers stand in no Hessian.
        if v in node.inputs and node.op.name not in _OF_SIZES:
            return None
        if node not in made:
            made[node] = rebuild(node, made.__getitem__)
    (short,) = simplify([made[matrix]])
    return short


def _at_one(product: Expr, v: Expr) -> Expr:
    """What is linear in a number, at 1."""
    made: dict[Expr, Expr] = {v: t.ones_like(v)}
    for node in topological([product], sizes=True):
        if node not in made:
            made[node] = rebuild(node, made.__getitem__)
    (short,) = simplify([made[product]])
    return short


def _step(node: Expr, linear: Mapping[Expr, _Linear], v: Expr) -> _Linear | None:
    """The matrix of a node from those of its arguments; None where it is no matrix, or not known."""
    name, inputs = node.op.name, node.inputs
    if node.ndim > 1 or any(arg.ndim > 2 for arg in inputs):
        return None
    known = [linear.get(arg) for arg in inputs]
    first = known[0]
    if name == "neg" and first is not None:
        if first.diagonal is not None:
            return _Linear(diagonal=-first.diagonal)
        return _Linear(-first.full(v))
    if name in ("add", "sub"):
        return _added(known, v, subtract=name == "sub")
    if name == "mul" and (first is None) != (known[1] is None):
        position = 0 if first is not None else 1
        return _scaled(known[position], inputs[position], inputs[1 - position], v)
    if name == "div" and first is not None and known[1] is None:
        return _scaled(first, inputs[0], inputs[1], v, divide=True)
    if name == "matmul" and (first is None) != (known[1] is None):
        return _multiplied(known, inputs)
    if name == "where" and first is None:
        return _chosen(known, inputs, v)
    if first is None:
        return None
    if name == "sum" and node.ndim == 0 and inputs[0].ndim == 1:
        if first.matrix is not None:
            return _Linear(first.matrix.sum(0))
        return _Linear(t.ones_like(v) if first.diagonal is None else first.diagonal)
    if name == "expand" and inputs[0].ndim == 0 and node.shape == v.shape:
        return _Linear(t.ones_like(v).outer(first.full(v)))
    return None


def _added(known: Sequence[_Linear | None], v: Expr, *, subtract: bool) -> _Linear | None:
    """A sum of two; a number's row is added to every row."""
    left, right = known
    if left is None or right is None:
        return None
    if left.diagonal is not None and right.diagonal is not None:
        both = left.diagonal, right.diagonal
        return _Linear(diagonal=both[0] - both[1] if subtract else both[0] + both[1])
    first, second = left.full(v), right.full(v)
    return _Linear(first - second if subtract else first + second)


def _chosen(known: Sequence[_Linear | None], inputs: Sequence[Expr], v: Expr) -> _Linear | None:
    """Rows that a mask keeps, the others zero."""
    mask, *branches = inputs
    rows: list[Expr] = []
    for found, branch in zip(known[1:], branches, strict=True):
        if (found is None and branch.value != 0) or (found is not None and branch.ndim != 1):
            return None
        rows.append(branch if found is None else found.full(v))
    kept = [found for found in known[1:] if found is not None]
    if mask.ndim > 1 or not kept:
        return None
    if len(kept) == 1 and kept[0].matrix is None and mask.ndim == 1:
        own = t.ones_like(v) if kept[0].diagonal is None else kept[0].diagonal
        parts = [
            own if found is not None else branch
            for found, branch in zip(known[1:], branches, strict=True)
        ]
        return _Linear(diagonal=t.where(mask, *parts))
    return _Linear(t.where(mask.unsqueeze(1) if mask.ndim else mask, *rows))


def _scaled(
    known: _Linear | None, arg: Expr, factor: Expr, v: Expr, *, divide: bool = False
) -> _Linear | None:
    """The elements of a vector times (or divided by) those of another, or by a number."""
    assert known is not None
    matrix, diagonal = known
    if arg.ndim == 0 and factor.ndim == 1 and not divide:
        # A number that depends on v times a vector.
        return None if matrix is None else _Linear(factor.outer(matrix))
    if factor.ndim == 0:
        if diagonal is not None:
            return _Linear(diagonal=diagonal / factor if divide else factor * diagonal)
        matrix = known.full(v)
        return _Linear(matrix / factor if divide else factor * matrix)
    if arg.ndim != 1 or factor.shape != arg.shape:
        return None
    if matrix is None:
        if diagonal is None:
            return _Linear(diagonal=1 / factor if divide else factor)
        return _Linear(diagonal=diagonal / factor if divide else factor * diagonal)
    if divide:
        return _Linear(matrix / factor.unsqueeze(1))
    if is_op(matrix, "mul") and is_op(matrix.inputs[0], "unsqueeze"):
        # Rows are scaled once, by the product.
        column, matrix = matrix.inputs
        factor = factor * column.inputs[0]
    return _Linear(factor.unsqueeze(1) * matrix)


def _multiplied(known: Sequence[_Linear | None], inputs: Sequence[Expr]) -> _Linear | None:
    """A matrix, or a row, times a vector that depends on v; or that vector times a matrix."""
    left, right = known
    found = left if right is None else right
    assert found is not None
    other = inputs[0] if right is not None else inputs[1].T if inputs[1].ndim == 2 else inputs[1]
    if found.matrix is not None:
        return _Linear(other @ found.matrix)
    return _Linear(other if found.diagonal is None else other * found.diagonal)
