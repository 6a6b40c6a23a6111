"""Formulas taken apart: what a style of typesetting is told of a formula, and nothing of operators.

A part is a kind with parts below it. `fold` turns parts into anything, without recursion, so that deep
graphs are no problem.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False, slots=True)
class Part:
    """One part of a formula, of one of these kinds.

    name        an identifier; `verbatim`: one that is told apart from another only as it is spelled
    number      a number without its sign
    word        upright text; `function`: the same, as the head of a call
    symbol      a character with a meaning of its own: the one, the zero, infinity
    bar         the adjoint of what is below
    +  -  neg   sums
    hadamard    products of elements, `text` being the sign
    scale       a scalar and what it multiplies
    matmul      matrices side by side
    fraction    above and below the line
    power       base and exponent; `mark`: base with `text` as its exponent (a transposition)
    root        the square root
    script      base and subscripts; `field`: base with `text` for a subscript
    item        base and subscripts of a tensor's elements; `text` says that they stand in brackets
    fence       `text` is the kind of brackets around the parts; `list`: the parts alone
    call        a head and its arguments
    big         `text` is the sign of a sum or product, then its body and its subscripts
    cases       value, condition, and the value elsewhere
    relation    `text` between two parts; `and`, `or`, `not`
    iverson     a condition as a number, in Iverson's brackets
    range       bounds with colons between them
    keyword     an argument by its name `text`
    """

    kind: str
    below: tuple[Part, ...] = ()
    text: str = ""


def part(kind: str, *below: Part, text: str = "") -> Part:
    """A part with those below it."""
    return Part(kind, below, text)


def word(text: str) -> Part:
    """Upright text."""
    return Part("word", text=text)


def call(name: str, *args: Part, dims: Iterable[Part] = ()) -> Part:
    """A function applied to arguments, the dimensions that it works over as its subscripts."""
    return Part("call", (scripted(Part("function", text=name), dims), *args))


def scripted(base: Part, subscripts: Iterable[Part]) -> Part:
    """A part with subscripts, if there are any."""
    below = tuple(subscripts)
    return Part("script", (base, *below)) if below else base


def fold(root: Part, make: Callable[[Part, tuple[_T, ...]], _T]) -> _T:
    """`make(part, what it made of those below)`, from the leaves to the root; shared parts are made once."""
    made: dict[Part, _T] = {}
    stack = [root]
    while stack:
        current = stack[-1]
        open_ = [child for child in current.below if child not in made]
        if open_:
            stack += open_
            continue
        stack.pop()
        if current not in made:
            made[current] = make(current, tuple(made[child] for child in current.below))
    return made[root]
