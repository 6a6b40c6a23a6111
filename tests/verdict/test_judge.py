"""The vote: groups weighed by independence, outliers named, and what stays undecided."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from gradcheck_cli.methods import RULES
from gradcheck_cli.methods.gradients import Estimate, Gradients
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.verdict.compare import Allowances
from gradcheck_cli.verdict.judge import Verdict, judge

RIGHT = np.array([1.0, -2.0, 3.0])
WRONG = np.array([1.0, -2.0, 3.3])
OTHER = np.array([5.0, 5.0, 5.0])
METHODS = ("torch", "engine", "manual", "derived", "numeric")


def vote(rounding: Any = None, **gradients: Any) -> Verdict:
    """Judge gradients given by method; what isn't an estimate is an exact one."""
    results = []
    for method in METHODS:
        if method in gradients:
            given = gradients[method]
            exact = isinstance(given, Estimate)
            estimate = given if exact else Estimate(np.asarray(given, float))
            results.append(Gradients(method, {"x": estimate}))
    measured = rounding or {}
    return judge("x", (3,), results, Allowances(None, None, measured.get))


def codes(verdict: Verdict) -> list[str]:
    return [note.code for note in verdict.notes]


def test_all_agree() -> None:
    verdict = vote(torch=RIGHT, engine=RIGHT, manual=RIGHT, derived=RIGHT, numeric=RIGHT + 1e-12)
    assert verdict.status == "passed"
    assert verdict.outcome.groups == (METHODS,)
    assert verdict.outcome.outliers == ()
    assert verdict.outcome.reference == "engine"
    assert ("torch", "engine") in verdict.outcome.equal
    assert not any("numeric" in names for names in verdict.outcome.equal)
    assert codes(verdict) == []


@pytest.mark.parametrize(
    ("wrong", "outliers"),
    [
        (["manual"], ("manual",)),
        (["torch"], ("torch",)),
        (["numeric"], ("numeric",)),
        (["engine", "derived"], ("engine", "derived")),
        (["derived"], ("derived",)),
    ],
)
def test_the_outlier_is_named_whoever_it_is(wrong: list[str], outliers: tuple[str, ...]) -> None:
    verdict = vote(**{m: WRONG if m in wrong else RIGHT for m in METHODS})
    assert verdict.status == "failed"
    assert verdict.outcome.outliers == outliers
    rows = {m.method: m.status for m in verdict.outcome.methods}
    assert {m for m, status in rows.items() if status == "disagrees"} == set(outliers)
    row = next(m for m in verdict.outcome.methods if m.method == outliers[0])
    assert (row.worst_index, row.value, row.expected) == ((2,), 3.3, 3.0)


def test_engine_and_derived_are_one_witness() -> None:
    verdict = vote(torch=RIGHT, engine=WRONG, derived=WRONG, numeric=RIGHT)
    assert verdict.outcome.outliers == ("engine", "derived")
    assert verdict.outcome.reference == "torch"
    verdict = vote(engine=RIGHT, derived=RIGHT)
    assert verdict.status == "inconclusive"
    assert codes(verdict) == ["GC205"]


@pytest.mark.parametrize("pair", [("torch", "engine"), ("manual", "numeric"), ("engine", "manual")])
def test_two_independent_ones_suffice(pair: tuple[str, str]) -> None:
    assert vote(**dict.fromkeys(pair, RIGHT)).status == "passed"
    alone = vote(**{pair[0]: RIGHT})
    assert alone.status == "inconclusive"
    assert alone.outcome.methods[0].status == "undecided"


def test_a_tie_without_differences_names_nobody_but_a_formula() -> None:
    tie = vote(torch=RIGHT, engine=WRONG, derived=WRONG)
    assert (tie.status, tie.outcome.outliers) == ("failed", ())
    assert vote(torch=RIGHT, manual=WRONG).outcome.outliers == ("manual",)
    assert vote(numeric=RIGHT, engine=WRONG).outcome.outliers == ("engine",)


def test_all_different() -> None:
    verdict = vote(torch=RIGHT, engine=WRONG, manual=OTHER)
    assert (verdict.status, verdict.outcome.outliers) == ("failed", ())


def test_noise_agrees_with_nobody() -> None:
    noisy = Estimate(RIGHT, np.full(3, 10.0))
    verdict = vote(engine=RIGHT, numeric=noisy)
    assert verdict.status == "inconclusive"
    assert codes(verdict) == ["GC202"]
    assert verdict.outcome.methods[1].status == "undecided"
    # With two other witnesses it isn't needed.
    assert vote(torch=RIGHT, engine=RIGHT, numeric=noisy).status == "passed"


def test_noise_in_one_element_leaves_the_others_their_vote() -> None:
    partly = Estimate(RIGHT, np.array([1e-12, 1e-12, np.inf]))
    verdict = vote(engine=RIGHT, numeric=partly)
    assert verdict.status == "inconclusive"
    assert "1 of 3 elements" in verdict.notes[0].message
    # The third element is what the others differ in: nothing decides between them.
    assert vote(torch=RIGHT, engine=WRONG, numeric=partly).outcome.outliers == ()
    # The first is told well.
    other = np.array([1.5, -2.0, 3.0])
    assert vote(torch=RIGHT, engine=other, numeric=partly).outcome.outliers == ("engine",)


def test_a_slope_that_cancels_is_known_well_enough() -> None:
    tiny = Estimate(np.full(3, 1e-17), np.full(3, 1e-16), scale=np.ones(3))
    assert vote(
        engine=np.zeros(3), numeric=tiny, rounding={"engine": np.full(3, 1e-15)}
    ).status == ("passed")


def test_a_method_of_low_precision_goes_with_the_better_witnesses() -> None:
    """PyTorch in half precision agrees with both; it must not make an outlier of the right ones."""
    coarse = WRONG + np.array([0.0, 0.0, -0.01])
    verdict = vote(
        torch=coarse,
        engine=RIGHT,
        manual=WRONG,
        derived=RIGHT,
        numeric=RIGHT,
        rounding={"torch": np.full(3, 0.5)},
    )
    assert verdict.outcome.outliers == ("manual",)


def test_nan_in_one_method_is_its_failure() -> None:
    broken = np.array([1.0, np.nan, 3.0])
    verdict = vote(torch=RIGHT, engine=RIGHT, manual=broken, numeric=RIGHT)
    assert verdict.outcome.outliers == ("manual",)


def test_nan_is_no_vote_against_numbers() -> None:
    """Where a branch that isn't taken gives NaN, all autograd agrees on it, and is wrong."""
    broken = np.array([1.0, np.nan, 3.0])
    verdict = vote(torch=broken, engine=broken, derived=broken, numeric=RIGHT)
    assert verdict.status == "failed"
    assert verdict.outcome.outliers == ("torch", "engine", "derived")


def test_nan_by_all_is_a_statement_of_its_own() -> None:
    broken = np.array([1.0, np.nan, 3.0])
    unknown = Estimate(broken, np.array([1e-12, np.inf, 1e-12]))
    verdict = vote(torch=broken, engine=broken, numeric=unknown)
    assert verdict.status == "inconclusive"
    assert "GC204" in codes(verdict)


def test_infinity_on_all_sides_agrees() -> None:
    infinite = np.array([1.0, np.inf, 3.0])
    unknown = Estimate(np.array([1.0, np.nan, 3.0]), np.array([1e-12, np.inf, 1e-12]))
    assert vote(torch=infinite, engine=infinite, numeric=unknown).status == "passed"


KINK = Estimate(
    np.array([0.5, -2.0, 3.0]),
    np.full(3, 1e-9),
    low=np.array([0.0, -2.0, 3.0]),
    high=np.array([1.0, -2.0, 3.0]),
    kinks=1,
)


def test_conventions_at_a_kink_may_differ_and_are_named() -> None:
    zero, one = np.array([0.0, -2.0, 3.0]), np.array([1.0, -2.0, 3.0])
    verdict = vote(torch=zero, engine=zero, manual=one, derived=zero, numeric=KINK)
    assert verdict.status == "passed"
    (note,) = verdict.notes
    assert note.code == "GC201"
    assert "torch, engine and derived 0; manual 1" in note.message
    assert "0 and 1 at [0]" in note.message


def test_outside_of_the_kink_s_interval_is_wrong() -> None:
    zero, two = np.array([0.0, -2.0, 3.0]), np.array([2.0, -2.0, 3.0])
    verdict = vote(torch=zero, engine=zero, manual=two, derived=zero, numeric=KINK)
    assert verdict.outcome.outliers == ("manual",)


def test_an_input_without_a_formula_is_unavailable() -> None:
    results = [
        Gradients("torch", {"x": Estimate(RIGHT)}),
        Gradients("engine", {"x": Estimate(RIGHT)}),
        Gradients("manual"),
        Gradients("derived", unavailable="no"),
    ]
    verdict = judge("x", (3,), results, Allowances(None, None, lambda _: None), order=2)
    rows = {m.method: (m.status, m.reason) for m in verdict.outcome.methods}
    assert rows["manual"] == ("unavailable", "no formula for this input")
    assert rows["derived"] == ("unavailable", "no")
    assert verdict.outcome.order == 2


def status_of(expression: str, value: str, manual: str | None = None) -> tuple[str, set[str]]:
    text = f"version: 1\ninputs: {{x: {{value: {value}}}}}\nexpression: {expression}\n"
    text += f"manual: {{x: '{manual}'}}\n" if manual else ""
    outcome = run_check(load_text(text)[0])
    assert outcome.error is None
    return outcome.status, {d.code for d in outcome.diagnoses}


@pytest.mark.parametrize(
    ("expression", "value", "manual", "status", "code"),
    [
        ("relu(x)", "[0.0, 1.0]", "grad * (x >= 0)", "passed", "GC201"),
        ("relu(x)", "[0.0, 1.0]", "grad * where(x == 0, 1.5, (x > 0) * 1.0)", "failed", "GC201"),
        ("x.amax()", "[1.0, 1.0, 0.0]", "(x == 1.0) * 0.5", "passed", "GC201"),
        ("x.norm()", "[0.0, 0.0]", None, "passed", "GC201"),
        ("x.norm()", "[0.0, 0.0]", "x / x.norm()", "failed", "GC110"),
        ("(x ** 2).sqrt().sum()", "[0.0, 1.0]", None, "inconclusive", "GC204"),
        ("x.sqrt().sum()", "[0.0, 4.0]", "0.5 / x.sqrt()", "passed", "GC207"),
        ("x.floor().sum()", "[0.5, 1.0]", None, "passed", "GC203"),
        ("x.floor().sum()", "[0.5, 1.0]", "torch.ones_like(x)", "failed", "GC203"),
        ("x.log().sum()", "[-1.0, 1.0]", None, "inconclusive", "GC204"),
        ("x.exp().sum()", "[1000.0, 1.0]", None, "inconclusive", "GC204"),
        ("x.exp().sum()", "[.nan, 1.0]", None, "inconclusive", "GC204"),
        ("where(x > 0, x.sqrt(), 0.0).sum()", "[-1.0, 4.0]", None, "failed", "GC110"),
    ],
)
def test_end_to_end_at_awkward_points(
    expression: str, value: str, manual: str | None, status: str, code: str
) -> None:
    found, diagnosed = status_of(expression, value, manual)
    assert found == status
    assert code in diagnosed


def test_one_formula_has_no_say_against_an_infinity_that_two_agree_on() -> None:
    infinite = np.array([1.0, np.inf, 3.0])
    unknown = Estimate(np.array([1.0, np.nan, 3.0]), np.array([1e-12, np.inf, 1e-12]))
    capped = np.array([1.0, 5e5, 3.0])
    verdict = vote(torch=infinite, engine=infinite, manual=capped, numeric=unknown)
    assert (verdict.status, verdict.outcome.outliers) == ("failed", ("manual",))
    known = Estimate(capped, np.full(3, 1e-9))
    verdict = vote(torch=infinite, engine=infinite, manual=capped, numeric=known)
    assert verdict.outcome.outliers == ("torch", "engine")


def test_nobody_is_named_for_numbers_where_two_chain_rules_give_nan() -> None:
    broken = np.array([1.0, np.nan, 3.0])
    unknown = Estimate(broken, np.array([1e-12, np.inf, 1e-12]))
    verdict = vote(torch=broken, engine=broken, derived=broken, manual=RIGHT, numeric=unknown)
    assert (verdict.status, verdict.outcome.outliers) == ("failed", ())


def test_two_witnesses_against_two_name_nobody() -> None:
    verdict = vote(torch=RIGHT, manual=RIGHT, engine=WRONG, derived=WRONG, numeric=WRONG)
    assert (verdict.status, verdict.outcome.outliers) == ("failed", ())


def test_noise_alone_calls_nobody_wrong() -> None:
    noisy = Estimate(WRONG, np.array([np.inf, 1e-12, 1e-12]))
    verdict = vote(torch=RIGHT, engine=RIGHT, numeric=noisy)
    assert (verdict.status, verdict.outcome.outliers) == ("inconclusive", ())
    # Against one witness it is as good as any.
    assert vote(engine=RIGHT, numeric=noisy).status == "failed"


@dataclass(frozen=True)
class Scene:
    """Random gradients by some methods; `right` are those that are off by no more than they say."""

    verdict: Verdict
    right: frozenset[str]
    sure: frozenset[str]
    gap: float


def scene(seed: int) -> Scene:
    """Methods wrong by random amounts, in random elements, with NaN, doubts, probes, low precision."""
    rng = np.random.default_rng(seed)
    size = int(rng.integers(1, 7))
    truth = rng.standard_normal(size) * 10.0 ** rng.integers(-8, 9)
    scale = float(np.abs(truth).max())
    present = [m for m in METHODS if rng.random() < 0.8] or ["engine"]
    coarse = np.full(size, rng.choice([0.0, 1e-6, 1e-2]) * scale)
    right, sure, results, gap = set(), set(), [], np.inf
    shared = None
    spoiled = rng.choice(["torch", "engine", "manual", "none", "none"])
    for method in present:
        gradient = truth * (1 + 1e-14 * rng.standard_normal(size))
        error = None
        if method == "torch":
            gradient = gradient + coarse * rng.uniform(-0.5, 0.5, size)
        wrong = rng.random() < 0.4
        if method == "derived" and shared is not None and rng.random() < 0.7:
            gradient, wrong = shared
        elif wrong:
            index = rng.integers(size)
            by = 10.0 ** rng.uniform(-5, 1) * scale
            gradient[index] += rng.choice([-1.0, 1.0]) * by
            if method == "manual":
                gap = by
            if method == spoiled:
                gradient[index], gap = rng.choice([np.nan, np.inf]), np.inf
        if method == "engine":
            shared = gradient, wrong
        if method == "numeric":
            doubt = 10.0 ** rng.uniform(-14, -9) * scale
            error = np.full(size, doubt)
            unknown = rng.random(size) < 0.15
            error[unknown] = rng.choice([np.inf, scale])
            if not wrong:
                gradient = gradient + rng.uniform(-1, 1, size) * np.where(unknown, scale, doubt)
        if not wrong:
            right.add(method)
            # In low precision it may agree with a wrong one as well.
            if not (error is not None and unknown.any()) and not (
                method == "torch" and coarse.any()
            ):
                sure.add(method)
        results.append(Gradients(method, {"x": Estimate(gradient, error)}))
    allowances = Allowances(None, None, lambda method: coarse if method == "torch" else None)
    verdict = judge("x", (size,), results, allowances)
    allowed = float(coarse.max()) if "torch" in present else 0.0
    return Scene(verdict, frozenset(right), frozenset(sure), gap - 2 * allowed - 1e-6 * scale)


def independent(methods: frozenset[str]) -> int:
    return len({RULES[method] for method in methods})


@pytest.mark.parametrize("start", range(0, 6000, 1000))
def test_random_votes(start: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(start, start + 1000):
        made = scene(seed)
        verdict, named = made.verdict, frozenset(made.verdict.outcome.outliers)
        counts[verdict.status] += 1
        methods = {row.method for row in verdict.outcome.methods}
        # Two independent witnesses that can tell, and are right, are never called wrong.
        if independent(made.sure) >= 2:
            assert not named & made.right, seed
        # A formula that is off by more than any allowance never passes.
        if "manual" in methods - made.right and made.gap > 0:
            assert verdict.status != "passed", seed
        # Where all are right, nothing fails.
        if methods == made.right:
            assert verdict.status != "failed", seed
            assert not named, seed
        if verdict.status == "passed":
            assert not named, seed
            assert independent(frozenset(methods)) >= 2, seed
    assert min(counts[status] for status in ("passed", "failed", "inconclusive")) > 10
