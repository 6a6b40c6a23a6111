"""Masks that keep nothing, that are numbers, and that don't fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gradcheck_cli.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.array([[1.0, 2.0, -3.0], [0.5, 0.0, 4.0]])
NOTHING = np.array([[True, False, True], [False, False, False]])
NAMES = [
    *("sum", "prod", "amax", "amin", "mean", "median", "logsumexp", "norm", "var", "std"),
    *("softmax", "log_softmax", "softmin", "cumsum", "cumprod"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_row_of_which_nothing_is_kept(
    name: str, value_of: Callable[..., Any], slope_of: Callable[..., Any]
) -> None:
    text = f"torch.masked.{name}(x, dim=1, mask=m)"
    leaf = torch.tensor(X, requires_grad=True)
    result = eval(text, {"torch": torch, "x": leaf, "m": torch.tensor(NOTHING)})
    result.sum().backward()
    assert leaf.grad is not None
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_allclose(value_of(text, x=X, m=NOTHING), result.detach().numpy())
        found = slope_of(text, x=X, m=NOTHING)
    np.testing.assert_allclose(found, leaf.grad.numpy(), atol=1e-15)


def test_numbers_that_are_not_zero_keep(value_of: Callable[..., Any]) -> None:
    assert value_of("torch.masked.sum(x, mask=n)", x=X, n=np.array([2, 0, -1])) == 2.5


def test_the_farthest_numbers_stand_for_masked_out_integers(value_of: Callable[..., Any]) -> None:
    i, m = np.array([-3, 5], np.int32), np.array([False, False])
    assert value_of("torch.masked.amax(i, mask=m)", i=i, m=m) == np.iinfo(np.int32).min
    assert value_of("torch.masked.amin(i, mask=m)", i=i, m=m) == np.iinfo(np.int32).max


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("torch.masked.sum(x, mask=m[:, :2])", "can't be broadcast"),
        ("torch.masked.sum(x[0], mask=m)", "can't be broadcast"),
        ("torch.masked.mean(x.long(), mask=m)", "int64"),
        ("torch.masked.var(x, 0, True, correction=0, mask=m)", "only one of"),
        ("torch.masked.amax(x, 2, mask=m)", "out of range"),
        ("torch.masked.soft(x)", "soft"),
    ],
)
def test_refused_as_in_pytorch(text: str, fragment: str, value_of: Callable[..., Any]) -> None:
    with pytest.raises(GradcheckError, match=fragment):
        value_of(text, x=X, m=NOTHING)
