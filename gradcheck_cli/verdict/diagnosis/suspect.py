"""A gradient found wrong, what may be asked about it, and what an explanation of it consists of."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Source
from gradcheck_cli.graph import Expr, t, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.draft import Draft
from gradcheck_cli.lang.edits import Edits, grouped
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.schema import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gradcheck_cli.errors import Where
    from gradcheck_cli.lang.edits import Change
    from gradcheck_cli.lang.parse import Formula
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.verdict.diagnosis.guesses import Guess
    from gradcheck_cli.verdict.diagnosis.resized import Resized

Array = npt.NDArray[Any]
Made = TypeVar("Made")

# Candidates are evaluated together, so that they share what they have in common; this many numbers at once.
_TOGETHER = 2**22
# At a second draw, repairs and the truth differ by rounding only, mistakes by far more than this.
_NEAR = 1e-6
# Explanations that cost so much more than the simplest are listed beside it.
_LISTED = 0.02
# No formula is written out to more characters than this.
_LONGEST_WRITTEN_OUT = 2000
# What differs from the reference by more than this, relative to its largest element, is wrong there.
_MAY_BE_RIGHT = 1e-2


@dataclass(frozen=True)
class Suspect:
    """A wrong gradient of `input` by `method`, beside the reference's, both float64 in the input's shape.

    `right(array)` tells whether an array passes as this gradient. `formula` is the person's, where the
    method is `manual`, and `where` its place. `attempts` are the changes of it that were tried so far, and
    `found` the explanations that hold for other sizes too; `deferred` are changes that are odd, for later.
    Where the person's is code, `rerun(case)` is its gradient for other inputs of the same or of other sizes
    (None where it has none there), and `opaque` the name by which the formula calls it, where it does.
    """

    input: str
    method: str
    gradient: Array
    reference: Array
    right: Callable[[Array], bool]
    case: Case | None = None
    formula: Formula | None = None
    where: Where | None = None
    attempts: list[tuple[Expr, Guess]] = field(default_factory=list)
    found: list[Finding] = field(default_factory=list)
    deferred: list[Guess] = field(default_factory=list)
    rerun: Callable[[Case], Array | None] | None = None
    opaque: str | None = None
    _known: dict[Expr, Array | None] = field(default_factory=dict)
    _made: dict[Callable[[Suspect], Any], Any] = field(default_factory=dict)

    def reading(self, text: str) -> Suspect:
        """The same with the person's formula written as `text`."""
        known = self.input, self.method, self.gradient, self.reference, self.right, self.case
        return Suspect(*known, parse(Source(text)), self.where, rerun=self.rerun)

    @cached_property
    def written_out(self) -> str | None:
        """The person's formula with its `let` names written out; None where there is none in it."""
        if self.edits is None or self.case is None:
            return None
        text = self.edits.text
        for name, formula in reversed([*self.case.let.items()]):
            pattern = rf"(?<![\w.'\"]){re.escape(name)}(?![\w'\"(])"
            inner = grouped(" ".join(formula.flat.split()))
            text = inner.join(re.split(pattern, text))
            if len(text) > _LONGEST_WRITTEN_OUT:
                return None
        return text if text != self.edits.text else None

    def once(self, make: Callable[[Suspect], Made]) -> Made:
        """`make(self)`, which is made once for all families."""
        if make not in self._made:
            self._made[make] = make(self)
        made: Made = self._made[make]
        return made

    @property
    def limit(self) -> float:
        """What costs more than this isn't looked for: something simpler is found."""
        return min((finding.cost for finding in self.found), default=np.inf) + _LISTED

    def is_general(self, finding: Finding) -> bool:
        """Whether nothing is known against it: its repair holds for other sizes too, where there are any."""
        if finding.fix is None or self.resized is None:
            return True
        return self.resized.holds(finding.fix)

    @cached_property
    def edits(self) -> Edits | None:
        """The person's formula, ready to be edited."""
        return None if self.formula is None else Edits(self.formula)

    @cached_property
    def draft(self) -> Draft | None:
        """The formula with what its parts are, to be changed and built again."""
        return None if self.edits is None or self.case is None else Draft(self.edits, self.scope)

    @cached_property
    def own(self) -> Expr | None:
        """The person's formula as a node."""
        return None if self.draft is None else self.fitted(self.draft.changed(()))

    @cached_property
    def scope(self) -> Mapping[str, Expr]:
        """What a formula may name: inputs, `let` names and the upstream gradient."""
        assert self.case is not None
        return {**self.scope_of(self.case), UPSTREAM: self.case.upstream}

    def scope_of(self, case: Case) -> Mapping[str, Expr]:
        """The same of another case, without the upstream gradient."""
        if self.opaque is None:
            return case.scope
        return {**case.scope, self.opaque: variable(self.opaque, case.variables[self.input].shape)}

    @cached_property
    def named(self) -> Mapping[str, Expr]:
        """What a repair may name: of a scalar expression the upstream gradient is 1, and nobody names it."""
        assert self.case is not None
        named = self.case.scope
        return named if self.case.output.ndim == 0 else {**named, UPSTREAM: self.case.upstream}

    def measured(self, case: Case) -> tuple[Case, Array] | None:
        """Another case with the code's gradient there, which a formula may name; None where it has none."""
        assert self.rerun is not None
        gradient = self.rerun(case)
        if gradient is None:
            return None
        given = {**case.arrays, **({} if self.opaque is None else {self.opaque: gradient})}
        return replace(case, given=given), gradient

    @cached_property
    def variable(self) -> Expr:
        """The input as a node."""
        assert self.case is not None
        return self.case.variables[self.input]

    @cached_property
    def truth(self) -> Expr:
        """The right gradient as a simplified graph, by the tool's own rules."""
        assert self.case is not None
        return self.derivative(self.case)

    def derivative(self, case: Case) -> Expr:
        """The same of another case of this expression."""
        upstream = t.ones(()) if case.output.ndim == 0 else case.upstream
        return simplify(differentiate(case.output, [case.variables[self.input]], upstream))[0]

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """The sizes that a forgotten factor could be, those of the gradient's own input first."""
        assert self.case is not None
        sizes: dict[str, int] = {}
        names = [self.input, *(name for name in self.case.variables if name != self.input)]
        for name in names:
            variable = self.case.variables[name]
            for dim, size in enumerate(variable.shape):
                sizes.setdefault(f"{name}.shape[{dim}]", size)
            if variable.ndim > 1:
                sizes.setdefault(f"{name}.numel()", variable.elements)
        return sizes

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        """The numbers that are written in the expression: a temperature, a slope, a weight."""
        assert self.case is not None
        formulas = (self.case.expression, *self.case.let.values())
        literals = {
            float(node.value): None
            for formula in formulas
            for node in ast.walk(formula.tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, (int, float))
        }
        return tuple(value for value in literals if value > 0 and value not in (1.0, 2.0))

    def node(self, text: str) -> Expr | None:
        """The graph of a formula for this input; None where it doesn't parse, or not to its shape."""
        try:
            return self.fitted(build(parse(Source(text)), self.scope))
        except (GradcheckError, Invalid):
            return None

    def fitted(self, node: Expr | None) -> Expr | None:
        """A node as a gradient of this input: a number fills its shape; None where it has another."""
        if node is None:
            return None
        if node.value is not None:
            node = t.full_like(self.variable, node)
        return node if node.shape == self.variable.shape and node.dtype.kind in "fib" else None

    def values(self, nodes: Sequence[Expr]) -> list[Array | None]:
        """The nodes' numbers at the check's inputs; None where a kernel refuses."""
        assert self.case is not None
        missing = [node for node in dict.fromkeys(nodes) if node not in self._known]
        start = 0
        while start < len(missing):
            end, numbers = start + 1, missing[start].elements
            while end < len(missing) and numbers + missing[end].elements <= _TOGETHER:
                numbers += missing[end].elements
                end += 1
            _evaluate(missing[start:end], self.case.arrays, self._known)
            start = end
        return [self._known[node] for node in nodes]

    def gradients(self, texts: Iterable[str]) -> list[tuple[str, Array]]:
        """Of formulas for this input, those that can be evaluated, each with its float64 value."""
        if self.case is None:
            return []
        nodes = [(text, node) for text in texts if (node := self.node(text)) is not None]
        values = self.values([node for _, node in nodes])
        return [
            (text, np.asarray(value, np.float64))
            for (text, _), value in zip(nodes, values, strict=True)
            if value is not None
        ]

    def survives(self, text: str) -> bool:
        """Whether a repaired formula, evaluated from its text, passes, at a second draw of the inputs too."""
        node = None if self.case is None else self.node(text)
        return node is not None and self.holds(node)

    def holds(self, node: Expr) -> bool:
        """Whether a graph passes as the gradient, at a second draw of the inputs too."""
        (value,) = self.values([node])
        if value is None or not self.near(value) or not self.right(np.asarray(value, np.float64)):
            return False
        if self.again is None:
            return True
        (value,) = self.again.values([node])
        return value is not None and self.again.right(value)

    def near(self, array: Array) -> bool:
        """A quick look that spares `right` most wrong arrays: at half of the elements it may be right."""
        allowed = _MAY_BE_RIGHT * self._largest
        known = np.isfinite(self.reference)
        with np.errstate(all="ignore"):
            close = np.abs(array - self.reference) <= allowed
        return bool(2 * np.count_nonzero(close) >= np.count_nonzero(known))

    @cached_property
    def _largest(self) -> float:
        return float(np.abs(self.reference[np.isfinite(self.reference)]).max(initial=0.0))

    @cached_property
    def resized(self) -> Resized | None:
        """The check with other sizes; None where its expression holds for its own only."""
        from gradcheck_cli.verdict.diagnosis.resized import Resized

        return Resized.of(self)

    @cached_property
    def again(self) -> Point | None:
        """Another draw of the inputs; None where none can be had or the gradient isn't known there."""
        return None if self.case is None else Point.draw(self)


@dataclass(frozen=True)
class Point:
    """Another draw of all inputs, of the same shapes: what fits by accident doesn't fit there as well.

    `truth` is the right gradient there by the tool's own rules, `gradient` the person's, where a formula is
    suspected.
    """

    arrays: Mapping[str, Array]
    truth: Array
    gradient: Array | None = None
    _known: dict[Expr, Array | None] = field(default_factory=dict)

    @classmethod
    def draw(cls, suspect: Suspect) -> Point | None:
        """The point of the next seed. A checked input that isn't drawn moves within a fifth of its size."""
        case = suspect.case
        assert case is not None
        if case.given is not None and suspect.rerun is None:
            return None
        try:
            moved = replace(case, given=None, check=replace(case.check, seed=case.check.seed + 1))
            arrays = moved.arrays
        except GradcheckError:
            return None
        rng = np.random.default_rng(case.check.seed)
        for name in case.wrt:
            if np.array_equal(arrays[name], case.arrays[name]):
                arrays[name] = arrays[name] * rng.uniform(0.8, 1.25, arrays[name].shape)
        point = cls(arrays, np.zeros(()))
        (truth,) = point.values([suspect.truth])
        if truth is None or not np.isfinite(truth).any():
            return None
        gradient = None
        if suspect.rerun is not None:
            measured = suspect.measured(replace(moved, given=arrays))
            if measured is None:
                return None
            arrays, gradient = measured[0].arrays, measured[1]
        elif suspect.method == "manual" and suspect.input in case.manual:
            (gradient,) = point.values([case.manual[suspect.input]])
        return cls(arrays, np.asarray(truth, np.float64), gradient)

    def values(self, nodes: Sequence[Expr]) -> list[Array | None]:
        """The nodes' numbers there; None where a kernel refuses."""
        missing = [node for node in dict.fromkeys(nodes) if node not in self._known]
        _evaluate(missing, self.arrays, self._known)
        return [self._known[node] for node in nodes]

    def right(self, array: Array) -> bool:
        """Whether an array is the gradient there, up to a millionth of its largest element."""
        known = np.isfinite(self.truth)
        error = np.abs(np.asarray(array, np.float64) - self.truth)[known]
        return bool((error <= _NEAR * np.abs(self.truth[known]).max(initial=0.0)).all())


def _evaluate(
    nodes: Sequence[Expr], arrays: Mapping[str, Array], known: dict[Expr, Array | None]
) -> None:
    """Evaluate nodes together into `known`; those that a kernel refuses are None."""
    if not nodes:
        return
    try:
        found = Plan(nodes)(arrays)
    except (Invalid, ArithmeticError, ValueError, IndexError):
        if len(nodes) == 1:
            known[nodes[0]] = None
            return
        middle = len(nodes) // 2
        _evaluate(nodes[:middle], arrays, known)
        _evaluate(nodes[middle:], arrays, known)
        return
    known.update(zip(nodes, found, strict=True))


@dataclass(frozen=True, slots=True)
class Finding:
    """A hypothesis that fits: the repaired gradient passes.

    `fix` is the repaired formula, which passes too when it is evaluated from its text; None where there is
    none. `cost` orders explanations: the simplest is shown first. `changes` of the formula are what made it.
    """

    code: str
    message: str
    fix: str | None = None
    cost: float = 1.0
    changes: tuple[Change, ...] = ()
