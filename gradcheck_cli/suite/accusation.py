"""A guilty operation in words: which one, its worst element, and what PyTorch's forward mode says to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gradcheck_cli.codes import CODES
from gradcheck_cli.methods.dot_test import dot_test
from gradcheck_cli.ops.known import given
from gradcheck_cli.verdict.outcome import Diagnosis

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.suite.pieces import Piece
    from gradcheck_cli.verdict.outcome import GradientOutcome


@dataclass(frozen=True)
class Culprit:
    """An operation that is wrong by itself, as the vote on its own `case` shows.

    `outcome` is the verdict on its gradient with respect to one of its operands, by which `method` is an
    outlier, `kind` what kind of mistake that is, and `inner` the operator of the graph that makes it.
    """

    piece: Piece
    case: Case
    method: str
    outcome: GradientOutcome
    kind: Diagnosis | None
    inner: str | None = None

    @property
    def operator(self) -> str:
        """The operator to blame."""
        return self.inner or self.piece.operator


@dataclass(frozen=True)
class Birth:
    """An operation whose gradient with respect to `operand` has a `value` that isn't finite at `index`."""

    piece: Piece
    operand: str
    index: tuple[int, ...]
    value: float


def is_mistake(diagnosis: Diagnosis) -> bool:
    """Whether it says what is wrong, not what limits the evidence."""
    return diagnosis.code.startswith("GC1")


def told(diagnosis: Diagnosis, culprit: Culprit, order: int) -> Diagnosis:
    """A diagnosis of the whole with the operator named."""
    code, said = diagnosis.code, diagnosis.message
    if code == "GC199":
        said = f"the {culprit.method} gradient of `{diagnosis.input}` is wrong"
        if culprit.kind is not None and culprit.kind.code != code:
            # What can't be told of the whole may be plain in the piece.
            code = culprit.kind.code
            said += f": {CODES[code].title}" if code in CODES else ""
    return replace(
        diagnosis,
        code=code,
        message=f"{said}; it comes from {_evidence(culprit, order)}",
        operator=culprit.operator,
        where=culprit.piece.place,
    )


def decided(culprit: Culprit, order: int) -> Diagnosis:
    """What a piece says where the whole leaves it open who is wrong."""
    code = "GC199" if culprit.kind is None else culprit.kind.code
    message = f"{culprit.method} is wrong in {_evidence(culprit, order)}"
    return Diagnosis(
        code,
        message,
        method=culprit.method,
        where=culprit.piece.place,
        operator=culprit.operator,
    )


def undecided(case: Case, name: str, order: int) -> Diagnosis:
    """Where PyTorch and the engine are at odds and no operation shows who is wrong: what a direction says."""
    side = dot_test(case, name, order).sides_with()
    message = (
        f"torch and engine are at odds over `{name}`, and no operation by itself shows who is wrong"
    )
    if side is not None:
        message += f"; along a random direction, differences agree with {side}"
    return Diagnosis("GC199", message, name)


def cleared(diagnosis: Diagnosis, birth: Birth | None, count: int, examined: int) -> Diagnosis:
    """A diagnosis where `examined` of `count` operations were checked by themselves, and are right."""
    if birth is not None:
        operand = birth.piece.written.get(birth.operand, birth.operand)
        at = f" at {list(birth.index)}" if birth.index else ""
        said = (
            f"{birth.value:g} comes up in `{birth.piece.operator}`, in its gradient with respect to "
            f"`{operand}`{at}, though the gradient that arrives there is finite"
        )
        return replace(
            diagnosis,
            message=f"{diagnosis.message}; {said}",
            operator=birth.piece.operator,
            where=birth.piece.place,
        )
    if not examined:
        said = "its operations could not be checked one by one"
    elif examined < count:
        said = f"{examined} of its {count} operations were checked one by one, and are right"
    else:
        said = (
            f"each of its {count} operations is right by itself, so it comes from how they follow one "
            "another: rounding that adds up, or numbers too large or small on the way"
        )
    return replace(diagnosis, message=f"{diagnosis.message}; {said}")


def _evidence(culprit: Culprit, order: int) -> str:
    """The operation, the element that is furthest off, and what forward mode says."""
    piece, outcome = culprit.piece, culprit.outcome
    text = f"`{piece.operator}`"
    if culprit.inner is not None and culprit.inner != piece.operator:
        text += f" (its `{culprit.inner}`)"
    row = next(r for r in outcome.methods if r.method == culprit.method)
    if row.value is not None and row.expected is not None:
        what = "gradient" if order == 1 else "second derivative"
        operand = piece.written.get(outcome.input, outcome.input)
        at = f" at {list(row.worst_index)}" if row.worst_index else ""
        others = " and ".join(outcome.groups[0])
        text += (
            f", whose {what} with respect to `{operand}`{at} is {row.value:.6g} by {culprit.method} "
            f"and {row.expected:.6g} by {others}"
        )
    numbers, methods = culprit.case.given, culprit.case.check.methods or ()
    if numbers is None or "torch" not in methods or culprit.method == "derived":
        return text
    with given(lambda: numbers):
        test = dot_test(culprit.case, outcome.input, order)
    said = test.sentence(culprit.method)
    return text if said is None else f"{text}; {said}"
