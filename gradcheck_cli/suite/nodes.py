"""An operation from inside: each node of its graph as a case of its own, for the engine and for differences.

PyTorch has no part in this: it never sees the graph.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import CONST, INPUT, rebuild, topological, variable
from gradcheck_cli.limits import memory_limit
from gradcheck_cli.methods.case import UPSTREAM
from gradcheck_cli.spec.check import InputSpec
from gradcheck_cli.spec.sample import cotangent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array

_METHODS = ("engine", "numeric")


def inner_cases(case: Case) -> Iterator[tuple[str, Case]]:
    """The operators that the expression is made of in the graph, each with its case, in order.

    Nothing where it is a single one. Nodes of complex numbers are left out.
    """
    order = topological([case.output])
    depends = {case.variables[name] for name in case.wrt}
    inside: list[Expr] = []
    for node in order:
        if node.value is None and any(arg in depends for arg in node.inputs):
            if node.dtype.is_floating and node.op.name != "detach":
                depends.add(node)
            inside.append(node)
    if len(inside) < 2:
        return
    known = [node for node in order if node.value is None]
    arrays = dict(zip(known, Plan(known, limit=memory_limit())(case.arrays), strict=True))
    for node in inside:
        if node in depends:
            found = _case_of(node, case, arrays, depends)
            if found is not None:
                yield node.op.python_name, found


def _case_of(node: Expr, case: Case, arrays: dict[Expr, Array], depends: set[Expr]) -> Case | None:
    args = [arg for arg in dict.fromkeys(node.inputs) if arg.op is not CONST and arg.value is None]
    if any(arg.dtype.kind not in "fiub" for arg in args):
        return None
    stand_ins: dict[Expr, Expr] = {}
    specs, wrt, numbers = [], [], {}
    for position, arg in enumerate(args):
        name = arg.attributes["name"] if arg.op is INPUT else f"a{position}"
        while name in numbers:
            name += "_"
        stand_ins[arg] = variable(name, arg.shape, arg.dtype)
        numbers[name] = np.asarray(arrays[arg])
        specs.append(InputSpec(name, arg.shape, Source(name), arg.dtype.name))
        if arg in depends:
            wrt.append(name)
    output = rebuild(node, lambda below: stand_ins.get(below, below))
    shape = output.shape
    check = replace(case.check, inputs=tuple(specs), wrt=tuple(wrt), methods=_METHODS)
    numbers[UPSTREAM] = cotangent(check, shape) if shape else np.ones(())
    variables = {made.attributes["name"]: made for made in stand_ins.values()}
    return replace(
        case,
        check=check,
        scope=variables,
        variables=variables,
        let={},
        output=output,
        upstream=variable(UPSTREAM, shape),
        given=numbers,
    )
