"""Notes about points without a derivative, and gradients held against directions at ties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli.methods.gradients import EDGE, JUMP, KINK, SMOOTH, UNKNOWN, Estimate, Ties
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check
from gradcheck_cli.verdict.compare import Allowances, compare
from gradcheck_cli.verdict.kinks import against_ties, capped, notes_of

NAMES = ("engine", "manual")
PAIR = np.array([0, 1])
# A maximum of two equal elements.
MAXIMUM = Ties(
    PAIR,
    np.array([[1.0, 1.0], [1.0, -1.0]]),
    np.array([1.0, -1.0]),
    np.array([1.0, 1.0]),
    np.full(2, 1e-3),
)
# The norm at zero.
NORM = Ties(
    PAIR,
    np.array([[1.0, 1.0]]),
    np.array([-(2**0.5)]),
    np.array([2**0.5]),
    np.full(1, 1e-3),
    lambda row: (-float(np.linalg.norm(row)), float(np.linalg.norm(row)), 1e-3),
)


def numeric(ties: Ties, low: float = 0.0, high: float = 1.0) -> Estimate:
    middle = (low + high) / 2
    return Estimate(
        np.array([middle, middle, 7.0]),
        np.array([1e-7, 1e-7, 1e-12]),
        np.array([low, low, 7.0]),
        np.array([high, high, 7.0]),
        2,
        places=np.array([KINK, KINK, SMOOTH], np.int8),
        ties=ties,
    )


def agree(estimate: Estimate, *gradients: list[float], rounding: Any = None) -> bool:
    """Whether gradients agree with differences, or with each other, where two are given."""
    allowances = Allowances(None, None, lambda _: rounding, estimate)
    sides = [Estimate(np.array([*gradient, 7.0])) for gradient in gradients]
    pair = (sides[0], sides[1] if len(sides) > 1 else estimate)
    found = compare(NAMES, pair, allowances)
    swapped = compare(NAMES, pair[::-1], allowances)
    assert found.agree == swapped.agree
    assert found.agree or (found.note is not None and found.worst is not None)
    return found.agree


@pytest.mark.parametrize(
    ("gradient", "right"),
    [
        ([0.5, 0.5], True),
        ([1.0, 0.0], True),
        ([0.3, 0.7], True),
        ([1.0, 1.0], False),
        ([0.0, 0.0], False),
        ([0.5, 0.4], False),
    ],
)
def test_tied_elements_are_judged_together(gradient: list[float], *, right: bool) -> None:
    assert agree(numeric(MAXIMUM), gradient) is right
    # Two conventions that are both right agree, and one that isn't does so with nobody else.
    assert agree(numeric(MAXIMUM), gradient, [0.0, 1.0]) is right
    assert agree(numeric(MAXIMUM), gradient, gradient)


def test_the_unit_ball_is_round() -> None:
    norm = numeric(NORM, -1.0, 1.0)
    assert agree(norm, [0.6, 0.8])
    assert agree(norm, [0.0, 0.0])
    assert not agree(norm, [0.9, -0.9])
    assert not agree(norm, [0.5, 0.95])
    tied = against_ties([np.array([0.9, -0.9])], np.zeros(2), np.zeros(2), np.zeros(2), NORM)
    assert tied.error == pytest.approx((1.62 - 1.62**0.5) / 0.9)


def test_measured_rounding_does_not_hide_a_wrong_convention() -> None:
    """Where rounding undoes a tie it looks as if it cost as much as the conventions are apart."""
    flipping = np.array([4.0, 4.0, 1e-15])
    assert not agree(numeric(MAXIMUM), [1.0, 1.0], rounding=flipping)
    assert agree(numeric(MAXIMUM), [0.5, 0.502], rounding=flipping)
    assert capped(flipping, numeric(MAXIMUM)).tolist() == [1 / 16, 1 / 16, 1e-15]
    assert capped(flipping, None) is flipping


def test_what_is_undefined_is_left_to_the_elements() -> None:
    maximum = numeric(MAXIMUM)
    allowances = Allowances(None, None, lambda _: None, maximum)
    nan = Estimate(np.array([np.nan, 1.0, 7.0]))
    assert compare(NAMES, (nan, maximum), allowances).agree


def messages(**estimates: Estimate) -> dict[str, str]:
    doubtful = {
        method: np.isinf(estimate.error)
        for method, estimate in estimates.items()
        if estimate.error is not None and np.isinf(estimate.error).any()
    }
    return {note.code: note.message for note in notes_of("x", estimates, doubtful)}


def at(place: int, value: float, **more: Any) -> Estimate:
    known = np.isfinite(value)
    return Estimate(
        np.array([1.0, value]),
        np.array([0.0, 1e-9 if known else np.inf]),
        places=np.array([SMOOTH, place], np.int8),
        **more,
    )


TORCH = Estimate(np.array([1.0, np.inf]))


def test_notes_say_what_is_there_and_what_each_takes() -> None:
    (text,) = messages(torch=TORCH, numeric=at(EDGE, np.inf)).values()
    assert (
        text
        == "the derivative in `x` is infinite in 1 element: +inf at [1]; taken there: torch inf"
    )
    (text,) = messages(torch=TORCH, numeric=at(EDGE, 0.0)).values()
    assert "at the edge of the domain in 1 element: the derivative is that from inside, 0" in text
    (text,) = messages(numeric=at(EDGE, np.nan)).values()
    assert "there is no derivative there" in text
    found = messages(torch=TORCH, numeric=at(JUMP, np.nan))
    assert list(found) == ["GC203"]
    assert "at a jump in 1 element, the first at [1]" in found["GC203"]
    found = messages(torch=TORCH, numeric=at(UNKNOWN, np.nan))
    assert list(found) == ["GC202"]
    assert "at 1 of 2 elements: no slope shows at any step" in found["GC202"]


def test_ties_are_mentioned() -> None:
    zero = Estimate(np.array([1.0, 0.0, 7.0]))
    text = messages(manual=zero, numeric=numeric(MAXIMUM))["GC201"]
    assert "They are 0 and 1 at [0]; where 2 elements meet" in text
    assert text.endswith("taken there: manual 1")


@pytest.mark.parametrize(
    ("expression", "value", "codes"),
    [
        ("x.sqrt()", "[0.0, 1.0]", ["GC207"]),
        ("x.floor()", "[1.0, 0.5]", ["GC203"]),
        ("x.abs()", "[0.0, 0.5]", ["GC201"]),
        ("x ** 1.5", "[0.0, 0.5]", ["GC207"]),
        ("x.abs()", "0.0", ["GC201"]),
        ("x.floor()", "2.0", ["GC203"]),
    ],
)
def test_each_kind_of_place_has_a_code(expression: str, value: str, codes: list[str]) -> None:
    text = f"version: 1\ninputs: {{x: {{value: {value}, requires_grad: true}}}}\nexpression: {expression}\n"
    outcome = run_check(load_text(text)[0])
    assert outcome.status == "passed"
    assert [d.code for d in outcome.diagnoses] == codes


def test_what_differences_can_not_decide_is_inconclusive_without_other_witnesses() -> None:
    for expression, value, manual in (
        ("x.floor()", "[1.0, 0.5]", "torch.zeros_like(x)"),
        ("x.sqrt()", "[0.0, 1.0]", "0.5 / x.sqrt()"),
        ("x.abs().sqrt()", "[0.0, 1.0]", "torch.tensor([0.0, 0.5])"),
    ):
        text = (
            f"version: 1\ninputs: {{x: {{value: {value}, requires_grad: true}}}}\n"
            f"expression: {expression}\nmanual: {{x: '{manual}'}}\nmethods: [manual, numeric]\n"
            "cotangent: ones\n"
        )
        assert run_check(load_text(text)[0]).status == "inconclusive"
