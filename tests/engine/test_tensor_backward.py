"""What `Tensor` tracks and how gradients come back, beside PyTorch."""

from __future__ import annotations

import gc
import math
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from gradcheck_cli import (
    enable_grad,
    functions,
    grad,
    is_grad_enabled,
    no_grad,
    tensor,
)
from gradcheck_cli.engine import eager_backward
from gradcheck_cli.engine.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Callable

F = functions.nn.functional


# Ours and PyTorch's, of no type in common.
MAKERS: tuple[Any, Any] = (tensor, torch.tensor)


def both(values: Any, *, requires_grad: bool = True) -> tuple[Any, Any]:
    array = np.asarray(values)
    return tensor(array, requires_grad=requires_grad), torch.tensor(
        array, requires_grad=requires_grad
    )


# Tracking.


def test_what_is_tracked_and_what_is_a_leaf() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    assert (x.is_leaf, x.requires_grad, y.is_leaf, y.requires_grad) == (True, True, False, True)
    for untracked in (y.detach(), y > 1, y.argmax(), functions.zeros_like(y), x.data):
        assert untracked.is_leaf
        assert not untracked.requires_grad
    assert x.double() is not x
    assert x.float() is x
    assert x.clone() is not x
    assert not x.clone().is_leaf


def test_requires_grad_is_set_on_floating_leaves_only() -> None:
    x = tensor([1.0])
    assert x.requires_grad_() is x
    with pytest.raises(RuntimeError, match="leaf variables"):
        (x * 2).requires_grad = False
    with pytest.raises(RuntimeError, match="floating point"):
        tensor([1]).requires_grad_()
    with pytest.raises(RuntimeError, match="floating point"):
        tensor([1], requires_grad=True)
    x.requires_grad = False
    assert not (x * 2).requires_grad


def test_a_leaf_that_is_tracked_later_stays_out_of_older_graphs() -> None:
    for make in MAKERS:
        x, w = make([2.0]), make([3.0], requires_grad=True)
        loss = (x * w).sum()
        x.requires_grad_()
        loss.backward()
        assert x.grad is None
        assert w.grad.tolist() == [2.0]


def test_a_mode_ends_with_its_block_whatever_happens() -> None:
    x = tensor([1.0], requires_grad=True)
    with no_grad():
        with enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
        with pytest.raises(ZeroDivisionError), enable_grad():
            _ = 1 / 0
        assert not is_grad_enabled()
    assert is_grad_enabled()


@pytest.mark.parametrize("decorate", [no_grad(), no_grad], ids=["no_grad()", "no_grad"])
def test_a_mode_decorates_functions(decorate: Any) -> None:
    x = tensor([1.0], requires_grad=True)

    def doubled(times: int) -> Any:
        return decorated(times - 1) if times else x * 2

    decorated = decorate(doubled)
    assert not decorated(3).requires_grad
    assert decorated.__name__ == "doubled"
    assert is_grad_enabled()


def test_the_mode_is_the_threads_own() -> None:
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]


# The backward sweep.


def test_gradients_accumulate_and_are_reset() -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    for _ in range(2):
        (x * x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [4.0, 8.0]
    x.grad.zero_()
    (3 * x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    x.grad = None
    (3 * x).sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]
    with pytest.raises(RuntimeError, match="doesn't fit"):
        x.grad = tensor([1.0])


def test_equal_tensors_have_gradients_of_their_own() -> None:
    for make in MAKERS:
        x = make([3.0], requires_grad=True)
        a, b = x * 2, x * 2
        a.retain_grad()
        b.retain_grad()
        (a * a * b).sum().backward()
        assert a.grad.tolist() == [72.0]
        assert b.grad.tolist() == [36.0]
        assert x.grad.tolist() == [216.0]


def test_one_tensor_twice_gets_both_parts() -> None:
    ours, reference = both([1.0, 2.0])
    for x in (ours, reference):
        y = x * 3
        (y * y + y).sum().backward()
    assert ours.grad is not None
    assert reference.grad is not None
    assert ours.grad.tolist() == reference.grad.tolist()


# ruff: noqa: ARG005 -- every attempt takes the maker and a tensor
REFUSED: list[tuple[str, Callable[[Any, Any], Any]]] = [
    ("second time", lambda m, x: [(y := (x * x).sum()).backward(), y.backward()]),
    ("created only for scalar", lambda m, x: (x * 2).backward()),
    ("does not require grad and does not have", lambda m, x: x.detach().sum().backward()),
    ("Mismatch in shape", lambda m, x: (x * 2).backward(m([1.0, 2.0, 3.0]))),
    ("leaf", lambda m, x: x.__iadd__(1)),
    ("ambiguous", lambda m, x: bool(x > 0)),
    ("converted to Scalar", lambda m, x: x.item()),
    ("requires.grad", lambda m, x: x.numpy()),
    ("retain_grad", lambda m, x: x.detach().retain_grad()),
    (".", lambda m, x: x.detach() @ m([1.0, 2.0, 3.0])),
    (".", lambda m, x: x[5]),
    (".", lambda m, x: x.sum(3)),
    (".", lambda m, x: x.sum(foo=3)),
    (".", lambda m, x: x.reshape(5)),
    (".", lambda m, x: x + "a"),
    (".", lambda m, x: x.no_such_method()),
    (".", lambda m, x: len(x.sum())),
    (".", lambda m, x: list(x.sum())),
    (".", lambda m, x: x[::-1]),
]


@pytest.mark.parametrize(("text", "attempt"), REFUSED, ids=[str(n) for n in range(len(REFUSED))])
def test_errors_are_of_pytorchs_kind(text: str, attempt: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(Exception, match=r"\S") as theirs:
        attempt(torch.tensor, torch.tensor([1.0, 2.0], requires_grad=True))
    with pytest.raises(theirs.type, match=text):
        attempt(tensor, tensor([1.0, 2.0], requires_grad=True))


def test_grad_refuses_as_pytorch_does() -> None:
    x, w = tensor([1.0], requires_grad=True), tensor([1.0])
    with pytest.raises(RuntimeError, match="does not require grad"):
        grad((x * w).sum(), w)
    other = tensor([1.0], requires_grad=True)
    with pytest.raises(RuntimeError, match="allow_unused"):
        grad((x * 2).sum(), other)
    assert grad((x * 2).sum(), [x, other], allow_unused=True)[1] is None
    with pytest.raises(RuntimeError, match="Mismatch"):
        grad(x * 2, x, tensor([1.0, 2.0]))
    assert x.grad is None


def test_a_graph_is_freed_only_where_values_were_saved() -> None:
    for make in MAKERS:
        x = make([1.0, 2.0], requires_grad=True)
        shared = 1 - (x + 1)  # rules that need no values
        shared.sum().backward()
        (shared * shared).sum().backward()
        assert x.grad.tolist() == [1.0, 3.0]
        for freed in (x * 2, x / 2, x.exp()):
            freed.sum().backward()
            with pytest.raises(RuntimeError, match="second time"):
                (freed + 1).sum().backward()
        y = (x * x).sum()
        y.backward(retain_graph=True)
        y.backward()


def test_freed_values_are_let_go() -> None:
    x = tensor(np.ones(1000), requires_grad=True)
    y = x.exp()
    held = weakref.ref(y.held)
    loss = y.sum()
    del y
    assert held() is not None
    loss.backward()
    assert held() is None


def test_graphs_go_without_the_garbage_collector() -> None:
    gc.disable()
    try:
        x = tensor(np.ones(10), requires_grad=True)
        y = (x * 2).exp()
        _ = y.grad_fn
        node = weakref.ref(y.node)
        y.sum().backward()
        del y, _
        assert node() is None
    finally:
        gc.enable()


def test_an_exception_in_the_sweep_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = tensor([1.0, 2.0], requires_grad=True)
    w = tensor([1.0, 2.0], requires_grad=True)
    (x * w).sum().backward()
    loss = (x * x * w.exp()).sum()

    def broken(*_: Any, **__: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(Plan, "__call__", broken)
        with pytest.raises(MemoryError):
            loss.backward()
    assert x.grad is not None
    assert w.grad is not None
    assert x.grad.tolist() == [1.0, 2.0]
    assert w.grad.tolist() == [1.0, 2.0]
    assert is_grad_enabled()
    loss.backward()
    np.testing.assert_allclose(w.grad.tolist(), [1 + math.e, 2 + 4 * math.e**2], rtol=1e-6)


def test_create_graph_gives_gradients_of_gradients() -> None:
    ours, reference = both([[0.5, -1.0], [2.0, 0.3]])
    seconds: list[Any] = []
    pairs: Any = ((ours, grad), (reference, torch.autograd.grad))
    for x, of in pairs:
        y = (x.tanh() * x.exp() @ x).pow(3).sum()
        (first,) = of(y, x, create_graph=True)
        assert first.requires_grad
        (second,) = of((first * first).sum(), x)
        seconds.append(second.tolist())
    np.testing.assert_allclose(seconds[0], seconds[1], rtol=1e-12)


def test_backward_with_create_graph_can_go_on() -> None:
    x = tensor([2.0], requires_grad=True)
    (x**3).sum().backward(create_graph=True)
    assert x.grad is not None
    assert x.grad.requires_grad
    (second,) = grad(x.grad.sum(), x)
    assert second is not None
    assert second.tolist() == [12.0]


def test_several_outputs_and_upstream_gradients() -> None:
    ours, reference = both([1.0, 2.0])
    found = []
    cases: Any = ((ours, tensor, grad), (reference, torch.tensor, torch.autograd.grad))
    for x, make, of in cases:
        outputs = [x * 2, (x**3).sum()]
        weights = [make([1.0, 10.0], dtype=x.dtype), None]
        found.append(of(outputs, [x], weights)[0].tolist())
    assert found[0] == found[1]


def test_a_deep_graph_is_no_problem() -> None:
    x = tensor([1.0], requires_grad=True)
    y = x
    for _ in range(3000):
        y = y * 1.0
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [1.0]
    del y


def test_large_arrays_have_the_same_gradients() -> None:
    rng = np.random.default_rng(0)
    ours, reference = both(rng.standard_normal((200, 300)))
    weights = rng.standard_normal((300, 50))
    for x, make in zip((ours, reference), MAKERS, strict=True):
        w = make(weights, requires_grad=True)
        ((x.tanh() * x.exp()) @ w).softmax(1).pow(2).sum().backward()
        (x - x.mean(0, keepdim=True)).pow(2).mean().backward()
    np.testing.assert_allclose(ours.grad.numpy(), reference.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_the_same_structure_is_planned_once() -> None:
    x = tensor(np.arange(7.0), requires_grad=True)
    for step in range(3):
        before = len(eager_backward._plans)
        (x.sin() * (x - x.mean()).pow(2)).sum().backward()
        assert step == 0 or len(eager_backward._plans) == before


# Threads.


def test_threads_record_and_sweep_at_once() -> None:
    shared = tensor(np.linspace(0.1, 1.0, 50), requires_grad=True)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(10):
                own = tensor(np.full(50, float(number)), requires_grad=True)
                loss = (shared * own).sum() + (own * own).sum()
                loss.backward()
                assert own.grad is not None
                np.testing.assert_allclose(
                    own.grad.numpy(), shared.tolist() + 2 * own.detach().numpy()
                )
                with no_grad():
                    assert not (own * 2).requires_grad
        except BaseException as error:  # noqa: BLE001 -- a failure must reach the test
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert shared.grad is not None
    np.testing.assert_allclose(shared.grad.tolist(), np.full(50, 10.0 * (1 + 2 + 3 + 4)))
