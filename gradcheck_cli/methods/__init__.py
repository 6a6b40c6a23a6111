"""One file per way of computing a gradient, all alike: `run(case) -> Gradients`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Gradients

# In the order of the report. The value is whose derivative rules it stands on: methods that share them are
# one witness for a rule, however many agree.
RULES = {
    "torch": "PyTorch's",
    "engine": "gradcheck's",
    "implementation": "the person's",
    "manual": "the person's",
    "derived": "gradcheck's",
    "numeric": "none",
}
METHODS = tuple(RULES)


def load(methods: Iterable[str]) -> None:
    """Import what these methods need: PyTorch only where it is asked for."""
    for method in methods:
        _module(method)


def run(method: str, case: Case) -> Gradients:
    """Run one method."""
    result: Gradients = _module(method).run(case)
    return result


def _module(method: str) -> ModuleType:
    return importlib.import_module(f"gradcheck_cli.methods.{method}_method")


def applicable(case: Case, wanted: Iterable[str] | None) -> tuple[str, ...]:
    """The methods to run, in the report's order: of those wanted the ones for which the check has something.

    `manual` needs a formula, `implementation` code.
    """
    chosen = METHODS if wanted is None else tuple(wanted)
    missing = {
        "manual": not (case.manual or case.check.computed),
        "implementation": case.check.implementation is None,
    }
    return tuple(m for m in METHODS if m in chosen and not missing.get(m))
