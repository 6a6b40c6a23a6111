"""How numbers are written for a person: short, aligned in a column, and never rounded into a lie."""

from __future__ import annotations

import math

_MOST_DIGITS = 17


def short(number: float | None) -> str:
    """Two significant digits (three above 1); exponents only where they help.

    >>> short(1.23e-16), short(0.0312), short(123.4), short(2.1e12), short(0.0), short(None)
    ('1.2e-16', '0.031', '123', '2.1e12', '0', '-')
    """
    if number is None:
        return "-"
    size = abs(number)
    digits = 3 if 1 <= size < 1000 else 4 if 1000 <= size < 10_000 else 2
    return plain(number, digits)


def ratio(number: float | None) -> str:
    """As `short`, but never rounded across 1, the border between agreeing and not.

    >>> ratio(0.9996), ratio(1.0), ratio(1.0004), ratio(0.0027)
    ('0.9996', '1', '1.0004', '0.0027')
    """
    if number is None or not math.isfinite(number):
        return short(number)
    text, digits = short(number), 2
    while digits < _MOST_DIGITS and (float(text) > 1, float(text) < 1) != (number > 1, number < 1):
        digits += 1
        text = plain(number, digits)
    return text


def plain(number: float, digits: int) -> str:
    """`number` with so many significant digits; NaN and infinities as NumPy calls them.

    >>> plain(1.5e20, 3), plain(float("inf"), 3), plain(float("nan"), 3)
    ('1.5e20', 'inf', 'nan')
    """
    return f"{number:.{digits}g}".replace("e+0", "e").replace("e+", "e").replace("e-0", "e-")


def pair(value: float | None, expected: float | None, *, exact: bool = True) -> tuple[str, str]:
    """Two numbers with six digits or, if `exact`, with as many as it takes to see how they differ.

    >>> pair(0.5, 1.0)
    ('0.5', '1')
    >>> pair(1.000000001, 1.0)
    ('1.000000001', '1')
    """
    if value is None or expected is None:
        return tuple("-" if n is None else plain(n, 6) for n in (value, expected))  # type: ignore[return-value]
    digits = 6
    while exact and plain(value, digits) == plain(expected, digits) and digits < _MOST_DIGITS:
        digits += 1
    return plain(value, digits), plain(expected, digits)


def seconds(number: float) -> str:
    """A duration.

    >>> seconds(0.0123), seconds(0.0001), seconds(2.345), seconds(125.0), seconds(120.0)
    ('12 ms', '0.1 ms', '2.3 s', '2 min 5 s', '2 min')
    """
    if number < 0.00995:
        return f"{number * 1000:.1f} ms"
    if number < 0.9995:
        return f"{number * 1000:.0f} ms"
    if number < 60:
        return f"{number:.1f} s"
    minutes, rest = divmod(round(number), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def count(number: int, noun: str) -> str:
    """A number with its noun.

    >>> count(1, "check"), count(2, "check"), count(1000, "check")
    ('1 check', '2 checks', '1,000 checks')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listing(names: tuple[str, ...] | list[str]) -> str:
    """Names in a sentence.

    >>> listing(["torch"]), listing(["torch", "numeric"]), listing(["a", "b", "c"])
    ('torch', 'torch and numeric', 'a, b and c')
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
