"""Connectionist temporal classification against a sum over all alignments, and PyTorch's conventions."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

import gradcheck_cli.ops  # noqa: F401  -- fills the table
from gradcheck_cli import dtypes
from gradcheck_cli.calculus.differentiate import differentiate
from gradcheck_cli.engine.plan import Plan
from gradcheck_cli.errors import Source
from gradcheck_cli.graph import Expr, variable
from gradcheck_cli.lang.build import build
from gradcheck_cli.lang.parse import parse
from gradcheck_cli.schema import Invalid


def built(text: str, **arrays: Any) -> tuple[Expr, dict[str, Expr]]:
    scope = {
        name: variable(name, a.shape, dtypes.BY_NAME[a.dtype.name]) for name, a in arrays.items()
    }
    return build(parse(Source(text)), scope), scope


def collapsed(path: tuple[int, ...]) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label]


def by_enumeration(log_probs: Any, labels: list[int]) -> float:
    steps, classes = log_probs.shape
    total = sum(
        math.exp(sum(log_probs[step, label] for step, label in enumerate(path)))
        for path in itertools.product(range(classes), repeat=steps)
        if collapsed(path) == labels
    )
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("labels", [[1], [1, 2], [2, 2], [1, 1, 2], [1, 1, 1], []])
def test_the_loss_sums_over_all_alignments(labels: list[int]) -> None:
    log_probs = np.random.default_rng(0).standard_normal((4, 1, 3))
    arrays = {
        "x": log_probs,
        "i": np.array([[*labels, 0]]),
        "n": np.array([4]),
        "m": np.array([len(labels)]),
    }
    loss, _ = built("F.ctc_loss(x, i, n, m, reduction='none')", **arrays)
    (found,) = Plan([loss])(arrays)
    assert found[0] == pytest.approx(by_enumeration(log_probs[:, 0], labels), rel=1e-12)


@pytest.mark.parametrize("zero_infinity", [True, False])
def test_where_no_alignment_is_short_enough(zero_infinity: bool) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 2, 4))
    arrays = {
        "x": x,
        "i": np.array([[1, 1, 2], [3, 1, 2]]),
        "n": np.array([3, 2]),
        "m": np.array([3, 1]),
    }
    text = f"F.ctc_loss(x.log_softmax(2), i, n, m, reduction='none', zero_infinity={zero_infinity})"
    loss, scope = built(text, **arrays)
    gradient = differentiate(loss, [scope["x"]], variable("g", (2,)))
    value, slope = Plan([loss, *gradient])({**arrays, "g": np.array([0.5, 2.0])})
    leaf = torch.tensor(arrays["x"], requires_grad=True)
    i, n, m = (torch.tensor(arrays[name]) for name in "inm")
    expected = torch.nn.functional.ctc_loss(
        leaf.log_softmax(2), i, n, m, reduction="none", zero_infinity=zero_infinity
    )
    (theirs,) = torch.autograd.grad(expected, leaf, torch.tensor([0.5, 2.0], dtype=torch.float64))
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(slope, theirs.numpy(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("labels", "ends", "widths", "wrong"),
    [
        ([[1, 4]], [3], [2], "the label 4"),
        ([[1, -1]], [3], [2], "the label -1"),
        ([[1, 0]], [3], [2], "the label 0"),
        ([[1, 2]], [4], [2], "input_lengths"),
        ([[1, 2]], [3], [3], "target_lengths"),
    ],
)
def test_values_for_which_pytorch_leaves_its_memory_are_refused(
    labels: Any, ends: Any, widths: Any, wrong: str
) -> None:
    arrays = {
        "x": np.zeros((3, 1, 4)),
        "i": np.array(labels),
        "n": np.array(ends),
        "m": np.array(widths),
    }
    loss, _ = built("F.ctc_loss(x, i, n, m)", **arrays)
    with pytest.raises(Invalid, match=wrong):
        Plan([loss])(arrays)


def test_log_probs_from_elsewhere_have_the_gradient_of_the_sum() -> None:
    """PyTorch's is another: that of logits, which a log_softmax would have to stand behind."""
    log_probs = np.random.default_rng(2).standard_normal((4, 1, 3))
    arrays = {"x": log_probs, "i": np.array([[1, 2]])}
    loss, scope = built("F.ctc_loss(x, i, (4,), (2,), reduction='sum')", **arrays)
    (found,) = Plan(differentiate(loss, [scope["x"]]))(arrays)
    step, expected = 1e-6, np.empty_like(log_probs)
    for place in np.ndindex(log_probs.shape):
        moved = np.zeros_like(log_probs)
        moved[place] = step
        ahead, behind = (by_enumeration((log_probs + m)[:, 0], [1, 2]) for m in (moved, -moved))
        expected[place] = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9)


def test_there_is_no_second_derivative() -> None:
    arrays = {"x": np.zeros((3, 1, 4)), "i": np.array([[1]]), "n": np.array([3])}
    loss, scope = built("F.ctc_loss(x, i, n, torch.tensor([1]), reduction='sum')", **arrays)
    (gradient,) = differentiate(loss, [scope["x"]])
    with pytest.raises(Invalid, match="no second derivative"):
        differentiate(gradient.sum(), [scope["x"]])
