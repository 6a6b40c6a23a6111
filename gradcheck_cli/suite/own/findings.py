"""The person's own code in a check: its value, its gradient's mistake, and what else is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import GradcheckError
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods import run
from gradcheck_cli.methods.gradients import Estimate
from gradcheck_cli.methods.second_order import second_order
from gradcheck_cli.schema import Invalid
from gradcheck_cli.suite.budget import Rounding, allowances_of, coarsest_dtype
from gradcheck_cli.verdict.compare import compare
from gradcheck_cli.verdict.outcome import Diagnosis, GradientOutcome, Status

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck_cli.errors import Where
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array, Gradients
    from gradcheck_cli.methods.own.evaluate import Ran
    from gradcheck_cli.verdict.compare import Allowances, Comparison

METHOD = "implementation"
# What is measured is the rounding of the expression as it is written; code that computes the same in another
# order, or keeps fewer intermediate results, may lose up to three bits more before it is called wrong.
MILD = 8.0
# The second derivatives of larger checks cost more than the check itself.
_MOST_ELEMENTS = 2**14

Said = tuple[list[Diagnosis], list[Status]]


@dataclass(frozen=True)
class Code:
    """The code's result in a check, and the allowances of the value (0) and of each gradient.

    `torch` is PyTorch's value of the expression, where it has run.
    """

    case: Case
    result: Gradients
    allowances: Callable[[int], Allowances]
    torch: Array | None = None

    @classmethod
    def of(cls, case: Case, results: Sequence[Gradients], rounding: Rounding) -> Code | None:
        """None where no code is checked."""
        result = next((r for r in results if r.method == METHOD), None)
        if result is None:
            return None
        dtype = coarsest_dtype(case.check)

        def allowances(position: int) -> Allowances:
            return allowances_of(case.check, rounding, position, dtype)

        torch = next((r.value for r in results if r.method == "torch"), None)
        return cls(case, result, allowances, torch)

    def value(self) -> Diagnosis | None:
        """Its forward value held against the expression's."""
        theirs, case = self.result.value, self.case
        assert theirs is not None
        if theirs.shape != case.output.shape:
            message = (
                f"the implementation's value has shape {theirs.shape}, "
                f"the expression's {case.output.shape}"
            )
            return Diagnosis("GC220", message, method=METHOD)
        ours = np.asarray(Plan([case.output], limit=memory_limit())(case.arrays)[0], np.float64)
        found = compared(theirs, ours, self.allowances(0), self.result.value_error)
        if found.agree:
            return None
        if coarsest_dtype(case.check) != "float64" and self._right_in_float64(ours):
            return self._too_coarse(theirs, ours, found)
        message = f"the implementation's forward value differs: {apart(found)} is expected"
        return Diagnosis("GC220", message + self._hint(), method=METHOD)

    def _right_in_float64(self, ours: Array) -> bool:
        from gradcheck_cli.methods.implementation_method import in_float64, widened

        fine = in_float64(self.case)
        if fine is None or fine.value is None:
            return False
        wide = replace(self.case, check=widened(self.case.check), given=self.case.arrays)
        allowed = allowances_of(wide.check, Rounding(wide), 0, "float64")
        return compared(fine.value, ours, allowed, None).agree

    def _too_coarse(self, value: Array, ours: Array, found: Comparison) -> Diagnosis:
        """The dtype is at fault where PyTorch is no better in it, or the code not much worse."""
        dtype = coarsest_dtype(self.case.check)
        mild = np.isfinite(value).all() and found.ratio <= MILD
        if self.torch is not None and self.torch.shape == ours.shape:
            mild |= not compared(self.torch, ours, self.allowances(0), None).agree
        code = "GC306" if mild else "GC231"
        message = (
            f"the implementation's value is off by more than rounding in {dtype}, and right in float64: "
            f"{apart(found)} is expected"
        )
        return Diagnosis(code, message, method=METHOD)

    def _hint(self) -> str:
        """What of a module isn't what the expression has."""
        from gradcheck_cli.methods.own.evaluate import Bench

        with Bench(self.case).ready() as code:
            constant = code.constant
        if not constant:
            return ""
        listed = ", ".join(f"`{name}`" for name in constant[:4])
        return f"; {listed} of the module are no inputs of the check and keep their initial values"

    def findings(self, value: Diagnosis | None, gradients: Sequence[GradientOutcome]) -> Said:
        """What is wrong with it besides its gradients; `value` is what is wrong with its value.

        Where a gradient is wrong, less is looked at: the rest would follow from that.
        """
        from gradcheck_cli.methods.own.variants import findings, operator_findings

        sound = value is None and all(METHOD not in gradient.outliers for gradient in gradients)
        found = [*findings(self.case, self.differs, sound=sound), *operator_findings(self.case)]
        diagnoses = [Diagnosis(one.code, one.message, one.input, METHOD) for one in found]
        if sound and self.case.check.order == 1 and self.case.check.expression.text:
            diagnoses += self._second_derivative()
        if value is not None:
            diagnoses.insert(0, value)
        diagnoses = [replace(one, where=place(self.case)) for one in diagnoses]
        worth: dict[str, Status] = {"GC232": "passed", "GC306": "inconclusive"}
        return diagnoses, [worth.get(one.code, "failed") for one in diagnoses]

    def differs(self, ran: Ran, base: Ran) -> str | None:
        """What of two runs that should give the same is more than rounding apart."""
        if ran.value.shape != base.value.shape:
            return f"the value has shape {ran.value.shape}, not {base.value.shape}"
        pairs = [("the value", ran.value, base.value, 0)]
        for name, gradient in ran.gradients.items():
            position = self.case.wrt.index(name) + 1
            pairs.append((f"the gradient of `{name}`", gradient, base.gradients[name], position))
        for what, mine, right, position in pairs:
            allowed = self.allowances(position)
            if mine.shape != self._shape(position):
                # Of an expanded input: its own rounding, summed over the rows.
                allowed = replace(allowed, rounding=_summed(allowed, mine.shape))
            found = compared(mine, right, allowed, None)
            if not found.agree:
                return f"{what} is {apart(found)} is expected"
        return None

    def _shape(self, position: int) -> tuple[int, ...]:
        if position == 0:
            return tuple(self.case.output.shape)
        return tuple(self.case.variables[self.case.wrt[position - 1]].shape)

    def _second_derivative(self) -> list[Diagnosis]:
        """Where backward is a person's and can be differentiated: whether that is right."""
        from gradcheck_cli.methods.implementation_method import second_derivatives, widened
        from gradcheck_cli.methods.own.variants import is_custom

        case = self.case
        small = all(array.size <= _MOST_ELEMENTS for array in case.arrays.values())
        if not small or case.check.device == "mps" or not is_custom(case):
            return []
        wide = replace(case, check=widened(case.check), given=case.arrays)
        try:
            second = second_order(wide)
            mine, right = second_derivatives(second), run("engine", second)
        except (GradcheckError, Invalid):
            return []  # one of them has no second derivative, or doesn't take float64
        if mine is None:
            return []
        rounding = Rounding(second)
        found = []
        for position, name in enumerate(case.wrt, start=1):
            truth = right.estimates[name].gradient
            allowed = allowances_of(second.check, rounding, position, "float64")
            held = compared(mine[name], truth, allowed, None)
            if np.isfinite(truth).all() and not held.agree:
                message = (
                    f"the second derivative with respect to `{name}`, along a random direction, is "
                    f"{apart(held)} is right: backward can be differentiated, and gives wrong numbers"
                )
                found.append(Diagnosis("GC229", message, name, METHOD))
        return found


def place(case: Case) -> Where | None:
    """Where the spec names the code."""
    own = case.check.implementation
    source = None if own is None else own.source
    return None if source is None else source.where(0, len(source.text))


def _summed(allowances: Allowances, shape: tuple[int, ...]) -> Callable[[str], Array | None]:
    def rounding(method: str) -> Array | None:
        whole = allowances.rounding(method)
        if whole is None:
            return None
        axes = tuple(axis for axis, size in enumerate(shape) if size != whole.shape[axis])
        return np.asarray(whole.sum(axes, keepdims=True))

    return rounding


def compared(mine: Array, right: Array, allowances: Allowances, error: Array | None) -> Comparison:
    """The code's numbers, of which `error` is its own doubt, held against the right ones."""
    pair = (Estimate(np.asarray(mine, np.float64), error), Estimate(np.asarray(right, np.float64)))
    return compare((METHOD, "engine"), pair, allowances)


def apart(found: Comparison) -> str:
    """The two values at the worst place, to be followed by "is expected"."""
    mine, right = found.values or (float("nan"), float("nan"))
    at = f" at {list(found.worst)}" if found.worst else ""
    return f"{mine:.7g}{at}, where {right:.7g}"
