"""The benchmarks' portfolio: every row gives what PyTorch and the other peers give, at its smallest size."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(
    0, str(Path(__file__).parent.parent)
)  # benchmarks are no part of the installed package

from benchmarks import cold, engine, large, memory, parallel, peers, report, scaling, timing
from benchmarks.peers import OURS
from benchmarks.portfolio import DTYPES, PEERS, ROWS, Row

SMALLEST = 100
IDS = [row.name for row in ROWS]


def drawn(row: Row, dtype: str) -> dict[str, Any]:
    return row.arrays(SMALLEST, dtype, np.random.default_rng(engine.SEED))


def test_the_portfolio_has_what_the_readme_lists() -> None:
    assert len(set(IDS)) == len(ROWS) >= 12
    for row in ROWS:
        assert set(row.wrt) <= set(drawn(row, "float64"))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_our_result_is_pytorch_s(row: Row, dtype: str) -> None:
    arrays = drawn(row, dtype)
    ours = peers.numbers(peers.prepare(OURS, row, arrays)())
    assert engine.error(ours, engine.reference(row, arrays), arrays) <= engine.allowance(
        row, arrays
    )
    assert {g.dtype.name for g in ours[1]} == {dtype}


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("row", ROWS, ids=IDS)
@pytest.mark.filterwarnings("ignore")  # of old packages under a new NumPy
def test_a_peer_s_result_is_ours(row: Row, peer: str) -> None:
    if importlib.util.find_spec(peer) is None:
        pytest.skip(
            f"PEER NOT TESTED: {peer} is not installed (pip install 'gradcheck-cli[bench]')"
        )
    if isinstance(row.of_peer(peer), str):
        arrays = drawn(row, "float64")
        with pytest.raises(NotImplementedError):
            peers.prepare(peer, row, arrays)
        return
    arrays = drawn(row, "float64")
    theirs = peers.numbers(peers.prepare(peer, row, arrays)())
    ours = peers.numbers(peers.prepare(OURS, row, arrays)())
    assert engine.error(theirs, ours, arrays) <= engine.allowance(row, arrays)


@pytest.mark.parametrize("size", [100, 100_000])
@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_a_row_has_about_as_many_elements_as_asked(row: Row, size: int) -> None:
    arrays = row.arrays(size, "float32", np.random.default_rng(0)).values()
    largest, total = max(a.size for a in arrays), sum(a.size for a in arrays)
    if row.name in ("GP marginal likelihood", "Gaussian mixture"):
        return  # what is counted there is no input
    assert largest <= 1.3 * size
    assert total >= 0.7 * size


def test_a_wrong_result_is_not_timed() -> None:
    row = ROWS[0]
    arrays = drawn(row, "float64")
    right = engine.reference(row, arrays)
    slightly = right[0], [g * (1 + 1e-9) for g in right[1]]
    assert engine.error(slightly, right, arrays) > engine.allowance(row, arrays)
    missing = right[0], [g * np.nan for g in right[1]]
    assert engine.error(missing, right, arrays) > engine.allowance(row, arrays)


def test_rounds_name_every_call_and_prefer_quiet_ones() -> None:
    measured = timing.measure(
        {"a": lambda: None, "b": lambda: sum(range(2000))}, rounds=3, budget=0.1
    )
    assert measured.median("a") < measured.median("b")
    assert measured.ratio("b", "a") > 1
    told = timing.Rounds([{"a": 1.0}] * 3 + [{"a": 9.0}] * 4, [0.0] * 3 + [0.9] * 4)
    assert told.median("a") == 1.0
    assert not told.noisy
    assert timing.Rounds([{"a": 1.0}], [0.9]).noisy


def test_the_engine_benchmark_prints_and_writes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tmp_path / "found.json"
    words = ["engine", "-k", "squared", "--sizes", "100", "--dtypes", "float64", "--peers", "torch"]
    short = ["--rounds", "1", "--budget", "0.1"]
    monkeypatch.setattr(sys, "argv", [*words, *short, "--json", str(written)])
    assert engine.main() == 0
    table = capsys.readouterr().out
    assert "sum of squared errors" in table
    assert "faster than torch" in table
    monkeypatch.setattr(sys, "argv", ["engine", "--load", str(written), "--markdown"])
    assert engine.main() == 0
    assert "| sum of squared errors | 1e2 | float64 |" in capsys.readouterr().out


def test_the_large_checks_pass_and_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["large", "--elements", "900", "--rounds", "1"])
    large.main()
    table = capsys.readouterr().out
    assert all(row.name in table for row in large.PORTFOLIO)


@pytest.mark.parametrize(
    "module",
    [cold, memory, report, scaling, importlib.import_module("benchmarks.portfolio.record")],
)
def test_examples_hold(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


def test_checks_that_end_otherwise_with_several_jobs_are_named() -> None:
    row = {"method": "torch", "status": "agrees", "seconds": 1.0, "value": 0.3}
    check: dict[str, Any] = {
        "id": "a",
        "status": "passed",
        "error": None,
        "diagnoses": [],
        "seconds": 1.0,
    }
    check["gradients"] = [{"input": "x", "derived": "1", "methods": [row]}]
    slower = {**check, "seconds": 2.0}
    other = {**check, "status": "failed", "id": "b"}
    assert parallel.differences({"checks": [check]}, {"checks": [slower]}) == []
    assert parallel.differences({"checks": [other]}, {"checks": [check]}) == ["b"]


def test_an_expression_is_renamed_for_every_cold_round() -> None:
    for row in ROWS:
        names = {name: f"{name}_7" for name in drawn(row, "float64")}
        arrays = {names[name]: a for name, a in drawn(row, "float64").items()}
        import gradcheck_cli

        value, gradients = gradcheck_cli.compile(
            cold.renamed(row.text, names), wrt=[names[n] for n in row.wrt]
        )(**arrays)
        assert np.isfinite(value)
        assert set(gradients) == {names[n] for n in row.wrt}
