"""Derived formulas on the terminal, in a form that can be pasted under `manual:`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck_cli.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck_cli.report.terminal import Terminal


def show_formulas(
    terminal: Terminal, title: str | None, formulas: Mapping[str, str], shape: tuple[int, ...]
) -> None:
    """One formula per input; definitions that a long one needs stand above it."""
    if title is not None:
        terminal.line((f"# {printable(title)}", "bold"))
    if shape and any("grad" in formula for formula in formulas.values()):
        terminal.line((f"# grad is the upstream gradient, of shape {shape}", "dim"))
    for name, formula in formulas.items():
        lines = formula.splitlines()
        if len(lines) == 1:
            terminal.line((printable(name), "bold"), ": ", (printable(formula), "cyan"))
        else:
            terminal.line((printable(name), "bold"), ":")
            terminal.verbatim(formula, "cyan", indent=2)
    if title is not None:
        terminal.blank()
