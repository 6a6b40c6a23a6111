"""How many rows of an array one row of its picture stands for."""

from __future__ import annotations

import math


def row_step(shape: tuple[int, ...], most: int, unit: int = 1) -> int:
    """The fewest rows (all dimensions but the last) that a picture of `most` rows takes together.

    Such a block doesn't begin in the middle of one matrix and end in the middle of the next, unless that
    takes more than twice as many rows. It is a multiple of `unit`.

    >>> row_step((1000, 5), 24), row_step((8, 3, 3, 3), 24), row_step((8, 3, 3, 3), 16, 3)
    (42, 3, 9)
    """
    leading = shape[:-1]
    need = -(-math.prod(leading) // (most * unit))
    fewest = need * unit
    aligned = [block for block in _aligned(leading, fewest) if fewest <= block <= 2 * fewest]
    return min((block for block in aligned if block % unit == 0), default=fewest)


def _aligned(leading: tuple[int, ...], fewest: int) -> list[int]:
    """Numbers of rows that divide a dimension evenly, with all of those inside of it."""
    inner, found = 1, []
    for position in range(len(leading) - 1, -1, -1):
        size = leading[position]
        if position == 0:  # nothing follows that a block could run into
            found.append(inner * -(-fewest // inner))
        else:
            found += [inner * part for part in range(1, size + 1) if size % part == 0]
        inner *= size
    return found
