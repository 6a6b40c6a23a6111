"""Start-up: whole-process time of commands over that of `python -c "import torch"`, paired.

    python -m benchmarks.startup [--rounds 11]

Each round runs every command once, in turn, so that a busy machine slows all alike; the ratio is taken
within a round, and the median over rounds is printed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

SPECS = Path(__file__).parent.parent / "specs"
SPEC = str(SPECS / "sum_of_squared_errors.yaml")
ATTENTION = str(SPECS / "layers" / "attention.yaml")
GRADCHECK = [sys.executable, "-m", "gradcheck_cli"]
COMMANDS = {
    "import torch": [sys.executable, "-c", "import torch"],
    "compare": [*GRADCHECK, "compare", SPEC],
    "compare without torch": [
        *GRADCHECK,
        "compare",
        SPEC,
        "--methods",
        "engine,manual,derived,numeric",
    ],
    "validate": [*GRADCHECK, "validate", SPEC],
    "derive": [*GRADCHECK, "derive", SPEC],
    "derive, attention": [*GRADCHECK, "derive", ATTENTION],
    "derive, shapes guessed": [*GRADCHECK, "derive", "(predicted - real).pow(2).sum()"],
    "ops": [*GRADCHECK, "ops"],
    "--help": [*GRADCHECK, "--help"],
}


def _timed(command: list[str]) -> float:
    start = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    elapsed = time.perf_counter() - start
    assert done.returncode == 0, command
    return elapsed


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    rounds = parser.parse_args().rounds
    for command in COMMANDS.values():
        _timed(command)
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, command in COMMANDS.items():
            times[name].append(_timed(command))
    base = times["import torch"]
    for name, taken in times.items():
        ratio = statistics.median(t / b for t, b in zip(taken, base, strict=True))
        print(f"{name:24} {statistics.median(taken):7.3f} s   {ratio:5.2f} of import torch")


if __name__ == "__main__":
    main()
