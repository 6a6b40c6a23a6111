"""Pages about gradcheck itself: codes, the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from gradcheck_cli.errors import cells, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck_cli.codes import Code
    from gradcheck_cli.report.terminal import Terminal

_FAMILIES = {
    "GC0": "spec files, expressions and the command line",
    "GC1": "diagnoses of a wrong gradient",
    "GC2": "numerics",
    "GC3": "the machine and its backends",
}


def code_list(terminal: Terminal, codes: Iterable[Code]) -> None:
    """All codes with their titles, by family."""
    family = ""
    for code in codes:
        if code.code[:3] != family:
            if family:
                terminal.blank()
            family = code.code[:3]
            terminal.line((_FAMILIES[family], "bold"))
        terminal.line((code.code, "yellow"), "  ", code.title, indent=2)
    terminal.blank()
    terminal.line(("`gradcheck explain CODE` says more", "dim"))


def code_page(terminal: Terminal, code: Code) -> None:
    """One code: what it means, what causes it, what cures it."""
    terminal.line((code.code, "bold yellow"), " ", (code.title, "bold"))
    terminal.blank()
    terminal.paragraph(code.text, indent=2)
    for label, text, style in (("wrong", code.wrong, "red"), ("right", code.right, "green")):
        if text:
            terminal.blank()
            terminal.line((label, style), indent=2)
            terminal.verbatim(text, "", indent=4)


def facts(terminal: Terminal, rows: Sequence[tuple[str, str, bool]]) -> None:
    """Names with what is known of them; the flag says whether that is as it should be."""
    width = max(cells(name) for name, _, _ in rows) + 3
    for name, text, good in rows:
        mark = terminal.glyphs.passed if good else terminal.glyphs.failed
        line = Text.assemble(
            (mark, "green" if good else "bold red"),
            " ",
            (name.ljust(width), "dim"),
            printable(text),
        )
        terminal.paragraph(line, hanging=width + 2)
