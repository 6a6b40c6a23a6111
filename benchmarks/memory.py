"""Peak memory of the large rows: how far a fresh process grows for the value and the gradients.

    python -m benchmarks.memory [-k NAME] [--elements 4000000] [--peers torch] [--json FILE]

In a process of its own, each engine imports what it needs, runs the row once at 100 elements (which loads the
code it needs), and gets its inputs. The high-water mark of the process from there on, less what the process
held at that point, is what the first call costs; then what that call and five more cost together.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import machine, peers
from benchmarks.peers import OURS
from benchmarks.portfolio import DTYPES, PEERS, ROWS, SIZES

MIB = 2.0**20
CALLS = 5


def _restart_mark() -> int:
    """Forget the highest mark so far where the system can (Linux); the mark from which growth counts."""
    # Elsewhere the mark is that of all that went before, and growth within it stays unseen.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _mark()


def _mark() -> int:
    """The high-water mark of this process, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(engine: str, name: str, elements: int, dtype: str) -> dict[str, int]:
    """What the calls cost in this process, in bytes; to be run in a fresh one."""
    row = next(row for row in ROWS if row.name == name)
    peers.prepare(engine, row, row.arrays(100, dtype, np.random.default_rng(0)))()
    call = peers.prepare(engine, row, row.arrays(elements, dtype, np.random.default_rng(0)))
    before = _restart_mark()
    call()
    first = _mark() - before
    for _ in range(CALLS):
        call()
    return {"first": first, "repeated": _mark() - before}


def _in_fresh_process(engine: str, name: str, elements: int, dtype: str) -> dict[str, int] | None:
    command = [sys.executable, "-m", "benchmarks.memory", "--measure", engine, name]
    command += ["--elements", str(elements), "--dtypes", dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"FAILED: {engine}, {name}, {dtype}: {done.stderr.strip().splitlines()[-1]}")
        return None
    found: dict[str, int] = json.loads(done.stdout)
    return found


def run_row(
    name: str, elements: int, dtype: str, engines: list[str], rounds: int
) -> dict[str, Any]:
    """The medians over fresh processes, in bytes."""
    found: dict[str, Any] = {"row": name, "elements": elements, "dtype": dtype, "bytes": {}}
    for engine in engines:
        seen = [_in_fresh_process(engine, name, elements, dtype) for _ in range(rounds)]
        told = [s for s in seen if s is not None]
        if told:
            found["bytes"][engine] = {
                kind: statistics.median(t[kind] for t in told) for kind in ("first", "repeated")
            }
    return found


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-k", action="append", metavar="NAME", help="rows whose name contains NAME")
    parser.add_argument("--elements", type=int, default=SIZES[-1])
    parser.add_argument("--dtypes", default=",".join(DTYPES))
    parser.add_argument("--peers", default="torch", help=f"of {','.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=1, help="fresh processes each")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--markdown", action="store_true", help="print a table for README.md")
    parser.add_argument("--measure", nargs=2, metavar=("ENGINE", "ROW"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        engine, name = given.measure
        print(json.dumps(measure(engine, name, given.elements, given.dtypes)))
        return
    engines = [OURS, *given.peers.split(",")]
    bar = "| " if given.markdown else ""
    heads = " ".join(f"{bar}{e + ', MiB':>15}" for e in engines)
    print(f"{bar}{'row':26} {bar}{'dtype':8} {heads} {bar}{'ratio':>6}   (first call; six calls)")
    if given.markdown:
        print(f"|---|---|{'---:|' * len(engines)}---:|")
    found: list[dict[str, Any]] = []
    for row in ROWS:
        if given.k and not any(part in row.name for part in given.k):
            continue
        able = [e for e in engines if e == OURS or not isinstance(row.of_peer(e), str)]
        for dtype in given.dtypes.split(","):
            told = run_row(row.name, given.elements, dtype, able, given.rounds)
            found.append(told)
            print(_line(told, engines, bar), flush=True)
    print("\n" + _summary(found, engines[1]))
    if given.json:
        document = {"machine": machine.describe(), "versions": peers.versions(), "rows": found}
        Path(given.json).write_text(json.dumps(document, indent=1) + "\n")


def _line(told: dict[str, Any], engines: list[str], bar: str) -> str:
    cells = []
    for engine in engines:
        used = told["bytes"].get(engine)
        text = "-" if used is None else f"{used['first'] / MIB:.1f}; {used['repeated'] / MIB:.1f}"
        cells.append(f"{bar}{text:>15}")
    ratio = _ratio(told, engines[1])
    text = "-" if ratio is None else f"{ratio:.2f}"
    return f"{bar}{told['row']:26} {bar}{told['dtype']:8} {' '.join(cells)} {bar}{text:>6}"


def _ratio(told: dict[str, Any], peer: str) -> float | None:
    """Ours over the peer's, the worse of the first call and of all."""
    used = told["bytes"]
    if OURS not in used or peer not in used:
        return None
    return float(max(used[OURS][kind] / max(used[peer][kind], 1) for kind in used[OURS]))


def _summary(found: list[dict[str, Any]], peer: str) -> str:
    ratios = {f"{t['row']}, {t['dtype']}": _ratio(t, peer) for t in found}
    above = [f"{name} ({r:.2f})" for name, r in ratios.items() if r is not None and r > 1]
    failed = [name for name, r in ratios.items() if r is None]
    met = not above and not failed
    text = f"{'met    ' if met else 'NOT MET'} peak memory no more than {peer}'s"
    return (
        text
        + (f"; above: {', '.join(above)}" if above else "")
        + (f"; not measured: {', '.join(failed)}" if failed else "")
    )


if __name__ == "__main__":
    main()
