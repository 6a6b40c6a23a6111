"""Pages about gradcheck itself: operators, codes, the machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from gradcheck_cli.errors import cells, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gradcheck_cli.codes import Code
    from gradcheck_cli.graph import Op, Table
    from gradcheck_cli.report.terminal import Terminal

_FAMILIES = {
    "GC0": "spec files, expressions and the command line",
    "GC1": "diagnoses of a wrong gradient",
    "GC2": "numerics",
    "GC3": "the machine and its backends",
}
_MOST_SAMPLES = 4
# A signature longer than this has its description on a line of its own.
_SIGNATURE = 34


def op_list(terminal: Terminal, table: Table) -> None:
    """All operators, a line or two each, by the file that holds their records."""
    domains: dict[str, list[Op]] = {}
    domain = ""
    for op in table.by_name.values():
        domain = _domain(op) or domain
        domains.setdefault(domain, []).append(op)
    for domain, ops in domains.items():
        terminal.line((domain.replace("_", " "), "bold"))
        for op in ops:
            signature = _signature(op)
            wide = cells(signature) > _SIGNATURE
            text = Text(signature if wide else signature.ljust(_SIGNATURE + 2), "cyan")
            if wide:
                terminal.line(text, indent=2)
                terminal.paragraph(op.doc, indent=_SIGNATURE + 4)
            else:
                terminal.paragraph(text + Text(op.doc), indent=2, hanging=_SIGNATURE + 2)
        terminal.blank()
    known = sum(map(len, domains.values()))
    terminal.line((f"{known} operators; `gradcheck ops NAME` shows one", "dim"))


def _domain(op: Op) -> str | None:
    """The file that holds a record, by the functions in it; None where all of them come from elsewhere.

    Such a record stands after another of its file, because records are made in order.
    """
    for function in (op.vjp, op.kernel, op.define, op.infer):
        package, _, name = (getattr(function, "__module__", None) or "").rpartition(".")
        if package == "gradcheck_cli.ops" and not name.startswith("_"):
            return name
    return None


def _signature(op: Op) -> str:
    return f"x.{op.attribute}" if op.attribute else str(op.signature)


def op_page(terminal: Terminal, op: Op, example: tuple[str, Mapping[str, str]] | None) -> None:
    """One operator with all that its record says; `example` is an expression and its gradients."""
    terminal.line((_signature(op), "bold cyan"))
    if op.doc:
        terminal.paragraph(op.doc, indent=2)
    spelled = [f"x.{op.attribute}"] if op.attribute else []
    spelled += [s for s in op.spellings if s not in spelled]
    _entry(terminal, "written as", ", ".join(spelled))
    if op.infix:
        symbol = op.infix
        _entry(terminal, "operator", f"{symbol}x" if len(op.signature.parameters) == 1 else symbol)
    if op.outputs:
        _entry(terminal, "returns", f"({', '.join(op.outputs)})")
    if example is not None:
        expression, gradients = example
        _entry(terminal, "gradient", f"of {expression}:")
        for name, formula in gradients.items():
            opening = f"{name}:\n  " if "\n" in formula else f"{name}: "
            text = opening + formula.replace("\n", "\n  ")
            terminal.verbatim(text, "cyan", indent=14)
    elif not op.is_macro:
        _entry(terminal, "gradient", "none flows through it" if op.vjp is None else "flows")
    if op.convention:
        _entry(terminal, "at kinks", op.convention)
    for number, sample in enumerate(op.samples[:_MOST_SAMPLES]):
        shapes = ", ".join(
            f"{name}: {'x'.join(map(str, given.shape)) or 'number'}"
            for name, given in sample.inputs.items()
        )
        _entry(terminal, "examples" if number == 0 else "", f"{sample.expression}   ({shapes})")
    terminal.blank()


def _entry(terminal: Terminal, label: str, text: str) -> None:
    line = Text.assemble((label.ljust(12), "dim"), printable(text))
    terminal.paragraph(line, indent=2, hanging=12)


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
