"""Formulas tried before they are shown: read back from their text, evaluated, and held against the truth.

The truth is the gradient graph as differentiation left it, without any rewrite, and the numeric method, which
knows no rules; PyTorch where it is asked for. They are compared for the check's numbers, for other draws and
for other sizes. A formula that is wrong for the sizes given is a bug of this program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.dtypes import default_dtype
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import ExitCode, GradcheckError, Problem, Source
from gradcheck_cli.graph import Expr, t
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.methods.case import prepare, values_of
from gradcheck_cli.methods.closed_form import pose
from gradcheck_cli.methods.draws import REFUSALS, holding, points, small, suited
from gradcheck_cli.methods.witnesses import (
    DIFFERENCES,
    Trial,
    WrongError,
    by_numbers,
    by_rules,
    by_torch,
)
from gradcheck_cli.spec.sample import sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.lang.printer import Printed
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.closed_form import Form, Kind
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.spec.check import Check

# Draws for the sizes of the check.
_SEEDS = 3
# Inputs of so many elements are differentiated numerically at the further points too.
_FEW = 128
_WORDS: Mapping[Kind, str] = {
    "gradient": "gradient",
    "hessian": "Hessian-vector product",
    "tangent": "tangent",
}


@dataclass(frozen=True, slots=True)
class Tried:
    """What formulas were held against at one point; None where a witness said nothing."""

    seed: int
    sizes: Mapping[str, tuple[int, ...]]
    other_sizes: bool
    numeric: bool | None = None
    torch: bool | None = None


@dataclass(frozen=True, slots=True)
class Verification:
    """Where formulas were tried and found right, and what could not be tried, in sentences.

    `own_sizes_only` says how they fail for other sizes than those given, None where they don't. `equal_sizes`
    are those that must be equal, as they are here, though the expression doesn't ask for it.
    """

    tried: tuple[Tried, ...]
    notes: tuple[str, ...] = ()
    own_sizes_only: str | None = None
    equal_sizes: str = ""

    @property
    def is_general(self) -> bool | None:
        """Whether the formulas hold for other sizes; None where none could be tried."""
        if self.own_sizes_only is not None:
            return False
        return True if any(point.other_sizes for point in self.tried) else None


def verify(
    check: Check,
    form: Form,
    *,
    assumptions: Sequence[str] = (),
    free: bool = False,
    torch: bool = False,
) -> Verification:
    """Try the formulas of `form`; `assumptions` are masks that must be true wherever they are tried.

    `free` says that nobody chose how the inputs are drawn. Raises GradcheckError (GC307, exit 3) where a
    formula can't be read back, or gives another value than the truth.
    """
    masks = tuple(assumptions)
    start = suited(small(check) if masks or free else check, masks, free=free)
    if start is None:
        return Verification((), ("not verified: no inputs were found of which all this is true",))
    bare = replace(start, manual={}, manual_sources={}, methods=None, wrt=form.wrt)
    tried: list[Tried] = []
    made: _Made | None = None
    for point in points(prepare(bare), _SEEDS):
        if tried and masks and not holding(point.check, masks):
            continue
        try:
            if made is None or not made.serves(point.check):
                made = _Made.of(point.check, form)
            found = None if made is None else made.tried(point.check, torch=torch, first=not tried)
        except WrongError as error:
            if point.parted:
                return Verification(tuple(tried), equal_sizes=point.parted)
            if point.other_sizes:
                return Verification(tuple(tried), own_sizes_only=str(error))
            raise _bug(error, form) from error
        if found is not None:
            tried.append(replace(found, other_sizes=point.other_sizes))
    notes: tuple[str, ...] = ()
    if not tried:
        notes = ("not verified: the expression has no value for inputs that can be drawn",)
    elif not any(point.other_sizes for point in tried) and _has_sizes(start):
        drawn = any(spec.drawn for spec in start.inputs)
        why = "the expression takes none" if drawn else "the inputs' numbers are given"
        notes = (f"not verified for other sizes: {why}",)
    return Verification(tuple(tried), notes)


def _has_sizes(check: Check) -> bool:
    return any(size > 1 for spec in check.inputs for size in spec.shape)


def _bug(error: WrongError, form: Form) -> GradcheckError:
    message = f"a bug in gradcheck: the {_WORDS[form.kind]} that it derived is wrong: {error}"
    hint = "it isn't shown; please report it with the expression and its inputs"
    if error.against == DIFFERENCES:
        hint += ", unless the function has no derivative there"
    return GradcheckError(Problem("GC307", message, None, hint, ExitCode.INTERNAL))


class _Draws(Mapping[str, "Array"]):
    """A check's inputs, drawn when they are first looked at."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self.drawn: dict[str, Array] | None = None

    def _arrays(self) -> dict[str, Array]:
        if self.drawn is None:
            self.drawn = sample(self._check)
        return self.drawn

    def __getitem__(self, name: str) -> Array:
        return self._arrays()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays())

    def __len__(self) -> int:
        return len(self._check.inputs)


@dataclass(frozen=True)
class _Made:
    """Formulas and truth as graphs for the sizes of a check, with plans that serve all its draws.

    `moving` says that shapes depend on the numbers drawn, so that they serve this draw alone.
    """

    case: Case
    form: Form
    formulas: Plan
    truths: Plan
    moving: bool

    @classmethod
    def of(cls, check: Check, form: Form) -> _Made | None:
        """None where the expression can't be differentiated with these numbers; raises WrongError."""
        draws = _Draws(check)
        try:
            case = prepare(check, draws)
            with values_of(check):
                truths = _truths(case, form)
        except REFUSALS:
            return None
        with values_of(check):
            nodes = read(form.printed, pose(case, form.wrt, form.kind).scope, truths)
        return cls(case, form, Plan(nodes), Plan(truths), draws.drawn is not None)

    def serves(self, check: Check) -> bool:
        """Whether the graphs hold for another draw."""
        same = self.case.check
        return same.inputs == check.inputs and (not self.moving or same.seed == check.seed)

    def tried(self, check: Check, *, torch: bool, first: bool) -> Tried | None:
        """Hold the formulas against the truth; None where the expression has no value for these numbers."""
        form, case = self.form, replace(self.case, check=check)
        try:
            arrays = _arrays(case, form)
            exact = self.truths(arrays)
        except REFUSALS:
            return None
        try:
            values = self.formulas(arrays)
        except REFUSALS as error:
            why = error.summary if isinstance(error, GradcheckError) else error
            msg = f"it can't be evaluated: {why}"
            raise WrongError(msg) from error
        trial = Trial(case, form, arrays, values, self.formulas, self.truths)
        by_rules(trial, exact)
        few = sum(case.variables[name].elements for name in form.wrt) <= _FEW
        return Tried(
            check.seed,
            {spec.name: spec.shape for spec in check.inputs},
            False,
            by_numbers(trial) if first or few else None,
            by_torch(trial) if torch else None,
        )


def read(printed: Printed, scope: Mapping[str, Expr], like: Sequence[Expr]) -> tuple[Expr, ...]:
    """The nodes that formulas stand for, in the shapes of `like`. Raises WrongError where they aren't."""
    names = dict(scope)
    found = []
    try:
        for name, text in printed.let:
            names[name] = build(parse(Source(text)), names)
        for text, target in zip(printed.texts, like, strict=True):
            node = build(parse(Source(text)), names)
            if node.value is not None:
                node = t.full_like(target, node)
            if node.shape != target.shape:
                msg = f"its shape is {node.shape}, and {target.shape} is right"
                raise WrongError(msg)
            found.append(node)
    except GradcheckError as error:
        msg = f"it can't be read back: {error.summary}"
        raise WrongError(msg) from error
    return tuple(found)


def _arrays(case: Case, form: Form) -> dict[str, Array]:
    """The case's numbers, with a direction for each input."""
    arrays = dict(case.arrays)
    for position, (name, chosen) in enumerate(form.directions.items()):
        rng = np.random.default_rng((case.check.seed, position))
        arrays[chosen] = rng.standard_normal(case.variables[name].shape)
    return arrays


def _truths(case: Case, form: Form) -> tuple[Expr, ...]:
    """What the formulas stand for, as differentiation has it."""
    posed = pose(case, form.wrt, form.kind)
    dtype = None if posed.output.dtype is default_dtype.get() else posed.output.dtype
    cotangent = t.ones((), dtype=dtype) if posed.output.ndim == 0 else case.upstream
    return differentiate(posed.output, posed.targets, cotangent)
