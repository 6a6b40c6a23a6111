"""A thousand small checks: all five methods against torch.autograd.gradcheck alone.

    python -m benchmarks.small_checks [--checks 1000] [--rows 3] [--columns 8]

Ours is the whole command (parsing the file, drawing inputs, five methods, verdict, report) less its
start-up, measured as the same command on one check. The peer is `torch.autograd.gradcheck` with its defaults
on the same expressions and inputs, in its own process, timed around the calls only. The two are run in turn.
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

from benchmarks.templates import spec_text

_PEER = """
import sys, time
import torch
import torch.nn.functional as F
from gradcheck_cli.spec.load import load_file
from gradcheck_cli.spec.sample import sample

checks = load_file(sys.argv[1])
torch.set_default_dtype(torch.float64)
jobs = []
for check in checks:
    tensors = {name: torch.tensor(array) for name, array in sample(check).items()}
    checked = [tensors[name].requires_grad_() for name in check.wrt]
    names = {"torch": torch, "F": F, "sigmoid": torch.sigmoid, "softmax": torch.softmax, **tensors}
    function = eval(f"lambda {', '.join(check.wrt)}: {check.expression.text}", names)
    jobs.append((function, checked))
function, checked = jobs[0]
torch.autograd.gradcheck(function, checked)
start = time.perf_counter()
for function, checked in jobs:
    assert torch.autograd.gradcheck(function, checked)
print(time.perf_counter() - start)
"""


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checks", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=3)
    parser.add_argument("--columns", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        many, one = Path(folder) / "many.yaml", Path(folder) / "one.yaml"
        many.write_text(spec_text(given.checks, given.rows, given.columns))
        one.write_text(spec_text(1, given.rows, given.columns))
        command = [sys.executable, "-m", "gradcheck_cli", "compare", "-q"]
        report = Path(folder) / "report.json"
        subprocess.run([*command, str(many), "--json", str(report)], check=True)
        summary = json.loads(report.read_text())["summary"]
        assert summary["passed"] == given.checks, summary
        ours, peer = [], []
        for _ in range(given.rounds):
            ours.append(_timed([*command, str(many)]) - _timed([*command, str(one)]))
            run = [sys.executable, "-c", _PEER, str(many)]
            peer.append(
                float(subprocess.run(run, check=True, capture_output=True, text=True).stdout)
            )
    elements = given.rows * given.columns
    ratio = statistics.median(o / p for o, p in zip(ours, peer, strict=True))
    print(f"{given.checks} checks of {elements} elements, medians of {given.rounds}")
    print(f"gradcheck compare, five methods  {statistics.median(ours):8.2f} s")
    print(f"torch.autograd.gradcheck alone   {statistics.median(peer):8.2f} s")
    print(f"ratio                            {ratio:8.2f}")


if __name__ == "__main__":
    main()
