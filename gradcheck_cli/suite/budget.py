"""The error budget of one check: what rounding costs each of its results, measured where it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.engine.rounding import SMALLEST_STEP, UNIT_ROUNDOFF, glimpse, spread
from gradcheck_cli.methods.engine_method import rounding_plan
from gradcheck_cli.verdict.compare import Allowances

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.engine.plan import Plan
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array, Gradients
    from gradcheck_cli.spec.check import Check


# With larger inputs, what rounding could hide is only measured where it decides.
_MOST_SEEN = 1 << 17


class Rounding:
    """What rounding costs the value and each gradient, measured once and only when asked for."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._plan: Plan | None = None
        self._measured: dict[str, list[Array]] = {}
        self._seen: list[float] | None = None

    def of(self, dtype: str, position: int) -> Array:
        """The spread of output `position`: 0 is the value, then the gradients in order."""
        if dtype not in self._measured:
            if self._plan is None:
                self._plan = rounding_plan(self._case)
            spreads = spread(self._plan, self._case.arrays, dtype, self._case.check.seed)
            self._measured[dtype] = spreads
        return self._measured[dtype][position]

    @property
    def costly(self) -> bool:
        """Whether even one draw would cost more than the comparison of all methods."""
        return any(array.size > _MOST_SEEN for array in self._case.arrays.values())

    def glimpse(self, results: Sequence[Gradients], position: int) -> float:
        """About the largest element of the spread in float64, at the cost of one more run of the engine."""
        if self._seen is None:
            engine = next(r for r in results if r.plan is not None)
            assert engine.plan is not None
            exact = [np.asarray(engine.value)]
            exact += [engine.estimates[name].gradient for name in self._case.wrt]
            seed = self._case.check.seed
            self._seen = glimpse(engine.plan, self._case.arrays, exact, seed)
        return self._seen[position]


def allowances_of(
    check: Check,
    rounding: Rounding,
    position: int,
    dtype: str,
    results: Sequence[Gradients] = (),
    code_dtype: str | None = None,
) -> Allowances:
    """What may differ in output `position`, where PyTorch computed in `dtype`.

    `code_dtype` is what the check's `implementation` computed in; default: the check's own.
    """
    # The person's own code computes in the check's dtype, or its own; all others but PyTorch in float64.
    own = check.computed.get(check.wrt[position - 1]) if position else None
    dtypes = {
        "torch": dtype,
        "implementation": code_dtype or coarsest_dtype(check),
        "manual": "float64" if own is None else own.dtype,
    }

    def measured(method: str) -> Array:
        used = dtypes.get(method, "float64")
        if used == "float64":
            return rounding.of("float64", position)
        return rounding.of(used, position) + 16 * SMALLEST_STEP[used]

    def seen(method: str) -> float:
        used = dtypes.get(method, "float64")
        share = UNIT_ROUNDOFF[used] / UNIT_ROUNDOFF["float64"]
        return rounding.glimpse(results, position) * share

    # Without the engine there is no plan to run once more, perhaps no rule to make one with.
    ran = any(result.plan is not None for result in results)
    tolerance = check.tolerance
    return Allowances(
        None if tolerance is None else tolerance.rtol,
        None if tolerance is None else tolerance.atol,
        measured,
        glimpse=seen if ran and not rounding.costly else None,
    )


def coarsest_dtype(check: Check) -> str:
    """The least precise type that PyTorch computes in: the check's, or that of one of its inputs."""
    floating = [spec.dtype for spec in check.inputs if spec.dtype is not None and spec.is_floating]
    return max((check.dtype, *floating), key=UNIT_ROUNDOFF.__getitem__)
