"""How good a check is: which mistakes its inputs would show, and which they can't.

Wrong formulas are made of the right one, in every way that `verdict.mutants` knows, and evaluated on the
check's own inputs. One that passes there and is another function all the same is a blind spot; inputs that
show it are proposed, and tried.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from gradcheck_cli.calculus.derive import with_names
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.calculus.simplify import simplify
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.engine.rounding import spread
from gradcheck_cli.errors import ExitCode, GradcheckError, Problem
from gradcheck_cli.graph import t, topological
from gradcheck_cli.lang.printer import to_text
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods import run
from gradcheck_cli.methods.case import Case, prepare, values_of
from gradcheck_cli.methods.engine_method import rounding_plan
from gradcheck_cli.methods.gradients import Array, Estimate
from gradcheck_cli.schema import Invalid
from gradcheck_cli.suite.attempt import attempt
from gradcheck_cli.suite.ending import PRECEDENCE
from gradcheck_cli.suite.propose import Proposal, proposals
from gradcheck_cli.verdict.compare import Allowances, compare
from gradcheck_cli.verdict.mutants import Candidate, Mutant, candidates
from gradcheck_cli.verdict.mutants.evaluate import evaluate
from gradcheck_cli.verdict.mutants.generate import built
from gradcheck_cli.verdict.mutants.record import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.spec.check import Check

AuditStatus = Literal["seeing", "blind", "error"]


@dataclass(frozen=True, slots=True)
class Blind:
    """A wrong formula that passes: its kind and codes, why the inputs don't show it, and what would."""

    input: str
    kind: str
    codes: tuple[str, ...]
    text: str
    what: str
    reason: str
    fragment: str


@dataclass(frozen=True, slots=True)
class InputAudit:
    """The mutants of one input's formula. `source` is where the formula is from: manual or derived."""

    input: str
    source: str
    formula: str
    mutants: int
    seen: int


@dataclass(frozen=True, slots=True)
class CheckAudit:
    """A check's end. `kinds` are, by kind, how many mutants there are and how many of them are seen.

    `equal` mutants are none: nothing that was tried tells them from the right formula.
    """

    id: str
    name: str
    status: AuditStatus
    file: str | None = None
    line: int | None = None
    seconds: float = 0.0
    inputs: tuple[InputAudit, ...] = ()
    kinds: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    blind: tuple[Blind, ...] = ()
    equal: int = 0
    error: Problem | None = None
    also: tuple[Problem, ...] = ()

    @property
    def mutants(self) -> int:
        """How many wrong formulas there are."""
        return sum(one.mutants for one in self.inputs)

    @property
    def seen(self) -> int:
        """How many of them fail on the check's inputs."""
        return sum(one.seen for one in self.inputs)


def audit_check(check: Check) -> CheckAudit:
    """Audit one check. What goes wrong with it is its `error`; nothing is raised for that."""
    start = perf_counter()
    result = CheckAudit(check.id, check.name, "error", check.file, check.line)

    def audited() -> CheckAudit:
        case = prepare(check)
        with values_of(check):
            return _audited(result, case)

    found, problems = attempt(check, audited)
    if found is None:
        found = replace(result, error=problems[0], also=problems[1:])
    return replace(found, seconds=perf_counter() - start)


class Bench:
    """A case with its right gradients: any formula can be held against them as `compare` would."""

    def __init__(self, case: Case) -> None:
        self._case = case
        wrt = [case.variables[name] for name in case.wrt]
        self._nodes = differentiate(case.output, wrt, case.upstream)
        value, *gradients = Plan([case.output, *self._nodes], limit=memory_limit())(case.arrays)
        self._right = dict(
            zip(case.wrt, (np.asarray(g, np.float64) for g in gradients), strict=True)
        )
        self.defined = all(bool(np.isfinite(array).all()) for array in (value, *gradients))
        self._spread: list[Array] | None = None
        self._kinks: Mapping[str, Estimate] | None = None

    def seen(self, name: str, nodes: Sequence[Expr]) -> list[bool]:
        """Which formulas for an input's gradient are called wrong, or can't be computed."""
        right = Estimate(self._right[name])
        allowances = self._allowances(name)
        found = []
        for wrong in evaluate(nodes, self._case.arrays, right.gradient.shape):
            if wrong is None:
                found.append(True)
                continue
            pair = (Estimate(wrong), right)
            found.append(not compare(("manual", "engine"), pair, allowances).agree)
        return found

    def _allowances(self, name: str) -> Allowances:
        tolerance = self._case.check.tolerance
        return Allowances(
            None if tolerance is None else tolerance.rtol,
            None if tolerance is None else tolerance.atol,
            lambda _: self._rounding(self._case.wrt.index(name) + 1),
            self._at_kinks().get(name),
        )

    def _rounding(self, position: int) -> Array:
        if self._spread is None:
            seed = self._case.check.seed
            self._spread = spread(rounding_plan(self._case), self._case.arrays, "float64", seed)
        return self._spread[position]

    def _at_kinks(self) -> Mapping[str, Estimate]:
        """The numeric estimates, where the inputs are at a kink: several values are right there."""
        if self._kinks is None:
            self._kinks = run("numeric", self._case).estimates if _on_a_kink(self._case) else {}
        return self._kinks


def _on_a_kink(case: Case) -> bool:
    """Whether an operator's argument is exactly where it isn't differentiable."""
    places: list[Expr] = []
    for node in topological([case.output]):
        if node.op.kink is not None:
            places += node.op.kink(*node.args, **node.attributes)
    if not places:
        return False
    return any(bool((array == 0).any()) for array in Plan(places)(case.arrays))


def _audited(result: CheckAudit, case: Case) -> CheckAudit:
    bench = Bench(case)
    if not bench.defined:
        message = "the value or a gradient isn't finite at these inputs: nothing can be compared"
        where = case.check.expression.where(0, len(case.check.expression.text))
        return replace(result, error=Problem("GC204", message, where, None, ExitCode.CANNOT_RUN))
    inputs: list[InputAudit] = []
    kinds: list[tuple[str, bool]] = []
    unseen: dict[str, list[Candidate]] = {}
    for name in case.wrt:
        source, text = _formula(case, bench, name)
        made = candidates(case, name, text)
        found = bench.seen(name, [one.node for one in made])
        kinds += [(one.mutant.kind, True) for one, seen in zip(made, found, strict=True) if seen]
        unseen[name] = [one for one, seen in zip(made, found, strict=True) if not seen]
        inputs.append(InputAudit(name, source, text, sum(found), sum(found)))
    texts = {one.input: one.formula for one in inputs}
    blind = tuple(_blind(case, texts, unseen))
    kinds += [(one.kind, False) for one in blind]
    passing = Counter(one.input for one in blind)
    total, seen = Counter(kind for kind, _ in kinds), Counter(kind for kind, seen in kinds if seen)
    return replace(
        result,
        status="blind" if blind else "seeing",
        inputs=tuple(replace(one, mutants=one.seen + passing[one.input]) for one in inputs),
        kinds={kind: (total[kind], seen[kind]) for kind in total},
        blind=blind,
        equal=sum(map(len, unseen.values())) - len(blind),
    )


def _formula(case: Case, bench: Bench, name: str) -> tuple[str, str]:
    """The right formula that is mutated: the person's, unless it is wrong; else the derived one."""
    if name in case.manual and not bench.seen(name, [case.manual[name]])[0]:
        return "manual", " ".join(case.formulas[name].flat.split())
    upstream = case.upstream if case.output.ndim else t.ones((), dtype=case.output.dtype)
    gradient = differentiate(case.output, [case.variables[name]], upstream)
    return "derived", to_text(simplify(with_names(gradient, case.named))[0])


def _blind(
    case: Case, formulas: Mapping[str, str], unseen: Mapping[str, Sequence[Candidate]]
) -> Iterator[Blind]:
    """The mutants that another draw of the inputs shows, each with the first proposal that does."""
    left = [(name, one.mutant) for name, made in unseen.items() for one in made]
    tried = proposals(case)
    while left and (proposal := next(tried, None)) is not None:
        shown = _shown_by(proposal, formulas, left)
        for name, mutant in shown:
            yield Blind(
                name,
                mutant.kind,
                mutant.codes,
                mutant.text,
                mutant.what,
                proposal.reason,
                proposal.fragment,
            )
        left = [one for one in left if one not in shown]


def _shown_by(
    proposal: Proposal, formulas: Mapping[str, str], mutants: Sequence[tuple[str, Mutant]]
) -> list[tuple[str, Mutant]]:
    """The mutants that are seen with the proposed inputs; none where the right formula isn't right there."""
    try:
        case = prepare(proposal.check)
        with values_of(proposal.check):
            bench = Bench(case)
            subjects = {name: Subject.of(case, name, text) for name, text in formulas.items()}
            if not bench.defined or not all(map(partial(_holds, bench), subjects.values())):
                return []
            shown = []
            for name, subject in subjects.items():
                own = [mutant for of, mutant in mutants if of == name]
                nodes = [built(subject, mutant.text) for mutant in own]
                # What can't be built any more has another shape than the input: that is seen at once.
                seen = iter(bench.seen(name, [node for node in nodes if node is not None]))
                for mutant, node in zip(own, nodes, strict=True):
                    if node is None or next(seen):
                        shown.append((name, mutant))
            return shown
    except (GradcheckError, Invalid, ValueError, IndexError):
        return []  # outside of the function's domain, or sizes that don't fit together


def _holds(bench: Bench, subject: Subject) -> bool:
    node = built(subject, subject.text)
    return node is not None and not bench.seen(subject.name, [node])[0]


def exit_code(audits: Sequence[CheckAudit], problems: Sequence[Problem] = ()) -> ExitCode:
    """What a run ends in: FAILED where a check is blind to something; the gravest where one can't run."""
    endings = {problem.exit_code for problem in problems}
    for one in audits:
        endings |= {problem.exit_code for problem in (one.error, *one.also) if problem is not None}
        if one.error is None:
            endings.add(ExitCode.FAILED if one.blind else ExitCode.PASSED)
    return next((code for code in PRECEDENCE if code in endings), ExitCode.NOTHING_SELECTED)
