"""Every operator stands in one domain, and people find it by the names that it has."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

import gradcheck_cli.ops
from gradcheck_cli.graph import TABLE
from gradcheck_cli.ops.domains import DOMAINS, Entry, entries

FILES = [file for domain in DOMAINS for file in domain.files]
ENTRIES = entries()


def named(name: str) -> Entry:
    (found,) = [entry for entry in ENTRIES if entry.name == name]
    return found


def test_every_file_of_records_stands_in_one_domain() -> None:
    folder = Path(gradcheck_cli.ops.__file__).parent
    with_records = {
        path.stem
        for path in folder.glob("[!_]*.py")
        if "register(\n" in path.read_text(encoding="utf-8")
    }
    assert not with_records - set(FILES), "add them to their domain in ops/domains.py"
    assert [file for file, count in Counter(FILES).items() if count > 1] == []
    assert len({domain.name for domain in DOMAINS}) == len(DOMAINS)


def test_records_know_their_file() -> None:
    assert {op.file for op in TABLE.by_name.values()} <= set(FILES)
    # Registered by functions that stand elsewhere.
    for name, file in (("relu", "piecewise"), ("sin", "functions"), ("erf", "special")):
        assert TABLE.by_name[name].file == file


def test_every_record_is_listed_once() -> None:
    listed = [op.name for entry in ENTRIES for op in entry.records]
    assert sorted(listed) == sorted(TABLE.by_name)
    order = [DOMAINS.index(entry.domain) for entry in ENTRIES]
    assert order == sorted(order)


def test_overloads_are_one_operator() -> None:
    assert [op.name for op in named("max").records] == ["max", "max.dim", "max.other"]
    assert [op.name for op in named("elu").records] == ["elu", "elu.inplace"]


@pytest.mark.parametrize(
    ("record", "name"),
    [
        ("sum", "sum"),
        ("view", "x.view"),
        ("linalg_norm", "torch.linalg.norm"),
        ("T", "x.T"),
        ("index", "x[...]"),
        ("batch_norm.torch", "batch_norm"),
    ],
)
def test_the_name_is_the_shortest_that_means_it(record: str, name: str) -> None:
    (entry,) = [e for e in ENTRIES if TABLE.by_name[record] in e.records]
    assert entry.name == name


@pytest.mark.parametrize(
    "name",
    ["softmax", "torch.softmax", "Tensor.softmax", "F.softmax", "torch.nn.functional.softmax"],
)
def test_every_spelling_is_an_answer(name: str) -> None:
    assert named("softmax").answers_to(name)
    assert not named("softmin").answers_to(name)


def test_symbols_and_overloads_are_answers() -> None:
    assert named("matmul").answers_to("@")
    assert named("max").answers_to("max.dim")
    assert named("abs").answers_to("absolute")


def test_searching_looks_at_names_signatures_and_sentences() -> None:
    assert named("log1p").mentions("exact SMALL")
    assert named("conv1d").mentions("dilation")
    assert named("acos").mentions("arccos")
    assert not named("acos").mentions("arccos cosecant")
