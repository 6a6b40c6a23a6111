"""Our engine against its peers, in the steady state: the value and the gradients of every row.

    python -m benchmarks.engine [-k NAME] [--sizes 100,100000] [--json FILE] [--markdown]

Every engine has the same arrays, in one process. Results are compared with a float64 reference and with ours
before anything is timed; then each engine is called in turn, in an order drawn anew for every round.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import machine, peers, report
from benchmarks.peers import OURS
from benchmarks.portfolio import DTYPES, PEERS, ROWS, SIZES
from benchmarks.timing import measure, wait_until_quiet
from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.peers import Arrays, Call
    from benchmarks.portfolio import Row

SEED = 0
REFERENCE = "torch"


def allowance(row: Row, arrays: Arrays) -> float:
    """The relative error that rounding may cause in the row, of the largest element of an array.

    A sum of n terms rounds n times; errors of random sign add up to about sqrt(n) of them, and no sum of a
    row is longer than its largest input. Each term comes from a few dozen operations.
    """
    terms = max(a.size for a in arrays.values())
    dtype = next(iter(arrays.values())).dtype
    return float(np.finfo(dtype).eps) * row.sensitivity * (32 + math.sqrt(terms))


def error(found: tuple[Any, Any], expected: tuple[Any, Any], arrays: Arrays) -> float:
    """The largest difference of two results, relative to the largest element of the array it is in.

    The value, which may be a small difference of large terms, is compared relative to how much it changes
    with its inputs, `sum(|x| * |dvalue/dx|)`, where that is larger.
    """
    (value, gradients), (value2, gradients2) = found, expected
    assert len(gradients) == len(gradients2)
    scale = sum(np.sum(np.abs(a * g)) for a, g in zip(arrays.values(), gradients2, strict=False))
    worst = float(abs(value - value2) / max(abs(value2), scale))
    for a, b in zip(gradients, gradients2, strict=True):
        assert a.shape == b.shape, (a.shape, b.shape)
        difference = float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
        worst = max(worst, difference if math.isfinite(difference) else math.inf)
    return worst


def reference(row: Row, arrays: Arrays) -> tuple[float, list[Any]]:
    """The result in float64 on the inputs as they are."""
    wide = {n: a.astype("float64") if a.dtype.kind == "f" else a for n, a in arrays.items()}
    return peers.numbers(peers.prepare(REFERENCE, row, wide)())


def calls_of(
    row: Row, arrays: Arrays, engines: Sequence[str]
) -> tuple[dict[str, Call], dict[str, float], dict[str, str]]:
    """The engines that give the right result, the errors of all, and why the others don't take part."""
    dtype = next(iter(arrays.values())).dtype
    right = reference(row, arrays)
    allowed = allowance(row, arrays)
    calls: dict[str, Call] = {}
    results: dict[str, tuple[float, list[Any]]] = {}
    reasons: dict[str, str] = {}
    for engine in engines:
        try:
            call = peers.prepare(engine, row, arrays)
            results[engine] = peers.numbers(call())
        except ImportError:
            reasons[engine] = "not installed"
        except NotImplementedError as why:
            reasons[engine] = str(why)
        except (GradcheckError, ValueError, TypeError, RuntimeError) as why:
            reasons[engine] = f"failed: {type(why).__name__}: {why}".split("\n", 1)[0]
        else:
            calls[engine] = call
    errors = {engine: error(found, right, arrays) / allowed for engine, found in results.items()}
    for engine, (value, gradients) in results.items():
        ours = error((value, gradients), results.get(OURS, right), arrays) / allowed
        if errors[engine] > 1 or ours > 2:
            calls.pop(engine)
            reasons[engine] = f"failed: {max(errors[engine], ours):.3g} of the error allowed"
        elif any(g.dtype != dtype for g in gradients):
            calls.pop(engine)
            reasons[engine] = f"failed: gradients are not of {dtype}"
    return calls, errors, reasons


def run_row(
    row: Row, elements: int, dtype: str, engines: Sequence[str], rounds: int, budget: float
) -> dict[str, Any]:
    """Check and time one row; what was measured, ready for JSON."""
    arrays = row.arrays(elements, dtype, np.random.default_rng(SEED))
    calls, errors, reasons = calls_of(row, arrays, engines)
    found: dict[str, Any] = {
        "row": row.name,
        "elements": elements,
        "dtype": dtype,
        "counted": row.counted,
        "shapes": {name: list(a.shape) for name, a in arrays.items()},
        "errors_over_allowance": errors,
        "reasons": reasons,
        "fastest": None,
        "ratio": None,
    }
    gc.collect()
    measured = measure(calls, rounds=rounds, budget=budget)
    found["seconds"] = {name: measured.median(name) for name in calls}
    found["shortest"] = {name: measured.best(name) for name in calls}
    found["rounds"] = measured.seconds
    found["used_by_others"] = measured.others
    found["noisy"] = measured.noisy
    rivals = [name for name in calls if name != OURS]
    if rivals and OURS in calls:
        found["fastest"] = min(rivals, key=measured.median)
        found["ratios"] = {name: measured.ratio(OURS, name) for name in rivals}
        found["ratio"] = found["ratios"][found["fastest"]]
    return found


def main() -> int:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.engine",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-k", action="append", metavar="NAME", help="rows whose name contains NAME")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="numbers of elements")
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--peers", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--budget", type=float, default=6.0, help="seconds a row, about")
    parser.add_argument(
        "--wait", type=float, default=0.0, help="seconds to wait before a row for a quiet machine"
    )
    parser.add_argument("--json", metavar="FILE", help="write everything that was measured")
    parser.add_argument(
        "--load", metavar="FILE", help="print what an earlier run wrote; run nothing"
    )
    parser.add_argument("--markdown", action="store_true", help="print tables for README.md")
    given = parser.parse_args()
    document = json.loads(Path(given.load).read_text()) if given.load else _run(given)
    if given.json:
        Path(given.json).write_text(json.dumps(document, indent=1) + "\n")
    print(report.markdown(document) if given.markdown else report.summary(document))
    return int(any(OURS not in found["seconds"] for found in document["rows"]))


def _run(given: argparse.Namespace) -> dict[str, Any]:
    engines = (OURS, *given.peers.split(","))
    unknown = set(engines) - {OURS, *PEERS}
    if unknown:
        sys.exit(f"no such peer: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    missing = set(engines) - {OURS, *peers.installed()}
    if missing:
        print(f"NOT COMPARED, not installed: {', '.join(sorted(missing))}", file=sys.stderr)
    rows = [row for row in ROWS if not given.k or any(part in row.name for part in given.k)]
    document: dict[str, Any] = {
        "command": " ".join(["python -m benchmarks.engine", *sys.argv[1:]]),
        "machine": machine.describe(),
        "versions": peers.versions(),
        "rows": [],
    }
    if not given.markdown:
        print(report.header(engines))
    for elements in map(int, given.sizes.split(",")):
        for row in rows:
            for dtype in given.dtypes.split(","):
                wait_until_quiet(given.wait)
                found = run_row(row, elements, dtype, engines, given.rounds, given.budget)
                document["rows"].append(found)
                if not given.markdown:
                    print(report.line(found, engines), flush=True)
    document["summary"] = report.figures(document["rows"])
    return document


if __name__ == "__main__":
    sys.exit(main())
