"""A check made ready for the methods: its texts parsed and built into graphs, then its inputs drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli import dtypes
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError, Problem, Source, did_you_mean
from gradcheck_cli.graph import INPUT, Expr, t, topological, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import Formula, parse
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.ops.known import given
from gradcheck_cli.spec.sample import cotangent, sample

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.spec.check import Check

UPSTREAM = "grad"
# What stands for the value of an implementation that stands alone; it is never evaluated.
OUTPUT = "implementation"


@dataclass(frozen=True, slots=True)
class Second:
    """What a second-order case adds: the names of the first order's cotangent and of each direction."""

    cotangent: str
    directions: Mapping[str, str]


@dataclass(frozen=True)
class Case:
    """A validated expression with its inputs: what every method starts from.

    Graphs are in float64, whatever the check's dtype: they are the reference. `upstream` is the cotangent
    as a node, of the output's shape. `scope` holds inputs and `let` names. `given` are the arrays, where
    they are not the check's; `second` is there where the output is made of the expression's gradients.
    """

    check: Check
    scope: Mapping[str, Expr]
    variables: Mapping[str, Expr]
    let: Mapping[str, Formula]
    expression: Formula
    output: Expr
    upstream: Expr
    cotangent: Expr | str
    manual: Mapping[str, Expr]
    formulas: Mapping[str, Formula] = field(default_factory=dict)
    given: Mapping[str, Array] | None = None
    second: Second | None = None

    @property
    def wrt(self) -> tuple[str, ...]:
        """The inputs whose gradient is checked."""
        return self.check.wrt

    @property
    def named(self) -> dict[Expr, str]:
        """The nodes that have a `let` name, of several the first; those that aren't inputs or numbers."""
        return {
            self.scope[name]: name
            for name in reversed([*self.let])
            if self.scope[name].op is not INPUT and self.scope[name].value is None
        }

    @cached_property
    def arrays(self) -> dict[str, Array]:
        """Every input's numbers, and the cotangent's under `grad`."""
        if self.given is not None:
            return dict(self.given)
        arrays: dict[str, Array] = dict(sample(self.check))
        if isinstance(self.cotangent, Expr):
            whole = Plan([self.cotangent], limit=memory_limit())(arrays)[0]
            arrays[UPSTREAM] = np.broadcast_to(whole, self.output.shape).astype(np.float64)
        elif self.cotangent == "ones" or self.output.ndim == 0:
            arrays[UPSTREAM] = np.ones(self.output.shape)
        else:
            arrays[UPSTREAM] = cotangent(self.check, self.output.shape)
        return arrays


def values_of(check: Check) -> AbstractContextManager[None]:
    """Within it, shapes that depend on values are known: the check's inputs are drawn where one does."""
    return given(lambda: sample(check))


def prepare(
    check: Check,
    arrays: Mapping[str, Array] | None = None,
    shape: tuple[int, ...] | None = None,
) -> Case:
    """Parse and build everything that a check holds; nothing is computed yet but what shapes depend on.

    `arrays` are the inputs' numbers where the check doesn't draw them. `shape` is that of the value of an
    implementation that stands alone; what such a check's expression computes is a variable of that shape,
    called `OUTPUT`. Raises GradcheckError with all problems of the check's expressions.
    """
    with given(lambda: sample(check) if arrays is None else arrays):
        return _prepared(check, shape)


def review(check: Check) -> None:
    """Raise GradcheckError with all problems of the check's expressions, also where only code is checked."""
    if check.expression.text:
        prepare(check)
        return
    with given(lambda: sample(check)):
        scope, _, problems, broken = _scoped(check)
        _manual(check, scope, problems, {*broken, UPSTREAM})
    if problems:
        raise GradcheckError(*problems)


def _scoped(
    check: Check,
) -> tuple[dict[str, Expr], dict[str, Formula], list[Problem], set[str]]:
    """The inputs and `let` names as nodes, the latter's formulas, what is wrong, and which names are."""
    problems: list[Problem] = []
    scope: dict[str, Expr] = {}
    for spec in check.inputs:
        dtype = dtypes.float64 if spec.is_floating else dtypes.BY_NAME[spec.dtype or "float64"]
        scope[spec.name] = variable(spec.name, spec.shape, dtype)
    let: dict[str, Formula] = {}
    broken: set[str] = set()
    for name, source in check.let:
        formula, node = _build(source, scope, problems, broken)
        if formula is None or node is None:
            broken.add(name)
            continue
        let[name], scope[name] = formula, node
    return scope, let, problems, broken


def _prepared(check: Check, shape: tuple[int, ...] | None) -> Case:
    scope, let, problems, broken = _scoped(check)
    variables = {spec.name: scope[spec.name] for spec in check.inputs}
    expression, output = _expression(check, scope, shape, problems, broken)
    if expression is None or output is None:
        # Formulas that need no upstream gradient can still be read: all errors are told at once.
        _manual(check, scope, problems, {*broken, UPSTREAM})
        raise GradcheckError(*problems)
    if not output.dtype.is_floating:
        found = output.dtype
        what = f"a Python {found.name[2:]}" if found.weak else f"of dtype {found.name}"
        message = f"the expression is {what}, which has no gradient"
        problems.append(
            Problem("GC016", message, check.expression.where(), "make it floating-point")
        )
    upstream = variable(UPSTREAM, output.shape)
    contraction: Expr | str = "ones"
    if isinstance(check.cotangent, Source):
        _, node = _build(check.cotangent, scope, problems, broken)
        contraction = "ones" if node is None else node
        if node is not None and node.shape not in (output.shape, ()):
            message = f"the cotangent has shape {node.shape}, the expression {output.shape}"
            problems.append(Problem("GC015", message, check.cotangent.where()))
    else:
        contraction = check.cotangent
    manual, formulas = _manual(check, {**scope, UPSTREAM: upstream}, problems, broken)
    if shape is None:
        problems += _unused(check, output, expression, let, formulas)
    if problems:
        raise GradcheckError(*problems)
    return Case(
        check, scope, variables, let, expression, output, upstream, contraction, manual, formulas
    )


def _build(
    source: Source, scope: Mapping[str, Expr], problems: list[Problem], broken: set[str]
) -> tuple[Formula | None, Expr | None]:
    """Parse and build one text; what is wrong goes to `problems`.

    A text that uses a broken `let` is left alone: its error would only repeat the other.
    """
    try:
        formula = parse(source)
        if formula.names & broken:
            return None, None
        return formula, build(formula, scope)
    except GradcheckError as error:
        problems.extend(error.problems)
        return None, None


def _expression(
    check: Check,
    scope: Mapping[str, Expr],
    shape: tuple[int, ...] | None,
    problems: list[Problem],
    broken: set[str],
) -> tuple[Formula | None, Expr | None]:
    """What is differentiated; of an implementation that stands alone, a variable for its value."""
    if check.expression.text:
        return _build(check.expression, scope, problems, broken)
    if shape is None:
        message = "this check has an `implementation` alone: there is no expression to derive"
        hint = "`gradcheck compare` checks it; add an `expression` for all else"
        problems.append(Problem("GC004", message, check.expression.where(), hint))
        return None, None
    return parse(Source(OUTPUT)), variable(OUTPUT, shape)


def _manual(
    check: Check, scope: Mapping[str, Expr], problems: list[Problem], broken: set[str]
) -> tuple[dict[str, Expr], dict[str, Formula]]:
    nodes: dict[str, Expr] = {}
    formulas: dict[str, Formula] = {}
    for name, source in check.manual.items():
        formula, node = _build(source, scope, problems, broken)
        if formula is None or node is None:
            continue
        target = scope[name]
        if node.value is not None:
            node = t.full_like(target, node)
        if node.shape != target.shape:
            message = (
                f"the manual gradient of `{name}` has shape {node.shape}, "
                f"but `{name}` has shape {target.shape}"
            )
            hint = "a gradient has its input's shape: sum over what was broadcast"
            whole = source.where(0, len(source.text))
            problems.append(Problem("GC022", message, whole, hint))
        nodes[name], formulas[name] = node, formula
    return nodes, formulas


def _unused(
    check: Check,
    output: Expr,
    expression: Formula,
    let: Mapping[str, Formula],
    manual: Mapping[str, Formula],
) -> list[Problem]:
    """Inputs that nothing uses, and checked ones that the expression doesn't."""
    reached = {
        node.attributes["name"] for node in topological([output], sizes=True) if node.op is INPUT
    }
    named: set[str] = set()
    for formula in (expression, *let.values(), *manual.values()):
        named |= formula.names
    if isinstance(check.cotangent, Source):
        named |= parse(check.cotangent).names
    problems = []
    for spec in check.inputs:
        if spec.name in reached or (spec.name not in check.wrt and spec.name in named):
            continue
        message = f"the expression does not use the input `{spec.name}`"
        hint = did_you_mean(spec.name, named - reached - set(let)) or (
            "remove it, or use it in the expression"
        )
        where = spec.source.where(0, len(spec.source.text))
        problems.append(Problem("GC021", message, where, hint))
    return problems
