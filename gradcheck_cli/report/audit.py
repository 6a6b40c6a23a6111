"""The report of `gradcheck audit`: a line for a check that sees everything, blind spots and their cure."""

from __future__ import annotations

import platform
from collections import Counter
from typing import TYPE_CHECKING, Any

from rich.text import Text

import gradcheck_cli
from gradcheck_cli.errors import cells, printable
from gradcheck_cli.report.json_report import problem_data
from gradcheck_cli.report.numbers import count, seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck_cli.errors import Problem
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.suite.audit import Blind, CheckAudit

FORMAT_VERSION = "1.0"
_INDENT = 2
# Of one cause, so many examples show what kind of mistake would pass.
_EXAMPLES = 2


class AuditReport:
    """Writes each audit as it comes. `verbosity` is -1 for what is blind only, 1 for everything."""

    def __init__(self, terminal: Terminal, *, verbosity: int = 0) -> None:
        self._terminal = terminal
        self._verbosity = verbosity

    def add(self, audit: CheckAudit) -> None:
        """Write one audit."""
        terminal, glyphs = self._terminal, self._terminal.glyphs
        if audit.error is not None:
            terminal.line(
                (glyphs.failed, "bold red"), " ", ("ERROR", "bold red"), f" {_name(audit)}"
            )
            for problem in (audit.error, *audit.also):
                terminal.problem(problem, indent=_INDENT)
            return
        if audit.blind or self._verbosity >= 0:
            mark = (glyphs.undecided, "bold yellow") if audit.blind else (glyphs.passed, "green")
            facts = f"sees {audit.seen} of {count(audit.mutants, 'mistake')}   {seconds(audit.seconds):>6}"
            room = max(24, terminal.width - cells(facts) - 5)
            name = terminal.cut(_name(audit), room)
            terminal.line(mark, " ", name, " " * (room - cells(name) + 3), (facts, "dim"))
        for (_, reason, fragment), group in _by_cause(audit.blind).items():
            self._cause(reason, fragment, group)
        if self._verbosity > 0:
            self._kinds(audit)
        if audit.blind:
            terminal.blank()

    def _cause(self, reason: str, fragment: str, group: Sequence[Blind]) -> None:
        """What hides mistakes, examples of them, and the inputs that would show them."""
        terminal = self._terminal
        terminal.blank()
        counted = Counter(one.kind for one in group)
        kinds = ", ".join(f"{kind} ({n})" if n > 1 else kind for kind, n in counted.items())
        codes = " ".join(dict.fromkeys(one.codes[0] for one in group))
        heading = Text.assemble(
            "blind to ", (kinds, "bold"), " ", (codes, "yellow"), f", since {printable(reason)}"
        )
        terminal.paragraph(heading, indent=_INDENT, hanging=_INDENT)
        shown = group if self._verbosity > 0 else group[:_EXAMPLES]
        for one in shown:
            text = f"{one.input}: {one.text}"
            terminal.line((terminal.cut(printable(text), terminal.width - 4), "red"), indent=4)
        if len(shown) < len(group):
            terminal.line((f"and {len(group) - len(shown)} more (-v)", "dim"), indent=4)
        terminal.line(("seen with", "green"), indent=_INDENT)
        terminal.verbatim(fragment, "green", indent=4)

    def _kinds(self, audit: CheckAudit) -> None:
        terminal = self._terminal
        terminal.blank()
        width = max(map(len, audit.kinds), default=0) + 3
        for kind, (total, seen) in audit.kinds.items():
            style = "" if seen == total else "yellow"
            terminal.line((f"{kind.ljust(width)}{seen}/{total}", style), indent=_INDENT)
        if audit.equal:
            rest = (
                f"{count(audit.equal, 'formula')} left out: nothing tells them from the right one"
            )
            terminal.paragraph(Text(rest, "dim"), indent=_INDENT)

    def finish(self, audits: Sequence[CheckAudit], elapsed: float) -> None:
        """Write the score."""
        numbers = _summary(audits)
        line = Text()
        style = "bold yellow" if numbers["blind"] else "bold green"
        line.append(f"{numbers['seen']:,} of {count(numbers['mutants'], 'mistake')} seen", style)
        if numbers["mutants"]:
            line.append(f" ({_percent(numbers['seen'], numbers['mutants'])})", style)
        line.append(f", {count(numbers['checks_blind'], 'check')} with blind spots", "")
        if numbers["errors"]:
            line.append(f", {count(numbers['errors'], 'error')}", "bold red")
        line.append(f" in {seconds(elapsed)}", "dim")
        self._terminal.line(line)


def _percent(part: int, whole: int) -> str:
    """A share, never rounded up to all."""
    return "100%" if part == whole else f"{min(99.9, 100 * part / whole):.1f}%"


def _name(audit: CheckAudit) -> str:
    known = f"{audit.file}::" if audit.file else ""
    return printable(audit.id.removeprefix(known) or audit.name)


def _by_cause(blind: Iterable[Blind]) -> dict[tuple[int, str, str], list[Blind]]:
    """Blind spots that the same inputs cure, in the order of their number."""
    groups: dict[tuple[str, str], list[Blind]] = {}
    for one in blind:
        groups.setdefault((one.reason, one.fragment), []).append(one)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return {(index, *cause): group for index, (cause, group) in enumerate(ordered)}


def _summary(audits: Sequence[CheckAudit]) -> dict[str, int]:
    mutants, seen = sum(a.mutants for a in audits), sum(a.seen for a in audits)
    return {
        "checks": len(audits),
        "checks_blind": sum(bool(a.blind) for a in audits),
        "errors": sum(a.error is not None for a in audits),
        "mutants": mutants,
        "seen": seen,
        "blind": mutants - seen,
    }


def document(
    audits: Sequence[CheckAudit], problems: Sequence[Problem], elapsed: float, exit_code: int
) -> dict[str, Any]:
    """The report as plain data that `json` can write. Fields are only ever added."""
    numbers = _summary(audits)
    return {
        "format_version": FORMAT_VERSION,
        "tool": {"version": gradcheck_cli.__version__, "python": platform.python_version()},
        "summary": {
            **numbers,
            "score": numbers["seen"] / numbers["mutants"] if numbers["mutants"] else None,
            "seconds": elapsed,
            "exit_code": int(exit_code),
        },
        "checks": [_check(audit) for audit in audits],
        "problems": [problem_data(problem) for problem in problems],
    }


def _check(audit: CheckAudit) -> dict[str, Any]:
    return {
        "id": audit.id,
        "file": audit.file,
        "line": audit.line,
        "name": audit.name,
        "status": audit.status,
        "mutants": audit.mutants,
        "seen": audit.seen,
        "equal": audit.equal,
        "seconds": audit.seconds,
        "inputs": [
            {
                "input": one.input,
                "source": one.source,
                "formula": one.formula,
                "mutants": one.mutants,
                "seen": one.seen,
            }
            for one in audit.inputs
        ],
        "kinds": {kind: {"mutants": n, "seen": seen} for kind, (n, seen) in audit.kinds.items()},
        "blind": [
            {
                "input": one.input,
                "kind": one.kind,
                "codes": list(one.codes),
                "formula": one.text,
                "what": one.what,
                "reason": one.reason,
                "proposal": one.fragment,
            }
            for one in audit.blind
        ],
        "error": None if audit.error is None else problem_data(audit.error),
        "more_errors": [problem_data(problem) for problem in audit.also],
    }
