"""`compile`: an expression as a callable that gives its value and its gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.program import Program
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse

if TYPE_CHECKING:
    from collections.abc import Sequence


class Compiled:
    def __init__(self, expression: str, wrt: Sequence[str] | None = None) -> None:
        self.formula = parse(Source(expression))
        self.wrt = wrt
        self._plans: dict[Any, Any] = {}

    def __call__(self, **arrays: Any) -> tuple[Any, dict[str, Any]]:
        key = tuple([(n, a.shape, a.dtype) for n, a in arrays.items()])
        found = self._plans.get(key)
        if found is None:
            scope = {n: variable(n, a.shape, dtypes.BY_NAME[a.dtype.name]) for n, a in arrays.items()}
            out = build(self.formula, scope)
            names = self.wrt or [n for n, v in scope.items() if v.dtype.is_floating]
            found = names, Program([out, *differentiate(out, [scope[n] for n in names])], list(arrays))
            self._plans[key] = found
        names, program = found
        value, *gradients = program(*arrays.values())
        return value, dict(zip(names, gradients))


def compile(expression: str, wrt: Sequence[str] | None = None) -> Compiled:  # noqa: A001
    return Compiled(expression, wrt)
