"""What a run of `gradcheck compare` is to do: the checks found, as they will run, in their order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gradcheck_cli.suite.selection.cache import not_right
from gradcheck_cli.suite.selection.collect import collect
from gradcheck_cli.suite.selection.overrides import Overrides, Planned, plan
from gradcheck_cli.suite.selection.select import Selection
from gradcheck_cli.suite.selection.shard import durations, share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck_cli.suite.selection.cache import Cache
    from gradcheck_cli.suite.selection.collect import Collection


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted. `shard` is which part of how many; `weights` a file with durations."""

    files: Sequence[str]
    selection: Selection = field(default_factory=Selection)
    overrides: Overrides = field(default_factory=Overrides)
    defaults: Overrides = field(default_factory=Overrides)
    repeat: int = 1
    shard: tuple[int, int] | None = None
    weights: str | None = None
    last_failed: bool = False
    failed_first: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One check to run. `index` is its place in the whole selection, files that gave none counted too."""

    index: int
    planned: Planned


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, in that order. `remarks` say what of the selection won't, for the summary."""

    found: Collection
    tasks: Sequence[Task]
    remarks: Sequence[str]


def plan_run(request: Request, cache: Cache | None) -> Plan:
    """Collect, apply what is overridden, take the shard, and look up what failed before.

    The shard comes before the record of failures, which is this machine's own: see `shard`.

    Raises GradcheckError; see `collect`, `overrides.plan` and `shard.durations`.
    """
    selection = request.selection
    found = collect(request.files, keyword=selection.keyword, tags=selection.tags)
    planned = plan(found.checks, request.overrides, request.defaults, request.repeat)
    tasks = [Task(number, one) for number, one in enumerate(planned, len(found.broken))]
    remarks = []
    if found.deselected:
        remarks.append(f"{_checks(found.deselected)} not selected by {selection}")
    if request.shard is not None:
        part, parts = request.shard
        seconds = None if request.weights is None else durations(request.weights)
        mine = share([task.planned.check.id for task in tasks], part, parts, seconds)
        remarks.append(f"part {part} of {parts}: {len(mine):,} of {_checks(len(tasks))}")
        tasks = [tasks[position] for position in mine]
    if request.last_failed or request.failed_first:
        tasks, remark = _by_record(tasks, cache, only=request.last_failed)
        remarks.append(remark)
    return Plan(found, tasks, remarks)


def _by_record(tasks: Sequence[Task], cache: Cache | None, *, only: bool) -> tuple[list[Task], str]:
    """The tasks that were not right before, alone or before the others; all, where none is known."""
    option = "--last-failed" if only else "--failed-first"
    if cache is None:
        return [*tasks], f"{option} without a cache folder: all run"
    record = cache.read()
    checks = [(task.planned.check.id, task.planned.check.file) for task in tasks]
    before = not_right(record, cache, checks)
    if not before:
        what = "of these checks none" if record.failed else "no check"
        return [*tasks], f"{option}: {what} is on record as not right; all run"
    first = [task for position, task in enumerate(tasks) if position in before]
    rest = [task for position, task in enumerate(tasks) if position not in before]
    if only:
        return first, f"{option}: {_checks(len(rest))} left out that were not on record as wrong"
    return [*first, *rest], f"{option}: {_checks(len(first))} that failed before ran first"


def _checks(number: int) -> str:
    return f"{number:,} check{'s' * (number != 1)}"
