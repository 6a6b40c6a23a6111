"""How many wrong formulas are found, and how many explained: right formulas of `specs/`, made wrong.

Every manual formula of `specs/` is changed mechanically in every way that `verdict.mutants` knows, and each
mutant that really differs on the check's inputs is checked like any formula, with default tolerances.
`pytest -m slow tests/test_mutation.py` scores all of them in float64 and in float32; by default a sample.
`python tests/test_mutation.py [--dtype float32] [--kind TEXT] [-j N]` prints every miss.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import t
from gradcheck_cli.methods.case import prepare, values_of
from gradcheck_cli.spec.load import load_file
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.verdict.mutants import mutants

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradcheck_cli.graph import Expr
    from gradcheck_cli.methods.case import Case
    from gradcheck_cli.methods.gradients import Array
    from gradcheck_cli.spec.check import Check

ROOT = Path(__file__).parent.parent
FILES = sorted(path for path in (ROOT / "specs").rglob("*.yaml") if path.parent.name != "mistakes")
SEED = 0
SAMPLE = 80
# A mutant whose largest error is this small beside the largest element is the formula itself, rounded anew.
SAME = 1e-12
# What must be found: relative errors above this, and which share of them.
FOUND = {"float64": (1e-6, 1.0), "float32": (1e-2, 0.99)}
NAMED, REPAIRED = 0.85, 0.70


@dataclass(frozen=True)
class Job:
    """One mutant: where it was made, what was done, and by how much the gradient is off."""

    file: str
    check: str
    input: str
    kind: str
    codes: tuple[str, ...]
    text: str
    error: float


@dataclass(frozen=True)
class Score:
    """What the checker said of a mutant."""

    job: Job
    found: bool
    code: str | None
    also: tuple[str, ...]
    repaired: bool
    message: str

    @property
    def named(self) -> bool:
        """Whether the code is right for this mistake."""
        return self.code in self.job.codes

    @property
    def replaced(self) -> bool:
        """Whether the repair is the derived formula."""
        return "the formula derived is right" in self.message


@lru_cache(maxsize=2)
def checks_of(file: str) -> dict[str, Check]:
    return {check.id: check for check in load_file(str(ROOT / file))}


def jobs_of(path: Path) -> list[Job]:
    """The mutants of one file that differ from the right gradient on the check's own inputs."""
    file = path.relative_to(ROOT).as_posix()
    jobs = []
    for check in checks_of(file).values():
        if check.expect_fail or check.dtype != "float64":
            continue
        case = prepare(check)
        with values_of(check), np.errstate(all="ignore"):
            for name, formula in case.formulas.items():
                right = _value(case, name, case.manual[name])
                for mutant in mutants(case, name, formula.source.text):
                    changed = prepare(with_formula(check, name, mutant.text))
                    error = _apart(_value(changed, name, changed.manual[name]), right)
                    if error > SAME:
                        about = mutant.kind, mutant.codes, mutant.text
                        jobs.append(Job(file, check.id, name, *about, error))
    return jobs


def _value(case: Case, name: str, node: Expr) -> Array:
    whole = t.full_like(case.variables[name], node) if node.value is not None else node
    return np.asarray(Plan([whole])(case.arrays)[0], np.float64)


def _apart(wrong: Array, right: Array) -> float:
    """The largest error relative to the largest element; infinite where one of the two is not a number."""
    largest = float(np.abs(right[np.isfinite(right)]).max(initial=0.0)) or 1.0
    error = np.where(wrong == right, 0.0, np.abs(wrong - right))
    return float(np.nan_to_num(error, nan=np.inf).max(initial=0.0)) / largest


def with_formula(check: Check, name: str, text: str) -> Check:
    """The check with another formula, and no other, for one input."""
    return replace(check, manual={name: Source(text)}, manual_sources={})


def score(job: Job, dtype: str) -> Score:
    check = replace(checks_of(job.file)[job.check], dtype=dtype)
    outcome = run_check(with_formula(check, job.input, job.text))
    gradient = next(g for g in outcome.gradients if g.input == job.input)
    found = outcome.status == "failed" and gradient.outliers == ("manual",)
    about = [d for d in outcome.diagnoses if d.method == "manual" and d.code.startswith("GC1")]
    if not about:
        return Score(job, found, None, (), repaired=False, message=outcome.status)
    first = about[0]
    repaired = first.fix is not None and (
        run_check(with_formula(check, job.input, first.fix)).status == "passed"
    )
    others = tuple(d.code for d in first.also)
    return Score(job, found, first.code, others, repaired, f"{first.message} -> {first.fix}")


def run(jobs: Sequence[Job], dtype: str, workers: int) -> list[Score]:
    work = partial(score, dtype=dtype)
    if workers == 1:
        return [work(job) for job in jobs]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(work, jobs, chunksize=16))


def rate(scores: Iterable[bool]) -> float:
    values = list(scores)
    return sum(values) / max(1, len(values))


def report(scores: Sequence[Score], dtype: str, *, misses: bool = True) -> Iterator[str]:
    """The rates, a row a kind, and what was missed."""
    least, _ = FOUND[dtype]
    large = [s for s in scores if s.job.error > least]
    seen = [s for s in scores if s.found]
    yield f"{dtype}: {len(scores)} mutants of {len({s.job.kind for s in scores})} kinds"
    yield (
        f"  found      {rate(s.found for s in large):7.2%} of {len(large)} with an error above {least:g}"
    )
    yield f"  named      {rate(s.named for s in seen):7.2%} of {len(seen)} found"
    yield (
        f"  repaired   {rate(s.repaired for s in seen):7.2%}, "
        f"{rate(s.repaired and not s.replaced for s in seen):.2%} by a repair of the formula itself"
    )
    by_kind: dict[str, list[Score]] = {}
    for s in seen:
        by_kind.setdefault(s.job.kind, []).append(s)
    yield f"  {'kind':44} mutants  named  repaired   codes"
    for kind, group in sorted(by_kind.items()):
        codes = Counter(s.code for s in group).most_common(4)
        yield (
            f"  {kind:44} {len(group):7} {rate(s.named for s in group):6.0%} "
            f"{rate(s.repaired for s in group):9.0%}   "
            + ", ".join(f"{code} {count}" for code, count in codes)
        )
    if not misses:
        return
    for s in scores:
        what = (
            "not found"
            if not s.found and s.job.error > least
            else "not named"
            if s.found and not s.named
            else "not repaired"
            if s.found and not s.repaired
            else None
        )
        if what:
            yield (
                f"{what}: {s.job.file} {s.job.input} [{s.job.kind}] {'/'.join(s.job.codes)} "
                f"error {s.job.error:.2g}\n    {s.job.text}\n    {s.code} {s.message}"
                + (f" (also {', '.join(s.also)})" if s.also else "")
            )


def all_jobs(workers: int) -> list[Job]:
    if workers == 1:
        return [job for path in FILES for job in jobs_of(path)]
    with ProcessPoolExecutor(workers) as pool:
        return [job for jobs in pool.map(jobs_of, FILES) for job in jobs]


def assert_rates(scores: Sequence[Score], dtype: str) -> None:
    least, share = FOUND[dtype]
    assert rate(s.found for s in scores if s.job.error > least) >= share
    seen = [s for s in scores if s.found]
    assert rate(s.named for s in seen) >= NAMED
    assert rate(s.repaired for s in seen) >= REPAIRED


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_sample_is_found_named_and_repaired(
    dtype: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # A few files, so that not all mutants of all files have to be made for the sample.
    draw = random.Random(f"{SEED} {dtype}")
    jobs = [job for path in draw.sample(FILES, 5) for job in jobs_of(path)]
    scores = run(draw.sample(jobs, min(len(jobs), SAMPLE)), dtype, 1)
    with capsys.disabled():
        print("", *report(scores, dtype, misses=False), sep="\n")  # noqa: T201
    least, share = FOUND[dtype]
    missed = [s for s in scores if s.job.error > least and not s.found]
    assert len(missed) <= (1 - share) * len(scores), missed
    # A sample of so many is up to 8 % (two standard deviations) off what holds for all.
    assert rate(s.named for s in scores if s.found) >= NAMED - 0.08
    assert rate(s.repaired for s in scores if s.found) >= REPAIRED - 0.08


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_all_are_found_named_and_repaired(dtype: str, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = all_jobs(2)
    assert len(jobs) >= 1500
    assert len({job.kind for job in jobs}) >= 25
    scores = run(jobs, dtype, 2)
    with capsys.disabled():
        print("", *report(scores, dtype), sep="\n")  # noqa: T201
    assert_rates(scores, dtype)


def main() -> None:
    """Print the rates and the misses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", default="float64", choices=FOUND)
    parser.add_argument("--kind", default="", help="only kinds that contain this")
    parser.add_argument("--file", default="", help="only files whose path contains this")
    parser.add_argument("--sample", type=int, default=0, help="so many of them, drawn at random")
    parser.add_argument("-j", "--workers", type=int, default=1)
    given = parser.parse_args()
    files = [path for path in FILES if given.file in path.as_posix()]
    jobs = [job for path in files for job in jobs_of(path) if given.kind in job.kind]
    if given.sample:
        jobs = random.Random(SEED).sample(jobs, min(len(jobs), given.sample))
    for line in report(run(jobs, given.dtype, given.workers), given.dtype):
        print(line)  # noqa: T201


if __name__ == "__main__":
    main()
