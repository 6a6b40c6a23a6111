from __future__ import annotations

import pytest

from gradcheck_cli.report.numbers import count, pair, ratio, seconds, short


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.0, "0"), (9.99e-17, "1e-16"), (0.5, "0.5"), (1234.0, "1234"), (1e300, "1e300")],
)
def test_short(number: float, text: str) -> None:
    assert short(number) == text


@pytest.mark.parametrize("number", [1 - 1e-12, 1 + 1e-12, 1.004, 0.9999, 1.0])
def test_a_ratio_stays_on_its_side_of_one(number: float) -> None:
    shown = float(ratio(number))
    assert (shown > 1, shown < 1) == (number > 1, number < 1)


def test_values_that_differ_look_different() -> None:
    value, expected = pair(1.0, 1.0 + 2**-52)
    assert value != expected


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0099, "9.9 ms"),
        (0.00999, "10 ms"),
        (0.9999, "1.0 s"),
        (59.96, "60.0 s"),
        (60.0, "1 min"),
    ],
)
def test_seconds(number: float, text: str) -> None:
    assert seconds(number) == text


def test_count() -> None:
    assert count(0, "check") == "0 checks"
