"""What follows from assumptions, and what doesn't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck_cli.calculus.facts import (
    assuming,
    decided,
    is_nonnegative,
    is_nonzero,
    is_positive,
    is_symmetric,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("x", "y"), (3, 4)),
    **dict.fromkeys(("A", "B"), (3, 3)),
    "t": (3,),
    "e": (0,),
}
POSITIVE = (
    *("x", "2 * x", "x + abs(x)", "x.sum()", "x.mean(0)", "sqrt(x)", "x ** -3", "x.T", "x / x"),
    *("x[0]", "abs(x)", "x.rsqrt()"),
)
NOT_POSITIVE = (
    *("y", "-x", "x - 1", "x + y", "x * y", "e.sum()", "y ** 2", "exp(y)", "x[:0].sum()"),
    "x + y ** 2",  # not where y is NaN
)
DECIDED = (
    ("x > 0", "x > 0", True),
    ("x > 0", "x <= 0", False),
    ("x > 0", "x >= 0", True),
    ("x > 0", "x < 0", False),
    ("x > 0", "x != 0", True),
    ("x > 0", "x == 0", False),
    ("x > 0", "x > 1", None),
    ("x > 0", "y > 0", None),
    ("x > 0", "sqrt(x) == 0", False),
    ("x >= 0", "x > 0", None),
    ("x >= 0", "x < 0", False),
    ("x >= 2", "x > 1", True),
    ("x >= 2", "x > 2", None),
    ("2 < x", "x > 2", True),
    ("x < 1", "x < 1", True),
    ("x < 1", "x >= 1", False),
    ("x <= 1", "x < 1", None),
    ("(x > 0) & (x < 1)", "x < 1", True),
    ("t >= 0", "t != -100", True),
    ("t >= 0", "t == -100", False),
    ("t < 5", "t != -100", None),
    ("x.norm() > 0", "x.norm() == 0", False),
    ("x.norm() > 0", "y.norm() == 0", None),
    ("x != 0", "x == 0", False),
    ("x != 0", "-x != 0", True),
    ("x > y", "x > y", True),
    ("x > y", "x <= y", False),
    ("x > y", "y > x", None),
)


@pytest.mark.parametrize("text", POSITIVE)
def test_positive(text: str, scope: Callable[..., Any]) -> None:
    read = scope(**SHAPES)
    with assuming([read("x > 0")]):
        assert is_positive(read(text))
        assert is_nonnegative(read(text))
        assert is_nonzero(read(text))


@pytest.mark.parametrize("text", NOT_POSITIVE)
def test_not_known_to_be_positive(text: str, scope: Callable[..., Any]) -> None:
    read = scope(**SHAPES)
    with assuming([read("x > 0")]):
        assert not is_positive(read(text))


def test_a_positive_sum_of_what_is_finite(scope: Callable[..., Any]) -> None:
    read = scope(**SHAPES)
    with assuming([read("x > 0"), read("isfinite(y)")]):
        assert is_positive(read("x + y ** 2"))


@pytest.mark.parametrize(("fact", "mask", "answer"), DECIDED)
def test_decided(fact: str, mask: str, answer: bool | None, scope: Callable[..., Any]) -> None:
    read = scope(**SHAPES)
    with assuming([read(fact)]):
        assert decided(read(mask)) is answer


@pytest.mark.parametrize("fact", ["A == A.T", "A == A.mT", "A.T == A", "A == A.transpose(0, 1)"])
def test_symmetric(fact: str, scope: Callable[..., Any]) -> None:
    read = scope(**SHAPES)
    with assuming([read(fact)]):
        assert is_symmetric(read("A"))
        assert not is_symmetric(read("B"))


def test_nothing_is_assumed_outside(scope: Callable[..., Any]) -> None:
    read = scope(**SHAPES)
    with assuming([read("x > 0"), read("A == A.T")]):
        pass
    assert decided(read("x > 0")) is None
    assert not is_positive(read("x"))
    assert not is_symmetric(read("A"))
