"""PyTorch's operator database against the table in `conformance/`: one item per operator.

By default a few samples of each; `pytest -m slow tests/test_conformance.py` takes all.
"""

from __future__ import annotations

import re
import sys
import warnings
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))  # no part of the installed package

from conformance import refused, table
from conformance.compare import compare

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = table.read()
TAKEN = 3
# Samples are drawn one after the other: how far into an operator's thousand the few are looked for.
FURTHEST = 40


@pytest.fixture(autouse=True)
def _float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what PyTorch advises its own developers
        yield
    torch.set_default_dtype(before)


def test_the_table_has_a_row_for_every_entry() -> None:
    assert [row.name for row in ROWS] == sorted(table.by_name(), key=str.lower)


def test_the_table_counts_what_its_head_says() -> None:
    assert table.render(ROWS) == table.PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_few_samples(row: table.Row) -> None:
    entry = table.by_name()[row.name]
    if row.scope is not None:
        assert entry.out_of_scope() == row.scope
        return
    samples = list(islice(entry.samples(), FURTHEST))
    step = max(1, -(-len(samples) // TAKEN))
    found = table.Row(row.name)
    for sample in samples[::step]:
        if not entry.is_random(sample):
            found.add(compare(entry, sample))
    assert row.reasons or not found.reasons, found.line()


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_sample(row: table.Row) -> None:
    found = table.row(row.name)
    assert (found.scope, found.samples, found.random) == (row.scope, row.samples, row.random)
    assert (found.tried, found.right) == (row.tried, row.right), found.line()


def test_what_pytorch_refuses_is_refused_and_the_message_says_what_is_wrong() -> None:
    inside = [row.name for row in ROWS if row.scope is None]
    calls = list(refused.refusals(inside[::2]))
    assert len(calls) >= 100
    for call in calls:
        assert call.ours is not None, (
            f"gradcheck takes {call.text} with {call.inputs}: {call.theirs}"
        )
        # It speaks of this call: of its function, an argument, a size or a dtype.
        said = re.findall(r"[A-Za-z]{3,}|\d+", f"{call.text} {call.inputs}")
        assert any(word in call.ours for word in said), f"{call.text}: {call.ours}"
