"""`python -m conformance [NAME ...] [--write]`."""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatch

from conformance.table import Row, render, row, write


def main() -> None:
    """Compare, print what is wrong, and write the table if asked to."""
    parser = argparse.ArgumentParser(prog="python -m conformance", description=__doc__)
    parser.add_argument("names", nargs="*", help="operators: linalg.qr, or a pattern: fft.*")
    parser.add_argument("--write", action="store_true", help="write the table; takes all operators")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes")
    parser.add_argument("-m", "--most", type=int, default=5, help="reasons printed per operator")
    given = parser.parse_args()
    from conformance.database import entries

    everything = [entry.name for entry in entries()]
    patterns = given.names or ["*"]
    # A variant goes with its operator: `linalg.norm` also means linalg.norm.subgradients_at_zero.
    names = [
        name
        for name in everything
        if any(fnmatch(name, p) or name.startswith(f"{p}.") for p in patterns)
    ]
    rows: list[Row] = []
    if given.jobs > 1:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        with ProcessPoolExecutor(given.jobs) as pool:
            for done in pool.map(row, names, chunksize=8):
                rows.append(done)
                print(done.line(given.most), flush=True)
    else:
        for name in names:
            rows.append(row(name))
            print(rows[-1].line(given.most), flush=True)
    print(render(rows).partition("\n\n|")[0])
    if given.write:
        write(rows)


if __name__ == "__main__":
    main()
