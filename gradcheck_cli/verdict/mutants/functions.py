"""Mistakes that put one function, exponent, operator or variable in the place of another."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from gradcheck_cli.lang.edits import grouped
from gradcheck_cli.verdict.mutants.record import PRODUCT, Edit, Kind, Subject, place

if TYPE_CHECKING:
    from collections.abc import Iterator

_ALIKE = {
    "tanh": ("sigmoid", "sin"),
    "sigmoid": ("tanh", "relu"),
    "sin": ("cos", "sinh"),
    "cos": ("sin", "cosh"),
    "sinh": ("cosh", "sin"),
    "cosh": ("sinh", "cos"),
    "exp": ("expm1", "exp2"),
    "expm1": ("exp",),
    "log": ("log1p", "log2"),
    "log1p": ("log",),
    "log2": ("log",),
    "sqrt": ("rsqrt",),
    "rsqrt": ("sqrt",),
    "erf": ("tanh", "erfc"),
    "erfc": ("erf",),
    "softmax": ("log_softmax",),
    "log_softmax": ("softmax",),
    "relu": ("sigmoid", "softplus"),
    "softplus": ("sigmoid",),
    "sign": ("tanh",),
    "abs": ("square",),
    "square": ("abs",),
    "tril": ("triu",),
    "triu": ("tril",),
    "amax": ("amin",),
    "cumsum": ("cumprod",),
    "fft": ("ifft",),
    "ifft": ("fft",),
    "digamma": ("lgamma",),
}
# What a person leaves out where a function's inverse or power is right.
_LEFT_OUT = frozenset(
    {"inverse", "rsqrt", "sqrt", "square", "exp", "log", "reciprocal", "tanh", "sigmoid"}
)
_OTHER: dict[type[ast.AST], str] = {ast.Mult: "/", ast.Div: "*"}


def _alike(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name) as function):
                start, end = edits.formula.span(function)
            case _:
                continue
        for other in _ALIKE.get(name, ()):
            text = edits.text[: end - len(name)] + other + edits.text[end:]
            if start <= end - len(name):
                yield Edit(text, f"`{other}` in place of `{name}`")


def _function_dropped(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.Call(func=ast.Attribute(value=owner, attr=name), args=[]) if name in _LEFT_OUT:
                kept = owner
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[kept]) if (
                name in _LEFT_OUT
            ):
                pass
            case _:
                continue
        segment = edits.segment(kept)
        yield Edit(edits.replaced(part, segment), f"`{name}` of `{segment}` dropped")


def _powers(subject: Subject) -> Iterator[tuple[ast.expr, ast.expr, ast.expr]]:
    """Each power with its base and its exponent."""
    for part in subject.parts():
        match part:
            case ast.BinOp(left=base, op=ast.Pow(), right=exponent):
                yield part, base, exponent
            case ast.Call(func=ast.Attribute(value=base, attr="pow"), args=[exponent]):
                yield part, base, exponent


def _exponent(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part, base, exponent in _powers(subject):
        node = subject.node(exponent)
        if node is None or node.value is None:
            continue
        first, codes = grouped(edits.segment(base)), ("GC113",)
        for new in (node.value + 1, node.value - 1):
            text = f"{first}**{new!r}" if new >= 0 else f"{first}**({new!r})"
            yield Edit(edits.replaced(part, text), f"the exponent {new} for {node.value}", codes)
    for part in subject.parts():
        match part:
            case ast.Call(func=ast.Attribute(value=base, attr="square"), args=[]):
                text = f"{grouped(edits.segment(base))}**3"
                yield Edit(edits.replaced(part, text), "the exponent 3 for 2")


def _root(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part, base, exponent in _powers(subject):
        node = subject.node(exponent)
        if node is None or node.value is None:
            continue
        halved = node.value == 0.5
        new = 2 * node.value if halved else node.value / 2
        text = edits.segment(base) if halved else f"{grouped(edits.segment(base))}**{new!r}"
        yield Edit(edits.replaced(part, text), f"the exponent {new:g} for {node.value:g}")


def _operator(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.BinOp(left=left, op=ast.Mult() | ast.Div() as op, right=right):
                new = _OTHER[type(op)]
                second = grouped(edits.segment(right))
                text = f"{grouped(edits.segment(left), PRODUCT)} {new} {second}"
                yield Edit(edits.replaced(part, text), f"`{new} {second}` in place of the opposite")


def _interchanged(subject: Subject) -> Iterator[Edit]:
    edits = subject.edits
    for part in subject.parts():
        match part:
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                at = place(edits, part)
                codes = ("GC102",) if at == "factor" else ("GC113", "GC102")
                symbol = "-"
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                codes, symbol = ("GC113",), "/"
            case _:
                continue
        first, second = edits.segment(left), edits.segment(right)
        text = f"{grouped(second)} {symbol} {grouped(first)}"
        what = f"the operands of `{first} {symbol} {second}` interchanged"
        yield Edit(edits.replaced(part, text), what, codes)


def _other_variable(subject: Subject) -> Iterator[Edit]:
    """A name replaced by another one of the same shape and dtype."""
    edits = subject.edits
    for part in subject.parts():
        if not isinstance(part, ast.Name) or part.id not in subject.scope:
            continue
        node = subject.scope[part.id]
        if isinstance(edits.parent(part), ast.Attribute) and node.ndim == 0:
            continue
        codes = ("GC113",) if place(edits, part) != "term" else ("GC113", "GC105")
        for name, other in subject.scope.items():
            if name != part.id and other.shape == node.shape and other.dtype is node.dtype:
                what = f"`{name}` in place of `{part.id}`"
                yield Edit(edits.replaced(part, name), what, codes)


def _of_function(subject: Subject) -> Iterator[Edit]:
    """The function itself in the place of its derivative, or a part of the formula in that of the whole."""
    output = subject.case.output
    if output.shape == subject.target.shape:
        yield Edit(
            " ".join(subject.case.expression.flat.split()), "the function for its derivative"
        )


KINDS = (
    Kind("look-alike", ("GC113",), _alike, "One function for another: tanh for sigmoid."),
    Kind(
        "function dropped", ("GC113",), _function_dropped, "A function is left out: x for exp(x)."
    ),
    Kind("exponent off by one", ("GC113",), _exponent, "A power isn't lowered, or is twice."),
    Kind("exponent halved", ("GC113",), _root, "A root in place of its square, or the opposite."),
    Kind("product for quotient", ("GC113",), _operator, "`*` in place of `/`, or the opposite."),
    Kind(
        "operands interchanged", ("GC113",), _interchanged, "b - a for a - b, or b / a for a / b."
    ),
    Kind("other variable", ("GC113",), _other_variable, "A variable in place of one like it."),
    Kind(
        "not differentiated", ("GC113",), _of_function, "The function itself is given.", local=False
    ),
)
