"""Derivatives of functions of tensors, beside `torch.func` and `torch.autograd.functional`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.autograd.functional

from gradcheck_cli import (
    Tensor,
    functions,
    hessian,
    hvp,
    jacobian,
    jvp,
    no_grad,
    tensor,
    value_and_grad,
    vjp,
)

if TYPE_CHECKING:
    from collections.abc import Callable

RNG = np.random.default_rng(3)
reference: Any = torch.autograd.functional
X, W, V = RNG.standard_normal((3, 2)), RNG.standard_normal((2, 4)), RNG.standard_normal((3, 2))


def same(ours: Any, theirs: Any) -> None:
    """Equal in values, shapes and nesting."""
    if isinstance(theirs, (tuple, list)):
        assert isinstance(ours, tuple)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
        return
    assert isinstance(ours, Tensor)
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.tolist(), theirs.tolist(), rtol=1e-10, atol=1e-12)


def in_torch(*arrays: Any) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor(array) for array in arrays)


def layer(m: Any) -> Callable[..., Any]:
    return lambda x, w: (m.tanh(x @ w) * x.sum()).sum(0)


def scalar(m: Any) -> Callable[..., Any]:
    return lambda x: (m.tanh(x) ** 3).sum() * x[0, 0]


def test_value_and_grad() -> None:
    value, gradient = value_and_grad(scalar(functions))(X)
    grad_and_value: Any = torch.func.grad_and_value(scalar(torch))
    expected = grad_and_value(torch.tensor(X))
    same((gradient, value), expected)
    assert not value.requires_grad
    assert not gradient.requires_grad


def test_value_and_grad_of_chosen_arguments() -> None:
    def f(x: Tensor, w: Tensor, *, scale: float) -> Any:
        return ((x @ w) * scale).sum()

    _, (of_w, of_x) = value_and_grad(f, (1, 0))(X, W, scale=2.0)
    np.testing.assert_allclose(of_w.numpy(), 2 * np.tile(X.sum(0)[:, None], (1, 4)))
    np.testing.assert_allclose(of_x.numpy(), 2 * np.tile(W.sum(1), (3, 1)))


def test_vjp() -> None:
    out, pull_back = vjp(layer(functions), X, W)
    of_torch: Any = torch.func.vjp
    expected, theirs = of_torch(layer(torch), *in_torch(X, W))
    same(out, expected)
    for cotangent in (np.ones(4), np.arange(4.0)):
        same(pull_back(cotangent), theirs(torch.tensor(cotangent)))


def test_jvp() -> None:
    ours = jvp(layer(functions), (X, W), (V, W))
    same(ours, reference.jvp(layer(torch), in_torch(X, W), in_torch(V, W)))


def test_hvp() -> None:
    same(
        hvp(scalar(functions), X, V), reference.hvp(scalar(torch), torch.tensor(X), torch.tensor(V))
    )
    both = hvp(lambda x, w: (x @ w).pow(3).sum(), (X, W), (V, W))
    same(
        both,
        reference.hvp(lambda x, w: (x @ w).pow(3).sum(), in_torch(X, W), in_torch(V, W)),
    )


# ruff: noqa: ARG005 -- functions of a module, of which some need nothing
FUNCTIONS: list[Callable[[Any], Callable[..., Any]]] = [
    layer,
    lambda m: lambda x, w: x.sum() * 2,  # an input that isn't used
    lambda m: lambda x, w: m.outer(x.flatten(), w.flatten()).sin(),  # wide: column by column
    lambda m: lambda x, w: (x @ w, m.exp(w)),
    lambda m: lambda x, w: m.ones(2),
]


@pytest.mark.parametrize("make", FUNCTIONS)
def test_jacobian(make: Callable[[Any], Callable[..., Any]]) -> None:
    ours = jacobian(make(functions), (X, W))
    same(ours, reference.jacobian(make(torch), in_torch(X, W)))


def test_jacobian_of_one_input_that_is_narrow() -> None:
    def make(m: Any) -> Callable[[Any], Any]:
        return lambda x: m.outer(x, x).sin().sum(1) * m.ones(7, 1)  # 14 outputs, 2 inputs

    same(jacobian(make(functions), X[0]), jacobian_in_torch(make(torch), X[0]))


def jacobian_in_torch(f: Any, x: Any) -> Any:
    return reference.jacobian(f, torch.tensor(x))


def test_hessian() -> None:
    same(hessian(scalar(functions), X), reference.hessian(scalar(torch), torch.tensor(X)))
    ours = hessian(lambda x, w: (x @ w).pow(3).sum(), (X, W))
    same(ours, reference.hessian(lambda x, w: (x @ w).pow(3).sum(), in_torch(X, W)))


def test_transforms_stand_within_each_other() -> None:
    third = jacobian(lambda y: hessian(lambda z: (z**4).sum(), y), tensor([1.0, 2.0]))
    expected = np.zeros((2, 2, 2))
    expected[0, 0, 0], expected[1, 1, 1] = 24, 48
    np.testing.assert_allclose(third.numpy(), expected)

    def slope(x: Tensor) -> Any:
        return value_and_grad(lambda y: (y**3).sum())(x)[1].sum()

    assert value_and_grad(slope)(tensor([1.0, 2.0]))[1].tolist() == [6.0, 12.0]


def test_only_what_passes_through_the_argument_counts() -> None:
    x = tensor([2.0], requires_grad=True)
    value, gradient = value_and_grad(lambda y: (y * x).sum())(x)
    assert gradient.tolist() == [2.0]
    assert gradient.requires_grad  # x requires one: it can be differentiated further
    (value + gradient.sum()).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [5.0]


def test_nothing_is_recorded_within_no_grad() -> None:
    with no_grad():
        value, gradient = value_and_grad(lambda x: (x * x).sum())(np.ones(2))
    assert gradient.tolist() == [2.0, 2.0]
    assert not value.requires_grad


@pytest.mark.parametrize(
    ("attempt", "error"),
    [
        (lambda: value_and_grad(lambda x: x)(X), RuntimeError),
        (lambda: value_and_grad(lambda x: 3.0)(X), TypeError),
        (lambda: value_and_grad(lambda x: x.sum())(np.arange(3)), RuntimeError),
        (lambda: vjp(lambda x: x, X)[1](np.ones(2)), RuntimeError),
        (lambda: vjp(lambda x: x, X)[1](X, X), RuntimeError),
        (lambda: jvp(lambda x: x, (X,), (X, X)), RuntimeError),
        (lambda: jvp(lambda x: x, tensor(X), tensor(X)), TypeError),  # type: ignore[arg-type]
        (lambda: jacobian(lambda x: 3.0, X), TypeError),
        (lambda: hessian(lambda x: x, X), RuntimeError),
    ],
)
def test_what_has_no_derivative_is_refused(attempt: Callable[[], Any], error: Any) -> None:
    with pytest.raises(error):
        attempt()
