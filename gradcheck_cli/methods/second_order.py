"""The gradient of the gradient, as a case of its own: for every method it is one more first derivative."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.graph import Expr, variable
from gradcheck_cli.methods.case import UPSTREAM, Second
from gradcheck_cli.spec.sample import rounded

if TYPE_CHECKING:
    from collections.abc import Container

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array


def second_order(case: Case) -> Case:
    """The case of `s`, the gradients contracted with random directions: `sum((grad_i * v_i).sum())`.

    Its gradient is the Hessian (of the contracted output) times the directions, so a wrong element anywhere
    in the Hessian shows. Derivatives are taken of the graph of the first-order gradients, the numeric one
    without any rule; PyTorch differentiates its own gradients.
    """
    scope = dict(case.scope)
    arrays: dict[str, Array] = dict(case.arrays)
    cotangent = fresh("cotangent", scope)
    upstream = scope[cotangent] = variable(cotangent, case.output.shape)
    arrays[cotangent] = arrays[UPSTREAM]
    arrays[UPSTREAM] = np.ones(())
    wrt = [case.variables[name] for name in case.wrt]
    total: Expr | None = None
    directions = {}
    for position, (name, gradient) in enumerate(
        zip(case.wrt, differentiate(case.output, wrt, upstream), strict=True)
    ):
        direction = directions[name] = fresh(f"v_{name}", scope)
        v = scope[direction] = variable(direction, gradient.shape)
        rng = np.random.default_rng((case.check.seed, position))
        arrays[direction] = rounded(np.asarray(rng.standard_normal(v.shape)), case.check.dtype)
        term: Expr = (gradient * v).sum()
        total = term if total is None else total + term
    assert total is not None
    return replace(
        case,
        check=replace(case.check, computed={}),
        scope=scope,
        output=total,
        upstream=variable(UPSTREAM, ()),
        manual={},
        formulas={},
        given=arrays,
        second=Second(cotangent, directions),
    )


def fresh(name: str, taken: Container[str]) -> str:
    """`name`, or a longer one that isn't taken."""
    while name in taken or name == UPSTREAM:
        name += "_"
    return name
