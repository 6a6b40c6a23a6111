"""What a check ends in: plain frozen data, the same for every report. The JSON report has these names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_cli.errors import Problem, Where

Status = Literal["passed", "failed", "inconclusive", "error", "skipped"]
# Warnings of a check that passes, whose verdict stands: it could have missed a mistake, or its own code
# refuses tensors that others take (GC232).
BLIND = frozenset({"GC211", "GC212", "GC213", "GC214", "GC215", "GC232"})
MethodStatus = Literal["agrees", "disagrees", "undecided", "unavailable"]


@dataclass(frozen=True, slots=True)
class MethodOutcome:
    """One method's gradient of one input, held against the reference.

    `error_over_allowance` is the number that decides: at most 1 agrees. `allowance` is the largest one of
    an element: an error above it in any element would have been seen (along probes: in any single one); None
    where the reference or this method can't tell all elements. `value` and `expected` are this
    gradient's and the reference's element at `worst_index`. `reason` says why, where it is undecided or
    unavailable. All are None where the method gave no gradient.
    """

    method: str
    status: MethodStatus
    error_over_allowance: float | None = None
    max_abs_error: float | None = None
    max_rel_error: float | None = None
    worst_index: tuple[int, ...] | None = None
    value: float | None = None
    expected: float | None = None
    mismatched: int = 0
    elements: int = 0
    seconds: float = 0.0
    reason: str | None = None
    allowance: float | None = None


@dataclass(frozen=True, slots=True)
class Grid:
    """A gradient and its errors as a picture: `rows` x `columns` cells, flat, row by row.

    The array is laid out with its last dimension along the columns; what has more elements than a picture
    has cells is cut into blocks of `row_step` x `column_step` elements, and a cell holds that element of its
    block which is largest in size. `reference` are values of the reference, `errors` by method what that
    method's element differs by, with sign, and `ratios` error over allowance, of the methods that disagree.
    """

    rows: int
    columns: int
    row_step: int
    column_step: int
    reference: tuple[float, ...]
    errors: Mapping[str, tuple[float, ...]]
    ratios: Mapping[str, tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class InputOutcome:
    """What an input was: its name, shape and dtype, and whether its gradient is checked."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    checked: bool


@dataclass(frozen=True, slots=True)
class GradientOutcome:
    """All methods' gradients of one input.

    `reference` is the method that the others are held against (None where nothing could be compared);
    `groups` are the methods that agree with one another, largest first, and `outliers` those that are
    named as wrong; `equal` are the pairs whose gradients are the same bit for bit. `derived` is the closed
    form as text, `assuming` what it takes for granted of the inputs. `order` is 2 where this is the gradient
    of the gradient.

    `smallest_visible_error` is what the check was able to see: had one element of the reference's gradient,
    or of the formula under test, been off by more, two independent witnesses would not have agreed. It is
    the smallest `allowance` of a method that agrees with the reference and shares no rules with it (the
    formula's own, where there is one). `smallest_visible_relative_error` is the same over the gradient's
    largest element. Both are None where no independent witness agrees. `rounding_aside` says that an error
    which rounding explains would not show, however large: of large inputs that isn't measured in advance.
    `grid` is the picture, where one was asked for or something disagrees.
    """

    input: str
    shape: tuple[int, ...]
    derived: str | None
    methods: tuple[MethodOutcome, ...]
    reference: str | None = None
    groups: tuple[tuple[str, ...], ...] = ()
    outliers: tuple[str, ...] = ()
    equal: tuple[tuple[str, str], ...] = ()
    order: int = 1
    smallest_visible_error: float | None = None
    smallest_visible_relative_error: float | None = None
    rounding_aside: bool = False
    assuming: tuple[str, ...] = ()
    grid: Grid | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What kind of mistake it is (GC1xx) or what limits the evidence (GC2xx, GC3xx), and the repair.

    `fix` is a formula that was evaluated and passes. `also` are other explanations that fit, `difference`
    is the right gradient minus the person's formula, as text, where that is short. `operator` is the one
    that is to blame where no formula is.
    """

    code: str
    message: str
    input: str | None = None
    method: str | None = None
    fix: str | None = None
    where: Where | None = None
    also: tuple[Diagnosis, ...] = ()
    difference: str | None = None
    operator: str | None = None

    @property
    def is_cause(self) -> bool:
        """Whether it says what is wrong: a kind of mistake, or something about a person's own code."""
        return self.code.startswith("GC1") or self.method == "implementation"


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """One check's end. `value` is the expression's forward value by method (its sum, where no scalar).

    `reproduce` is the command line that runs this check alone. `manual` maps inputs to where their
    manual formula stands, `formulas` to its text; `let` are names and their texts. `error` is the first
    problem of a check that could not run, `also` are the others. `expected_failure` marks a check with
    `expect: fail`: its gradients disagree, and `passed` then means that they did as expected. `index` is the
    place in the whole selection, before it was cut into shards. `implementation` is what the check's own code
    is called; where that is all there is, `expression` is empty.
    """

    id: str
    name: str
    status: Status
    file: str | None = None
    line: int | None = None
    device: str = "cpu"
    dtype: str = "float64"
    seed: int = 0
    seconds: float = 0.0
    expression: str = ""
    value: Mapping[str, float] = field(default_factory=dict)
    gradients: tuple[GradientOutcome, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    manual: Mapping[str, Where] = field(default_factory=dict)
    error: Problem | None = None
    also: tuple[Problem, ...] = ()
    expected_failure: bool = False
    reproduce: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    order: int = 1
    inputs: tuple[InputOutcome, ...] = ()
    let: Mapping[str, str] = field(default_factory=dict)
    formulas: Mapping[str, str] = field(default_factory=dict)
    index: int = 0
    implementation: str = ""

    @property
    def short_name(self) -> str:
        """The name, with what tells an expanded check from its siblings: the id without the file."""
        known = f"{self.file}::" if self.file else ""
        return self.id.removeprefix(known) or self.name
