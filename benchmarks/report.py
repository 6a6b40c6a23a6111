"""What the engine benchmark prints: the table, its means, and which of the aims are met."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from benchmarks.peers import OURS
from benchmarks.portfolio import PEERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AIM_MEAN = 1.0  # of (ours / fastest peer), geometric
AIM_WORST = 1.5
AIM_BEATEN = 2.0  # times, in geometric mean
BEATEN = ("torch", "autograd", "mygrad")
_ROW, _CELL = 26, 11


def mean(ratios: Iterable[float]) -> float | None:
    """The geometric mean; None of nothing.

    >>> mean([0.5, 2.0])
    1.0
    """
    logs = [math.log(r) for r in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else None


def milliseconds(seconds: float) -> str:
    """Three significant digits, in milliseconds.

    >>> [milliseconds(s) for s in (1.5e-5, 0.0123, 2.0)]
    ['0.0150', '12.3', '2000']
    """
    ms = seconds * 1e3
    digits = 2 - math.floor(math.log10(ms)) if ms > 0 else 0
    return f"{ms:.{max(0, min(digits, 4))}f}"


def _size(elements: int) -> str:
    return f"{elements:.0e}".replace("e+0", "e").replace("e+", "e")


def header(engines: Sequence[str]) -> str:
    """The heads of the columns."""
    cells = "".join(f"{name:>{_CELL}}" for name in engines)
    return (
        "times in milliseconds\n"
        f"{'row':{_ROW}}{'elements':>9} {'dtype':8}{cells}{'ratio':>7}  fastest peer"
    )


def line(found: dict[str, Any], engines: Sequence[str]) -> str:
    """A row of the table."""
    seconds = found["seconds"]
    cells = "".join(
        f"{milliseconds(seconds[e]) if e in seconds else _absent(found, e):>{_CELL}}"
        for e in engines
    )
    ratio = "" if found["ratio"] is None else f"{found['ratio']:.2f}"
    noisy = "  (busy machine)" if found["noisy"] else ""
    size = _size(found["elements"])
    fastest = found["fastest"] or ""
    return f"{found['row']:{_ROW}}{size:>9} {found['dtype']:8}{cells}{ratio:>7}  {fastest}{noisy}"


def _absent(found: dict[str, Any], engine: str) -> str:
    return "FAILED" if found["reasons"].get(engine, "").startswith("failed") else "-"


def figures(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The means over the rows, and the worst of them."""
    told = [r for r in rows if r["ratio"] is not None]
    groups = sorted({(r["elements"], r["dtype"]) for r in told})
    return {
        "rows": len(rows),
        "without_ratio": [_name(r) for r in rows if r["ratio"] is None],
        "fastest_peer": mean(r["ratio"] for r in told),
        "peers": {
            peer: mean(r["ratios"][peer] for r in told if peer in r["ratios"])
            for peer in PEERS
            if any(peer in r["ratios"] for r in told)
        },
        "groups": {
            f"{_size(elements)} {dtype}": mean(
                r["ratio"] for r in told if (r["elements"], r["dtype"]) == (elements, dtype)
            )
            for elements, dtype in groups
        },
        "worst": [
            {"row": _name(r), "ratio": r["ratio"], "fastest": r["fastest"]}
            for r in sorted(told, key=lambda r: -r["ratio"])[:10]
        ],
        "above": sum(r["ratio"] > AIM_WORST for r in told),
        "noisy": sum(r["noisy"] for r in rows),
    }


def _name(found: dict[str, Any]) -> str:
    return f"{found['row']}, {_size(found['elements'])}, {found['dtype']}"


def aims(summary: dict[str, Any]) -> list[tuple[str, bool]]:
    """Each aim with its figure, and whether it is met."""
    if summary["fastest_peer"] is None:
        return [("no row has our time and a peer's", False)]
    worst = summary["worst"][0]["ratio"]
    listed = [
        (
            f"ours / fastest peer, geometric mean: {summary['fastest_peer']:.3f} (at most {AIM_MEAN})",
            summary["fastest_peer"] <= AIM_MEAN and not summary["without_ratio"],
        ),
        (
            f"ours / fastest peer, worst row: {worst:.2f} (at most {AIM_WORST}; above: {summary['above']})",
            worst <= AIM_WORST and not summary["without_ratio"],
        ),
    ]
    for peer in BEATEN:
        if peer in summary["peers"]:
            times = 1 / summary["peers"][peer]
            text = f"faster than {peer}, geometric mean: {times:.2f} times (at least {AIM_BEATEN})"
            listed.append((text, times >= AIM_BEATEN))
    return listed


def summary(document: dict[str, Any]) -> str:
    """What follows the table: reasons, means, the worst rows, the aims."""
    told = document["summary"]
    lines = ["", document["machine"], _versions(document), ""]
    lines += _reasons(document["rows"])
    lines += ["", "ours / fastest peer, geometric means:"]
    lines += [f"  {group:18} {value:.3f}" for group, value in told["groups"].items()]
    lines += ["ours / each peer, geometric means:"]
    lines += [f"  {peer:18} {value:.3f}" for peer, value in told["peers"].items()]
    lines += ["worst rows:"]
    lines += [f"  {w['ratio']:6.2f} of {w['fastest']:9} {w['row']}" for w in told["worst"]]
    lines += ["", *(f"{'met    ' if met else 'NOT MET'} {text}" for text, met in aims(told))]
    if told["noisy"]:
        lines += [f"NOT TO BE QUOTED: others used the machine during {told['noisy']} rows"]
    return "\n".join(lines)


def _versions(document: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in document["versions"].items())


def _reasons(rows: list[dict[str, Any]]) -> list[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for engine, reason in row["reasons"].items():
            where = found.setdefault((engine, reason), [])
            if row["row"] not in where:
                where.append(row["row"])
    return [f"{e}: {', '.join(where)}: {reason}" for (e, reason), where in found.items()]


def markdown(document: dict[str, Any]) -> str:
    """The tables of README.md."""
    engines = [e for e in (OURS, *PEERS) if any(e in r["seconds"] for r in document["rows"])]
    told = document["summary"]
    lines = [
        f"{document['machine']}; {_versions(document)}.",
        "",
        f"| row | elements | dtype | {' | '.join(engines)} | ratio | fastest peer |",
        f"|---|---|---|{'---:|' * len(engines)}---:|---|",
    ]
    for r in document["rows"]:
        cells = [milliseconds(r["seconds"][e]) if e in r["seconds"] else "-" for e in engines]
        ratio = "-" if r["ratio"] is None else f"{r['ratio']:.2f}"
        lines.append(
            f"| {r['row']} | {_size(r['elements'])} | {r['dtype']} | {' | '.join(cells)}"
            f" | {ratio} | {r['fastest'] or '-'} |"
        )
    lines += ["", *(f"- {reason}" for reason in _reasons(document["rows"]))]
    lines += ["", "| geometric means of ours / ... | |", "|---|---:|"]
    lines += [f"| fastest peer, {group} | {value:.2f} |" for group, value in told["groups"].items()]
    lines += [f"| {peer}, all rows | {value:.2f} |" for peer, value in told["peers"].items()]
    lines += ["", "| aim | |", "|---|---|"]
    lines += [f"| {text} | {'met' if met else 'not met'} |" for text, met in aims(told)]
    return "\n".join(lines)
