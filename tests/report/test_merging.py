"""Shards put together are the whole run."""

from __future__ import annotations

import copy
import json
from dataclasses import MISSING, fields, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradcheck_cli.errors import ExitCode, GradcheckError
from gradcheck_cli.report.formats import jsonl
from gradcheck_cli.report.json_report import check_data, report, to_text
from gradcheck_cli.report.merging import absent, exit_code, merged
from gradcheck_cli.report.reading import outcome_of, read
from gradcheck_cli.suite.ending import exit_code as ending
from gradcheck_cli.verdict.outcome import Grid, InputOutcome

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from gradcheck_cli.verdict.outcome import CheckOutcome
    from tests.report.conftest import Outcomes


def many(outcomes: Outcomes, number: int) -> list[CheckOutcome]:
    kinds = list(outcomes.values())
    return [
        replace(kinds[n % len(kinds)], id=f"a.yaml::{n}", index=n, seconds=n / 7)
        for n in range(number)
    ]


def shard(outcomes: Sequence[CheckOutcome], **more: Any) -> str:
    code = ending(outcomes) if outcomes else ExitCode.PASSED
    return to_text(report(outcomes, 1.0, code, **more))


def together(*texts: str) -> dict[str, Any]:
    return merged([read(text, f"{n}.json") for n, text in enumerate(texts)])[0]


def without_times(document: dict[str, Any]) -> dict[str, Any]:
    found = copy.deepcopy(document)
    del found["summary"]["seconds"], found["environment"]["date"]
    del found["environment"]["command"]
    return found


def test_a_report_is_read_as_it_was_written(outcomes: Outcomes) -> None:
    failed = outcomes["forgotten factor"]
    grid = Grid(1, 2, 1, 1, (1.0, float("nan")), {"manual": (0.5, float("inf"))}, {})
    drawn = replace(failed, gradients=(replace(failed.gradients[0], grid=grid),))
    everything = [*outcomes.values(), replace(drawn, id="drawn", index=9)]
    document = report(everything, 1.5, 2)
    run = read(to_text(document), "a.json")
    again = report(run.outcomes, run.seconds, run.exit_code)
    assert without_times(again) == without_times(document)


def test_no_field_is_lost(outcomes: Outcomes) -> None:
    """One that is added to the outcomes has to be written, and read."""
    failed, error = outcomes["forgotten factor"], outcomes["unknown name"]
    grid = Grid(1, 2, 3, 4, (1.0, 2.0), {"manual": (0.5, 0.25)}, {"manual": (7.0, 8.0)})
    method = replace(failed.gradients[0].methods[2], reason="why", allowance=1e-9)
    gradient = replace(
        failed.gradients[0],
        methods=(method,),
        grid=grid,
        order=2,
        assuming=("x > 0",),
        rounding_aside=True,
        smallest_visible_error=1e-9,
        smallest_visible_relative_error=1e-8,
    )
    full = replace(
        failed,
        gradients=(gradient,),
        diagnoses=(replace(failed.diagnoses[0], operator="torch.sum"),),
        error=error.error,
        also=error.also,
        expected_failure=True,
        device="cuda",
        dtype="float32",
        seed=3,
        description="about",
        tags=("a", "b"),
        order=2,
        inputs=(InputOutcome("x", (2, 3), "float32", checked=True),),
        let={"t": "x + 1"},
        formulas={"predicted": "predicted - real"},
        index=5,
        implementation="package.module:name",
    )
    for part in (full, gradient, method, grid, full.inputs[0], full.diagnoses[0]):
        for field in fields(part):
            default = () if field.default_factory is MISSING else (field.default_factory(),)
            assert getattr(part, field.name) not in (field.default, *default), field.name
    assert outcome_of(check_data(full)) == full


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(1, 20), st.integers(1, 5), st.randoms(use_true_random=False))
def test_shards_are_the_whole(
    outcomes: Outcomes, number: int, parts: int, chance: random.Random
) -> None:
    whole = many(outcomes, number)
    shards: list[list[CheckOutcome]] = [[] for _ in range(parts)]
    for outcome in whole:
        chance.choice(shards).append(outcome)
    for one in shards:
        chance.shuffle(one)
    found = together(*map(shard, shards))
    assert without_times(found) == without_times(json.loads(shard(whole)))
    assert found["summary"]["seconds"] == parts


def test_a_broken_files_error_is_there_once(outcomes: Outcomes) -> None:
    broken = replace(outcomes["unknown name"], id="b.yaml", name="b.yaml", index=0)
    one, two = (replace(o, index=n) for n, o in enumerate(list(outcomes.values())[:2], 1))
    found = together(shard([broken, one]), shard([replace(broken, seconds=9.0), two]))
    assert [check["id"] for check in found["checks"]] == ["b.yaml", one.id, two.id]
    assert found["summary"]["errors"] == 1


def test_two_results_of_one_check_are_refused(outcomes: Outcomes) -> None:
    whole = many(outcomes, 12)
    other = [replace(outcome, expression="x.sum()") for outcome in whole]
    with pytest.raises(GradcheckError) as caught:
        together(shard(whole), shard(other))
    (problem,) = caught.value.problems
    assert problem.code == "GC033"
    assert problem.message == (
        "1.json: a.yaml::0 is another result than in 0.json; "
        "so are a.yaml::1, a.yaml::2, a.yaml::3 and 8 more"
    )


def test_copies_are_accepted(outcomes: Outcomes) -> None:
    whole = many(outcomes, 6)
    slower = [replace(outcome, seconds=5.0) for outcome in whole]
    assert len(together(shard(whole), shard(slower))["checks"]) == 6


def test_seeds_and_devices_are_checks_of_their_own(outcomes: Outcomes) -> None:
    one = outcomes["sum of squared errors"]
    others = [replace(one, seed=1), replace(one, device="cuda:0"), replace(one, dtype="float32")]
    assert len(together(shard([one, *others]), shard(others))["checks"]) == 4


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ((0, 0), 0),
        ((0, 1), 1),
        ((1, 2, 0), 2),
        ((4, 1), 1),
        ((0, 4), 4),
        ((3, 2), 3),
        ((0, 130, 3), 130),
        ((5, 5), 5),
    ],
)
def test_the_whole_ends_as_the_run_would_have(
    parts: Sequence[int], whole: int, outcomes: Outcomes
) -> None:
    checks = many(outcomes, 6)
    runs = [
        replace(read(shard([checks[n]]), "a.json"), exit_code=ExitCode(code))
        for n, code in enumerate(parts)
    ]
    assert exit_code(runs) == whole


def test_a_part_without_checks_says_nothing(outcomes: Outcomes) -> None:
    some = read(shard(many(outcomes, 1)), "a.json")
    none = replace(read(shard([]), "b.json"), exit_code=ExitCode.NOTHING_SELECTED)
    assert exit_code([some, none]) == ExitCode.PASSED
    assert exit_code([none, none]) == ExitCode.NOTHING_SELECTED


def test_what_was_not_run(outcomes: Outcomes) -> None:
    whole = many(outcomes, 2)
    parts = [shard(whole[:1], not_run=3), shard(whole[1:], interrupted=True, not_run=4)]
    summary = together(*parts)["summary"]
    assert (summary["interrupted"], summary["not_run"]) == (True, 7)


def test_what_is_in_no_report(outcomes: Outcomes) -> None:
    whole = many(outcomes, 6)
    assert absent(together(shard(whole[:2]), shard(whole[2:]))) == 0
    assert absent(together(shard(whole[:1]), shard(whole[4:]))) == 3
    assert absent(together(shard(whole[:1], not_run=2), shard(whole[4:]))) == 1
    assert absent(together(shard([]))) == 0


@pytest.mark.parametrize("seconds", [-1, 1e300, "Infinity", "NaN", True, "1"])
def test_a_duration_that_is_none(seconds: object) -> None:
    document = json.loads(shard([]))
    document["summary"]["seconds"] = seconds
    with pytest.raises(GradcheckError, match=r"not a (duration in seconds|number)"):
        read(json.dumps(document), "a.json")


def test_machines_that_differ_are_both_named(outcomes: Outcomes) -> None:
    parts = [json.loads(shard([outcome])) for outcome in many(outcomes, 2)]
    parts[0]["tool"]["torch"], parts[1]["tool"]["torch"] = "2.9", "2.8"
    parts[0]["environment"].update(cores=2, date="2026-01-02")
    parts[1]["environment"].update(cores=8, date="2026-01-01")
    found = together(*map(json.dumps, parts))
    assert found["tool"]["torch"] == "2.9, 2.8"
    assert found["environment"]["cores"] == 8
    assert found["environment"]["date"] == "2026-01-01"


def test_the_lines_of_a_run_that_was_killed(outcomes: Outcomes) -> None:
    text = jsonl.render(json.loads(shard(many(outcomes, 3))))
    assert read(text, "a.jsonl").exit_code == ending(many(outcomes, 3))
    killed = "".join(text.splitlines(keepends=True)[:3]) + '{"type": "che'
    run = read(killed, "a.jsonl")
    assert len(run.outcomes) == 2
    assert run.interrupted
    assert run.exit_code == ExitCode.INTERRUPTED


def test_an_older_report_lacks_fields(outcomes: Outcomes) -> None:
    document = json.loads(shard(many(outcomes, 2)))
    del document["environment"], document["summary"]["interrupted"]
    for check in document["checks"]:
        for name in ("index", "inputs", "let", "description", "tags", "order", "manual"):
            del check[name]
    found = together(json.dumps(document))
    assert len(found["checks"]) == 2
    assert found["checks"][0]["manual"] == {}
