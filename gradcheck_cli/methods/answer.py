"""What `gradcheck derive` answers: the formulas of one expression, tried, with all that is stated of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck_cli.graph import INPUT, topological
from gradcheck_cli.methods.case import UPSTREAM

if TYPE_CHECKING:
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.closed_form import Form
    from gradcheck_cli.methods.verify import Verification


@dataclass(frozen=True)
class Answer:
    """A form with its verification.

    `stated` are lines about the inputs, such as guessed shapes. `matrices` is the Hessian with respect to
    single inputs, where it can be written as a matrix. `title` is None where there is only one answer.
    """

    case: Case
    form: Form
    verified: Verification
    stated: tuple[str, ...] = ()
    matrices: Form | None = None
    title: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """The names that the formulas use, of what they are given: inputs, `let` names, `grad`."""
        forms = [self.form, *([self.matrices] if self.matrices else [])]
        order = topological([node for form in forms for node in form.nodes], sizes=True)
        return frozenset(node.attributes["name"] for node in order if node.op is INPUT)

    @property
    def let(self) -> tuple[tuple[str, str], ...]:
        """The check's own definitions that the formulas use, and those that these use."""
        used = set(self.names)
        found = []
        for name, formula in reversed([*self.case.let.items()]):
            if name in used:
                used |= formula.names
                found.append((name, " ".join(formula.source.text.split())))
        return tuple(reversed(found))

    @property
    def left_sides(self) -> tuple[str, ...]:
        """What each formula is equal to."""
        if self.form.kind == "tangent":
            return ("jvp",)
        sign = "d/d " if self.form.kind == "gradient" else "Hv "
        return tuple(f"{sign}{name}" for name in self.form.wrt)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader has to know to use the formulas, a line each."""
        case, form, verified = self.case, self.form, self.verified
        lines = list(self.stated)
        lines += [f"{name} = {text}" for name, text in self.let]
        shape = tuple(case.output.shape)
        if UPSTREAM in self.names:
            lines.append(f"{UPSTREAM} is the upstream gradient, of shape {shape}")
        directions = ", ".join(form.directions.values())
        if form.kind == "hessian":
            of = "grad times the expression, summed" if shape else "the expression"
            lines.append(f"Hv x is row x of the Hessian of {of}, times the direction {directions}")
        elif form.kind == "tangent":
            lines.append(
                f"jvp is the Jacobian times the tangents {directions}, of shape {shape}"
                if shape
                else f"jvp is the derivative along the tangents {directions}"
            )
        if self.matrices is not None:
            lines.append("H x is the Hessian with respect to x, a matrix")
        lines += [f"assuming {assumption}" for assumption in self.form.assumptions]
        if verified.own_sizes_only is not None:
            lines.append(f"for these sizes only: with others {verified.own_sizes_only}")
        if verified.equal_sizes:
            lines.append(f"for {verified.equal_sizes}, as here")
        return (*lines, *verified.notes)
