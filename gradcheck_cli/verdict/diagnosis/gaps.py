"""Parts of a formula, and what the numbers of each would have to be for the whole to be right."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.graph import Expr, topological, variable
from gradcheck_cli.schema import Invalid
from gradcheck_cli.verdict.diagnosis.guesses import sites

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck_cli.lang.draft import Draft
    from gradcheck_cli.verdict.diagnosis.suspect import Suspect

Array = npt.NDArray[Any]

# Parts that are looked at, the outermost first.
_MOST = 24
_MOST_CONSTANTS = 6
# Of larger gradients, only the whole is.
_LARGEST = 2**16
# Evaluations that one family may spend on parts that are summed up or multiplied as matrices later, and
# how many numbers these may make.
_MOST_TRIED = 500
_MOST_NUMBERS = 2**24
# No input's name has a space.
_HOLE = "a hole"
# Secant steps towards what a part must be where the whole isn't linear in it.
_STEPS = 12


@dataclass(frozen=True)
class Part:
    """A part of the formula: `node` in its tree, `expr` in its graph, with its numbers.

    `graph` is the whole formula's with a variable in its place. The numbers are broadcast to the gradient's
    shape where the part may as well have that: what is missing there can be larger than what stands there.
    """

    node: ast.expr
    expr: Expr
    value: Array
    graph: Expr
    suspect: Suspect

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the formula."""
        return self.graph is self._hole

    @property
    def _hole(self) -> Expr:
        return variable(_HOLE, self.value.shape, self.expr.dtype)

    @cached_property
    def is_elementwise(self) -> bool:
        """Whether each element of the part moves the same element of the whole, and no other."""
        hole = self._hole
        shape = self.suspect.variable.shape
        if hole.shape != shape:
            return False
        moving = {hole}
        for node in topological([self.graph]):
            if not moving.isdisjoint(node.inputs):
                if not node.op.elementwise or node.shape != shape:
                    return False
                moving.add(node)
        return True

    @cached_property
    def response(self) -> Callable[[Array], Array]:
        """The whole as a function of this part's numbers; NaN where a kernel refuses them."""
        assert self.suspect.case is not None
        arrays = {**self.suspect.case.arrays, _HOLE: self.value}
        function = Plan([self.graph]).partial(arrays, _HOLE)

        def whole(value: Array) -> Array:
            try:
                with np.errstate(all="ignore"):
                    return np.asarray(function(value), np.float64)
            except (Invalid, ArithmeticError, ValueError, IndexError):
                return np.full(self.suspect.variable.shape, np.nan)

        return whole

    @cached_property
    def needed(self) -> Array | None:
        """What it must be, NaN where the whole doesn't depend on it; None where that can't be told."""
        if self.is_whole:
            return target(self.suspect)
        if not self.is_elementwise:
            return None
        goal = target(self.suspect)
        scale = float(np.abs(self.value).max(initial=0.0)) or 1.0
        with np.errstate(all="ignore"):
            before, now = self.value, self.value + 0.01 * scale
            error_before, error = self.response(before) - goal, self.response(now) - goal
            blind = error == error_before
            for _ in range(_STEPS):
                slope = (error - error_before) / (now - before)
                step = np.where(error == 0, 0.0, error / slope)
                step = np.where(np.isfinite(step), step, 0.0)
                before, now = now, now - step
                if not (np.abs(step) > 1e-14 * np.abs(now)).any():
                    break
                error_before, error = error, self.response(now) - goal
            blind &= np.abs(self.response(self.value) - goal) <= 1e-9 * np.abs(goal)
            found = np.where(blind, np.nan, now)
            off = np.abs(self.response(np.where(blind, self.value, now)) - goal)
        close = off <= 1e-9 * np.abs(goal) + 1e-12 * np.abs(goal).max(initial=0.0)
        return found if bool((close | blind).all()) and not blind.all() else None


def target(suspect: Suspect) -> Array:
    """The right gradient: by the rules where those are right, else the reference."""
    return suspect.once(_target)


def _target(suspect: Suspect) -> Array:
    if suspect.case is not None:
        (value,) = suspect.values([suspect.truth])
        if value is not None and suspect.right(np.asarray(value, np.float64)):
            return np.asarray(value, np.float64)
    return suspect.reference


def multiple(array: Array, of: Array) -> float:
    """The number by which `of` comes nearest to `array`; 0 where there is none."""
    largest = float(np.abs(of).max(initial=0.0))
    if not largest or not np.isfinite(largest):
        return 0.0
    unit = of / largest
    return float((unit * array).sum()) / float(np.square(unit).sum()) / largest


def tries(suspect: Suspect) -> int:
    """How many ingredients may be tried on a part for which what is needed can't be told."""
    several = sum(part.needed is None for part in suspect.once(parts)) or 1
    return min(_MOST_TRIED, _MOST_NUMBERS // max(1, suspect.variable.elements)) // several


def parts(suspect: Suspect) -> list[Part]:
    """The parts that are tensors, the outermost first. To be had by `suspect.once(parts)`."""
    draft = suspect.draft
    assert draft is not None
    small = suspect.variable.elements <= _LARGEST
    found: list[Part] = []
    chosen = sites(draft)[: _MOST if small else 1]
    tensors = [(site, draft.tensor(site)) for site in chosen if not _is_compared(draft, site)]
    usable = [(s, e) for s, e in tensors if e is not None and e.dtype.kind in "fz"]
    for (site, expr), value in zip(usable, suspect.values([e for _, e in usable]), strict=True):
        if value is None or not value.size or not np.isfinite(value).all():
            continue
        numbers = np.asarray(value, np.float64 if expr.dtype.kind == "f" else np.complex128)
        shape = suspect.variable.shape
        wide = None
        if expr.dtype.kind == "f" and expr.shape != shape and fits_into(expr.shape, shape):
            wide = _part(suspect, site, expr, np.broadcast_to(numbers, shape))
        if wide is not None and wide.is_elementwise:
            found.append(wide)
        else:
            part = _part(suspect, site, expr, numbers)
            found += [] if part is None else [part]
    if small:
        found += _numbers(suspect, draft)
    whole = None if suspect.own is None else draft.tensor(draft.edits.tree)
    if suspect.own is not None and (whole is None or whole.dtype.kind in "ib"):
        # The whole formula is a number, or a mask.
        part = _part(suspect, draft.edits.tree, suspect.variable, suspect.gradient)
        found += [] if part is None else [part]
    return found


def _is_compared(draft: Draft, node: ast.AST) -> bool:
    """Whether only a mask is made of it."""
    above: ast.AST | None = node
    while above is not None:
        if isinstance(above, ast.Compare):
            return True
        above = draft.edits.parent(above)
    return False


def _numbers(suspect: Suspect, draft: Draft) -> list[Part]:
    """Numbers in sums and products, of which a tensor may be missing."""
    found: list[Part] = []
    for node in draft.edits.nodes():
        above = draft.edits.parent(node)
        is_operand = isinstance(above, ast.BinOp) and not isinstance(above.op, ast.Pow)
        if not isinstance(node, ast.Constant) or not is_operand or len(found) == _MOST_CONSTANTS:
            continue
        if isinstance(node.value, (int, float)) and not _is_compared(draft, node):
            value = np.full(suspect.variable.shape, float(node.value))
            part = _part(suspect, node, suspect.variable, value)
            if part is not None and part.is_elementwise:
                found.append(part)
    return found


def _part(suspect: Suspect, site: ast.expr, expr: Expr, value: Array) -> Part | None:
    """A part with these numbers; None where they don't fit into the formula."""
    assert suspect.draft is not None
    hole = variable(_HOLE, value.shape, expr.dtype)
    whole = site is suspect.draft.edits.tree
    graph = suspect.fitted(hole if whole else suspect.draft.holding(site, hole))
    return None if graph is None else Part(site, expr, value, graph, suspect)


def fits_into(shape: tuple[int, ...], wider: tuple[int, ...]) -> bool:
    """Whether broadcasting one shape to the other leaves the other as it is.

    >>> fits_into((3, 1), (2, 3, 4)), fits_into((2, 3), (3,))
    (True, False)
    """
    if len(shape) > len(wider):
        return False
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(wider), strict=False))


def is_factor_of_more(suspect: Suspect, node: ast.AST) -> bool:
    """Whether multiplying it is multiplying what it is a part of: `a` of `a * b`, `a / b` and `-a`."""
    assert suspect.draft is not None
    parent = suspect.draft.edits.parent(node)
    if isinstance(parent, ast.BinOp):
        return isinstance(parent.op, ast.Mult) or (
            isinstance(parent.op, ast.Div) and node is parent.left
        )
    return isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.USub)


def is_term_of_more(suspect: Suspect, node: ast.AST) -> bool:
    """Whether adding to it is adding to what it is a part of: `a` of `a + b`, `b - a` and `-a`."""
    assert suspect.draft is not None
    parent = suspect.draft.edits.parent(node)
    if isinstance(parent, ast.BinOp):
        return isinstance(parent.op, (ast.Add, ast.Sub))
    return isinstance(parent, ast.UnaryOp) and isinstance(parent.op, ast.USub)
