"""A run of `gradcheck compare`: plan, run, tell, and end in an exit code."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING

from gradcheck_cli.cli.collector import settle
from gradcheck_cli.cli.interrupts import interrupts
from gradcheck_cli.errors import ExitCode, GradcheckError, folded, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.report.console import ConsoleReport
    from gradcheck_cli.report.formats import Reports
    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.suite.selection.cache import Cache
    from gradcheck_cli.suite.selection.collect import Collection
    from gradcheck_cli.suite.selection.planning import Plan, Request, Task
    from gradcheck_cli.suite.workers.execute import Execution
    from gradcheck_cli.verdict.outcome import CheckOutcome

_MOST_NOTES = 5


@dataclass(frozen=True, slots=True)
class Run:
    """How to run; call it with what.

    `maxfail` is after how many checks that are not right to stop, 0 for never; `timeout` is in seconds,
    None for no limit; `isolated` keeps checks out of this process; `options` are added to the command that
    runs a check alone.
    """

    json: str | None = None
    reports: Sequence[str] = ()
    jobs: int = 1
    timeout: float | None = None
    cluster: str | None = None
    allow_imports: tuple[str, ...] = ()
    isolated: bool = False
    cache: Cache | None = None
    strict: bool = False
    maxfail: int = 0
    verbosity: int = 0
    whole: bool = False
    slowest: int = 0
    options: str = ""

    def __call__(self, request: Request) -> int:
        """Run what is requested, report, and return the exit code.

        A run that Ctrl-C or SIGTERM ends reports what finished. Raises GradcheckError where nothing can
        be run.
        """
        from gradcheck_cli.report.formats import Reports
        from gradcheck_cli.report.terminal import Terminal
        from gradcheck_cli.suite.selection.planning import plan_run
        from gradcheck_cli.suite.workers.execute import Execution, warm_up

        start = perf_counter()
        how = Execution(self.jobs, self.timeout, self.cluster, self.isolated)
        methods = request.overrides.methods or ("torch",)
        warm_up(how, torch=not {"torch", "implementation"}.isdisjoint(methods))
        plan = plan_run(request, self.cache)
        show_notes(plan.found.notes)
        reports = Reports.of(self.reports, json=self.json)
        # With a report on stdout, nothing else may stand there.
        terminal = Terminal(sys.stderr if reports.stdout else sys.stdout)
        done = _Done(plan, self.strict)
        tell_broken(plan.found)
        for number, broken in enumerate(plan.found.broken):
            done.outcomes.append(replace(broken.outcome, index=number))
            reports.add(done.outcomes[-1])
        console = self._console(plan, terminal)
        self._check(done, how, console, reports, terminal)
        with interrupts() as interrupted, interrupted.held():
            return self._end(done, console, reports, perf_counter() - start)

    def only_list(self, request: Request) -> int:
        """Write the ids of the checks that would run, and compute nothing."""
        from gradcheck_cli.suite.ending import exit_code
        from gradcheck_cli.suite.selection.planning import plan_run

        plan = plan_run(request, self.cache)
        tell_broken(plan.found)
        for task in plan.tasks:
            print(printable(task.planned.check.id))  # noqa: T201 -- the answer itself
        if self.verbosity >= 0:
            show_notes(plan.found.notes)
            number = len(plan.tasks)
            for line in (f"{number:,} check{'s' * (number != 1)}", *plan.remarks):
                print(line, file=sys.stderr)  # noqa: T201 -- for people
        return exit_code((), plan.found.problems) if plan.found.broken else ExitCode.PASSED

    def _console(self, plan: Plan, terminal: Terminal) -> ConsoleReport:
        from gradcheck_cli.report.console import ConsoleReport

        return ConsoleReport(
            terminal,
            total=len(plan.tasks) + len(plan.found.broken),
            verbosity=self.verbosity,
            whole=self.whole,
        )

    def _check(
        self,
        done: _Done,
        how: Execution,
        console: ConsoleReport,
        reports: Reports,
        terminal: Terminal,
    ) -> None:
        """Run the checks; what stops that early is put down, so that the rest is reported all the same."""
        from gradcheck_cli.report.progress import Bar
        from gradcheck_cli.suite.ending import is_right
        from gradcheck_cli.suite.settings import Settings
        from gradcheck_cli.suite.workers.execute import execute

        if self._enough(done):
            return
        tasks = done.plan.tasks
        checks = [task.planned.check for task in tasks]
        settings = Settings(reports.grids, self.allow_imports)
        try:
            with (
                Bar(len(tasks), terminal) as bar,
                interrupts() as interrupted,
                closing(execute(checks, how, settings)) as results,
            ):
                for position, outcome in results:
                    placed = self._placed(outcome, tasks[position])
                    # All reports have it, or none.
                    with interrupted.held():
                        done.outcomes.append(placed)
                        reports.add(placed)
                    # The first check has imported all that the others need.
                    settle()
                    console.add(placed)
                    bar.advance(wrong=not is_right(done.outcomes[-1], strict=self.strict))
                    if self._enough(done):
                        break
        except (KeyboardInterrupt, GradcheckError, OSError) as reason:
            done.stopped = reason

    def _enough(self, done: _Done) -> bool:
        return bool(self.maxfail) and done.wrong >= self.maxfail

    def _placed(self, outcome: CheckOutcome, task: Task) -> CheckOutcome:
        command = task.planned.command
        again = outcome.reproduce if command is None else command
        if again:
            options = [self.options] * bool(self.options)
            if task.planned.check.implementation is not None:
                options += [f"--allow-import {package}" for package in self.allow_imports]
            again = " ".join([again, *options])
        return replace(outcome, index=task.index, reproduce=again)

    def _end(
        self, done: _Done, console: ConsoleReport, reports: Reports, elapsed: float
    ) -> ExitCode:
        """Summary, reports and record; every part is done even where another fails."""
        from gradcheck_cli.suite.ending import gravest

        code, early = done.code, done.stopped is not None
        outcomes = sorted(done.outcomes, key=lambda outcome: outcome.index)
        try:
            if not isinstance(done.stopped, OSError):
                notes = self._remarks(done)
                console.finish(outcomes, elapsed, notes=notes, slowest=self.slowest)
        except OSError as error:  # nobody reads any more, or the disk is full
            done.stopped = done.stopped or error
        try:
            reports.finish(
                outcomes,
                elapsed,
                code,
                interrupted=early,
                not_run=done.left,
                strict=self.strict,
            )
        except GradcheckError as error:
            _tell(error)
            code = code if done.interrupted else gravest({code, error.exit_code})
        self._remember(done)
        if isinstance(done.stopped, GradcheckError):
            _tell(done.stopped)
        elif done.stopped is not None and not done.interrupted:
            raise done.stopped
        return code

    def _remember(self, done: _Done) -> None:
        if self.cache is None:
            return
        failure = self.cache.update(done.outcomes, done.plan.found.known, strict=self.strict)
        if failure is not None and self.verbosity > 0:
            why = failure.strerror or str(failure)
            show_notes([f"the record of this run can't be kept in {self.cache.folder}: {why}"])

    def _remarks(self, done: _Done) -> list[str]:
        """What the summary line doesn't say."""
        from gradcheck_cli.report.numbers import count

        remarks = []
        left = f"{count(done.left, 'check')} not run"
        if done.stopped is not None:
            remarks.append(f"{'interrupted' if done.interrupted else 'stopped'}; {left}")
        elif done.left and done.wrong == 1:
            remarks.append(f"stopped at the first that is not right; {left}")
        elif done.left:
            remarks.append(f"stopped after {done.wrong:,} that are not right; {left}")
        remarks += done.plan.remarks
        if self.strict and any(outcome.status == "inconclusive" for outcome in done.outcomes):
            remarks.append("inconclusive counts as failed (--strict)")
        return remarks


@dataclass
class _Done:
    """What has come out so far. `stopped` is what ended the run before its time."""

    plan: Plan
    strict: bool
    outcomes: list[CheckOutcome] = field(default_factory=list)
    stopped: BaseException | None = None
    _counted: int = 0
    _wrong: int = 0

    @property
    def wrong(self) -> int:
        """How many are not right."""
        from gradcheck_cli.suite.ending import is_right

        new = self.outcomes[self._counted :]
        self._wrong += sum(not is_right(outcome, strict=self.strict) for outcome in new)
        self._counted += len(new)
        return self._wrong

    @property
    def left(self) -> int:
        """How many checks did not run."""
        return len(self.plan.tasks) + len(self.plan.found.broken) - len(self.outcomes)

    @property
    def interrupted(self) -> bool:
        return isinstance(self.stopped, KeyboardInterrupt)

    @property
    def code(self) -> ExitCode:
        """What the run ends in."""
        from gradcheck_cli.suite.ending import exit_code, gravest

        if self.interrupted:
            return ExitCode.INTERRUPTED
        if not self.outcomes and not self.left:  # a part without a check, of a run that has some
            return ExitCode.PASSED
        code = exit_code(self.outcomes, self.plan.found.problems, strict=self.strict)
        if isinstance(self.stopped, GradcheckError):
            return gravest({code, self.stopped.exit_code})
        if self.stopped is not None:  # nobody reads any more, or the disk is full
            return gravest({code, ExitCode.CANNOT_RUN})
        return code


def show_notes(notes: Sequence[str]) -> None:
    """Files and folders passed over, on stderr."""
    from gradcheck_cli.report.capabilities import columns

    shown = [printable(note) for note in notes[:_MOST_NOTES]]
    if len(notes) > _MOST_NOTES:
        shown.append(f"... and {len(notes) - _MOST_NOTES} more")
    for note in shown:
        for line in folded(f"note: {note}", columns(), len("note: ")):
            print(line, file=sys.stderr)  # noqa: T201 -- for people, not a report


def tell_broken(found: Collection) -> None:
    """Everything that is wrong with files that gave no checks, on stderr."""
    if found.problems:
        _tell(GradcheckError(*found.problems))


def _tell(error: GradcheckError) -> None:
    from gradcheck_cli.report.terminal import Terminal

    terminal = Terminal(sys.stderr)
    for problem in error.problems:
        terminal.problem(problem)
