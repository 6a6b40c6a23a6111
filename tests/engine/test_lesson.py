"""PyTorch's introductory autograd lesson, line by line, with gradcheck's own Tensor."""

# The type checker takes attributes for constant between two statements; here they change.
# mypy: no-warn-unreachable

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck_cli import Tensor, no_grad, tensor

RNG = np.random.default_rng(0)


def rand(*shape: int, requires_grad: bool = False) -> Any:
    return tensor(RNG.random(shape, dtype=np.float32), requires_grad=requires_grad)


def test_tensors_track_what_happens_to_them() -> None:
    x: Any = tensor([[1.0, 2.0], [3.0, 4.0]])
    assert x.requires_grad is False
    x.requires_grad_(True)
    assert x.requires_grad is True
    assert repr(x) == "tensor([[1., 2.],\n        [3., 4.]], requires_grad=True)"

    y = x + 2
    assert repr(y) == "tensor([[3., 4.],\n        [5., 6.]], grad_fn=<AddBackward0>)"
    z = y * y * 3
    out = z.mean()
    assert repr(out) == "tensor(64.5000, grad_fn=<MeanBackward0>)"
    assert (x.is_leaf, y.is_leaf, out.is_leaf) == (True, False, False)
    assert x.grad_fn is None
    assert repr(y.grad_fn).startswith("<AddBackward0 object at 0x")

    step: Any = out.grad_fn
    walked = []
    while step is not None:
        walked.append(type(step).__name__)
        step = step.next_functions[0][0] if step.next_functions else None
    assert walked == [
        "MeanBackward0",
        "MulBackward0",
        "MulBackward0",
        "AddBackward0",
        "AccumulateGrad",
    ]

    assert x.grad is None
    out.backward()
    assert repr(x.grad) == "tensor([[4.5000, 6.0000],\n        [7.5000, 9.0000]])"


def test_the_first_way_to_stop_tracking_no_grad() -> None:
    x = rand(2, 2, requires_grad=True)
    with no_grad():
        assert (x**2).requires_grad is False
    assert (x**2).requires_grad is True

    @no_grad()
    def square(t: Tensor) -> Any:
        return t**2

    assert square(x).requires_grad is False


def test_the_second_way_to_stop_tracking_detach() -> None:
    x = rand(2, 2, requires_grad=True)
    y = x.detach()
    assert y.requires_grad is False
    assert y.eq(x).all()
    z = x * 2
    z.detach_()
    assert z.requires_grad is False
    assert z.grad_fn is None
    assert z.is_leaf


def test_the_third_way_to_stop_tracking_requires_grad() -> None:
    x = rand(2, 2, requires_grad=True)
    x.requires_grad_(False)
    assert (x * 2).requires_grad is False
    x.requires_grad = True
    assert (x * 2).requires_grad is True
    with pytest.raises(RuntimeError, match="leaf"):
        (x * 2).requires_grad_(False)


def test_the_gradient_by_hand_equals_the_one_of_backward() -> None:
    predicted = rand(3, 8, requires_grad=True)
    real = rand(3, 8)
    loss = (predicted - real).pow(2).sum()
    assert loss.requires_grad is True
    assert type(loss.grad_fn).__name__ == "SumBackward0"

    with no_grad():
        manual = 2.0 * (predicted - real)
    assert manual.requires_grad is False

    assert predicted.grad is None
    loss.backward()
    assert predicted.grad is not None
    assert predicted.grad.shape == (3, 8)
    assert real.grad is None
    assert manual.eq(predicted.grad).all().item() is True
    assert repr(manual.eq(predicted.grad).all()) == "tensor(True)"

    with pytest.raises(RuntimeError, match="a second time"):
        loss.backward()
    with pytest.raises(RuntimeError, match="only for scalar outputs"):
        (predicted - real).backward()
    with pytest.raises(RuntimeError, match="does not require grad"):
        real.sum().backward()


def test_gradients_accumulate_until_they_are_reset() -> None:
    weights = tensor([1.0, 1.0, 1.0], requires_grad=True)
    for expected in ([3.0, 3.0, 3.0], [6.0, 6.0, 6.0]):
        (weights * 3).sum().backward()
        assert weights.grad is not None
        assert weights.grad.tolist() == expected
    weights.grad = None
    (weights * 3).sum().backward(gradient=tensor(2.0))
    assert weights.grad is not None
    assert weights.grad.tolist() == [6.0, 6.0, 6.0]


def test_a_small_regression_learns() -> None:
    x = tensor(np.linspace(-1, 1, 20, dtype=np.float32)[:, None])
    y = 3 * x - 1
    w: Any = tensor([[0.0]], requires_grad=True)
    b: Any = tensor([0.0], requires_grad=True)
    for _ in range(200):
        loss = (x @ w + b - y).pow(2).mean()
        loss.backward()
        with no_grad():
            w -= 0.2 * w.grad
            b -= 0.2 * b.grad
        w.grad = b.grad = None
    assert loss.item() < 1e-6
    assert w.item() == pytest.approx(3, abs=1e-2)
    assert b.item() == pytest.approx(-1, abs=1e-2)
