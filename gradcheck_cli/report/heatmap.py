"""Where a gradient is wrong, drawn in the terminal: a row, a triangle or the edge is seen at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from gradcheck_cli.report.numbers import listing, short
from gradcheck_cli.verdict.tiling import row_step

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck_cli.report.terminal import Terminal
    from gradcheck_cli.verdict.outcome import GradientOutcome, Grid, MethodOutcome

# error/allowance up to each of these is a level of its own; up to the first it agrees. Then come what is
# larger, infinity, and NaN.
_BOUNDS = (1.0, 10.0, 1e3, 1e6)
_LARGER, _INFINITE, _NAN = len(_BOUNDS), len(_BOUNDS) + 1, len(_BOUNDS) + 2
_MEANINGS = ("agrees", "to 10", "to 1e3", "to 1e6", "above 1e6", "infinite", "NaN")
_STYLES = ("dim", "yellow", "yellow", "red", "bold red", "bold magenta", "bold magenta")
# A taller picture pushes the rest of the story off the screen: unless there is nothing to see in a lower one.
_MOST_ROWS = 16
_TICKS = (1, 2, 5, 10, 20, 50)


@dataclass(frozen=True, slots=True)
class _Cells:
    """Levels row by row; a cell is the worst of `row_step` x `column_step` elements."""

    rows: int
    columns: int
    row_step: int
    column_step: int
    levels: tuple[int, ...]

    def coarser(self, down: int, right: int) -> _Cells:
        """The same with so many rows and columns in one."""
        if down == right == 1:
            return self
        height, width = -(-self.rows // down), -(-self.columns // right)
        merged = [0] * (height * width)
        for position, level in enumerate(self.levels):
            row, column = divmod(position, self.columns)
            cell = row // down * width + column // right
            merged[cell] = max(merged[cell], level)
        steps = self.row_step * down, self.column_step * right
        return _Cells(height, width, *steps, tuple(merged))


def show_errors(terminal: Terminal, gradient: GradientOutcome, indent: int) -> None:
    """Draw where each method that disagrees is wrong; those that are wrong at the same places together.

    Nothing where there is one element, or one wrong one, which the table has told. A sentence where all
    elements are wrong alike.
    """
    grid = gradient.grid
    if grid is None:
        return
    pictures: dict[_Cells, list[MethodOutcome]] = {}
    for row in gradient.methods:
        if row.method in grid.ratios and row.status == "disagrees":
            pictures.setdefault(_cells(grid, row.method), []).append(row)
    for cells, rows in pictures.items():
        if cells.levels == (cells.levels[0],) and cells.row_step == cells.column_step == 1:
            continue
        if _wrong(grid, rows[0]) == 1:
            continue
        if min(cells.levels) > 0 and max(cells.levels) - min(cells.levels) <= 1:
            terminal.paragraph(_alike(grid, cells, rows), indent=indent, hanging=2)
            continue
        for line in _drawn(terminal, gradient.shape, cells, rows, indent):
            terminal.line(line, indent=indent)


def _cells(grid: Grid, method: str) -> _Cells:
    pairs = zip(grid.ratios[method], grid.errors[method], strict=True)
    levels = tuple(_level(ratio, error) for ratio, error in pairs)
    return _Cells(grid.rows, grid.columns, grid.row_step, grid.column_step, levels)


def _level(ratio: float, error: float) -> int:
    level = next((k for k, bound in enumerate(_BOUNDS) if ratio <= bound), _LARGER)
    if level and not math.isfinite(error):
        return _NAN if math.isnan(error) else _INFINITE
    return level


def _wrong(grid: Grid, row: MethodOutcome) -> int:
    """How many elements are wrong. In blocks, the table's number: of several, probes find but some."""
    if grid.row_step == grid.column_step == 1:
        return sum(ratio > 1 for ratio in grid.ratios[row.method])
    return row.mismatched


def _alike(grid: Grid, cells: _Cells, rows: Sequence[MethodOutcome]) -> str:
    """The sentence for a picture that would be one grey."""
    who = listing([row.method for row in rows])
    be = "is" if len(rows) == 1 else "are"
    level = max(cells.levels)
    if level > _LARGER:
        return f"{who} {be} {_MEANINGS[level]} in every {_part(cells)}"
    ratios = grid.ratios[rows[0].method]
    low, high = short(min(ratios)), short(max(ratios))
    sentence = f"{who} {be} wrong in every {_part(cells)}"
    if math.isinf(max(ratios)):  # where nothing is allowed, there are no times
        return sentence
    size = f"{high} times" if low == high else f"{low} to {high} times"
    return f"{sentence}, by {size} the allowance"


def _part(cells: _Cells) -> str:
    if cells.row_step == cells.column_step == 1:
        return "element"
    return f"block of {_block(cells)} elements"


def _block(cells: _Cells) -> str:
    if 1 in (cells.rows * cells.row_step, cells.row_step):
        return str(cells.column_step)
    return f"{cells.row_step}x{cells.column_step}"


def _drawn(
    terminal: Terminal,
    shape: tuple[int, ...],
    cells: _Cells,
    rows: Sequence[MethodOutcome],
    indent: int,
) -> Iterator[Text]:
    """The legend, the columns' numbers, the picture with its rows' numbers, and a mark at the worst."""
    glyphs = terminal.glyphs
    low = cells.coarser(row_step(shape, _MOST_ROWS, cells.row_step) // cells.row_step, 1)
    cells = cells if len({*low.levels}) == 1 else low
    labels = [_label(shape, cells, row) for row in range(cells.rows)]
    margin = 2 + max(map(len, labels)) + 1
    room = terminal.width - indent - margin - 2
    cells = cells.coarser(1, -(-cells.columns // room))
    wide = 2 if 2 * cells.columns <= room else 1
    yield from _legend(terminal, cells, rows, indent)
    yield Text(" " * margin + _ticks(cells, wide), "dim")
    worst = _worst_cell(shape, cells, rows[0])
    for row, label in enumerate(labels):
        text = Text(f"  {label:>{margin - 3}} ", "dim")
        for level in cells.levels[row * cells.columns : (row + 1) * cells.columns]:
            text.append(glyphs.levels[level] * wide, _STYLES[level])
        if worst is not None and row == worst[0] and cells.rows > 1:
            text.append(f" {glyphs.row}", "bold")
        yield text
    if worst is not None:
        mark = f"{glyphs.column} worst"
        column = margin + worst[1] * wide
        if column + len(mark) > terminal.width - indent:
            mark = f"worst {glyphs.column}"
            column -= len(mark) - 1
        yield Text(" " * column + mark, "bold")


def _legend(
    terminal: Terminal, cells: _Cells, rows: Sequence[MethodOutcome], indent: int
) -> Iterator[Text]:
    """What is drawn, and what the levels that occur mean."""
    line = Text(f"error/allowance of {listing([row.method for row in rows])}:")
    for level in sorted({*cells.levels}):
        mark = (terminal.glyphs.levels[level], _STYLES[level])
        part = Text.assemble("  ", mark, f" {_MEANINGS[level]}")
        if len(line) + len(part) > terminal.width - indent:
            yield line
            line = Text()
        line.append_text(part)
    yield line
    if not cells.row_step == cells.column_step == 1:
        text = Text(f"each mark is the worst of {_block(cells)} elements", "dim")
        yield from terminal.wrapped(text, terminal.width - indent)


def _ticks(cells: _Cells, wide: int) -> str:
    """The numbers of the columns that cells begin with, as many as there is room for."""
    longest = len(str((cells.columns - 1) * cells.column_step)) + 1
    every = next((tick for tick in _TICKS if tick * wide >= longest), cells.columns)
    return "".join(
        f"{column * cells.column_step:<{every * wide}}" for column in range(0, cells.columns, every)
    ).rstrip()


def _label(shape: tuple[int, ...], cells: _Cells, row: int) -> str:
    """The indices of a row's elements but for the last: `3`, `0,2`, `0,:`, or from one to another."""
    if len(shape) < 2:
        return ""
    leading, inner = shape[:-1], ""
    first = row * cells.row_step
    last = min(first + cells.row_step, math.prod(leading)) - 1
    while len(leading) > 1 and first % leading[-1] == 0 and (last + 1) % leading[-1] == 0:
        # All of a dimension, as PyTorch writes it.
        first, last = first // leading[-1], last // leading[-1]
        leading, inner = leading[:-1], ",:" + inner
    if first == last:
        return _index(first, leading) + inner
    return f"{_index(first, leading)}{inner}-{_index(last, leading)}{inner}"


def _index(flat: int, shape: tuple[int, ...]) -> str:
    """A flat index as one for each dimension.

    >>> _index(7, (2, 4)), _index(7, (8,))
    ('1,3', '7')
    """
    found: list[str] = []
    for size in reversed(shape):
        flat, rest = divmod(flat, size)
        found.insert(0, str(rest))
    return ",".join(found)


def _worst_cell(
    shape: tuple[int, ...], cells: _Cells, row: MethodOutcome
) -> tuple[int, int] | None:
    """The row and column of the cell that holds the worst element."""
    if row.worst_index is None:
        return None
    *leading, last = row.worst_index
    flat = 0
    for index, size in zip(leading, shape, strict=False):
        flat = flat * size + index
    return flat // cells.row_step, last // cells.column_step
