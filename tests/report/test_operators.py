"""How operators are written about: golden pages, and every page at any width."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli.calculus.document import document, example
from gradcheck_cli.errors import cells
from gradcheck_cli.graph import TABLE
from gradcheck_cli.ops.domains import Entry, entries
from gradcheck_cli.report.operators import Form, as_json, op_list, op_page, see_also, signature
from gradcheck_cli.report.terminal import Terminal

if TYPE_CHECKING:
    from tests.report.conftest import Golden

ENTRIES = {entry.name: entry for entry in entries()}


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")


def page(entry: Entry, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict", newline="\n")
    forms = [Form(op, document(op), example(op)) for op in entry.records]
    op_page(Terminal(stream), entry, forms)
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    "name",
    ["sin", "clamp", "softmax", "sort", "lstm_cell", "l1_loss", "dropout1d", "rms_norm", "x.T"],
)
def test_pages_are_the_golden_ones(name: str, golden: Golden) -> None:
    golden(f"ops_{name.replace('x.', '')}.txt", page(ENTRIES[name]))


def test_every_page_is_plain_text_whatever_the_terminal_can_show() -> None:
    for entry in ENTRIES.values():
        text = page(entry, "ascii")
        assert text.startswith(f"{entry.name}  {entry.domain.name}\n")
        assert text.count("complex step") + text.count("no gradient flows") >= 1, entry.name


def test_prose_and_signatures_keep_to_the_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = page(ENTRIES["conv1d"])
    head, _, rest = text.partition("    derivative")
    assert rest
    assert all(cells(line) <= 60 for line in head.splitlines())
    assert "dilation: ints = 1" in head


def test_the_list_at_a_narrow_terminal(golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = io.StringIO()
    chosen = [ENTRIES[name] for name in ("add", "x.view", "conv1d", "binary_cross_entropy")]
    op_list(Terminal(stream), chosen, len(ENTRIES))
    text = stream.getvalue().replace(f"of {len(ENTRIES)} operators", "of N operators")
    golden("ops_list.txt", text)


def test_signatures_have_types_defaults_and_results() -> None:
    assert signature(TABLE.by_name["exp"]) == "exp(input: Tensor)"
    assert signature(TABLE.by_name["sort"]) == (
        "sort(input: Tensor, dim: int = -1, descending: bool = False) -> (values, indices)"
    )
    assert "stride: ints = 1" in signature(TABLE.by_name["conv1d"])
    assert "*size: shape" in signature(TABLE.by_name["expand"])
    assert "normalized_shape: shape, weight" in signature(TABLE.by_name["layer_norm"])


def test_seeing_also() -> None:
    stream = io.StringIO()
    see_also(Terminal(stream), [])
    assert stream.getvalue() == ""
    see_also(Terminal(stream), [ENTRIES["torch.linalg.norm"]])
    assert stream.getvalue() == "\nsee also torch.linalg.norm\n"


def test_a_listed_operator_as_json() -> None:
    found = as_json(ENTRIES["x.T"], gradient=True, kinks=False)
    assert found["spellings"] == ["Tensor.T"]
    assert found["signatures"] == ["x.T"]
    assert "forms" not in found
