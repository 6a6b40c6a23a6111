"""The derivative of one function where that of another is right: `s * (1 - s)` for tanh."""

from __future__ import annotations

import ast
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.graph import TABLE, Expr, call, rebuild, t, topological, variable
from gradcheck_cli.lang.edits import Change
from gradcheck_cli.schema import Invalid
from gradcheck_cli.verdict.diagnosis.functions import pool
from gradcheck_cli.verdict.diagnosis.guesses import Guess, sites, tried
from gradcheck_cli.verdict.diagnosis.ingredients import naming
from gradcheck_cli.verdict.diagnosis.material import factors as factors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

Array = npt.NDArray[Any]

LEAST = 0.955

# A single factor may be a derivative by accident; a factor of the right
# derivative is that derivative with a factor missing.
_SINGLE, _FACTOR = 1.35, 1.65
# Functions of the expression that are looked at, and products of the formula.
_MOST_FUNCTIONS, _MOST_PRODUCTS, _MOST_FACTORS = 8, 16, 8

# Derivatives that people know in terms of the function's own value.
_BY_VALUE: dict[str, Callable[[Expr], Expr]] = {
    "sigmoid": lambda y: y * (1 - y),
    "tanh": lambda y: 1 - y * y,
    "tan": lambda y: 1 + y * y,
    "sqrt": lambda y: 0.5 / y,
    "reciprocal": lambda y: -(y * y),
}


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Factors of the formula that are another function's derivative."""
    draft = suspect.draft
    if draft is None or suspect.case is None:
        return
    products = [
        (node, factors)
        for node in sites(draft)
        if not _is_in_product(draft, node) and len(factors := _factors(node)) <= _MOST_FACTORS
    ][:_MOST_PRODUCTS]
    unary = [node for node in topological([suspect.case.output]) if _is_function(node)]
    if not unary or not products:
        return
    guesses = [
        made
        for node in unary[-_MOST_FUNCTIONS:]
        for made in _guesses(suspect, draft, node, products)
    ]
    yield from tried(suspect, guesses)


def _is_function(node: Expr) -> bool:
    return (
        node.op.elementwise
        and len(node.inputs) == 1
        and node.dtype.kind == "f"
        and node.value is None
        and node.op.name not in ("neg", "pow")
    )


def _is_in_product(draft: Draft, node: ast.AST) -> bool:
    parent = draft.edits.parent(node)
    return isinstance(parent, ast.BinOp) and isinstance(parent.op, ast.Mult)


def _factors(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_factors(node.left), *_factors(node.right)]
    return [node]


def slope(node: Expr, at: Expr) -> Expr | None:
    """The derivative of a function of one tensor, `node`, at `at`; None where there is none."""
    try:
        x = variable("slope's argument", at.shape, at.dtype)
        value = rebuild(node, {node.inputs[0]: x}.__getitem__)
        gradient = simplify(differentiate(value, [x], t.ones_like(value)))[0]
        made: dict[Expr, Expr] = {x: at}
        for part in topological([gradient], sizes=True):
            if part not in made:
                made[part] = rebuild(part, made.__getitem__)
    except (Invalid, KeyError):
        return None
    return made[gradient]


def _others(node: Expr) -> Iterator[tuple[str, Expr]]:
    """Derivatives that may stand where that of `node` should: functions' names and their slopes."""
    x = node.inputs[0]
    for name, of_value in _BY_VALUE.items():
        if name != node.op.name:
            yield name, of_value(node)
    for name in pool(node.op.python_name):
        try:
            other = call(TABLE.bare(name) or (), x)
        except (Invalid, AssertionError):
            continue
        if isinstance(other, Expr) and _is_function(other) and other.inputs[0] is x:
            made = slope(other, x)
            if made is not None:
                yield name, made


def _guesses(
    suspect: Suspect, draft: Draft, node: Expr, products: Sequence[tuple[ast.expr, list[ast.expr]]]
) -> Iterator[Guess]:
    right = slope(node, node.inputs[0])
    if right is None:
        return
    others = list(_others(node))
    pieces = [
        (product, factors, chosen)
        for product, factors in products
        for count in (1, 2)
        for chosen in combinations(range(len(factors)), count)
    ]
    nodes = [_product(draft, factors, chosen) for _, factors, chosen in pieces]
    known = [piece for piece in nodes if piece is not None]
    values = dict(zip(known, suspect.values(known), strict=True))
    slopes = suspect.values([slope for _, slope in others])
    inner = suspect.values(all_factors) if len(all_factors := factors_of(right)) > 1 else []
    text = naming(suspect)(right)
    for (product, factors, chosen), piece in zip(pieces, nodes, strict=True):
        value = None if piece is None else values[piece]
        for (name, _), wrong in zip(others, slopes, strict=True):
            if value is None or wrong is None or not _same(value, wrong):
                continue
            kept = [k for k in range(len(factors)) if k not in chosen]
            holes = [f"{{{k}}}" for k in range(len(kept))]
            template = " * ".join([*holes, f"({text})"])
            parts = tuple(factors[k] for k in kept)
            message = (
                f"the derivative of `{name}` is used where that of `{node.op.python_name}` is right"
            )
            cost = _SINGLE
            if len(chosen) > 1:
                cost = LEAST
            elif any(part is not None and _same(value, part) for part in inner):
                cost = _FACTOR
            yield Guess("GC113", cost, message, (Change(product, template, parts),))


def _product(draft: Draft, factors: list[ast.expr], chosen: tuple[int, ...]) -> Expr | None:
    made: Expr | None = None
    for k in chosen:
        factor = draft.tensor(factors[k])
        if factor is None or factor.dtype.kind != "f":
            return None
        try:
            made = factor if made is None else made * factor
        except Invalid:
            return None
    return made


def _same(a: Array, b: Array) -> bool:
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True))
