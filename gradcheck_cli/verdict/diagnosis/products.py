"""Transpositions: of any matrix in the formula, of a product's operands, of an einsum's indices."""

from __future__ import annotations

import ast
from itertools import permutations
from typing import TYPE_CHECKING

from gradcheck_cli.lang.edits import Change
from gradcheck_cli.verdict.diagnosis.guesses import Guess, called, guess, quoted, sites, tried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

LEAST = 1.0

_TURNED = frozenset({"T", "mT", "H", "mH"})
_PRODUCTS = frozenset({"matmul", "mm", "bmm", "mv", "outer", "ger", "kron", "dot", "inner"})
REORDERED = frozenset({"transpose", "swapaxes", "swapdims", "permute", "movedim", "moveaxis"})
# Products of three are permuted as a whole.
_CHAIN = 3
_MOST_EQUATIONS = 60


def propose(suspect: Suspect) -> Iterator[Finding]:
    """Transpositions that, made or left out at one place, make the formula right."""
    draft = suspect.draft
    if draft is not None:
        places = sites(draft)
        yield from tried(
            suspect,
            [*_products(draft, places), *_turned(draft, places), *_calls(draft, places)],
        )


def _products(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """Operands swapped, transposed, or both."""
    for node in places:
        match node:
            case ast.BinOp(left=left, op=ast.MatMult(), right=right):
                template = "{} @ {}"
            case ast.Call(args=[left, right], keywords=[]) if called(node) in _PRODUCTS:
                prefix = draft.edits.segment(node.func)
                template = f"{prefix}({{}}, {{}})"
            case ast.Call(func=ast.Attribute(value=left), args=[right], keywords=[]) if called(
                node
            ) in _PRODUCTS and draft.edits.is_part(left):
                template = f"{{}}.{called(node)}({{}})"
            case _:
                continue
        shown = quoted(draft, node)
        yield guess(
            "GC103",
            1.0,
            f"the operands of {shown} are swapped",
            node,
            template.format("{1}", "{0}"),
            left,
            right,
        )
        for turned in (".T", ".mT"):
            first, second = _turn(left, turned), _turn(right, turned)
            both = first[0].format("{0}"), second[0].format("{1}")
            parts = first[1], second[1]
            plain = ("{0}", "{1}")
            odd = 0.0 if turned == ".T" else 0.005
            yield guess(
                "GC103",
                0.99 + odd,
                f"{shown} is transposed: its operands are in the wrong order"
                if node is not draft.edits.tree
                else "the gradient is transposed",
                node,
                template.format(both[1], both[0]),
                *parts,
            )
            for kept, cost, what in ((1, 1.05, left), (0, 1.05, right)):
                pieces = [both[0], both[1]]
                pieces[kept] = plain[kept]
                operands = [parts[0], parts[1]]
                operands[kept] = (left, right)[kept]
                yield guess(
                    "GC103",
                    cost + odd,
                    f"{quoted(draft, what)} is transposed",
                    node,
                    template.format(*pieces),
                    *operands,
                )
                yield guess(
                    "GC103",
                    cost + odd + 0.1,
                    f"the operands of {shown} are swapped, and {quoted(draft, what)} is transposed",
                    node,
                    template.format(*pieces[::-1]),
                    *operands,
                )
        chain = _chain(node)
        if len(chain) == _CHAIN:
            for order in permutations(range(_CHAIN)):
                text = " @ ".join(f"{{{k}}}" for k in order)
                message = f"the factors of {shown} are in the wrong order"
                yield guess("GC103", 1.25, message, node, text, *chain)


def _turn(node: ast.expr, turned: str) -> tuple[str, ast.expr]:
    """A template with one more transposition of an operand, or one less."""
    if isinstance(node, ast.Attribute) and node.attr in _TURNED:
        return "{}", node.value
    return "{}" + turned, node


def _chain(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
        return [*_chain(node.left), *_chain(node.right)]
    return [node]


def _turned(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """A transposition more or less, or half of each: what holds for a symmetric matrix only."""
    for node in places:
        tensor = draft.tensor(node)
        if tensor is None or tensor.ndim < 2:
            continue
        shown = quoted(draft, node)
        what = "the gradient" if node is draft.edits.tree else shown
        if isinstance(node, ast.Attribute) and node.attr in _TURNED:
            yield guess("GC103", 1.1, f"{what} is transposed", node, "{0}", node.value)
            continue
        if tensor.ndim == 2 and tensor.shape[0] == tensor.shape[1]:
            yield guess("GC103", 1.1, f"{what} is transposed", node, "{0}.T", node)
        yield guess("GC103", 1.11, f"{what} is transposed", node, "{0}.mT", node)
        if tensor.shape[-1] != tensor.shape[-2]:
            continue
        message = f"one of the two {shown} is transposed: it is taken for symmetric"
        match node:
            case ast.BinOp(left=ast.Constant(value=2), op=ast.Mult(), right=matrix):
                message = f"one of the two {quoted(draft, matrix)} is transposed: it is taken for symmetric"
                yield guess("GC103", 1.3, message, node, "{0} + {0}.mT", matrix)
            case _:
                yield guess("GC103", 1.31, message, node, "({0} + {0}.mT) / 2", node)


def _calls(draft: Draft, places: Sequence[ast.expr]) -> Iterator[Guess]:
    """The axes of a transposition, and the equation of an einsum."""
    for node in places:
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        if name in REORDERED:
            axes = [arg for arg in node.args if _whole(arg)]
            if len(node.args) > len(axes) + 1:
                continue
            tensor = draft.tensor(node)
            if tensor is None or tensor.ndim > 4 or len(axes) < 2:
                continue
            for order in permutations(range(tensor.ndim), len(axes)):
                changes = tuple(
                    Change(axis, str(number)) for axis, number in zip(axes, order, strict=True)
                )
                text = ", ".join(map(str, order))
                message = f"the axes of `{name}` are wrong: they should be {text}"
                yield Guess("GC103", 1.15, message, changes)
        if name == "einsum" and node.args:
            equation = node.args[0]
            if isinstance(equation, ast.Constant) and isinstance(equation.value, str):
                for other in _equations(equation.value):
                    message = f"the indices '{equation.value}' of `einsum` should be '{other}'"
                    yield guess("GC103", 1.05, message, equation, f"'{other}'")


def _whole(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) is int


def _equations(equation: str) -> list[str]:
    """Equations with two letters of one operand, or of the result, swapped; or with two operands."""
    sides = equation.replace(" ", "").split("->")
    operands = sides[0].split(",")
    groups = [*operands, *sides[1:]]
    found: list[str] = []

    def put(changed: list[str]) -> None:
        text = ",".join(changed[: len(operands)])
        if len(sides) > 1:
            text += "->" + changed[-1]
        if text not in found:
            found.append(text)

    for k, group in enumerate(groups):
        for i in range(len(group)):
            for j in range(i + 1, len(group)):
                letters = list(group)
                letters[i], letters[j] = letters[j], letters[i]
                put([*groups[:k], "".join(letters), *groups[k + 1 :]])
    for i in range(len(operands)):
        for j in range(i + 1, len(operands)):
            swapped = list(groups)
            swapped[i], swapped[j] = swapped[j], swapped[i]
            put(swapped)
    letters = sorted({letter for letter in equation if letter.isalpha()})
    for k, group in enumerate(groups):
        for i, letter in enumerate(group):
            for other in letters:
                if other not in group and letter.isalpha():
                    put([*groups[:k], group[:i] + other + group[i + 1 :], *groups[k + 1 :]])
    return found[:_MOST_EQUATIONS]
