"""Whether twice the work takes twice the time: the log-log slope of the elementwise rows.

    python -m benchmarks.scaling [--dtypes float64] [--rounds 9] [--json FILE]

Sizes from 1e5 to 1.6e7 elements, each twice or so the one before, are timed in turn; the slope is that of
the least-squares line through the logarithms of all medians.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine, peers
from benchmarks.peers import OURS
from benchmarks.portfolio import DTYPES
from benchmarks.portfolio.elementwise import CHAIN, SQUARED_ERRORS
from benchmarks.timing import measure

if TYPE_CHECKING:
    from benchmarks.portfolio import Row

AIM = 1.1
SIZES = tuple(round(n / 50) * 50 for n in np.geomspace(1e5, 1.6e7, 8).tolist())


def slope(seconds: dict[int, float]) -> float:
    """The slope of log(seconds) over log(elements), by least squares.

    >>> round(slope({10: 2.0, 20: 8.0, 40: 32.0}), 6)
    2.0
    """
    fitted = np.polyfit(np.log(list(seconds)), np.log(list(seconds.values())), 1)
    return float(fitted[0])


def run_row(row: Row, dtype: str, engine: str, rounds: int, budget: float) -> dict[str, Any]:
    """The medians by size, and their slope."""
    calls = {}
    for elements in SIZES:
        arrays = row.arrays(elements, dtype, np.random.default_rng(0))
        calls[str(elements)] = peers.prepare(engine, row, arrays)
    measured = measure(calls, rounds=rounds, budget=budget)
    seconds = {elements: measured.median(str(elements)) for elements in SIZES}
    return {
        "row": row.name,
        "dtype": dtype,
        "engine": engine,
        "seconds": seconds,
        "slope": slope(seconds),
        "noisy": measured.noisy,
    }


def main() -> None:
    """Run the measurement and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--engines", default=OURS, help="ours, and peers to see beside it")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--budget", type=float, default=20.0, help="seconds a line, about")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--markdown", action="store_true", help="print a table for README.md")
    given = parser.parse_args()
    bar = "| " if given.markdown else ""
    heads = "".join(f" {bar}{n:>9.1e}" for n in SIZES)
    print(f"{bar}{'ms at':23} {bar}{'dtype':8} {bar}{'engine':9}{heads} {bar}slope")
    if given.markdown:
        print(f"|---|---|---|{'---:|' * len(SIZES)}---:|")
    found = []
    for row in (SQUARED_ERRORS, CHAIN):
        for dtype in given.dtypes.split(","):
            for engine in given.engines.split(","):
                told = run_row(row, dtype, engine, given.rounds, given.budget)
                found.append(told)
                cells = "".join(f" {bar}{told['seconds'][n] * 1e3:9.3f}" for n in SIZES)
                print(
                    f"{bar}{row.name:23} {bar}{dtype:8} {bar}{engine:9}{cells} {bar}{told['slope']:.3f}"
                    + ("  (busy machine)" if told["noisy"] else ""),
                    flush=True,
                )
    worst = max((t["slope"] for t in found if t["engine"] == OURS), default=float("nan"))
    print(
        f"\n{'met    ' if worst <= AIM else 'NOT MET'} steepest slope: {worst:.3f} (at most {AIM})"
    )
    if given.json:
        document = {"machine": machine.describe(), "versions": peers.versions(), "rows": found}
        Path(given.json).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
