"""`gradcheck ops`: the list, its filters, and the pages."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import gradcheck_cli.ops  # noqa: F401 -- fills the table
from gradcheck_cli.errors import ExitCode
from gradcheck_cli.graph import TABLE
from gradcheck_cli.ops.domains import DOMAINS, entries

if TYPE_CHECKING:
    from tests.cli.conftest import Command

KNOWN = len(entries())


def names(out: str) -> list[str]:
    """What a list lists: the lines that are indented by two, up to the first parenthesis."""
    lines = [line[2:] for line in out.splitlines() if line[:2] == "  " and line[2:3] != " "]
    return [line.partition("(")[0].split(" ")[0] for line in lines]


def test_the_list_has_every_operator_once(gradcheck: Command) -> None:
    result = gradcheck("ops")
    assert result.code == ExitCode.PASSED
    assert names(result.out) == [entry.name for entry in entries()]
    assert result.out.splitlines()[-1].startswith(f"{KNOWN} operators")
    titles = [line for line in result.out.splitlines() if line and line[0] != " "][:-1]
    assert titles == [f"{domain.name}  {domain.title}" for domain in DOMAINS]


def test_searching(gradcheck: Command) -> None:
    assert "arccos" not in gradcheck("ops").out
    assert names(gradcheck("ops", "-s", "arccos").out) == ["acos", "acosh"]
    found = names(gradcheck("ops", "--search", "Batch Normalisation").out)
    assert found == ["batch_norm", "native_batch_norm"]


def test_nothing_found(gradcheck: Command) -> None:
    result = gradcheck("ops", "-s", "no such operator")
    assert (result.code, result.out) == (ExitCode.NOTHING_SELECTED, "")
    assert f"none of the {KNOWN} operators" in result.err
    assert json.loads(gradcheck("ops", "-s", "no such operator", "--json").out) == []


def test_domains(gradcheck: Command) -> None:
    out = gradcheck("ops", "--domain", "linalg,loss").out
    assert [line.split()[0] for line in out.splitlines() if line and line[0] != " "][:2] == [
        "linalg",
        "loss",
    ]
    assert "cholesky" in names(out)
    assert "exp" not in names(out)
    result = gradcheck("ops", "--domain", "linalgg")
    assert result.code == ExitCode.USAGE
    assert "did you mean `linalg`?" in result.err


def test_filters_of_what_is_not_smooth(gradcheck: Command) -> None:
    found = names(gradcheck("ops", "--kinks", "--domain", "elementwise,loss").out)
    assert {"abs", "clamp", "l1_loss"} <= set(found)
    assert not {"exp", "add", "mse_loss"} & set(found)
    found = names(gradcheck("ops", "--no-gradient").out)
    assert {"argmax", "lt", "isnan"} <= set(found)
    assert not {"exp", "l1_loss", "max"} & set(found)


@pytest.mark.parametrize("filters", [["-s", "x"], ["--domain", "fft"], ["--kinks"]])
def test_a_name_goes_without_filters(gradcheck: Command, filters: list[str]) -> None:
    result = gradcheck("ops", "exp", *filters)
    assert result.code == ExitCode.USAGE
    assert "-s exp" in result.err


@pytest.mark.parametrize("name", ["softmax", "torch.softmax", "Tensor.softmax", "F.softmax"])
def test_a_page_by_any_spelling(gradcheck: Command, name: str) -> None:
    result = gradcheck("ops", name)
    assert result.code == ExitCode.PASSED
    assert "softmax(input: Tensor, dim: int" in result.out
    assert "torch.softmax, Tensor.softmax, F.softmax" in " ".join(result.out.split())
    assert "d/d input = out * (grad - " in result.out


def test_operators_of_the_same_name_elsewhere_are_pointed_to(gradcheck: Command) -> None:
    out = gradcheck("ops", "norm").out
    assert out.startswith("norm  reduction")
    assert "torch.linalg.norm" in out.splitlines()[-1]
    assert gradcheck("ops", "torch.linalg.norm").out.startswith("torch.linalg.norm  linalg")


def test_every_record_leads_to_a_page(gradcheck: Command) -> None:
    # All pages are written in tests/report; here it is the way to them, for a few dozen.
    for name in list(TABLE.by_name)[::25]:
        result = gradcheck("ops", name)
        assert result.code == ExitCode.PASSED, name


def test_json(gradcheck: Command) -> None:
    listed = json.loads(gradcheck("ops", "--json", "--domain", "special").out)
    assert {op["domain"] for op in listed} == {"special"}
    assert all(op["spellings"] and op["signatures"] and op["doc"] for op in listed)
    (page,) = json.loads(gradcheck("ops", "clamp", "--json").out)
    assert page["has_kinks"]
    (form,) = page["forms"]
    assert form["derivative"][""]["input"] == "where((input >= min) & (input <= max), grad, 0.0)"
    assert form["kinks"] == ["input = min", "input = max"]
    assert form["example"]["inputs"] == {"x": [3, 4]}
