"""A gradient that is none: NaN or infinity where it is finite (GC110), or zero everywhere (GC112)."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.calculus.differentiate import differentiate, tracked
from gradcheck_cli.calculus.rewrites.patterns import is_op, number
from gradcheck_cli.graph import Expr, t, topological
from gradcheck_cli.lang.build import values
from gradcheck_cli.lang.edits import Change, grouped
from gradcheck_cli.lang.parse import OPERATORS
from gradcheck_cli.schema import Invalid
from gradcheck_cli.verdict.diagnosis.guesses import brief, quoted, sites
from gradcheck_cli.verdict.diagnosis.ingredients import naming
from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck_cli.lang.draft import Draft

Array = npt.NDArray[Any]

LEAST = 0.0
# A repair that keeps the formula but for what broke it comes before any other.
_REPAIRED = -2.0


def propose(suspect: Suspect) -> Iterator[Finding]:
    """What is seen without comparing numbers: they aren't there, or all of them are zero."""
    wrong, reference = suspect.gradient, suspect.reference
    bad = ~np.isfinite(wrong) & np.isfinite(reference)
    if bad.any():
        message = _not_finite(suspect, bad)
        fix = _stable(suspect)
        if fix is None and suspect.draft is not None:
            remedy, fix = _left_out(suspect, suspect.draft)
            message += remedy
        cost = LEAST if fix is None else _REPAIRED
        yield Finding("GC110", message, fix, cost)
    elif not wrong.any() and bool(np.nan_to_num(reference).any()):
        message = "zero everywhere: no gradient flows"
        cause = _cause_of_zero(suspect)
        fix = None if suspect.draft is None else _without_zero(suspect, suspect.draft)
        cost = LEAST if fix is None else _REPAIRED
        yield Finding("GC112", f"{message}: {cause}" if cause else message, fix, cost)


def _not_finite(suspect: Suspect, bad: Array) -> str:
    """How many elements, the first of them, and the part of the formula in which it begins."""
    wrong, reference = suspect.gradient, suspect.reference
    first = np.argwhere(bad)[0].tolist() if bad.ndim else []
    place = f", first at {first}" if first else ""
    rest = (
        "" if suspect.right(np.where(bad, reference, wrong)) else "; other elements are wrong too"
    )
    of = "" if wrong.size == 1 else f" in {int(bad.sum())} of {wrong.size} elements{place}"
    cause = _cause_of_nan(suspect)
    why = f": {cause}" if cause else ""
    return f"NaN or infinity{of}, where the gradient is finite{rest}{why}"


def _graph(suspect: Suspect) -> Expr | None:
    """What was evaluated: the person's formula, or the expression's chain rule."""
    case = suspect.case
    if case is None or suspect.opaque is not None:
        return None
    if suspect.formula is not None:
        return suspect.node(suspect.formula.flat)
    try:
        return differentiate(case.output, [suspect.variable], case.upstream)[0]
    except Invalid:
        return None


def _cause_of_nan(suspect: Suspect) -> str | None:
    """Where the first number goes out of range, and where what it makes is not a number at all."""
    graph = _graph(suspect)
    if graph is None:
        return None
    order = [node for node in topological([graph]) if node.value is None]
    known = dict(zip(order, suspect.values(order), strict=True))
    text = _texts(suspect)
    began: str | None = None
    for node in order:
        value = known[node]
        if value is None or value.dtype.kind != "f" or np.isfinite(value).all():
            continue
        args = [known.get(arg, arg.value) for arg in node.inputs]
        whole = all(arg is None or np.isfinite(arg).all() for arg in args)
        if whole and began is None:
            began = f"`{text(node)}` {_why(node, args, value)}"
        elif not whole and np.isnan(value).any() and not any(_has_nan(arg) for arg in args):
            after = f"`{text(node)}` is {_indefinite(node)}"
            return f"{began}, and {after}" if began else after
    return began


def _has_nan(value: Any) -> bool:
    return value is not None and np.asarray(value).dtype.kind == "f" and bool(np.isnan(value).any())


def _why(node: Expr, args: list[Any], value: Array) -> str:
    """Why finite numbers gave one that isn't."""
    with np.errstate(all="ignore"):
        if is_op(node, "div") and bool((np.equal(args[1], 0) & np.equal(args[0], 0)).any()):
            return "is 0 / 0"
        if is_op(node, "div", "reciprocal") and bool(np.equal(args[-1], 0).any()):
            return "divides by 0"
        if is_op(node, "log", "log2", "log10", "log1p", "xlogy"):
            below = 1.0 if is_op(node, "log1p") else 0.0
            small = np.asarray(args[-1]) + below
            return (
                "is the logarithm of 0"
                if not (small < 0).any()
                else "is the logarithm of less than 0"
            )
        if is_op(node, "sqrt", "rsqrt") and bool(np.less(args[0], 0).any()):
            return "is the root of less than 0"
        if is_op(node, "rsqrt"):
            return "divides by the root of 0"
        if is_op(node, "pow") and np.isnan(value).any():
            return "is a broken power of less than 0"
        if is_op(node, "pow") and bool((np.equal(args[0], 0) & np.less(args[1], 0)).any()):
            return "divides by a power of 0"
    return "is not a number" if np.isnan(value).any() else "overflows"


def _indefinite(node: Expr) -> str:
    """What it is not a number of."""
    if is_op(node, "div"):
        return "infinity / infinity"
    if is_op(node, "mul", "matmul"):
        return "0 times infinity"
    return "infinity - infinity" if is_op(node, "sub", "add", "sum", "mean") else "not a number"


def _texts(suspect: Suspect) -> Callable[[Expr], str]:
    """How a node is written: as in the person's formula, where it stands there."""
    written: dict[Expr, str] = {}
    edits = suspect.edits
    if edits is not None:
        for part, value in values(edits.formula, suspect.scope).items():
            if isinstance(value, Expr) and value not in written:
                written[value] = brief(edits.segment(part))
    text = naming(suspect)
    return lambda node: written.get(node) or brief(text(node))


def _cause_of_zero(suspect: Suspect) -> str | None:
    """What makes the formula zero, or what of the expression lets nothing back."""
    case = suspect.case
    if case is None:
        return None
    if suspect.edits is None:
        return _stopped(suspect)
    graph = _graph(suspect)
    if graph is None or graph.op.name in ("full", "zeros", "zeros_like", "full_like"):
        return None
    order = [node for node in topological([graph]) if node.value is None]
    text = _texts(suspect)
    for node, value in zip(order, suspect.values(order), strict=True):
        if value is not None and value.dtype.kind in "fb" and value.size and not value.any():
            return f"`{text(node)}` is zero in every element"
    return None


def _without_zero(suspect: Suspect, draft: Draft) -> str | None:
    """The formula without a factor that is zero."""
    for node in sites(draft):
        if not isinstance(node, ast.BinOp) or not isinstance(node.op, ast.Mult):
            continue
        for kept, gone in ((node.left, node.right), (node.right, node.left)):
            value = draft.value(gone)
            (numbers,) = suspect.values([value]) if isinstance(value, Expr) else (value,)
            if isinstance(numbers, (int, float, np.ndarray)) and not np.any(numbers):
                repaired = draft.edits.changed([Change(node, "{0}", (kept,))])
                if suspect.survives(repaired):
                    return repaired
    return None


def _left_out(suspect: Suspect, draft: Draft) -> tuple[str, str | None]:
    """The formula without a quotient of equals, a term, a factor or a division that has no numbers."""
    for node in sites(draft):
        if not isinstance(node, ast.BinOp):
            continue
        for template, parts, gone in _without(draft, node):
            if all(_has_numbers(suspect, draft, part) for part in gone):
                continue
            repaired = draft.edits.changed([Change(node, template, parts)])
            if suspect.survives(repaired):
                return (
                    f"; leave out {_spelled(draft, node, gone)}",
                    repaired,
                )
    return "", None


def _spelled(draft: Draft, node: ast.BinOp, gone: Sequence[ast.expr]) -> str:
    if len(gone) == 2:
        one = grouped(draft.edits.segment(gone[0]), 8)
        return f"`* {one} / {one}`"
    sign = OPERATORS[type(node.op)] + " " if gone[0] is node.right else ""
    part = quoted(draft, gone[0])
    return f"`{sign}{part[1:]}" if sign else part


def _without(
    draft: Draft, node: ast.BinOp
) -> Iterator[tuple[str, tuple[ast.expr, ...], Sequence[ast.expr]]]:
    """Ways to leave something of an operation out: a template, what is kept, and what is gone."""
    if isinstance(node.op, ast.Div):
        text = draft.edits.segment(node.right)
        factors = _chain(node.left)
        for factor in factors if len(factors) > 1 else ():
            if draft.edits.segment(factor) == text:
                kept = tuple(part for part in factors if part is not factor)
                template = " * ".join(f"{{{k}}}" for k in range(len(kept)))
                yield template, kept, (factor, node.right)
        yield "{0}", (node.left,), (node.right,)
    if isinstance(node.op, (ast.Add, ast.Sub, ast.Mult)):
        sign = "-" if isinstance(node.op, ast.Sub) else ""
        yield "{0}", (node.left,), (node.right,)
        yield f"{sign}{{0}}", (node.right,), (node.left,)


def _chain(node: ast.expr) -> list[ast.expr]:
    """The factors of a product."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return [*_chain(node.left), *_chain(node.right)]
    return [node]


def _has_numbers(suspect: Suspect, draft: Draft, node: ast.AST) -> bool:
    """Whether a part is finite everywhere and nowhere zero."""
    value = draft.value(node)
    (numbers,) = suspect.values([value]) if isinstance(value, Expr) else (value,)
    if not isinstance(numbers, (int, float, np.ndarray)):
        return False
    return bool((np.isfinite(numbers) & np.not_equal(numbers, 0)).all())


def _stopped(suspect: Suspect) -> str | None:
    """The first operator behind the input through which no gradient flows."""
    case = suspect.case
    assert case is not None
    order = topological([case.output])
    depends = tracked(order, [suspect.variable])
    text = naming(suspect)
    for node in order:
        if (
            node not in depends
            and node.value is None
            and any(arg in depends for arg in node.inputs)
        ):
            return f"nothing flows back through `{text(node)}`"
    return None


def _stable(suspect: Suspect) -> str | None:
    """The formula with what overflows, or divides 0 by 0, replaced by its stable form."""
    edits = suspect.edits
    if edits is None:
        return None
    known = values(edits.formula, suspect.scope)
    text = naming(suspect)
    for part in edits.nodes():
        value = known.get(part)
        if not isinstance(value, Expr) or value.value is not None:
            continue
        for stable in _stable_forms(part, value, text):
            repaired = edits.replaced(part, stable)
            if suspect.survives(repaired):
                return repaired
    return None


def _stable_forms(part: ast.expr, node: Expr, text: Callable[[Expr], str]) -> Iterator[str]:
    """Other ways to write a node that hold for large numbers and at zero."""
    if is_op(node, "div") and isinstance(part, ast.BinOp):
        top, bottom = node.inputs
        yield from _stable_ratio(top, bottom, text)
        if bottom.value is None:
            over, under = grouped(text(top), 7), text(bottom)
            safe = f"{over} / torch.where({grouped(under, 2)} == 0, 1.0, {under})"
            yield f"torch.where({grouped(under, 2)} == 0, 0.0, {safe})"
    if is_op(node, "log"):
        inner = node.inputs[0]
        if is_op(inner, "sum") and is_op(inner.inputs[0], "exp"):
            total = text(t.logsumexp(inner.inputs[0].inputs[0], inner.attributes["dim"] or 0))
            yield total
        if is_op(inner, "add") and (grown := _one_plus_exp(inner)) is not None:
            yield f"F.softplus({text(grown)})"
        if is_op(inner, "softmax"):
            yield text(t.log_softmax(inner.inputs[0], inner.attributes["dim"]))
        if is_op(inner, "sigmoid"):
            yield f"F.logsigmoid({text(inner.inputs[0])})"
    if is_op(node, "mul"):
        for left, right in (node.inputs, node.inputs[::-1]):
            if is_op(right, "log"):
                yield f"torch.xlogy({text(left)}, {text(right.inputs[0])})"


def _stable_ratio(top: Expr, bottom: Expr, text: Callable[[Expr], str]) -> Iterator[str]:
    if is_op(top, "exp"):
        grown = top.inputs[0]
        if _one_plus_exp(bottom) is grown:
            yield f"sigmoid({text(grown)})"
        if is_op(bottom, "add") and top in bottom.inputs:
            (other,) = [side for side in bottom.inputs if side is not top] or [top]
            if is_op(other, "exp"):
                below = grouped(text(other.inputs[0]), 7)
                yield f"sigmoid({text(grown)} - {below})"
        if is_op(bottom, "sum") and bottom.inputs[0] is top and bottom.attributes["dim"]:
            yield f"softmax({text(grown)}, {bottom.attributes['dim'][0]})"
    pairs = [_exponentials(side) for side in (top, bottom)]
    if all(pair is not None for pair in pairs) and pairs[0] == pairs[1] and is_op(top, "sub"):
        assert pairs[0] is not None
        yield f"tanh({text(pairs[0][0])})"


def _one_plus_exp(node: Expr) -> Expr | None:
    """The a of `1 + exp(a)`."""
    if is_op(node, "add"):
        for one, other in (node.inputs, node.inputs[::-1]):
            if number(one) == 1 and is_op(other, "exp"):
                return other.inputs[0]
    return None


def _exponentials(node: Expr) -> tuple[Expr, ...] | None:
    """The arguments of `exp(a) - exp(b)` or `exp(a) + exp(b)`."""
    if is_op(node, "add", "sub") and all(is_op(side, "exp") for side in node.inputs):
        return tuple(side.inputs[0] for side in node.inputs)
    return None
