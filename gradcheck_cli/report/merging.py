"""Reports of parts of a run made one: equal to the report of the whole run but for times."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradcheck_cli.errors import ExitCode, printable
from gradcheck_cli.report.fields import refuse
from gradcheck_cli.report.json_report import (
    FORMAT_VERSION,
    check_data,
    environment,
    summary,
)
from gradcheck_cli.suite.ending import gravest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck_cli.report.reading import Run
    from gradcheck_cli.verdict.outcome import CheckOutcome

_MOST_NAMED = 3


def merged(runs: Sequence[Run]) -> tuple[dict[str, Any], list[CheckOutcome]]:
    """The document of all `runs` together, and its outcomes.

    Checks stand in the order of the whole selection. What several reports hold alike, such as the error of
    a file that no shard can read, is there once.

    Raises GradcheckError (GC033) where two reports hold the same check with different results.
    """
    outcomes = _together(runs)
    numbers = Counter[str](outcome.status for outcome in outcomes)
    document = {
        "format_version": FORMAT_VERSION,
        "tool": _common([run.tool for run in runs]),
        "environment": _environment(runs),
        "summary": summary(
            numbers,
            sum(run.seconds for run in runs),
            exit_code(runs),
            interrupted=any(run.interrupted for run in runs),
            not_run=sum(run.not_run for run in runs),
            strict=any(run.strict for run in runs),
        ),
        "checks": [check_data(outcome) for outcome in outcomes],
    }
    return document, outcomes


def absent(document: Mapping[str, Any]) -> int:
    """How many checks of the whole selection are in none of the reports, as far as their places tell.

    That is so where a machine has left no report; and of selections that differ, by `--last-failed` say.
    """
    places = {check["index"] for check in document["checks"]}
    return max(0, max(places, default=-1) + 1 - len(places) - int(document["summary"]["not_run"]))


def exit_code(runs: Sequence[Run]) -> ExitCode:
    """What the whole run would have ended in.

    A part in which there was nothing to check says nothing, as long as another had something.
    """
    endings = {
        run.exit_code
        for run in runs
        if run.exit_code != ExitCode.NOTHING_SELECTED
        or any(outcome.status != "skipped" for outcome in run.outcomes)
    }
    return ExitCode.INTERRUPTED if ExitCode.INTERRUPTED in endings else gravest(endings)


def _together(runs: Sequence[Run]) -> list[CheckOutcome]:
    """All outcomes in their order, copies left out."""
    found: dict[tuple[object, ...], tuple[int, CheckOutcome]] = {}
    kept: list[CheckOutcome] = []
    differing = []
    for number, run in enumerate(runs):
        for outcome in run.outcomes:
            key = (outcome.id, outcome.device, outcome.dtype, outcome.seed)
            first = found.setdefault(key, (number, outcome))
            if first[0] == number:
                kept.append(outcome)
            elif _facts(first[1]) != _facts(outcome):
                differing.append((outcome, runs[first[0]], run))
    if differing:
        outcome, one, other = differing[0]
        more = [printable(another.id) for another, _, _ in differing[1 : 1 + _MOST_NAMED]]
        named = f"; so are {', '.join(more)}" if more else ""
        rest = len(differing) - 1 - len(more)
        named += f" and {rest} more" if rest > 0 else ""
        refuse(
            other.source,
            f"{printable(outcome.id)} is another result than in {printable(one.source)}{named}",
            "merge the parts of one run, or reports of different checks",
        )
    return sorted(kept, key=lambda outcome: outcome.index)


def _facts(outcome: CheckOutcome) -> dict[str, Any]:
    """All but times, and the place in a selection, which another selection may have elsewhere."""
    gradients = tuple(
        replace(gradient, methods=tuple(replace(m, seconds=0.0) for m in gradient.methods))
        for gradient in outcome.gradients
    )
    return check_data(replace(outcome, index=0, seconds=0.0, gradients=gradients))


def _environment(runs: Sequence[Run]) -> dict[str, Any]:
    """Where the parts ran: what is the same, and both where it differs; begun when the first was."""
    together = _common([run.environment for run in runs])
    dates = [str(run.environment["date"]) for run in runs if run.environment.get("date")]
    together["date"] = min(dates, default=None)
    together["command"] = environment()["command"]
    return together


def _common(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    together: dict[str, Any] = {}
    for name in dict.fromkeys(name for one in facts for name in one):
        values = list(dict.fromkeys(one[name] for one in facts if one.get(name) is not None))
        if len(values) <= 1:
            together[name] = values[0] if values else None
        elif all(type(value) is int for value in values):
            together[name] = max(values)
        else:
            together[name] = ", ".join(map(str, values))
    return together
