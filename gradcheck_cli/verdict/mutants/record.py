"""What kinds of mistake are made of: the formula that is mutated, an edit of it, the record of a kind."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.edits import Edits, binding_of, grouped
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.spec.samplers import SAMPLERS
from gradcheck_cli.verdict.mutants.evaluate import evaluate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.spec.check import InputSpec


# How tightly sums and products bind.
SUM, PRODUCT = binding_of("a + b"), binding_of("a * b")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A wrong formula: its text, the kind of mistake it is, and the codes that rightly name that.

    `what` says for people what was done: "`2 *` dropped".
    """

    kind: str
    codes: tuple[str, ...]
    text: str
    what: str


class Edit(NamedTuple):
    """One mutation: the whole new text and what was done; `codes` where they aren't those of the kind."""

    text: str
    what: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of mistake: the codes that name it, what makes the mutants of a formula, one sentence.

    `local` kinds change a part of the text; for others it makes no difference how the text is written.
    """

    name: str
    codes: tuple[str, ...]
    make: Callable[[Subject], Iterator[Edit]]
    doc: str
    local: bool = True


@dataclass(frozen=True)
class Subject:
    """A right formula for the gradient of the input `name`, as text and as tree."""

    case: Case
    name: str
    edits: Edits
    _built: dict[str, Expr | None] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, case: Case, name: str, text: str) -> Subject:
        """Raises GradcheckError where the text isn't an expression."""
        return cls(case, name, Edits.of(text))

    @property
    def text(self) -> str:
        """The whole formula."""
        return self.edits.text

    @cached_property
    def whole(self) -> str:
        """The whole formula as an operand of anything."""
        return grouped(self.text)

    @cached_property
    def summand(self) -> str:
        """The whole formula as the first term of a sum."""
        return grouped(self.text, SUM)

    @cached_property
    def scope(self) -> Mapping[str, Expr]:
        """What names mean in it."""
        return {**self.case.scope, UPSTREAM: self.case.upstream}

    @property
    def target(self) -> Expr:
        """The input."""
        return self.case.variables[self.name]

    def build(self, text: str) -> Expr | None:
        """The node of a text over the formula's names; None where it isn't one."""
        if text not in self._built:
            try:
                self._built[text] = build(parse(Source(text)), self.scope)
            except GradcheckError:
                self._built[text] = None
        return self._built[text]

    def node(self, part: ast.expr) -> Expr | None:
        """What a part of the formula stands for; None where it is no tensor or number."""
        return self.build(self.edits.segment(part))

    @cached_property
    def masking(self) -> list[str]:
        """The variables of the input's shape that the formula depends on, and whose sign can matter.

        A mask by what isn't in the formula is nothing that a person would write, nor one by labels or
        weights.
        """
        known = {spec.name: spec for spec in self.case.check.inputs}
        return [
            name
            for name in sorted(self.edits.formula.names)
            if name in (*known, UPSTREAM)
            and self.scope[name].shape == self.target.shape
            and self.scope[name].dtype.kind == "f"
            and not (name in known and _of_one_sign(known[name]))
        ]

    @cached_property
    def largest(self) -> float:
        """The largest element of the gradient, at the case's own inputs; 0 where there is none."""
        node = self.build(self.text)
        if node is None:
            return 0.0
        found = evaluate([node], self.case.arrays, node.shape)[0]
        return 0.0 if found is None else float(np.abs(found[np.isfinite(found)]).max(initial=0.0))

    def parts(self) -> Iterator[ast.expr]:
        """All that is computed in the formula, the outermost first: no sizes, axes or indices."""
        for part in self.edits.nodes():
            if not self._is_setting(part):
                yield part

    def _is_setting(self, part: ast.AST) -> bool:
        """Whether it stands in a subscript or is a call's number: an axis, a size, an index."""
        edits = self.edits
        parent = edits.parent(part)
        if isinstance(parent, ast.UnaryOp) and isinstance(part, ast.Constant):
            return self._is_setting(parent)
        if is_number(part) and isinstance(parent, (ast.Call, ast.keyword)):
            return True
        node: ast.AST | None = part
        while node is not None:
            parent = edits.parent(node)
            if isinstance(parent, (ast.Tuple, ast.List, ast.Slice)):
                return _holds_numbers(parent)
            if isinstance(parent, ast.Subscript) and parent.slice is node:
                return True
            node = parent
        return False


def _of_one_sign(spec: InputSpec) -> bool:
    """Whether it is drawn so on purpose: labels, weights."""
    drawn = spec.drawn
    return drawn and (SAMPLERS[spec.sampler].whole or spec.sampler == "positive")


def is_number(part: ast.AST) -> bool:
    """Whether it is a number as it is written, with or without a sign."""
    match part:
        case ast.Constant(value=int() | float()) | ast.UnaryOp(operand=ast.Constant()):
            return True
    return False


def _holds_numbers(parent: ast.AST) -> bool:
    """Whether these are sizes or indices, not the tensors of a `torch.cat([...])`."""
    if isinstance(parent, ast.Slice):
        return True
    items = getattr(parent, "elts", ())
    return all(
        isinstance(item, (ast.Constant, ast.Slice, ast.UnaryOp, ast.Subscript)) for item in items
    )


# Functions that are linear in their tensors: what is wrong by a summand before is so behind them.
_LINEAR_NAMES = """
sum mean T mT transpose permute reshape view flatten squeeze unsqueeze expand expand_as cumsum flip roll cat
stack to tril triu diag diagonal trace unfold fold pad real einsum where sum_to_size solve outer matmul bmm
mm mv dot repeat fft ifft rfft irfft avg_pool2d pixel_shuffle pixel_unshuffle linear index_add scatter_add
conv1d conv2d conv_transpose2d float double detach clone contiguous movedim
"""
_LINEAR = frozenset(_LINEAR_NAMES.split())


def place(edits: Edits, part: ast.AST) -> str:
    """What a mistake in a part does to the whole.

    "factor": it multiplies the whole; "term": it is, or multiplies, one of several summands; "inner": it
    is inside something that isn't linear, such as the argument of a function.
    """
    found = "factor"
    node: ast.AST = part
    while (parent := edits.parent(node)) is not None:
        match parent:
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                found = "term"
            case ast.BinOp(op=ast.Mult() | ast.MatMult()) | ast.UnaryOp(op=ast.USub()):
                pass
            case ast.BinOp(op=ast.Div(), left=left) if left is node or found == "factor":
                pass
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if name in _LINEAR:
                pass
            case ast.Attribute() | ast.List() | ast.Tuple():
                pass
            case ast.Subscript(value=value) if value is node:
                pass
            case _:
                return "inner"
        node = parent
    return found
