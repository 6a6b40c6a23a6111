"""PyTorch as a method: results that differ from run to run, and forward mode."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gradcheck_cli.methods import run, torch_method
from gradcheck_cli.methods.case import Case, prepare
from gradcheck_cli.methods.second_order import second_order
from gradcheck_cli.methods.torch_method import RUNS, forward_product, repeated
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from gradcheck_cli.methods.gradients import Gradients

TEXT = "version: 1\ninputs: {x: {shape: [3, 4]}}\nexpression: torch.sin(x).sum()\n"


def case_of(text: str) -> Case:
    return prepare(load_text(text)[0])


def count_sines(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets a number at each call of torch.sin."""
    runs: list[int] = []

    def counted(x: torch.Tensor) -> torch.Tensor:
        runs.append(1)
        return x.sin()

    monkeypatch.setattr(torch, "sin", counted)
    return runs


def noisy(factor: float, spread: float, only: tuple[int, ...] | None = None) -> Any:
    """A sine whose gradient is off by a factor, and by random parts of each element, or of one."""
    generator = torch.Generator().manual_seed(5)

    class Noisy(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx: Any, *upstream: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
            if only is not None:
                mask = torch.zeros_like(noise)
                mask[only] = 1.0
                noise = noise * mask
            return torch.mul(upstream[0], x.cos() * (factor + spread * noise))

    return Noisy.apply


def test_the_same_bits_are_not_looked_at_any_further(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = count_sines(monkeypatch)
    case = case_of(TEXT)
    first = run("torch", case)
    assert len(runs) == 1
    assert first.estimates["x"].error is None
    assert repeated(case, first) is first
    assert len(runs) == 2


@pytest.mark.parametrize(("device", "times"), [("cpu", 1), ("cuda", 2), ("mps:0", 2)])
def test_off_the_cpu_it_runs_twice(
    monkeypatch: pytest.MonkeyPatch, device: str, times: int
) -> None:
    case = case_of(TEXT)
    result, runs = run("torch", case), []

    def once(case: Case) -> Gradients:
        runs.append(case.check.device)
        return result

    monkeypatch.setattr(torch_method, "_once", once)
    run("torch", replace(case, check=replace(case.check, device=device)))
    assert runs == [device] * times


def test_the_spread_of_runs_is_the_error_of_what_varies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "sin", noisy(1.0, 1e-6, only=(1, 2)))
    case = case_of(TEXT)
    result = repeated(case, run("torch", case))
    error = result.estimates["x"].error
    assert result.runs == RUNS
    assert error is not None
    assert np.flatnonzero(error).tolist() == [1 * 4 + 2]
    # Eight normal draws range over about three standard deviations; it enters twice.
    assert 1e-6 < error[1, 2] / abs(result.estimates["x"].gradient[1, 2]) < 2e-5


@pytest.mark.parametrize("spread", [1e-7, 1e-5, 1e-3])
def test_a_difference_between_runs_is_reported_and_no_failure(
    monkeypatch: pytest.MonkeyPatch, spread: float
) -> None:
    monkeypatch.setattr(torch, "sin", noisy(1.0, spread))
    outcome = run_check(load_text(TEXT)[0])
    assert outcome.status == "passed"
    (found,) = outcome.diagnoses
    assert (found.code, found.input, found.method) == ("GC301", "x", "torch")
    assert f"differs between {RUNS} runs in 12 of 12 elements" in found.message


def test_a_difference_between_runs_hides_no_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "sin", noisy(1.01, 1e-5))
    outcome = run_check(load_text(TEXT)[0])
    assert outcome.status == "failed"
    assert outcome.gradients[0].outliers == ("torch",)
    assert {d.code for d in outcome.diagnoses} > {"GC301"}
    monkeypatch.setattr(torch, "sin", noisy(1.0, 1e-5))
    outcome = run_check(load_text(TEXT + "manual: {x: 1.001 * x.cos()}\n")[0])
    assert outcome.status == "failed"
    assert outcome.gradients[0].outliers == ("manual",)


def test_one_element_that_varies_does_not_hide_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(_: Any, x: torch.Tensor) -> torch.Tensor:
            return x.clone()

        @staticmethod
        def backward(_: Any, *upstream: torch.Tensor) -> torch.Tensor:
            return upstream[0] + torch.eye(3, 4, dtype=torch.float64) * 1e-4

    varying = noisy(1.0, 0.5, only=(2, 0))
    monkeypatch.setattr(torch, "sin", lambda x: varying(Wrong.apply(x)))  # type: ignore[no-untyped-call]
    outcome = run_check(load_text(TEXT)[0])
    assert outcome.status == "failed"
    assert outcome.gradients[0].outliers == ("torch",)


def test_values_that_vary_are_no_other_function(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(3)
    monkeypatch.setattr(
        torch,
        "sin",
        lambda x: x.sin() + 1e-6 * torch.randn(x.shape, generator=generator, dtype=x.dtype),
    )
    outcome = run_check(load_text(TEXT)[0])
    assert outcome.status == "passed"


def test_forward_mode_is_the_product_with_the_jacobian() -> None:
    case = case_of("version: 1\ninputs: {x: {shape: [4]}}\nexpression: (x * x).tanh()\n")
    x, v = case.arrays["x"], case.arrays["grad"]
    u = np.array([1.0, -2.0, 0.5, 3.0])
    expected = float((v * 2 * x * (1 - np.tanh(x * x) ** 2) * u).sum())
    assert forward_product(case, "x", u) == pytest.approx(expected, rel=1e-12)
    twice = second_order(case_of("version: 1\ninputs: {x: {shape: [4]}}\nexpression: x ** 3\n"))
    weight = twice.arrays["cotangent"] * twice.arrays["v_x"]
    expected = float((6 * twice.arrays["x"] * weight * u).sum())
    assert forward_product(twice, "x", u) == pytest.approx(expected, rel=1e-12)


def test_without_a_forward_formula_there_is_no_product() -> None:
    text = "version: 1\ninputs: {x: {shape: [3, 2]}, y: {shape: [3, 2]}}\nexpression: torch.cdist(x, y)\n"
    case = case_of(text)
    assert forward_product(case, "x", np.ones((3, 2))) is None
    assert torch_method.run(case).unavailable is None
