"""The table of what is covered: one row per entry of the database, those left out included."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import torch

from conformance.compare import Outcome, compare
from conformance.database import THEIRS, Entry, entries
from conformance.refused import Refusal, refusals

PAGE = Path(__file__).parent / "README.md"
REFUSALS = Path(__file__).parent / "REFUSED.md"
RESULTS = Path(__file__).parent / "results.jsonl"
_HEAD = """# Conformance with PyTorch's operator database

Written by `python -m conformance --write`; every sample that PyTorch's developers test an operator on,
turned into an expression of gradcheck's language, and the engine's value, gradient and gradient of the
gradient compared with PyTorch's in float64. *Samples* is how many were tried; the other columns say how
many of them are right, out of those that PyTorch itself has a value or a derivative for.
"""


ORDERS = ("value", "first", "second")


@dataclass
class Row:
    """One entry of the database."""

    name: str
    scope: str | None = None
    samples: int = 0
    random: int = 0
    right: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ORDERS, 0))
    tried: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ORDERS, 0))
    reasons: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)

    def passes(self, *orders: str) -> bool:
        """Whether every sample is right in these."""
        return self.scope is None and all(self.right[o] == self.tried[o] for o in orders)

    @property
    def reason(self) -> str:
        """Why something is missing, the most frequent first."""
        if self.scope:
            return self.scope
        drawn = [f"{self.random} more are random"] * bool(self.random)
        known = [THEIRS[self.name]] if self.name in THEIRS and self.reasons else []
        return "; ".join([*known, *self.most_common(2), *drawn])

    def most_common(self, count: int) -> list[str]:
        """What is wrong, the most frequent first."""
        return sorted(self.reasons, key=lambda reason: -self.reasons[reason])[:count]

    def add(self, outcome: Outcome) -> None:
        """Count one sample."""
        self.samples += 1
        there = {"value": True, "first": outcome.has_first, "second": outcome.has_second}
        for order in ORDERS:
            wrong = getattr(outcome, order)
            self.tried[order] += there[order]
            self.right[order] += there[order] and wrong is None
        for wrong in dict.fromkeys(filter(None, (outcome.value, outcome.first, outcome.second))):
            self.reasons[wrong] = self.reasons.get(wrong, 0) + 1
            self.examples.setdefault(wrong, outcome.text)

    def line(self, most: int = 5) -> str:
        """For the terminal."""
        if self.scope:
            return f"-    {self.name}: {self.scope}"
        mark = "ok  " if self.passes(*ORDERS) else "BAD "
        counts = " ".join(f"{o} {self.right[o]}/{self.tried[o]}" for o in ORDERS)
        more = "".join(
            f"\n     {self.reasons[reason]}x {reason}   [{self.examples[reason]}]"
            for reason in self.most_common(most)
        )
        return f"{mark} {self.name}: {self.samples} samples, {counts}{more}"


@cache
def by_name() -> dict[str, Entry]:
    """The entries by name."""
    return {entry.name: entry for entry in entries()}


def row(name: str) -> Row:
    """All samples of one entry compared."""
    torch.set_default_dtype(torch.float64)
    entry = by_name()[name]
    made = Row(name, scope=entry.out_of_scope())
    if made.scope is None:
        for sample in entry.samples():
            if entry.is_random(sample):
                made.random += 1
            else:
                made.add(compare(entry, sample))
    return made


def render(rows: list[Row]) -> str:
    """The page."""
    inside = [row for row in rows if row.scope is None]
    outside = Counter(row.scope.partition(":")[0] for row in rows if row.scope)
    left = ", ".join(f"{count} {scope}" for scope, count in sorted(outside.items()))
    first = sum(row.passes("value", "first") for row in inside)
    twice = [row for row in inside if row.tried["second"]]
    second = sum(row.passes("second") for row in twice)
    lines = [
        _HEAD,
        f"PyTorch {torch.__version__.partition('+')[0]}: {len(rows)} differentiable entries with real",
        f"inputs, variants counted; {len(rows) - len(inside)} out of scope ({left or 'none'}),",
        f"{len(inside)} in scope.",
        f"**{first} of {len(inside)}** have every sample right in value and gradient,",
        f"**{second} of the {len(twice)}** that PyTorch differentiates twice also in the second derivative;",
        f"{sum(row.samples for row in inside)} samples. [What PyTorch refuses](REFUSED.md) is refused.",
        "",
        "| operator | samples | value | gradient | second | missing because |",
        "|---|--:|--:|--:|--:|---|",
    ]
    for row in sorted(rows, key=lambda row: row.name.lower()):
        cells = [f"{row.right[o]}/{row.tried[o]}" if row.tried[o] else "" for o in ORDERS]
        reason = row.reason.replace("|", "\\|")
        lines.append(f"| {row.name} | {row.samples or ''} | {' | '.join(cells)} | {reason} |")
    return "\n".join(lines) + "\n"


def write(rows: list[Row]) -> None:
    """Replace what is committed: the results, and the pages for people."""
    rows = sorted(rows, key=lambda row: row.name.lower())
    lines = [json.dumps(asdict(row)) for row in rows]
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    PAGE.write_text(render(rows), encoding="utf-8")
    calls = list(refusals(row.name for row in rows if row.scope is None))
    REFUSALS.write_text(render_refusals(calls), encoding="utf-8")


def read() -> list[Row]:
    """What is committed."""
    return [Row(**json.loads(line)) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


_REFUSED_HEAD = """# Calls that PyTorch refuses

Written by `python -m conformance --write`, from the database's own list of what its operators refuse: the
first line of PyTorch's message, and what gradcheck says (in an error of the spec file, with the place in the
expression; after the dash, how to fix it).
"""


def render_refusals(calls: list[Refusal]) -> str:
    """The page of refused calls."""
    refused = sum(call.ours is not None for call in calls)
    lines = [
        _REFUSED_HEAD,
        f"**{refused} of {len(calls)}** calls are refused by gradcheck too.",
        "",
    ]
    for call in calls:
        given = f"  with {call.inputs}" if call.inputs else ""
        ours = (
            "takes it"
            if call.ours is None
            else call.ours + (f" -- {call.hint}" if call.hint else "")
        )
        lines += [
            f"- `{call.text}`{given}",
            f"  - PyTorch: {call.theirs}",
            f"  - gradcheck: {ours}",
        ]
    return "\n".join(lines) + "\n"
