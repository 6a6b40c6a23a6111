"""The report for a person: one line for what passes, the full story for what doesn't, and a summary."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from gradcheck_cli.errors import cells, printable
from gradcheck_cli.report.durations import show_slowest
from gradcheck_cli.report.numbers import ratio, seconds
from gradcheck_cli.report.story import tell
from gradcheck_cli.verdict.outcome import BLIND

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.verdict.outcome import CheckOutcome, GradientOutcome, Status

_TITLES: dict[Status, tuple[str, str]] = {
    "passed": ("PASSED", "bold green"),
    "failed": ("FAILED", "bold red"),
    "inconclusive": ("INCONCLUSIVE", "bold yellow"),
    "error": ("ERROR", "bold red"),
    "skipped": ("SKIPPED", "dim"),
}
_DEFAULTS = ("float64", "cpu")
# So many of what is not right are listed at the end.
_MOST_LISTED = 20
# A name has at least so many columns, however much stands to the right of it.
_LEAST_NAME = 24


class ConsoleReport:
    """Writes each outcome as it comes.

    `verbosity` is -1 for problems and the summary only, 1 for the full story of everything. A single
    check (`total` 1) is told in full, because whoever runs one wants to see it. With `whole`, derived
    formulas are shown whole, however wide.
    """

    def __init__(
        self, terminal: Terminal, *, total: int, verbosity: int = 0, whole: bool = False
    ) -> None:
        self._terminal = terminal
        self._verbosity = verbosity
        self._whole = whole
        self._full = verbosity > 0 or (total == 1 and verbosity == 0)
        self._after_story = True
        self._rows = 0

    def add(self, outcome: CheckOutcome) -> None:
        """Write one outcome."""
        quiet = outcome.status in ("passed", "skipped")
        if quiet and self._verbosity < 0:
            return
        if quiet and not (self._full and outcome.status == "passed"):
            self._terminal.line(*self._row(outcome))
            self._warn(outcome)
            self._rows += bool(outcome.gradients and not outcome.expected_failure)
            self._after_story = False
            return
        if not self._after_story:
            self._terminal.blank()
        tell(
            self._terminal,
            outcome,
            self._title(outcome),
            full=self._full,
            whole=self._whole,
            pictures=self._verbosity >= 0,
        )
        self._after_story = True

    def finish(
        self,
        outcomes: Sequence[CheckOutcome],
        elapsed: float,
        *,
        notes: Sequence[str],
        slowest: int = 0,
    ) -> None:
        """Write the summary: what is not right, the `slowest` checks if asked for, how many of each kind.

        `outcomes` are in the order that they are to be listed in, whichever they came in.
        """
        terminal = self._terminal
        numbers = Counter(outcome.status for outcome in outcomes)
        words = {"error": "error" if numbers["error"] == 1 else "errors"}
        parts = [
            (f"{numbers[status]:,} {words.get(status, status)}", style)
            for status, (_, style) in _TITLES.items()
            if numbers[status]
        ]
        if not self._after_story:
            terminal.blank()
        self._list([o for o in outcomes if o.status in ("failed", "inconclusive", "error")])
        if slowest:
            show_slowest(terminal, outcomes, slowest)
        line = Text()
        for number, part in enumerate(parts):
            line.append(", " if number else "")
            line.append(*part)
        line.append(f" in {seconds(elapsed)}" if parts else "no check ran", "dim")
        terminal.line(line)
        if self._rows:
            notes = [*notes, "worst: the largest error/allowance; up to 1 agrees"]
        for note in notes:
            terminal.paragraph(Text(note, "dim"))

    def _list(self, wrong: Sequence[CheckOutcome]) -> None:
        """A line for each check that is not right: between long stories, in a log, they are lost."""
        terminal = self._terminal
        if len(wrong) < 2:
            return
        terminal.line(("not right", "bold"))
        for outcome in wrong[:_MOST_LISTED]:
            facts = [*filter(None, (_code(outcome), _place(outcome)))]
            while len(facts) > 1 and terminal.width - cells("   ".join(facts)) - 7 < _LEAST_NAME:
                del facts[-1]
            right = "   ".join(facts)
            room = max(_LEAST_NAME, terminal.width - cells(right) - 7)
            name = terminal.cut(printable(outcome.short_name), room)
            gap = " " * (room - cells(name) + 3)
            terminal.line(self._mark(outcome), " ", name, gap, (right, "dim"), indent=2)
        if len(wrong) > _MOST_LISTED:
            terminal.line(f"and {len(wrong) - _MOST_LISTED:,} more", indent=2)
        terminal.blank()

    def _warn(self, outcome: CheckOutcome) -> None:
        """What the inputs of a check that passes hide, a line or two each."""
        for diagnosis in outcome.diagnoses:
            if diagnosis.code in BLIND:
                code = Text(f"{diagnosis.code} ", "yellow")
                self._terminal.paragraph(code + Text(printable(diagnosis.message)), 2, 6)

    def _mark(self, outcome: CheckOutcome) -> tuple[str, str]:
        glyphs = self._terminal.glyphs
        return {
            "passed": (glyphs.passed, "green"),
            "failed": (glyphs.failed, "bold red"),
            "inconclusive": (glyphs.undecided, "yellow"),
            "error": (glyphs.failed, "bold red"),
            "skipped": (glyphs.absent, "dim"),
        }[outcome.status]

    def _title(self, outcome: CheckOutcome) -> Text:
        word, style = _TITLES[outcome.status]
        title = Text.assemble(
            self._mark(outcome), " ", (word, style), " ", (printable(outcome.short_name), "bold")
        )
        if outcome.expected_failure:
            title.append(
                "   fails as expected" if outcome.status == "passed" else "   was expected to fail",
                "dim",
            )
        return title

    def _row(self, outcome: CheckOutcome) -> list[str | Text | tuple[str, str]]:
        cut, width = self._terminal.cut, self._terminal.width - 5
        facts = _facts(outcome)
        # The time stays longest; the number that decided is not missed in what passes.
        while len(facts) > 1 and width - cells("   ".join(facts)) < _LEAST_NAME:
            del facts[-2]
        right = "   ".join(facts)
        if outcome.status == "skipped" and outcome.error is not None:
            right = cut(f"skipped: {printable(outcome.error.message)}", width - _LEAST_NAME)
        room = max(_LEAST_NAME, width - cells(right))
        name = cut(printable(outcome.short_name), room)
        gap = " " * (room - cells(name) + 3)
        return [self._mark(outcome), " ", name, gap, (right, "dim")]


def _code(outcome: CheckOutcome) -> str:
    """What kind of mistake it is, if that is known; else what limits the evidence, or the error."""
    if outcome.error is not None:
        return outcome.error.code
    codes = [diagnosis.code for diagnosis in outcome.diagnoses]
    return next((code for code in codes if code.startswith("GC1")), *codes[:1] or [""])


def _place(outcome: CheckOutcome) -> str:
    if outcome.file is None or outcome.file == outcome.name:
        return ""
    return printable(f"{outcome.file}:{outcome.line}" if outcome.line else outcome.file)


def _facts(outcome: CheckOutcome) -> list[str]:
    """What stands to the right of the name: agreement, the number that decides, dtype, time."""
    facts = []
    unusual = [
        value
        for value, usual in zip((outcome.dtype, outcome.device), _DEFAULTS, strict=True)
        if value != usual
    ]
    if unusual:
        facts.append(" ".join(unusual))
    if outcome.expected_failure:
        codes = sorted({d.code for d in outcome.diagnoses if d.is_cause})
        facts.append(" ".join(["fails as expected", *codes]))
    elif outcome.gradients:
        facts.append(_agreement(outcome.gradients))
        facts.append(f"worst {_worst(outcome.gradients):<7}")
    facts.append(f"{seconds(outcome.seconds):>6}")
    return facts


def _agreement(gradients: tuple[GradientOutcome, ...]) -> str:
    """How many methods agree on every input that they have a gradient of."""
    agree = {m.method for g in gradients for m in g.methods if m.status == "agrees"}
    others = {
        m.method for g in gradients for m in g.methods if m.status in ("disagrees", "undecided")
    }
    sure = agree - others
    total = len(agree | others)
    return f"{len(sure)} agree" if len(sure) == total else f"{len(sure)} of {total} agree"


def _worst(gradients: tuple[GradientOutcome, ...]) -> str:
    numbers = [
        m.error_over_allowance
        for g in gradients
        for m in g.methods
        if m.error_over_allowance is not None and m.status == "agrees"
    ]
    return ratio(max(numbers, default=None))
