"""Mistakes of the whole formula: its sign, a transposition, a constant factor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.lang.edits import Change
from gradcheck_cli.verdict.diagnosis.ingredients import short_truth
from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

Array = npt.NDArray[Any]

LEAST = 0.962

# A number that nothing gives a name explains little; a sign beside a factor is a second mistake.
_SHORT_NUMBER, _UNNAMED, _AND_SIGN = 1.1, 3.5, 0.2
# A function is more plainly wrong than the derivative forgotten, where another function repairs it.
_ITSELF, _ONES, _SAME = 1.3, 1.0, 1e-12
# A factor this near to 1 comes of a constant that was rounded.
_ROUNDED = 1e-2


def propose(suspect: Suspect) -> Iterator[Finding]:
    """What could have gone wrong with all of it, the simplest first."""
    if _fits(suspect, np.negative):
        yield from _findings(suspect, "GC102", "the sign is flipped", [(LEAST, "-{0}")])
    shape = suspect.gradient.shape
    if len(shape) > 1 and shape[-1] == shape[-2]:
        turns = [(1.0, "{0}.T"), (1.001, "{0}.mT")] if len(shape) == 2 else [(1.0, "{0}.mT")]
        if _fits(suspect, lambda array: np.swapaxes(array, -1, -2)):
            yield from _findings(suspect, "GC103", "the gradient is transposed", turns)
    yield from _undifferentiated(suspect)
    if suspect.draft is not None and suspect.gradient.size > 1 and (suspect.gradient == 1).all():
        message = "1 everywhere: all factors of the chain rule are missing"
        yield Finding("GC106", message, short_truth(suspect), _ONES)
    factor = _factor(suspect.gradient, suspect.reference)
    if factor is None or _close(factor, -1.0):
        return
    if _fits(suspect, lambda array: factor * array):
        code = "GC111" if abs(factor - 1) <= _ROUNDED else "GC101"
        for cost, name, template in _named(factor, suspect):
            message = f"off by a constant factor: multiply by {name}"
            yield from _findings(suspect, code, message, [(cost, template)])


def _undifferentiated(suspect: Suspect) -> Iterator[Finding]:
    """The expression itself in place of its derivative."""
    if suspect.case is None or suspect.draft is None or suspect.gradient.size < 2:
        return
    output = suspect.fitted(suspect.case.output)
    again = suspect.again
    if output is None or output.value is not None or again is None or again.gradient is None:
        return
    (here,), (there,) = suspect.values([output]), again.values([output])
    if here is None or there is None:
        return
    if np.allclose(here, suspect.gradient, rtol=_SAME, atol=0) and np.allclose(
        there, again.gradient, rtol=_SAME, atol=0
    ):
        message = "this is the expression itself, not its derivative"
        yield Finding("GC113", message, short_truth(suspect), _ITSELF)


def _fits(suspect: Suspect, repair: Callable[[Array], Array]) -> bool:
    """Whether the repaired gradient passes, at the second point too."""
    with np.errstate(all="ignore"):
        if not suspect.right(repair(suspect.gradient)):
            return False
        point = suspect.again
        return point is None or point.gradient is None or point.right(repair(point.gradient))


def _findings(
    suspect: Suspect, code: str, message: str, repairs: Iterable[tuple[float, str]]
) -> Iterator[Finding]:
    """With the first repair that survives, where there is a formula to repair."""
    for cost, template in repairs:
        edits = suspect.edits
        if edits is None:
            yield Finding(code, message, None, cost)
            return
        fix = edits.changed([Change(edits.tree, template, (edits.tree,))])
        if suspect.survives(fix):
            yield Finding(code, message, fix, cost)
            return


def _factor(wrong: Array, reference: Array) -> float | None:
    """The constant by which `wrong` must be multiplied, by least squares; None where there is none."""
    usable = np.isfinite(wrong) & np.isfinite(reference)
    if not usable.all() or not wrong.size:
        return None
    scale = float(np.abs(wrong).max())
    if scale == 0:
        return None
    a, b = wrong.reshape(-1) / scale, reference.reshape(-1) / scale
    factor = float(a @ b) / float(a @ a)
    return factor if math.isfinite(factor) and factor != 0 else None


# What people call it, how it is written in a formula, and its value.
_CONSTANTS = (
    ("pi", "math.pi", math.pi),
    ("2 pi", "(2 * math.pi)", 2 * math.pi),
    ("sqrt(2)", "2**0.5", 2**0.5),
    ("sqrt(pi)", "math.pi**0.5", math.pi**0.5),
    ("sqrt(2 pi)", "(2 * math.pi)**0.5", (2 * math.pi) ** 0.5),
    ("log(2)", repr(math.log(2)), math.log(2)),
    ("log(10)", repr(math.log(10)), math.log(10)),
)


def _named(factor: float, suspect: Suspect) -> Iterator[tuple[float, str, str]]:
    """Names of the factor, the plainest first: its cost, what it is called, and the formula with it."""
    sign = "-" if factor < 0 else ""
    known = suspect.case is not None
    named = factors(suspect.sizes, suspect.numbers) if known else factors({})
    found = False
    for position, (number, name, template) in enumerate(named):
        if _close(abs(factor), number):
            found = True
            yield 1.0 + 1e-3 * position + _AND_SIGN * (factor < 0), sign + name, sign + template
    short = f"{factor:.2g}"
    if found:
        return
    if _close(factor, float(short)):
        yield _SHORT_NUMBER + _AND_SIGN * (factor < 0), short, f"{short} * {{0}}"
    else:
        yield _UNNAMED, f"{factor:.10g}", f"{factor!r} * {{0}}"


def factors(
    sizes: Mapping[str, int], numbers: Iterable[float] = ()
) -> Iterator[tuple[float, str, str]]:
    """Positive factors: value, what it is called, and the formula with it (`{0}` stands for the formula).

    Those that are forgotten most often come first: several names may have one value.
    """
    named = [(text, f"{text} (= {value})", value) for text, value in sizes.items() if value > 1]
    yield 2, "2", "2 * {0}"
    for text, shown, value in named:
        yield 1 / value, f"1 / {shown}", f"{{0}} / {text}"
        yield value, shown, f"{text} * {{0}}"
    yield 0.5, "1/2", "{0} / 2"
    for text, shown, value in named:
        yield 2 / value, f"2 / {shown}", f"2 * {{0}} / {text}"
    for number in (3, 4):
        yield number, str(number), f"{number} * {{0}}"
        yield 1 / number, f"1/{number}", f"{{0}} / {number}"
    for text, shown, value in named:
        yield value / 2, f"{shown} / 2", f"{text} * {{0}} / 2"
        yield value**-0.5, f"1 / sqrt({shown})", f"{{0}} / {text}**0.5"
        yield value**0.5, f"sqrt({shown})", f"{{0}} * {text}**0.5"
    for written in numbers:
        text = f"{written:g}"
        yield written, text, f"{text} * {{0}}"
        yield 1 / written, f"1 / {text}", f"{{0}} / {text}"
        yield 2 * written, f"2 * {text}", f"2 * {text} * {{0}}"
    for shown, text, constant in _CONSTANTS:
        yield constant, shown, f"{{0}} * {text}"
        yield 1 / constant, f"1 / {shown}", f"{{0}} / {text}"


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6)
