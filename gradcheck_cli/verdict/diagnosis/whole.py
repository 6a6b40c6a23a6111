"""Mistakes of the whole formula: no numbers, no gradient, its sign, a transposition, a constant factor."""

from __future__ import annotations

import ast
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gradcheck_cli.verdict.diagnosis.suspect import Finding, Suspect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Array = npt.NDArray[Any]


def propose(suspect: Suspect) -> Iterator[Finding]:
    """What could have gone wrong with all of it, the simplest first."""
    found = _obvious(suspect)
    if found is not None:
        yield Finding(*found)
        return
    wrong = suspect.gradient
    text = None if suspect.edits is None else suspect.edits.text
    whole = None if text is None else _parenthesised(text)
    if suspect.right(-wrong):
        yield _finding(suspect, "GC102", "the sign is flipped", [f"-{whole}"])
    if wrong.ndim > 1 and wrong.shape[-1] == wrong.shape[-2]:
        turned = np.swapaxes(wrong, -1, -2)
        if suspect.right(turned):
            message = "the gradient is transposed"
            yield _finding(suspect, "GC103", message, [f"{whole}.T", f"{whole}.mT"])
    if text is not None:
        for message, repaired in turned_products(text):
            if suspect.survives(repaired):
                yield Finding("GC103", message, repaired)
    factor = _factor(wrong, suspect.reference)
    if factor is not None and suspect.right(wrong * factor):
        sizes = {} if suspect.case is None else suspect.sizes
        named, fixes = _named(factor, sizes, whole)
        yield _finding(suspect, "GC101", f"off by a constant factor: multiply by {named}", fixes)


def _finding(suspect: Suspect, code: str, message: str, fixes: Iterable[str]) -> Finding:
    """With the first repair that survives, where there is a formula to repair."""
    fixes = () if suspect.edits is None else fixes
    return Finding(code, message, next((fix for fix in fixes if suspect.survives(fix)), None))


def _obvious(suspect: Suspect) -> tuple[str, str] | None:
    """What needs no repair to be seen: no numbers, or no gradient at all."""
    wrong, reference = suspect.gradient, suspect.reference
    bad = ~np.isfinite(wrong) & np.isfinite(reference)
    if bad.any():
        first = np.argwhere(bad)[0].tolist() if bad.ndim else []
        count, place = int(bad.sum()), f", first at {first}" if first else ""
        patched = np.where(bad, reference, wrong)
        rest = "" if suspect.right(patched) else "; other elements are wrong too"
        of = "" if wrong.size == 1 else f" in {count} of {wrong.size} elements{place}"
        return "GC110", f"NaN or infinity{of}, where the gradient is finite{rest}"
    if not wrong.any() and bool(np.nan_to_num(reference).any()):
        return "GC112", "zero everywhere: no gradient flows"
    return None


_MAX_PRODUCTS = 16


def turned_products(text: str) -> Iterator[tuple[str, str]]:
    """What is said of, and the formula with, the operands of one `@` swapped, or one of them transposed.

    >>> [repaired for _, repaired in turned_products("2 * (A @ x)")]
    ['2 * (x @ A)', '2 * (A.T @ x)', '2 * (A.mT @ x)', '2 * (A @ x.T)', '2 * (A @ x.mT)']
    """
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    # The positions in a tree count bytes.
    source = text.encode()
    products = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult)
    ]
    for product in products[:_MAX_PRODUCTS]:
        start, end = product.col_offset, product.end_col_offset
        sign = source.index(b"@", product.left.end_col_offset)
        left, right = (
            part.strip().decode() for part in (source[start:sign], source[sign + 1 : end])
        )
        before, after = source[:start].decode(), source[end:].decode()
        left_whole, right_whole = _operand(left, product.left), _operand(right, product.right)
        message = f"the operands of a product are swapped: `{left}` and `{right}`"
        yield message, f"{before}{right_whole} @ {left_whole}{after}"
        for suffix in (".T", ".mT"):
            yield (
                f"`{left}` is transposed",
                f"{before}{_turned(left_whole, suffix)} @ {right}{after}",
            )
        for suffix in (".T", ".mT"):
            yield (
                f"`{right}` is transposed",
                f"{before}{left} @ {_turned(right_whole, suffix)}{after}",
            )


def _operand(text: str, node: ast.expr) -> str:
    """An operand's text, safe to put a method behind and to be either operand."""
    bare = isinstance(node, (ast.BinOp, ast.UnaryOp)) and not text.startswith("(")
    return f"({text})" if bare else text


def _turned(text: str, suffix: str) -> str:
    return text.removesuffix(suffix) if text.endswith(suffix) else text + suffix


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


def _named(
    factor: float, sizes: Mapping[str, int], formula: str | None
) -> tuple[str, tuple[str, ...]]:
    """The factor for people, and the formula with it applied: first as it is named, then as a number."""
    named = next((c[1:] for c in _candidates(sizes) if _close(abs(factor), c[0])), None)
    sign = "-" if factor < 0 else ""
    number = f"{factor:.10g}"
    if named is None:
        return number, () if formula is None else (
            f"{number} * {formula}",
            f"{factor!r} * {formula}",
        )
    name, template = named
    if formula is None:
        return sign + name, ()
    return sign + name, (sign + template.format(formula), f"{factor!r} * {formula}")


def _candidates(sizes: Mapping[str, int]) -> Iterator[tuple[float, str, str]]:
    """Positive factors: value, what it is called, and the formula with it (`{}` stands for the formula).

    Those that are forgotten most often come first: several names may have one value.
    """
    named = [(text, f"{text} (= {value})", value) for text, value in sizes.items() if value > 1]
    yield 2, "2", "2 * {}"
    for text, shown, value in named:
        yield 1 / value, f"1 / {shown}", f"{{}} / {text}"
        yield value, shown, f"{text} * {{}}"
    yield 0.5, "1/2", "{} / 2"
    for text, shown, value in named:
        yield 2 / value, f"2 / {shown}", f"2 * {{}} / {text}"
    for number in (3, 4):
        yield number, str(number), f"{number} * {{}}"
        yield 1 / number, f"1/{number}", f"{{}} / {number}"
    for text, shown, value in named:
        yield value / 2, f"{shown} / 2", f"{text} * {{}} / 2"
        yield value**-0.5, f"1 / sqrt({shown})", f"{{}} / {text}**0.5"
        yield value**0.5, f"sqrt({shown})", f"{{}} * {text}**0.5"
    for shown, text, constant in _CONSTANTS:
        yield constant, shown, f"{{}} * {text}"
        yield 1 / constant, f"1 / {shown}", f"{{}} / {text}"


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6)


def _parenthesised(text: str) -> str:
    """The formula, safe to apply an operator to."""
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return f"({text})"
    atom = isinstance(tree, (ast.Name, ast.Call, ast.Attribute, ast.Subscript))
    return text if atom else f"({text})"
