"""Mistakes planted in gradcheck itself and in PyTorch: the vote must name the one that is wrong."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import torch

from gradcheck_cli.graph import TABLE
from gradcheck_cli.spec.load import load_text
from gradcheck_cli.suite.run import run_check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck_cli.verdict.outcome import CheckOutcome

RULE_CASES = [
    ("exp", "x.exp().sum()", "x.exp()"),
    ("tanh", "(x * x).tanh().sum()", "2 * x * (1 - (x * x).tanh() ** 2)"),
    ("mul", "(x * 3.0 * x.sin()).sum()", "3 * x.sin() + 3 * x * x.cos()"),
    ("softmax", "(softmax(x, 0) ** 2).sum()", None),
    ("matmul", "(x @ x.T).exp().sum()", None),
    ("sum", "x.sum(1).exp().sum()", "x.sum(1, keepdim=True).exp().expand(x.shape)"),
    ("relu", "(x.relu() * x).sum()", "torch.where(x > 0, 2 * x, 0.0)"),
]


@contextmanager
def planted(name: str, field: str, value: Any) -> Iterator[None]:
    """One field of a record replaced; records are frozen, so that only a test does this."""
    op = TABLE.by_name[name]
    right = getattr(op, field)
    object.__setattr__(op, field, value)
    try:
        yield
    finally:
        object.__setattr__(op, field, right)


def scaled(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A rule whose gradients are 1 % too large."""

    def wrong(*args: Any, **attributes: Any) -> Any:
        result = rule(*args, **attributes)
        if isinstance(result, (tuple, list)):
            return tuple(None if g is None else 1.01 * g for g in result)
        return 1.01 * result

    return wrong


def outcome_of(expression: str, manual: str | None, methods: str | None = None) -> CheckOutcome:
    text = f"version: 1\ninputs: {{x: {{shape: [3, 4]}}}}\nexpression: {expression}\n"
    text += f"manual: {{x: '{manual}'}}\n" if manual else ""
    text += f"methods: [{methods}]\n" if methods else ""
    (check,) = load_text(text)
    return run_check(check)


@pytest.mark.parametrize(("name", "expression", "manual"), RULE_CASES)
def test_a_wrong_rule_is_blamed_on_engine_and_derived(
    name: str, expression: str, manual: str | None
) -> None:
    assert outcome_of(expression, manual).status == "passed"
    rule = TABLE.by_name[name].vjp
    assert rule is not None
    with planted(name, "vjp", scaled(rule)):
        outcome = outcome_of(expression, manual)
        without_formula = outcome_of(expression, None)
    assert outcome.status == without_formula.status == "failed"
    for gradient in (*outcome.gradients, *without_formula.gradients):
        assert set(gradient.outliers) == {"engine", "derived"}
        assert {"torch", "numeric"} <= set(gradient.groups[0])


def test_a_wrong_rule_is_found_without_torch() -> None:
    rule = TABLE.by_name["exp"].vjp
    assert rule is not None
    with planted("exp", "vjp", scaled(rule)):
        outcome = outcome_of("x.exp().sum()", None, "engine, derived, numeric")
    assert outcome.status == "failed"
    assert set(outcome.gradients[0].outliers) == {"engine", "derived"}


def test_a_wrong_pytorch_is_blamed_on_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx: Any, *upstream: torch.Tensor) -> torch.Tensor:
            (x,) = ctx.saved_tensors
            gradient: torch.Tensor = upstream[0] * x.cos() * 1.001
            return gradient

    monkeypatch.setattr(torch, "sin", Wrong.apply)
    outcome = outcome_of("torch.sin(x).sum()", "x.cos()")
    assert outcome.status == "failed"
    assert outcome.gradients[0].outliers == ("torch",)


def test_a_wrong_kernel_shows_in_the_forward_value() -> None:
    kernel = TABLE.by_name["exp"].kernel
    assert kernel is not None
    with planted("exp", "kernel", lambda x: 1.01 * kernel(x)):
        outcome = outcome_of("x.exp().sum()", None)
    assert outcome.status == "failed"
    assert "GC206" in {diagnosis.code for diagnosis in outcome.diagnoses}
