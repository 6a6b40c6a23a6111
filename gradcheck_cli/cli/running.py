"""A run of `gradcheck compare`: collect, run, tell, and end in an exit code."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from gradcheck_cli.cli.collector import settle
from gradcheck_cli.cli.interrupts import interrupts
from gradcheck_cli.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.cli.options import Overrides
    from gradcheck_cli.report.console import ConsoleReport
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.spec.check import Check
    from gradcheck_cli.suite.collect import Broken, Collection
    from gradcheck_cli.verdict.outcome import CheckOutcome

_MOST_NOTES = 5


@dataclass(frozen=True, slots=True)
class Run:
    """How to run; call it with what."""

    json: str | None
    strict: bool
    exitfirst: bool
    verbosity: int
    whole: bool = False

    def __call__(self, files: Sequence[str], overrides: Overrides, keyword: str | None) -> int:
        """Run the checks of `files`, report, and return the exit code."""
        from gradcheck_cli.report.console import ConsoleReport
        from gradcheck_cli.report.json_report import ReportFile, report, to_text
        from gradcheck_cli.report.terminal import Terminal
        from gradcheck_cli.suite.collect import collect
        from gradcheck_cli.suite.ending import exit_code

        start = perf_counter()
        target = None if self.json is None else ReportFile(self.json)
        found = collect(files, keyword=keyword)
        show_notes(found.notes)
        plan = overrides.apply(found.checks)
        # With the report on stdout, nothing else may stand there.
        terminal = Terminal(sys.stderr if target is not None and target.is_stdout else sys.stdout)
        console = ConsoleReport(
            terminal,
            total=len(plan) + len(found.broken),
            verbosity=self.verbosity,
            whole=self.whole,
        )
        outcomes: list[CheckOutcome] = []
        tell_broken(found)
        outcomes += map(of_broken, found.broken)
        if not (self.exitfirst and found.broken):
            outcomes += self._checked(plan, console, terminal)
        left = len(plan) - (len(outcomes) - len(found.broken))
        elapsed = perf_counter() - start
        code = exit_code(outcomes, found.problems, strict=self.strict)
        console.finish(outcomes, elapsed, notes=self._remarks(outcomes, left, found))
        if target is not None:
            target.write(to_text(report(outcomes, elapsed, code)))
        return code

    def _checked(
        self,
        plan: Sequence[tuple[Check, str | None]],
        console: ConsoleReport,
        terminal: Terminal,
    ) -> Iterator[CheckOutcome]:
        from gradcheck_cli.report.progress import Bar
        from gradcheck_cli.suite.ending import ending
        from gradcheck_cli.suite.run import run_check

        with Bar(len(plan), terminal) as bar, interrupts() as interrupted:
            for check, command in plan:
                outcome = run_check(check)
                interrupted()
                # The first check has imported all that the others need.
                settle()
                if command is not None:
                    outcome = replace(outcome, reproduce=command)
                console.add(outcome)
                bar.advance()
                yield outcome
                wrong = ending(outcome, strict=self.strict)
                if self.exitfirst and wrong not in (ExitCode.PASSED, ExitCode.NOTHING_SELECTED):
                    return

    def _remarks(self, outcomes: Sequence[CheckOutcome], left: int, found: Collection) -> list[str]:
        """What the summary line doesn't say."""
        from gradcheck_cli.report.numbers import count

        remarks = []
        if left:
            remarks.append(
                f"stopped at the first that is not right; {count(left, 'check')} not run"
            )
        if found.deselected:
            remarks.append(f"{count(found.deselected, 'check')} not selected by -k")
        if self.strict and any(outcome.status == "inconclusive" for outcome in outcomes):
            remarks.append("inconclusive counts as failed (--strict)")
        return remarks


def show_notes(notes: Sequence[str]) -> None:
    """Files and folders passed over, on stderr."""
    from gradcheck_cli.errors import printable

    for note in notes[:_MOST_NOTES]:
        print(f"note: {printable(note)}", file=sys.stderr)  # noqa: T201 -- for people, not a report
    if len(notes) > _MOST_NOTES:
        print(f"note: ... and {len(notes) - _MOST_NOTES} more", file=sys.stderr)  # noqa: T201


def tell_broken(found: Collection) -> None:
    """Everything that is wrong with files that gave no checks, on stderr."""
    if found.problems:
        from gradcheck_cli.report.terminal import Terminal

        terminal = Terminal(sys.stderr)
        for problem in found.problems:
            terminal.problem(problem)


def of_broken(broken: Broken) -> CheckOutcome:
    """A file without checks as an outcome, so that the totals are honest."""
    from gradcheck_cli.verdict.outcome import CheckOutcome

    first, *others = broken.problems
    line = None if first.where is None else first.where.line
    return CheckOutcome(
        broken.file, broken.file, "error", broken.file, line, error=first, also=tuple(others)
    )
