"""What kind of mistake a wrong formula holds: the first hypothesis that fits and survives re-evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.verdict.outcome import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from gradcheck_cli.errors import Where

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Suspect:
    """A gradient found wrong, and what is needed to explain it.

    `right(array)` tells whether an array passes as this gradient. `text` is the formula where there is one,
    `evaluate` its evaluation after a repair; `sizes` names the numbers that a factor could be (`x.numel()`).
    """

    input: str
    method: str
    gradient: Array
    reference: Array
    right: Callable[[Array], bool]
    sizes: Mapping[str, int]
    text: str | None = None
    where: Where | None = None
    evaluate: Callable[[str], Array | None] | None = None


@dataclass(frozen=True, slots=True)
class _Hypothesis:
    code: str
    message: str
    repaired: Array
    fix: str | None


def diagnose(suspect: Suspect) -> Diagnosis:
    """The simplest explanation whose repair passes, or GC199."""
    for hypothesis in _hypotheses(suspect):
        if not suspect.right(hypothesis.repaired):
            continue
        fix = hypothesis.fix
        if fix is not None and not _survives(suspect, fix):
            fix = None
        return Diagnosis(
            hypothesis.code, hypothesis.message, suspect.input, suspect.method, fix, suspect.where
        )
    return Diagnosis(
        "GC199",
        f"the {suspect.method} gradient of `{suspect.input}` is wrong; the cause is not recognised",
        suspect.input,
        suspect.method,
        None,
        suspect.where,
    )


def _survives(suspect: Suspect, fix: str) -> bool:
    """Whether the repaired formula, evaluated from its text, passes."""
    value = suspect.evaluate(fix) if suspect.evaluate else None
    return value is not None and value.shape == suspect.reference.shape and suspect.right(value)


def _hypotheses(suspect: Suspect) -> Iterator[_Hypothesis]:
    """What could have gone wrong, the simplest first."""
    wrong, text = suspect.gradient, suspect.text
    yield _Hypothesis("GC102", "the sign is flipped", -wrong, text and _negated(text))
    yield from _transposed(suspect)
    factor = _factor(wrong, suspect.reference)
    if factor is not None:
        named, applied = _named(factor, suspect.sizes)
        message = f"off by a constant factor: multiply by {named}"
        yield _Hypothesis("GC101", message, wrong * factor, text and _scaled(text, applied))


def _transposed(suspect: Suspect) -> Iterator[_Hypothesis]:
    wrong, text = suspect.gradient, suspect.text
    if wrong.ndim < 2 or wrong.shape[-1] != wrong.shape[-2]:
        return
    suffix = ".T" if wrong.ndim == 2 else ".mT"
    turned = np.swapaxes(wrong, -1, -2)
    yield _Hypothesis(
        "GC103", "the gradient is transposed", turned, text and _parenthesised(text) + suffix
    )
    if text is not None and suspect.evaluate is not None:
        for swapped in _swaps(text):
            value = suspect.evaluate(swapped)
            if value is not None and value.shape == wrong.shape:
                message = "the operands of a matrix product are swapped"
                yield _Hypothesis("GC103", message, value, swapped)


_MAX_SWAPS = 16


def _swaps(text: str) -> Iterator[str]:
    """The formula with the operands of each `@` swapped, one at a time."""
    import ast

    try:
        tree = ast.parse(text.strip(), mode="eval")
    except SyntaxError:
        return
    products = [
        n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.MatMult)
    ]
    for product in products[:_MAX_SWAPS]:
        product.left, product.right = product.right, product.left
        yield ast.unparse(tree)
        product.left, product.right = product.right, product.left


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


_CONSTANTS = {
    "math.pi": math.pi,
    "2 * math.pi": 2 * math.pi,
    "2 ** 0.5": 2**0.5,
    "(2 * math.pi) ** 0.5": (2 * math.pi) ** 0.5,
}


def _named(factor: float, sizes: Mapping[str, int]) -> tuple[str, str]:
    """The factor for people, and as it is applied to a formula: `* 2`, `/ x.numel()`."""
    sign = "-" if factor < 0 else ""
    size = abs(factor)
    for number in (2.0, 3.0, 4.0):
        if _close(size, number):
            return f"{sign}{number:g}", f"{sign}{number:g} * "
        if _close(size, 1 / number) and number not in sizes.values():
            return f"{sign}1/{number:g}", f"{sign}{1 / number!r} * "
    for text, value in sizes.items():
        for multiple in (1, 2):
            if value > 1 and _close(size, multiple / value):
                top = f"{sign}{multiple}"
                return f"{top} / {text} (= {value})", f"{top} / {text} * "
            if value > 1 and _close(size, multiple * value):
                return f"{sign}{multiple} * {text} (= {value})", f"{sign}{multiple} * {text} * "
    for text, value in _CONSTANTS.items():
        if _close(size, value):
            return f"{sign}{text}", f"{sign}({text}) * "
        if _close(size, 1 / value):
            return f"{sign}1 / ({text})", f"{sign}1 / ({text}) * "
    return f"{factor:.10g}", f"{factor!r} * "


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6)


def _parenthesised(text: str) -> str:
    """The formula, safe to apply an operator to."""
    text = " ".join(text.split())
    return text if text.isidentifier() else f"({text})"


def _negated(text: str) -> str:
    return f"-{_parenthesised(text)}"


def _scaled(text: str, factor: str) -> str:
    return f"{factor}{_parenthesised(text)}"
