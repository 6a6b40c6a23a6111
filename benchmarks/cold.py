"""From the text of an expression to its first value and gradients, against JAX from trace to first run.

    python -m benchmarks.cold [-k NAME] [--dtypes float64] [--rounds 7] [--json FILE]

What is imported stays so, and both have run another expression before. Each round is new to both: the inputs
have other names and another size, so no node of our graph, no plan and no parsed text of an earlier round is
met again; JAX gets a function of its own, after `jax.clear_caches()`. Arrays are ready (for JAX, on the
device) before the clock starts; it stops when all results are there.
"""

from __future__ import annotations

import argparse
import gc
import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import gradcheck_cli
from benchmarks import machine, peers
from benchmarks.peers import OURS
from benchmarks.portfolio import DTYPES, ROWS
from benchmarks.report import mean
from benchmarks.timing import BUSY, Usage
from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers import Arrays
    from benchmarks.portfolio import Row

AIM_SECONDS = 5e-3
AIM_TIMES = 20.0
_SMALLEST = 100
_STEP = 50  # elements more in every round


def renamed(text: str, names: dict[str, str]) -> str:
    """The text with other names for its inputs.

    >>> renamed("torch.exp(x).max(dim=1) * x.exp", {"x": "x1", "exp": "e"})
    'torch.exp(x1).max(dim=1) * x1.exp'
    """
    listed = "|".join(map(re.escape, names))
    return re.sub(rf"(?<![\w.])(?:{listed})\b", lambda found: names[found[0]], text)


def _ours(row: Row, arrays: Arrays, number: int) -> Callable[[], Any]:
    names = {name: f"{name}_{number}" for name in arrays}
    text, wrt = renamed(row.text, names), [names[name] for name in row.wrt]
    inputs = {names[name]: array for name, array in arrays.items()}
    return lambda: gradcheck_cli.compile(text, wrt=wrt)(**inputs)


def _jax(jax: Any, row: Row, arrays: Arrays) -> Callable[[], Any]:
    inputs = jax.block_until_ready([jax.numpy.asarray(a) for a in arrays.values()])
    which = tuple(range(len(row.wrt)))

    def first() -> Any:
        function = jax.value_and_grad(lambda *given: row.jax(jax, *given), argnums=which)
        return jax.block_until_ready(jax.jit(function)(*inputs))

    jax.clear_caches()
    return first


def _timed(call: Callable[[], Any]) -> float:
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start
    finally:
        gc.enable()


def run_row(row: Row, dtype: str, rounds: int, jax: Any) -> dict[str, Any]:
    """Every round's seconds, and their medians."""
    taken: dict[str, list[float]] = {OURS: [], "jax": []}
    for number in range(rounds):
        rng = np.random.default_rng(number)
        arrays = row.arrays(_SMALLEST + _STEP * number, dtype, rng)
        taken[OURS].append(_timed(_ours(row, arrays, number)))
        if jax is not None:
            taken["jax"].append(_timed(_jax(jax, row, arrays)))
    seconds = {name: statistics.median(times) for name, times in taken.items() if times}
    return {"row": row.name, "dtype": dtype, "rounds": taken, "seconds": seconds}


def _warm(jax: Any) -> None:
    """Import what runs need, and run another expression."""
    import scipy.linalg
    import scipy.special  # noqa: F401

    x = np.linspace(0.0, 1.0, 7)
    gradcheck_cli.compile("(other * other.cos()).mean()")(other=x)
    if jax is not None:
        call = jax.jit(jax.value_and_grad(lambda other: (other * jax.numpy.cos(other)).mean()))
        jax.block_until_ready(call(jax.numpy.asarray(x)))


def summary(rows: list[dict[str, Any]]) -> str:
    """The two aims, with their figures."""
    slowest = max(rows, key=lambda r: r["seconds"][OURS])
    worst = slowest["seconds"][OURS]
    text = f"the slowest row: {worst * 1e3:.2f} ms (at most {AIM_SECONDS * 1e3:.0f} ms)"
    met = "met    " if worst <= AIM_SECONDS else "NOT MET"
    lines = [f"{met} {text}, {slowest['row']}, {slowest['dtype']}"]
    times = [r["seconds"]["jax"] / r["seconds"][OURS] for r in rows if "jax" in r["seconds"]]
    if times:
        lines.append(
            f"{'met    ' if min(times) >= AIM_TIMES else 'NOT MET'} times less than JAX:"
            f" {min(times):.1f} in the worst row (at least {AIM_TIMES:.0f}), {mean(times):.1f} in"
            " geometric mean"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cold",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-k", action="append", metavar="NAME", help="rows whose name contains NAME")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--markdown", action="store_true", help="print a table for README.md")
    given = parser.parse_args()
    jax = peers.package("jax") if "jax" in peers.installed() else None
    if jax is None:
        print("NOT COMPARED, not installed: jax", file=sys.stderr)
    _warm(jax)
    bar = "| " if given.markdown else ""
    print(
        f"{bar}{'row':26} {bar}{'dtype':8} {bar}{'ours, ms':>9} {bar}{'JAX, ms':>9} {bar}{'times':>6}"
    )
    if given.markdown:
        print("|---|---|---:|---:|---:|")
    found, failed = [], []
    for row in ROWS:
        if given.k and not any(part in row.name for part in given.k):
            continue
        for dtype in given.dtypes.split(","):
            used = Usage()
            try:
                told = run_row(row, dtype, given.rounds, jax)
            except GradcheckError as why:
                print(f"FAILED: {row.name}, {dtype}: {why}".split("\n", 1)[0])
                failed.append(f"{row.name}, {dtype}")
                continue
            found.append(told)
            busy = "  (busy machine)" if used.by_others() > BUSY else ""
            ours, theirs = told["seconds"][OURS], told["seconds"].get("jax", float("nan"))
            print(
                f"{bar}{row.name:26} {bar}{dtype:8} {bar}{ours * 1e3:9.2f} {bar}{theirs * 1e3:9.1f}"
                f" {bar}{theirs / ours:6.1f}{busy}",
                flush=True,
            )
    print("\n" + summary(found))
    if failed:
        print(f"NOT MET, failed: {', '.join(failed)}")
    if given.json:
        document = {"machine": machine.describe(), "versions": peers.versions(), "rows": found}
        Path(given.json).write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
