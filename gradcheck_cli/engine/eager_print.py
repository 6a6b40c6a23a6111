"""How a tensor prints: as in PyTorch, whose documentation of `set_printoptions` has the numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PRECISION = 4
THRESHOLD = 1000
EDGE = 3
LINE = 80
# Beyond these, numbers are written with an exponent.
_MOST_RATIO, _MOST, _LEAST = 1000.0, 1e8, 1e-4


def written(values: Any, suffixes: Sequence[str]) -> str:
    """`tensor([1., 2.], requires_grad=True)`: the numbers, then what is said of them."""
    indent = len("tensor(")
    if values.size == 0:
        text = "[]"
        if values.ndim != 1:
            suffixes = (f"size={values.shape}", *suffixes)
    else:
        text = _array(values, indent, _formatter(_corners(values)), values.size > THRESHOLD)
    parts = [f"tensor({text}"]
    used = len(parts[0]) - parts[0].rfind("\n") + 1
    for suffix in suffixes:
        if used + len(suffix) + 2 > LINE:
            parts.append(",\n" + " " * indent + suffix)
            used = indent + len(suffix)
        else:
            parts.append(f", {suffix}")
            used += len(suffix) + 2
    return "".join(parts) + ")"


def _corners(values: Any) -> Any:
    """The elements that are shown."""
    if values.size > THRESHOLD:
        for dim in range(values.ndim):
            size = values.shape[dim]
            if size > 2 * EDGE:
                shown = [*range(EDGE), *range(size - EDGE, size)]
                values = np.take(values, shown, axis=dim)
    return values


def _formatter(shown: Any) -> Callable[[Any], str]:
    """How each number is written, all equally wide."""
    if shown.dtype.kind != "f":
        width = max(len(str(value)) for value in shown.ravel().tolist())
        return lambda value: str(value).rjust(width)
    # The double that is nearest to a number says best which digits it has.
    numbers = shown.astype(np.float64).ravel()
    sizes = np.abs(numbers[np.isfinite(numbers) & (numbers != 0)])
    if sizes.size == 0:
        return _padded(_whole, 1)
    most, least = float(sizes.max()), float(sizes.min())
    whole = bool((sizes == np.ceil(sizes)).all())
    wide = most / least > _MOST_RATIO or most > _MOST
    write = _exponent if wide or (not whole and least < _LEAST) else _whole if whole else _fixed
    return _padded(write, _width(numbers[np.isfinite(numbers) & (numbers != 0)], write))


def _width(numbers: Any, write: Callable[[float], str]) -> int:
    return max((len(write(value)) for value in numbers.tolist()), default=1)


def _padded(write: Callable[[float], str], width: int) -> Callable[[Any], str]:
    return lambda value: write(float(value)).rjust(width)


def _whole(value: float) -> str:
    return f"{value:.0f}." if math.isfinite(value) else str(value)


def _fixed(value: float) -> str:
    return f"{value:.{PRECISION}f}"


def _exponent(value: float) -> str:
    return f"{value:.{PRECISION}e}"


def _array(values: Any, indent: int, write: Callable[[Any], str], cut: bool) -> str:
    if values.ndim == 0:
        text: str = write(values.item())
        return text
    size = values.shape[0]
    cut_here = cut and size > 2 * EDGE
    places: list[int | None] = list(range(size))
    if cut_here:
        places = [*range(EDGE), None, *range(size - EDGE, size)]
    if values.ndim > 1:
        rows = [
            "..." if place is None else _array(values[place], indent + 1, write, cut)
            for place in places
        ]
        between: str = "," + "\n" * (values.ndim - 1) + " " * (indent + 1)
        return f"[{between.join(rows)}]"
    words = [" ..." if place is None else write(values[place].item()) for place in places]
    width = len(write(values[0].item())) if size else 0
    per_line = max(1, (LINE - indent) // (width + 2))
    lines = [", ".join(words[start : start + per_line]) for start in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
