"""Two thousand checks by one process and by several: the same outcomes, then the times.

    python -m benchmarks.parallel [--jobs 2] [--repeat 5] [FILES...]

The checks are those of `specs/` and `docs/textbook/`, each with several seeds. `command` is the whole of
`gradcheck compare` with a JSON report, from start to end; `execute` is the run alone, in a process that has
read the files and imported everything: for one job in that process, for several from the start of the first
worker (whose import of PyTorch is in it) to the last outcome. Before a time counts, the reports of both are
held against each other: every check's verdict, every method's on each gradient, every diagnosis and repair.
Not the last bits: PyTorch adds in another order where it has fewer threads, as in one of several workers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.machine import describe

ROOT = Path(__file__).parent.parent
FILES = [str(ROOT / "specs"), str(ROOT / "docs" / "textbook")]

_EXECUTE = """
import json, sys, time
from dataclasses import replace
from gradcheck_cli.report.json_report import report
from gradcheck_cli.suite.selection.collect import collect
from gradcheck_cli.suite.workers.execute import Execution, execute, modules, need_torch
from gradcheck_cli.suite.settings import Settings

jobs, repeat, written, *files = sys.argv[1:]
jobs = int(jobs)
found = collect(files).checks
checks = [
    replace(check, seed=check.seed + more, id=f"{check.id}#{more}")
    for check in found for more in range(int(repeat))
]
if jobs == 1:
    import importlib
    for name in modules(torch=need_torch(checks)):
        importlib.import_module(name)
if __name__ == "__main__":
    start = time.perf_counter()
    outcomes = dict(execute(checks, Execution(jobs), Settings()))
    seconds = time.perf_counter() - start
    with open(written, "w") as file:
        json.dump(report([outcomes[n] for n in range(len(checks))], seconds, 0), file)
    print(seconds)
"""


def verdict(check: dict[str, Any]) -> Any:
    """What a check of a report says of each gradient and method, without times and the last bits."""
    methods = [
        (gradient["input"], gradient["derived"], method["method"], method["status"])
        for gradient in check["gradients"]
        for method in gradient["methods"]
    ]
    found = [(d["code"], d["input"], d["method"], d["fix"]) for d in check["diagnoses"]]
    return check["id"], check["status"], check["error"], methods, found


def differences(one: Any, other: Any) -> list[str]:
    """The ids of the checks whose outcomes differ."""
    pairs = zip(one["checks"], other["checks"], strict=True)
    return [a["id"] for a, b in pairs if verdict(a) != verdict(b)]


def _command(jobs: int, repeat: int, files: list[str], written: Path) -> float:
    words = [sys.executable, "-m", "gradcheck_cli", "compare", "-q", *files]
    more = ["--repeat", str(repeat), "--jobs", str(jobs), "--json", str(written)]
    start = time.perf_counter()
    # Some of the checks are of known mistakes: what matters is that both end alike, which the reports tell.
    subprocess.run([*words, *more], check=False, capture_output=True)
    return time.perf_counter() - start


def _execute(jobs: int, repeat: int, files: list[str], written: Path) -> float:
    words = [sys.executable, "-c", _EXECUTE, str(jobs), str(repeat), str(written), *files]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def main() -> int:
    """Run the comparison and print it; 1 where outcomes differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", default=FILES)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5, help="seeds for each check")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    print(describe())
    for name, run in (("execute", _execute), ("command", _command)):
        ratios, seconds = [], []
        for _ in range(given.rounds):
            with tempfile.TemporaryDirectory() as folder:
                paths = [Path(folder) / "one.json", Path(folder) / "several.json"]
                pair = [
                    run(jobs, given.repeat, given.files, path)
                    for jobs, path in zip((1, given.jobs), paths, strict=True)
                ]
                one, several = (json.loads(path.read_text()) for path in paths)
                differing = differences(one, several)
                if differing:
                    print(f"{len(differing)} checks end otherwise with several jobs:", *differing)
                    return 1
            seconds.append(pair)
            ratios.append(pair[0] / pair[1])
        total = len(one["checks"])
        times = [statistics.median(pair[n] for pair in seconds) for n in (0, 1)]
        print(
            f"{name:8} {total:,} checks: {times[0]:.1f} s by one, {times[1]:.1f} s by {given.jobs}: "
            f"{statistics.median(ratios):.2f} times as fast"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
